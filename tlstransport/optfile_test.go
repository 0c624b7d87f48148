package tlstransport

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/transporttest"
)

func TestParseOptFile(t *testing.T) {
	file, err := parseOptFile(`[{server,[{certfile,"c.pem"},{keyfile,<<"k.pem">>},{password,"secret"},
		{cacertfile,"ca.pem"},{verify,verify_peer},
		fail_if_no_peer_cert,{depth,3},{versions,['tlsv1.3','tlsv1.2']},{secure_renegotiate,true},{reuse_sessions,true},{dhfile,"dh.pem"},
		{hibernate_after,5000},{verify_fun,{fun inet_tls_dist:verify_client/3,[]}},{crl_check,false}]},
		{client,[{certs_keys,[#{certfile => "a"},#{certfile => "b",keyfile => "c",password => "d"}]},{eccs,[secp256r1,x25519]},
		{ciphers,["ECDHE-RSA-AES128-GCM-SHA256","TLS_AES_256_GCM_SHA384",
		"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384","ECDHE-RSA-CHACHA20-POLY1305"]},
		{server_name_indication,"other"},{key_update_at,1000}]}].`)
	require.NoError(t, err)
	require.Equal(t, &roleOptions{
		certs: []certFiles{{"c.pem", "k.pem", "secret"}}, cacert: "ca.pem", verify: true, require: true, verifyFun: true, depth: 3,
		versions: []uint16{tls.VersionTLS13, tls.VersionTLS12},
	}, file[server])
	require.Equal(t, &roleOptions{
		certs: []certFiles{{"a", "a", ""}, {"b", "c", "d"}}, depth: defaultDepth, groups: []tls.CurveID{tls.CurveP256, tls.X25519},
		suites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256},
		serverName: "other", keyUpdateAt: 1000,
	}, file[client])
	for _, tt := range []struct{ in, err string }{
		{`{server,[]}`, "is not a list"}, {`[]`, "neither server nor client"}, {`[{sever,[]}]`, "{sever,…} is neither"}, {`[{server,x}]`,
			"not a list"},
		{`[{client,[]},{client,[]}]`, "client is there twice"}, {`[{server,[]}]`, "server: certfile is missing"},
		{`[{client,[{certfile,"a"},{certfile,"b"}]}]`, "client: certfile: it is given twice"}, {`[{client,[{no_such_option,1}]}]`,
			"client: no_such_option: this option is not known"},
		{`[{client,[{a,b,c}]}]`, "{a,…}: it is not of the form"}, {`[{client,[{crl_check,true},{cacertfile,"a"}]}]`,
			"crl_check needs {crl_cache,"},
		{`[{client,[{crl_cache,{ssl_crl_cache,{internal,[{http,5000}]}}},{crl_check,peer},{verify,verify_peer},{cacertfile,"a"}]}]`,
			"crl_check needs {crl_cache,{ssl_crl_hash_dir,"},
		{`[{client,[{crl_cache,{ssl_crl_hash_dir,{internal,[{http,"d"}]}}}]}]`, "crl_cache: only"},
		{`[{client,[{server_name_indication,7}]}]`, "server_name_indication: "}, {`[{client,[{cacertfile,7}]}]`, "cacertfile: "},
		{`[{client,[{crl_cache,{ssl_crl_hash_dir,{internal,[]}}}]}]`, "crl_cache: only"}, {`[{client,[{crl_check,always}]}]`,
			"crl_check: always is none of"},
		{`[{client,[{crl_check,peer},{crl_cache,{ssl_crl_hash_dir,{internal,[{dir,"d"}]}}}]}]`,
			"crl_check needs {verify,verify_peer}"}, {`[{client,[{versions,[tlsv1,'tlsv1.1']}]}]`,
			"versions: tlsv1 is not supported"},
		{`[{client,[{versions,['tlsv1.2',sslv3]}]}]`, "versions: sslv3 is no version"},
		{`[{client,[{ciphers,["RC4"]}]}]`, "ciphers: RC4"},
		{`[{client,[{ciphers,[{rsa,aes,sha}]}]}]`,
			"ciphers: TLS_RSA_WITH_AES_SHA is not supported"},
		{`[{client,[{ciphers,[7]}]}]`, "ciphers: 7 is no cipher suite"},
		{`[{client,[{ciphers,[{rsa,aes}]}]}]`, "is no cipher suite"},
		{`[{client,[{ciphers,"AES:RC4"}]}]`, "ciphers: AES is not supported"},
		{`[{client,[{eccs,[sect163k1]}]}]`, "eccs: sect163k1"},
		{`[{client,[{verify,maybe}]}]`, "verify: maybe"}, {`[{client,[{verify,verify_peer}]}]`, "client: verify_peer needs cacertfile"},
		{`[{client,[{fail_if_no_peer_cert,maybe}]}]`, "neither true nor false"}, {`[{client,[{ktls,true}]}]`,
			"ktls: records are not left to the kernel"},
		{`[{client,[{verify_fun,{inet_tls_dist,verify_client,[]}}]}]`, "verify_fun"},
		{`[{client,[{renegotiate_at,x}]}]`, "renegotiate_at: x is not a number"},
		{`[{client,[{handshake,hello}]}]`,
			"handshake: hello cannot be honoured"},
		{`[{client,[{stapling,staple}]}]`, "stapling: staple cannot"},
		{`[{client,[{cert_policy_opts,[{policy_set,[]}]}]}]`,
			"cert_policy_opts: policies"},
		{`[{server,[{sni_hosts,[{"a",[]}]}]}]`, "sni_hosts: a server has the same"},
		{`[{client,[{protocol,dtls}]}]`, "protocol: dtls"},
		{`[{client,[{cb_info,{a,b,c,d}}]}]`, "cb_info: the sockets are"},
		{`[{client,[{partial_chain,{fun a:b/1,c}}]}]`, "partial_chain: only"},
		{`[{client,[{early_data,<<"x">>}]}]`, "early_data: "},
		{`[{client,[{signature_algs,[eddsa_ed448]}]}]`,
			"signature_algs: eddsa_ed448 is not supported"},
		{`[{client,[{signature_algs,[]}]}]`, "signature_algs: [] is not a list"},
		{`[{client,[{signature_algs_cert,[7]}]}]`,
			"signature_algs_cert: 7 is no signature scheme"},
		{`[{client,[{signature_algs,[{sha,dsa}]}]}]`, "is not supported"},
		{`[{client,[{signature_algs,[{a,b}]}]}]`, "is no signature scheme"},
		{`[{client,[{certificate_authorities,x}]}]`, "neither true nor false"},
		{`[{client,[{keep_secrets,{keylog,fun a:b/1}}]}]`, "keep_secrets: "},
		{`[{server,[{certfile,"c"},{customize_hostname_check,[]}]}]`,
			"customize_hostname_check: this is an option for clients"},
		{`[{client,[{customize_hostname_check,[{match_fun,fun a:b/2}]}]}]`, "can be honoured"},
		{`[{client,[{customize_hostname_check,[{match_fun,public_key:pkix_verify_hostname_match_fun(ldap)}]}]}]`,
			"line 1, column 59: no literal term"},
		{`[{client,[{customize_hostname_check,[{match_fun,other:pkix_verify_hostname_match_fun(https)}]}]}]`,
			"line 1, column 54: no literal term"},
		{`[{client,[{keyfile,"k"}]}]`,
			"keyfile without certfile"}, {`[{client,[{password,"p"}]}]`, "password without certfile"},
		{`[{client,[{verify_fun,{fun my:own/3,[]}}]}]`, "verify_fun"}, {`[{client,[{depth,-1}]}]`,
			"depth: -1"}, {`[{client,[{certfile,[]}]}]`, "certfile: an empty path"},
		{`[{client,[{password,x}]}]`, "password: it is neither"}, {`[{client,[{certs_keys,[#{cert => <<>>}]}]}]`,
			"certs_keys: cert is not supported"},
		{`[{client,[{eccs,[secp384r1]},{supported_groups,[x25519]}]}]`,
			"supported_groups: eccs and supported_groups have no group in common"},
		{`[{client,[{versions,['tlsv1.2']},{ciphers,["TLS_AES_128_GCM_SHA256"]}]}]`, "no session would be possible"},
		{`[{client,[{versions,['tlsv1.3']},{ciphers,["ECDHE-RSA-AES128-GCM-SHA256"]}]}]`, "no session would be possible"},
		{`[{server,[{certfile,"c"},{fail_if_no_peer_cert,true}]}]`, "fail_if_no_peer_cert needs"},
		{`[{server,[{certfile,"c"},{server_name_indication,"x"}]}]`, "server_name_indication: this is an option for clients"},
		{`[{client,[{key_update_at,0}]}]`, "key_update_at: "},
		{`[{client,[{renegotiate_at,0},{versions,['tlsv1.3']}]}]`, "renegotiate_at: "},
		{`[{client,[{certs_keys,[#{keyfile => "k"}]}]}]`, "certs_keys: certfile is missing"},
		{`[{client,[{crl_cache,{ssl_crl_hash_dir,{internal,[{dir,"d"},{dir,"e"}]}}}]}]`, "crl_cache: only"},
		{`[{client,[{crl_cache,{ssl_crl_hash_dir}}]}]`, "crl_cache: only"},
		{`[{client,[{crl_cache,{other,{internal,[{dir,"d"}]}}}]}]`, "crl_cache: only"},
		{`[{client,[{crl_cache,{ssl_crl_hash_dir,{internal,[{dir,7}]}}}]}]`, "crl_cache: "},
		{`[{client,[{crl_cache,{ssl_crl_hash_dir,{internal}}}]}]`, "crl_cache: only"},
		{`[{client,[{crl_cache,{ssl_crl_hash_dir,{internal,[{dir}]}}}]}]`, "crl_cache: only"},
		{`[{client,[{crl_cache,x}]}]`, "crl_cache: only"}, {`[{client,[{crl_cache,{ssl_crl_hash_dir,x}}]}]`, "crl_cache: only"},
		{`[{client,[{crl_cache,{ssl_crl_hash_dir,{internal,x}}}]}]`, "crl_cache: only"},
		{`[{client,[{crl_cache,{ssl_crl_hash_dir,{internal,[x]}}}]}]`, "crl_cache: only"},
		{`[{client,[{ciphers,["AES-128-GCM-SHA256"]}]}]`, "ciphers: AES-128-GCM-SHA256"},
		{`[{client,[{ciphers,["AES128-GCM-SHA256"]},{versions,['tlsv1.3']}]}]`, "no session would be possible"},
		{`[{server}]`, "{server} is neither"}, {`[{client,[],x}]`, "{client,…} is neither"},
		{`[{client,[{versions,[]}]}]`, "versions: [] is not a list of them"}, {`[{client,[{eccs,[]}]}]`, "eccs: [] is not a list of them"},
		{`[{client,[{depth,x}]}]`, "depth: x is not a number"}, {`[{client,[{certs_keys,[#{certfile => "c",keyfile => 7}]}]}]`, "certs_keys: 7"},
		{`[{server,[{certfile,"c"},{verify_fun,{other,verify_client,[]}}]}]`, "verify_fun"},
		{`[{server,[{certfile,"c"},{verify_fun,{inet_tls_dist,other,[]}}]}]`, "verify_fun"},
		{`[{server,[{certfile,"c"},{verify_fun,{fun other:verify_client/3,[]}}]}]`, "verify_fun"},
		{"[{client,[\n{certfile,os:getenv(\"CERT\")}]}]", "line 2, column 13: no literal term"},
	} {
		require.ErrorContains(t, expect.Err(parseOptFile(tt.in)), tt.err, tt.in)
	}
	for in, verifies := range map[string]bool{
		`[{client,[]}]`: false, `[{client,[{cacertfile,"a"}]}]`: true, `[{client,[{cacertfile,"a"},{verify,verify_none}]}]`: false,
		`[{server,[{certfile,"c"},{cacertfile,"a"}]}]`: false, `[{server,[{certfile,"c"},{cacertfile,"a"},{verify,verify_peer}]}]`: true,
	} {
		file := expect.NoError(parseOptFile(in)).In(t)
		for _, o := range file {
			require.Equal(t, verifies, o.verify, in)
		}
	}
	for _, in := range []string{
		`[{client,[{renegotiate_at,1000},{versions,['tlsv1.3']}]}]`,
		`[{client,[{client_renegotiation,false},{log_level,notice},{log_alert,false}]}]`,
		`[{client,[{eccs,[secp384r1,x25519]},{supported_groups,[x25519,secp384r1]}]}]`,
		`[{server,[{certfile,"c"},{honor_cipher_order,true},{honor_ecc_order,false},{ktls,false}]}]`,
		`[{server,[{certfile,"c"},{honor_cipher_order,false},{honor_ecc_order,true}]}]`,
		`[{server,[{certfile,"c"},{verify_fun,{inet_tls_dist,verify_client,[]}}]}]`,
		`[{client,[{fail_if_no_peer_cert,true}]}]`,
	} {
		_, err = parseOptFile(in)
		require.NoError(t, err)
	}
	file = expect.NoError(parseOptFile(`[{server,[{certfile,"c"},{supported_groups,[x25519]}]}]`)).In(t)
	require.Equal(t, &roleOptions{certs: []certFiles{{"c", "c", ""}}, depth: defaultDepth, groups: []tls.CurveID{tls.X25519}}, file[server])
	file, err = parseOptFile(`[{client,[{ciphers,"TLS_AES_256_GCM_SHA384:ECDHE-RSA-AES128-GCM-SHA256"}]}]`)
	require.NoError(t, err)
	require.Equal(t, []uint16{tls.TLS_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, file[client].suites)
}

