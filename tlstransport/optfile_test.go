package tlstransport

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/transporttest"
)

func TestParseTerm(t *testing.T) {
	for _, tt := range []struct{ in, out string }{
		{"[]", "[]"}, {" [ a , 'B c' , \"s\" ] . ", `[a,B c,"s"]`}, {"{server,[{depth,2}]}.", "{server,[{depth,2}]}"},
		{"% a comment\n{a,% another\n'tlsv1.3'}", "{a,tlsv1.3}"}, {`"a\"b\\\n\x41\x{42}\103"`, `"a\"b\\\nABC"`}, {`"a" "b"` + "\n" + `"c"`,
			`"abc"`},
		{`<<"bin">>`, `<<"bin">>`}, {`<<"é"/utf8>>`, `<<"é">>`}, {`<<97,98>>`, `<<"ab">>`}, {"<<>>", `<<"">>`}, {"-12", "-12"}, {"16#fF", "255"},
		{"388_736", "388736"}, {"-16#ff", "-255"}, {"+16#f_f", "255"}, {"2#11", "3"}, {"36#z", "35"}, {`""`, `""`},
		{`"\^A\^z\^[\^@\^\\\"`, `"\x01\x1a\x1b\x00\x1c\\"`},
		{"fun inet_tls_dist:verify_client/3", "fun inet_tls_dist:verify_client/3"}, {"#{a => 1, b => \"x\"}",
			"#{…}"}, {"#{}", "#{…}"},
	} {
		got, err := parseTerm(tt.in)
		require.NoError(t, err, tt.in)
		require.Equal(t, tt.out, show(got), tt.in)
	}
	for _, tt := range []struct{ in, err string }{
		{"", "line 1: a term is missing"}, {"[a", "line 1"}, {"[a,\n\nb c]", `line 3: "c]"`}, {`"abc`,
			`line 1: " is not closed`}, {"os:getenv(\"X\")", "line 1: os:getenv"},
		{"[{certfile,\nfilename:join(a,b)}]", "line 2: filename:join"}, {"Var", `"Var" is a variable`}, {"fun(X) -> X end",
			"fun Module:Name/Arity"},
		{"begin a end", `after the end of the term`}, {"[a|b]", "literals"}, {"1.5", "not an integer"}, {"a. b.",
			"after the end"}, {strings.Repeat("[", 100), "deeper"},
		{`<<"x":8>>`, "expected"}, {"<<255,256>>", "256 is not a byte"}, {"<<-1>>", "-1 is not a byte"}, {`<<"Ā">>`, "needs /utf8"},
		{"\"\xff\"", "UTF-8"}, {`"\x{110000}"`, "not a character"}, {"fun a:b/",
			"a number is missing"}, {"99999999999999999999", "not an integer"}, {"-", "not an integer"},
		{"1__0", "not an integer"}, {"16#_f", "not an integer"}, {"16_#f", "not an integer"}, {"1#0", "not a number"}, {"37#0", "not a number"}, {`"\x4`, "two digits are missing"}, {"1_", "not an integer"},
		{`"\^?"`, "no control character"}, {`"\^1"`, "no control character"}, {`"\^`, "no control character"},
		{"\"\"\"\nabc\n\"\"\"", "triple-quoted"}, {`"a" """b"`, "triple-quoted"},
	} {
		_, err := parseTerm(tt.in)
		require.ErrorContains(t, err, tt.err, tt.in)
	}
}

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
		{`[{client,[{crl_cache,{ssl_crl_cache,{internal,[{http,5000}]}}}]}]`, "crl_cache: only {ssl_crl_hash_dir,"},
		{`[{client,[{crl_cache,{ssl_crl_hash_dir,{internal,[{http,"d"}]}}}]}]`, "crl_cache: only"},
		{`[{client,[{server_name_indication,7}]}]`, "server_name_indication: "}, {`[{client,[{cacertfile,7}]}]`, "cacertfile: "},
		{`[{client,[{crl_cache,{ssl_crl_hash_dir,{internal,[]}}}]}]`, "crl_cache: only"}, {`[{client,[{crl_check,always}]}]`,
			"crl_check: always is none of"},
		{`[{client,[{crl_check,peer},{crl_cache,{ssl_crl_hash_dir,{internal,[{dir,"d"}]}}}]}]`,
			"crl_check needs {verify,verify_peer}"}, {`[{client,[{versions,['tlsv1.2','tlsv1.1']}]}]`, "versions: tlsv1.1 is not supported"},
		{`[{client,[{ciphers,["RC4"]}]}]`, "ciphers: RC4"}, {`[{client,[{ciphers,[{rsa,aes,sha}]}]}]`, "only names"},
		{`[{client,[{ciphers,"TLS_AES_256_GCM_SHA384:RC4"}]}]`, "ciphers: RC4"}, {`[{client,[{eccs,[sect163k1]}]}]`, "eccs: sect163k1"},
		{`[{client,[{verify,maybe}]}]`, "verify: maybe"}, {`[{client,[{verify,verify_peer}]}]`, "client: verify_peer needs cacertfile"},
		{`[{client,[{fail_if_no_peer_cert,maybe}]}]`, "neither true nor false"}, {`[{client,[{ktls,true}]}]`,
			"ktls: records are not left to the kernel"},
		{`[{client,[{verify_fun,{inet_tls_dist,verify_client,[]}}]}]`, "verify_fun"}, {`[{client,[{honor_cipher_order,maybe}]}]`,
			"honor_cipher_order: maybe"}, {`[{client,[{renegotiate_at,1000}]}]`, "renegotiate_at"},
		{`[{client,[{session_tickets,stateless}]}]`, "session_tickets: stateless cannot be honoured"}, {`[{client,[{keyfile,"k"}]}]`,
			"keyfile without certfile"}, {`[{client,[{password,"p"}]}]`, "password without certfile"},
		{`[{client,[{verify_fun,{fun my:own/3,[]}}]}]`, "verify_fun"}, {`[{client,[{depth,-1}]}]`,
			"depth: -1"}, {`[{client,[{certfile,[]}]}]`, "certfile: an empty path"},
		{`[{client,[{password,x}]}]`, "password: it is neither"}, {`[{client,[{certs_keys,[#{cert => <<>>}]}]}]`,
			"certs_keys: cert is not supported"},
		{`[{client,[{certs_keys,[#{certfile => "a"}]},{certfile,"b"}]}]`, "certs_keys stands beside certfile"},
		{`[{client,[{eccs,[secp384r1]},{supported_groups,[x25519]}]}]`, "eccs and supported_groups differ"},
		{`[{client,[{supported_groups,[x25519,secp384r1]},{eccs,[secp384r1]}]}]`, "eccs and supported_groups differ"},
		{`[{client,[{versions,['tlsv1.2']},{ciphers,["TLS_AES_128_GCM_SHA256"]}]}]`, "nothing can be spoken"},
		{`[{client,[{versions,['tlsv1.3']},{ciphers,["ECDHE-RSA-AES128-GCM-SHA256"]}]}]`, "nothing can be spoken"},
		{"[{client,[\n{certfile,os:getenv(\"CERT\")}]}]", "line 2: os:getenv"},
	} {
		_, err := parseOptFile(tt.in)
		require.ErrorContains(t, err, tt.err, tt.in)
	}
	for in, verifies := range map[string]bool{
		`[{client,[]}]`: false, `[{client,[{cacertfile,"a"}]}]`: true, `[{client,[{cacertfile,"a"},{verify,verify_none}]}]`: false,
		`[{server,[{certfile,"c"},{cacertfile,"a"}]}]`: false, `[{server,[{certfile,"c"},{cacertfile,"a"},{verify,verify_peer}]}]`: true,
	} {
		file, err := parseOptFile(in)
		require.NoError(t, err)
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
	file, err = parseOptFile(`[{client,[{ciphers,"TLS_AES_256_GCM_SHA384:ECDHE-RSA-AES128-GCM-SHA256"}]}]`)
	require.NoError(t, err)
	require.Equal(t, []uint16{tls.TLS_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, file[client].suites)
}

// Wherever the mistake is, no error tells a password.
func TestPasswordStaysUnsaid(t *testing.T) {
	ins := []string{`[{sever,[{password,"hush"}]}]`, `{server,[{password,"hush"}]}`}
	for _, option := range []string{
		`{password,"hush",x}`, `{"password","hush"}`, `{password,hush}`, `{password,<<"hush">>}`, `{password,["hush"]}`, `{password,{a,hush}}`,
		`{certs_keys,[[{password,"hush"}]]}`, `{certs_keys,{password,"hush"}}`, `{certs_keys,[#{password => hush}]}`,
		`{certs_keys,[#{password = "hush"}]}`, `{password,"x"hush"}`, `{password,"x}, hush"}`, `{password,Xhush}`, `{password,1hush}`,
		`{password,"x" ++ "hush"}`, `{password,hush("x")}`, `{password,os:getenv("hush")}`, "{password,\n  ?hush}", `{password,<<1 hush>>}`,
		`{password,"hush`,
	} {
		ins = append(ins, "[{client,["+option+"]}]")
	}
	for _, in := range ins {
		_, err := parseOptFile(in)
		require.Error(t, err, in)
		require.NotContains(t, err.Error(), "hush", in)
	}
}

// quote writes an Erlang string.
func optFile(t testing.TB, dir, server, client string) string {
	t.Helper()
	path := filepath.Join(dir, "ssl_dist.conf")
	require.NoError(t, os.WriteFile(path, []byte("[{server,["+server+"]},{client,["+client+"]}].\n"), 0o600))
	return path
}

func certOptions(ca, cert, key string) string {
	return `{cacertfile,"` + ca + `"},{certfile,"` + cert + `"},{keyfile,"` + key + `"},{verify,verify_peer}`
}

// What package documentation says of the options names each one that has a meaning.
func TestOptionsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	for name, set := range meanings() {
		if err := set(&roleOptions{}, server, nil); err != nil && strings.Contains(err.Error(), "inside the file are not supported") {
			continue
		}
		require.Regexp(t, `\b`+string(name)+`\b`, string(doc))
	}
}

