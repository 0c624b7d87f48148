package virtual

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// A FaultKind is one way in which a carrier can be unpleasant.
type FaultKind uint8

const (
	// FaultSplit ends a transfer: no read and no write on the carrier below goes across this
	// offset. What is written still goes out whole within one call.
	FaultSplit FaultKind = iota + 1
	// FaultJoin holds back what has come until all bytes of its piece are there, the stream has ended,
	// or a time is over; a single try ([transport.NoWait]) takes what is there. It is for reads only.
	FaultJoin
	// FaultShortWrite ends a write at this offset with less than all of its bytes, as a full socket
	// does. It is for writes only: a short read is a FaultSplit.
	FaultShortWrite
	// FaultDelay holds back what has come, or is to be written: by chance for a random time. It makes
	// no node look dead: on reads, what has come waits below, and counts as a sign of life; for
	// silence see package nodestest.
	FaultDelay
	// FaultReset breaks the connection before the byte at this offset passes: both directions end
	// with ECONNRESET, and so does the peer where the carrier can do that (TCP), else it sees the
	// end of the stream.
	FaultReset
)

// String names the fault, as "short write".
func (k FaultKind) String() string {
	names := [...]string{"split", "join", "short write", "delay", "reset"}
	if k == 0 || int(k) > len(names) {
		return fmt.Sprintf("FaultKind(%d)", uint8(k))
	}
	return names[k-1]
}

// FaultOptions say what goes wrong. The zero value does nothing. Fields of type float64 are
// probabilities, 0 to 1; less, or no number, is 0, and more is 1.
type FaultOptions struct {
	// Seed is what all chance comes from. The same seed gives the same faults at the same offsets
	// for the same connections, however the bytes happen to be cut into reads and writes.
	// Connections are numbered in the order in which they are made, or accepted.
	Seed uint64
	// Read and Write are the faults of the two directions: of what is read from the carrier, and
	// written to it.
	Read, Write Faults
	// At are faults at certain places, beside those of chance.
	At []FaultAt

	// Log gets a record of level Debug for each fault. nil: none.
	Log *slog.Logger
	// Done, if not nil, is told of each fault when it happens. It may be called concurrently, must
	// not use the stream, and should be quick.
	Done func(FaultEvent)
}

// Faults are the faults of one direction. The bytes of a connection are cut at random into pieces,
// whose lengths are drawn evenly on a logarithmic scale, and at the first byte of each piece every
// fault is drawn by its probability.
type Faults struct {
	Piece int // the longest piece in bytes, at most 1 GiB; 0 or less: 4096

	// The probability of each fault: see the FaultKinds.
	Split, Join, ShortWrite, Delay float64

	JoinFor  time.Duration // how long a join waits; 0 or less: 5 ms
	MaxDelay time.Duration // the longest delay; 0 or less: 10 ms
}

// A FaultSide tells the connections that were made here from those that were accepted.
type FaultSide uint8

const (
	FaultConnected FaultSide = iota + 1 // made by Connect
	FaultAccepted                       // taken by Accept
)

// A FaultAt is a fault at a certain place.
type FaultAt struct {
	Kind   FaultKind     // what happens
	Side   FaultSide     // zero: both
	Conn   int           // the number of the connection, from 1; 0: every one
	Write  bool          // in what is written; else in what is read
	Offset int64         // of the byte in that direction, from 0
	For    time.Duration // of a delay or a join; 0 or less: that of the direction's Faults
	Bytes  int           // how many bytes a join waits for; 0: those up to the next piece
}

// A FaultEvent is a fault that has happened.
type FaultEvent struct {
	Kind   FaultKind      // what happened
	Side   FaultSide      // FaultConnected or FaultAccepted
	Conn   int            // the number of the connection, from 1
	Write  bool           // in what was written; else in what was read
	Offset int64          // of the byte in its direction
	For    time.Duration  // of a delay, or at the most a join
	Remote transport.Addr // of the peer
}

// String says what happened where, as "split at byte 7 of what was read on connection 1".
func (e FaultEvent) String() string {
	made := map[FaultSide]string{FaultConnected: "connection", FaultAccepted: "accepted connection"}[e.Side]
	direction := "read"
	if e.Write {
		direction = "written"
	}
	during := ""
	if e.For > 0 {
		during = fmt.Sprintf(" for %v", e.For)
	}
	return fmt.Sprintf("%v%s at byte %d of what was %s on %s %d", e.Kind, during, e.Offset, direction, made, e.Conn)
}

// A FaultError is the error of an operation that Fault has made fail. It wraps that of the system,
// ECONNRESET.
type FaultError struct {
	Event FaultEvent // what Fault did
	Err   error      // the system's error
}

// Error says that it was injected, and what.
func (e *FaultError) Error() string { return "injected " + e.Event.String() + ": " + e.Err.Error() }

// Unwrap gives the system's error.
func (e *FaultError) Unwrap() error { return e.Err }

// GentleFaults are faults that every protocol over a stream must live with: splits, joins, short
// writes and small delays in both directions, no byte changed or lost.
func GentleFaults(seed uint64) FaultOptions {
	f := Faults{Split: 0.5, Join: 0.2, ShortWrite: 0.3, Delay: 0.05, JoinFor: 2 * time.Millisecond, MaxDelay: 3 * time.Millisecond}
	return FaultOptions{Seed: seed, Read: f, Write: f}
}

