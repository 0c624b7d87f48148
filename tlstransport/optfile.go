package tlstransport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cnode-go/cnode/transport"
)

// An OptionError reports an option of an option file that cannot be honoured.
type OptionError struct {
	File   string // its path
	Role   string // "server" or "client"; empty: the error is about the file itself
	Option string // its name; empty: the error is about the list, or the file
	Err    error  // why
}

// Error names the file, the role, the option and the reason.
func (e *OptionError) Error() string {
	s := "option file " + e.File
	if e.Role != "" {
		s += ": " + e.Role
	}
	if e.Option != "" {
		s += ": " + e.Option
	}
	return s + ": " + e.Err.Error()
}

// Unwrap gives the reason.
func (e *OptionError) Unwrap() error { return e.Err }

// FromOptFile makes the TLS transport from an ssl_dist_optfile, the file that erl -proto_dist inet_tls takes: a list of the options of both
// roles, [{server,[…]},{client,[…]}]. A role that is missing can have no connections; erl would use it without options. The file is read
// once; the certificates and keys that it names are read again when they have changed. An option that cannot be honoured is an *OptionError
// that names it.
func FromOptFile(path string, o Options) (transport.Transport, error) {
	cb, err := OptFileCallbacks(path, o)
	if err != nil {
		return nil, err
	}
	return transport.New(cb, nil)
}

// OptFileCallbacks is FromOptFile that returns the plug-in itself, to be wrapped with other callbacks.
func OptFileCallbacks(path string, o Options) (transport.Callbacks[*Socket], error) {
	var none transport.Callbacks[*Socket]
	file, err := readOptFile(path)
	if err != nil {
		return none, err
	}
	src := &files{log: o.logger(), roles: map[role]*fileRole{}}
	if file[client] == nil { // erl of OTP 25 would connect, and verify no server
		src.log.Warn("no TLS connection can be made: {client,[…]} is not there; add it if this node is to connect to others", "file", path)
	}
	has := map[role]bool{}
	for r, opts := range file {
		f := &fileRole{file: path, opts: opts, role: r}
		if err := f.load(src.log); err != nil {
			return none, err
		}
		src.roles[r], has[r] = f, true
		if _, _, caveat := opts.spoken(); caveat != "" {
			src.log.Warn(caveat, "file", path, "role", r.String())
		}
		if opts.stray {
			src.log.Warn("fail_if_no_peer_cert is an option for servers: clients of OTP 25 and of this package ignore it, those of OTP 27 do not "+
				"connect with it; leave it out of {client,[…]}", "file", path)
		}
		if warning := opts.open(r); warning != "" {
			src.log.Warn(warning, "file", path, "role", r.String())
		}
		if opts.verifyFun && len(o.Checks) == 0 {
			src.log.Warn("verify_fun has no effect here, so any node whose certificate is of the right authority may connect: set Options.Checks "+
				"to HostInCertificate and AllowedNodes, which do what it asks for", "file", path)
		}
	}
	cb, p, err := build(src, has, o)
	if err != nil {
		return none, err
	}
	for r, opts := range file {
		switch {
		case opts.keyUpdateAt == 0:
		case p.plain:
			return none, src.roles[r].wrong("key_update_at", errors.New("with Options.Plain, or GODEBUG=fips140=only, crypto/tls has the keys, "+
				"and never changes them"))
		case o.KeyUpdateBytes == 0:
			p.updateBytes[r] = opts.keyUpdateAt
		}
	}
	return cb, nil
}

// certFiles are where a certificate and its key are.
type certFiles struct{ cert, key, password string }

// roleOptions are one role's options.
type roleOptions struct {
	certs       []certFiles
	cacert      string
	verify      bool
	require     bool // fail_if_no_peer_cert
	stray       bool // fail_if_no_peer_cert is given for a client
	verifyFun   bool // verify_fun is given
	depth       int
	versions    []uint16
	suites      []uint16 // of both versions; nil: any
	groups      []tls.CurveID
	serverName  string // instead of the host of the peer's node name
	noName      bool   // server_name_indication is disable
	keyUpdateAt uint64
	crl         revocation
}

