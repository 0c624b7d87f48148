package transporttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// short is the time of operations that are meant to time out.
const short = 50 * time.Millisecond

// timesOut ends the trial unless err is a time-out that came when ctx's time was over, not before.
func (t *trial) timesOut(ctx context.Context, err error, what string) {
	if !isTimeout(err) {
		t.fail("%s ended with %w, not with a time-out, which "+saysTimeout, what, orNone(err))
	}
	if !overdue(ctx) {
		end, _ := ctx.Deadline()
		t.fail("%s timed out %v before its time", what, time.Until(end))
	}
}

// saysTimeout tells how a callback is to report that its time is over.
const saysTimeout = "a callback says by os.ErrDeadlineExceeded, context.DeadlineExceeded or EAGAIN"

// saysNotReady tells what a callback does in place of waiting.
const saysNotReady = "without FullImpl it has to return EAGAIN when nothing is there, or nothing fits: " +
	"the SDK waits, and calls it again; with FullImpl it has to return when its time is over"

// coarse is the tolerance for inexact clocks.
const coarse = 5 * time.Millisecond

// overdue reports whether a context's time is over.
func overdue(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return !ok || time.Until(end) <= coarse
}

// readDeadline reads from an idle connection for a while.
func readDeadline(t *trial) {
	client, server := t.pair()
	for range 2 {
		var bufs, left [][]byte
		for _, s := range []*stream{client, server} {
			ctx := t.after(short)
			p := make([]byte, 10)
			_, err := do(t, "Read", func() (int, error) { return s.Read(ctx, p) })
			t.timesOut(ctx, err, "a Read for which nothing came")
			bufs, left = append(bufs, p), append(left, slices.Clone(p))
		}
		t.says(client, server, "after a time-out")
		t.says(server, client, "the other way")
		for i := range bufs {
			if !bytes.Equal(bufs[i], left[i]) {
				t.fail("a Read that had timed out has kept its caller's buffer, and put bytes there when they came")
			}
		}
	}
}

// readNoWait reads with a time of 0.
func readNoWait(t *trial) {
	client, server := t.pair()
	p := make([]byte, 10)
	try := func() (int, error) { return server.Read(transport.NoWait(), p) }
	n, err := do(t, "Read with a time of 0", try)
	if !isTimeout(err) {
		t.fail("Read with a time of 0 and nothing there gave %d bytes and %w, not a time-out", n, orNone(err))
	}
	write := t.sending(client, []byte("ready"))
	for end := time.Now().Add(t.s.patience); ; time.Sleep(time.Millisecond) {
		n, err := do(t, "Read with a time of 0", try)
		if err == nil && n > 0 {
			t.drain(server, len("ready")-n)
			write.sent()
			return
		}
		if !isTimeout(err) {
			t.fail("Read with a time of 0 gave %d bytes and %w", n, orNone(err))
		}
		if time.Now().After(end) {
			t.inVain()
			t.fail("Read with a time of 0 never succeeds, although bytes have come")
		}
	}
}

// fill writes until a write times out because the carrier takes no more. It returns how many bytes
// of the pattern have been sent. If the carrier takes any number, they must have arrived at the
// other end, to.
func (t *trial) fill(what string, p pattern, to *stream, write func(b []byte) (int64, error)) (sent int64) {
	const limit = 256 << 20
	// more than a carrier takes at once, so that a write is cut off in its middle
	buf := make([]byte, 5<<20+7)
	for sent < limit {
		p.at(sent, buf)
		n, err := do(t, what, func() (int64, error) { return write(buf) })
		if n < 0 || n > int64(len(buf)) {
			t.fail("%s of %d bytes counted %d", what, len(buf), n)
		}
		sent += n
		if isTimeout(err) {
			return sent
		}
		t.must(err, "%s", what)
	}
	ctx := t.soon()
	read := fmt.Sprintf("a Read of the %d bytes that %s has counted", sent, what)
	_, err := do(t, read, func() (struct{}, error) { return struct{}{}, t.receive(ctx, p, to, int(sent), each(64<<10)) })
	t.must(err, "%s", read)
	t.skip("the carrier took %d bytes that nobody read", sent)
	return 0
}

