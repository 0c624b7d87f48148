package tlstransport

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
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
		e := expect.As[*PeerError](t, err)
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
				require.ErrorContains(t, expect.Err(c.read(make([]byte, 1), tooLong)), says)
				require.ErrorContains(t, expect.Err(c.write([]byte("x"), tooLong)), says)
			}
			require.NoError(t, w.cb.Close(c))
			require.Error(t, expect.Err(s.read(make([]byte, 1), tooLong)))
			require.NoError(t, w.cb.Close(s))
			bad = false
			w.talking()
		})
	}
}
