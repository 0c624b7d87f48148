package tlstransport

import (
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"
)

// A panic in the user's own functions is an error of that session only.
func TestConfigPanics(t *testing.T) {
	a := newAuthority(t, "an authority")
	cfg := a.mutual(t)
	bad := true
	cfg.VerifyConnection = func(tls.ConnectionState) error {
		if bad {
			panic("the user's own")
		}
		return nil
	}
	w := newWorkbench(t, cfg, Options{})
	c, s := w.pair()
	_, err := c.read(make([]byte, 1), tooLong)
	require.ErrorContains(t, err, "panic: the user's own")
	require.NoError(t, w.cb.Close(c))
	_, err = s.read(make([]byte, 1), tooLong)
	require.Error(t, err)
	require.NoError(t, w.cb.Close(s))
	bad = false
	c, s = w.pair()
	exchange(t, ours{c}, ours{s}, 100)
	require.NoError(t, w.cb.Close(c))
	require.NoError(t, w.cb.Close(s))
}
