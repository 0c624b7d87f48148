package transporttest

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// canDuplicate says that descriptors can be duplicated here, as passing them to another process
// does.
const canDuplicate = sys.CanDup

// movable skips the rule unless the plug-in's streams can be moved on this system.
func (t *trial) movable(at site) {
	if !at.tr.Movable() {
		t.skip("the plug-in has no Import")
	}
	if !canDuplicate {
		t.skip("descriptors cannot be duplicated here")
	}
}

// duplicate duplicates a descriptor, as passing it to another process does.
func (t *trial) duplicate(of interface{ Descriptor() (int, error) }) int {
	fd, err := do(t, "Descriptor", of.Descriptor)
	if errors.Is(err, errors.ErrUnsupported) {
		t.fail("the plug-in has Import and no descriptor")
	}
	t.must(err, "Descriptor")
	dup, err := sys.Dup(fd)
	t.must(err, "duplicating descriptor %d", fd)
	return dup
}

// A cargo is what Export gives, to move with a descriptor, and what the suite knows of the stream.
type cargo struct {
	state, ahead []byte
	frames       bool
	in           incoming
}

// export calls Export. dup is a duplicate of the stream's descriptor, to be closed on failure, or
// -1.
func (t *trial) export(s *stream, dup int) cargo {
	c, err := do(t, "Export", func() (c cargo, err error) {
		c.frames, c.in = s.frames, s.in
		c.state, c.ahead, err = s.Export()
		return c, err
	})
	if err != nil {
		_ = sys.Close(dup)
		t.fail("Export: %w", err)
	}
	return c
}

// take imports a stream from dup, a duplicate of its descriptor, and c.
func (t *trial) take(at site, dup int, c cargo) *stream {
	moved, err := do(t, "Import", keep(t, func() (*stream, error) {
		s, err := asStream(at.tr.Import(dup, c.state))
		if err != nil {
			_ = sys.Close(dup)
		}
		clear(c.state) // it is the caller's, who may have keys in it
		return s, err
	}))
	t.must(err, "Import of a stream's own descriptor and exported state")
	moved.frames, moved.in = c.frames, c.in
	t.must(moved.Preload(c.ahead), "Preload")
	return moved
}

// notMoved exports a stream twice for a hand-off that does not happen, and goes on using it.
func (t *trial) notMoved(s, peer *stream) {
	for range 2 {
		clear(t.export(s, -1).state) // the caller's, who clears it
		t.says(s, peer, "after an Export that led to nothing, and whose result was cleared")
		t.says(peer, s, "both ways")
	}
}

// move moves a stream in the order of a hand-off: export it, import it beside the old one, release
// the old one. meanwhile runs before the release.
func (t *trial) move(at site, end string, old *stream, meanwhile func()) *stream {
	dup := t.duplicate(old)
	moved := t.take(at, dup, t.export(old, dup))
	meanwhile()
	_, err := do(t, "Release", func() (struct{}, error) { return struct{}{}, old.Release() })
	t.must(err, "Release at the %s end", end)
	return moved
}