// What OTP takes and has no effect here is taken, too, so that one file serves both kinds of nodes.
// What is narrower here, or missing, is said.
func TestOptionsOfBoth(t *testing.T) {
	for _, option := range []string{
		"{nodelay,true}", "{nodelay,false}", "{keepalive,true}", "{sndbuf,100000}", "{recbuf,1}",
		"{buffer,1}", "{linger,{true,1}}",
		"{send_timeout,5000}", "{sender_spawn_opts,[{fullsweep_after,20}]}",
		"{receiver_spawn_opts,[]}", "{session_tickets,auto}",
		"{session_tickets,disabled}", `{use_ticket,[<<"x">>]}`, "{reuse_session,undefined}",
		"{middlebox_comp_mode,false}", "{handshake,full}",
		"{max_handshake_size,100}", "{max_fragment_length,4096}",
		`{alpn_advertised_protocols,[<<"x">>]}`,
		`{client_preferred_next_protocols,{client,[<<"x">>]}}`, "{customize_hostname_check,[]}",
		"{certificate_authorities,true}",
		"{stapling,no_staple}", "{ocsp_stapling,false}", "{cert_policy_opts,[]}",
		"{allow_any_ca_purpose,true}", "{fallback,false}",
		`{psk_identity,"x"}`, `{srp_identity,{"a","b"}}`, "{user_lookup_fun,{fun a:b/3,x}}",
		"{keep_secrets,true}", "{protocol,tls}",
		"{log_level,debug}", "{partial_chain,undefined}", "{sni_hosts,[]}", "{ciphers,[]}",
		"{depth,1},{depth,1}",
		"{crl_cache,{ssl_crl_cache,{internal,[{http,5000}]}}}",
		"{signature_algs,[ecdsa_secp256r1_sha256,rsa_pss_rsae_sha256,{sha256,rsa}]}",
		"{customize_hostname_check,[{match_fun,\npublic_key: pkix_verify_hostname_match_fun (\nhttps)}]}",
	} {
		file, err := parseOptFile("[{client,[" + option + "]}]")
		require.NoError(t, err, option)
		require.Empty(t, file[client].remarks, option)
	}
	for _, tt := range []struct{ option, remark string }{
		{"{versions,['tlsv1.2','tlsv1.1',tlsv1]}",
			"versions: of this list, crypto/tls does not have tlsv1.1, tlsv1"},
		{`{ciphers,"TLS_AES_256_GCM_SHA384:DHE-RSA-AES256-SHA"}`,
			`ciphers: of this list, crypto/tls does not have "DHE-RSA-AES256-SHA"`},
		{"{eccs,[x448,secp256r1]}", "does not have x448"},
		{"{supported_groups,[x25519,ffdhe2048]}", "does not have ffdhe2048"},
		{"{signature_algs,[eddsa_ed448,eddsa_ed25519]}", "does not have eddsa_ed448"},
		{"{signature_algs_cert,[rsa_pkcs1_sha1,rsa_pkcs1_sha256]}", "does not have rsa_pkcs1_sha1"},
		{"{supported_groups,[x25519,secp384r1]},{eccs,[secp384r1]}", "of what both have"},
		{`{certs_keys,[#{certfile => "a"}]},{certfile,"b"}`, "are ignored, as in Erlang"},
		{"{renegotiate_at,1000}", "never renegotiated here"},
		{"{renegotiate_at,1000},{versions,['tlsv1.2']}", "never renegotiated here"},
	} {
		file, err := parseOptFile("[{client,[" + tt.option + "]}]")
		require.NoError(t, err, tt.option)
		require.Len(t, file[client].remarks, 1, tt.option)
		require.Contains(t, file[client].remarks[0].text, tt.remark)
	}
	file, err := parseOptFile(`[{client,[{supported_groups,[x25519,secp384r1]},{eccs,[secp384r1]},{ciphers,[
		#{key_exchange => any,cipher => aes_256_gcm,mac => aead,prf => sha384},{ecdhe_rsa,aes_128_gcm,null,sha256},{ecdhe_ecdsa,aes_128_cbc,sha},
		#{key_exchange => ecdhe_ecdsa,cipher => chacha20_poly1305,mac => aead,prf => sha256}]},
		{certs_keys,[#{certfile => "a"}]},{certfile,"b"}]}]`)
	require.NoError(t, err)
	require.Equal(t, []tls.CurveID{tls.CurveP384}, file[client].groups)
	require.Equal(t, []certFiles{{"a", "a", ""}}, file[client].certs)
	require.Equal(t, []uint16{tls.TLS_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}, file[client].suites)
}

