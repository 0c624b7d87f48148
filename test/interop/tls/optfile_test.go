package tls

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

// fromFile makes the transport of an option file.
func fromFile(t testing.TB, path string, o tlstransport.Options) transport.Transport {
	t.Helper()
	if o.HandshakeTimeout == 0 {
		o.HandshakeTimeout = otp.HandshakeTime
	}
	tr, err := tlstransport.FromOptFile(path, &o)
	require.NoError(t, err)
	return tr
}

// One option file serves both sides, whatever is in it: with certificates of both or of the server
// only, verified or not, and with every cipher suite for which we have records of our own.
func TestOneFileForBoth(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		a := newAuthority(t)
		c := a.sign(t, want{})
		const verified, not = "{verify,verify_peer}", "{verify,verify_none}"
		sockets := []string{
			"{nodelay,true}", "{keepalive,true}", "{sndbuf,100000}", "{recbuf,100000}",
			"{high_watermark,100000}", "{linger,{false,0}}",
			"{sender_spawn_opts,[{fullsweep_after,20}]}",
			"{receiver_spawn_opts,[{fullsweep_after,20}]}", "{max_handshake_size,100000}",
		}
		lacking := []string{
			"{versions,['tlsv1.2']}", `{ciphers,["ECDHE-ECDSA-AES256-GCM-SHA384","DHE-RSA-AES256-SHA"]}`, "{eccs,[secp256r1,brainpoolP256r1]}",
		}
		signs := []string{"{signature_algs,[ecdsa_secp256r1_sha256,rsa_pss_rsae_sha256]}",
			"{signature_algs_cert,[ecdsa_secp256r1_sha256]}"}
		// In Erlang, names allow what they name in TLS 1.3 only, and pairs in TLS 1.2 only.
		signs12 := []string{"{signature_algs,[{sha256,ecdsa},{sha256,rsa}]}"}
		for _, tt := range need.Sample(t, 6, []struct{ name, server, client string }{
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
			{"sockets and processes", a.options(c, sockets...), a.options(c, sockets...)},
			{"an old version beside a new one", a.options(c, "{versions,['tlsv1.2','tlsv1.1']}"),
				not + ",{versions,['tlsv1.2','tlsv1.1']}"},
			{"suites and groups that we lack", a.options(c, lacking...),
				strings.Join(append(lacking, not), ",")},
			{"signature algorithms, TLS 1.2", a.options(c, append(signs12, "{versions,['tlsv1.2']}",
				verified)...),
				a.options(c, append(signs12, "{versions,['tlsv1.2']}", verified)...)},
			{"signature algorithms, TLS 1.3", a.options(c, append(signs, "{versions,['tlsv1.3']}",
				verified)...),
				a.options(c, append(signs, "{versions,['tlsv1.3']}", verified)...)},
			{"no compatibility with middleboxes", a.options(c, "{versions,['tlsv1.3']}",
				"{middlebox_comp_mode,false}"),
				not + ",{versions,['tlsv1.3']},{middlebox_comp_mode,false}"},
			{"authorities not told", // in TLS 1.2 two nodes of OTP 25 do not connect with it
				a.options(c, verified, "{fail_if_no_peer_cert,true}",
					"{certificate_authorities,false}", "{versions,['tlsv1.3']}"),
				a.options(c, verified, "{certificate_authorities,true}", "{versions,['tlsv1.3']}")},
			{"what has no meaning here", a.options(c, "{secure_renegotiate,true}", "{reuse_sessions,true}", "{hibernate_after,1000}",
				"{verify,verify_peer}", "{verify_fun,{fun inet_tls_dist:verify_client/3,[]}}"), a.options(c)},
		}) {
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
		for _, suite := range need.Sample(t, 1, []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}) {
			t.Run(suite, func(t *testing.T) {
				erl := r.Start(t, otp.Options{TLSOptFile: a.mutual(t, c, "{versions,['tlsv1.3']}", `{ciphers,["`+suite+`"]}`)})
				talk(t, erl, ours)
			})
		}
	})
}

// Names with a * match hosts with customize_hostname_check, and only then, in both kinds of nodes.
func TestWildcards(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		a := newAuthority(t)
		c := a.sign(t, want{host: "*ost"})
		port := r.Epmd(t)
		local := func(cfg *nodes.Config) {
			cfg.Name = strings.Replace(cfg.Name, "127.0.0.1",
				"localhost", 1)
		}
		const verified = "{verify,verify_peer}"
		for _, tt := range []struct{ option, answer string }{
			{"{customize_hostname_check,[]}", "pang"},
			{"{customize_hostname_check,[{match_fun,public_key:pkix_verify_hostname_match_fun(https)}]}", "pong"},
		} {
			path := a.file(t, a.options(c, verified, "{fail_if_no_peer_cert,true}"), a.options(c,
				verified, tt.option))
			erl := r.Start(t, otp.Options{EpmdPort: port, Short: true, TLSOptFile: path})
			n := startNode(t, port, fromFile(t, path, tlstransport.Options{}), local)
			_, err := n.Connect(background(t), erl.Name())
			if tt.answer == "pong" {
				require.NoError(t, err)
			} else {
				var e *tlstransport.PeerError
				require.ErrorAs(t, err, &e)
				require.Equal(t, tlstransport.FailureHost, e.Failure, e)
			}
			n = startNode(t, port, fromFile(t, path, tlstransport.Options{}), local)
			require.Equal(t, tt.answer, erl.Eval(t, "net_adm:ping('"+n.Name()+"')"))
		}
	})
}
