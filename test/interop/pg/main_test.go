package pg

import (
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/otp"
)

var demo otp.Demo

func TestMain(m *testing.M) { os.Exit(leak.Run(leak.Then(m, demo.Remove))) }