// A remark is logged when the transport is made, with the file and the role.
func TestRemarksAreSaid(t *testing.T) {
	a, dir := newAuthority(t, "an authority"), t.TempDir()
	o := certOptions(a.files(t, dir, a.sign(t, want{})))
	var said bytes.Buffer
	path := optFile(t, dir, o+",{fail_if_no_peer_cert,true}", o+",{versions,['tlsv1.2','tlsv1.1']}")
	require.NoError(t, expect.Err(FromOptFile(path, &Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})))
	require.Equal(t, 1, strings.Count(said.String(), "\n"), &said)
	require.Contains(t, said.String(), "level=INFO")
	require.Contains(t, said.String(), "role=client")
}

// Wherever the mistake is, the error does not show a password.
func TestPasswordStaysUnsaid(t *testing.T) {
	ins := []string{`[{sever,[{password,"hush"}]}]`, `{server,[{password,"hush"}]}`}
	for _, option := range []string{
		`{password,"hush",x}`, `{"password","hush"}`, `{password,hush}`, `{password,<<"hush">>}`, `{password,["hush"]}`, `{password,{a,hush}}`,
		`{certs_keys,[[{password,"hush"}]]}`, `{certs_keys,{password,"hush"}}`, `{certs_keys,[#{password => hush}]}`,
		`{certs_keys,[#{password = "hush"}]}`, `{password,"x"hush"}`, `{password,"x}, hush"}`, `{password,Xhush}`, `{password,1hush}`,
		`{password,"\x{hush}"}`, `{password,"\x{hush"}`, `{password,<<"\x{hush}"/utf8>>}`, `{password,<<404>>}`,
		`{password,"x" ++ "hush"}`, `{password,hush("x")}`, `{password,os:getenv("hush")}`, "{password,\n  ?hush}", `{password,<<1 hush>>}`,
		`{password,"hush`, `{password,"` + strings.Repeat("x", 1024) + `" ++ "hush"}`,
		`{password,"` + strings.Repeat("x", 5000) + `" ++ "hush"}`, `{srp_identity,{"x","x" ++ "hush"}}`,
		`{key,hush()}`, `{password,'hush`, `{certs_keys,[#{password => "x",password => "hush"}]}`,
		`{verify,#{password => "hush"}}`, `{depth,[{password,"hush"}]}`, `{versions,{password,"hush"}}`,
	} {
		ins = append(ins, "[{client,["+option+"]}]")
	}
	for _, in := range ins {
		_, err := parseOptFile(in)
		require.Error(t, err, in)
		require.NotContains(t, err.Error(), "hush", in)
		require.NotContains(t, err.Error(), "404", in)
		require.NotErrorAs(t, err, new(*ei.TextError), in) // which quotes the text
	}
}

