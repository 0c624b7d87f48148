package front

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

// certificate makes one that nobody knows.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, of, of, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func serverTLS() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{certificate()}} }

func dialTLS(t testing.TB, addr string) *client {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return dialled(c)
}

// TLS that ends at the front: the sessions survive their workers, and both ends can end.
func TestTLS(t *testing.T) {
	for _, step := range []string{"adopt:1", "point:3", "answer:3", "answered:3", "took:3"} {
		t.Run(step, func(t *testing.T) {
			h := newHouse(t, nil, &ServeOptions{TLS: serverTLS()})
			p := startWorker(t, h.path, "peek", step)
			c := dialTLS(t, h.addr)
			asked := make(chan error, 1)
			go func() {
				for range 10 {
					if _, err := c.ask("line"); err != nil {
						asked <- err
						return
					}
				}
				asked <- nil
			}()
			p.wait(t)
			startWorker(t, h.path, "peek", "", "NAME=second")
			require.NoError(t, <-asked)
			require.Contains(t, c.must(t, "who"), "second "+c.LocalAddr().String())
			require.NoError(t, c.Conn.(*tls.Conn).CloseWrite())
			_, err := c.r.ReadByte()
			require.ErrorIs(t, err, io.EOF, "the worker has closed, and the client is told so properly")
			h.until("nothing is left", func(s Stats) bool { return s.Sessions == 0 && s.Done == 1 && s.Reset == 0 })
		})
	}
}

// A session with TLS that its worker has lost is cut off, not ended properly.
func TestTLSReset(t *testing.T) {
	h := newHouse(t, nil, &ServeOptions{TLS: serverTLS()})
	p := startWorker(t, h.path, "silent", "")
	c := dialTLS(t, h.addr)
	c.must(t, "one")
	p.kill()
	_, err := c.r.ReadByte()
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF)
	h.until("it is gone", func(s Stats) bool { return s.Reset == 1 && s.Sessions == 0 })
}

// If TLS cannot begin, what a worker sends does not go out without it.
func TestWithoutTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer far.Close()
	near, err := l.Accept()
	require.NoError(t, err)
	defer near.Close()
	here, there, err := streamPair()
	require.NoError(t, err)
	defer closeFD(there)
	defer here.Close()
	p := &pump{tcp: near, client: near.(*net.TCPConn), here: here, linger: patience}
	require.True(t, p.begin(func() error { return errors.New("no TLS") }))
	require.False(t, p.shakes())
	require.ErrorIs(t, p.toClient([]byte("secret")), net.ErrClosed)
	got, err := io.ReadAll(far)
	require.NoError(t, err)
	require.Empty(t, got)
}

// A client that reads nothing more does not hold up the end of its session for ever; as long as the
// worker is there, it may take any time.
func TestLinger(t *testing.T) {
	h := newHouse(t, nil, &ServeOptions{TLS: serverTLS(), Linger: 20 * time.Millisecond})
	startWorker(t, h.path, "flood", "")
	slow := dialTLS(t, h.addr)
	_, err := slow.Write([]byte("stay\n"))
	require.NoError(t, err)
	h.until("it is served", func(s Stats) bool { return s.Points == 1 })
	deaf := dialTLS(t, h.addr)
	_, err = deaf.Write([]byte("leave\n"))
	require.NoError(t, err)
	h.until("its worker has closed it", func(s Stats) bool { return s.Done == 1 })
	pumps := func() int {
		h.k.mu.Lock()
		defer h.k.mu.Unlock()
		return len(h.k.pumps)
	}
	require.Eventually(t, func() bool { return pumps() == 1 }, patience, time.Millisecond, "it lingers")
	_ = slow.SetDeadline(time.Now().Add(patience))
	_, err = io.CopyN(io.Discard, slow.r, floodSize)
	require.NoError(t, err)
	require.NoError(t, slow.Close())
	require.NoError(t, h.k.Shutdown(t.Context()))
}

