package transporttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// exchange sends a byte each way, as most rules after it do at their beginning.
func exchange(t *trial) { t.pair() }

// waitsForBytes reads from a connection on which nothing has been sent.
func waitsForBytes(t *trial) {
	client, server := t.connect(t.listen(0))
	for _, end := range []struct {
		name     string
		from, to *stream
	}{{"accepting", client, server}, {"connecting", server, client}} {
		ctx := t.soon()
		p := make([]byte, 8)
		read := begin(t, "a Read of what has been written", func() (int, error) { return end.to.Read(ctx, p) })
		if read.endsWithin(50 * time.Millisecond) {
			t.fail("Read at the %s end of an idle connection gave %d bytes and %w instead of waiting", end.name, read.v, orNone(read.err))
		}
		t.write(end.from, []byte{1})
		if n, err := read.end(); n != 1 || err != nil {
			t.fail("Read at the %s end gave %d bytes and %w when one byte was sent", end.name, n, orNone(err))
		}
	}
}

// readCount reads with buffers of several sizes that are parts of larger ones.
func readCount(t *trial) {
	client, server := t.connect(t.listen(0))
	const total, untouched = 600, 0xa5
	write := t.sending(client, pattern(1).bytes(0, total))
	ctx := t.soon()
	var got []byte
	for i := 0; len(got) < total; i++ {
		size := []int{1, 7, 50, 200}[i%4]
		whole := bytes.Repeat([]byte{untouched}, 1024)
		p := whole[:size]
		n, err := do(t, "a Read of what has been written", func() (int, error) { return server.Read(ctx, p) })
		t.must(err, "Read into %d bytes, after %d of %d", size, len(got), total)
		if n < 1 || n > size {
			t.fail("Read into %d bytes counted %d", size, n)
		}
		if bytes.Count(whole[size:], []byte{untouched}) != len(whole)-size {
			t.fail("Read into %d bytes wrote beyond them", size)
		}
		got = append(got, p[:n]...)
		if err := pattern(1).differs(0, got); err != nil {
			t.fail("%w", err)
		}
	}
	write.sent()
	if len(got) > total {
		t.fail("%d bytes were written and %d read", total, len(got))
	}
}

// writeCount writes single buffers and a vector, compares the count with what arrives, and checks
// that nothing more follows. The buffers must be unchanged, because the caller may send them to
// another peer next.
func writeCount(t *trial) {
	for _, sizes := range [][]int{{1}, {1000}, {150_000}, {400, 600}} {
		client, server := t.connect(t.listen(0))
		ctx := t.soon()
		var v [][]byte
		size := 0
		for _, n := range sizes {
			v = append(v, pattern(2).bytes(int64(size), n))
			size += n
		}
		write := begin(t, "Writev", func() (int64, error) { return client.Writev(ctx, v...) })
		got := make([]byte, size)
		read := begin(t, fmt.Sprintf("a Read of the %d bytes that a write has counted", size),
			func() (int, error) { return t.readAll(ctx, server, got) })
		if w, werr := write.end(); werr != nil || w != int64(size) {
			t.fail("a write of %d bytes counted %d, with the error %w", size, w, orNone(werr))
		}
		whole := pattern(2).bytes(0, size)
		changed := !bytes.Equal(bytes.Join(v, nil), whole)
		for _, p := range v {
			clear(p)
		}
		n, err := read.end()
		if err != nil {
			t.fail("%d bytes were counted as written, and not all came (%d did): %w", size, n, err)
		}
		if err := pattern(2).differs(0, got); err != nil {
			for i, b := range got {
				if b == 0 {
					got[i] = whole[i]
				}
			}
			if !changed && bytes.Equal(got, whole) {
				t.fail("a write of %d bytes has kept its caller's buffer, and sent what the caller put there after the write", size)
			}
			t.fail("of a write of %d bytes %w", size, err)
		}
		if changed {
			t.fail("a write of %d bytes has changed its caller's bytes", size)
		}
		t.must(client.Close(), "Close")
		shortly := t.after(2 * short)
		if n, _ := do(t, "Read", func() (int, error) { return server.Read(shortly, got) }); n > 0 {
			t.fail("%d bytes were counted as written, and at least %d more came", size, n)
		}
	}
}

