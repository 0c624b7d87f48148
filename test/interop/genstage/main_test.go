package genstage

import (
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(leak.Then(m, closePeers))) }