// When the front moves, the TLS of its sessions stays with the old process, which waits for them.
// They go on when their worker is killed all the same, also with a third front; one that stands at
// no point is cut off, not ended properly.
func TestUpgradeTLS(t *testing.T) {
	h := newHouse(t, nil, &ServeOptions{TLS: serverTLS()})
	move := func(from *Keeper) *Keeper {
		ours, theirs, err := handoff.ChannelPair()
		require.NoError(t, err)
		defer ours.Close()
		ch, err := handoff.FileChannel(theirs)
		require.NoError(t, err)
		defer ch.Close()
		gave := make(chan error, 1)
		go func() {
			handed, err := from.Give(context.Background(), ours)
			if err == nil && !handed.Moved {
				err = errors.New("not moved")
			}
			gave <- err
		}()
		to, err := Take(context.Background(), ch, nil)
		require.NoError(t, err)
		require.NoError(t, <-gave)
		t.Cleanup(func() { require.NoError(t, to.Close()) })
		l, err := to.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		go func() { _ = to.Serve(context.Background(), l, &ServeOptions{TLS: serverTLS()}) }()
		require.NoError(t, to.Workers(context.Background(), h.path))
		return to
	}
	p := startWorker(t, h.path, "peek", "")
	first := dialTLS(t, h.addr)
	first.must(t, "one")
	second := move(h.k)
	shut := make(chan error, 1)
	go func() { shut <- h.k.Shutdown(context.Background()) }()
	first.must(t, "two")
	p.kill()
	p = startWorker(t, h.path, "peek", "took:2")
	first.must(t, "three")
	other := dialTLS(t, h.addr)
	other.must(t, "one") // and that is the end of this worker
	p.wait(t)
	p = startWorker(t, h.path, "peek", "")
	first.must(t, "four")
	third := move(second)
	p.kill()
	p = startWorker(t, h.path, "silent", "")
	first.must(t, "five")
	other.must(t, "two")
	dialTLS(t, h.addr).must(t, "new")
	select {
	case err := <-shut:
		require.FailNow(t, "the old process does not wait", err)
	default:
	}
	p.kill() // it has told no point
	for _, c := range []*client{first, other} {
		_, err := c.r.ReadByte()
		require.Error(t, err)
		require.NotErrorIs(t, err, io.EOF)
	}
	require.NoError(t, <-shut)
	require.NoError(t, second.Shutdown(t.Context()))
	require.EqualValues(t, 3, third.Stats().Reset)
	require.Zero(t, third.Stats().Gone)
}

// A UNIX listener's sessions are served, and end with their worker.
func TestUNIX(t *testing.T) {
	h := newHouse(t, nil, nil)
	path := filepath.Join(sockdir.New(t), "c")
	l, err := h.k.Listen(t.Context(), "unix", path)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- h.k.Serve(t.Context(), l, nil) }()
	p := startWorker(t, h.path, "peek", "")
	c := dial(t, path)
	c.must(t, "one")
	p.kill()
	_, err = c.ask("two")
	require.Error(t, err)
	h.until("it is gone", func(s Stats) bool { return s.Sessions == 0 })
	waits := dial(t, path) // one that has no worker yet has lost nothing
	h.until("it waits", func(s Stats) bool { return s.Parked == 1 })
	startWorker(t, h.path, "peek", "")
	waits.must(t, "one")
	require.NoError(t, waits.Close())
	h.until("it is done", func(s Stats) bool { return s.Done == 1 })
}

// Plain workers get BIND 10's form as it is, once the client has said something.
func TestPlainWorker(t *testing.T) {
	h := newHouse(t, nil, nil)
	join := func() *bind10.Receiver {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: h.path, Net: "unix"})
		require.NoError(t, err)
		r, err := bind10.NewReceiver(conn, &bind10.ReceiverOptions{Acknowledge: true})
		require.NoError(t, err)
		t.Cleanup(func() { r.Close() })
		return r
	}
	r := join()
	c, silent := dial(t, h.addr), dial(t, h.addr)
	h.until("both wait", func(s Stats) bool { return s.Parked == 2 && len(s.Workers) == 1 && s.Workers[0].Plain })
	forged := string(appendEnvelope(nil, 1, nil, []byte("x"))) // a client that knows the envelope
	_, err := c.Write([]byte(forged))
	require.NoError(t, err)
	var s bind10.Session
	require.NoError(t, r.Receive(t.Context(), &s))
	require.Equal(t, forged, string(s.Data))
	require.Equal(t, c.LocalAddr().String(), s.Remote.String())
	require.NoError(t, s.Close())
	_, err = c.r.ReadByte()
	require.ErrorIs(t, err, io.EOF, "the worker had the only descriptor")
	h.until("it is the worker's", func(s Stats) bool { return s.Left == 1 && s.Sessions == 1 })

	require.NoError(t, silent.Close())
	h.until("the other one is gone", func(s Stats) bool { return s.Gone == 1 && s.Sessions == 0 })

	require.NoError(t, r.Close())
	h.until("no worker", func(s Stats) bool { return len(s.Workers) == 0 })
	later := dial(t, h.addr)
	_, err = later.Write([]byte("data"))
	require.NoError(t, err)
	h.until("it waits", func(s Stats) bool { return s.Parked == 1 })
	require.NoError(t, join().Receive(t.Context(), &s))
	require.Equal(t, "data", string(s.Data))
	require.NoError(t, s.Close())
}