// moves moves a stream, after hand-offs that did not happen: first right after a write, and then
// while the peer writes.
func moves(t *trial) {
	at := t.listen(0)
	t.movable(at)
	for _, end := range []string{"connecting", "accepted"} {
		old, peer := t.join(at)
		if end == "accepted" {
			old, peer = peer, old
		}
		t.notMoved(old, peer)
		ctx := t.soon()
		const written, between = 100, 30
		words := pattern(123)
		waiting := begin(t, "the peer's Read", func() (struct{}, error) {
			return struct{}{}, t.receive(ctx, words, peer, written+between+1, each(written+between+1))
		})
		p := pattern(120)
		write := t.sending(peer, p.bytes(0, 1000))
		t.must(p.differs(0, t.read(old, 200)), "before the move") // reads ahead
		t.export(old, -1)
		t.must(p.differs(200, t.read(old, 100)), "after an Export")
		t.write(old, words.bytes(0, written))
		moved := t.move(at, end, old, func() {})
		t.must(p.differs(300, t.read(moved, 700)), "bytes that were under way when the %s end moved", end)
		write.sent()
		// Send more bytes before the next move, and more one way than the other. Otherwise the
		// second Import could undo a mistake of the first.
		write = t.sending(peer, p.bytes(1000, 50))
		t.must(p.differs(1000, t.read(moved, 50)), "bytes that came when the %s end had moved", end)
		write.sent()
		t.write(moved, words.bytes(written, between))
		moved = t.move(at, end, moved, func() {
			write = t.sending(peer, p.bytes(1050, 100))
			time.Sleep(moment) // a goroutine that still reads at the old place gets them
		})
		// arrives in place of bytes that are lost
		more := sending{begin(t, "Writev", func() (int64, error) {
			<-write.done
			return peer.Writev(ctx, p.bytes(1150, 100))
		}), 100}
		t.must(p.differs(1050, t.read(moved, 100)), "bytes that came after the Export of the %s end", end)
		t.must(p.differs(1150, t.read(moved, 100)), "bytes that came after the Release of the %s end", end)
		write.sent()
		more.sent()
		if waiting.endsWithin(0) {
			t.fail("the move of the %s end gave the peer's Read %v", end, orNone(waiting.err))
		}
		t.write(moved, words.bytes(written+between, 1)) // the peer waits for this byte
		_, err := waiting.end()
		t.must(err, "the peer's Read of what the %s end wrote before and after it moved", end)
		t.carry("from a moved "+end+" stream", moved, peer, 121, 200_000, sizes(1, 20_000), sizes(2, 20_000))
		t.carry("to a moved "+end+" stream", peer, moved, 122, 200_000, sizes(3, 20_000), sizes(4, 20_000))
		t.endsReads(end, moved, peer)
		t.must(moved.Close(), "Close of a moved stream")
		n, err := do(t, "Read", func() (int, error) { return peer.Read(ctx, make([]byte, 1)) })
		if n != 0 || err != io.EOF {
			t.fail("after the Close of a moved stream the peer read %d bytes and %w, not the end of the stream", n, orNone(err))
		}
	}
}

// endsReads lets a Read of a stream that has moved time out, and cancels another one.
func (t *trial) endsReads(end string, moved, peer *stream) {
	what := "Read at a moved " + end + " stream"
	ctx := t.after(moment)
	_, err := do(t, "a "+what, func() (int, error) { return moved.Read(ctx, make([]byte, 10)) })
	t.timesOut(ctx, err, "a "+what)
	cancelled(t, what, func(ctx context.Context) (int, error) { return moved.Read(ctx, make([]byte, 10)) })
	t.says(peer, moved, "to a moved stream whose reads were ended")
	t.says(moved, peer, "both ways")
}

// movesMidway moves a stream repeatedly while the peer has sent more than has been read, and then
// after a write that was cut off. So a plug-in that carries bytes in frames or records is in the
// middle of one, in either direction.
func movesMidway(t *trial) {
	at := t.listen(0)
	t.movable(at)
	for _, end := range []string{"connecting", "accepted"} {
		s, peer := t.join(at)
		if end == "accepted" {
			s, peer = peer, s
		}
		const said = 300_000
		p := pattern(124)
		ctx := t.soon()
		saying := begin(t, "the peer's Writev", func() (struct{}, error) {
			return struct{}{}, t.send(ctx, p, peer, said, sizes(5, 60_000))
		})
		heard := int64(0)
		hear := func(n int) {
			b := make([]byte, n)
			_, err := do(t, "Read", func() (int, error) { return t.readAll(ctx, s, b) })
			t.must(err, "reading from offset %d of what the peer writes beside moves of the %s end", heard, end)
			t.must(p.differs(heard, b), "reading beside moves of the %s end", end)
			heard += int64(n)
		}
		for _, n := range []int{1, 999, 5_000, 20_001, 70_000} {
			hear(n)
			t.export(s, -1)
			hear(n / 2)
			s = t.move(at, end, s, func() {})
		}
		hear(said - int(heard))
		_, err := saying.end()
		t.must(err, "the peer's writes beside moves of the %s end", end)
		t.carry("from a moved "+end+" stream", s, peer, 125, 100_000, sizes(6, 20_000), sizes(7, 20_000))
		t.movesCutOff(at, end, s, peer)
	}
}

