package tlstransport

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
)

// stateVersion is the first byte after the magic word. A program refuses the versions that it does
// not know.
const stateVersion = 1

const stateMagic = "tls\x00"

// Limits of a state's fields, the same as a session's own.
const (
	maxStateRaw     = rawMax + recordHeader
	maxStateMessage = maxHandshake + maxPlaintext
	maxStateOut     = 1 << 20
	maxStateName    = 1 << 10
	maxStateCert    = 1 << 18 // more than crypto/tls takes
)

// Flags of a state.
const (
	flagEnded    = 1 << iota // the peer has sent close_notify
	flagClosed               // we have sent close_notify
	flagVerified             // the peer's certificate has been verified
	flagComplete             // the distribution handshake is over
	flagsKnown   = 1<<iota - 1
)

// A state is everything that makes up a session, except its descriptor. Each byte string has its
// length before it; numbers are big-endian.
type state struct {
	version uint16
	suite   uint16
	role    role
	flags   byte
	useless byte
	in, out halfState
	raw     []byte // received, not opened
	plain   []byte // opened, not delivered
	message []byte // the beginning of a handshake message that is not complete
	unsent  []byte // sealed, not on the wire: sent unchanged, because its sequence numbers are used
	node    string
	cert    []byte // the peer's certificate, until the distribution handshake is over
}

// A halfState is one direction's protection: a traffic secret (TLS 1.3), or a key and its iv (TLS
// 1.2).
type halfState struct {
	secret, key, iv     []byte
	seq, records, bytes uint64
}

func (h *half) state() halfState {
	s := halfState{secret: h.secret, key: h.key, seq: h.seq, records: h.records, bytes: h.bytes}
	if !h.is13() {
		s.iv = h.iv
	}
	return s
}

func (s halfState) half(su *suite) (*half, error) {
	var h *half
	var err error
	if su.version == tls.VersionTLS13 {
		if len(s.secret) != su.hash().Size() || len(s.key)+len(s.iv) > 0 {
			return nil, fmt.Errorf("%w: a secret of the wrong length", ErrState)
		}
		h, err = newHalf13(su, bytes.Clone(s.secret), s.seq)
	} else {
		if len(s.key) != su.key || len(s.iv) != su.fixedIV() || len(s.secret) > 0 {
			return nil, fmt.Errorf("%w: a key of the wrong length", ErrState)
		}
		h, err = newHalf12(su, bytes.Clone(s.key), bytes.Clone(s.iv), s.seq)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	h.records, h.bytes = s.records, s.bytes
	return h, nil
}

func (t *state) append(b []byte) []byte {
	b = append(append(b, stateMagic...), stateVersion, byte(t.role), t.flags, t.useless)
	b = binary.BigEndian.AppendUint16(b, t.version)
	b = binary.BigEndian.AppendUint16(b, t.suite)
	for _, h := range []*halfState{&t.in, &t.out} {
		for _, n := range []uint64{h.seq, h.records, h.bytes} {
			b = binary.BigEndian.AppendUint64(b, n)
		}
		b = appendField(appendField(appendField(b, h.secret), h.key), h.iv)
	}
	for _, f := range [][]byte{t.raw, t.plain, t.message, t.unsent, []byte(t.node), t.cert} {
		b = appendField(b, f)
	}
	return b
}

// size is the number of bytes that append adds.
func (t *state) size() int {
	n := len(stateMagic) + 4 + 2*2
	for _, h := range []*halfState{&t.in, &t.out} {
		n += 3*8 + 3*4 + len(h.secret) + len(h.key) + len(h.iv)
	}
	return n + 6*4 + len(t.raw) + len(t.plain) + len(t.message) + len(t.unsent) + len(t.node) + len(t.cert)
}

func appendField(b, field []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(field))), field...)
}

