package tlstransport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// Limits of what a peer may send. All are far above what OTP or crypto/tls do.
const (
	// maxHandshake bounds a handshake message after the handshake: tickets, updates, requests to
	// renegotiate.
	maxHandshake = 64 << 10
	// maxUseless bounds consecutive records without data to read: empty ones, tickets, updates,
	// warnings.
	maxUseless = 32
)

// Types of handshake messages. RFC 8446, section 4; RFC 5246, section 7.4.
const (
	messageHelloRequest byte = 0
	messageClientHello  byte = 1
	messageTicket       byte = 4
	messageKeyUpdate    byte = 24
)

// defaultKeyUpdate is how many records one AES-GCM key of TLS 1.3 protects before the next one. RFC
// 8446, section 5.5, allows 2^24.5.
const defaultKeyUpdate = 1 << 24

// A session takes over after crypto/tls's handshake: it protects records itself, so that its state
// is known and can move. The receiving half belongs to the Read in flight; the sending half is
// guarded by the outbox's lock, because reading may send answers as well.
type session struct {
	s   *Socket
	in  *half
	out *half

	// Used by the Read in flight.
	raw     []byte // received and not opened: raw[r:w]
	r, w    int
	few     int    // reads in a row that brought less than rawMin
	plain   []byte // opened and not delivered, inside raw
	pending atomic.Int64
	message []byte // the beginning of a handshake message that is not complete
	useless int
	warned  bool  // it has been logged that the peer wants to renegotiate
	ended   bool  // the peer has sent close_notify
	failed  error // why nothing more can be received

	// Used by senders; out.mu is held.
	closed   bool  // we have sent close_notify, or the session has failed
	broken   error // why nothing can be sent, if the session has failed
	answered bool  // an answer to an update or a request is in the outbox already
}

// rawMin and rawMax bound the receive buffer: it grows while reads fill it, and becomes small again
// after rawFew consecutive reads for which rawMin would have been enough.
const (
	rawMin = 4 << 10
	rawMax = 68 << 10
	rawFew = 64
)

func newSession(s *Socket, in, out *half) *session { return &session{s: s, in: in, out: out} }

// read reads at least one byte, unless p is empty; io.EOF is the end after close_notify.
func (t *session) read(ctx context.Context, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	t.s.wake()
	for {
		if len(t.plain) > 0 {
			n := copy(p, t.plain)
			t.plain = t.plain[n:]
			t.pending.Store(int64(len(t.plain)))
			return n, nil
		}
		switch {
		case t.failed != nil:
			return 0, t.failed
		case t.ended:
			return 0, io.EOF
		}
		n, opened, err := t.next(p)
		switch {
		case err != nil:
			t.fail(err)
		case n > 0:
			return n, nil
		case !opened:
			if err := t.receive(ctx); err != nil {
				return 0, err
			}
		}
	}
}

// receive waits for more bytes.
func (t *session) receive(ctx context.Context) error {
	if t.r == t.w {
		t.r, t.w = 0, 0
		if t.few >= rawFew && len(t.raw) > rawMin {
			t.raw, t.plain = nil, nil // plain is empty, but refers to the same memory
		}
	}
	if t.raw == nil {
		t.raw = make([]byte, rawMin)
	}
	if need := t.need(); t.r+need > len(t.raw) {
		if need <= len(t.raw) {
			t.w = copy(t.raw, t.raw[t.r:t.w])
			t.r = 0
		} else {
			t.grow(need)
		}
	}
	n, err := t.s.receive(ctx, t.raw[t.w:])
	t.w += n
	if err != nil {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			if err == io.EOF {
				err = errCutOff
			}
			t.failed = t.s.peerError(err)
			return t.failed
		}
		return err
	}
	if t.few++; n >= rawMin {
		t.few = 0
	}
	if t.w == len(t.raw) && len(t.raw) < rawMax {
		t.grow(min(2*len(t.raw), rawMax))
	}
	return nil
}

// need returns the length of the next record, or that of a header until the header has come whole.
func (t *session) need() int {
	if t.w-t.r < recordHeader {
		return recordHeader
	}
	return recordHeader + int(binary.BigEndian.Uint16(t.raw[t.r+3:]))
}

