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

// made calls the Factory.
func (t *trial) made() (transport.Transport, transport.Addr) {
	tr, addr, err := t.s.factory()
	if err == nil && (tr == nil || addr == nil) {
		err = errors.New("it gives no transport, or no address")
	}
	t.must(err, "the Factory failed")
	return tr, addr
}

// listen opens a listener at a fresh address.
func (t *trial) listen(backlog int) site {
	tr, addr := t.made()
	l, err := do(t, "Listen", keep(t, func() (*transport.Listener, error) { return tr.Listen(addr, backlog) }))
	if err != nil {
		t.broke(culprit(err, "BoundAddress"), "Listen: %w", err)
		runtime.Goexit()
	}
	return site{tr, l}
}

// connecting returns a function that connects to the listener, and accepting one that accepts from
// it.
func (at site) connecting(ctx context.Context, t *trial) func() (*stream, error) {
	return keep(t, func() (*stream, error) { return asStream(at.tr.Connect(ctx, at.l.Addr())) })
}

func (at site) accepting(ctx context.Context, t *trial) func() (*stream, error) {
	return keep(t, func() (*stream, error) { return asStream(at.l.Accept(ctx)) })
}

// connect opens one connection to a listener and accepts it. Nothing is sent on it, unless Connect
// needs that: see met.
func (t *trial) connect(at site) (client, server *stream) { return t.connectAnd(at, nil) }

// A beginning is what an end does before its first byte. Those of the two ends run at the same
// time.
type beginning func(ctx context.Context, s *stream, accepted bool) error

func (t *trial) connectAnd(at site, begins beginning) (client, server *stream) {
	ctx, cancel := context.WithCancel(t.soon())
	defer cancel()
	accept := begin(t, "Accept", at.accepting(ctx, t))
	connect := begin(t, "Connect", at.connecting(ctx, t))
	_, _ = do(t, "Connect", func() (none struct{}, _ error) {
		select {
		case <-connect.done:
		case <-accept.done:
		}
		return none, nil
	})
	if connect.endsWithin(0) {
		t.must(connect.err, "Connect to %v, where a listener is bound", at.l.Addr())
	}
	server, err := accept.end()
	t.must(err, "Accept on %v beside a Connect", at.l.Addr())
	return t.met(at, connect, server, begins)
}

// met waits for a Connect whose other end, server, has been accepted. With some carriers, such as
// package tls, Connect does not return before the accepting end reads. Then met reads at the
// accepting end, and the connecting end sends a byte, since nothing else ends that Read without an
// error. Over a carrier that keeps packets it makes a handshake, which does the same.
func (t *trial) met(at site, connect *call[*stream], server *stream, begins beginning) (_, _ *stream) {
	ctx, cancel := context.WithCancel(t.soon())
	defer cancel()
	side := func(s *stream, accepted bool, then func() error) *call[struct{}] {
		return begin(t, "what an end does first", func() (_ struct{}, err error) {
			if begins != nil {
				err = begins(ctx, s, accepted)
			}
			switch {
			case err != nil:
			case t.keepsPackets(ctx, s):
				err = s.shake(ctx, accepted, t.s.patience*3/4)
			default:
				err = then()
			}
			return struct{}{}, err
		})
	}
	nothing := func() error { return nil }
	reads, writes := nothing, nothing
	// if Connect is only slow, this does no harm
	if t.s.needsReader.Load() || !connect.endsWithin(4*short) {
		t.s.needsReader.Store(true)
		reads = func() error { _, err := server.Readv(ctx, make([]byte, 1)); return err }
	}
	accepted := side(server, true, reads)
	client, err := connect.end()
	t.must(err, "Connect to %v, where a listener is bound", at.l.Addr())
	other := t.stranger(at, client, server)
	if t.s.needsReader.Load() {
		if other != nil {
			t.skip("strangers connect to %v", at.l.Addr())
		}
		writes = func() error { _, err := client.Writev(ctx, []byte{'!'}); return err }
	}
	connecting := side(client, false, writes)
	if other != nil {
		server, accepted = other, side(other, true, nothing)
	}
	_, err = connecting.end()
	if err != nil && !t.s.ofBytes.Load() { // the other end may know why
		_, e := accepted.end()
		err = errors.Join(err, e)
	}
	t.must(err, "at the connecting end")
	_, err = accepted.end()
	t.must(err, "at the accepting end")
	return client, server
}

// keepsPackets reports whether the handshake on s has packets without a length. The first
// connection is asked whether that is so; what is wrong with the answer is left to other rules.
func (t *trial) keepsPackets(ctx context.Context, s *stream) bool {
	if t.s.ofBytes.Load() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, t.s.patience/2)
	defer cancel()
	n, err := s.headerSize(ctx)
	if err != nil || n != 0 {
		t.s.ofBytes.Store(true)
		return false
	}
	return true
}

