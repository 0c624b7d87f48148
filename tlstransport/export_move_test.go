//go:build unix

package tlstransport

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
)

// move moves a socket, in the order of a hand-off.
func move(t testing.TB, cb transport.Callbacks[*Socket], old *Socket) *Socket {
	t.Helper()
	return expect.NoError(handOver(cb, old)).In(t)
}

func handOver(cb transport.Callbacks[*Socket], old *Socket) (*Socket, error) {
	if cb.Export == nil {
		return nil, errors.ErrUnsupported
	}
	fd, err := cb.GetFD(old)
	if err != nil {
		return nil, err
	}
	state, err := cb.Export(old)
	if err != nil {
		return nil, err
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	s, err := cb.Import(nil, dup, state)
	if err != nil {
		return nil, errors.Join(err, unix.Close(dup))
	}
	clear(state) // the new socket must not refer to the state
	return s, cb.Release(old)
}

// A mover moves its socket while it is read and written.
type mover struct {
	cb transport.Callbacks[*Socket]

	calls sync.RWMutex // read-locked by calls in flight, locked by the mover
	s     *Socket
}

func (m *mover) Read(p []byte) (int, error) {
	for {
		m.calls.RLock()
		n, err := m.s.read(p, tooLong)
		m.calls.RUnlock()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			if n == 0 && err == nil {
				err = io.EOF
			}
			return n, err
		}
		time.Sleep(time.Microsecond) // lets the mover in
	}
}

func (m *mover) Write(p []byte) (n int, err error) {
	for n < len(p) {
		m.calls.RLock()
		k, err := m.s.write(p[n:], tooLong)
		m.calls.RUnlock()
		n += k
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if err != nil {
			time.Sleep(time.Microsecond)
		}
	}
	return n, nil
}

func (m *mover) move() error {
	got := make(chan struct{})
	go func() { m.calls.Lock(); close(got) }()
	for {
		select {
		case <-got:
			s, err := handOver(m.cb, m.s)
			if err == nil {
				m.s = s
			}
			m.calls.Unlock()
			return err
		default:
			m.cb.Interrupt(m.current())
			time.Sleep(50 * time.Microsecond)
		}
	}
}

// current is the socket; only the mover changes it.
func (m *mover) current() *Socket { return m.s }

// A session moves repeatedly under load both ways, while keys change, and its peer sees nothing but
// its bytes.
func TestMovesUnderLoad(t *testing.T) {
	t.Parallel() // it waits
	a := newAuthority(t, "an authority")
	for _, s := range suites[:6] {
		if s.version == tls.VersionTLS13 && s.id != tls.TLS_AES_128_GCM_SHA256 {
			continue
		}
		t.Run(suiteOf(s.version, s.id).String(), func(t *testing.T) {
			cfg := a.mutual(t)
			cfg.Certificates = append(cfg.Certificates, a.sign(t, want{key: rsaKey(t)}))
			cfg = restrict(cfg, s.version, s.id)
			w := newWorkbench(t, cfg, Options{keyUpdateRecords: 20})
			for _, r := range []role{client, server} {
				s, peer := w.against(r, cfg)
				m := &mover{cb: w.cb, s: s}
				exchange(t, m, peer, 1) // so that the handshake is over
				stop := make(chan struct{})
				moves := make(chan int)
				go func() {
					n := 0
					defer func() { moves <- n }()
					for ; ; n++ {
						select {
						case <-stop:
							return
						default:
						}
						if err := m.move(); err != nil {
							t.Errorf("move %d: %v", n, err)
							return
						}
					}
				}()
				exchange(t, m, peer, 8_000_000)
				close(stop)
				n := <-moves
				require.Greater(t, n, 5)
				t.Logf("%d moves", n)
			}
		})
	}
}

// A dialogue is a socket of ours with a session made of given keys, and the other end of its
// connection, which the test plays.
type dialogue struct {
	t       testing.TB
	cb      transport.Callbacks[*Socket]
	s       *Socket
	conn    *net.TCPConn
	out, in *half // of the test's end
}

func newDialogue(t testing.TB, version uint16, r role, o Options) *dialogue {
	t.Helper()
	id := tls.TLS_AES_128_GCM_SHA256
	if version == tls.VersionTLS12 {
		id = tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
	}
	return newDialogueOf(t, version, id, r, o)
}

