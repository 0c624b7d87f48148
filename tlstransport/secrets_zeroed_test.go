//go:build unix

package tlstransport

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// secrets returns the places where a direction keeps secrets.
func (h *half) secrets() (places [][]byte) {
	for _, p := range [][]byte{h.secret, h.key, h.iv, h.nonce[:]} {
		if len(p) > 0 {
			places = append(places, p)
		}
	}
	return places
}

// full fails the test unless each place holds something.
func full(t testing.TB, places [][]byte) [][]byte {
	t.Helper()
	require.NotEmpty(t, places)
	for _, p := range places {
		require.NotEqual(t, make([]byte, len(p)), p)
	}
	return places
}

func zeroed(t testing.TB, places [][]byte) {
	t.Helper()
	for i, p := range places {
		require.Equal(t, make([]byte, len(p)), p, "place %d", i)
	}
}

// Keys that are no longer needed are zeroed: at the end of a session, when it has moved, when the
// next key replaces them, and when they cannot be used.
func TestKeysAreZeroed(t *testing.T) {
	cfg := newAuthority(t, "an authority").mutual(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			w := newWorkbench(t, restrict(cfg, version, 0), Options{})
			c, s := w.pair()
			exchange(t, ours{c}, ours{s}, 1000)
			if version == tls.VersionTLS13 {
				s.out.mu.Lock()
				old := full(t, [][]byte{s.own.out.secret, s.own.out.iv})
				require.NoError(t, s.own.update())
				zeroed(t, old)
				s.own.s.out.settle()
				s.out.mu.Unlock()
				old = full(t, [][]byte{c.own.in.secret, c.own.in.iv})
				exchange(t, ours{c}, ours{s}, 1000)
				zeroed(t, old)
			}
			ofClient := full(t, append(c.own.in.secrets(), c.own.out.secrets()...))
			ofServer := full(t, append(s.own.in.secrets(), s.own.out.secrets()...))

			// A failed import leaves no secret behind, wherever it fails.
			exported := c.state()
			good := exported.append(nil)
			exported.cert = []byte("no certificate")
			for name, state := range map[string][]byte{"a descriptor that is no socket": good, "a wrong certificate": exported.append(nil)} {
				failed := newSocket(c.p)
				require.Error(t, failed.adopt(0, state), name)
				require.Equal(t, len(c.own.in.secrets()), len(failed.own.in.secrets()), name)
				zeroed(t, append(failed.own.in.secrets(), failed.own.out.secrets()...))
			}

			require.NoError(t, w.cb.Release(c))
			zeroed(t, ofClient)
			require.NoError(t, w.cb.Close(s))
			zeroed(t, ofServer)
		})
	}
}

// onSecret is a KeyLogWriter that is a function.
type onSecret func(line []byte)

func (f onSecret) Write(line []byte) (int, error) {
	f(line)
	return len(line), nil
}

// The secrets that the handshake has logged are zeroed at its end, whether the session stays with
// crypto/tls or not.
func TestKeyLogIsZeroed(t *testing.T) {
	for _, plain := range []bool{false, true} {
		cfg := restrict(newAuthority(t, "an authority").mutual(t), tls.VersionTLS13, 0)
		w := newWorkbench(t, cfg, Options{Plain: plain})
		known := make(chan *Socket, 1)
		var got *Socket
		var places [][]byte
		logged := cfg.Clone()
		logged.KeyLogWriter = onSecret(func([]byte) {
			if got == nil {
				got = <-known
			}
			for _, l := range got.tap.keys.lines {
				places = append(places, l.secret)
			}
		})
		c := dials(t, logged, Options{Plain: plain}, w.at)
		known <- c
		s := w.accept()
		exchange(t, ours{c}, ours{s}, 10)
		require.NotEmpty(t, places)
		zeroed(t, places)
	}

	k := keyLog{lines: map[string]logged{}}
	line := []byte(labelClient + " " + hex.EncodeToString(make([]byte, 32)) + " " + hex.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	for range 2 {
		require.NoError(t, expect.Err(k.Write(line)))
		// if a label comes twice, the first secret, too
		defer zeroed(t, [][]byte{k.lines[labelClient].secret})
	}
	k.forget()
}

// A state is made in one allocation: growing would leave copies of keys behind.
func TestStateIsMadeInOnePiece(t *testing.T) {
	for _, s := range suites {
		_, in := twoHalves(t, s.version, s.id, 3)
		st := state{
			version: s.version, suite: s.id, role: client, in: in.state(), out: in.state(), raw: []byte{23, 3, 3}, plain: []byte("plain"),
			message: []byte{4, 0}, unsent: make([]byte, 1000), node: "a@b", cert: []byte("cert"),
		}
		require.Len(t, st.append(nil), st.size())
	}
}
