//go:build unix

package tlstransport

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An Interrupt that comes when a call has begun and does not wait yet ends it as well; the next call is another one.
func TestInterruptBeforeTheWait(t *testing.T) {
	cfg := newAuthority(t, "an authority").mutual(t)
	w := newWorkbench(t, cfg, Options{})
	s, c := w.against(client, cfg)
	exchange(t, ours{s}, c, 10)
	late := after(tooLong)

	s.wire.in.fresh() // as at the beginning of a Read
	s.interrupt()
	_, err := s.wire.read(make([]byte, 1), late)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	_, err = c.Write([]byte("x"))
	require.NoError(t, err)
	n, err := s.read(make([]byte, 1), tooLong)
	require.NoError(t, err)
	require.Equal(t, 1, n)

	s.out.begin() // as at the beginning of a Write
	s.interrupt()
	began := time.Now()
	require.ErrorIs(t, s.wire.awaitWrite(func(uintptr) bool { return false }, late), os.ErrDeadlineExceeded)
	require.Less(t, time.Since(began), tooLong)
	s.out.end()
	exchange(t, ours{s}, c, 100_000)
	require.NoError(t, w.cb.Close(s))
	require.NoError(t, c.NetConn().Close())
}
