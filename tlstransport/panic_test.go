package tlstransport

import (
	"crypto/tls"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// A panic in the user's own functions is an error of that session only, and so is runtime.Goexit, a failing test's end.
func TestConfigPanics(t *testing.T) {
	for says, ends := range map[string]func(){
		"panic: the user's own":         func() { panic("the user's own") },
		"functions call runtime.Goexit": runtime.Goexit,
	} {
		t.Run(says, func(t *testing.T) {
			a := newAuthority(t, "an authority")
			cfg := a.mutual(t)
			bad := true
			cfg.VerifyConnection = func(tls.ConnectionState) error {
				if bad {
					ends()
				}
				return nil
			}
			w := newWorkbench(t, cfg, Options{})
			c, s := w.pair()
			for range 2 {
				_, err := c.read(make([]byte, 1), tooLong)
				require.ErrorContains(t, err, says)
				_, err = c.write([]byte("x"), tooLong)
				require.ErrorContains(t, err, says)
			}
			require.NoError(t, w.cb.Close(c))
			_, err := s.read(make([]byte, 1), tooLong)
			require.Error(t, err)
			require.NoError(t, w.cb.Close(s))
			bad = false
			c, s = w.pair()
			exchange(t, ours{c}, ours{s}, 100)
			require.NoError(t, w.cb.Close(c))
			require.NoError(t, w.cb.Close(s))
		})
	}
}
