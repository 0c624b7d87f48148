//go:build unix

package tlstransport

import (
	"crypto/fips140"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A hostile peer shakes hands by crypto/tls, knows the keys, and then sends what a script tells it.
type hostile struct {
	raw net.Conn
	out *half
}

// An eavesdropper keeps the first bytes that the server of a connection sends.
type eavesdropper struct {
	net.Conn
	role  role // the connection's own
	hello []byte
}

func (e *eavesdropper) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	if e.role == client {
		e.keep(p[:n])
	}
	return n, err
}

func (e *eavesdropper) Write(p []byte) (int, error) {
	if e.role == server {
		e.keep(p)
	}
	return e.Conn.Write(p)
}

func (e *eavesdropper) keep(p []byte) {
	if room := helloKept - len(e.hello); room > 0 {
		e.hello = append(e.hello, p[:min(room, len(p))]...)
	}
}

// meet connects a socket of ours in a role with a hostile peer.
func (w *workbench) meet(r role, cfg *tls.Config) (*Socket, *hostile) {
	w.t.Helper()
	keys := &keyLog{lines: map[string]logged{}}
	cfg = cfg.Clone()
	cfg.KeyLogWriter = keys
	cfg.SessionTicketsDisabled = true
	s, c := w.against(r, cfg) // only its TCP connection is used
	e := &eavesdropper{Conn: c.NetConn(), role: server + client - r}
	cfg.ServerName = "localhost"
	if c = tls.Client(e, cfg); r == client {
		c = tls.Server(e, cfg)
	}
	require.NoError(w.t, e.SetDeadline(time.Now().Add(tooLong)))
	err := c.Handshake()
	require.NoError(w.t, err)
	<-s.over
	require.NoError(w.t, s.failure)
	require.Equal(w.t, fips140.Enforced(), s.own == nil, s.stay)
	state := c.ConnectionState()
	var out *half
	// Strangers have any cryptography.
	fips140.WithoutEnforcement(func() { _, out, err = keys.halves(&state, e.role, e.hello) })
	require.NoError(w.t, err)
	go func() { // what we send, and the end of it
		_, _ = io.Copy(io.Discard, e.Conn)
	}()
	return s, &hostile{e.Conn, out}
}

// A script is a sequence of instructions, each of these, a length in two bytes, and bytes.
const (
	sayRaw    = iota // the bytes as they are
	sayRecord        // a record with the right keys: its type, its content
	sayCut           // a record whose last byte is wrong
	sayMove          // nothing: our side moves
	sayWrite         // nothing: our side writes that many bytes
	sayUpdate        // a key update, with its one byte
	saySteps         // the number of instructions
)

func script(steps ...[]byte) (b []byte) {
	for _, s := range steps {
		b = append(b, s...)
	}
	return b
}

func say(what byte, p ...byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{what}, uint16(len(p))), p...)
}

// follow plays a script.
func (h *hostile) follow(b []byte, own func(what byte, n int)) {
	for steps := 0; len(b) >= 3 && steps < 64; steps++ {
		what, n := b[0]%saySteps, int(binary.BigEndian.Uint16(b[1:]))
		p := b[3:]
		p = p[:min(n, len(p))]
		b = b[3+len(p):]
		var wire []byte
		switch {
		case what == sayMove || what == sayWrite:
			own(what, n)
			continue
		case what == sayRaw:
			wire = p
		case len(p) == 0:
			continue
		case what == sayUpdate:
			wire, _ = h.out.seal(nil, typeHandshake, []byte{messageKeyUpdate, 0, 0, 1, p[0]})
			if h.out.is13() {
				fips140.WithoutEnforcement(func() { _ = h.out.update() })
			}
		default:
			wire, _ = h.out.seal(nil, p[0], p[1:])
			if what == sayCut {
				wire[len(wire)-1] ^= 1
			}
		}
		_, _ = h.raw.Write(wire) // fails once our side has closed
	}
}

