package transporttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"

	"github.com/cnode-go/cnode/transport"
)

// A site is a listener with the transport that opened it.
type site struct {
	tr transport.Transport
	l  *transport.Listener
}

// listen opens a listener at a fresh address.
func (t *trial) listen(backlog int) site {
	tr, addr, err := t.s.factory()
	t.must(err, "the Factory failed")
	l, err := do(t, "Listen", keep(t, func() (*transport.Listener, error) { return tr.Listen(addr, backlog) }))
	if err != nil {
		t.broke(culprit(err, "BoundAddress"), "Listen: %w", err)
		runtime.Goexit()
	}
	return site{tr, l}
}

// connecting is a Connect to the listener, and accepting an Accept of it.
func (at site) connecting(ctx context.Context, t *trial) func() (*transport.Stream, error) {
	return keep(t, func() (*transport.Stream, error) { return at.tr.Connect(ctx, at.l.Addr()) })
}

func (at site) accepting(ctx context.Context, t *trial) func() (*transport.Stream, error) {
	return keep(t, func() (*transport.Stream, error) { return at.l.Accept(ctx) })
}

// connect opens one connection to a listener and accepts it. Nothing is sent on it.
func (t *trial) connect(at site) (client, server *transport.Stream) {
	ctx, cancel := context.WithCancel(t.soon())
	accept := begin(t, "Accept", at.accepting(ctx, t))
	defer cancel()
	client, err := do(t, "Connect", at.connecting(ctx, t))
	t.must(err, "Connect to %v, where a listener is bound", at.l.Addr())
	server, err = accept.end()
	t.must(err, "Accept on %v beside a Connect that succeeded", at.l.Addr())
	if other := t.stranger(at, client, server); other != nil {
		server = other
	}
	return client, server
}

// stranger guards against a connection of somebody else to our listener (any program may try a TCP port): if the addresses say
// that server is not the other end of client, and a further connection is waiting that is, it returns that one.
func (t *trial) stranger(at site, client, server *transport.Stream) *transport.Stream {
	mine := t.localAddr(client)
	if mine == nil || sameAddr(mine, server.RemoteAddr()) {
		return nil
	}
	other, err := do(t, "Accept", at.accepting(transport.NoWait(), t))
	if err != nil || !sameAddr(mine, other.RemoteAddr()) {
		return nil
	}
	return other
}

// localAddr is the address of a stream's own end; nil where the plug-in does not tell.
func (t *trial) localAddr(s *transport.Stream) transport.Addr {
	a, _ := do(t, "LocalAddr", func() (transport.Addr, error) { return s.LocalAddr(), nil })
	return a
}

func sameAddr(a, b transport.Addr) bool {
	return a != nil && b != nil && a.Network() == b.Network() && a.String() == b.String()
}

// greet sends a byte each way, so that whatever a plug-in does on its first bytes is over.
func (t *trial) greet(client, server *transport.Stream) error {
	ctx := t.soon()
	side := func(s *transport.Stream, say, hear byte) func() (struct{}, error) {
		return func() (struct{}, error) {
			if _, err := s.Writev(ctx, []byte{say}); err != nil {
				return struct{}{}, fmt.Errorf("writing the first byte: %w", err)
			}
			var b [1]byte
			if _, err := s.Readv(ctx, b[:]); err != nil {
				return struct{}{}, fmt.Errorf("reading the first byte: %w", err)
			}
			if b[0] != hear {
				return struct{}{}, fmt.Errorf("the first byte was written as %q and read as %q", hear, b[0])
			}
			return struct{}{}, nil
		}
	}
	c := begin(t, "the first exchange at the connecting end", side(client, 'c', 's'))
	s := begin(t, "the first exchange at the accepting end", side(server, 's', 'c'))
	_, cerr := c.end()
	_, serr := s.end()
	err := errors.Join(cerr, serr)
	return err
}

// join opens one connection and greets over it.
func (t *trial) join(at site) (client, server *transport.Stream) {
	client, server = t.connect(at)
	if err := t.greet(client, server); err != nil {
		if name := culprit(err, ""); name != "" {
			t.broke(name, "%w", err)
		} else {
			t.broke("Exchange", "%w", err)
		}
		runtime.Goexit()
	}
	return client, server
}

// pair opens a connection at a fresh address and greets over it.
func (t *trial) pair() (client, server *transport.Stream) { return t.join(t.listen(0)) }

// isTimeout tells a time-out in the form that the SDK promises.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout() && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded))
}

// write sends p, which must succeed.
func (t *trial) write(s *transport.Stream, p []byte) {
	ctx := t.soon()
	n, err := do(t, "Writev", func() (int64, error) { return s.Writev(ctx, p) })
	t.must(err, "Writev of %d bytes", len(p))
	if n != int64(len(p)) {
		t.fail("Writev of %d bytes counted %d without an error", len(p), n)
	}
}

// read receives exactly n bytes, which must succeed.
func (t *trial) read(s *transport.Stream, n int) []byte {
	ctx := t.soon()
	p := make([]byte, n)
	_, err := do(t, "Readv", func() (int64, error) { return s.Readv(ctx, p) })
	t.must(err, "Readv of %d bytes that have been sent", n)
	return p
}

// drain receives n bytes, which must succeed, and throws them away.
func (t *trial) drain(s *transport.Stream, n int) {
	ctx := t.soon()
	left, err := do(t, "Read", func() (int, error) {
		p := make([]byte, 256<<10)
		for n > 0 {
			k, err := s.Read(ctx, p[:min(n, len(p))])
			t.progress()
			if n -= k; err != nil {
				return n, err
			}
		}
		return 0, nil
	})
	t.must(err, "Read, with %d bytes under way", left)
}

// says sends a few bytes over from and has them arrive at to, which must succeed.
func (t *trial) says(from, to *transport.Stream, words string) {
	t.write(from, []byte(words))
	if got := t.read(to, len(words)); !bytes.Equal(got, []byte(words)) {
		t.fail("%q was written and %q read", words, got)
	}
}

// rest reads to the end of the stream and returns what came; the error is nil for an end in good order.
func (t *trial) rest(s *transport.Stream) ([]byte, error) {
	ctx := t.soon()
	b, err := do(t, "Read", func() (all []byte, err error) {
		p := make([]byte, 32<<10)
		for {
			n, err := s.Read(ctx, p)
			t.progress()
			all = append(all, p[:n]...)
			if err == io.EOF {
				return all, nil
			}
			if err != nil {
				return all, err
			}
		}
	})
	return b, err
}