func TestConformanceOptFile(t *testing.T) {
	a := newAuthority(t, "an authority")
	dir := t.TempDir()
	o := certOptions(a.files(t, dir, a.sign(t, want{})))
	tr, err := FromOptFile(optFile(t, dir, o+",{fail_if_no_peer_cert,true},{key_update_at,50000}", o), Options{})
	require.NoError(t, err)
	transporttest.Run(t, func() (transport.Transport, transport.Addr, error) { return tr, loopback(t), nil })
}

// pairOf makes the callbacks of an option file, and a listener over them.
func optBench(t testing.TB, path string, o Options) *workbench {
	t.Helper()
	cb, err := OptFileCallbacks(path, o)
	require.NoError(t, err)
	l, err := cb.Socket(nil, loopback(t))
	require.NoError(t, err)
	at, err := cb.Listen(l, loopback(t), 100)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cb.Close(l)) })
	return &workbench{t, cb, l, at}
}

// Certificates that are replaced are taken up with the next handshake; a half-written one changes nothing.
func TestReload(t *testing.T) {
	a, b := newAuthority(t, "the first authority"), newAuthority(t, "the second authority")
	dir := t.TempDir()
	ca, cert, key := a.files(t, dir, a.sign(t, want{name: "first"}))
	o := certOptions(ca, cert, key)
	w := optBench(t, optFile(t, dir, o+",{fail_if_no_peer_cert,true}", o), Options{})
	who := func() string {
		c, s := w.pair()
		exchange(t, ours{c}, ours{s}, 10)
		name := c.peer.certificate.Subject.CommonName
		require.NoError(t, w.cb.Close(c))
		require.NoError(t, w.cb.Close(s))
		return name
	}
	require.Equal(t, "first", who())
	require.NoError(t, os.WriteFile(cert, []byte("-----BEGIN CERT"), 0o600))
	require.Equal(t, "first", who())
	b.files(t, dir, b.sign(t, want{name: "second"}))
	later := time.Now().Add(time.Minute) // as sure as can be that the stamp is another
	for _, f := range []string{ca, cert, key} {
		require.NoError(t, os.Chtimes(f, later, later))
	}
	require.Equal(t, "second", who())
}