func newDialogueOf(t testing.TB, version, id uint16, r role, o Options) *dialogue {
	t.Helper()
	cb := expect.NoError(Callbacks(Config{Client: &tls.Config{}, Options: o})).In(t)
	l := expect.NoError(net.Listen("tcp", "127.0.0.1:0")).In(t)
	defer l.Close()
	here := expect.NoError(net.Dial("tcp", l.Addr().String())).In(t)
	defer here.Close()
	there := expect.NoError(l.Accept()).In(t)
	f := expect.NoError(here.(*net.TCPConn).File()).In(t)
	defer f.Close()
	fd := expect.NoError(unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)).In(t)
	d := &dialogue{t: t, cb: cb, conn: there.(*net.TCPConn)}
	var ours halfState
	d.out, d.in = twoHalves(t, version, id, 5)
	ours = d.in.state()
	st := state{version: version, suite: id, role: r, in: ours, out: ours, node: "a@b"}
	d.s = expect.NoError(cb.Import(nil, fd, st.append(nil))).In(t)
	t.Cleanup(d.close)
	return d
}

// close closes both ends, once.
func (d *dialogue) close() {
	if d.s != nil {
		require.NoError(d.t, d.cb.Close(d.s))
		d.s = nil
	}
	d.conn.Close()
}

// seal seals what a test wants to send.
func (d *dialogue) seal(b []byte, typ byte, p []byte) []byte {
	b = expect.NoError(d.out.seal(b, typ, p)).In(d.t)
	return b
}

func (d *dialogue) send(b []byte) {
	require.NoError(d.t, expect.Err(d.conn.Write(b)))
}

// hear opens the next record that our socket sends.
func (d *dialogue) hear() (typ byte, p []byte) {
	d.t.Helper()
	require.NoError(d.t, d.conn.SetReadDeadline(time.Now().Add(tooLong)))
	head := make([]byte, recordHeader)
	require.NoError(d.t, expect.Err(io.ReadFull(d.conn, head)))
	record := append(head, make([]byte, binary.BigEndian.Uint16(head[3:]))...)
	_, err := io.ReadFull(d.conn, record[recordHeader:])
	require.NoError(d.t, err)
	typ, p, err = d.in.open(nil, record)
	require.NoError(d.t, err)
	return typ, bytes.Clone(p)
}

// A session of every suite moves, with a word each way after each move.
func TestMovesWithEverySuite(t *testing.T) {
	t.Parallel() // it waits
	for _, su := range suites {
		t.Run(suiteOf(su.version, su.id).String(), func(t *testing.T) {
			d := newDialogueOf(t, su.version, su.id, server, Options{})
			buf := make([]byte, 100)
			for i := range 20 {
				d.s = move(t, d.cb, d.s)
				word := bytes.Repeat([]byte{byte(i)}, 50)
				d.send(d.seal(nil, typeData, word))
				n := expect.NoError(d.cb.Read(d.s, buf, tooLong)).In(t)
				require.Equal(t, word, buf[:n])
				require.NoError(t, expect.Err(d.cb.Write(d.s, word, tooLong)))
				typ, p := d.hear()
				require.Equal(t, typeData, typ)
				require.Equal(t, word, p)
			}
		})
	}
}

// What a key has protected counts on after a move: the key changes as soon as it would have
// without.
func TestKeyAgesAcrossMoves(t *testing.T) {
	for _, o := range []Options{{keyUpdateRecords: 3}, {keyUpdateBytes: 3 * 50}} {
		d := newDialogue(t, tls.VersionTLS13, client, o)
		for i := range 10 {
			require.NoError(t, expect.Err(d.cb.Write(d.s, make([]byte, 50), tooLong)))
			if i > 0 && i%3 == 0 {
				typ, _ := d.hear()
				require.Equal(t, typeHandshake, typ, "record %d", i)
				require.NoError(t, d.in.update())
			}
			typ, _ := d.hear()
			require.Equal(t, typeData, typ, "record %d", i)
			d.s = move(t, d.cb, d.s)
		}
	}
}

