package pg

import (
	"os"
	"testing"

	"github.com/cnode-go/cnode/test/leak"
)

type tests struct{ *testing.M }

// Run also removes what the tests have built.
func (m tests) Run() int {
	defer removeBuilt()
	return m.M.Run()
}

func TestMain(m *testing.M) { os.Exit(leak.Run(tests{m})) }