var errNone = errors.New("nil")

func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// contents sends bytes in writes of many sizes and receives them in reads of other sizes.
func contents(t *trial) {
	client, server := t.pair()
	t.carry("from the connecting to the accepting end", client, server, 3, 300_000, sizes(1, 20_000), sizes(2, 30_000))
	t.carry("from the accepting to the connecting end", server, client, 4, 300_000, sizes(3, 5_000), sizes(4, 2_000))
	// More than a usual window of a carrier's own.
	t.carry("a few at a time", client, server, 5, 100_000, each(50), each(50))
	// More than a plug-in may think that a buffer has.
	n := t.much(5<<20 + 7)
	t.carry("in one write", client, server, 6, n, each(n), each(n))
}

// carry sends n bytes of a pattern from one end to the other.
func (t *trial) carry(what string, from, to *stream, p pattern, n int, writes, reads func() int) {
	if err := t.together(t.transfer(what, from, to, p, n, writes, reads)...); err != nil {
		t.fail("%w", err)
	}
}

// transfer returns two steps, which receive and send n bytes of a pattern from one end to the
// other.
func (t *trial) transfer(what string, from, to *stream, p pattern, n int, writes, reads func() int) []step {
	return []step{
		{"reading " + what, func(ctx context.Context) error { return t.receive(ctx, p, to, n, reads) }},
		{"writing " + what, func(ctx context.Context) error { return t.send(ctx, p, from, n, writes) }},
	}
}

// vectors writes vectors of many shapes.
func vectors(t *trial) {
	client, server := t.pair()
	many := make([]int, 3000) // more than one writev call takes
	for i := range many {
		many[i] = i % 5
	}
	var big []int
	for range 20 {
		big = append(big, 9000)
	}
	for i, shape := range [][]int{{5}, {2, 3}, {1, 0, 10, 5000, 0, 3, 70_000, 1}, many, big} {
		p := pattern(10 + i)
		var v [][]byte
		off := 0
		for _, n := range shape {
			v = append(v, p.bytes(int64(off), n))
			off += n
		}
		ctx := t.soon()
		write := begin(t, "Writev", func() (int64, error) { return client.Writev(ctx, v...) })
		got := make([]byte, off)
		n, err := do(t, "a Read of what has been written", func() (int, error) { return t.readAll(ctx, server, got) })
		w, werr := write.end()
		if werr != nil || w != int64(off) {
			t.fail("Writev of %d buffers with %d bytes counted %d, with the error %w", len(v), off, w, orNone(werr))
		}
		if err != nil {
			t.fail("Writev of %d buffers counted %d bytes, and not all came (%d did): %w", len(v), off, n, err)
		}
		if err := p.differs(0, got); err != nil {
			t.fail("of %d buffers with %d bytes %w", len(v), off, err)
		}
	}
	shortly := t.after(short)
	if n, err := do(t, "Read", func() (int, error) { return server.Read(shortly, make([]byte, 100)) }); !isTimeout(err) {
		t.fail("after all of the vectors had been read came %d more bytes and the error %w", n, orNone(err))
	}
}

// large is more than any carrier we know of holds unread.
const large = 12 << 20

// much returns n, or less for a carrier that holds few unread bytes, but still more than the
// carrier holds: through a socket with the smallest buffer, megabytes take minutes on a busy
// machine.
func (t *trial) much(n int) int {
	const least, times = 96 << 10, 16
	return min(n, max(least, times*t.holds()))
}

// flood returns a vector of the pattern's first bytes that is more than the carrier takes while
// nobody reads. No carrier makes less of them by compressing.
func (t *trial) flood(p pattern) [][]byte {
	const least, most, times = 16, 64, 6 // in MiB
	return p.vector(min(most, max(least, times*t.holds()>>20)))
}

// holds is how many unread bytes the carrier takes, up to large.
func (t *trial) holds() int {
	if t.s.holds.Load() == 0 {
		client, _ := t.pair()
		ctx := t.after(4 * short)
		held, err := do(t, "Writev", func() (int64, error) { return client.Writev(ctx, blocks(large)...) })
		if !isTimeout(err) {
			held = large
		}
		t.s.holds.Store(held + 1)
	}
	return int(t.s.holds.Load())
}

