package tlstransport

import (
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// CloseWrite before the connection is made is an error, and has no effect on the session that is made afterwards.
func TestCloseWriteBeforeConnect(t *testing.T) {
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	c, err := w.cb.Socket(nil, w.at)
	require.NoError(t, err)
	require.ErrorIs(t, w.cb.CloseWrite(c), syscall.ENOTCONN)
	require.NoError(t, w.cb.Connect(c, w.at, tooLong))
	s := w.accept()
	exchange(t, ours{c}, ours{s}, 10)
	require.NoError(t, w.cb.Close(c))
	require.NoError(t, w.cb.Close(s))
}

// Nothing can be written once CloseWrite has returned, even if the handshake ends only then and close_notify has not been sent yet.
func TestWriteBehindEarlyCloseWrite(t *testing.T) {
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	c := w.connect(w.at)
	s := w.accept()
	require.NoError(t, w.cb.CloseWrite(c))
	_, err := w.cb.Write(c, []byte("x"), tooLong)
	require.ErrorIs(t, err, syscall.EPIPE)
	n, err := w.cb.Read(s, make([]byte, 1), tooLong)
	require.NoError(t, err)
	require.Zero(t, n, "it is the end")

	s.halved.Store(true) // as between CloseWrite and close_notify at the end of a handshake
	_, err = w.cb.Write(s, []byte("x"), tooLong)
	require.ErrorIs(t, err, syscall.EPIPE)
	require.NoError(t, w.cb.Close(c))
	require.NoError(t, w.cb.Close(s))
}

// Close gives back the large buffer with which it sends the last records.
func TestCloseGivesBufferBack(t *testing.T) {
	if !canMove {
		t.Skip("looks into a session of our own")
	}
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	c, s := w.pair()
	exchange(t, ours{c}, ours{s}, 10)
	for large := make([]byte, mostAtOnce); ; { // until there is no room on the wire
		if _, err := c.write(large, 10*time.Millisecond); err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			break
		}
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for p := make([]byte, mostAtOnce); ; {
			if n, err := s.read(p, tooLong); n == 0 || err != nil {
				return
			}
		}
	}()
	require.NoError(t, w.cb.Close(c))
	<-read
	require.False(t, c.out.busy)
	require.True(t, c.out.large == nil || c.out.pos < len(c.out.buf), "all is out")
	require.NoError(t, w.cb.Close(s))
}

// A session can move as soon as its handshake has succeeded, even if over is not closed yet.
func TestMovableOnceUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Socket{over: make(chan struct{}), own: &session{}}
		s.up.Store(true) // over will be closed in a moment
		moves := make(chan error, 1)
		go func() { moves <- s.movable() }()
		synctest.Wait()
		require.Empty(t, moves)
		close(s.over)
		require.NoError(t, <-moves)
	})
}