// open returns a warning if the options admit peers that an operator may not expect, and says how to refuse them.
func (o *roleOptions) open(r role) (warning string) {
	switch {
	case !o.verify:
		return "TLS certificates of peers are not verified: set {verify,verify_peer}, and {cacertfile,FILE} to verify them against"
	case r == server && !o.require:
		return "TLS peers without a certificate are accepted: set {fail_if_no_peer_cert,true} to refuse them"
	case r == client && o.noName:
		return "the host in a server's certificate is not checked, for server_name_indication is disable: leave that out to have it " +
			"checked, as OTP 25 does even so"
	case r == client && o.serverName != "":
		return "every server's certificate must be for " + o.serverName + ", not for its own host, as server_name_indication says: " +
			"leave that out to have its own host checked, as OTP 25 does even so"
	}
	return ""
}

// defaultDepth is OTP's.
const defaultDepth = 10

func readOptFile(path string) (map[role]*roleOptions, error) {
	b, err := readUpTo(path, maxOptFile)
	if err == nil && len(b) > maxOptFile {
		err = fmt.Errorf("larger than %d bytes", maxOptFile)
	}
	if err != nil {
		return nil, &OptionError{File: path, Err: err}
	}
	file, err := parseOptFile(string(b))
	if err != nil {
		var e *OptionError
		if !errors.As(err, &e) {
			e = &OptionError{Err: err}
		}
		e.File = path
		return nil, e
	}
	return file, nil
}

// parseOptFile reads the text of an option file.
func parseOptFile(s string) (map[role]*roleOptions, error) {
	t, err := parseTerm(s)
	if err != nil {
		return nil, err
	}
	top, ok := t.(list)
	if !ok {
		return nil, fmt.Errorf("%s is not a list [{server,[…]},{client,[…]}]", outline(t))
	}
	file := map[role]*roleOptions{}
	for _, e := range top {
		section, ok := e.(tuple)
		if !ok || len(section) != 2 || section[0] != any(atom("server")) && section[0] != any(atom("client")) {
			return nil, fmt.Errorf("%s is neither {server,[…]} nor {client,[…]}", outline(e))
		}
		r := server
		if section[0] == any(atom("client")) {
			r = client
		}
		options, ok := section[1].(list)
		if !ok {
			return nil, fmt.Errorf("the options of %s are not a list", section[0])
		}
		if file[r] != nil {
			return nil, fmt.Errorf("%s is there twice", section[0])
		}
		if file[r], err = parseRole(r, options); err != nil {
			return nil, err
		}
	}
	if len(file) == 0 {
		return nil, errors.New("neither server nor client options")
	}
	return file, nil
}

func parseRole(r role, options list) (*roleOptions, error) {
	o := &roleOptions{depth: defaultDepth}
	known := meanings()
	given := map[atom]any{}
	wrong := func(name string, err error) error { return &OptionError{Role: r.String(), Option: name, Err: err} }
	for _, e := range options {
		name, value, err := option(e)
		if err != nil {
			return nil, wrong(outline(e), err)
		}
		if _, twice := given[name]; twice {
			return nil, wrong(string(name), errors.New("it is given twice"))
		}
		given[name] = value
		set := known[name]
		if set == nil {
			return nil, wrong(string(name), errors.New("this option is not known here"))
		}
		if err := set(o, r, value); err != nil {
			return nil, wrong(string(name), err)
		}
	}
	if err := o.whole(r, given); err != nil {
		return nil, &OptionError{Role: r.String(), Err: err}
	}
	return o, nil
}

// option takes {Name, Value}, or Name alone, which is {Name, true}.
func option(e any) (atom, any, error) {
	switch e := e.(type) {
	case atom:
		return e, atom("true"), nil
	case tuple:
		if len(e) == 2 {
			if name, ok := e[0].(atom); ok {
				return name, e[1], nil
			}
		}
	}
	return "", nil, errors.New("it is not of the form {Name, Value}")
}

