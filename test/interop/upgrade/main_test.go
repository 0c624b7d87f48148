//go:build unix

package upgrade

import (
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/otp"
)

var demo otp.Demo

func TestMain(m *testing.M) {
	if side := os.Getenv(sideVariable); side != "" {
		os.Exit(runSide(side))
	}
	os.Exit(leak.Run(leak.Then(m, demo.Remove)))
}
