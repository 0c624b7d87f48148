package pg

import (
	"os"
	"sync"
	"testing"

	"github.com/cnode-go/cnode/test/leak"
)

// The program cnode-demo, built once.
var built struct {
	sync.Mutex
	dir string
}

func removeBuilt() { os.RemoveAll(built.dir) }

type tests struct{ *testing.M }

// Run also removes what the tests have built.
func (m tests) Run() int {
	defer removeBuilt()
	return m.M.Run()
}

func TestMain(m *testing.M) { os.Exit(leak.Run(tests{m})) }