// whole checks options that need each other.
func (o *roleOptions) whole(r role, given map[atom]any) error {
	// certfile, keyfile and password are parts of one certificate.
	if c, ok := given["certfile"]; ok {
		f := certFiles{}
		f.cert, _ = path(c)
		f.key, _ = path(given["keyfile"])
		if f.key == "" {
			f.key = f.cert
		}
		f.password, _ = passwordOf(given["password"])
		if len(o.certs) > 0 {
			return errors.New("certs_keys and certfile are both given: keep only one")
		}
		o.certs = append(o.certs, f)
	} else {
		for _, name := range []atom{"keyfile", "password"} {
			if _, ok := given[name]; ok {
				return fmt.Errorf("%s without certfile", name)
			}
		}
	}
	// Without the option, clients of OTP 26 and later verify, and those of OTP 25 do not. A cacertfile is taken as a wish to verify.
	if _, ok := given["verify"]; !ok && r == client && o.cacert != "" {
		o.verify = true
	}
	tls12 := o.versions == nil || slices.Contains(o.versions, tls.VersionTLS12)
	_, renegotiates := given["renegotiate_at"]
	spoken, _, _ := o.spoken()
	switch {
	case given["eccs"] != nil && given["supported_groups"] != nil && !sameGroups(given["eccs"], given["supported_groups"]):
		return errors.New("eccs and supported_groups differ: here they are one list, for TLS 1.2 and 1.3")
	case spoken == 0:
		return errors.New("no suite of ciphers belongs to a version of versions: no session would be possible")
	case r == server && len(o.certs) == 0:
		return errors.New("certfile is missing")
	case o.verify && o.cacert == "":
		return errors.New("verify_peer needs cacertfile")
	case o.require && !o.verify:
		return errors.New("fail_if_no_peer_cert needs {verify,verify_peer}")
	case o.crl.check != crlNone && !o.verify:
		return errors.New("crl_check needs {verify,verify_peer}")
	case o.crl.check != crlNone && o.crl.dir == "":
		return errors.New("crl_check needs {crl_cache,{ssl_crl_hash_dir,{internal,[{dir,DIR}]}}}: a node that is no BEAM has no cache of " +
			"lists to insert into")
	case renegotiates && tls12:
		return errors.New("renegotiate_at: TLS 1.2 is never renegotiated here; {versions,['tlsv1.3']} has no need for it")
	}
	return nil
}

// A meaning puts the value of an option into effect, or says why it cannot.
type meaning func(o *roleOptions, r role, v any) error

// nothing is the meaning of an option that has no effect if its value is one of values; other values are refused.
func nothing(values ...atom) meaning {
	return func(_ *roleOptions, _ role, v any) error {
		if a, ok := v.(atom); ok && slices.Contains(values, a) {
			return nil
		}
		return fmt.Errorf("%s cannot be honoured", show(v))
	}
}

func unsupported(why string) meaning {
	return func(*roleOptions, role, any) error { return errors.New(why) }
}

func boolean(v any) (bool, error) {
	switch v {
	case any(atom("true")):
		return true, nil
	case any(atom("false")):
		return false, nil
	}
	return false, fmt.Errorf("%s is neither true nor false", show(v))
}

func path(v any) (string, error) {
	s, err := plainText(v)
	if err == nil && s == "" {
		err = errors.New("an empty path")
	}
	return s, err
}

// passwordOf reads a password. In a string each character is a byte, as in Erlang.
func passwordOf(v any) (string, error) {
	chars, ok := v.(text)
	if !ok {
		s, err := plainText(v)
		if err != nil {
			err = errors.New("is neither a string nor a binary") // the error must not show the password
		}
		return s, err
	}
	var b []byte
	for _, r := range string(chars) {
		if r > 0xff {
			return "", errors.New("has a character that is no byte: write it as a binary, <<\"…\"/utf8>>")
		}
		b = append(b, byte(r))
	}
	return string(b), nil
}

