package transporttest

import (
	"errors"
	"io"
)

// resets resets connections without calling the plug-in, whose own Close might send something
// before the reset: one on which nothing waits, when the reset has been seen to arrive, and one on
// which a Read waits.
func resets(t *trial) {
	at := t.listen(0)
	another, other := t.join(at)
	client, server := t.join(at)
	if !reset(server) || !wasReset(client) {
		t.skip("the suite cannot reset the plug-in's connections, or not so that the peer has it from the system")
	}
	t.endedByReset(client, begin(t, "Read", t.reading(client)))

	client, server = t.join(at)
	read := begin(t, "Read", t.reading(client))
	if read.endsWithin(moment) {
		t.fail("a Read ended with %d bytes and %w when nothing was sent", read.v, orNone(read.err))
	}
	if !reset(server) {
		t.skip("the second connection could not be reset")
	}
	t.endedByReset(client, read)
	t.says(another, other, "a connection outlives others that were reset")
	t.says(other, another, "both ways")
}

func (t *trial) reading(s *stream) func() (int, error) {
	ctx := t.soon()
	return func() (int, error) { return s.Read(ctx, make([]byte, 10)) }
}

// endedByReset checks how a Read on a connection that was reset ends, and that writes fail.
func (t *trial) endedByReset(s *stream, read *call[int]) {
	n, err := read.end()
	switch {
	case isTimeout(err):
		t.inVain()
		t.fail("a Read goes on waiting when its connection has been reset")
	case n != 0 || err == nil || errors.Is(err, io.EOF):
		t.fail("of a connection that was reset a Read gave %d bytes and %w, not an error", n, orNone(err))
	}
	t.caught(err)
	t.failsAtLast(s)
}