// parseState reads a state, whose fields stay inside b.
func parseState(b []byte) (t state, err error) {
	head := len(stateMagic) + 8
	switch {
	case len(b) < head || string(b[:len(stateMagic)]) != stateMagic:
		return t, fmt.Errorf("%w: it does not begin like one", ErrState)
	case b[len(stateMagic)] != stateVersion:
		return t, fmt.Errorf("%w: version %d is not known here", ErrState, b[len(stateMagic)])
	}
	p := b[len(stateMagic)+1:]
	t.role, t.flags, t.useless = role(p[0]), p[1], p[2]
	t.version, t.suite = binary.BigEndian.Uint16(p[3:]), binary.BigEndian.Uint16(p[5:])
	f := fields{b: p[7:]}
	for _, h := range []*halfState{&t.in, &t.out} {
		h.seq, h.records, h.bytes = f.number(), f.number(), f.number()
		h.secret, h.key, h.iv = f.field(64), f.field(64), f.field(64)
	}
	t.raw, t.plain = f.field(maxStateRaw), f.field(maxPlaintext)
	t.message, t.unsent = f.field(maxStateMessage), f.field(maxStateOut)
	t.node, t.cert = string(f.field(maxStateName)), f.field(maxStateCert)
	switch {
	case f.bad:
		return t, fmt.Errorf("%w: a field is cut off or too long", ErrState)
	case len(f.b) > 0:
		return t, fmt.Errorf("%w: %d bytes are left over", ErrState, len(f.b))
	case t.role != client && t.role != server || t.flags > flagsKnown:
		return t, fmt.Errorf("%w: role %d, flags %#x", ErrState, t.role, t.flags)
	}
	return t, nil
}

// fields reads fields until one is bad.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) take(n int) []byte {
	if f.bad || n > len(f.b) {
		f.bad = true
		return nil
	}
	p := f.b[:n:n]
	f.b = f.b[n:]
	return p
}

func (f *fields) number() uint64 {
	if p := f.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (f *fields) field(most int) []byte {
	p := f.take(4)
	if p == nil {
		return nil
	}
	n := binary.BigEndian.Uint32(p)
	if n > uint32(most) {
		f.bad = true
		return nil
	}
	return f.take(int(n))
}

// resume makes the session of a state, and copies what it needs of t. After an error the caller
// must call forget, to zero the secrets.
func (s *Socket) resume(t *state) error {
	su := suiteOf(t.version, t.suite)
	if su == nil {
		return fmt.Errorf("%w: version %#x with suite %#x", ErrState, t.version, t.suite)
	}
	in, err := t.in.half(su)
	if err != nil {
		return err
	}
	out, err := t.out.half(su)
	if err != nil {
		in.forget()
		return err
	}
	n := newSession(s, in, out)
	s.own = n
	s.role, s.tls12 = t.role, t.version == tls.VersionTLS12
	s.name(t.node)
	s.peer.verified = t.flags&flagVerified != 0
	s.completed.Store(t.flags&flagComplete != 0)
	if len(t.cert) > 0 {
		if s.peer.certificate, err = x509.ParseCertificate(bytes.Clone(t.cert)); err != nil {
			return fmt.Errorf("%w: %w", ErrState, err)
		}
	}
	n.ended, n.closed, n.useless = t.flags&flagEnded != 0, t.flags&flagClosed != 0, int(t.useless)
	// One buffer holds the opened bytes, and behind them those not opened.
	n.raw = append(append(make([]byte, 0, max(len(t.plain)+len(t.raw), rawMin)), t.plain...), t.raw...)
	n.plain = n.raw[:len(t.plain):len(t.plain)]
	n.r, n.w = len(t.plain), len(n.raw)
	n.raw = n.raw[:cap(n.raw)]
	n.pending.Store(int64(len(n.plain)))
	n.message = bytes.Clone(t.message)
	s.out.buf = bytes.Clone(t.unsent)
	return nil
}

// state returns the session's state, whose fields share the session's memory. No call may be in
// flight.
func (s *Socket) state() *state {
	n, o := s.own, &s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	t := &state{
		version: n.in.suite.version, suite: n.in.suite.id, role: s.role, useless: byte(n.useless), in: n.in.state(), out: n.out.state(),
		raw: n.raw[n.r:n.w], plain: n.plain, message: n.message, unsent: o.buf[o.pos:], node: s.peerName(),
		cert: s.certificate(),
	}
	for _, f := range []struct {
		set bool
		bit byte
	}{{n.ended, flagEnded}, {n.closed, flagClosed}, {s.peer.verified, flagVerified}, {s.completed.Load(), flagComplete}} {
		if f.set {
			t.flags |= f.bit
		}
	}
	return t
}

// certificate returns the peer's certificate for a state: nil once the distribution handshake is
// over.
func (s *Socket) certificate() []byte {
	if s.peer.certificate == nil || s.completed.Load() {
		return nil
	}
	return s.peer.certificate.Raw
}
