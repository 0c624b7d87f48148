//go:build unix

package await

import (
	"context"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/internal/patience"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

const (
	CanWait = true
)

// A sleeper waits on a duplicate of a plug-in's descriptor. The duplicate belongs to the Go poller;
// closing it ends the waits and waits for a running callback, and the plug-in's own number is
// closed only after that, so no reused number is ever read.
type sleeper struct {
	file    *os.File
	raw     syscall.RawConn
	in, out direction
}

// plainWatch makes a sleeper.
func plainWatch(fd int) (watch, error) {
	dup, err := sys.Dup(fd)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(dup), "socket")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	// Os.ErrNoDeadline: the poller has not taken it, and does not say why.
	if err := file.SetDeadline(time.Time{}); err != nil {
		defer file.Close()
		// A socket, which the poller takes if it can.
		if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err == nil {
			if sys.MayWait(fd) { // os.NewFile has not even tried
				return nil, &NotWaitableError{fd, "has been put into blocking mode"}
			}
			// Or ENOSPC: memory, or watches, have run out.
			return nil, os.NewSyscallError("poll", unix.ENOMEM)
		}
		return nil, &NotWaitableError{fd, "cannot be waited on: " + err.Error()}
	}
	w := &sleeper{file: file, raw: raw}
	w.in.at, w.out.at, w.out.writes = w, w, true
	return w, nil
}

func (w *sleeper) park(writing bool, ready func(uintptr) bool) error {
	if writing {
		return w.raw.Write(ready)
	}
	return w.raw.Read(ready)
}

func (w *sleeper) halt(writing, on bool) error {
	if writing {
		return w.file.SetWriteDeadline(haltAt(on))
	}
	return w.file.SetReadDeadline(haltAt(on))
}

func (w *sleeper) close() {
	w.in.forget()
	w.out.forget()
	w.file.Close()
}

func (w *sleeper) reading() *direction               { return &w.in }
func (w *sleeper) writing() *direction               { return &w.out }
func (w *sleeper) rawConn() syscall.RawConn          { return w.raw }
func (w *sleeper) prepare(bool) error                { return nil } // the duplicate is all it needs
func (w *sleeper) restFirst() error                  { return nil } // likewise
func (w *sleeper) look(bool) bool                    { return false }
func (w *sleeper) lookAway(bool)                     {}
func (w *sleeper) block(bool, *threadWaits) bool     { return false }
func (w *sleeper) pause(time.Duration, *atomic.Bool) {}
func (w *sleeper) wake()                             {}

// connected waits until a connect that is in progress has ended, and returns its result.
func (w *sleeper) connected(ctx context.Context) (result error) {
	done := false
	check := func(fd uintptr) bool { done, result = sys.ConnectResult(int(fd)); return done }
	if patience.IsNoWait(ctx) {
		if err := w.raw.Write(func(fd uintptr) bool { check(fd); return true }); err != nil {
			return err
		}
		if !done {
			return os.ErrDeadlineExceeded
		}
		return result
	}
	if err := w.out.parkUnder(ctx, check); err != nil {
		return err
	}
	return result
}

func pending(fd int) (int, error) { return sys.Readable(fd) }