// Files that do not fit each other are read once for each change of theirs, not for everybody who connects; and now and then, for the
// reason may have been another one.
func TestReloadFailsOnce(t *testing.T) {
	a, dir := newAuthority(t, "an authority"), t.TempDir()
	first := a.sign(t, want{name: "first"})
	ca, cert, key := a.files(t, dir, first)
	path := optFile(t, dir, certOptions(ca, cert, key), certOptions(ca, cert, key))
	file, err := readOptFile(path)
	require.NoError(t, err)
	f := &fileRole{file: path, opts: file[server], role: server}
	require.NoError(t, f.load())

	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	now := time.Now()
	expect := func(errors, news int) {
		t.Helper()
		said.Reset()
		for range 3 {
			f.renew(log, now)
		}
		require.Equal(t, errors, strings.Count(said.String(), "level=ERROR"), said.String())
		require.Equal(t, news, strings.Count(said.String(), "level=INFO"), said.String())
	}
	stamp := func(path string, ahead time.Duration) {
		require.NoError(t, os.Chtimes(path, now.Add(ahead), now.Add(ahead)))
	}
	expect(0, 0)
	second := a.sign(t, want{name: "second"})
	require.NoError(t, os.Rename(key, key+".old"))
	a.files(t, dir, second)
	require.NoError(t, os.Rename(key, key+".new"))
	require.NoError(t, os.Rename(key+".old", key))
	stamp(cert, time.Minute)
	expect(1, 0)
	now = now.Add(tryAgain - 1)
	expect(0, 0)
	now = now.Add(1)
	expect(1, 0)
	stamp(key, 2*time.Minute)
	expect(1, 0)
	require.NoError(t, os.Remove(key))
	expect(1, 0)
	require.NoError(t, os.Rename(key+".new", key))
	stamp(key, 3*time.Minute)
	expect(0, 1)
	require.Equal(t, second.Certificate[0], f.base.Certificates[0].Certificate[0])

	// What comes back as it was needs no change to be read.
	require.NoError(t, os.Rename(key, key+".new"))
	expect(1, 0)
	require.NoError(t, os.Rename(key+".new", key))
	expect(0, 0)
}

