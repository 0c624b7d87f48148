package front

import (
	"encoding/binary"
	"math"

	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

// Points of which a part was said before: the beginning of a state that stays the same, and what
// does not fit into a packet.
const (
	kindHead  = 'b' // worker: what the states of the session's points begin with
	kindPart  = 'a' // worker: offset, and bytes of the next point's rest and state
	kindLong  = 'p' // worker: a point, whose rest and state begin with the parts, and its state with the head
	kindReads = 'l' // worker: it reads sessions of more than bind10.MaxData

	partHead  = 1 + 8 + 4
	longHead  = pointHead + 4 + 4
	mostPoint = 1 << 20
)

// A preface is what a worker has said of the points that follow.
type preface struct{ head, parts []byte }

// parseLong reads a packet of one of the kinds above, but for kindReads. It keeps nothing of p.
func parseLong(p []byte) (k packet, ok bool) {
	k.kind, k.id = p[0], binary.BigEndian.Uint64(p[1:])
	switch k.kind {
	case kindHead:
		k.data = append([]byte(nil), p[1+8:]...)
		return k, true
	case kindPart:
		if len(p) < partHead {
			return k, false
		}
		k.offset = binary.BigEndian.Uint32(p[9:])
		k.data = append([]byte(nil), p[partHead:]...)
		return k, true
	}
	if len(p) < longHead {
		return k, false
	}
	consumed, written := binary.BigEndian.Uint64(p[9:]), binary.BigEndian.Uint64(p[17:])
	if consumed > math.MaxInt64 || written > math.MaxInt64 {
		return k, true
	}
	k.rest, k.head, k.parts = binary.BigEndian.Uint32(p[25:]), binary.BigEndian.Uint32(p[29:]), binary.BigEndian.Uint32(p[33:])
	k.data = append([]byte(nil), p[longHead:]...)
	k.point = &point{at: counters{int64(consumed), int64(written)}}
	return k, true
}

// note notes what was said, and completes a point. A point of which anything is missing is none.
// Keeper.mu is held.
func (s *preface) note(k *packet) {
	switch k.kind {
	case kindHead:
		if s.head = k.data; len(k.data) > MaxPoint {
			s.head = nil
		}
	case kindPart:
		if at := int64(k.offset); at <= int64(len(s.parts)) && at+int64(len(k.data)) <= MaxPoint {
			s.parts = append(s.parts[:at], k.data...)
		} else {
			s.parts = nil
		}
	case kindLong:
		parts := s.parts
		s.parts = nil
		if k.point == nil {
			return
		}
		all := k.data
		if k.parts > 0 {
			all = append(parts, k.data...)
		}
		rest := uint64(k.rest)
		if int(k.head) != len(s.head) && k.head > 0 || k.parts > 0 && int(k.parts) != len(parts) || rest > uint64(len(all)) ||
			len(all)+int(k.head) > MaxPoint {
			k.point = nil
			return
		}
		k.point.rest, k.point.state = all[:rest:rest], all[rest:]
		if k.head > 0 {
			k.point.head = s.head
		}
	}
}

// whole is a point's state with its head.
func (p *point) whole() *point {
	if p == nil || p.head == nil {
		return p
	}
	return &point{at: p.at, rest: p.rest, state: append(append(make([]byte, 0, len(p.head)+len(p.state)), p.head...), p.state...)}
}

// isLong tells whether only workers that have said kindReads can have a session that stands here.
func (p *point) isLong() bool { return envelopeHead+len(p.rest)+len(p.state) > maxData }

// appendSession is bind10.AppendSession, also with more data than BIND 10's form has.
func appendSession(b []byte, h bind10.Header, data []byte) ([]byte, error) {
	if len(data) <= maxData {
		return bind10.AppendSession(b, h, data)
	}
	b, err := bind10.AppendSession(b, h, data[:1])
	if err == nil {
		binary.BigEndian.PutUint32(b[len(b)-1-4:], uint32(len(data)))
		b = append(b, data[1:]...)
	}
	return b, err
}
