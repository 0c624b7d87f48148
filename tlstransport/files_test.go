package tlstransport

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/stretchr/testify/require"
)

// Replaced certificates are used from the next handshake on; a half-written file changes nothing.
func TestReplacedFilesAreReloaded(t *testing.T) {
	a, b := newAuthority(t, "the first authority"), newAuthority(t, "the second authority")
	dir := t.TempDir()
	ca, cert, key := a.files(t, dir, a.sign(t, want{name: "first"}))
	o := certOptions(ca, cert, key)
	w := optBench(t, optFile(t, dir, o+",{fail_if_no_peer_cert,true}", o), Options{})
	who := func() string {
		c, _ := w.talking()
		return c.peer.certificate.Subject.CommonName
	}
	require.Equal(t, "first", who())
	require.NoError(t, os.WriteFile(cert, []byte("-----BEGIN CERT"), 0o600))
	require.Equal(t, "first", who())
	b.files(t, dir, b.sign(t, want{name: "second"}))
	later := time.Now().Add(time.Minute) // so that the stamp is certainly different
	for _, f := range []string{ca, cert, key} {
		require.NoError(t, os.Chtimes(f, later, later))
	}
	require.Equal(t, "second", who())
}

// So are files that are replaced by others of the same length and time, as in a reproducible image.
func TestFilesOfTheSameTime(t *testing.T) {
	a, dir := newAuthority(t, "an authority"), t.TempDir()
	long := time.Unix(1, 0)
	put := func(name string) (certificate []byte) {
		c := a.sign(t, want{})
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		_, cert, key := a.files(t, filepath.Join(dir, name), c)
		for _, f := range []string{cert, key} { // text after the PEM blocks is ignored
			text := expect.NoError(os.ReadFile(f)).In(t)
			require.NoError(t, os.WriteFile(f, append(text, bytes.Repeat([]byte("\n"), 2000-len(text))...), 0o600))
			require.NoError(t, os.Chtimes(f, long, long))
		}
		return c.Certificate[0]
	}
	first, second := put("first"), put("second")
	current := filepath.Join(dir, "current")
	require.NoError(t, os.Symlink(filepath.Join(dir, "first"), current))
	_, cert, key := a.files(t, t.TempDir(), a.sign(t, want{})) // for their names
	cert, key = filepath.Join(current, filepath.Base(cert)), filepath.Join(current, filepath.Base(key))
	path := optFile(t, dir, `{certfile,"`+cert+`"},{keyfile,"`+key+`"}`, "")
	file := expect.NoError(readOptFile(path)).In(t)
	f := &fileRole{file: path, opts: file[server], role: server}
	require.NoError(t, f.load(slog.New(slog.DiscardHandler)))
	require.Equal(t, first, f.base.Certificates[0].Certificate[0])
	require.NoError(t, os.Remove(current))
	require.NoError(t, os.Symlink(filepath.Join(dir, "second"), current))
	f.renew(slog.New(slog.DiscardHandler), time.Now())
	require.Equal(t, second, f.base.Certificates[0].Certificate[0])
}

// Files that do not match each other are read once for each change, not for each connection; and
// again after tryAgain, since there may have been another reason.
func TestReloadFailsOnce(t *testing.T) {
	a, dir := newAuthority(t, "an authority"), t.TempDir()
	first := a.sign(t, want{name: "first"})
	ca, cert, key := a.files(t, dir, first)
	path := optFile(t, dir, certOptions(ca, cert, key), certOptions(ca, cert, key))
	file := expect.NoError(readOptFile(path)).In(t)
	f := &fileRole{file: path, opts: file[server], role: server}
	require.NoError(t, f.load(slog.New(slog.DiscardHandler)))

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

	// A file that is put back unchanged need not be read again.
	require.NoError(t, os.Rename(key, key+".new"))
	expect(1, 0)
	require.NoError(t, os.Rename(key+".new", key))
	expect(0, 0)
}

