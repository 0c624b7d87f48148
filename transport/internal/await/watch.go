package await

import (
	"context"
	"sync/atomic"
	"syscall"
	"time"
)

// A watch lets the SDK wait for a plug-in's socket, in the Go poller. Closing it ends the waits and
// waits for a running callback.
type watch interface {
	reading() *direction
	writing() *direction
	prepare(writing bool) error                 // see Pair.Prepare
	restFirst() error                           // see Pair.RestFirst
	connected(ctx context.Context) error        // waits until a connect has ended
	look(writing bool) bool                     // see watcher
	lookAway(writing bool)                      // likewise
	block(writing bool, at *threadWaits) bool   // likewise
	pause(d time.Duration, unless *atomic.Bool) // likewise
	wake()                                      // likewise
	// Gives others access to the descriptor, safe against close.
	rawConn() syscall.RawConn
	close()
}