func (t *session) grow(n int) {
	b := make([]byte, max(n, rawMin))
	t.w = copy(b, t.raw[t.r:t.w])
	t.r, t.raw, t.few = 0, b, 0
}

// next opens the next record, if it has come whole, and acts on it. Data goes into p if it fits,
// else into plain.
func (t *session) next(p []byte) (n int, opened bool, err error) {
	have := t.raw[t.r:t.w]
	if len(have) < recordHeader {
		return 0, false, nil
	}
	if have[1] != 3 {
		return 0, false, alertProtocolVersion
	}
	size := int(binary.BigEndian.Uint16(have[3:]))
	if size > t.in.most() {
		return 0, false, alertRecordOverflow
	}
	if len(have) < recordHeader+size {
		return 0, false, nil
	}
	record := have[:recordHeader+size]
	t.r += len(record)
	typ, plain, err := t.in.open(p, record)
	if err != nil {
		return 0, false, err
	}
	if typ != typeData || len(plain) == 0 {
		if t.useless++; t.useless > maxUseless {
			return 0, false, alertUnexpectedMessage
		}
	}
	if typ != typeHandshake && len(t.message) > 0 {
		return 0, false, alertUnexpectedMessage
	}
	switch typ {
	case typeData:
		if len(plain) == 0 {
			return 0, true, nil
		}
		t.useless = 0
		if len(p) > 0 && &p[0] == &plain[0] {
			return len(plain), true, nil
		}
		t.plain = plain
		t.pending.Store(int64(len(plain)))
		return 0, true, nil
	case typeAlert:
		return 0, true, t.alert(plain)
	case typeHandshake:
		return 0, true, t.handshake(plain)
	}
	return 0, false, alertUnexpectedMessage
}

// A remote is an alert that the peer has sent.
type remote struct{ Alert }

func (r remote) Unwrap() error { return r.Alert }

// alert acts on an alert. RFC 8446, section 6; RFC 5246, section 7.2.
func (t *session) alert(p []byte) error {
	const warning = 1
	if len(p) != 2 {
		return alertDecodeError
	}
	level, a := p[0], Alert(p[1])
	switch {
	case a == alertCloseNotify:
		t.ended = true
		return nil
	case a == alertUserCanceled, level == warning && !t.in.is13():
		return nil
	}
	return remote{a}
}

// handshake acts on handshake messages that come after the handshake.
func (t *session) handshake(p []byte) error {
	if len(p) == 0 {
		return alertUnexpectedMessage // RFC 8446, section 5.1
	}
	t.message = append(t.message, p...)
	for len(t.message) >= 4 {
		n := 4 + int(t.message[1])<<16 + int(binary.BigEndian.Uint16(t.message[2:]))
		if n > maxHandshake {
			return alertUnexpectedMessage
		}
		if len(t.message) < n {
			return nil
		}
		typ, body := t.message[0], t.message[4:n]
		t.message = t.message[n:]
		if err := t.obey(typ, body); err != nil {
			return err
		}
	}
	if len(t.message) == 0 {
		t.message = nil
	}
	return nil
}

func (t *session) obey(typ byte, body []byte) error {
	switch {
	case t.in.is13() && typ == messageTicket && t.s.role == client:
		return nil // sessions are never resumed
	case t.in.is13() && typ == messageKeyUpdate:
		if len(t.message) > 0 {
			// after the update there must be a new record, with the new key
			return alertUnexpectedMessage
		}
		if len(body) != 1 {
			return alertDecodeError
		}
		if body[0] > 1 {
			return alertIllegalParameter // RFC 8446, section 4.6.3
		}
		if err := t.in.update(); err != nil {
			return err
		}
		t.s.p.log.Debug("the peer has changed its TLS key", "peer", t.s.peerName(), "asks for ours", body[0] == 1)
		if body[0] == 1 {
			t.answer(t.update)
		}
		return nil
	case !t.in.is13() && (typ == messageHelloRequest && t.s.role == client || typ == messageClientHello && t.s.role == server):
		if !t.warned {
			t.warned = true
			t.s.p.log.Warn("the peer wants to renegotiate TLS 1.2 and is refused; an Erlang node closes the connection then: use TLS 1.3",
				"peer", t.s.peerName(), "addr", t.s.remote)
		}
		t.answer(func() error { return t.put(typeAlert, []byte{1, byte(alertNoRenegotiation)}) })
		return nil
	}
	return alertUnexpectedMessage
}