// Keys in every form that OpenSSL writes.
func TestKeyFiles(t *testing.T) {
	openssl := need.Program(t, "openssl")
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
				pair, _, _, err := readPair(certFiles{cert, key, "secret"})
				require.NoError(t, err)
				require.NotNil(t, pair.PrivateKey)
				if strings.Contains(args, "pass:") {
					_, _, _, err = readPair(certFiles{cert, key, "wrong"})
					require.ErrorContains(t, err, "wrong password")
					require.NotContains(t, err.Error(), "secret")
					_, _, _, err = readPair(certFiles{cert, key, ""})
					require.ErrorContains(t, err, "there is no password")
				}
			})
		}
	}
	// Forms that cannot be read are named in docs/reference/tls-options.md, and their algorithm in the
	// error.
	doc := expect.NoError(os.ReadFile("../docs/reference/tls-options.md")).In(t)
	for args, scheme := range map[string]string{"-v1 PBE-SHA1-3DES": "1.2.840.113549.1.12.1.3", "-scrypt": "1.3.6.1.4.1.11591.4.11"} {
		require.Contains(t, string(doc), strings.Fields(args)[0])
		_, cert, plain := a.files(t, dir, a.sign(t, want{}))
		key := filepath.Join(dir, "unread.key")
		f := append([]string{"pkcs8", "-topk8", "-in", plain, "-out", key, "-passout", "pass:secret"}, strings.Fields(args)...)
		out, err := exec.Command(openssl, f...).CombinedOutput()
		require.NoError(t, err, string(out))
		_, _, _, err = readPair(certFiles{cert, key, "secret"})
		require.ErrorContains(t, err, scheme+" is not supported")
	}
	_, cert, _ := a.files(t, dir, a.sign(t, want{}))
	_, _, _, err = readPair(certFiles{cert, cert, ""})
	require.ErrorContains(t, err, "no private key in it")
	_, _, other := a.files(t, t.TempDir(), a.sign(t, want{}))
	_, _, _, err = readPair(certFiles{cert, other, ""})
	require.ErrorContains(t, err, "is not that of the certificate")
	_, _, _, err = readPair(certFiles{filepath.Join(dir, "missing"), other, ""})
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A key that cannot be used says of which kind it is.
func TestKeysOfAnotherKind(t *testing.T) {
	a, dir := newAuthority(t, "an authority"), t.TempDir()
	_, cert, key := a.files(t, dir, a.sign(t, want{}))
	exchanges := expect.NoError(ecdh.X25519().GenerateKey(rand.Reader)).In(t)
	der := expect.NoError(x509.MarshalPKCS8PrivateKey(exchanges)).In(t)
	for _, tt := range []struct {
		kind string
		der  []byte
		err  string
	}{
		{"DSA PRIVATE KEY", der, `private keys of the kind "DSA PRIVATE KEY" are not supported`},
		{"PRIVATE KEY", der, "a *ecdh.PrivateKey cannot sign"},
	} {
		require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: tt.kind, Bytes: tt.der}), 0o600))
		_, _, option, err := readPair(certFiles{cert, key, ""})
		require.ErrorContains(t, err, key+": "+tt.err)
		require.Equal(t, "keyfile", option)
	}
}

// In a password that is a string each character is a byte, as in Erlang, not UTF-8.
func TestPasswordOfBytes(t *testing.T) {
	openssl := need.Program(t, "openssl")
	a, dir := newAuthority(t, "an authority"), t.TempDir()
	ca, cert, plain := a.files(t, dir, a.sign(t, want{}))
	pass, key := filepath.Join(dir, "pass"), filepath.Join(dir, "encrypted.key")
	require.NoError(t, os.WriteFile(pass, []byte("p\xe4ssword"), 0o600))
	out, err := exec.Command(openssl, "pkcs8", "-topk8", "-in", plain, "-out", key, "-passout", "file:"+pass).CombinedOutput()
	require.NoError(t, err, string(out))
	for _, password := range []string{`<<"p\344ssword">>`, `<<"pässword">>`, `"p\344ssword"`, `"pässword"`} {
		_, err := FromOptFile(optFile(t, dir, certOptions(ca, cert, key)+`,{password,`+password+`}`, ""), nil)
		require.NoError(t, err, password)
	}
	_, err = FromOptFile(optFile(t, dir, certOptions(ca, cert, key)+`,{password,"пароль"}`, ""), nil)
	require.ErrorContains(t, err, "has a character that is no byte")
}