// optFile writes an option file with these options for each role.
func optFile(t testing.TB, dir, server, client string) string {
	t.Helper()
	path := filepath.Join(dir, "ssl_dist.conf")
	// a backslash in a string is an escape
	said := filepath.ToSlash("[{server,[" + server + "]},{client,[" + client + "]}].\n")
	require.NoError(t, os.WriteFile(path, []byte(said), 0o600))
	return path
}

func certOptions(ca, cert, key string) string {
	return `{cacertfile,"` + ca + `"},{certfile,"` + cert + `"},{keyfile,"` + key + `"},{verify,verify_peer}`
}

// docs/reference/tls-options.md names each option that has a meaning.
func TestOptionsAreDocumented(t *testing.T) {
	doc := expect.NoError(os.ReadFile("../docs/reference/tls-options.md")).In(t)
	for name, set := range meanings() {
		if err := set(&roleOptions{}, server, nil); err != nil && strings.Contains(err.Error(), "inside the file are not supported") {
			continue
		}
		require.Regexp(t, `\b`+string(name)+`\b`, string(doc))
	}
}

func TestConformanceOptFile(t *testing.T) {
	t.Parallel() // it waits
	a := newAuthority(t, "an authority")
	dir := t.TempDir()
	o := certOptions(a.files(t, dir, a.sign(t, want{})))
	tr, err := FromOptFile(optFile(t, dir, o+",{fail_if_no_peer_cert,true},{key_update_at,50000}", o),
		&Options{HandshakeTimeout: tooLong})
	require.NoError(t, err)
	transporttest.Run(t, func() (transport.Transport, transport.Addr, error) { return tr, loopback(t), nil })
}