// The peer's certificate moves along only as long as the distribution handshake may need it.
func TestCertificateMovesUntilItIsChecked(t *testing.T) {
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	c, _ := w.talking()
	for _, complete := range []bool{false, true} {
		if complete {
			require.NoError(t, c.complete())
		}
		exported := expect.NoError(w.cb.Export(c)).In(t)
		st := expect.NoError(parseState(exported)).In(t)
		require.Equal(t, complete, len(st.cert) == 0)
		require.Equal(t, complete, st.flags&flagComplete != 0)
	}
}

// From Export on, the old socket sends nothing of what it has exported.
func TestExportStopsTheBackground(t *testing.T) {
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	c, s := w.talking()
	background := func() bool {
		c.out.mu.Lock()
		defer c.out.mu.Unlock()
		return c.out.flushed != nil
	}
	counted := filled(t, w, c)
	require.True(t, background())
	require.NoError(t, expect.Err(w.cb.Export(c)))
	require.False(t, background())
	require.NoError(t, w.cb.Close(c)) // it has not moved, and goes on
	n := expect.NoError(rest(s)).In(t)
	require.Equal(t, counted, n)
}

// A session can move after each received byte: in headers, in records, in handshake messages that
// span several records, and before and after key updates.
func TestMovesAtEveryByteReceived(t *testing.T) {
	t.Parallel() // it waits
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			size := 1
			for at := 0; at <= size; at++ {
				d := newDialogue(t, version, client, Options{})
				text := []byte("some text that is read in pieces")
				stream := d.seal(nil, typeData, text)
				stream = d.seal(stream, typeData, nil)
				if version == tls.VersionTLS13 {
					ticket := append([]byte{messageTicket, 0, 0, 20}, make([]byte, 20)...)
					stream = d.seal(stream, typeHandshake, ticket[:7])
					stream = d.seal(stream, typeHandshake, append(ticket[7:], messageKeyUpdate, 0))
					stream = d.seal(stream, typeHandshake, []byte{0, 1, 1})
					require.NoError(t, d.out.update())
				} else {
					stream = d.seal(stream, typeHandshake, []byte{messageHelloRequest, 0})
					stream = d.seal(stream, typeHandshake, []byte{0, 0})
				}
				stream = d.seal(stream, typeData, text)
				stream = d.seal(stream, typeAlert, []byte{1, byte(alertCloseNotify)})
				size = len(stream)

				var got []byte
				p := make([]byte, 5)
				read := func(tmo time.Duration) error {
					n, err := d.s.read(p, tmo)
					got = append(got, p[:n]...)
					if n == 0 && err == nil {
						err = io.EOF
					}
					return err
				}
				d.send(stream[:at])
				// read only some of the bytes, so that others are in each stage
				for tmo := 2 * time.Millisecond; ; tmo = 0 {
					if len(got) >= at/3 || read(tmo) != nil {
						break
					}
				}
				d.s = move(t, d.cb, d.s)
				d.send(stream[at:])
				var err error
				for err == nil {
					err = read(tooLong)
				}
				require.Equal(t, io.EOF, err, at)
				require.Equal(t, string(text)+string(text), string(got), at)
				typ, answer := d.hear()
				if version == tls.VersionTLS13 {
					require.Equal(t, typeHandshake, typ)
					require.Equal(t, []byte{messageKeyUpdate, 0, 0, 1, 0}, answer)
				} else {
					require.Equal(t, typeAlert, typ)
					require.Equal(t, []byte{1, byte(alertNoRenegotiation)}, answer)
				}
				d.close()
			}
		})
	}
}

// A session moves with a half-written record, cut at many places: the new socket sends the rest of
// the same record.
func TestMovesHalfWritten(t *testing.T) {
	t.Parallel() // it waits
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			d := newDialogue(t, version, server, Options{keyUpdateRecords: 7})
			fd := expect.NoError(d.cb.GetFD(d.s)).In(t)
			require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 10_000))
			require.NoError(t, d.conn.SetReadBuffer(10_000))
			const total = 200_000
			sent := 0
			block := make([]byte, 70_000)
			halves := 0
			received := make(chan error, 1)
			go func() {
				received <- d.receive(total, func(n int) { time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond) })
			}()
			for sent < total {
				n := min(len(block), total-sent)
				for i := range n {
					block[i] = byte((sent + i) >> 3)
				}
				n, err := d.cb.Write(d.s, block[:n], time.Duration(rand.IntN(300))*time.Microsecond)
				if err != nil {
					require.ErrorIs(t, err, os.ErrDeadlineExceeded)
				}
				sent += n
				d.s.out.stop()
				if d.s.out.pos < len(d.s.out.buf) {
					halves++
				}
				d.s = move(t, d.cb, d.s)
				if rand.IntN(3) == 0 { // or an Export without a move
					require.NoError(t, expect.Err(d.cb.Export(d.s)))
				}
			}
			_, err := d.cb.Read(d.s, block, 0) // using the session sends the remaining records
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.NoError(t, <-received)
			require.Greater(t, halves, 3)
		})
	}
}

