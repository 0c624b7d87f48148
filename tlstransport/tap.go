package tlstransport

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"
)

// A tap is the connection that crypto/tls sees. During the handshake no read crosses the end of a
// record, so that afterwards crypto/tls holds no bytes of a later record; and the tap keeps the
// first bytes that the server sends, for the server's hello. Later, if the session stays with
// crypto/tls, a read returns what is there, and writes go to the outbox.
type tap struct {
	s   *Socket
	ctx context.Context // of the read in flight, or of the handshake

	shaken bool // the handshake is over
	failed bool // the handshake has met an error of this connection, not of the configuration's functions

	head  [recordHeader]byte
	have  int // bytes of head that have come
	given int // bytes of head that crypto/tls has read
	left  int // bytes of the record behind head that crypto/tls has not read
	hello []byte
	keys  keyLog // of the handshake; empty after it
}

// recordHeader is the length of the header of a record: type, version, length. RFC 8446, section
// 5.1.
const recordHeader = 5

// helloKept is how many of the server's first bytes are kept, more than enough to find its random.
const helloKept = 128

// maxUnsent bounds the outbox: it holds what is written at once, and crypto/tls's own answers.
const maxUnsent = 1 << 20

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.read(p)
	t.note(err)
	return n, err
}

func (t *tap) read(p []byte) (int, error) {
	if err := t.s.aborted(); err != nil {
		return 0, err
	}
	if t.shaken {
		n, err := t.s.receive(t.ctx, p)
		if err == io.EOF { // crypto/tls takes it, between two records, for an end in good order
			err = errCutOff
		}
		return n, err
	}
	for t.have < recordHeader {
		n, err := t.s.receive(t.ctx, t.head[t.have:])
		if err != nil {
			return 0, err
		}
		t.have += n
		if t.have == recordHeader {
			t.left = int(binary.BigEndian.Uint16(t.head[3:]))
		}
	}
	n := 0
	var err error
	if t.given < recordHeader {
		n = copy(p, t.head[t.given:])
		t.given += n
	} else {
		n, err = t.s.receive(t.ctx, p[:min(len(p), t.left)])
		t.left -= n
	}
	if t.s.role == client {
		t.keep(p[:n])
	}
	if t.given == recordHeader && t.left == 0 {
		t.have, t.given = 0, 0
	}
	return n, err
}

// note remembers that the connection had an error during the handshake.
func (t *tap) note(err error) {
	if !t.shaken && err != nil {
		t.failed = true
	}
}

// atBoundary reports whether crypto/tls has read whole records only.
func (t *tap) atBoundary() bool { return t.have == 0 }

func (t *tap) keep(p []byte) {
	if room := helloKept - len(t.hello); room > 0 {
		t.hello = append(t.hello, p[:min(room, len(p))]...)
	}
}

func (t *tap) Write(p []byte) (int, error) {
	n, err := t.write(p)
	t.note(err)
	return n, err
}

func (t *tap) write(p []byte) (int, error) {
	o := &t.s.out
	o.mu.Lock()
	if o.err != nil {
		defer o.mu.Unlock()
		return 0, o.err
	}
	if len(o.buf)-o.pos > maxUnsent {
		defer o.mu.Unlock()
		return 0, errors.New("the peer asks for answers and does not read them")
	}
	if o.large == nil && len(o.buf)+len(p) > outboxKept {
		o.enlarge()
	}
	o.buf = append(o.buf, p...)
	if t.shaken {
		o.settle()
		o.mu.Unlock()
		return len(p), nil
	}
	o.mu.Unlock()
	if t.s.role == server {
		t.keep(p)
	}
	if err := t.s.aborted(); err != nil {
		return 0, err
	}
	if err := o.flush(t.ctx); err != nil {
		return 0, err
	}
	return len(p), nil
}

// The other methods of net.Conn, for crypto/tls and the configuration's functions.

func (t *tap) Close() error                     { return nil } // the Socket closes the connection
func (t *tap) LocalAddr() net.Addr              { return addrOrNone(t.s.below.LocalAddr()) }
func (t *tap) RemoteAddr() net.Addr             { return addrOrNone(t.s.remote) }
func (t *tap) SetDeadline(time.Time) error      { return nil } // each call has its own deadline
func (t *tap) SetReadDeadline(time.Time) error  { return nil }
func (t *tap) SetWriteDeadline(time.Time) error { return nil }

func addrOrNone(a net.Addr) net.Addr {
	if a == nil {
		return &net.TCPAddr{}
	}
	return a
}