func TestProxy(t *testing.T) {
	h := newHouse(t, nil, &ServeOptions{Proxy: true})
	startWorker(t, h.path, "peek", "", "NAME=w")
	two := append([]byte(proxyMark), 0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 2)
	local := append([]byte(proxyMark), 0x20, 0, 0, 0)
	six := append([]byte(proxyMark), 0x21, 0x21, 0, 36)
	for _, tt := range []struct {
		name   string
		header []byte
		remote string // "": refused
	}{
		{"version 1", []byte("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), "192.0.2.1:1"},
		{"version 2", two, "192.0.2.1:1"},
		{"unknown", []byte("PROXY UNKNOWN what ever\r\n"), "own"},
		{"the proxy itself", local, "own"},
		{"none", []byte("GET / HTTP/1.1\r\n\r\n"), ""},
		{"too long", append([]byte("PROXY TCP4 "), make([]byte, 200)...), ""},
		{"no port", []byte("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n"), ""},
		{"IPv6 on a socket of IPv4", append(six, make([]byte, 36)...), ""},
		{"nothing more", []byte("PROXY TCP4 192.0.2.1"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, whole := range []bool{true, false} {
				c := dial(t, h.addr)
				want := tt.remote
				if want == "own" {
					want = c.LocalAddr().String()
				}
				if tt.name == "nothing more" {
					_, err := c.Write(tt.header)
					require.NoError(t, err)
					require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
					_, err = c.r.ReadByte()
					require.Error(t, err)
					continue
				}
				if !whole && want != "" { // byte by byte
					for i := range tt.header {
						_, err := c.Write(tt.header[i : i+1])
						require.NoError(t, err)
					}
				} else {
					_, err := c.Write(tt.header)
					require.NoError(t, err)
				}
				text, err := c.ask("who")
				if want == "" {
					require.Error(t, err)
					continue
				}
				require.NoError(t, err)
				require.Contains(t, text, "w "+want+" ")
			}
		})
	}
	h.until("nothing begins any more", func(s Stats) bool { return s.Beginning == 0 })
}

// A client that does not say what has to come first is closed.
func TestProxyInTime(t *testing.T) {
	h := newHouse(t, nil, &ServeOptions{Proxy: true, Patience: 50 * time.Millisecond})
	c := dial(t, h.addr)
	_, err := c.r.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	h.until("it is refused", func(s Stats) bool { return s.Refused == 1 && s.Beginning == 0 })
}

func TestPolicies(t *testing.T) {
	t.Run("least sessions", func(t *testing.T) {
		h := newHouse(t, nil, nil)
		startWorker(t, h.path, "peek", "")
		startWorker(t, h.path, "peek", "")
		h.until("both are there", func(s Stats) bool { return len(s.Workers) == 2 }) // they are welcomed before that
		for range 10 {
			dial(t, h.addr).must(t, "x")
		}
		h.until("both have half", func(s Stats) bool { return s.Workers[0].Sessions == 5 && s.Workers[1].Sessions == 5 })
	})
}

// One address, one worker; when a worker goes, only its clients move.
func TestByAddress(t *testing.T) {
	p := ByAddress()
	workers := []Worker{{ID: 1, Name: "a", Ready: true}, {ID: 2, Ready: true}, {ID: 3, Name: "c", Ready: true}}
	counts := make([]int, 3)
	for i := range 300 {
		s := &Session{Remote: addrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), uint16(i)))}
		c := p(s, workers)
		counts[c]++
		require.Equal(t, c, p(&Session{Remote: addrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 9))}, workers))
		if c != 2 {
			require.Equal(t, c, p(s, workers[:2]))
		}
	}
	for _, n := range counts {
		require.Greater(t, n, 60, counts)
	}
	require.GreaterOrEqual(t, p(&Session{}, workers), 0, "no address")
}

// Workers of one name share its clients, and keep theirs when one of them comes or goes.
func TestByAddressEqualNames(t *testing.T) {
	p := ByAddress()
	workers := []Worker{{ID: 1, Name: "nonode@nohost"}, {ID: 2, Name: "b"}, {ID: 3, Name: "nonode@nohost"}}
	counts := make([]int, 3)
	for i := range 400 {
		s := &Session{Remote: addrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1))}
		c := p(s, workers)
		counts[c]++
		if c != 2 {
			require.Equal(t, c, p(s, workers[:2]))
		}
	}
	require.Greater(t, counts[0], 60, counts)
	require.Greater(t, counts[1], 120, counts)
	require.Greater(t, counts[2], 60, counts)
}

