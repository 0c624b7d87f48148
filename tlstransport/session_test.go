//go:build unix

package tlstransport

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// Forbidden messages of a peer end the session with the right alert.
func TestSessionRefuses(t *testing.T) {
	const v12, v13 = tls.VersionTLS12, tls.VersionTLS13
	many := func(n int, typ byte, p []byte) func(d *dialogue) []byte {
		return func(d *dialogue) (b []byte) {
			for range n {
				b = d.seal(b, typ, p)
			}
			return b
		}
	}
	raw := func(s string) func(*dialogue) []byte { return func(*dialogue) []byte { return []byte(s) } }
	for _, tt := range []struct {
		name    string
		version uint16
		role    role
		say     func(d *dialogue) []byte
		alert   Alert
	}{
		{"too many empty records", v13, server, many(maxUseless+1, typeData, nil), alertUnexpectedMessage},
		{"too many empty records", v12, server, many(maxUseless+1, typeData, nil), alertUnexpectedMessage},
		{"too many warnings", v12, client, many(maxUseless+1, typeAlert, []byte{1, byte(alertNoRenegotiation)}), alertUnexpectedMessage},
		{"empty handshake record", v13, client, many(1, typeHandshake, nil), alertUnexpectedMessage},
		{"huge handshake message", v13, client, many(1, typeHandshake, []byte{messageTicket, 9, 0, 0}), alertUnexpectedMessage},
		{"ticket for a server", v13, server, many(1, typeHandshake, []byte{messageTicket, 0, 0, 0}), alertUnexpectedMessage},
		{"ticket in TLS 1.2", v12, client, many(1, typeHandshake, []byte{messageTicket, 0, 0, 0}), alertUnexpectedMessage},
		{"unknown message", v13, client, many(1, typeHandshake, []byte{13, 0, 0, 0}), alertUnexpectedMessage},
		{"request to renegotiate", v13, client, many(1, typeHandshake, []byte{messageHelloRequest, 0, 0, 0}), alertUnexpectedMessage},
		{"request to renegotiate for a server", v12, server, many(1, typeHandshake, []byte{messageHelloRequest, 0, 0, 0}),
			alertUnexpectedMessage},
		{"hello for a client", v12, client, many(1, typeHandshake, []byte{messageClientHello, 0, 0, 0}), alertUnexpectedMessage},
		{"wrong update", v13, client, many(1, typeHandshake, []byte{messageKeyUpdate, 0, 0, 1, 2}), alertIllegalParameter},
		{"update of no length", v13, client, many(1, typeHandshake, []byte{messageKeyUpdate, 0, 0, 0}), alertDecodeError},
		{"message behind an update", v13, client, many(1, typeHandshake, []byte{messageKeyUpdate, 0, 0, 1, 0, messageTicket}),
			alertUnexpectedMessage},
		{"update in TLS 1.2", v12, client, many(1, typeHandshake, []byte{messageKeyUpdate, 0, 0, 1, 0}), alertUnexpectedMessage},
		{"half an alert", v13, client, many(1, typeAlert, []byte{2}), alertDecodeError},
		{"unknown type", v13, client, many(1, 99, []byte{1}), alertUnexpectedMessage},
		{"change of cipher", v12, client, many(1, typeChangeCipherSpec, []byte{1}), alertUnexpectedMessage},
		{"data inside a message", v13, client, func(d *dialogue) []byte {
			return d.seal(d.seal(nil, typeHandshake, []byte{messageTicket, 0, 0}), typeData, []byte("x"))
		}, alertUnexpectedMessage},
		{"long record", v13, client, raw("\x17\x03\x03\x41\x01"), alertRecordOverflow},
		{"long record", v12, client, raw("\x17\x03\x03\x48\x01"), alertRecordOverflow},
		{"long plaintext", v13, client, many(1, typeData, make([]byte, maxPlaintext+1)), alertRecordOverflow},
		{"long plaintext", v12, client, many(1, typeData, make([]byte, maxPlaintext+1)), alertRecordOverflow},
		{"no record", v13, client, raw("hello"), alertProtocolVersion},
		{"wrong tag", v13, client, raw("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32)), alertBadRecordMAC},
		{"wrong tag", v12, client, raw("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32)), alertBadRecordMAC},
	} {
		t.Run(tls.VersionName(tt.version)+" "+tt.name, func(t *testing.T) {
			d := newDialogue(t, tt.version, tt.role, Options{})
			d.send(tt.say(d))
			n, err := d.cb.Read(d.s, make([]byte, 10), tooLong)
			require.Zero(t, n)
			require.ErrorIs(t, err, tt.alert)
			require.ErrorContains(t, err, "the peer has broken the protocol")
			e := expect.As[*PeerError](t, err)
			require.False(t, e.ByPeer)
			typ, p := d.hear()
			require.Equal(t, typeAlert, typ)
			require.Equal(t, []byte{2, byte(tt.alert)}, p)
			require.Error(t, expect.Err(d.cb.Write(d.s, []byte("more"), tooLong)))
			require.ErrorIs(t, expect.Err(d.cb.Export(d.s)), ErrNotMovable)
		})
	}
}

// What a peer may send, up to each limit, does not end the session, as often as data comes between.
func TestSessionTakesUpToTheLimit(t *testing.T) {
	const v12, v13 = tls.VersionTLS12, tls.VersionTLS13
	ticket := make([]byte, maxHandshake)
	ticket[0], ticket[1], ticket[2], ticket[3] = messageTicket, 0, (maxHandshake-4)>>8, (maxHandshake-4)&0xff
	canceled := [][]byte{{1, byte(alertUserCanceled)}}
	for _, tt := range []struct {
		name    string
		version uint16
		role    role
		typ     byte
		parts   [][]byte
	}{
		{"empty records", v13, server, typeData, make([][]byte, maxUseless)},
		{"empty records", v12, server, typeData, make([][]byte, maxUseless)},
		{"warnings", v12, client, typeAlert, slices.Repeat([][]byte{{1, byte(alertNoRenegotiation)}}, maxUseless)},
		{"a user that has canceled", v13, client, typeAlert, canceled},
		{"a user that has canceled", v12, client, typeAlert, canceled},
		{"a long handshake message", v13, client, typeHandshake, slices.Collect(slices.Chunk(ticket, maxPlaintext))},
	} {
		t.Run(tls.VersionName(tt.version)+" "+tt.name, func(t *testing.T) {
			d := newDialogue(t, tt.version, tt.role, Options{})
			for range 2 {
				var b []byte
				for _, p := range tt.parts {
					b = d.seal(b, tt.typ, p)
				}
				d.send(d.seal(b, typeData, []byte("data")))
				p := make([]byte, 10)
				n := expect.NoError(d.cb.Read(d.s, p, tooLong)).In(t)
				require.Equal(t, "data", string(p[:n]))
			}
		})
	}
}

// An alert counts as a refusal only while the handshake may not be over for the peer.
func TestAlertOfASession(t *testing.T) {
	for _, tt := range []struct {
		version  uint16
		complete bool
		check    Failure
	}{
		{tls.VersionTLS12, false, FailureSession}, {tls.VersionTLS13, false, FailureHandshake}, {tls.VersionTLS13, true, FailureSession},
	} {
		for _, moves := range []bool{false, true} {
			d := newDialogue(t, tt.version, client, Options{})
			if tt.complete {
				require.NoError(t, d.s.complete())
			}
			if moves {
				d.s = move(t, d.cb, d.s)
			}
			level := byte(2)
			if tt.version == tls.VersionTLS13 { // in which the level has no meaning
				level = 1
			}
			d.send(d.seal(nil, typeAlert, []byte{level, byte(alertHandshakeFailure)}))
			_, err := d.cb.Read(d.s, make([]byte, 1), tooLong)
			e := expect.As[*PeerError](t, err)
			require.Equal(t, tt.check, e.Failure)
			require.True(t, e.ByPeer)
			require.True(t, e.Client)
			require.ErrorContains(t, err, "refuses us")
			require.ErrorContains(t, err, "alert handshake_failure (40)")
			require.ErrorIs(t, err, alertHandshakeFailure)
		}
	}
}

// An alert has the name that the standards and Erlang's logs have for it, and stands for a check of
// the peer's in the handshake.
func TestAlerts(t *testing.T) {
	for _, tt := range []struct {
		alert Alert
		name  string
		check Failure
	}{
		{43, "alert unsupported_certificate (43)", FailureCertificate}, {46,
			"alert certificate_unknown (46)", FailureCertificate},
		{48, "alert unknown_ca (48)", FailureUnknownAuthority}, {71,
			"alert insufficient_security (71)", FailureProtocol},
		{80, "alert internal_error (80)", FailureHandshake}, {51, "alert decrypt_error (51)",
			FailureHandshake}, {200, "alert 200", FailureHandshake},
	} {
		require.EqualError(t, tt.alert, tt.name)
		require.Equal(t, tt.check, tt.alert.check(), tt.name)
	}
	s := &Socket{role: server}
	local := s.peerError(&net.OpError{Op: "local error", Err: tls.AlertError(20)})
	require.ErrorContains(t, local, "TLS session broken: ")
	require.ErrorContains(t, local, "alert bad_record_mac (20)")
	e := expect.As[*PeerError](t, local)
	require.False(t, e.ByPeer || e.Client)
}

// request is a request for an answer: for a new key, or to renegotiate.
func (d *dialogue) request() []byte {
	if !d.out.is13() {
		return d.seal(nil, typeHandshake, []byte{messageHelloRequest, 0, 0, 0})
	}
	b := d.seal(nil, typeHandshake, []byte{messageKeyUpdate, 0, 0, 1, 1})
	require.NoError(d.t, d.out.update())
	return b
}

// A peer that asks again and again without reading gets one answer, behind what is to be sent
// before.
func TestOneAnswer(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		d := newDialogue(t, version, client, Options{})
		d.s.out.begin() // a Write is in flight, and there is no room
		require.NoError(t, d.s.own.put(typeData, []byte("before")))
		for range 3 {
			d.send(d.request())
		}
		d.send(d.seal(nil, typeData, []byte("x")))
		require.Equal(t, 1, expect.NoError(d.cb.Read(d.s, make([]byte, 10), tooLong)).In(t))
		d.s.out.end()
		require.NoError(t, expect.Err(d.cb.Write(d.s, []byte("behind"), tooLong)))

		_, p := d.hear()
		require.Equal(t, "before", string(p))
		typ, _ := d.hear()
		require.NotEqual(t, typeData, typ)
		if version == tls.VersionTLS13 {
			require.NoError(t, d.in.update())
		}
		_, p = d.hear()
		require.Equal(t, "behind", string(p))
	}
}

// The last record is close_notify, or an alert that ends the session, ours or the peer's.
func TestNothingBehindTheEnd(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, closed := range []bool{false, true} {
			for name, say := range map[string]func(d *dialogue) []byte{
				"a broken record": func(*dialogue) []byte { return append([]byte{typeData, 3, 3, 0, 50}, make([]byte, 50)...) },
				"a fatal alert":   func(d *dialogue) []byte { return d.seal(nil, typeAlert, []byte{2, byte(alertInternalError)}) },
				"a request":       func(d *dialogue) []byte { return d.seal(d.request(), typeAlert, []byte{1, byte(alertCloseNotify)}) },
			} {
				if !closed && name == "a request" {
					continue
				}
				t.Run(fmt.Sprintf("%s, %s, closed: %t", tls.VersionName(version), name, closed), func(t *testing.T) {
					d := newDialogue(t, version, client, Options{})
					var want []byte
					if closed {
						require.NoError(t, d.s.own.closeNotify())
						want = []byte{1, byte(alertCloseNotify)}
					} else if name == "a broken record" {
						want = []byte{2, byte(alertBadRecordMAC)}
					}
					d.send(say(d))
					_, reading := d.cb.Read(d.s, make([]byte, 1), tooLong)
					if !closed { // the session ended with that error, which a write gets, too
						_, writing := d.cb.Write(d.s, []byte("x"), tooLong)
						require.Error(t, reading)
						require.Equal(t, reading, writing)
					}
					require.NoError(t, d.cb.Close(d.s))
					d.s = nil
					if want != nil {
						typ, p := d.hear()
						require.Equal(t, typeAlert, typ)
						require.Equal(t, want, p)
					}
					require.NoError(t, d.conn.SetReadDeadline(time.Now().Add(tooLong)))
					require.Empty(t, expect.NoError(io.ReadAll(d.conn)).In(t))
				})
			}
		}
	}
}

// A peer that asks to renegotiate again and again, with data between, does not fill the log.
func TestRenegotiationIsLoggedOnce(t *testing.T) {
	for r, asks := range map[role]byte{client: messageHelloRequest, server: messageClientHello} {
		var said bytes.Buffer
		d := newDialogue(t, tls.VersionTLS12, r, Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})
		p := make([]byte, 10)
		for range 5 {
			d.send(d.seal(d.seal(nil, typeHandshake, []byte{asks, 0, 0, 0}), typeData, []byte("x")))
			n := expect.NoError(d.cb.Read(d.s, p, tooLong)).In(t)
			require.Equal(t, "x", string(p[:n]))
			typ, answer := d.hear()
			require.Equal(t, typeAlert, typ)
			require.Equal(t, []byte{1, byte(alertNoRenegotiation)}, answer)
		}
		require.Equal(t, 1, strings.Count(said.String(), "renegotiate"), said.String())
	}
}

// A connection keeps only a small outbox, whether or not its session stays with crypto/tls, and
// however much was written or was imported with it.
func TestOutboxStaysSmall(t *testing.T) {
	for _, plain := range []bool{false, true} {
		w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{Plain: plain})
		c, s := w.pair()
		for _, n := range []int{100, 1 << 20, 10 * mostAtOnce} {
			exchange(t, ours{c}, ours{s}, n)
			for _, o := range []*outbox{&c.out, &s.out} {
				o.mu.Lock()
				require.Nil(t, o.large)
				require.LessOrEqual(t, cap(o.buf), 2*outboxKept, "plain: %t, %d bytes", plain, n)
				o.mu.Unlock()
			}
		}
		o := &c.out
		o.mu.Lock()
		o.buf = make([]byte, 0, maxStateOut)
		o.settle()
		require.Zero(t, cap(o.buf))
		o.mu.Unlock()
	}
}