// movesCutOff moves a stream after a write that timed out part of the way, and writes the rest at
// the new place. A plug-in may instead fail from such a write on, or refuse to move with the rest
// of it, but must neither lose nor change a byte.
func (t *trial) movesCutOff(at site, end string, s, peer *stream) {
	const more = 100_000
	p := pattern(126)
	sent, err := t.writeUntilCut(s, p, 0)
	t.must(err, "Writev")
	full := false
	for range 100 {
		if _, err := do(t, "Export", func() (struct{}, error) { _, _, err := s.Export(); return struct{}{}, err }); err != nil {
			return
		}
		s = t.move(at, end, s, func() {})
		if full {
			// that write failed for lack of room, so the move may have been between two frames
			break
		}
		last := sent
		if sent, err = t.writeUntilCut(s, p, sent); err != nil {
			break
		}
		if sent > last {
			continue
		}
		n, e := do(t, "Writev", func() (int64, error) { return s.Writev(transport.NoWait(), p.bytes(sent, 1)) })
		sent += n
		full = e != nil // if it succeeded, the write before merely had too little time
		if full && !isTimeout(e) {
			err = e
			break
		}
	}
	ctx := t.soon()
	read := begin(t, "the peer's Read", func() (struct{}, error) {
		return struct{}{}, t.receive(ctx, p, peer, int(sent)+more, each(64<<10))
	})
	if err == nil {
		write := begin(t, "Writev", func() (int64, error) { return s.Writev(ctx, p.bytes(sent, more)) })
		_, err = write.end()
	}
	if err != nil {
		_ = s.Close() // else the peer would wait for what will not come
	}
	_, rerr := read.end()
	if err != nil && (rerr == nil || hasEnded(rerr)) {
		return // without Interrupt the SDK may have ended the connection together with the write
	}
	t.must(rerr, "reading what the %s end wrote before and after it moved, of which one write was cut off", end)
	t.must(err, "writing the rest of a write that was cut off, after the %s end has moved", end)
}

// writeUntilCut writes the pattern from offset from on, until a write times out, and returns the
// offset that it reached.
func (t *trial) writeUntilCut(s *stream, p pattern, from int64) (to int64, err error) {
	const limit, block = 64 << 20, 1<<20 + 7
	for to = from; to < limit; {
		ctx := t.after(short)
		n, err := do(t, "Writev", func() (int64, error) { return s.Writev(ctx, p.bytes(to, block)) })
		if to += n; isTimeout(err) {
			break
		}
		if err != nil {
			return to, err
		}
	}
	return to, nil
}

// refusedImport calls Import with arguments that it may refuse: a pipe, and a stream's descriptor
// with a state that Export did not give.
func refusedImport(t *trial) {
	at := t.listen(0)
	t.movable(at)
	old, peer := t.join(at)
	refused := false
	for range 2 {
		refused = t.refusesPipe(at) || refused
		refused = t.refusesState(at, old) || refused
		t.says(old, peer, "after an Import that was refused")
		t.says(peer, old, "both ways")
	}
	if !refused {
		t.skip("Import refused nothing that it was given")
	}
}

