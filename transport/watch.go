package transport

import (
	"context"
	"sync/atomic"
	"syscall"
	"time"
)

// A watch lets the SDK wait for a plug-in's socket, in the Go poller. Closing it ends the waits and waits for a running callback.
type watch interface {
	reading() *direction
	writing() *direction
	prepare(writing bool) error                // see carrier
	connected(ctx context.Context) error       // waits until a connect has ended
	look(writing bool) bool                    // see watcher
	lookAway(writing bool)                     // likewise
	sit(writing bool, at *seats) bool          // likewise
	doze(d time.Duration, unless *atomic.Bool) // likewise
	stir()                                     // likewise
	rawConn() syscall.RawConn                  // gives others access to the descriptor, safe against close
	close()
}

func plainWatch(fd int) (watch, error) {
	w, err := newSleeper(fd)
	if err != nil {
		return nil, err
	}
	return w, nil
}