// A plain worker, whose sessions nobody counts, gets what no other has room for.
func TestLeastSessionsPlain(t *testing.T) {
	workers := []Worker{{Plain: true, Forwarded: 2, Ready: true}, {Plain: true, Forwarded: 1, Ready: true}, {Sessions: 7, Ready: true}}
	require.Equal(t, 2, LeastSessions(nil, workers))
	workers[2].Ready = false
	require.Equal(t, 1, LeastSessions(nil, workers))
}

// A front that comes to a path at which one listens already is no worker of that one.
func TestSecondFront(t *testing.T) {
	h := newHouse(t, nil, nil)
	c := dial(t, h.addr)
	_, err := fmt.Fprintln(c, "one")
	require.NoError(t, err)
	h.until("it waits", func(s Stats) bool { return s.Parked == 1 })
	other, err := New(nil)
	require.NoError(t, err)
	require.ErrorIs(t, other.Workers(t.Context(), h.path), syscall.EADDRINUSE)
	require.NoError(t, other.Close())
	startWorker(t, h.path, "peek", "")
	_, err = c.answer("one")
	require.NoError(t, err)
	require.EqualValues(t, 1, h.k.Stats().Forwarded)
}

// No more than the window is on its way, and a worker that refuses is left alone for a while.
func TestWindow(t *testing.T) {
	h := newHouse(t, &Options{Window: 3}, nil)
	w, err := joinKeeper(h.path, "slow", "")
	require.NoError(t, err)
	defer w.leave()
	require.Equal(t, 3, w.window)
	var clients []*client
	for range 5 {
		clients = append(clients, dial(t, h.addr))
	}
	h.until("three are on their way", func(s Stats) bool {
		return s.Parked == 2 && len(s.Workers) == 1 && s.Workers[0].Sessions == 3
	})
	startWorker(t, h.path, "refuse", "")
	h.until("the other refuses", func(s Stats) bool { return s.Returned >= 2 })
	startWorker(t, h.path, "peek", "", "NAME=good")
	for _, c := range clients[3:] {
		require.Contains(t, c.must(t, "who"), "good")
	}
	require.Zero(t, h.k.Stats().Reset)
}

// A worker that closes the sessions' stream gets no more, and what it has not got goes elsewhere.
func TestStreamClosed(t *testing.T) {
	h := newHouse(t, nil, nil)
	w, err := joinKeeper(h.path, "closes", "")
	require.NoError(t, err)
	require.NoError(t, w.stream.Close())
	c := dial(t, h.addr)
	h.until("it gets no more", func(s Stats) bool { return len(s.Workers) == 1 && s.Workers[0].Retiring && s.Parked == 1 })
	startWorker(t, h.path, "peek", "")
	c.must(t, "one")
	_ = w.control.Close()
	h.until("it is gone", func(s Stats) bool { return len(s.Workers) == 1 })
}

// A worker that ends with sessions in its stream that it has not read says so: they go elsewhere,
// the one that it has taken stays.
func TestUnreadSessions(t *testing.T) {
	h := newHouse(t, &Options{Window: 4}, nil)
	w, err := joinKeeper(h.path, "ends", "")
	require.NoError(t, err)
	r, err := bind10.NewReceiver(w.stream, nil)
	require.NoError(t, err)
	taken := dial(t, h.addr)
	var s bind10.Session
	require.NoError(t, r.Receive(t.Context(), &s))
	w.word(kindTaken, binary.BigEndian.Uint64(s.Data[1:]))
	clients := []*client{}
	for range 5 { // one more than the window
		clients = append(clients, dial(t, h.addr))
	}
	h.until("they are on their way", func(s Stats) bool { return s.Parked == 1 && s.Forwarded == 5 })
	w.say([]byte{kindRetire})
	require.NoError(t, r.Close())
	w.say([]byte{kindNoMore})
	h.until("all wait", func(s Stats) bool { return s.Parked == 5 && s.Workers[0].Sessions == 1 })
	startWorker(t, h.path, "peek", "")
	for _, c := range clients {
		c.must(t, "one")
	}
	f, err := s.Socket.File(0, "session")
	require.NoError(t, err)
	_, err = f.WriteString("1 here\n")
	require.NoError(t, err)
	_, err = taken.answer("here")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_ = w.control.Close()
	require.Zero(t, h.k.Stats().Reset+h.k.Stats().Gone)
}

func (w *testWorker) leave() {
	_ = w.control.Close()
	_ = w.stream.Close()
}

