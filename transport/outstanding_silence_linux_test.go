package transport

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is sent after a silence is not owed an answer since the silence began: neither a silent
// program, nor one that was stopped for a while, may take its live peer for one that has gone.
func TestUnacknowledgedAfterSilence(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	p := make([]byte, 8)
	for range 20 { // after an exchange of messages the kernel delays its acknowledgements
		_, err := c.Writev(t.Context(), []byte("question"))
		require.NoError(t, err)
		_, err = s.Readv(t.Context(), p)
		require.NoError(t, err)
		_, err = s.Writev(t.Context(), []byte("answer"))
		require.NoError(t, err)
		_, err = c.Readv(t.Context(), p[:6])
		require.NoError(t, err)
	}
	const silence = time.Second
	for range 3 {
		time.Sleep(silence)
		_, err := c.Writev(t.Context(), []byte("question"))
		require.NoError(t, err)
		d, err := c.Unacknowledged()
		require.NoError(t, err)
		require.Less(t, d, silence)
	}
}
