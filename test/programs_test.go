package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

var programs struct {
	sync.Once
	dir string
	err error
}

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(programs.dir)
	os.Exit(code)
}

// program is the path of one of the commands, which are built once.
func program(t *testing.T, name string) string {
	t.Helper()
	programs.Do(func() {
		if programs.dir, programs.err = os.MkdirTemp("", "cnode-programs"); programs.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-pgo=off", "-o", programs.dir+"/", module+"/cmd/cnode-demo", module+"/cmd/cnode-gen",
			module+"/cmd/erl-call", module+"/contrib/front/cmd/cnode-front").CombinedOutput()
		if err != nil {
			programs.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	require.NoError(t, programs.err)
	return filepath.Join(programs.dir, name)
}