// A worker whose control socket has ended, and which lives: nobody else gets its sessions.
func TestWorkerLivesOn(t *testing.T) {
	h := newHouse(t, &Options{Patience: 50 * time.Millisecond}, nil)
	w, err := joinKeeper(h.path, "lives", "peek")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- w.serve() }()
	c := dial(t, h.addr)
	c.must(t, "one")
	startWorker(t, h.path, "peek", "", "NAME=other")
	_ = w.control.Close()
	h.until("it is given up", func(s Stats) bool { return s.Left == 1 && len(s.Workers) == 1 && s.Sessions == 0 })
	require.NoError(t, <-served)
	c.must(t, "two")
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.conns) == 0 }, patience, time.Millisecond)
	_ = w.stream.Close()
}

// Nonsense at the control socket is refused, with a reason, and harms nobody.
func TestControlRefuses(t *testing.T) {
	h := newHouse(t, &Options{MaxWorkers: 1}, nil)
	say := func(p []byte) string {
		c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: h.path + controlSuffix, Net: "unixpacket"})
		require.NoError(t, err)
		defer c.Close()
		_, _ = c.Write(p)
		b := make([]byte, 2000)
		n, _ := c.Read(b)
		return string(b[:n])
	}
	for _, p := range [][]byte{{'x'}, {'h'}, {'h', 2, 1}, {'h', 1, 7}, append([]byte{'h', 1, 1}, make([]byte, 256)...), {'h', 1, 1, 0xff}} {
		require.Regexp(t, "^e.*malformed", say(p), "%q", p)
	}
	w, err := joinKeeper(h.path, "", "peek")
	require.NoError(t, err)
	h.until("it is there", func(s Stats) bool { return len(s.Workers) == 1 })
	_, err = joinKeeper(h.path, "", "peek")
	require.ErrorContains(t, err, "1 workers already")
	served := make(chan error, 1)
	go func() { served <- w.serve() }()
	for _, p := range [][]byte{{}, {'?'}, {'t'}, {'m', 1, 2}, binary.BigEndian.AppendUint64([]byte{'d'}, 99),
		binary.BigEndian.AppendUint64([]byte{'m'}, 1), appendPoint(99, 1, 1, nil, nil)} {
		if len(p) > 0 {
			w.say(p)
		}
	}
	c := dial(t, h.addr)
	c.must(t, "one")
	require.NoError(t, c.Close())
	h.until("it is done", func(s Stats) bool { return s.Done == 1 })
	w.leave()
	<-served
	refused, err := New(&Options{Peer: func(handoff.Cred) error { return handoff.ErrForbidden }})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	path := filepath.Join(sockdir.New(t), "w")
	require.NoError(t, refused.Workers(ctx, path))
	require.ErrorIs(t, refused.Workers(ctx, path), syscall.EADDRINUSE)
	_, err = joinKeeper(path, "", "")
	require.Error(t, err)
	stop()
	require.Eventually(t, func() bool { return refused.Workers(t.Context(), path) == nil }, patience, time.Millisecond, "the path is free")
	require.NoError(t, refused.Close())
	require.NoFileExists(t, path)
	require.ErrorIs(t, refused.Workers(t.Context(), path), net.ErrClosed)
}

// A client that has sent all it has is served to the end, by the next worker if need be.
func TestHalfClosed(t *testing.T) {
	h := newHouse(t, nil, nil)
	p := startWorker(t, h.path, "peek", "answered:2")
	c := dial(t, h.addr)
	_, err := c.Write([]byte("one\ntwo\nthree\n"))
	require.NoError(t, err)
	require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
	p.wait(t)
	startWorker(t, h.path, "peek", "")
	for _, line := range []string{"one", "two", "three"} {
		_, err := c.answer(line)
		require.NoError(t, err)
	}
	_, err = c.r.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	h.until("it is done", func(s Stats) bool { return s.Done == 1 && s.Moved == 1 && s.Sessions == 0 })
}

// Shutdown leaves the sessions to the workers.
func TestShutdown(t *testing.T) {
	h := newHouse(t, nil, nil)
	w, err := joinKeeper(h.path, "lives", "peek")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- w.serve() }()
	c := dial(t, h.addr)
	c.must(t, "one")
	require.NoError(t, h.k.Shutdown(t.Context()))
	require.NoError(t, <-served)
	p := make([]byte, 10)
	n, err := w.control.Receive(t.Context(), p, nil, 0)
	require.NoError(t, err)
	require.Equal(t, []byte{kindStop}, p[:n])
	c.must(t, "two")
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.conns) == 0 }, patience, time.Millisecond)
	w.leave()
	_, err = net.Dial("tcp", h.addr)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}
