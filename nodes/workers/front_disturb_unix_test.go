//go:build unix

package workers

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/internal/test/party"
)

// A disturbance is what happens to a process when it, or another process of the front, comes to a
// point of its hand-off.
type disturbance struct {
	At      handoffpoint.Point
	NoFiles bool           // it has no descriptor number left; in place of the signal
	Signal  syscall.Signal // sent to PID
	PID     int            // 0: the process that comes to the point
}

// The files with the disturbance of a test and, once it has happened, with the process that has
// come to the point.
const (
	disturbanceFile = "disturbance"
	disturbedFile   = "disturbed"
)

func (d peersDir) path(name string) string { return filepath.Join(string(d), name) }

// write makes a file atomically: it is never seen in part.
func (d peersDir) write(name string, v any) error {
	text, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(d.path(name+".part"), text, 0o600)
	}
	if err == nil {
		err = os.Rename(d.path(name+".part"), d.path(name))
	}
	return err
}

// disturb lets the disturbance happen, if there is one for this point. The process that is to get a
// signal has got it when disturb returns.
func (d peersDir) disturb(p handoffpoint.Point) {
	var x disturbance
	text, err := os.ReadFile(d.path(disturbanceFile))
	if err != nil || json.Unmarshal(text, &x) != nil || x.At != p {
		return
	}
	_ = os.Remove(d.path(disturbanceFile))
	_ = d.write(disturbedFile, os.Getpid())
	switch {
	case x.NoFiles:
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: 3})
	case x.PID == 0:
		party.Hit(x.Signal)
	default:
		_ = syscall.Kill(x.PID, x.Signal)
		for !party.Stopped(x.PID) && !party.Ended(x.PID) {
			time.Sleep(tick)
		}
	}
}
