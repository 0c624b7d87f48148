package transport

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// What is sent after a silence is not owed an answer since the silence began: neither a silent
// program, nor one that was stopped for a while, may take its live peer for one that has gone.
func TestUnacknowledgedAfterSilence(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	p := make([]byte, 8)
	for range 20 { // after an exchange of messages the kernel delays its acknowledgements
		require.NoError(t, expect.Err(c.Writev(t.Context(), []byte("question"))))
		require.NoError(t, expect.Err(s.Readv(t.Context(), p)))
		require.NoError(t, expect.Err(s.Writev(t.Context(), []byte("answer"))))
		require.NoError(t, expect.Err(c.Readv(t.Context(), p[:6])))
	}
	const silence = time.Second
	for range 3 {
		time.Sleep(silence)
		require.NoError(t, expect.Err(c.Writev(t.Context(), []byte("question"))))
		require.Less(t, expect.NoError(c.Unacknowledged()).In(t), silence)
	}
}
