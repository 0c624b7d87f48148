package tlstransport

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An Interrupt that comes when a call has begun and does not wait yet ends that call as well, but
// not the next one.
func TestInterruptBeforeTheWait(t *testing.T) {
	cfg := newAuthority(t, "an authority").mutual(t)
	w := newWorkbench(t, cfg, Options{})
	s, c := w.against(client, cfg)
	exchange(t, ours{s}, c, 10)
	began, late := time.Now(), after(tooLong)

	s.wire.in.fresh() // as at the beginning of a Read
	s.interrupt()
	_, err := s.wire.read(make([]byte, 1), late)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Less(t, time.Since(began), tooLong)
	_, err = c.Write([]byte("x"))
	require.NoError(t, err)
	n, err := s.read(make([]byte, 1), tooLong)
	require.NoError(t, err)
	require.Equal(t, 1, n)

	s.out.begin() // as at the beginning of a Write
	s.interrupt()
	require.ErrorIs(t, s.wire.awaitWrite(func() bool { return false }, late), os.ErrDeadlineExceeded)
	require.Less(t, time.Since(began), tooLong)
	s.out.end()
	exchange(t, ours{s}, c, 100_000)
	require.NoError(t, w.cb.Close(s))
	require.NoError(t, c.NetConn().Close())
}

// An Interrupt that comes too late for a Connect does not end the handshake after it, which has its
// own time.
func TestInterruptBeforeTheHandshake(t *testing.T) {
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	c, err := w.cb.Socket(nil, w.at)
	require.NoError(t, err)
	w.cb.Interrupt(c)
	require.NoError(t, w.cb.Connect(c, w.at, tooLong))
	s := w.accept()
	exchange(t, ours{c}, ours{s}, 1000)
	require.NoError(t, w.cb.Close(c))
	require.NoError(t, w.cb.Close(s))
}

// An Interrupt that is running when the handshake is about to begin is over before it begins.
func TestInterruptBesideTheHandshake(t *testing.T) {
	w := newWorkbench(t, newAuthority(t, "an authority").mutual(t), Options{})
	c, err := w.cb.Socket(nil, w.at)
	require.NoError(t, err)
	require.NoError(t, c.wire.connect(w.at, after(tooLong)))
	set, begun := c.wire.in.set, make(chan struct{})
	// Interrupt has seen that no handshake has begun, and goes on
	c.wire.in.use(func(until time.Time) error {
		c.wire.in.set = set
		require.False(t, c.mu.TryLock(), "a handshake may begin meanwhile")
		go func() {
			defer close(begun)
			c.begin(client, w.at)
		}()
		return set(until)
	})
	w.cb.Interrupt(c)
	<-begun
	s := w.accept()
	exchange(t, ours{c}, ours{s}, 1000)
	require.NoError(t, w.cb.Close(c))
	require.NoError(t, w.cb.Close(s))
}
