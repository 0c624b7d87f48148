package tlstransport

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// An error of the user's own functions is not blamed on the peer, even if it is a time-out or an
// EOF.
func TestConfigErrors(t *testing.T) {
	for _, own := range []error{
		fmt.Errorf("asking who has been revoked: %w", os.ErrDeadlineExceeded),
		fmt.Errorf("reading who has been revoked: %w", io.ErrUnexpectedEOF),
	} {
		cfg := newAuthority(t, "an authority").mutual(t)
		cfg.VerifyConnection = func(tls.ConnectionState) error { return own }
		w := newWorkbench(t, cfg, Options{})
		c, _ := w.pair()
		_, err := w.cb.Read(c, make([]byte, 1), tooLong)
		var e *PeerError
		require.ErrorAs(t, err, &e)
		require.ErrorIs(t, err, own)
		require.Equal(t, FailureSession, e.Failure)
	}
}

// A panic in the user's own functions is an error of that session only, and so is runtime.Goexit, a
// failing test's end.
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
			w.talking()
		})
	}
}
