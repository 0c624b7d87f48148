package front

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A pump ends the TLS of one client: it carries bytes between it and a socket pair, of which a
// worker gets the other end.
type pump struct {
	tcp    net.Conn // of client
	here   *net.UnixConn
	raw    syscall.RawConn // of here
	linger time.Duration   // ServeOptions.Linger
	stuck  *time.Timer     // of a write to the client

	// writing is held by who writes to the client, or changes what it is
	writing sync.Mutex
	client  secured

	// a byte is counted in the moment in which it goes into the pair or comes out of it
	mu       sync.Mutex
	in, out  int64
	finished bool         // the client's connection, or the worker's end of the pair
	begins   func() error // TLS, in place of reading
	begun    bool
	deaf     bool      // the client is not read any more
	written  time.Time // when the write to the client began that is going on; zero: none is
}

// secured is a *tls.Conn, or a *net.TCPConn of which TLS may begin later.
type secured interface {
	net.Conn
	CloseWrite() error
}

// look tells how far the session is: fd is the worker's end of the pair.
func (p *pump) look(fd int) (c counters, open bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	waits, err := unread(fd)
	if err != nil {
		return c, false, err
	}
	in, out, open := p.countsLocked()
	return counters{in - int64(waits), out}, open, nil
}

// counts are the client's bytes that went into the pair, and the bytes that came from the worker.
func (p *pump) counts() (in, out int64, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.countsLocked()
}

func (p *pump) countsLocked() (in, out int64, open bool) {
	written, err := 0, error(nil)
	e := p.raw.Control(func(h uintptr) { written, err = unread(int(h)) })
	return p.in, p.out + int64(written), e == nil && err == nil && !p.finished
}

func (p *pump) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finished = true
}

// cut ends both sides at once; reset: the client must not take it for the end of an answer.
func (p *pump) cut(reset bool) {
	p.finish()
	if t, ok := p.tcp.(*net.TCPConn); ok && reset {
		_ = t.SetLinger(0)
	}
	_ = p.tcp.Close()
	_ = p.here.Close()
}

func (p *pump) reset() { p.cut(true) }

const pumpBuffer = 16 << 10 // a TLS record

// fromClient carries the client's bytes to the worker.
func (p *pump) fromClient() {
	defer p.deafen()
	b := make([]byte, pumpBuffer)
	for {
		n, err := p.client.Read(b)
		for at := 0; at < n; {
			k, e := writeCounted(p.raw, b[at:n], &p.mu, &p.in)
			if at += k; e != nil {
				p.finish()
				_ = p.here.CloseRead() // the worker reads no more, and may still write
				return
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && p.shakes():
		case errors.Is(err, io.EOF): // the client has said that it sends no more
			_ = p.here.CloseWrite()
			return
		default:
			p.cut(false)
			return
		}
	}
}

// toClient writes to the client, who may take any time for it as long as somebody has the worker's
// end.
func (p *pump) toClient(b []byte) error {
	p.mu.Lock()
	p.written = time.Now()
	if p.stuck == nil {
		p.stuck = time.AfterFunc(p.linger, p.lingers)
	} else {
		p.stuck.Reset(p.linger)
	}
	p.mu.Unlock()
	p.writing.Lock()
	_, err := p.client.Write(b)
	p.writing.Unlock()
	p.mu.Lock()
	p.written = time.Time{}
	p.stuck.Stop()
	p.mu.Unlock()
	return err
}

// lingers looks after a write that takes long: with nobody left at the worker's end it ends.
func (p *pump) lingers() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.written.IsZero() {
		return
	}
	left := p.linger - time.Since(p.written)
	if left <= 0 {
		if hungUp(p.raw) {
			_ = p.tcp.SetWriteDeadline(time.Unix(1, 0))
			return
		}
		left = p.linger
	}
	p.stuck.Reset(left)
}

// fromWorker carries the worker's bytes to the client, until nobody has the worker's end any more.
func (p *pump) fromWorker() {
	b := make([]byte, pumpBuffer)
	for {
		n, err := readCounted(p.raw, b, &p.mu, &p.out)
		if n > 0 {
			if err := p.toClient(b[:n]); err != nil {
				p.cut(true)
				return
			}
			continue
		}
		p.finish()
		if err == nil {
			_ = p.secured().CloseWrite()
			awaitHangup(p.raw) // the worker may still read
		}
		break
	}
	_ = p.tcp.SetWriteDeadline(time.Now().Add(shakeLimit))
	_ = p.secured().Close()
	p.cut(false)
}

// begin has f called while nothing is read or written; its error ends the session. false: it has
// been already.
func (p *pump) begin(f func() error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.begins != nil || p.finished || p.deaf {
		return false
	}
	p.begins = f
	return p.tcp.SetReadDeadline(time.Unix(1, 0)) == nil
}

// shakes does what begin was called for. If that fails, the connection has ended before anybody
// writes again: what is meant for TLS does not go out without it.
func (p *pump) shakes() bool {
	p.writing.Lock()
	defer p.writing.Unlock()
	p.mu.Lock()
	f := p.begins
	p.begun = f != nil
	p.mu.Unlock()
	if p.tcp.SetReadDeadline(time.Time{}) == nil && f != nil && f() == nil {
		return true
	}
	p.cut(false)
	return false
}

// deafen notes that the client is not read any more. What was to begin by then fails.
func (p *pump) deafen() {
	p.mu.Lock()
	p.deaf = true
	late := p.begins != nil && !p.begun
	p.mu.Unlock()
	if late {
		p.shakes()
	}
}

func (p *pump) secured() secured {
	p.writing.Lock()
	defer p.writing.Unlock()
	return p.client
}

// serveHosted answers the process that has taken over, until it is gone.
func serveHosted(conn *net.UnixConn, pumps map[uint64]*pump) error {
	defer conn.Close()
	q := make([]byte, questionSize)
	for {
		n, err := conn.Read(q)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		if n != questionSize {
			return malformed("a question of %d bytes", n)
		}
		a := make([]byte, answerSize)
		if p := pumps[binary.BigEndian.Uint64(q[1:])]; p != nil {
			if q[0] == askReset {
				p.reset()
			}
			in, out, open := p.counts()
			binary.BigEndian.PutUint64(a, uint64(in))
			binary.BigEndian.PutUint64(a[8:], uint64(out))
			if open {
				a[16] = 1
			}
		}
		if _, err := conn.Write(a); err != nil {
			return err
		}
	}
}
