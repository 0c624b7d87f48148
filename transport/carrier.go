package transport

import (
	"context"
	"errors"
	"syscall"
	"time"
)

// A carrier is what a Stream needs of a socket, whatever its plug-in's C.
type carrier interface {
	// At least one byte, or an error; io.EOF at the end.
	read(ctx context.Context, p []byte) (int, error)
	write(ctx context.Context, v [][]byte) (int64, error) // at least one byte, or an error
	// The next read is for the rest of a packet that has begun to come.
	midPacket(is bool)
	// FullImpl, and not Direct: even a single try may take long.
	takesItsTime() bool
	// A read ends with ErrEndOfPacket where a packet does, a write takes one whole packet, also an
	// empty one, or nothing.
	keepsPackets() bool
	pending() (int, error) // received bytes, not read
	waits() time.Duration  // for a callback that was ended
	// Why it has failed, which the system tells once.
	connectionError() error
	closeWrite() error
	close() error
	// close; false if the peer does not see it as a reset. Where the plug-in has no Abort,
	// otherwise makes the coming close a reset.
	abort(otherwise func() bool) (reset bool, err error)
	release() error
	export() ([]byte, error)
	localAddr() Addr
	descriptor() (int, error)
	syscallConn() (syscall.RawConn, error)
	headerSize(ctx context.Context) (int, error)
	complete(ctx context.Context, initiated bool) error
	checkPeer(ctx context.Context, name string) error
	halt(writing bool) // see Stream.PauseRead
	resume(writing bool)
	// Makes what sleeping in that direction needs, so that it cannot fail later for lack of a
	// descriptor.
	prepare(writing bool) error
	restFirst() error // prepare for a reader that most likely has nothing to read for a while
}

// lost reports whether a callback was left behind.
func lost(err error) bool {
	e, ok := err.(*CallbackError)
	return ok && errors.Is(e.Err, ErrUnresponsive)
}

// length is how many bytes the buffers have.
func length(v [][]byte) int64 {
	var n int64
	for _, b := range v {
		n += int64(len(b))
	}
	return n
}