// needsRoom skips a rule about bytes that the carrier holds if the carrier holds none.
func (t *trial) needsRoom() {
	client, _ := t.pair()
	ctx := t.after(4 * short)
	if _, err := do(t, "Writev", func() (int64, error) { return client.Writev(ctx, []byte{1}) }); isTimeout(err) {
		t.skip("the carrier takes no byte that nobody reads")
	}
}

// writeNoWait writes with a time of 0 until the carrier is full.
func writeNoWait(t *trial) {
	t.needsRoom()
	var client, server *stream
	p := pattern(50)
	var sent int64
	for end := time.Now().Add(t.s.patience); sent == 0; {
		client, server = t.pair() // a write that timed out may have ended the last pair
		sent = t.fill("Writev with a time of 0", p, server, func(b []byte) (int64, error) { return client.Writev(transport.NoWait(), b) })
		if sent == 0 && time.Now().After(end) {
			t.inVain()
			t.fail("Writev with a time of 0 never succeeds")
		}
	}
	ctx := t.soon()
	_, err := do(t, "a Read of what Writev with a time of 0 has counted", func() (struct{}, error) {
		return struct{}{}, t.receive(ctx, p, server, int(sent), each(64<<10))
	})
	t.must(err, "reading what Writev with a time of 0 counted")
}

// writeDeadline fills the carrier, first with one write under a context's deadline, then on another
// connection with writes under a net.Conn's deadline. There it goes on after the time-out that has
// cut off the last write.
func writeDeadline(t *trial) {
	client, _ := t.pair()
	v := t.flood(pattern(53))
	ctx := t.after(short)
	n, err := do(t, "Writev", func() (int64, error) { return client.Writev(ctx, v...) })
	if err == nil {
		t.skip("the carrier took %d bytes that nobody read", n)
	}
	t.timesOut(ctx, err, "a Writev that nobody reads")
	if n >= int64(len(v)<<20) {
		t.fail("Writev timed out and counted all of its %d bytes", n)
	}

	client, server := t.pair()
	p := pattern(51)
	conn := transport.NetConn(client.Stream)
	limited := func(b []byte) (int64, error) {
		if err := conn.SetWriteDeadline(time.Now().Add(short)); err != nil {
			return 0, err
		}
		n, err := conn.Write(b)
		return int64(n), err
	}
	goesOn := func(b []byte) (int64, error) { n, err := conn.Write(b); return int64(n), err }
	if client.KeepsPackets() { // a packet that was cut off poisons no stream
		limited = func(b []byte) (int64, error) { return client.Writev(t.after(short), b) }
		goesOn = func(b []byte) (int64, error) { return client.Writev(context.Background(), b) }
	} else if client.frames {
		return
	}
	sent := t.fill("a net.Conn's Write", p, server, limited)
	t.must(conn.SetWriteDeadline(time.Time{}), "SetWriteDeadline")
	const more = 200_000
	// another one: a carrier that has taken more than was counted goes on with the first
	q := pattern(52)
	write := begin(t, "Write", func() (int64, error) { return goesOn(q.bytes(0, more)) })
	soon := t.soon()
	read := begin(t, "a Read of what was counted up to a time-out and after it", func() (struct{}, error) {
		err := t.receive(soon, p, server, int(sent), each(64<<10))
		if err == nil {
			err = t.receive(soon, q, server, more, each(64<<10))
		}
		return struct{}{}, err
	})
	_, werr := write.end()
	if werr != nil {
		_ = client.Close() // else the reader would wait for bytes that will not come
	}
	_, err = read.end()
	if werr != nil {
		// Without Interrupt the SDK ends a write whose time is over by shutdown(2), and package tls
		// ends its connection in the middle of a record. That connection is lost, but the bytes
		// that came must be those that were counted.
		if d := new(difference); errors.As(err, &d) || !errors.Is(werr, transport.ErrPoisoned) && !hasEnded(err) {
			t.must(errors.Join(err, werr), "going on after a time-out")
		}
		return
	}
	t.must(err, "reading what was written before and after a time-out")
}

