package tlstransport

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"io"
	mrand "math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
)

// tooLong bounds operations that take milliseconds unless something is broken.
const tooLong = expect.Limit

// rsaKey is for suites that need an RSA key.
func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	return expect.NoError(rsa.GenerateKey(rand.Reader, 2048)).In(t)
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	return expect.NoError(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).In(t)
}

// A bench is a listener over our callbacks.
type workbench struct {
	t  testing.TB
	cb transport.Callbacks[*Socket]
	l  *Socket
	at transport.Addr
}

func newWorkbench(t testing.TB, cfg *tls.Config, o Options) *workbench {
	t.Helper()
	o.HandshakeTimeout = cmp.Or(o.HandshakeTimeout, tooLong) // beside all that keeps the machine busy
	cb := expect.NoError(Callbacks(Config{Server: cfg, Client: cfg, Options: o})).In(t)
	return benchOf(t, cb)
}

// benchOf is a workbench of callbacks.
func benchOf(t testing.TB, cb transport.Callbacks[*Socket]) *workbench {
	t.Helper()
	closesAll(t, &cb)
	l := expect.NoError(cb.Socket(nil, loopback(t))).In(t)
	at := expect.NoError(cb.Listen(l, loopback(t), 100)).In(t)
	return &workbench{t, cb, l, at}
}

// closesAll closes at the end of the test the sockets that it has left open.
func closesAll(t testing.TB, cb *transport.Callbacks[*Socket]) {
	var mu sync.Mutex
	open := map[*Socket]bool{}
	opened := func(s *Socket, err error) (*Socket, error) {
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			open[s] = true
		}
		return s, err
	}
	ends := func(end func(*Socket) error) func(*Socket) error {
		return func(s *Socket) error {
			mu.Lock()
			delete(open, s)
			mu.Unlock()
			return end(s)
		}
	}
	socket, accept, imported, closing := cb.Socket, cb.Accept, cb.Import, cb.Close
	cb.Socket = func(setup any, at transport.Addr) (*Socket, error) { return opened(socket(setup, at)) }
	cb.Accept = func(l *Socket, tmo time.Duration) (*Socket, transport.Addr, error) {
		s, at, err := accept(l, tmo)
		s, err = opened(s, err)
		return s, at, err
	}
	if imported != nil {
		cb.Import = func(setup any, fd int, state []byte) (*Socket, error) { return opened(imported(setup, fd, state)) }
	}
	cb.Close, cb.Release = ends(cb.Close), ends(cb.Release)
	t.Cleanup(func() {
		for s := range open {
			require.NoError(t, closing(s))
		}
	})
}

// dials connects with callbacks that only do that.
func dials(t testing.TB, cfg *tls.Config, o Options, at transport.Addr) *Socket {
	t.Helper()
	o.HandshakeTimeout = cmp.Or(o.HandshakeTimeout, tooLong)
	cb := expect.NoError(Callbacks(Config{Client: cfg, Options: o})).In(t)
	closesAll(t, &cb)
	return (&workbench{t: t, cb: cb}).connect(at)
}

// accept takes a connection.
func (w *workbench) accept() *Socket {
	w.t.Helper()
	s, _, err := w.cb.Accept(w.l, tooLong)
	require.NoError(w.t, err)
	return s
}

// connect makes a connection to an address.
func (w *workbench) connect(at transport.Addr) *Socket {
	w.t.Helper()
	s := expect.NoError(w.cb.Socket(nil, at)).In(w.t)
	require.NoError(w.t, w.cb.Connect(s, at, tooLong))
	return s
}

// pair is two sockets of ours.
func (w *workbench) pair() (c, s *Socket) {
	w.t.Helper()
	c = w.connect(w.at)
	return c, w.accept()
}

// talking is two sockets of ours that have shaken hands.
func (w *workbench) talking() (c, s *Socket) {
	w.t.Helper()
	c, s = w.pair()
	exchange(w.t, ours{c}, ours{s}, 10)
	return c, s
}

// against is a socket of ours in a role, and crypto/tls as its peer.
func (w *workbench) against(r role, cfg *tls.Config) (*Socket, *tls.Conn) {
	w.t.Helper()
	cfg = cfg.Clone()
	cfg.ServerName = "localhost"
	if r == server {
		raw := expect.NoError(net.Dial("tcp", w.at.String())).In(w.t)
		w.t.Cleanup(func() { raw.Close() })
		return w.accept(), tls.Client(raw, cfg)
	}
	l := expect.NoError(net.Listen("tcp", "127.0.0.1:0")).In(w.t)
	defer l.Close()
	at := expect.NoError(transport.ParseAddr(l.Addr().String())).In(w.t)
	s := w.connect(at)
	raw := expect.NoError(l.Accept()).In(w.t)
	w.t.Cleanup(func() { raw.Close() })
	return s, tls.Server(raw, cfg)
}

// A carrier is an end of a session, ours or crypto/tls's.
type carrier interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
}

// An ours is a socket of ours as a carrier.
type ours struct{ s *Socket }

