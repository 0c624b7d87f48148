package virtual

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/tsocket"
)

// A FaultKind is one way in which a datagram can go wrong.
type FaultKind uint8

const (
	// FaultDelay holds back a datagram that has come, or the SendTo of one, and the datagrams behind
	// it.
	FaultDelay FaultKind = iota + 1
	// FaultCorrupt changes one byte of a datagram.
	FaultCorrupt
	// FaultRefuse makes a SendTo or a RecvFrom fail once with ECONNREFUSED, as the system does for
	// an earlier datagram that nobody has taken: nothing is sent or lost, and the socket goes on.
	FaultRefuse
)

// String names the fault, as "delay".
func (k FaultKind) String() string {
	switch k {
	case FaultDelay:
		return "delay"
	case FaultCorrupt:
		return "corrupt"
	case FaultRefuse:
		return "refuse"
	}
	return fmt.Sprintf("FaultKind(%d)", uint8(k))
}

// FaultOptions say what goes wrong. The zero value does nothing.
type FaultOptions struct {
	// Seed is what all chance comes from. The same seed gives the same faults to the same datagrams.
	Seed uint64
	// Read and Write are the faults of what is received and what is sent.
	Read, Write Faults
	// At are faults of certain datagrams, beside those of chance.
	At []FaultAt

	// Log gets a record of level Debug for each fault. nil: none.
	Log *slog.Logger
	// Done, if not nil, is told of each fault when it happens. It may be called concurrently, must
	// not use the socket, and should be quick.
	Done func(FaultEvent)
}

// Faults are the faults of one direction. Fields of type float64 are probabilities, 0 to 1, for
// each datagram.
type Faults struct {
	Delay, Corrupt, Refuse float64       // see the FaultKinds
	MaxDelay               time.Duration // the longest delay; 0 or less: 10 ms
}

// A FaultAt is a fault of a certain datagram.
type FaultAt struct {
	Kind   FaultKind     // what happens
	Write  bool          // to what is sent; else to what is received
	Offset int64         // how many datagrams of that direction were before
	For    time.Duration // of a delay; 0 or less: the direction's MaxDelay
}

// A FaultEvent is a fault that has happened.
type FaultEvent struct {
	Kind   FaultKind      // what happened
	Write  bool           // to what was sent; else to what was received
	Offset int64          // how many datagrams of that direction were before
	For    time.Duration  // of a delay
	Remote transport.Addr // of the peer
}

// String says what happened where, as "corrupt of datagram 7 of what was read".
func (e FaultEvent) String() string {
	direction, during := "read", ""
	if e.Write {
		direction = "written"
	}
	if e.For > 0 {
		during = fmt.Sprintf(" for %v", e.For)
	}
	return fmt.Sprintf("%v%s of datagram %d of what was %s", e.Kind, during, e.Offset, direction)
}

// A FaultError is the error of an operation that Fault has made fail. It wraps that of the system,
// ECONNREFUSED.
type FaultError struct {
	Event FaultEvent // what Fault did
	Err   error      // the system's error
}

// Error says that it was injected, and what.
func (e *FaultError) Error() string { return "injected " + e.Event.String() + ": " + e.Err.Error() }

// Unwrap gives the system's error.
func (e *FaultError) Unwrap() error { return e.Err }

// Fault makes a socket that is as unpleasant as o says over d, which is the new one's from now on:
// closing the new one closes it. It is for tests of what stands above, and repeatable. Nothing is
// lost, duplicated or put in another order. Time is package time's, so that it works in a
// testing/synctest bubble.
func Fault(d tsocket.Socket, o FaultOptions) *tsocket.Datagram {
	return over(d, func(below through) tsocket.End {
		return &faulty{through: below, o: o, remote: d.RemoteAddr(), in: newCourse(&o, false), out: newCourse(&o, true)}
	})
}

// A faulty is an end of Fault.
type faulty struct {
	through
	o       FaultOptions
	remote  transport.Addr
	in, out *course

	// Owned by the receiver.
	buf  []byte
	held *held
}

// A held has come, and is held back.
type held struct {
	p    []byte
	size int
	from transport.Addr
	due  time.Time
}

// heldSize is how long a datagram that is held back may be, unless its receiver's buffer is longer.
const heldSize = 64 << 10

// A course is where a direction is among its faults. It depends on nothing but the options.
type course struct {
	rng *rand.Rand
	f   Faults
	at  []FaultAt
	pos int64 // of the next datagram

	drawn   int64 // the datagram of which the following is; -1: none
	does    []FaultEvent
	hold    time.Duration
	mask    byte // of a corrupted byte
	refuse  bool
	refused bool // that datagram has been refused
	begun   bool // its sending has begun, and due is when it goes out
	due     time.Time
}

func newCourse(o *FaultOptions, write bool) *course {
	w := &course{f: o.Read, drawn: -1}
	direction := uint64(1)
	if write {
		w.f, direction = o.Write, 2
	}
	if w.f.MaxDelay <= 0 {
		w.f.MaxDelay = 10 * time.Millisecond
	}
	for _, at := range o.At {
		if at.Write == write {
			w.at = append(w.at, at)
		}
	}
	w.rng = rand.New(rand.NewPCG(scatter(o.Seed), scatter(o.Seed^direction<<4)))
	return w
}