// hasEnded tells whether err says that a connection has ended.
func hasEnded(err error) bool {
	return slices.ContainsFunc([]error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE},
		func(end error) bool { return errors.Is(err, end) })
}

// acceptDeadline waits for a connection that does not come, then for one that does.
func acceptDeadline(t *trial) {
	at := t.listen(0)
	for range 2 {
		if !t.acceptsNobody(at, t.after(short)) {
			t.skip("strangers connect to %v", at.l.Addr())
		}
		t.join(at)
	}
}

// acceptsNobody calls Accept, which must time out; it returns false if a stranger has connected.
func (t *trial) acceptsNobody(at site, ctx context.Context) bool {
	s, err := do(t, "Accept", at.accepting(ctx, t))
	if err == nil {
		if s.RemoteAddr() == nil {
			t.fail("Accept gave a connection where none was made")
		}
		return false
	}
	t.timesOut(ctx, err, "an Accept for which nobody came")
	return true
}

// acceptNoWait accepts with a time of 0.
func acceptNoWait(t *trial) {
	at := t.listen(0)
	if !t.acceptsNobody(at, transport.NoWait()) {
		t.skip("strangers connect to %v", at.l.Addr())
	}
	ctx := t.soon()
	connect := begin(t, "Connect", at.connecting(ctx, t))
	var server *stream
	for end := time.Now().Add(t.s.patience); ; time.Sleep(time.Millisecond) {
		s, err := do(t, "Accept with a time of 0", at.accepting(transport.NoWait(), t))
		if err == nil {
			server = s
			break
		}
		if !isTimeout(err) {
			t.fail("Accept with a time of 0 ended with %w", err)
		}
		if time.Now().After(end) {
			t.inVain()
			t.fail("Accept with a time of 0 never succeeds, although somebody has connected")
		}
	}
	t.met(at, connect, server, nil)
}

// sure is how often a Connect has to fail before the plug-in is blamed. If a carrier refuses at
// once when the backlog is full, a busy machine can now and then make it look as if the Connect had
// waited.
const sure = 3

// crowd makes connections to a listener on which nothing accepts, until a Connect has to wait and
// times out.
func (t *trial) crowd() site {
	at := t.listen(1)
	for range 12 {
		if t.crowded(at) {
			return at
		}
	}
	t.skip("the carrier takes connections that nobody accepts without end")
	return at
}

// crowded reports whether a Connect to the listener has to wait, and so times out. If the Connect
// is refused, crowded skips the rule.
func (t *trial) crowded(at site) bool {
	const limit = 2 * short
	var err error
	for range sure {
		var took time.Duration
		_, err = do(t, "Connect", func() (*stream, error) {
			ctx, began := t.after(limit), time.Now()
			defer func() { took = time.Since(began) }()
			return at.connecting(ctx, t)()
		})
		if err == nil || isTimeout(err) {
			return err != nil
		}
		if refused(err) || took < limit-coarse {
			t.caught(err)
			t.skip("the carrier does not let a Connect wait: %v", err)
		}
	}
	t.fail("a Connect that nobody accepts ended with %w when its time was over, not with a time-out", err)
	return false
}

// refused tells whether err is that of a Connect to a listener whose backlog is full.
func refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET)
}

// inCrowd makes a Connect to a crowded listener and returns its error. It returns an error for
// which good is false only if such errors came every time, from a listener that was crowded all the
// time.
func (t *trial) inCrowd(connect func(at site) error, good func(err error) bool) (err error) {
	at := t.crowd()
	for range sure {
		err = connect(at)
		switch {
		case err == nil:
			t.skip("the listener is not crowded after all")
		case good(err):
			return err
		}
		t.caught(err)
		if refused(err) {
			t.skip("the carrier does not let a Connect wait: %v", err)
		}
		if !t.crowded(at) {
			t.skip("the listener is not crowded after all")
		}
	}
	return err
}

// connectDeadline connects to a crowded listener.
func connectDeadline(t *trial) {
	var ctx context.Context
	err := t.inCrowd(func(at site) error {
		ctx = t.after(short)
		_, err := do(t, "Connect", at.connecting(ctx, t))
		return err
	}, isTimeout)
	t.timesOut(ctx, err, "a Connect that nobody accepts")
}