// An option file that lets anybody in is taken, with a warning.
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
		_, err := FromOptFile(optFile(t, dir, tt.server, tt.client), Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})
		require.NoError(t, err)
		require.Contains(t, said.String(), tt.said)
		require.Equal(t, tt.said != "", strings.Count(said.String(), "level=WARN") == 1, said.String())
	}
	path := optFile(t, dir, o+",{fail_if_no_peer_cert,true},{verify_fun,{inet_tls_dist,verify_client,[]}}", o)
	var said bytes.Buffer
	_, err := FromOptFile(path, Options{Logger: slog.New(slog.NewTextHandler(&said, nil)), Checks: []PeerCheck{HostInCertificate}})
	require.NoError(t, err)
	require.Empty(t, said.String())
}

// Who shows no certificate is refused where the file says so, and only there.
func TestFailIfNoPeerCert(t *testing.T) {
	a, dir := newAuthority(t, "an authority"), t.TempDir()
	o := certOptions(a.files(t, dir, a.sign(t, want{})))
	for _, tt := range []struct {
		server  string
		refused bool
	}{
		{o + ",{fail_if_no_peer_cert,true}", true},
		{o + ",{fail_if_no_peer_cert,false}", false},
		{o, false},
		{strings.Replace(o, "verify_peer", "verify_none", 1), false},
	} {
		w := optBench(t, optFile(t, dir, tt.server, o), Options{})
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			raw, err := net.Dial("tcp", w.at.String())
			require.NoError(t, err)
			said := make(chan error, 1)
			go func() {
				_, err := tls.Client(raw, restrict(&tls.Config{InsecureSkipVerify: true}, version, 0)).Write([]byte("x"))
				said <- err
			}()
			s := w.accept()
			n, err := s.read(make([]byte, 1), tooLong)
			if tt.refused {
				var e *PeerError
				require.ErrorAs(t, err, &e, tt.server)
				require.Equal(t, CheckNoCertificate, e.Check)
			} else {
				require.NoError(t, err, tt.server)
				require.Equal(t, 1, n)
			}
			<-said // that may have been before the refusal
			require.NoError(t, raw.Close())
			require.NoError(t, w.cb.Close(s))
		}
	}
}