// A state that Export gives can be imported, however tiny the buffers were whose records are not
// sent yet.
func TestTinyPartsMove(t *testing.T) {
	t.Parallel() // it waits
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			tinyPartsMove(t, version)
		})
	}
}

func tinyPartsMove(t *testing.T, version uint16) {
	d := newDialogue(t, version, server, Options{})
	require.NoError(t, d.conn.SetReadBuffer(4096))
	fd := expect.NoError(d.cb.GetFD(d.s)).In(t)
	require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4096))
	v := make([][]byte, mostAtOnce+maxPlaintext)
	for i := range v {
		v[i] = []byte{byte(i >> 3)}
	}
	n, err := d.cb.Writev(d.s, v, 50*time.Millisecond) // nobody reads
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Greater(t, n, int64(maxPlaintext))
	d.s = move(t, d.cb, d.s)
	_, err = d.cb.Read(d.s, make([]byte, 1), 0) // using the session sends the remaining records
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, d.receive(int(n), func(int) {}))
}

// receive opens records until all bytes have come, and compares them.
func (d *dialogue) receive(total int, pause func(n int)) error {
	var raw []byte
	got := 0
	p := make([]byte, 5000)
	for got < total {
		if err := d.conn.SetReadDeadline(time.Now().Add(tooLong)); err != nil {
			return err
		}
		n, err := d.conn.Read(p)
		if err != nil {
			return err
		}
		pause(n)
		raw = append(raw, p[:n]...)
		for len(raw) >= recordHeader {
			size := recordHeader + int(binary.BigEndian.Uint16(raw[3:]))
			if len(raw) < size {
				break
			}
			typ, plain, err := d.in.open(nil, raw[:size])
			if err != nil {
				return err
			}
			switch typ {
			case typeHandshake:
				if err := d.in.update(); err != nil {
					return err
				}
			case typeData:
				for _, b := range plain {
					if b != byte(got>>3) {
						return errors.New("other bytes came than were sent")
					}
					got++
				}
			}
			raw = raw[size:]
		}
	}
	return nil
}

// A state with a wrong sequence number, in either direction, ends the session; wrong bytes are
// never read.
func TestWrongSequenceNumber(t *testing.T) {
	cfg := newAuthority(t, "an authority").mutual(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, direction := range []string{"in", "out"} {
			for _, by := range []uint64{1, 2, 1 << 40} {
				cfg := restrict(cfg, version, 0)
				w := newWorkbench(t, cfg, Options{})
				c, s := w.pair()
				exchange(t, ours{c}, ours{s}, 1000)
				exported := expect.NoError(w.cb.Export(c)).In(t)
				st := expect.NoError(parseState(exported)).In(t)
				if direction == "in" {
					st.in.seq += by
				} else {
					st.out.seq += by
				}
				fd := expect.NoError(w.cb.GetFD(c)).In(t)
				dup := expect.NoError(unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)).In(t)
				moved := expect.NoError(w.cb.Import(nil, dup, st.append(nil))).In(t)
				require.NoError(t, w.cb.Release(c))

				from, to := s, moved
				if direction == "out" {
					from, to = moved, s
				}
				require.NoError(t, expect.Err(w.cb.Write(from, []byte("hello"), tooLong)))
				n, err := w.cb.Read(to, make([]byte, 10), tooLong)
				require.Zero(t, n)
				require.ErrorIs(t, err, alertBadRecordMAC)
				_, err = w.cb.Read(from, make([]byte, 10), tooLong)
				e := expect.As[*PeerError](t, err)
				require.True(t, e.ByPeer)
				require.ErrorIs(t, err, alertBadRecordMAC)
				require.ErrorIs(t, expect.Err(w.cb.Export(to)), ErrNotMovable)
			}
		}
	}
}

