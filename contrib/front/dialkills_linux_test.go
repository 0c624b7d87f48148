package front

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

// The front is killed at each step of a connection that it makes: the worker has it, or it has
// ended and the worker is told. The next front makes one more, and no other.
func TestFrontIsKilledDialling(t *testing.T) {
	for _, tt := range []struct {
		step          string
		dialled, kept bool
	}{
		{step: "heard o:1"}, {step: "dial:1"},
		{step: "dialled:1", dialled: true}, {step: "admit:1", dialled: true}, {step: "forward:1", dialled: true},
		{step: "forwarded:1", dialled: true, kept: true}, {step: "heard t:1", dialled: true, kept: true},
	} {
		t.Run(tt.step, func(t *testing.T) {
			far := listenFar(t)
			h := &house{path: sockdir.New(t) + "/w"}
			f := startFront(t, h.path, tt.step)
			a := newAsker(t, h)
			a.ask(1, "n", far.Addr().String())
			s := &bind10.Session{}
			err := a.r.Receive(t.Context(), s)
			if tt.kept {
				require.NoError(t, err)
				a.word(kindTaken, 1)
			} else {
				require.Error(t, err)
			}
			<-f.ended
			if tt.dialled {
				c := accepted(t, far)
				if tt.kept {
					goesOn(t, c, s)
				} else {
					ends(t, c)
				}
			}
			startFront(t, h.path, "")
			a = newAsker(t, h)
			a.ask(1, "n", far.Addr().String())
			s, c := getsNew(t, a, far)
			goesOn(t, c, s)
			noMore(t, far)
		})
	}
}

// The front is killed while TLS begins: both sides hear that the connection has ended.
func TestFrontIsKilledBeginningTLS(t *testing.T) {
	for _, step := range []string{"heard s:1", "secured:1"} {
		t.Run(step, func(t *testing.T) {
			far := listenFar(t)
			h := &house{path: sockdir.New(t) + "/w"}
			f := startFront(t, h.path, step)
			a := newAsker(t, h)
			a.askWith(flagLater, 1, "n", far.Addr().String())
			c := accepted(t, far)
			id, _, _, s := a.gets(1)
			a.begin(id, 2)
			_ = tls.Server(c, serverTLS()).Handshake()
			<-f.ended
			ends(t, c)
			ends(t, socketOf(t, s))
		})
	}
}

// The front moves at each step of a connection that it makes: the worker gets it, once, from
// whichever process, and the next process knows whose it is.
func TestDialUpgrade(t *testing.T) {
	for step, locked := range map[string]bool{
		"heard o": true, "dial": false, "dialled": false, "admit": true, "forward": true, "forwarded": true, "heard t": true,
	} {
		t.Run(step, func(t *testing.T) {
			far := listenFar(t)
			var once sync.Once
			houses, freezes, given := make(chan *house, 1), make(chan struct{}), make(chan error, 1)
			h := newHookedHouse(t, &Options{Dial: allowAll()}, nil, func(at string) {
				switch at {
				case "freeze":
					close(freezes)
				case step:
					once.Do(func() {
						go func() {
							_, err := (<-houses).give("tcp 127.0.0.1:0")
							given <- err
						}()
						if !locked { // else the hand-off waits for the lock
							<-freezes
							time.Sleep(10 * time.Millisecond)
						}
					})
				}
			})
			houses <- h
			a := newAsker(t, h)
			a.ask(1, "n", far.Addr().String())
			s, c := getsNew(t, a, far)
			require.NoError(t, <-given)
			goesOn(t, c, s)
			noMore(t, far)
			a.ask(2, "n", far.Addr().String())
			require.EqualValues(t, badName, a.refused(2), "the worker has it")
		})
	}
}

func accepted(t *testing.T, far net.Listener) net.Conn {
	t.Helper()
	c, err := far.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// getsNew has a worker get a new connection.
func getsNew(t *testing.T, a *asker, far net.Listener) (*bind10.Session, net.Conn) {
	t.Helper()
	_, how, _, s := a.gets(1)
	require.EqualValues(t, isNew, how)
	return s, accepted(t, far)
}

func socketOf(t *testing.T, s *bind10.Session) net.Conn {
	t.Helper()
	f, err := s.Socket.File(0, "session")
	require.NoError(t, err)
	c, err := net.FileConn(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// goesOn has a peer talk to the worker that has its connection.
func goesOn(t *testing.T, peer net.Conn, s *bind10.Session) {
	t.Helper()
	_, err := peer.Write([]byte("x"))
	require.NoError(t, err)
	_, err = io.ReadFull(socketOf(t, s), make([]byte, 1))
	require.NoError(t, err)
}

func ends(t *testing.T, c net.Conn) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	_, err := io.Copy(io.Discard, c)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it goes on")
}

// noMore makes sure that nobody else has connected.
func noMore(t *testing.T, far net.Listener) {
	t.Helper()
	require.NoError(t, far.(*net.TCPListener).SetDeadline(time.Now().Add(10*time.Millisecond)))
	_, err := far.Accept()
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}
