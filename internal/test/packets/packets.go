// Package packets has a carrier that keeps packets, over any transport.
package packets

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/transport"
)

// Over makes a transport that keeps packets: below, each goes behind its length in four bytes.
// frameHeader is what FrameHeaderSize says, 0 or 4: after the handshake it is one of packets, or of
// bytes.
func Over(tr transport.Transport, frameHeader int) transport.Transport {
	t, _ := transport.New(Callbacks(tr, frameHeader), nil) // no field is missing
	return t
}

// Patient is tr, made by transport.New, for tests in which every callback comes back, though the
// machine may stand still meanwhile.
func Patient(tr transport.Transport) transport.Transport {
	type patient interface {
		WithPatience(limit time.Duration) transport.Transport
	}
	return tr.(patient).WithPatience(time.Minute)
}

// A Socket is the socket context of Callbacks.
type Socket struct {
	l       *transport.Listener
	s       *transport.Stream
	q       queue.Queue
	in, out turn
	bytes   bool        // it keeps no packets any more
	halved  atomic.Bool // CloseWrite has been called

	head [4]byte
	have int // bytes of head that have come
	left int // bytes of the packet that are still to come
}

// Callbacks are the plug-in that Over makes a transport of.
func Callbacks(tr transport.Transport, frameHeader int) transport.Callbacks[*Socket] {
	complete := func(c *Socket) error { c.bytes = frameHeader != 0; return nil }
	return transport.Callbacks[*Socket]{
		Flags:  transport.FullImpl,
		Socket: func(any, transport.Addr) (*Socket, error) { return new(Socket), nil },
		Listen: func(c *Socket, addr transport.Addr, backlog int) (_ transport.Addr, err error) {
			if c.l, err = tr.Listen(addr, backlog); err != nil {
				return nil, bare(err)
			}
			return c.l.Addr(), nil
		},
		Accept: func(c *Socket, tmo time.Duration) (*Socket, transport.Addr, error) {
			ctx, done := c.in.begin(tmo)
			defer done()
			s, err := c.l.Accept(ctx)
			if err != nil {
				return nil, nil, over(err)
			}
			return &Socket{s: s, q: s.Posts(nil)}, s.RemoteAddr(), nil
		},
		Connect: func(c *Socket, addr transport.Addr, tmo time.Duration) (err error) {
			ctx, done := c.out.begin(tmo)
			defer done()
			if c.s, err = tr.Connect(ctx, addr); err != nil {
				return over(err)
			}
			c.q = c.s.Posts(nil)
			return nil
		},
		Read:                      (*Socket).read,
		Write:                     (*Socket).write,
		HandshakePacketHeaderSize: func(*Socket) (int, error) { return 0, nil },
		FrameHeaderSize:           func(*Socket) (int, error) { return frameHeader, nil },
		ConnectHandshakeComplete:  complete,
		AcceptHandshakeComplete:   complete,
		GetFD:                     func(*Socket) (int, error) { return -1, errors.ErrUnsupported },
		LocalAddr: func(c *Socket) (transport.Addr, error) {
			if c.l != nil {
				return c.l.Addr(), nil
			}
			return c.s.LocalAddr(), nil
		},
		CloseWrite:   (*Socket).closeWrite,
		Interrupt:    func(c *Socket) { c.in.interrupt(); c.out.interrupt() },
		InterruptOne: func(c *Socket, writing bool) { c.turn(writing).interrupt() },
		Close:        (*Socket).close,
	}
}

func (c *Socket) read(p []byte, tmo time.Duration) (int, error) {
	ctx, done := c.in.begin(tmo)
	defer done()
	if c.bytes {
		n, err := c.s.Read(ctx, p)
		return n, over(err)
	}
	for c.left == 0 {
		n, err := c.s.Read(ctx, c.head[c.have:])
		if err != nil {
			return 0, over(err)
		}
		if c.have += n; c.have < len(c.head) {
			continue
		}
		c.have, c.left = 0, int(binary.BigEndian.Uint32(c.head[:]))
		if c.left == 0 {
			return 0, transport.ErrEndOfPacket
		}
	}
	n, err := c.s.Read(ctx, p[:min(len(p), c.left)])
	if c.left -= n; err == nil && c.left == 0 {
		return n, transport.ErrEndOfPacket
	}
	return n, over(err)
}

// write leaves what is begun to the queue.
func (c *Socket) write(p []byte, tmo time.Duration) (int, error) {
	ctx, done := c.out.begin(tmo)
	defer done()
	var head []byte
	if !c.bytes {
		head = binary.BigEndian.AppendUint32(nil, uint32(len(p)))
	}
	if c.halved.Load() {
		return 0, syscall.EPIPE
	}
	if err := c.q.Post(ctx, head, p, 0); err != nil {
		if c.halved.Load() {
			return 0, syscall.EPIPE
		}
		return 0, over(err)
	}
	return len(p), nil
}

func (c *Socket) closeWrite() error {
	c.halved.Store(true)
	c.out.interrupt()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), farewell)
		defer cancel()
		c.endWriting(ctx)
	}()
	return nil
}

// farewell is how long a peer may take to read what was written before the end: long, as the
// machine may be busy, and one that is gone ends the wait at once.
const farewell = 30 * time.Second

// endWriting waits for what is written, and then ends that direction.
func (c *Socket) endWriting(ctx context.Context) {
	_ = c.q.Flush(ctx)
	_ = c.s.CloseWrite()
}

func (c *Socket) close() error {
	switch {
	case c.l != nil:
		return bare(c.l.Close())
	case c.s == nil:
		return nil
	}
	go c.leave()
	return nil
}

// leave closes once the peer has what was written: bytes that nobody reads would make it a reset.
func (c *Socket) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	c.endWriting(ctx)
	b := make([]byte, 64<<10)
	for most := 64 << 20; most > 0; { // the peer may have nothing to read, and write for ever
		n, err := c.s.Read(ctx, b)
		if err != nil {
			break
		}
		most -= n
	}
	_ = c.s.Close()
}

// Abort is a Close that throws away what has not been sent.
func (c *Socket) Abort() error {
	if c.s == nil {
		return c.close()
	}
	return bare(c.s.Close())
}

func (c *Socket) turn(writing bool) *turn {
	if writing {
		return &c.out
	}
	return &c.in
}

// bare is an error without the operation and address of the stream below.
func bare(err error) error {
	if e, ok := err.(*transport.OpError); ok {
		return e.Err
	}
	return err
}

// over is bare for a call that may have been interrupted.
func over(err error) error {
	if errors.Is(err, context.Canceled) {
		return os.ErrDeadlineExceeded
	}
	return bare(err)
}

// A turn gives the call in flight of a direction a context, and ends it.
type turn struct {
	mu     sync.Mutex
	cancel context.CancelFunc
}

func (t *turn) begin(tmo time.Duration) (ctx context.Context, end func()) {
	if tmo == 0 {
		return transport.NoWait(), func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.mu.Lock()
	t.cancel = cancel
	t.mu.Unlock()
	if tmo == transport.Infinite {
		return ctx, cancel
	}
	limited, done := context.WithTimeout(ctx, tmo)
	return limited, func() { done(); cancel() }
}

func (t *turn) interrupt() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cancel != nil {
		t.cancel()
	}
}
