package tls

import (
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/otp"
)

var erlCall = otp.Demo{Program: "erl-call"}

func TestMain(m *testing.M) { os.Exit(leak.Run(leak.Then(m, erlCall.Remove))) }