// Bytes that are not a state are refused, and the descriptor stays the caller's.
func TestImportRefuses(t *testing.T) {
	cfg := newAuthority(t, "an authority").mutual(t)
	w := newWorkbench(t, cfg, Options{})
	c, s := w.talking()
	good := expect.NoError(w.cb.Export(c)).In(t)
	fd := expect.NoError(w.cb.GetFD(c)).In(t)
	later := bytes.Clone(good)
	later[len(stateMagic)]++
	listener := expect.NoError(w.cb.GetFD(w.l)).In(t)
	strange := bytes.Clone(good)
	strange[0]++
	for name, tt := range map[string]struct {
		fd    int
		state []byte
		err   error
	}{
		"another beginning": {fd, strange, ErrState},
		"empty":             {fd, []byte{}, ErrState}, "garbage": {fd, []byte("garbage, and more of it"), ErrState},
		"cut off":  {fd, good[:len(good)-1], ErrState},
		"too long": {fd, append(bytes.Clone(good), 0), ErrState}, "a later version": {fd, later, ErrState},
		"a listener with a session's state": {listener, good, unix.EINVAL}, "a session without": {fd, nil, unix.EINVAL},
		"no socket": {0, good, unix.ENOTSOCK}, "no descriptor": {9999, good, unix.EBADF},
	} {
		require.ErrorIs(t, expect.Err(w.cb.Import(nil, tt.fd, tt.state)), tt.err, name)
	}
	only := expect.NoError(Callbacks(Config{Client: cfg})).In(t)
	require.ErrorIs(t, expect.Err(only.Import(nil, listener, nil)), errNoServer)
	exchange(t, ours{c}, ours{s}, 1000) // goes on
}

// A state with a wrong value in any field, or cut off anywhere, is refused.
func TestImportRefusesStates(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		w := newWorkbench(t, restrict(newAuthority(t, "an authority").mutual(t), version, 0), Options{})
		c, s := w.talking()
		good := expect.NoError(w.cb.Export(c)).In(t)
		fd := expect.NoError(w.cb.GetFD(c)).In(t)
		for n := range good {
			require.ErrorIs(t, expect.Err(parseState(good[:n])), ErrState, "the first %d bytes", n)
		}
		for name, change := range map[string]func(st *state){
			"a role that is none":      func(st *state) { st.role = 7 },
			"a flag of later programs": func(st *state) { st.flags |= flagsKnown + 1 },
			"another version":          func(st *state) { st.version = tls.VersionTLS11 },
			"another suite":            func(st *state) { st.suite = tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA },
			"a suite of another version": func(st *state) {
				if st.suite = tls.TLS_AES_128_GCM_SHA256; version == tls.VersionTLS13 {
					st.suite = tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
				}
			},
			"nothing to read by":          func(st *state) { st.in.secret, st.in.key = nil, nil },
			"nothing to write by":         func(st *state) { st.out.secret, st.out.key = nil, nil },
			"a secret and a key":          func(st *state) { st.out.secret, st.out.key = make([]byte, 32), make([]byte, 32) },
			"a secret too long":           func(st *state) { st.in.secret = append(bytes.Clone(st.in.secret), 1) },
			"a key of another suite":      func(st *state) { st.in.key = make([]byte, 48-len(st.in.key)) },
			"an iv too long":              func(st *state) { st.in.iv = make([]byte, 13) },
			"a certificate that is none":  func(st *state) { st.cert = []byte("certificate") },
			"a certificate too long":      func(st *state) { st.cert = make([]byte, maxStateCert+1) },
			"a name too long":             func(st *state) { st.node = strings.Repeat("n", maxStateName+1) },
			"more received than there is": func(st *state) { st.raw = make([]byte, maxStateRaw+1) },
			"more opened than there is":   func(st *state) { st.plain = make([]byte, maxPlaintext+1) },
			"a message too long":          func(st *state) { st.message = make([]byte, maxStateMessage+1) },
			"too much unsent":             func(st *state) { st.unsent = make([]byte, maxStateOut+1) },
		} {
			st := expect.NoError(parseState(good)).In(t)
			change(&st)
			require.ErrorIs(t, expect.Err(w.cb.Import(nil, fd, st.append(nil))), ErrState, name)
		}
		st, err := parseState(good) // each field as long as it may be
		require.NoError(t, err)
		st.flags, st.node, st.cert = flagsKnown, strings.Repeat("n", maxStateName), make([]byte, maxStateCert)
		st.raw, st.plain = make([]byte, maxStateRaw), make([]byte, maxPlaintext)
		st.message, st.unsent = make([]byte, maxStateMessage), make([]byte, maxStateOut)
		again := expect.NoError(parseState(st.append(nil))).In(t)
		require.True(t, reflect.DeepEqual(st, again))
		exchange(t, ours{c}, ours{s}, 1000) // goes on
	}
}

