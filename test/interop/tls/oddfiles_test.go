package tls

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/oddcerts"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/tlstransport"
)

// otpSkips are the odd certificates that a release skips as well.
func otpSkips(r otp.Release) []string {
	skips := []string{"garbage", "empty", "SAN that is no sequence"}
	if r.Number > 27 {
		skips = append(skips, "ec_param_enc:explicit")
	}
	return skips
}

// The matrix of odd cacertfiles, beside OTP's own answer: whether a node with such a file is up and
// takes peers of the good authority in it.
func TestOddFiles(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		a, other := newAuthority(t), newAuthority(t)
		c := a.sign(t, want{})
		port := r.Epmd(t)
		read := func(path string) string {
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			return string(b)
		}
		good, more := read(a.ca()), read(other.ca())
		damaged := strings.Replace(more, "\n", "\n*", 1)
		// Base64 text of five characters stands for no whole number of bytes.
		cut := "-----BEGIN CERTIFICATE-----\nAAAAA\n-----END CERTIFICATE-----\n"
		var odd strings.Builder
		plain := r.Start(t, otp.Options{EpmdPort: port, TLSOptFile: a.mutual(t, c)})
		noSequence, noSequenceAnswer := "", "pong"
		for _, o := range oddcerts.All(t) {
			if o.Name == "SAN that is no sequence" {
				noSequence = string(o.PEM())
			} else {
				odd.Write(o.PEM())
			}
			text := base64.StdEncoding.EncodeToString(o.DER)
			answer := plain.Eval(t, fmt.Sprintf("try public_key:pkix_decode_cert(base64:decode(%q), otp) "+
				"of _ -> reads catch _:_ -> skips end", text))
			require.Equal(t, slices.Contains(otpSkips(r), o.Name), answer == "skips", "%s: %s",
				o.Name, answer)
		}
		if r.Number > 27 { // these skip such a certificate, and all others of the file with it
			noSequenceAnswer = "pang"
		}
		for _, tt := range need.Sample(t, 4, []struct{ name, file, otp, ours, said string }{
			{"SAN that is no sequence", noSequence + good, noSequenceAnswer, "pong",
				"line 1: a certificate is skipped"},
			{"odd certificates before", odd.String() + good, "pong", "pong",
				"line 1: a certificate is skipped"},
			{"odd certificates behind", good + odd.String(), "pong", "pong",
				"a certificate is skipped"},
			{"no newline between", strings.TrimSpace(more) + good, "pang", "pong",
				"skipped by Erlang nodes"},
			{"a byte order mark", "\ufeff" + good + more, "pang", "pong",
				"skipped by Erlang nodes"},
			{"a stray character", damaged + good, "pong", "pong", "its base64 text is damaged"},
			{"a lost character", cut + good, "pang", "pong", "line 1: a certificate is skipped"},
			{"no END line", strings.Replace(more, "-----END CERTIFICATE-----", "", 1) + good,
				"pang", "pong",
				"it has no END line"},
			{"none left", odd.String(), "pang", "", "no certificate in it that can be read"},
		}) {
			t.Run(tt.name, func(t *testing.T) {
				ca := filepath.Join(a.dir, strings.ReplaceAll(tt.name, " ", "-")+".pem")
				require.NoError(t, os.WriteFile(ca, []byte(tt.file), 0o600))
				o := strings.Replace(a.options(c, "{verify,verify_peer}"), a.ca(), ca, 1)
				path := a.file(t, o+",{fail_if_no_peer_cert,true}", o)

				erl := r.Start(t, otp.Options{EpmdPort: port, TLSOptFile: path})
				n := startNode(t, port, fromFile(t, a.mutual(t, c), tlstransport.Options{}))
				require.Equal(t, tt.otp, erl.Eval(t, "net_adm:ping('"+n.Name()+"')"), "OTP")

				var said bytes.Buffer
				tr, err := tlstransport.FromOptFile(path,
					&tlstransport.Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})
				if tt.ours == "" {
					require.ErrorContains(t, err, tt.said)
					return
				}
				require.NoError(t, err)
				require.Contains(t, said.String(), tt.said)
				n = startNode(t, port, tr)
				require.Equal(t, tt.ours, plain.Eval(t, "net_adm:ping('"+n.Name()+"')"), "ours")
			})
		}
	})
}