// Fault makes a Transport whose carriers are as unpleasant as o says, over any other. It is for
// tests of what stands above, and repeatable. Its streams cannot be handed off, for their place in
// the faults to come would be lost: Movable is false, Import, ImportListener and Export are
// errors.ErrUnsupported. They show no descriptor, for operations on it would have no faults. Time
// is package time's, so that it works in a testing/synctest bubble. A FaultAt at a place where it
// cannot happen, such as a join of what is written, is left out without an error; FaultStream
// refuses it. A carrier that keeps packets is errors.ErrUnsupported, from the handshake on.
func Fault(tr transport.Transport, o FaultOptions) transport.Transport {
	f := newFault(o)
	f.wrapper = newWrapper(tr, wrapper{
		fixed: errPlaceLost(),
		wrap:  func(below *transport.Stream) end { return f.faulty(below, FaultAccepted, f.accepts.Add(1)) },
	})
	return f
}

// FaultStream is [Fault] over a single stream, whatever it comes from: [transport.UnixPair],
// [transport.ConnectTCP], [transport.AdoptStream], a [transport.Listener]. It takes s over, see the
// package's doc. Offsets begin with the first byte that passes from then on; what s has read ahead
// is not touched. The stream is connection 1, FaultAccepted if a Listener has given it, else
// FaultConnected: for different faults in several streams use different seeds. A FaultAt with the
// other Side, a Conn beyond 1, or a place where it cannot happen is EINVAL.
func FaultStream(s *transport.Stream, o FaultOptions) (*transport.Stream, error) {
	side := FaultConnected
	if s.Origin() == accepted {
		side = FaultAccepted
	}
	err := o.only(side)
	if err != nil {
		return nil, &transport.OpError{Op: "fault", Addr: s.RemoteAddr(), Err: err}
	}
	f := newFault(o)
	w := wrapper{fixed: errPlaceLost()}
	return w.over(s, func(below *transport.Stream) end { return f.faulty(below, side, 1) })
}

func newFault(o FaultOptions) *fault {
	o.Read, o.Write = o.Read.filled(), o.Write.filled()
	o.At = slices.Clone(o.At)
	return &fault{o: o}
}

// errPlaceLost is why a faulty stream refuses a hand-off.
func errPlaceLost() error {
	return notMovable("fault", "its place among the faults to come would be lost")
}

// only refuses faults that cannot happen to a single stream, which is connection 1 of its side.
func (o *FaultOptions) only(side FaultSide) error {
	for _, at := range o.At {
		switch {
		case at.Kind == 0 || at.Kind > FaultReset:
			return fmt.Errorf("%v is no fault: %w", at.Kind, syscall.EINVAL)
		case at.Side != 0 && at.Side != side || at.Conn != 0 && at.Conn != 1:
			return fmt.Errorf("%v is for another connection or side than that of an open stream: %w", at.Kind, syscall.EINVAL)
		case at.Kind == FaultJoin && at.Write || at.Kind == FaultShortWrite && !at.Write:
			return fmt.Errorf("%v at byte %d is for the other direction: %w", at.Kind, at.Offset, syscall.EINVAL)
		case at.Offset < 0:
			return fmt.Errorf("%v at byte %d, which never comes: %w", at.Kind, at.Offset, syscall.EINVAL)
		}
	}
	return nil
}

func (f Faults) filled() Faults {
	or := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	or(&f.JoinFor, 5*time.Millisecond)
	or(&f.MaxDelay, 10*time.Millisecond)
	if f.Piece <= 0 {
		f.Piece = 4096
	}
	f.Piece = min(f.Piece, maxPiece)
	return f
}

type fault struct {
	*wrapper
	o                 FaultOptions
	connects, accepts atomic.Int64
}

// The purposes of chance: each has its own source, so that a draw for one does not change the draws
// for another.
const (
	forRead = iota
	forWrite
)

// chance is the source of all that is drawn for one purpose on one connection.
func (f *fault) chance(purpose int, side FaultSide, conn int64) *rand.Rand {
	return rand.New(rand.NewPCG(scatter(f.o.Seed), scatter(f.o.Seed^uint64(conn)<<8^uint64(purpose)<<4^uint64(side))))
}

// scatter makes numbers that are near each other differ in every bit: the finalizer of splitmix64.
func scatter(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (f *fault) tell(e FaultEvent) {
	if shows(f.o.Log) {
		f.o.Log.Debug("fault", "kind", e.Kind.String(), "accepted", e.Side == FaultAccepted, "conn", e.Conn, "write", e.Write,
			"offset", e.Offset, "for", e.For, "remote", text(e.Remote))
	}
	if f.o.Done != nil {
		f.o.Done(e)
	}
}

// error tells of a fault and makes an error of it.
func (f *fault) error(e FaultEvent, errno syscall.Errno) *FaultError {
	f.tell(e)
	return &FaultError{e, errno}
}

// Connect is that of the Transport below.
func (f *fault) Connect(ctx context.Context, addr transport.Addr) (*transport.Stream, error) {
	s, err := f.below.Connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	return f.over(s, func(below *transport.Stream) end { return f.faulty(below, FaultConnected, f.connects.Add(1)) })
}

// WithPolling counts the connections anew: see transport.WithPolling.
func (f *fault) WithPolling(limit time.Duration) transport.Transport {
	return Fault(transport.WithPolling(f.below, limit), f.o)
}