// optBench makes the callbacks of an option file, and a listener over them.
func optBench(t testing.TB, path string, o Options) *workbench {
	t.Helper()
	o.HandshakeTimeout = cmp.Or(o.HandshakeTimeout, tooLong)
	cb := expect.NoError(OptFileCallbacks(path, &o)).In(t)
	return benchOf(t, cb)
}

// An option file that lets anybody in is accepted, with a warning.
func TestOpenDoorsAreSaid(t *testing.T) {
	a, dir := newAuthority(t, "an authority"), t.TempDir()
	o := certOptions(a.files(t, dir, a.sign(t, want{})))
	for _, tt := range []struct{ server, client, said string }{
		{o + ",{fail_if_no_peer_cert,true}", o, ""},
		{o, o, "without a certificate are accepted"},
		{o + ",{fail_if_no_peer_cert,false}", o, "without a certificate are accepted"},
		{strings.Replace(o, "verify_peer", "verify_none", 1), o, "are not verified"},
		{o + ",{fail_if_no_peer_cert,true}", strings.Replace(o, "verify_peer", "verify_none", 1), "are not verified"},
		{o + ",{fail_if_no_peer_cert,true}", o + ",{fail_if_no_peer_cert,true}", "is an option for servers"},
		{o + ",{fail_if_no_peer_cert,true}", o + ",{server_name_indication,disable}", "the host in a server's certificate is not checked"},
		{o + ",{fail_if_no_peer_cert,true}", o + `,{server_name_indication,"elsewhere"}`, "must be for elsewhere"},
		{
			o + ",{fail_if_no_peer_cert,true}", strings.Replace(o, "verify_peer", "verify_none", 1) + ",{server_name_indication,disable}",
			"are not verified",
		},
		{o + ",{fail_if_no_peer_cert,true},{verify_fun,{fun inet_tls_dist:verify_client/3,[]}}", o, "verify_fun has no effect"},
	} {
		var said bytes.Buffer
		_, err := FromOptFile(optFile(t, dir, tt.server, tt.client), &Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})
		require.NoError(t, err)
		require.Contains(t, said.String(), tt.said)
		require.Equal(t, tt.said != "", strings.Count(said.String(), "level=WARN") == 1, said.String())
	}
	path := optFile(t, dir, o+",{fail_if_no_peer_cert,true},{verify_fun,{inet_tls_dist,verify_client,[]}}", o)
	var said bytes.Buffer
	_, err := FromOptFile(path, &Options{Logger: slog.New(slog.NewTextHandler(&said, nil)), Checks: []PeerCheck{HostInCertificate}})
	require.NoError(t, err)
	require.Empty(t, said.String())
}

