//go:build unix

package tlstransport

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A record collects what several goroutines write.
type record struct {
	mu   sync.Mutex
	said strings.Builder
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.said.Write(b)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.said.String()
}

// No key, nor a part of one, appears in the log at any level, or in errors.
func TestNoSecretIsSaid(t *testing.T) {
	var said, keys record
	var secrets [][]byte
	note := func(sockets ...*Socket) {
		for _, s := range sockets {
			for _, h := range []*half{s.own.in, s.own.out} {
				for _, p := range h.secrets() {
					if len(p) >= 12 {
						secrets = append(secrets, bytes.Clone(p))
					}
				}
			}
		}
	}
	o := Options{Logger: slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug})), keyUpdateRecords: 4}
	a := newAuthority(t, "an authority")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := restrict(a.mutual(t), version, 0)
		cfg.KeyLogWriter = &keys
		w := newWorkbench(t, cfg, o)
		c, s := w.talking()
		note(c, s)
		c = move(t, w.cb, c)
		if version == tls.VersionTLS13 {
			s.askForUpdate(t)
			exchange(t, ours{c}, ours{s}, 10)
			note(c, s)
		}
		exported := expect.NoError(w.cb.Export(c)).In(t)
		// none is the state of a listener
		for _, state := range [][]byte{exported[:len(exported)-1], append(exported, 0), exported} {
			fd := expect.NoError(w.cb.GetFD(w.l)).In(t)
			_, err := w.cb.Import(nil, fd, state)
			require.Error(t, err)
			_, _ = io.WriteString(&said, err.Error())
		}
		// an error, or refused
		require.NoError(t, s.own.put(typeHandshake, []byte{messageHelloRequest, 0, 0, 0}))
		s.out.end()
		_, err := w.cb.Read(c, make([]byte, 1), 0)
		_, _ = fmt.Fprint(&said, err)
		require.NoError(t, w.cb.Close(s))
		_, err = ours{c}.Read(make([]byte, 1))
		_, _ = fmt.Fprint(&said, err)
		_, err = w.cb.Export(c)
		_, _ = fmt.Fprint(&said, err)
	}
	// Sessions that stay with crypto/tls, and handshakes that fail.
	cfg := restrict(a.mutual(t), tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA)
	cfg.KeyLogWriter = &keys
	w := newWorkbench(t, cfg, o)
	w.talking()
	cfg = a.mutual(t)
	cfg.RootCAs, cfg.KeyLogWriter = newAuthority(t, "another authority").pool, &keys
	w = newWorkbench(t, cfg, o)
	c, _ := w.pair()
	_, err := ours{c}.Read(make([]byte, 1))
	_, _ = fmt.Fprint(&said, err)
	require.Error(t, err)

	for line := range strings.Lines(keys.String()) {
		secret := expect.NoError(hex.DecodeString(strings.Fields(line)[2])).In(t)
		secrets = append(secrets, secret)
	}
	text := said.String()
	for _, what := range []string{"cannot move", "TLS handshake failed", "has changed its TLS key"} {
		require.Contains(t, text, what)
	}
	require.Greater(t, len(secrets), 20)
	for _, secret := range secrets {
		for i := 0; i+6 <= len(secret); i += 3 {
			part := secret[i : i+6]
			numbers := fmt.Sprint(part)
			for _, form := range []string{
				string(part), fmt.Sprintf("%x", part), fmt.Sprintf("%X", part), base64.StdEncoding.EncodeToString(part), numbers[1 : len(numbers)-1],
				strings.Trim(fmt.Sprintf("%q", part), `"`),
			} {
				require.NotContains(t, text, form)
			}
		}
	}
}
