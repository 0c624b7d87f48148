package transporttest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// moment gives an operation time to begin waiting; no result depends on whether it has.
const moment = 20 * time.Millisecond

// cancelled starts an operation that waits, cancels it, and requires it to end with the context's
// error.
func cancelled[T any](t *trial, what string, op func(ctx context.Context) (T, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := begin(t, "a cancelled "+what, func() (T, error) { return op(ctx) })
	if c.endsWithin(moment) {
		t.fail("%s ended with %w before it was cancelled", what, orNone(c.err))
	}
	cancel()
	if _, err := c.end(); !errors.Is(err, context.Canceled) {
		t.fail("a cancelled %s ended with %w, not with the context's error: that it was ended "+saysTimeout,
			what, orNone(err))
	}
}

// cancelRead cancels reads, and then uses the stream in both directions.
func cancelRead(t *trial) {
	client, server := t.pair()
	for range 3 {
		cancelled(t, "Read", func(ctx context.Context) (int, error) { return server.Read(ctx, make([]byte, 10)) })
		t.says(client, server, "after a cancelled read")
		t.says(server, client, "the other way")
	}
}

// cancelWrite cancels a write that nobody reads.
func cancelWrite(t *trial) {
	client, _ := t.pair()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	v := t.flood(pattern(71))
	write := begin(t, "a cancelled Writev", func() (int64, error) { return client.Writev(ctx, v...) })
	if write.endsWithin(2 * short) {
		t.must(write.err, "Writev of %d bytes", len(v)<<20)
		t.skip("the carrier took %d bytes that nobody read", write.v)
	}
	cancel()
	n, err := write.end()
	if err == nil {
		t.skip("the carrier took %d bytes that nobody read", n)
	}
	if !errors.Is(err, context.Canceled) {
		t.fail("a cancelled Writev ended with %w, not with the context's error", err)
	}
}

// cancelAccept cancels an Accept, and then accepts a connection.
func cancelAccept(t *trial) {
	at := t.listen(0)
	for range 3 {
		cancelled(t, "Accept", func(ctx context.Context) (*stream, error) {
			for {
				if s, err := at.accepting(ctx, t)(); err != nil { // else a stranger's connection
					return s, err
				}
			}
		})
		t.join(at)
	}
}

// cancelConnect cancels a Connect to a crowded listener.
func cancelConnect(t *trial) {
	isCancel := func(err error) bool { return errors.Is(err, context.Canceled) }
	err := t.inCrowd(func(at site) error {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		connect := begin(t, "a cancelled Connect", at.connecting(ctx, t))
		connect.endsWithin(moment)
		cancel()
		_, err := connect.end()
		return err
	}, isCancel)
	if !isCancel(err) {
		t.fail("a cancelled Connect ended with %w, not with the context's error", err)
	}
}

// cancelOneWay cancels reads beside a write that goes on. (Cancelling the write would not do: it
// may cost the connection.)
func cancelOneWay(t *trial) {
	client, server := t.pair()
	total := t.much(6 << 20)
	p := pattern(70)
	ctx, cancel := context.WithCancel(t.soon())
	defer cancel()
	write := begin(t, "Writev", func() (struct{}, error) { return struct{}{}, t.send(ctx, p, client, total, each(total/6)) })
	var received atomic.Int64
	slow := func() (struct{}, error) {
		buf := make([]byte, 64<<10)
		for rest := int64(total) / 96; received.Load() < int64(total); {
			n, err := server.Read(ctx, buf)
			if e := p.differs(received.Load(), buf[:n]); e != nil {
				return struct{}{}, e
			}
			received.Add(int64(n))
			if err != nil {
				return struct{}{}, err
			}
			if received.Load() > rest { // makes the writer wait now and then
				rest += int64(total) / 96
				time.Sleep(100 * time.Microsecond)
			}
		}
		return struct{}{}, nil
	}
	receive := begin(t, "Read", slow)
	seen, since := int64(0), time.Now()
	for !receive.endsWithin(time.Millisecond) {
		if n := received.Load(); n != seen {
			seen, since = n, time.Now()
		} else if time.Since(since) > t.s.patience {
			t.inVain()
			t.fail("the write stands still after %d bytes", n)
		}
		once, stop := context.WithCancel(ctx)
		read := begin(t, "a cancelled Read", func() (int, error) { return client.Read(once, make([]byte, 1)) })
		read.endsWithin(2 * time.Millisecond)
		stop()
		if n, err := read.end(); !errors.Is(err, context.Canceled) && !isTimeout(err) {
			cancel()
			t.fail("a cancelled Read beside a write gave %d bytes and the error %w", n, orNone(err))
		}
	}
	_, err := receive.end()
	if err != nil {
		cancel()
	}
	_, werr := write.end()
	t.must(errors.Join(werr, err), "a write beside reads that are cancelled")
}

// endedContext calls operations with a context that has already ended.
func endedContext(t *trial) {
	at := t.listen(0)
	client, server := t.join(at)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	expect := func(what string, err error) {
		if !errors.Is(err, context.Canceled) {
			t.fail("%s with a context that has ended gave %w", what, orNone(err))
		}
	}
	_, err := do(t, "Writev", func() (int64, error) { return client.Writev(ctx, []byte("never")) })
	expect("Writev", err)
	write := t.sending(client, []byte("x"))
	_, err = do(t, "Read", func() (int, error) { return server.Read(ctx, make([]byte, 10)) })
	expect("Read", err)
	_, err = do(t, "Connect", at.connecting(ctx, t))
	expect("Connect", err)
	_, err = do(t, "Accept", at.accepting(ctx, t))
	expect("Accept", err)
	if got := t.read(server, 1); got[0] != 'x' {
		t.fail("a Writev with a context that has ended sent %q", got)
	}
	write.sent()
}