// A session that stays with crypto/tls says why, and goes on.
func TestSessionOfCryptoTLSIsNotMovable(t *testing.T) {
	cfg := restrict(newAuthority(t, "an authority").mutual(t), tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA)
	w := newWorkbench(t, cfg, Options{})
	c, s := w.pair()
	exchange(t, ours{c}, ours{s}, 100_000)
	_, err := w.cb.Export(c)
	require.ErrorIs(t, err, ErrNotMovable)
	require.ErrorContains(t, err, "TLS 1.2 with TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA")
	exchange(t, ours{c}, ours{s}, 100_000)

	silent := expect.NoError(net.Dial("tcp", w.at.String())).In(t)
	s = w.accept()
	_, err = w.cb.Export(s)
	require.ErrorIs(t, err, ErrNotMovable)
	require.ErrorContains(t, err, "under way")
	require.NoError(t, w.cb.Release(s))
	silent.Close()
}

// Everything that Export accepts can be imported: a large certificate moves along, and with a name
// that is too long Export refuses.
func TestMovesWithALargeCertificate(t *testing.T) {
	a := newAuthority(t, "an authority")
	var emails []string
	for i := range 6000 {
		emails = append(emails, fmt.Sprintf("node%d@localhost", i))
	}
	cfg := a.mutual(t)
	cfg.Certificates = []tls.Certificate{a.sign(t, want{emails: emails})}
	w := newWorkbench(t, cfg, Options{Checks: []PeerCheck{NameInCertificate}})
	c, s := w.pair()
	exchange(t, ours{c}, ours{s}, 1000)
	require.Greater(t, len(s.certificate()), 1<<16)
	s = move(t, w.cb, s)
	exchange(t, ours{c}, ours{s}, 1000)
	require.NoError(t, w.cb.CheckPeer(s, "node5000@localhost"))

	c = w.connect(transport.WithPeerName(w.at, strings.Repeat("n", maxStateName)+"@localhost"))
	s = w.accept()
	exchange(t, ours{c}, ours{s}, 1000)
	require.ErrorIs(t, expect.Err(w.cb.Export(c)), ErrNotMovable)
	exchange(t, ours{c}, ours{s}, 1000)
}

func FuzzImport(f *testing.F) {
	for _, s := range suites {
		_, in := twoHalves(f, s.version, s.id, 3)
		st := state{
			version: s.version, suite: s.id, role: client, in: in.state(), out: in.state(), raw: []byte{23, 3, 3}, plain: []byte("plain"),
			message: []byte{4, 0}, unsent: []byte("sealed"), node: "a@b",
		}
		f.Add(st.append(nil))
	}
	f.Add([]byte(stateMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		st, err := parseState(b)
		if err != nil {
			require.ErrorIs(t, err, ErrState)
			return
		}
		require.Equal(t, b, st.append(nil))
		s := newSocket(&plugin{})
		if err := s.resume(&st); err != nil {
			require.ErrorIs(t, err, ErrState)
			return
		}
		again := s.state().append(nil)
		if st.flags&flagComplete == 0 {
			require.Equal(t, b, again)
		}
		// Reading what the state holds does not panic, and comes to an end.
		for range len(b) + 10 {
			s.own.plain = nil
			if _, opened, err := s.own.next(make([]byte, 3)); err != nil || !opened {
				break
			}
		}
	})
}