// A role that an option file leaves out is named, when it is read and when it is wanted.
func TestOptFileWithoutClient(t *testing.T) {
	a, dir := newAuthority(t, "an authority"), t.TempDir()
	o := certOptions(a.files(t, dir, a.sign(t, want{})))
	path := filepath.Join(dir, "server.conf")
	require.NoError(t, os.WriteFile(path, []byte("[{server,["+o+",{fail_if_no_peer_cert,true}]}]."), 0o600))
	var said bytes.Buffer
	tr, err := FromOptFile(path, Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})
	require.NoError(t, err)
	require.Contains(t, said.String(), "{client,[…]} is not there")
	_, err = tr.Connect(t.Context(), loopback(t))
	require.ErrorContains(t, err, "no {client,[…]} in the option file")
}

// Suites of TLS 1.3 cannot be chosen in crypto/tls. What that means for an option file, whose two sides are both ours.
func TestCiphersBetweenOurs(t *testing.T) {
	a, dir := newAuthority(t, "an authority"), t.TempDir()
	o := certOptions(a.files(t, dir, a.sign(t, want{})))
	for _, tt := range []struct {
		options string
		version uint16 // 0: no session can be relied upon
		warning string
	}{
		{`{versions,['tlsv1.3','tlsv1.2']}`, tls.VersionTLS13, ""},
		{`{versions,['tlsv1.2']}`, tls.VersionTLS12, ""},
		{`{ciphers,["TLS_AES_256_GCM_SHA384","ECDHE-ECDSA-AES256-GCM-SHA384"]}`, tls.VersionTLS12, "TLS 1.3 is not spoken"},
		{`{ciphers,["ECDHE-ECDSA-AES256-GCM-SHA384"]}`, tls.VersionTLS12, ""},
		{`{ciphers,["TLS_AES_256_GCM_SHA384","ECDHE-ECDSA-AES256-GCM-SHA384"]},{versions,['tlsv1.2']}`, tls.VersionTLS12, ""},
		{`{ciphers,["TLS_AES_256_GCM_SHA384","TLS_AES_128_GCM_SHA256","TLS_CHACHA20_POLY1305_SHA256"]}`, tls.VersionTLS13, ""},
		{`{ciphers,["TLS_AES_256_GCM_SHA384"]}`, 0, "cannot connect to each other"},
		{`{ciphers,["TLS_AES_256_GCM_SHA384","ECDHE-ECDSA-AES256-GCM-SHA384"]},{versions,['tlsv1.3']}`, 0, "cannot connect to each other"},
	} {
		var said bytes.Buffer
		both := o + "," + tt.options
		w := optBench(t, optFile(t, dir, both+",{fail_if_no_peer_cert,true}", both),
			Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})
		require.Equal(t, tt.warning != "", said.Len() > 0, said.String())
		require.Contains(t, said.String(), tt.warning)
		if tt.version == 0 {
			continue
		}
		c, s := w.pair()
		exchange(t, ours{c}, ours{s}, 10)
		require.Equal(t, tt.version, c.own.in.suite.version, tt.options)
		require.NoError(t, w.cb.Close(c))
		require.NoError(t, w.cb.Close(s))
	}
}

