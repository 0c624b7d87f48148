package tls

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/test/otp"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

// fromFile makes the transport of an option file.
func fromFile(t testing.TB, path string, o tlstransport.Options) transport.Transport {
	t.Helper()
	if o.HandshakeTimeout == 0 {
		o.HandshakeTimeout = otp.HandshakeTime
	}
	tr, err := tlstransport.FromOptFile(path, o)
	require.NoError(t, err)
	return tr
}

// One option file serves both sides, whatever is in it: with certificates of both or of the server only, verified or not, and with every
// cipher suite for which we have records of our own.
func TestOneFileForBoth(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		a := newAuthority(t)
		c := a.sign(t, want{})
		const verified, not = "{verify,verify_peer}", "{verify,verify_none}"
		for _, tt := range []struct{ name, server, client string }{
			{"nothing verified", a.options(c), not},
			{"mutual", a.options(c, verified, "{fail_if_no_peer_cert,true}"), a.options(c, verified)},
			{"server's certificate only, verified", a.options(c), a.options(c, verified)},
			{"client without a certificate", a.options(c, verified, "{fail_if_no_peer_cert,false}"), not},
			{"TLS 1.2", a.options(c, "{versions,['tlsv1.2']}"), not + ",{versions,['tlsv1.2']}"},
			{"TLS 1.3", a.options(c, "{versions,['tlsv1.3']}"), not + ",{versions,['tlsv1.3']}"},
			{"TLS 1.2 AES-256", a.options(c, "{versions,['tlsv1.2']}", `{ciphers,["ECDHE-ECDSA-AES256-GCM-SHA384"]}`), not +
				",{versions,['tlsv1.2']}"},
			{"TLS 1.2 ChaCha20", a.options(c, "{versions,['tlsv1.2']}", `{ciphers,["ECDHE-ECDSA-CHACHA20-POLY1305"]}`), not +
				",{versions,['tlsv1.2']}"},
			{"TLS 1.2 CBC", a.options(c, "{versions,['tlsv1.2']}", `{ciphers,["ECDHE-ECDSA-AES128-SHA"]}`),
				not + `,{versions,['tlsv1.2']},{ciphers,["ECDHE-ECDSA-AES128-SHA"]}`},
			{"group", a.options(c, "{versions,['tlsv1.3']}", "{supported_groups,[secp384r1]}"), not +
				",{versions,['tlsv1.3']},{supported_groups,[secp384r1]}"},
			{"what has no meaning here", a.options(c, "{secure_renegotiate,true}", "{reuse_sessions,true}", "{hibernate_after,1000}",
				"{verify,verify_peer}", "{verify_fun,{fun inet_tls_dist:verify_client/3,[]}}"), a.options(c)},
		} {
			t.Run(tt.name, func(t *testing.T) {
				path := a.file(t, tt.server, tt.client)
				erl := r.Start(t, otp.Options{TLSOptFile: path})
				talk(t, erl, path)
			})
		}
	})
}

// talk connects both ways and sends something large.
func talk(t *testing.T, erl *otp.Node, path string) {
	t.Helper()
	for _, theyConnect := range []bool{true, false} {
		n := startNode(t, erl.EpmdPort(), fromFile(t, path, tlstransport.Options{}))
		if theyConnect {
			require.Equal(t, "pong", erl.Eval(t, "net_adm:ping('"+n.Name()+"')"))
		}
		b := ei.Binary(make([]byte, 300_000))
		got, err := n.RPC(background(t), erl.Name(), "binary", "copy", b)
		require.NoError(t, err)
		require.True(t, ei.Identical(b, got))
	}
}

// The cipher suites of TLS 1.3, which cannot be chosen in Go, are chosen on the Erlang side.
func TestSuitesOf13(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		a := newAuthority(t)
		c := a.sign(t, want{})
		ours := a.mutual(t, c)
		for _, suite := range []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"} {
			t.Run(suite, func(t *testing.T) {
				erl := r.Start(t, otp.Options{TLSOptFile: a.mutual(t, c, "{versions,['tlsv1.3']}", `{ciphers,["`+suite+`"]}`)})
				talk(t, erl, ours)
			})
		}
	})
}
