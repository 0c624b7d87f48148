//go:build !linux

package transport

import (
	"syscall"
	"time"
)

const canPoll = false

// A watcher is where the SDK waits for a plug-in's socket: here always through the Go poller.
type watcher struct{ *waiter }

func newWatcher(fd int) (*watcher, error) {
	w, err := newWaiter(fd)
	if err != nil {
		return nil, err
	}
	return &watcher{w}, nil
}

func (w *watcher) quiet(bool) bool          { return false }
func nap(time.Duration)                     {}
func (w *watcher) rawConn() syscall.RawConn { return w.raw }