// blocks returns a vector of n bytes, or a few less, in 12 buffers.
func blocks(n int) [][]byte {
	v := make([][]byte, 12)
	for i := range v {
		v[i] = make([]byte, n/len(v))
	}
	return v
}

// partialWrites begins to write more than the carrier holds before the other end reads.
func partialWrites(t *trial) {
	v := blocks(t.much(large))
	client, server := t.pair()
	ctx, cancel := context.WithCancel(t.soon())
	defer cancel()
	p := pattern(20)
	all := len(v) * len(v[0])
	for i := range v {
		p.at(0, v[i]) // the same bytes in each buffer
	}
	write := begin(t, "Writev", func() (int64, error) { return client.Writev(ctx, v...) })
	// the result does not matter: let the write fill the carrier
	write.endsWithin(20 * time.Millisecond)
	_, err := do(t, "a Read of what has been written", func() (struct{}, error) {
		got := make([]byte, len(v[0]))
		for range v {
			if _, err := t.readAll(ctx, server, got); err != nil {
				return struct{}{}, err
			}
			if err := p.differs(0, got); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	if err != nil {
		cancel()
	}
	n, werr := write.end()
	t.must(err, "reading what one Writev of %d bytes wrote", all)
	t.must(werr, "Writev of %d bytes", all)
	if n != int64(all) {
		t.fail("Writev of %d bytes counted %d without an error", all, n)
	}
}

// A way is one direction of a connection.
type way struct{ from, to *stream }

// takeTurns sends bytes on every way and reads a few from each in turn, so that bytes that a
// plug-in keeps in the wrong place are found.
func (t *trial) takeTurns(ways []way) {
	const total, portion = 700, 7
	var writes []sending
	for i, w := range ways {
		writes = append(writes, t.sending(w.from, pattern(200+i).bytes(0, total)))
	}
	ctx := t.soon()
	got := make([]int64, len(ways))
	for range total / portion {
		for i, w := range ways {
			p := make([]byte, portion)
			n, err := do(t, "a Read of what has been written", func() (int, error) { return w.to.Read(ctx, p) })
			t.must(err, "reading in turn on %d ways", len(ways))
			t.must(pattern(200+i).differs(got[i], p[:n]), "reading in turn on %d ways", len(ways))
			got[i] += int64(n)
		}
	}
	for i, w := range ways {
		if got[i] < total {
			t.must(pattern(200+i).differs(got[i], t.read(w.to, int(total-got[i]))), "reading in turn on %d ways", len(ways))
		}
		writes[i].sent()
	}
}

// bigTransfers moves bytes both ways in turn, then megabytes both ways at once.
func bigTransfers(t *trial) {
	n := t.much(4 << 20)
	client, server := t.pair()
	t.takeTurns([]way{{client, server}, {server, client}})
	t.must(t.together(append(
		t.transfer("from the connecting end", client, server, 30, n, sizes(5, 100_000), sizes(6, 60_000)),
		t.transfer("from the accepting end", server, client, 31, n, sizes(5, 100_000), sizes(6, 60_000))...,
	)...), "%d bytes each way at once", n)
}

// pendingBytes calls PendingBytes while bytes are on their way, and when all have been read.
func pendingBytes(t *trial) {
	client, server := t.pair()
	write := t.sending(client, pattern(40).bytes(0, 100))
	p := make([]byte, 10)
	ctx := t.soon()
	for read := 0; read < 100; read += len(p) {
		t.counts(server)
		_, err := do(t, "Readv", func() (int64, error) { return server.Readv(ctx, p) })
		t.must(err, "Readv")
		t.must(pattern(40).differs(int64(read), p), "reading beside calls of PendingBytes")
	}
	write.sent()
	t.counts(server)
}

// counts checks PendingBytes of a stream on which a hundred bytes have been sent. Inside the
// carrier they may be more, but not a megabyte.
func (t *trial) counts(s *stream) {
	const most = 1 << 20
	n, err := do(t, "PendingBytes", s.PendingBytes)
	t.must(err, "PendingBytes")
	if n < 0 || n > most {
		t.fail("PendingBytes is %d where 100 bytes have been sent", n)
	}
}