// connectNoWait connects to a crowded listener with a time of 0.
func connectNoWait(t *trial) {
	err := t.inCrowd(func(at site) error {
		_, err := do(t, "Connect with a time of 0", at.connecting(transport.NoWait(), t))
		return err
	}, isTimeout)
	if !isTimeout(err) {
		t.fail("Connect with a time of 0 and nobody accepting ended with %w, not with a time-out", err)
	}
}

// longWaits lets every operation wait for a quarter of a second: without a limit, and with one of
// two months, which is too much for a 32-bit counter of milliseconds. A plug-in that names its
// time-outs otherwise is found here, too, by the first slice that is over: an error comes with that
// hint.
func longWaits(t *trial) {
	const wait = 250 * time.Millisecond
	much := t.much(large)
	for _, limit := range []time.Duration{transport.Infinite, 60 * 24 * time.Hour} {
		ctx, given := context.Background(), "without a limit"
		if limit != transport.Infinite {
			ctx, given = t.after(limit), fmt.Sprintf("with a limit of %v", limit)
		}
		client, server := t.pair()
		idle := t.listen(0)
		read := begin(t, "Read", func() (int, error) { return server.Read(ctx, make([]byte, 10)) })
		accept := begin(t, "Accept", idle.accepting(ctx, t))
		v := blocks(much)
		write := begin(t, "Writev", func() (int64, error) { return server.Writev(ctx, v...) })
		if read.endsWithin(wait) {
			t.fail("a Read %s ended after less than %v with %d bytes and %w", given, wait, read.v, tooSoon(read.err))
		}
		if accept.endsWithin(0) && accept.err != nil {
			t.fail("an Accept %s ended after %v with %w", given, wait, tooSoon(accept.err))
		}
		if write.endsWithin(0) && write.err != nil {
			t.fail("a Writev %s ended after %v with %w", given, wait, tooSoon(write.err))
		}
		t.write(client, []byte{1})
		n, err := read.end()
		if n != 1 {
			t.fail("a Read %s gave %d bytes and %w when one came", given, n, orNone(err))
		}
		soon := t.soon()
		connect := begin(t, "Connect", idle.connecting(soon, t))
		late, err := accept.end()
		t.must(err, "an Accept %s", given)
		t.met(idle, connect, late, nil)
		t.drain(client, len(v)*len(v[0]))
		_, err = write.end()
		t.must(err, "a Writev %s", given)
	}
}

// tooSoon is the error of an operation that ought to wait still, with a hint at what it may be.
func tooSoon(err error) error {
	if err == nil {
		return orNone(err)
	}
	return fmt.Errorf("%w (if that is to say that a callback's time is over, which may be a part of the whole: "+
		"this "+saysTimeout+", and is called again)", err)
}

// timeoutsLoseNothing reads bytes that trickle in, with very short time-outs, so that they run out
// close to each other and to the arrival of bytes.
func timeoutsLoseNothing(t *trial) {
	client, server := t.pair()
	const total = 400
	p := pattern(60)
	ctx, cancel := context.WithCancel(t.soon())
	defer cancel()
	send := begin(t, "Writev", func() (struct{}, error) {
		return struct{}{}, t.send(ctx, p, client, total, func() int {
			time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
			return 1 + rand.IntN(3)
		})
	})
	_, err := do(t, "Read", func() (struct{}, error) {
		buf := make([]byte, 8)
		for off := int64(0); off < total; {
			once, done := context.WithTimeout(ctx, time.Duration(rand.IntN(300))*time.Microsecond)
			n, err := server.Read(once, buf[:1+rand.IntN(8)])
			done()
			if e := p.differs(off, buf[:n]); e != nil {
				return struct{}{}, e
			}
			if off += int64(n); n > 0 {
				t.progress()
			}
			if err != nil && !isTimeout(err) {
				return struct{}{}, err
			}
			if ctx.Err() != nil {
				return struct{}{}, ctx.Err()
			}
		}
		return struct{}{}, nil
	})
	if err != nil {
		cancel()
	}
	_, werr := send.end()
	t.must(err, "reading with times that run out")
	t.must(werr, "writing")
}
