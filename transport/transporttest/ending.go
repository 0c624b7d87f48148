package transporttest

import (
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// endOfStream closes one end after it has written, and reads the other to its end and beyond.
func endOfStream(t *trial) {
	for _, closer := range []string{"accepting", "connecting"} {
		client, server := t.pair()
		from, to := server, client
		if closer == "connecting" {
			from, to = client, server
		}
		p := pattern(80)
		got, err := t.lastWords(from, to, p.bytes(0, 10_000), func() { t.must(from.Close(), "Close") })
		if e := p.differs(0, got); e != nil {
			t.fail("of what was written before a Close %w", e)
		}
		if len(got) != 10_000 || err != nil {
			t.fail("10000 bytes were written before a Close at the %s end; %d of them came, and then %w instead of the end of the stream",
				closer, len(got), orNone(err))
		}
		for range 2 {
			ctx := t.soon()
			n, err := do(t, "a Read after the end of the stream", func() (int, error) { return to.Read(ctx, make([]byte, 10)) })
			if n != 0 || err != io.EOF {
				t.fail("a Read after the end of the stream gave %d bytes and %w", n, orNone(err))
			}
		}
	}
}

// closeKeepsWritten writes as much as the carrier takes, a megabyte at the most, and closes; only
// then does the other end begin to read, as one does that is busy. A carrier that only hands bytes
// to a connection, which sends them later and sends them again if they are lost, throws away what
// it has not sent yet by closing that connection.
func closeKeepsWritten(t *trial) {
	const most = 1 << 20
	for _, closer := range []string{"accepting", "connecting"} {
		client, server := t.pair()
		from, to := server, client
		if closer == "connecting" {
			from, to = client, server
		}
		p, written := pattern(86), 0
		for ctx := t.after(4 * short); written < most; {
			n, err := do(t, "Writev", func() (int64, error) { return from.Writev(ctx, p.bytes(int64(written), 30_000)) })
			if written += int(n); isTimeout(err) {
				break
			}
			t.must(err, "Writev")
		}
		if written == 0 {
			t.skip("the carrier takes no byte that nobody reads")
		}
		_, err := do(t, "Close", func() (none struct{}, _ error) { return none, from.Close() })
		t.must(err, "Close")
		time.Sleep(moment)
		got, err := t.rest(to)
		if e := p.differs(0, got); e != nil {
			t.fail("of what was written before a Close %w", e)
		}
		if len(got) != written || err != nil {
			t.inVain() // a busy machine may have taken longer than the carrier waits
			t.fail("%d bytes were written before a Close at the %s end; %d of them came, and then %w instead of the end of the stream: "+
				"Close has to leave the rest to the system, or go on sending in the background, for a second or so, until the peer has it",
				written, closer, len(got), orNone(err))
		}
	}
}

// endReachesReader closes one end while the other waits in Read.
func endReachesReader(t *trial) {
	client, server := t.pair()
	ctx := t.soon()
	read := begin(t, "a Read while the peer closes", func() (int, error) { return client.Read(ctx, make([]byte, 10)) })
	if read.endsWithin(moment) {
		t.fail("a Read ended with %d bytes and %w when nothing was sent", read.v, orNone(read.err))
	}
	t.must(server.Close(), "Close")
	if n, err := read.end(); n != 0 || err != io.EOF {
		t.fail("the peer's Close gave a waiting Read %d bytes and %w, not the end of the stream", n, orNone(err))
	}
}

// writesToNobody writes after the peer has closed.
func writesToNobody(t *trial) {
	client, server := t.pair()
	t.must(server.Close(), "Close")
	t.failsAtLast(client)
}

// failsAtLast writes until an error comes. A carrier may buffer some bytes before it learns that
// the peer has closed.
func (t *trial) failsAtLast(s *stream) {
	const limit = 256 << 20
	ctx := t.soon()
	p := pattern(84).bytes(0, 64<<10)
	n, err := do(t, "a Writev to a peer that has closed", func() (sent int64, err error) {
		for err == nil && sent < limit {
			var n int64
			n, err = s.Writev(ctx, p)
			t.progress()
			sent += n
		}
		return sent, err
	})
	switch {
	case err == nil:
		t.fail("after the peer's Close, Writev took %d bytes without an error", n)
	case isTimeout(err):
		t.inVain()
		t.fail("after the peer's Close, Writev waits for ever")
	}
	t.caught(err)
}

// cutOff closes one end, with bytes unread, while the other waits in Writev.
func cutOff(t *trial) {
	client, server := t.pair()
	ctx := t.soon()
	v := t.flood(pattern(82))
	write := begin(t, "a Writev while the peer closes", func() (int64, error) { return client.Writev(ctx, v...) })
	write.endsWithin(moment)
	t.must(server.Close(), "Close")
	n, err := write.end()
	switch {
	case err == nil:
		t.skip("the carrier took %d bytes that nobody read", n)
	case isTimeout(err):
		t.inVain()
		t.fail("a Writev goes on waiting when the peer has closed")
	}
	t.caught(err)
	if _, err := t.rest(client); isTimeout(err) {
		t.fail("a Read goes on waiting when the peer has closed")
	}
}

// closeWrite ends one direction after the other.
func closeWrite(t *trial) {
	client, server := t.pair()
	p := pattern(81)
	got, err := t.lastWords(client, server, p.bytes(0, 1000), func() {
		_, err := do(t, "CloseWrite", func() (struct{}, error) { return struct{}{}, client.CloseWrite() })
		if errors.Is(err, errors.ErrUnsupported) {
			t.skip("the plug-in has no CloseWrite")
		}
		t.must(err, "CloseWrite")
	})
	if e := p.differs(0, got); e != nil {
		t.fail("of what was written before CloseWrite %w", e)
	}
	if len(got) != 1000 || err != nil {
		t.fail("1000 bytes were written before CloseWrite; %d of them came, and then %w instead of the end of the stream", len(got), orNone(err))
	}
	ctx := t.soon()
	if _, err := do(t, "Writev", func() (int64, error) { return client.Writev(ctx, []byte("too late")) }); err == nil || isTimeout(err) {
		t.fail("a Writev after CloseWrite gave %w", orNone(err))
	}
	t.carry("after the other direction had ended", server, client, 82, 200_000, sizes(1, 20_000), sizes(2, 20_000))
	_, err = do(t, "CloseWrite", func() (struct{}, error) { return struct{}{}, server.CloseWrite() })
	t.must(err, "CloseWrite")
	if more, err := t.rest(client); len(more) > 0 || err != nil {
		t.fail("after CloseWrite at the other end came %d bytes and %w", len(more), orNone(err))
	}
}

// closeWriteEndsWrite calls CloseWrite beside a Writev that waits. A CloseWrite that fails may have
// broken the connection, as that of a tls.Conn does in the midst of a record.
func closeWriteEndsWrite(t *trial) {
	client, server := t.pair()
	p := pattern(85)
	v := t.flood(p)
	write := begin(t, "a Writev beside CloseWrite", func() (int64, error) { return client.Writev(context.Background(), v...) })
	if write.endsWithin(2 * short) {
		t.must(write.err, "Writev of %d bytes", len(v)<<20)
		t.skip("the carrier took %d bytes that nobody read", write.v)
	}
	_, closed := do(t, "CloseWrite", func() (struct{}, error) { return struct{}{}, client.CloseWrite() })
	if errors.Is(closed, errors.ErrUnsupported) {
		t.skip("the plug-in has no CloseWrite")
	}
	n, err := write.end()
	if err == nil {
		t.skip("the carrier took %d bytes that nobody read", n)
	}
	if isTimeout(err) {
		t.fail("CloseWrite ended a waiting Writev with %w", err)
	}
	if closed != nil {
		return
	}
	got, err := t.rest(server)
	if e := p.differs(0, got); e != nil {
		t.fail("of what a Writev that CloseWrite ended had counted %w", e)
	}
	if int64(len(got)) != n || err != nil {
		t.fail("a Writev that CloseWrite ended had counted %d bytes; %d of them came, and then %w instead of the end of the stream", n, len(got),
			orNone(err))
	}
}

// closes closes streams and a listener on which nothing waits.
func closes(t *trial) {
	at := t.listen(0)
	client, server := t.join(at)
	another, other := t.join(at)
	for _, c := range []struct {
		what string
		f    func() error
	}{{"the connecting stream", client.Close}, {"the accepted stream", server.Close}, {"the listener", at.l.Close}} {
		for range 2 {
			_, err := do(t, "Close of "+c.what, func() (struct{}, error) { return struct{}{}, c.f() })
			t.must(err, "Close of %s", c.what)
		}
	}
	for what, op := range map[string]func(ctx context.Context) error{
		"Read":   func(ctx context.Context) error { _, err := client.Read(ctx, make([]byte, 1)); return err },
		"Writev": func(ctx context.Context) error { _, err := server.Writev(ctx, []byte{1}); return err },
		"Accept": func(ctx context.Context) error { _, err := at.accepting(ctx, t)(); return err },
	} {
		ctx := t.soon()
		_, err := do(t, what, func() (struct{}, error) { return struct{}{}, op(ctx) })
		if !errors.Is(err, net.ErrClosed) {
			t.fail("%s after Close gave %w, not net.ErrClosed", what, orNone(err))
		}
	}
	t.says(another, other, "an accepted connection outlives its listener, and others that were closed")
	t.says(other, another, "both ways")
}

// closedWhile calls end, a Close, while an operation waits.
func closedWhile[T any](t *trial, what string, op func() (T, error), end func() error) {
	c := begin(t, what, op)
	if c.endsWithin(moment) {
		t.fail("%s ended with %w before the Close", what, orNone(c.err))
	}
	_, err := do(t, "Close", func() (struct{}, error) { return struct{}{}, end() })
	t.must(err, "Close while %s waits", what)
	if _, err := c.end(); !errors.Is(err, net.ErrClosed) {
		t.fail("Close ended a waiting %s with %w, not with net.ErrClosed", what, orNone(err))
	}
}

// closeEndsRead closes a stream on which a Read waits, first at the connecting end, then at the
// accepting end.
func closeEndsRead(t *trial) {
	at := t.listen(0)
	for _, end := range []string{"connecting", "accepted"} {
		s, other := t.join(at)
		if end == "accepted" {
			s = other
		}
		closedWhile(t, "Read", func() (int, error) { return s.Read(context.Background(), make([]byte, 10)) }, s.Close)
	}
}

// closeEndsWrite closes a stream on which a Writev waits.
func closeEndsWrite(t *trial) {
	client, _ := t.pair()
	v := t.flood(pattern(83))
	write := begin(t, "Writev", func() (int64, error) { return client.Writev(context.Background(), v...) })
	if write.endsWithin(2 * short) {
		t.must(write.err, "Writev of %d bytes", len(v)<<20)
		t.skip("the carrier took %d bytes that nobody read", write.v)
	}
	_, err := do(t, "Close", func() (struct{}, error) { return struct{}{}, client.Close() })
	t.must(err, "Close while Writev waits")
	if n, err := write.end(); err == nil {
		t.skip("the carrier took %d bytes that nobody read", n)
	} else if !errors.Is(err, net.ErrClosed) {
		t.fail("Close ended a waiting Writev with %w, not with net.ErrClosed", err)
	}
}

// closeEndsAccept closes a listener on which an Accept waits.
func closeEndsAccept(t *trial) {
	at := t.listen(0)
	closedWhile(t, "Accept", func() (*stream, error) {
		for {
			// else a stranger's connection
			if s, err := at.accepting(context.Background(), t)(); err != nil {
				return s, err
			}
		}
	}, at.l.Close)
}
