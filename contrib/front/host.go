package front

import (
	"encoding/binary"
	"net"
	"sync"
	"time"
)

// A pumper ends the TLS of a session: in this process, or in one that has handed over.
type pumper interface {
	look(fd int) (c counters, open bool, err error)
	reset() // ends both sides at once; the client must not take it for the end of an answer
}

// What a process asks the one that has handed over to it about a session: a kind and the session's
// id. The answer is the client's bytes that went into the socket pair, what the worker has written,
// and whether both ends are there.
const (
	askLook  = 'l'
	askReset = 'r'

	questionSize = 1 + 8
	answerSize   = 8 + 8 + 1
)

// hostLimit is how long the other process may take for an answer, before it counts as gone.
const hostLimit = 5 * time.Second

// A host is a process that has handed over, and pumps the sessions with TLS that it has accepted.
// Without its answers these would end with their worker: they move between workers also after an
// upgrade.
type host struct {
	mu   sync.Mutex
	conn *net.UnixConn // of packets; nil: it is gone
}

func (h *host) ask(kind byte, id uint64) (in, out int64, open bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conn == nil {
		return 0, 0, false
	}
	p := make([]byte, answerSize)
	_ = h.conn.SetDeadline(time.Now().Add(hostLimit))
	_, err := h.conn.Write(binary.BigEndian.AppendUint64([]byte{kind}, id))
	n := 0
	if err == nil {
		n, err = h.conn.Read(p)
	}
	if err != nil || n != answerSize { // a late answer would be taken for that to the next question
		_ = h.conn.Close()
		h.conn = nil
		return 0, 0, false
	}
	return int64(binary.BigEndian.Uint64(p)), int64(binary.BigEndian.Uint64(p[8:])), p[16] == 1
}

func (h *host) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conn != nil {
		_ = h.conn.Close()
		h.conn = nil
	}
}

// A hosted pump is one of another process.
type hosted struct {
	*host
	id uint64
}

// look counts what went in between two equal answers, since the other process goes on meanwhile.
func (p hosted) look(fd int) (c counters, open bool, err error) {
	before, _, open := p.ask(askLook, p.id)
	for open {
		waits, err := unread(fd)
		if err != nil {
			return c, false, err
		}
		in, out, still := p.ask(askLook, p.id)
		if in == before {
			return counters{in - int64(waits), out}, still, nil
		}
		before, open = in, still
	}
	return c, false, nil
}

func (p hosted) reset() { p.ask(askReset, p.id) }