// Keys in every form that OpenSSL writes.
func TestKeyFiles(t *testing.T) {
	openssl := openSSL(t)
	a := newAuthority(t, "an authority")
	dir := t.TempDir()
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for name, w := range map[string]want{"rsa": {key: rsaKey(t)}, "ec": {key: ecKey(t)}, "ed25519": {key: edKey}} {
		_, cert, plain := a.files(t, dir, a.sign(t, w))
		for _, args := range []string{
			"pkcs8 -topk8 -nocrypt", "pkcs8 -topk8 -passout pass:secret", "pkcs8 -topk8 -v2 aes-128-cbc -v2prf hmacWithSHA1 -passout pass:secret",
			"pkcs8 -topk8 -v2 des3 -passout pass:secret", "pkcs8 -topk8 -v2 aes192 -v2prf hmacWithSHA512 -iter 1000 -passout pass:secret",
			"rsa -traditional", "rsa -traditional -aes256 -passout pass:secret", "ec", "ec -aes128 -passout pass:secret", "ec -param_enc explicit",
		} {
			f := strings.Fields(args)
			if (f[0] == "rsa" || f[0] == "ec") && f[0] != name || strings.Contains(args, "explicit") {
				continue
			}
			t.Run(name+" "+args, func(t *testing.T) {
				key := filepath.Join(dir, "converted.key")
				out, err := exec.Command(openssl, append(f, "-in", plain, "-out", key)...).CombinedOutput()
				require.NoError(t, err, string(out))
				pair, _, err := readPair(certFiles{cert, key, "secret"})
				require.NoError(t, err)
				require.NotNil(t, pair.PrivateKey)
				if strings.Contains(args, "pass:") {
					_, _, err = readPair(certFiles{cert, key, "wrong"})
					require.ErrorContains(t, err, "wrong password")
					require.NotContains(t, err.Error(), "secret")
					_, _, err = readPair(certFiles{cert, key, ""})
					require.ErrorContains(t, err, "there is no password")
				}
			})
		}
	}
	// Those that are not read are named in package documentation, and their algorithm in the error.
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	for args, scheme := range map[string]string{"-v1 PBE-SHA1-3DES": "1.2.840.113549.1.12.1.3", "-scrypt": "1.3.6.1.4.1.11591.4.11"} {
		require.Contains(t, string(doc), strings.Fields(args)[0])
		_, cert, plain := a.files(t, dir, a.sign(t, want{}))
		key := filepath.Join(dir, "unread.key")
		f := append([]string{"pkcs8", "-topk8", "-in", plain, "-out", key, "-passout", "pass:secret"}, strings.Fields(args)...)
		out, err := exec.Command(openssl, f...).CombinedOutput()
		require.NoError(t, err, string(out))
		_, _, err = readPair(certFiles{cert, key, "secret"})
		require.ErrorContains(t, err, scheme+" is not supported")
	}
	_, cert, _ := a.files(t, dir, a.sign(t, want{}))
	_, _, err = readPair(certFiles{cert, cert, ""})
	require.ErrorContains(t, err, "no private key in it")
	_, _, other := a.files(t, t.TempDir(), a.sign(t, want{}))
	_, _, err = readPair(certFiles{cert, other, ""})
	require.ErrorContains(t, err, "is not that of the certificate")
	_, _, err = readPair(certFiles{filepath.Join(dir, "missing"), other, ""})
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A file that cannot be used is told with the option that names it.
func TestOptionOfABadFile(t *testing.T) {
	a, dir := newAuthority(t, "an authority"), t.TempDir()
	ca, cert, key := a.files(t, dir, a.sign(t, want{}))
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for _, tt := range []struct{ ca, cert, key, option string }{
		{ca, empty, key, "certfile"}, {ca, cert, empty, "keyfile"}, {ca, cert, cert, "keyfile"}, {empty, cert, key, "cacertfile"},
	} {
		path := optFile(t, dir, certOptions(tt.ca, tt.cert, tt.key), "")
		_, err := FromOptFile(path, Options{})
		var e *OptionError
		require.ErrorAs(t, err, &e)
		require.Equal(t, [3]string{path, "server", tt.option}, [3]string{e.File, e.Role, e.Option})
	}
	// The authorities complete our own chain where peers are not verified.
	_, err := FromOptFile(optFile(t, dir, strings.Replace(certOptions(empty, cert, key), "verify_peer", "verify_none", 1), ""), Options{})
	var e *OptionError
	require.ErrorAs(t, err, &e)
	require.Equal(t, "cacertfile", e.Option)
}

// Who keeps sessions with crypto/tls cannot have their keys changed.
func TestKeyUpdateWithPlain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ssl_dist.conf")
	require.NoError(t, os.WriteFile(path, []byte("[{client,[{key_update_at,1000}]}]."), 0o600))
	_, err := FromOptFile(path, Options{})
	require.NoError(t, err)
	_, err = FromOptFile(path, Options{Plain: true})
	var e *OptionError
	require.ErrorAs(t, err, &e)
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
