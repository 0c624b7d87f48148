package otp

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A Demo is the program cnode-demo, or another one of cmd, built when it is first asked for.
type Demo struct {
	Program string // "": cnode-demo
	Race    bool   // with the race detector, where that can be had, but for -short

	mu  sync.Mutex
	dir string
}

// Path is where the program is.
func (d *Demo) Path(t testing.TB) string {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dir == "" {
		dir, err := os.MkdirTemp("", "cnode-demo-")
		if err != nil {
			t.Fatal(err)
		}
		d.dir = dir
		args := []string{"build", "-o", filepath.Join(dir, d.program())}
		if d.Race && !testing.Short() {
			// the race detector needs a C compiler
			cgo, err := exec.Command("go", "env", "CGO_ENABLED").Output()
			if err != nil || strings.TrimSpace(string(cgo)) != "0" {
				args = append(args, "-race")
			}
		}
		if out, err := exec.Command("go", append(args, "github.com/cnode-go/cnode/cmd/"+d.program())...).CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
	}
	return filepath.Join(d.dir, d.program())
}

func (d *Demo) program() string { return cmp.Or(d.Program, "cnode-demo") }

// Remove removes what Path has built.
func (d *Demo) Remove() {
	d.mu.Lock()
	defer d.mu.Unlock()
	os.RemoveAll(d.dir)
}
