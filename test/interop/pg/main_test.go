package pg

import (
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/otp"
)

var demo otp.Demo

type tests struct{ *testing.M }

// Run also removes what the tests have built.
func (m tests) Run() int {
	defer demo.Remove()
	return m.M.Run()
}

func TestMain(m *testing.M) { os.Exit(leak.Run(tests{m})) }