func (t *trial) refusesPipe(at site) bool {
	r, w, err := os.Pipe()
	t.must(err, "a pipe")
	t.later(w.Close)
	dup, err := sys.Dup(int(r.Fd()))
	_ = r.Close()
	t.must(err, "duplicating an end of a pipe")
	return t.refuses(at, dup, nil, "a pipe")
}

func (t *trial) refusesState(at site, old *stream) bool {
	c := t.export(old, -1)
	if c.state == nil {
		return false
	}
	state := append(slices.Clone(c.state), "transporttest"...)
	return t.refuses(at, t.duplicate(old), state, "a stream with a state that was not exported")
}

// refuses reports whether Import refuses fd. A refusal that closes fd or replaces its file ends the
// trial.
func (t *trial) refuses(at site, fd int, state []byte, what string) bool {
	before, err := sys.Dup(fd)
	t.must(err, "duplicating descriptor %d", fd)
	defer sys.Close(before)
	errClosed := errors.New("the descriptor is closed")
	s, err := do(t, "Import", keep(t, func() (*stream, error) {
		s, err := asStream(at.tr.Import(fd, state))
		if err != nil {
			if !sys.SameFile(fd, before) {
				return nil, errors.Join(err, errClosed)
			}
			_ = sys.Close(fd)
		}
		return s, err
	}))
	if err == nil {
		_, err = do(t, "Release", func() (struct{}, error) { return struct{}{}, s.Release() })
		t.must(err, "Release of %s", what)
		return false
	}
	var cb *transport.CallbackError
	// not for GetFD: the pipe is ours
	if errors.Is(err, errClosed) || errors.As(err, &cb) && cb.Callback == "Import" {
		t.fail("Import of %s: %w", what, err)
	}
	return true
}

// releases frees a stream while another holder of its descriptor keeps the connection.
func releases(t *trial) {
	at := t.listen(0)
	t.movable(at)
	for _, end := range []string{"connecting", "accepted"} {
		old, peer := t.join(at)
		if end == "accepted" {
			old, peer = peer, old
		}
		dup := t.duplicate(old)
		cargo := t.export(old, dup)
		_, err := do(t, "Release", func() (struct{}, error) { return struct{}{}, old.Release() })
		if err != nil {
			_ = sys.Close(dup)
			t.fail("Release of the %s end: %w", end, err)
		}
		ctx := t.after(2 * short)
		n, err := do(t, "Read", func() (int, error) { return peer.Read(ctx, make([]byte, 100)) })
		if !isTimeout(err) {
			_ = sys.Close(dup)
			t.fail("the Release of the %s end gave the peer %d bytes and %w", end, n, orNone(err))
		}
		// The holder of the descriptor can go on.
		moved := t.take(at, dup, cargo)
		t.says(moved, peer, "still here")
		t.says(peer, moved, "so am I")
	}
}

// movesListener moves a listener.
func movesListener(t *trial) {
	at := t.listen(0)
	t.movable(at)
	dup := t.duplicate(at.l)
	moved, err := do(t, "ImportListener", keep(t, func() (*transport.Listener, error) {
		l, err := at.tr.ImportListener(dup)
		if err != nil {
			_ = sys.Close(dup)
		}
		return l, err
	}))
	t.must(err, "ImportListener of a listener's own descriptor")
	if a := moved.Addr(); a != nil && !sameAddr(a, at.l.Addr()) {
		t.fail("a listener at %v has the address %v after a move", at.l.Addr(), a)
	}
	_, err = do(t, "Release", func() (struct{}, error) { return struct{}{}, at.l.Release() })
	t.must(err, "Release of a listener")
	ctx := t.soon()
	connect := begin(t, "Connect", at.connecting(ctx, t))
	server, err := do(t, "Accept", site{at.tr, moved}.accepting(ctx, t))
	t.must(err, "Accept on a listener that has moved")
	client, server := t.met(site{at.tr, moved}, connect, server, nil)
	if err := t.greet(client, server); err != nil {
		t.fail("over a listener that has moved: %w", err)
	}
}