// stranger guards against connections of other programs to our listener (any program may try a TCP
// port): if the addresses say that server is not the other end of client, and another connection is
// waiting that is, stranger returns that one.
func (t *trial) stranger(at site, client, server *stream) *stream {
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

// localAddr is the address of a stream's own end; nil if the plug-in does not tell it.
func (t *trial) localAddr(s *stream) transport.Addr {
	a, _ := do(t, "LocalAddr", func() (transport.Addr, error) { return s.LocalAddr(), nil })
	return a
}

func sameAddr(a, b transport.Addr) bool {
	return a != nil && b != nil && a.Network() == b.Network() && a.String() == b.String()
}

// greet sends a byte each way, one after the other, so that anything a plug-in does with its first
// bytes is over.
func (t *trial) greet(client, server *stream) error {
	say := func(ctx context.Context, s *stream, b byte) error {
		if _, err := s.Writev(ctx, []byte{b}); err != nil {
			return fmt.Errorf("writing the first byte: %w", err)
		}
		return nil
	}
	hear := func(ctx context.Context, s *stream, want byte) error {
		var b [1]byte
		if _, err := s.Readv(ctx, b[:]); err != nil {
			return fmt.Errorf("reading the first byte: %w", err)
		}
		if b[0] != want {
			return fmt.Errorf("the first byte was written as %q and read as %q", want, b[0])
		}
		return nil
	}
	return t.together(
		step{"the first exchange at the connecting end", func(ctx context.Context) error {
			if err := say(ctx, client, 'c'); err != nil {
				return err
			}
			return hear(ctx, client, 's')
		}},
		step{"the first exchange at the accepting end", func(ctx context.Context) error {
			if err := hear(ctx, server, 'c'); err != nil {
				return err
			}
			return say(ctx, server, 's')
		}},
	)
}

// join opens one connection and greets over it.
func (t *trial) join(at site) (client, server *stream) { return t.joinAnd(at, nil) }

func (t *trial) joinAnd(at site, begins beginning) (client, server *stream) {
	client, server = t.connectAnd(at, begins)
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
func (t *trial) pair() (client, server *stream) { return t.join(t.listen(0)) }

// isTimeout tells whether err is a time-out in the form that the SDK promises.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout() && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded))
}

// write sends p, which must succeed.
func (t *trial) write(s *stream, p []byte) { t.sending(s, p).sent() }

// A sending is a write of n bytes that runs beside the trial. With most carriers it ends at once,
// since they hold unread bytes; with others it waits until the peer reads.
type sending struct {
	*call[int64]
	n int
}

// sending begins to send p, and gives a carrier that holds unread bytes the time to take p.
func (t *trial) sending(s *stream, p []byte) sending {
	ctx := t.soon()
	w := sending{begin(t, "Writev", func() (int64, error) { return s.Writev(ctx, p) }), len(p)}
	if w.endsWithin(moment) {
		w.sent()
	}
	return w
}

// sent waits for the end of the write, which must succeed.
func (w sending) sent() {
	n, err := w.end()
	w.t.must(err, "Writev of %d bytes", w.n)
	if n != int64(w.n) {
		w.t.fail("Writev of %d bytes counted %d without an error", w.n, n)
	}
}

// read receives exactly n bytes, which must succeed.
func (t *trial) read(s *stream, n int) []byte {
	ctx := t.soon()
	p := make([]byte, n)
	_, err := do(t, "a Readv of what has been written", func() (int64, error) { return s.Readv(ctx, p) })
	t.must(err, "Readv of %d bytes that have been sent", n)
	return p
}

// readAll fills p, and notes each part as progress.
func (t *trial) readAll(ctx context.Context, s *stream, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = s.Read(ctx, p[n:])
		t.progress()
		n += k
	}
	if n == len(p) {
		err = nil
	}
	return n, err
}

// drain receives n bytes, which must succeed, and throws them away.
func (t *trial) drain(s *stream, n int) {
	ctx := t.soon()
	left, err := do(t, "a Read of what has been written", func() (int, error) {
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

// says sends a few bytes over from and receives them at to, which must succeed.
func (t *trial) says(from, to *stream, words string) {
	write := t.sending(from, []byte(words))
	got := t.read(to, len(words))
	write.sent()
	if !bytes.Equal(got, []byte(words)) {
		t.fail("%q was written and %q read", words, got)
	}
}

// lastWords writes p, calls end, which ends that direction, and returns what the other end reads up
// to the end of the stream. It reads after the write if the carrier holds p, else beside the write.
func (t *trial) lastWords(from, to *stream, p []byte, end func()) ([]byte, error) {
	write := t.sending(from, p)
	if write.endsWithin(0) {
		end()
		return t.resting(to).end()
	}
	rest := t.resting(to)
	write.sent()
	end()
	return rest.end()
}

// rest reads to the end of the stream and returns what came; the error is nil if the stream ends
// with io.EOF.
func (t *trial) rest(s *stream) ([]byte, error) { return t.resting(s).end() }

func (t *trial) resting(s *stream) *call[[]byte] {
	ctx := t.soon()
	return begin(t, "a Read up to the end of the stream", func() (all []byte, err error) {
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
}