// A file that cannot be used is reported with the option that names it.
func TestOptionOfABadFile(t *testing.T) {
	a, dir := newAuthority(t, "an authority"), t.TempDir()
	ca, cert, key := a.files(t, dir, a.sign(t, want{}))
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for _, tt := range []struct{ ca, cert, key, option string }{
		{ca, empty, key, "certfile"}, {ca, cert, empty, "keyfile"}, {ca, cert, cert, "keyfile"}, {empty, cert, key, "cacertfile"},
		{ca, key, key, "certfile"},
	} {
		path := optFile(t, dir, certOptions(tt.ca, tt.cert, tt.key), "")
		e := expect.As[*OptionError](t, expect.Err(FromOptFile(path, nil)))
		require.Equal(t, [3]string{path, "server", tt.option}, [3]string{e.File, e.Role, e.Option})
	}
	// The authorities complete our own chain even if peers are not verified.
	_, err := FromOptFile(optFile(t, dir, strings.Replace(certOptions(empty, cert, key), "verify_peer", "verify_none", 1), ""), nil)
	e := expect.As[*OptionError](t, err)
	require.Equal(t, "cacertfile", e.Option)
}

// A server tells its clients the names of its authorities, for which there is room for 64 KB. A
// client has no such limit.
func TestTooManyAuthorities(t *testing.T) {
	a, dir := newAuthority(t, "an authority"), t.TempDir()
	_, cert, key := a.files(t, dir, a.sign(t, want{}))
	all := [][]byte{a.cert.Raw}
	for i := range 16 {
		all = append(all, newAuthority(t, strings.Repeat(string(rune('a'+i)), 4000)).cert.Raw)
	}
	few, many := certOptions(bundle(t, dir, all...), cert, key), certOptions(bundle(t, dir, append(all, all[1])...), cert, key)
	_, err := FromOptFile(optFile(t, dir, many, few), nil)
	e := expect.As[*OptionError](t, err)
	require.Equal(t, "cacertfile", e.Option)
	require.ErrorContains(t, err, "names of 68")

	w := optBench(t, optFile(t, dir, few, many), Options{})
	w.talking()
}

// A peer without a certificate is refused if, and only if, the option file says so.
func TestFailIfNoPeerCert(t *testing.T) {
	t.Parallel() // it waits
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
			raw := expect.Open(net.Dial("tcp", w.at.String())).In(t)
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
				require.Equal(t, FailureNoCertificate, e.Failure)
			} else {
				require.NoError(t, err, tt.server)
				require.Equal(t, 1, n)
			}
			<-said // the write may have come before the refusal
		}
	}
}

// The suites of TLS 1.3 cannot be chosen in crypto/tls: what an option file with ciphers means if
// both nodes are of this package.
func TestCiphersBetweenOurs(t *testing.T) {
	t.Parallel() // it waits
	a, dir := newAuthority(t, "an authority"), t.TempDir()
	o := certOptions(a.files(t, dir, a.sign(t, want{})))
	for _, tt := range []struct {
		options string
		version uint16 // 0: no session, for crypto/tls does not choose TLS_AES_256_GCM_SHA384
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
		c, s := w.pair()
		if tt.version == 0 {
			<-c.over
			require.ErrorContains(t, c.failure, "is not among the option ciphers", tt.options)
			continue
		}
		exchange(t, ours{c}, ours{s}, 10)
		require.Equal(t, tt.version, c.own.in.suite.version, tt.options)
	}
}