// A session that stays with crypto/tls gives up when its answers fill the outbox, because the peer
// asks and does not read.
func TestAnswersThatNobodyReads(t *testing.T) {
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{Plain: true})
	c, _ := w.talking()
	o := &c.out
	fill := func(n int) {
		o.mu.Lock()
		o.busy, o.buf = true, make([]byte, n) // as if a Write were in flight
		o.mu.Unlock()
	}
	fill(maxUnsent)
	require.NoError(t, expect.Err(c.tap.Write([]byte("answer"))))
	_, err := c.tap.Write([]byte("answer"))
	require.ErrorContains(t, err, "the peer asks for answers and does not read them")
	fill(0)
}

// The receive buffer is large only while much comes.
func TestReceiveBufferShrinks(t *testing.T) {
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	c, s := w.pair()
	p := make([]byte, maxPlaintext)
	say := func(n int) {
		require.NoError(t, expect.Err(ours{c}.Write(p[:n])))
		require.NoError(t, expect.Err(io.ReadFull(ours{s}, p[:n])))
	}
	for range 3 * rawFew {
		say(maxPlaintext)
		say(1)
	}
	require.Greater(t, len(s.own.raw), maxPlaintext)
	for range rawFew {
		say(1)
	}
	say(1)
	require.Equal(t, rawMin, len(s.own.raw)) // Len would print it
	say(maxPlaintext)
}