// An error of the option file itself names the file.
func TestErrorNamesTheOptionFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ssl_dist.conf")
	require.ErrorIs(t, expect.Err(FromOptFile(path, nil)), os.ErrNotExist)
	for _, tt := range []struct{ text, role, option, err string }{
		{"\nx y", "", "", "line 2"},
		{"[{client,[{depth,x}]}].", "client", "depth", "depth: x is not a number"},
		{strings.Repeat(" ", maxOptFile+1), "", "", "larger than"},
	} {
		require.NoError(t, os.WriteFile(path, []byte(tt.text), 0o600))
		_, err := FromOptFile(path, nil)
		e := expect.As[*OptionError](t, err)
		require.ErrorContains(t, err, tt.err)
		require.Equal(t, [3]string{path, tt.role, tt.option}, [3]string{e.File, e.Role, e.Option})
	}
}

// A role that is missing in an option file is named when the file is read, and when the role is
// needed.
func TestOptFileWithoutClient(t *testing.T) {
	a, dir := newAuthority(t, "an authority"), t.TempDir()
	o := certOptions(a.files(t, dir, a.sign(t, want{})))
	path := filepath.Join(dir, "server.conf")
	require.NoError(t, os.WriteFile(path, []byte("[{server,["+o+",{fail_if_no_peer_cert,true}]}]."), 0o600))
	var said bytes.Buffer
	tr := expect.NoError(FromOptFile(path, &Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})).In(t)
	require.Contains(t, said.String(), "{client,[…]} is not there")
	require.ErrorContains(t, expect.Err(tr.Connect(t.Context(), loopback(t))), "no {client,[…]} in the option file")
}

// The keys of sessions that stay with crypto/tls cannot be changed.
func TestKeyUpdateWithPlain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ssl_dist.conf")
	require.NoError(t, os.WriteFile(path, []byte("[{client,[{key_update_at,1000}]}]."), 0o600))
	require.NoError(t, expect.Err(FromOptFile(path, nil)))
	e := expect.As[*OptionError](t, expect.Err(FromOptFile(path, &Options{Plain: true})))
	require.Equal(t, [3]string{path, "client", "key_update_at"}, [3]string{e.File, e.Role, e.Option})
}

func FuzzOptFile(f *testing.F) {
	f.Add(`[{server,[{certfile,"c.pem"},{verify,verify_peer},{cacertfile,<<"ca">>}]},{client,[]}].`)
	f.Add(`[{client,[{certs_keys,[#{certfile => "a"}]},{eccs,[x25519]},{depth,16#f},{verify_fun,{fun a:b/3,[]}}]}]`)
	f.Add("%\n[\"\\x{41}\\101\" \"b\"]")
	f.Fuzz(func(t *testing.T, s string) {
		term, err := parseTerm(s)
		if err == nil {
			_ = show(term)
		}
		_, _ = parseOptFile(s)
	})
}