// answer sends an answer beside the Write in flight. A peer that keeps asking without reading gets
// one answer, not one for each question.
func (t *session) answer(say func() error) {
	o := &t.s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if t.closed || t.answered && o.pos < len(o.buf) {
		return
	}
	t.answered = say() == nil
	o.settle()
}

// fail ends the session, and sends the peer an alert if the error is one of ours.
func (t *session) fail(err error) {
	e := t.s.peerError(err)
	var theirs remote
	var ours Alert
	pe, known := e.(*PeerError)
	switch {
	case errors.As(err, &theirs):
		if known {
			pe.ByPeer, pe.Failure, pe.Err = true, t.s.refusal(theirs.Alert), theirs.Alert
		}
	case errors.As(err, &ours):
		if known {
			pe.Err = fmt.Errorf("the peer has broken the protocol: %w", ours)
		}
	}
	t.failed = e
	o := &t.s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if ours != 0 && !t.closed {
		_ = t.put(typeAlert, []byte{2, byte(ours)})
		o.settle()
	}
	t.closed, t.broken = true, e
}

// put seals a small record; out.mu is held.
func (t *session) put(typ byte, p []byte) (err error) {
	o := &t.s.out
	o.buf, err = t.out.seal(o.buf, typ, p)
	return err
}

// update changes to the next key for sending; out.mu is held. It never asks the peer to change its
// key too: OTP 25 and 27 would stop receiving.
func (t *session) update() error {
	if err := t.put(typeHandshake, []byte{messageKeyUpdate, 0, 0, 1, 0}); err != nil {
		return err
	}
	return t.out.update()
}

// seal seals as much of v into the outbox as is to be written at once, and returns the number of
// bytes.
func (t *session) seal(v [][]byte) (sealed int, err error) {
	o := &t.s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case t.broken != nil:
		return 0, t.broken
	case t.closed:
		return 0, errClosed
	case o.err != nil:
		return 0, o.err
	}
	t.answered = false
	total := size(v)
	if total > maxPlaintext && o.large == nil {
		o.enlarge()
	}
	var parts [4][]byte
	at := 0 // bytes of v[0] that are sealed
	// A small rest is sealed together with what precedes it: sent alone, it would cost the receiver
	// as much as a large write. The limit on the outbox is for vectors of tiny buffers, whose
	// records are much longer than their data: all of it must fit into a state.
	for len(v) > 0 && len(o.buf)-o.pos < maxStateOut/2 && (sealed < mostAtOnce || total-sealed <= maxPlaintext) {
		if t.out.is13() && (t.out.records >= t.s.p.updateRecords || t.out.bytes >= t.s.p.updateBytes[t.s.role]) {
			if err := t.update(); err != nil {
				return sealed, err
			}
		}
		var n, k int
		v, at, n, k = fill(&parts, v, at)
		if n == 0 {
			break
		}
		if o.buf, err = t.out.seal(o.buf, typeData, parts[:k]...); err != nil {
			return sealed, err
		}
		sealed += n
	}
	return sealed, nil
}

// fill puts what goes into a record, n bytes, into the first k of parts: from the next few buffers
// of v, the first at bytes of which are gone already.
func fill(parts *[4][]byte, v [][]byte, at int) (rest [][]byte, restAt, n, k int) {
	for k < len(parts) && len(v) > 0 && n < maxPlaintext {
		b := v[0][at:]
		if room := maxPlaintext - n; len(b) > room {
			b = b[:room]
			at += room
		} else {
			v, at = v[1:], 0
		}
		if len(b) > 0 {
			parts[k] = b
			k++
			n += len(b)
		}
	}
	return v, at, n, k
}

func size(v [][]byte) (n int) {
	for _, b := range v {
		n += len(b)
	}
	return n
}

// closeNotify sends close_notify: nothing more will come.
func (t *session) closeNotify() error {
	o := &t.s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	err := t.put(typeAlert, []byte{1, byte(alertCloseNotify)})
	o.settle()
	return err
}

// forget zeroes the secrets, and bytes received.
func (t *session) forget() {
	o := &t.s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	t.in.forget()
	t.out.forget()
	clear(t.raw)
	clear(t.message)
	t.raw, t.plain, t.message = nil, nil, nil
}
