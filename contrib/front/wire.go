package front

import (
	"encoding/binary"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

// The wire between a front and a worker with the envelope: docs/reference/front-protocol.md.
// Numbers are big-endian.
const (
	wireVersion = 1
	modeLooks   = 1 // of hello: a point may count bytes that the worker has only looked at, and takes later
	modeTakes   = 2 // each byte that a point counts has been taken: one that has not was miscounted

	maxData      = bind10.MaxData
	envelopeMark = 0xC5
	envelopeHead = 1 + 8 + 4 // mark, id, size of the state
	pointHead    = 1 + 8 + 8 + 8 + 4
	maxPacket    = 128 << 10
	maxName      = 255
	noPoint      = math.MaxUint64 // consumed and written of "no point any more"
)

// Kinds of packets; the first byte.
const (
	kindHello     = 'h' // worker: version, mode, name
	kindWelcome   = 'w' // front: version, window, and the sessions' socket
	kindError     = 'e' // front: why there is no welcome
	kindTaken     = 't' // worker, and those that follow
	kindRefused   = 'f'
	kindPoint     = 'm'
	kindDone      = 'd'
	kindGivenBack = 'x'
	kindRetire    = 'r'
	kindNoMore    = 'n' // what has come for nobody will not be read
	kindStop      = 'c' // front
)

// parseHello gives the name of a worker, and whether its mode is modeTakes.
func parseHello(p []byte) (name string, takes bool, err error) {
	switch {
	case len(p) < 3 || p[0] != kindHello:
		return "", false, malformed("the first packet is no hello")
	case p[1] != wireVersion:
		return "", false, malformed("version %d of the wire, want %d", p[1], wireVersion)
	case p[2] != modeLooks && p[2] != modeTakes:
		return "", false, malformed("mode %d, want %d or %d", p[2], modeLooks, modeTakes)
	case len(p) > 3+maxName:
		return "", false, malformed("a name of %d bytes, more than %d", len(p)-3, maxName)
	case !utf8.Valid(p[3:]):
		return "", false, malformed("a name that is not UTF-8")
	}
	return string(p[3:]), p[2] == modeTakes, nil
}

func welcome(window int) []byte {
	b := binary.BigEndian.AppendUint16([]byte{kindWelcome, wireVersion}, uint16(window))
	return append(binary.BigEndian.AppendUint32(b, MaxPoint), dials)
}

func refusal(err error) []byte { return append([]byte{kindError}, brief(err)...) }

// brief is the text of an error, which may be nil, for a packet.
func brief(err error) string {
	const most = 1000
	if err == nil {
		return ""
	}
	s := strings.ToValidUTF8(err.Error(), "?")
	return s[:min(len(s), most)]
}

// appendEnvelope appends what is in the place of a session's data: its id, the state of its last
// point, and what has been read from the client and not been dealt with.
func appendEnvelope(b []byte, id uint64, state, rest []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, envelopeMark), id)
	b = binary.BigEndian.AppendUint32(b, uint32(len(state)))
	return append(append(b, state...), rest...)
}

// gone is in the place of the kind of a packet: a worker's process has ended.
const gone = 0

// lostPoint is what a packet counts as that was too long: a point that cannot be used.
func lostPoint(p []byte) packet { return packet{kind: kindPoint, id: binary.BigEndian.Uint64(p[1:])} }

// A packet is one that a worker has sent.
type packet struct {
	kind  byte
	id    uint64
	point *point // of kindPoint and kindLong; nil: no point any more

	// see long.go
	offset, rest, head, parts uint32
	data                      []byte
}

// parsePacket reads a packet. ok is false for one that is to be ignored: of an unknown kind, or
// broken. It keeps nothing of p.
func parsePacket(p []byte) (k packet, ok bool) {
	if len(p) == 0 {
		return k, false
	}
	switch k.kind = p[0]; k.kind {
	case kindRetire, kindNoMore, kindReads:
		return k, true
	case kindTaken, kindOpen, kindCancel, kindBegin, kindRefused, kindDone, kindGivenBack, kindPoint, kindHead, kindPart, kindLong:
	default:
		return k, false
	}
	if len(p) < 1+8 {
		return k, false
	}
	k.id = binary.BigEndian.Uint64(p[1:])
	switch k.kind {
	case kindHead, kindPart, kindLong:
		return parseLong(p)
	case kindOpen, kindBegin:
		k.data = append([]byte(nil), p[1+8:]...)
		return k, true
	case kindPoint:
	default:
		return k, true
	}
	if len(p) < pointHead {
		return k, false
	}
	consumed, written := binary.BigEndian.Uint64(p[9:]), binary.BigEndian.Uint64(p[17:])
	size, rest := binary.BigEndian.Uint32(p[25:]), p[pointHead:]
	switch {
	case consumed == noPoint && written == noPoint:
		return k, true
	case consumed > math.MaxInt64 || written > math.MaxInt64 || uint64(size) > uint64(len(rest)):
		return k, true // nobody knows where the session stands
	case len(rest) > MaxPoint: // cannot be given to the next worker
		return k, true
	}
	kept := append([]byte(nil), rest...)
	k.point = &point{at: counters{int64(consumed), int64(written)}, rest: kept[:size:size], state: kept[size:]}
	return k, true
}

// counters say how far a connection is, whoever reads and writes it: the client's bytes that have
// been taken, and the bytes that have been given to be sent to the client.
type counters struct{ consumed, written int64 }

func (c counters) since(base counters) counters {
	return counters{c.consumed - base.consumed, c.written - base.written}
}

// A point is a place from which another worker can go on.
type point struct {
	at    counters // since the worker got the session
	rest  []byte   // taken from the client, and not dealt with
	head  []byte   // what the state begins with: see whole
	state []byte   // for the next worker
}

// settled finds the point at which a session stands, among the last two that its worker has told;
// either may be nil. surplus is how many bytes of the client's have been dealt with and are still
// to be taken, because the worker had only looked at them; a worker of modeTakes never has.
//
// The worker tells a point before it writes the answer whose end the point describes. So if all of
// that has been written, the last point holds, else the one before.
func settled(now counters, last, before *point, takes bool) (p *point, surplus int64) {
	for _, p := range [...]*point{last, before} {
		if p == nil || now.written != p.at.written || now.consumed < 0 {
			continue
		}
		if surplus = p.at.consumed - now.consumed; surplus == 0 || surplus > 0 && !takes {
			return p, surplus
		}
	}
	return nil, 0
}
