package virtual

import (
	"context"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/pace"
)

// LimitOptions say how fast bytes may pass. The zero value does not limit anything.
type LimitOptions struct {
	// Read and Write are bytes per second, of what is read and what is written. 0 or less, or no
	// number: as fast as it goes.
	Read, Write float64
	// Burst is how many bytes may pass at once after a rest, in each direction. 0 is what passes in
	// a tenth of a second; it is at least 1. An operation that waits for bytes and wakes late takes
	// those of the lateness, too, even if they are more than Burst.
	Burst int
	// Shared says that the rates are those of all connections of the transport together, and not of
	// each. Those that wait are served in no certain order. Reads that were waiting for the peers
	// while the bucket filled may each take a Burst when bytes come; those that follow wait until
	// the rate is kept again.
	Shared bool
}

// Limit makes a Transport whose streams carry so many bytes a second, over any other: a bucket that
// fills with time is emptied by what passes, and an operation on an empty one waits, until its
// context ends or the stream is closed. A packet of a carrier that keeps packets goes out whole
// once a byte may. Bytes that are not read stay in the carrier below, so the peer feels the
// back-pressure. A single try ([transport.NoWait]) takes what the bucket holds, or is a time-out.
// Connecting and accepting are not limited.
//
// A hand-off passes through: in the other process the bucket is full again. Time is package time's,
// so that it works in a testing/synctest bubble.
func Limit(tr transport.Transport, o LimitOptions) transport.Transport {
	w := o.wrapper()
	if o.Shared {
		read, write := o.buckets()
		w.wrap = func(below *transport.Stream) end { return newLimited(below, read, write) }
	}
	return newWrapper(tr, w)
}

// LimitStream is [Limit] over a single stream, whatever it comes from: [transport.UnixPair],
// [transport.ConnectTCP], [transport.AdoptStream], a [transport.Listener]. It takes s over, see the
// package's doc. What s has read ahead is not limited. Shared is of no effect.
func LimitStream(s *transport.Stream, o LimitOptions) (*transport.Stream, error) {
	w := o.wrapper()
	return w.over(s, w.wrap)
}

func (o LimitOptions) wrapper() wrapper { return wrapper{wrap: o.over} }

// over is an end of a stream with rates of its own.
func (o LimitOptions) over(below *transport.Stream) end {
	read, write := o.buckets()
	return newLimited(below, read, write)
}

func (o LimitOptions) buckets() (read, write *pace.Bucket) {
	return pace.NewBucket(o.Read, o.Burst), pace.NewBucket(o.Write, o.Burst)
}

// A limited is an end of Limit.
type limited struct {
	through
	in, out         *pace.Bucket
	inward, outward *pace.Pauser
	vec             [][]byte // the writer's
}

func newLimited(below *transport.Stream, read, write *pace.Bucket) end {
	return &limited{
		through: through{below}, in: read, out: write, inward: pace.NewPauser(), outward: pace.NewPauser(),
	}
}

func (c *limited) read(ctx context.Context, p []byte) (int, error) {
	k, err := c.in.Allow(ctx, c.inward, int64(len(p)))
	if err != nil {
		return 0, err
	}
	n, err := c.through.read(ctx, p[:k])
	c.in.Take(int64(n))
	return n, err
}

func (c *limited) write(ctx context.Context, v [][]byte) (int64, error) {
	if c.out.IsUnlimited() {
		return c.through.write(ctx, v)
	}
	size := length(v)
	k, err := c.out.Allow(ctx, c.outward, size)
	if err != nil {
		return 0, err
	}
	if k < size && !c.below.KeepsPackets() { // a packet goes out whole, and the bucket owes the rest
		c.vec = cut(c.vec[:0], v, 0, k)
		v = c.vec
	}
	n, err := c.through.write(ctx, v)
	if wasLost(err) { // the callback may still look at the vector
		c.vec = nil
	}
	clear(c.vec)
	c.out.Take(n)
	return n, err
}

// closeWrite lets a write that waits here go on: the stream below says what a write after it gives.
func (c *limited) closeWrite() error {
	err := c.through.closeWrite()
	if err == nil {
		c.outward.Lift()
	}
	return err
}