// FuzzSession makes a peer that knows the keys send anything at all, in either version, to either
// role, while our side reads, writes and moves. Our side must neither panic nor wait for ever, and
// its reads must come to an end.
func FuzzSession(f *testing.F) {
	for first := range byte(4) {
		add := func(steps ...[]byte) { f.Add(first, script(steps...)) }
		add(say(sayRecord, typeData, 'h', 'e', 'l', 'l', 'o'), say(sayMove), say(sayRecord, typeAlert, 1, 0))
		add(say(sayRaw, 23, 3, 3, 0, 5), say(sayMove), say(sayRaw, 1, 2, 3, 4, 5))
		add(say(sayUpdate, 1), say(sayWrite, 0), say(sayRecord, typeData, 'x'), say(sayUpdate, 0), say(sayMove), say(sayRecord, typeData, 'y'))
		add(say(sayRecord, typeHandshake, messageTicket, 0, 0, 9, 1), say(sayMove), say(sayRecord, typeHandshake, 2, 3, 4, 5, 6, 7, 8, 9))
		add(say(sayRecord, typeHandshake, messageHelloRequest, 0, 0, 0), say(sayRecord, typeData, 'x'), say(sayCut, typeData, 'y'))
		add(say(sayRecord, typeAlert, 2, 40))
		add(say(sayRaw, 22, 3, 1, 0x40, 0), say(sayRecord, typeChangeCipherSpec, 1))
	}
	a := newAuthority(f, "an authority")
	base := a.mutual(f)
	f.Fuzz(func(t *testing.T, first byte, b []byte) {
		version, r := uint16(tls.VersionTLS12), server
		if first&1 != 0 {
			version = tls.VersionTLS13
		}
		if first&2 != 0 {
			r = client
		}
		k := kinds[0]
		if version == tls.VersionTLS12 {
			k = kinds[1]
		}
		cfg := restrict(base, version, k.suite)
		w := newWorkbench(t, cfg, Options{keyUpdateRecords: 2})
		s, h := w.meet(r, cfg)
		defer func() {
			require.NoError(t, h.raw.Close())
			require.NoError(t, w.cb.Close(s))
		}()
		h.follow(b, func(what byte, n int) {
			if what == sayWrite {
				_, _ = w.cb.Write(s, make([]byte, n+1), tooLong)
				return
			}
			readSome(t, s, 100*time.Microsecond)
			if moved, err := handOver(w.cb, s); err == nil {
				s = moved
			}
		})
		require.NoError(t, h.raw.(*net.TCPConn).CloseWrite())
		require.True(t, readSome(t, s, tooLong), "the end has not come")
	})
}

// readSome reads until the end or an error, which it reports, or until nothing has come for so
// long.
func readSome(t *testing.T, s *Socket, tmo time.Duration) (end bool) {
	p := make([]byte, 1000)
	for {
		n, err := s.read(p, tmo)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return false
		case err != nil || n == 0:
			require.Zero(t, n)
			return true
		}
	}
}

// FuzzHandshake makes a peer send anything at all in place of the handshake, or in the middle of
// one.
func FuzzHandshake(f *testing.F) {
	a := newAuthority(f, "an authority")
	cfg := a.mutual(f)
	hello := clientHello(f, cfg)
	f.Add(false, uint16(0), []byte("GET / HTTP/1.0\r\n\r\n"))
	f.Add(false, uint16(0), []byte("\x00\x15n\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add(false, uint16(0), []byte("\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10")) // SSL 2
	f.Add(false, uint16(20), []byte{22, 3, 1, 0xff, 0xff})
	f.Add(false, uint16(len(hello)), []byte{22, 3, 3, 0, 4, 16, 0, 0, 0})
	f.Add(false, uint16(len(hello)), []byte{21, 3, 3, 0, 2, 2, 40})
	f.Add(true, uint16(0), []byte{22, 3, 3, 0, 4, 2, 0, 0, 0})
	f.Add(true, uint16(0), []byte{22, 3, 3, 0, 0, 22, 3, 3, 0, 0})
	f.Add(true, uint16(0), []byte{21, 3, 3, 0, 2, 1, 0})
	f.Fuzz(func(t *testing.T, dials bool, prefix uint16, b []byte) {
		w := newWorkbench(t, cfg, Options{HandshakeTimeout: tooLong})
		r := server
		if dials {
			r = client
		}
		s, c := w.against(r, cfg)
		raw := c.NetConn()
		if !dials {
			b = append(append([]byte(nil), hello[:min(int(prefix), len(hello))]...), b...)
		}
		_, _ = raw.Write(b)
		require.NoError(t, raw.(*net.TCPConn).CloseWrite())
		_, err := s.read(make([]byte, 1), tooLong)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Error(t, err, "nobody has shaken hands")
		require.NoError(t, raw.Close())
		require.NoError(t, w.cb.Close(s))
	})
}

// clientHello returns the first bytes that a client sends.
func clientHello(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	here, there := net.Pipe()
	cfg = cfg.Clone()
	cfg.ServerName = "localhost"
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Client(here, cfg).Handshake()
	}()
	p := make([]byte, 8<<10)
	n := expect.NoError(there.Read(p)).In(t)
	require.NoError(t, errors.Join(there.Close(), here.Close()))
	<-done
	return p[:n]
}
