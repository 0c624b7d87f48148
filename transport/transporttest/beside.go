package transporttest

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// readerBesideWriter writes on a stream on which a Read waits, and reads on one on which a Writev
// waits.
func readerBesideWriter(t *trial) {
	client, server := t.pair()
	ctx := t.soon()
	p := make([]byte, 1)
	read := begin(t, "Read", func() (int, error) { return client.Read(ctx, p) })
	if read.endsWithin(moment) {
		t.fail("a Read ended with %d bytes and %w when nothing was sent", read.v, orNone(read.err))
	}
	for range 10 {
		t.says(client, server, "a write beside a waiting read")
	}
	t.write(server, []byte{7})
	if n, err := read.end(); n != 1 || err != nil || p[0] != 7 {
		t.fail("the Read that waited beside writes gave %d bytes and %w", n, orNone(err))
	}

	v := blocks(t.much(large))
	write := begin(t, "Writev", func() (int64, error) { return client.Writev(ctx, v...) })
	write.endsWithin(moment)
	for range 10 {
		t.says(server, client, "a read beside a waiting write")
	}
	t.drain(server, len(v)*len(v[0]))
	_, err := write.end()
	t.must(err, "a Writev that waited beside reads")
}

// busy starts a second operation in a direction in which an operation already waits.
func busy(t *trial) {
	client, server := t.pair()
	ctx := t.soon()
	first := begin(t, "Read", func() (int, error) {
		for { // until this Read comes before the one below
			n, err := server.Read(ctx, make([]byte, 10))
			if !errors.Is(err, transport.ErrBusy) {
				return n, err
			}
		}
	})
	for end := time.Now().Add(t.s.patience); ; time.Sleep(time.Millisecond) {
		_, err := do(t, "a second Read", func() (int, error) { return server.Read(transport.NoWait(), make([]byte, 10)) })
		if errors.Is(err, transport.ErrBusy) {
			break
		}
		if !isTimeout(err) {
			t.fail("a second Read beside one that waits gave %w, not ErrBusy", orNone(err))
		}
		if time.Now().After(end) {
			t.inVain()
			t.fail("a second Read beside one that waits is never ErrBusy")
		}
	}
	if err := server.Disconnect(); !errors.Is(err, transport.ErrBusy) {
		t.fail("Disconnect beside a Read that waits gave %w, not ErrBusy", orNone(err))
	}
	t.write(client, []byte{1})
	n, err := first.end()
	t.must(err, "the first Read, after a second one was ErrBusy")
	if n != 1 {
		t.fail("the first Read, after a second one was ErrBusy, gave %d bytes", n)
	}
	_, err = do(t, "Disconnect", func() (struct{}, error) { return struct{}{}, server.Disconnect() })
	t.must(err, "Disconnect with nothing outstanding")
}

// separate uses several connections of one listener at once, and closes them one after the other.
func separate(t *trial) {
	const n, size = 3, 200_000
	at := t.listen(0)
	type ends struct{ client, server *stream }
	var all []ends
	var there, back []way
	for range n {
		c, s := t.join(at)
		all = append(all, ends{c, s})
		there, back = append(there, way{c, s}), append(back, way{s, c})
	}
	t.takeTurns(there)
	t.takeTurns(back)
	t.takeTurns(append(there, back...))
	var steps []step
	for i, e := range all {
		for j, dir := range []ends{{e.client, e.server}, {e.server, e.client}} {
			name := fmt.Sprintf("on connection %d, direction %d", i, j)
			steps = append(steps, t.transfer(name, dir.client, dir.server, pattern(100+2*i+j), size,
				sizes(uint64(j), 3000), sizes(uint64(i), 5000))...)
		}
	}
	t.must(t.together(steps...), "%d connections at once", n)
	for i, e := range all {
		t.must(e.client.Close(), "Close")
		if i+1 == len(all) {
			break
		}
		next := all[i+1]
		ctx := t.soon()
		if n, err := do(t, "Read", func() (int, error) { return next.server.Read(transport.NoWait(), make([]byte, 1)) }); !isTimeout(err) {
			t.fail("closing one connection gave a Read on another %d bytes and %w", n, orNone(err))
		}
		t.says(next.client, next.server, "another connection was closed")
		t.says(next.server, next.client, "both ways")
		if n, err := do(t, "a Read after the peer's Close", func() (int, error) { return e.server.Read(ctx, make([]byte, 1)) }); err != io.EOF {
			t.fail("the peer of a closed connection read %d bytes and %w, not the end of the stream", n, orNone(err))
		}
	}
}