func (o ours) Read(p []byte) (int, error) {
	n, err := o.s.read(p, tooLong)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func (o ours) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = o.s.write(p[n:], tooLong)
		n += k
	}
	return n, err
}

// exchange sends n bytes each way at once, in pieces of random sizes, and compares them.
func exchange(t testing.TB, a, b carrier, n int) {
	t.Helper()
	errs := make(chan error, 4)
	for i, way := range [][2]carrier{{a, b}, {b, a}} {
		sent := make([]byte, n)
		for j := range sent {
			sent[j] = byte(j>>8 ^ j ^ i)
		}
		go func() { errs <- send(way[0], sent) }()
		go func() {
			got := make([]byte, 0, n)
			buf := make([]byte, 70_000)
			for len(got) < n {
				k, err := way[1].Read(buf[:1+mrand.IntN(min(len(buf), n-len(got)))])
				got = append(got, buf[:k]...)
				if err != nil {
					errs <- err
					return
				}
			}
			if !bytes.Equal(sent, got) {
				errs <- errors.New("other bytes came than were sent")
				return
			}
			errs <- nil
		}()
	}
	for range 4 {
		select {
		case err := <-errs:
			require.NoError(t, err)
		case <-time.After(tooLong):
			require.FailNow(t, "nothing happens")
		}
	}
}

func send(to carrier, b []byte) error {
	for len(b) > 0 {
		n := min(len(b), 1+mrand.IntN(1<<mrand.IntN(18)))
		k, err := to.Write(b[:n])
		if err != nil {
			return err
		}
		b = b[k:]
	}
	return nil
}

// Every suite of both versions that crypto/tls can be made to use, in both roles, with crypto/tls
// as the peer. Our keys change all the time, the peer's when it is asked to. TestAgainstOpenSSL has
// the other suites of TLS 1.3.
func TestAgainstCryptoTLS(t *testing.T) {
	t.Parallel() // it waits
	a := newAuthority(t, "an authority")
	cfg := a.mutual(t)
	cfg.Certificates = append(cfg.Certificates, a.sign(t, want{key: rsaKey(t)}))
	for _, s := range suites {
		if s.version == tls.VersionTLS13 && s.id != tls.TLS_AES_128_GCM_SHA256 {
			continue // crypto/tls does not let us choose it
		}
		t.Run(suiteOf(s.version, s.id).String(), func(t *testing.T) {
			cfg := restrict(cfg, s.version, s.id)
			w := newWorkbench(t, cfg, Options{keyUpdateRecords: 3})
			for _, r := range []role{client, server} {
				s, c := w.against(r, cfg)
				exchange(t, ours{s}, c, 500_000)
				require.NotNil(t, s.own, s.stay)
				for i := 0; i < 3 && s.own.in.is13(); i++ {
					theirs := bytes.Clone(s.own.in.secret)
					s.askForUpdate(t)
					// at the end of this exchange the answer is on its way
					exchange(t, ours{s}, c, 100_000)
					exchange(t, ours{s}, c, 10)
					require.NotEqual(t, theirs, s.own.in.secret)
				}

				require.NoError(t, c.CloseWrite())
				require.Zero(t, expect.NoError(s.read(make([]byte, 1), tooLong)).In(t))
				require.NoError(t, s.closeWrite())
				require.Equal(t, io.EOF, expect.Err(c.Read(make([]byte, 1))))
				require.ErrorIs(t, expect.Err(s.write([]byte("more"), tooLong)), syscall.EPIPE)
			}
		})
	}
}

// askForUpdate changes our key, and asks the peer to change its own.
func (s *Socket) askForUpdate(t testing.TB) {
	t.Helper()
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	require.NoError(t, s.own.put(typeHandshake, []byte{messageKeyUpdate, 0, 0, 1, 1}))
	require.NoError(t, s.own.out.update())
	s.out.settle()
}

// Records for which there was no room are sent in the background as soon as there is room, however
// often that happens.
func TestBackgroundWritesOnceThereIsRoom(t *testing.T) {
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	c, s := w.talking()
	record, buf := make([]byte, maxPlaintext), make([]byte, 4*maxPlaintext)
	for range 3 {
		total := 0
		c.out.mu.Lock()
		for c.out.try() {
			require.NoError(t, c.own.put(typeData, record))
			total += len(record)
		}
		c.out.settle()
		ended := c.out.flushed
		c.out.mu.Unlock()
		for got := 0; got < total; {
			n := expect.NoError(s.read(buf, tooLong)).In(t)
			got += n
		}
		<-ended
	}
}

// Both sides update their keys, and ask for it.
func TestKeyUpdates(t *testing.T) {
	t.Parallel() // it waits
	cfg := restrict(newAuthority(t, "an authority").mutual(t), tls.VersionTLS13, 0)
	w := newWorkbench(t, cfg, Options{keyUpdateRecords: 2})
	c, s := w.pair()
	exchange(t, ours{c}, ours{s}, 100_000)
	for range 100 {
		for _, from := range []*Socket{c, s} {
			from.askForUpdate(t)
		}
		exchange(t, ours{c}, ours{s}, 1000)
	}
}