// plainText reads a string or a binary.
func plainText(v any) (string, error) {
	switch v := v.(type) {
	case text:
		return string(v), nil
	case bytestring:
		return string(v), nil
	case list:
		if len(v) == 0 {
			return "", nil
		}
	}
	return "", fmt.Errorf("%s is neither a string nor a binary", show(v))
}

func number(v any, least int64) (int64, error) {
	n, ok := v.(int64)
	if !ok || n < least {
		return 0, fmt.Errorf("%s is not a number from %d on", show(v), least)
	}
	return n, nil
}

// versionOf reads a TLS version.
func versionOf(v any) (uint16, error) {
	switch v {
	case any(atom("tlsv1.3")):
		return tls.VersionTLS13, nil
	case any(atom("tlsv1.2")):
		return tls.VersionTLS12, nil
	}
	return 0, fmt.Errorf("%s is not supported, only 'tlsv1.2' and 'tlsv1.3' are", show(v))
}

// groupOf reads the name of a key exchange group of crypto/tls.
func groupOf(v any) (tls.CurveID, error) {
	switch v {
	case any(atom("x25519")):
		return tls.X25519, nil
	case any(atom("secp256r1")), any(atom("prime256v1")):
		return tls.CurveP256, nil
	case any(atom("secp384r1")):
		return tls.CurveP384, nil
	case any(atom("secp521r1")):
		return tls.CurveP521, nil
	case any(atom("x25519mlkem768")):
		return tls.X25519MLKEM768, nil
	}
	return 0, fmt.Errorf("%s is not supported", show(v))
}

// sameGroups compares values of eccs and supported_groups, without their order, which crypto/tls ignores.
func sameGroups(a, b any) bool {
	one, _ := each(a, groupOf)
	other, _ := each(b, groupOf)
	slices.Sort(one)
	slices.Sort(other)
	return slices.Equal(slices.Compact(one), slices.Compact(other))
}

// suiteNamed finds a cipher suite by its name in the standards or in OpenSSL: Erlang uses both.
func suiteNamed(v any) (uint16, error) {
	name, err := plainText(v)
	if err != nil {
		return 0, fmt.Errorf("%s: only names of suites are read here", show(v))
	}
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if s.Name == name || openSSLName(s.Name) == name {
			return s.ID, nil
		}
	}
	return 0, fmt.Errorf("%s is not supported", name)
}

// split makes a list of the names in a string of OpenSSL's form, "A:B"; other values stay as they are.
func split(v any) any {
	s, ok := v.(text)
	if !ok {
		return v
	}
	var names list
	for name := range strings.SplitSeq(string(s), ":") {
		names = append(names, text(name))
	}
	return names
}

// openSSLName turns TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 into ECDHE-RSA-AES128-GCM-SHA256.
func openSSLName(name string) string {
	name, ok := strings.CutPrefix(name, "TLS_")
	if !ok || !strings.Contains(name, "_WITH_") {
		return "" // suites of TLS 1.3 have the same name in OpenSSL
	}
	name = strings.TrimPrefix(strings.ReplaceAll(name, "_WITH_", "_"), "RSA_") // OpenSSL does not name RSA key exchange
	if strings.Contains(name, "POLY1305") {
		name = strings.TrimSuffix(name, "_SHA256")
	}
	name = strings.NewReplacer("AES_128_CBC", "AES128", "AES_256_CBC", "AES256", "AES_128", "AES128", "AES_256", "AES256").Replace(name)
	return strings.ReplaceAll(name, "_", "-")
}

// each applies of to every element of a list, which must not be empty.
func each[T any](v any, of func(any) (T, error)) ([]T, error) {
	l, ok := v.(list)
	if !ok || len(l) == 0 {
		return nil, fmt.Errorf("%s is not a list of them", outline(v))
	}
	var all []T
	for _, e := range l {
		x, err := of(e)
		if err != nil {
			return nil, err
		}
		all = append(all, x)
	}
	return all, nil
}