// scatter makes numbers that are near each other differ in every bit: the finalizer of splitmix64.
func scatter(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// here draws the faults of the next datagram, unless that has been done. Every datagram takes as
// many random numbers from the source as every other, so that a change of one probability does not
// move the other faults.
func (w *course) here() *course {
	if w.drawn == w.pos {
		return w
	}
	w.drawn, w.does, w.hold, w.mask, w.refuse, w.refused, w.begun = w.pos, nil, 0, 0, false, false, false
	for kind, probability := range []float64{w.f.Delay, w.f.Corrupt, w.f.Refuse} {
		happens, value := w.rng.Float64() < probability, w.rng.Float64()
		if happens {
			w.add(FaultKind(kind+1), max(time.Duration(value*float64(w.f.MaxDelay)), 1), byte(1+value*255))
		}
	}
	for _, at := range w.at {
		if at.Offset == w.pos {
			w.add(at.Kind, cmp.Or(max(at.For, 0), w.f.MaxDelay), 0xff)
		}
	}
	return w
}

func (w *course) add(kind FaultKind, during time.Duration, mask byte) {
	e := FaultEvent{Kind: kind, Offset: w.pos}
	switch kind {
	case FaultDelay:
		e.For = during
		w.hold += min(during, transport.Infinite-w.hold)
	case FaultCorrupt:
		w.mask = mask
	case FaultRefuse:
		w.refuse = true
		return // it is told of when it happens
	default:
		return
	}
	w.does = append(w.does, e)
}

// refuses is the error of a datagram that is to be refused, and has not been yet; else nil.
func (c *faulty) refuses(w *course, write bool, peer transport.Addr) error {
	if !w.refuse || w.refused {
		return nil
	}
	w.refused = true
	return &FaultError{c.told(FaultEvent{Kind: FaultRefuse, Offset: w.pos}, write, peer), syscall.ECONNREFUSED}
}

// tell tells of the other faults of a datagram.
func (c *faulty) tell(w *course, write bool, peer transport.Addr) {
	for _, e := range w.does {
		c.told(e, write, peer)
	}
}

// told tells of a fault, and returns it with all that is known of it.
func (c *faulty) told(e FaultEvent, write bool, peer transport.Addr) FaultEvent {
	if peer == nil {
		peer = c.remote
	}
	e.Write, e.Remote = write, peer
	if c.o.Log != nil && c.o.Log.Enabled(context.Background(), slog.LevelDebug) {
		c.o.Log.Debug("fault", "kind", e.Kind.String(), "write", e.Write, "offset", e.Offset, "for", e.For, "remote", text(e.Remote))
	}
	if c.o.Done != nil {
		c.o.Done(e)
	}
	return e
}

// corrupt changes a byte of the next datagram.
func (c *faulty) corrupt(w *course, p []byte) {
	p[scatter(c.o.Seed^uint64(w.pos))%uint64(len(p))] ^= w.mask
}

func (c *faulty) Receive(ctx context.Context, p []byte) (n, size int, from transport.Addr, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, nil, err
	}
	if c.held != nil {
		return c.settle(ctx, p)
	}
	w := c.in.here()
	if err := c.refuses(w, false, nil); err != nil {
		return 0, 0, nil, err
	}
	if w.hold > 0 {
		if err := c.hold(ctx, len(p), w.hold); err != nil || c.held == nil {
			return 0, 0, nil, err
		}
		return c.settle(ctx, p)
	}
	return c.take(ctx, p)
}

// take receives a datagram, with its faults, into p.
func (c *faulty) take(ctx context.Context, p []byte) (
	n, size int, from transport.Addr, err error,
) {
	n, size, from, err = c.through.Receive(ctx, p)
	if err == nil && n > 0 {
		c.corrupt(c.in, p[:n])
		c.tell(c.in, false, from)
		c.in.pos++
	}
	return n, size, from, err
}

// hold receives a datagram that is to be held back, of which room bytes at least are kept. An empty
// one is not held.
func (c *faulty) hold(
	ctx context.Context, room int, delay time.Duration,
) error {
	if len(c.buf) < max(heldSize, room) {
		c.buf = make([]byte, max(heldSize, room))
	}
	n, size, from, err := c.take(ctx, c.buf)
	if err != nil || n == 0 {
		return err
	}
	if size > n {
		size = tsocket.UnknownSize // a longer buffer does not get the rest either
	}
	c.held = &held{c.buf[:n], size, from, time.Now().Add(delay)}
	return nil
}

// Next takes a datagram that is to be held back, and waits until it may be received.
func (c *faulty) Next(ctx context.Context) (size int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if c.held == nil {
		w := c.in.here()
		if err := c.refuses(w, false, nil); err != nil {
			return 0, err
		}
		size, err := c.through.Next(ctx)
		if err != nil || w.hold == 0 {
			return size, err
		}
		if err := c.hold(ctx, size, w.hold); err != nil || c.held == nil {
			return 0, err
		}
	}
	return len(c.held.p), c.waits.Until(ctx, c.held.due)
}

// settle waits until the datagram that is held back may be received.
func (c *faulty) settle(ctx context.Context, p []byte) (n, size int, from transport.Addr, err error) {
	h := c.held
	if err := c.waits.Until(ctx, h.due); err != nil {
		return 0, 0, nil, err
	}
	c.held = nil
	return copy(p, h.p), h.size, h.from, nil
}

func (c *faulty) Send(ctx context.Context, p []byte, to transport.Addr) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := c.out.here()
	if err := c.refuses(w, true, to); err != nil {
		return err
	}
	if !w.begun {
		w.begun = true
		w.due = time.Now().Add(w.hold)
		c.tell(w, true, to)
	}
	if err := c.waits.Until(ctx, w.due); err != nil {
		return err
	}
	if w.mask != 0 {
		p = slices.Clone(p)
		c.corrupt(w, p)
	}
	err := c.through.Send(ctx, p, to)
	if err == nil {
		w.pos++
	}
	return err
}
