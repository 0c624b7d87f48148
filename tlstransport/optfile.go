package tlstransport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/cnode-go/cnode/ei"
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

// FromOptFile makes the TLS transport from an ssl_dist_optfile, the file that erl -proto_dist
// inet_tls takes: a list of the options of both roles, [{server,[…]},{client,[…]}]. A role that is
// missing can have no connections; erl would use it without options. The file is read once; the
// certificates and keys that it names are read again when they have changed. Nil options are
// the defaults. An option that cannot be honoured is an *OptionError that names it.
func FromOptFile(path string, options *Options) (transport.Transport, error) {
	cb, err := OptFileCallbacks(path, options)
	if err != nil {
		return nil, err
	}
	return transport.New(cb, nil)
}

// OptFileCallbacks is FromOptFile that returns the plug-in itself, to be wrapped with other
// callbacks.
func OptFileCallbacks(path string, options *Options) (transport.Callbacks[*Socket], error) {
	var o Options
	if options != nil {
		o = *options
	}
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
		for _, m := range opts.remarks {
			src.log.Log(context.Background(), m.level, m.text, "file", path, "role", r.String())
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
		case o.keyUpdateBytes == 0:
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
	serverName  string                // instead of the host of the peer's node name
	noName      bool                  // server_name_indication is disable
	wildcards   bool                  // names with a * match hosts
	unnamed     bool                  // the server does not tell its authorities
	signs       []tls.SignatureScheme // signature_algs; nil: any
	certSigns   []tls.SignatureScheme // signature_algs_cert; nil: any
	keyUpdateAt uint64
	crl         revocation
	remarks     []remark
}

// A remark is what an operator should know of an option that means less here than it says.
type remark struct {
	level slog.Level
	text  string
}

func (o *roleOptions) remark(level slog.Level, format string, args ...any) {
	o.remarks = append(o.remarks, remark{level, fmt.Sprintf(format, args...)})
}

// open returns a warning if the options admit peers that an operator may not expect, and says how
// to refuse them.
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

// maxOptFile is how long an option file may be, in bytes.
const maxOptFile = 1 << 20

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
	top, ok := t.(ei.List)
	if !ok {
		return nil, fmt.Errorf("%s is not a list [{server,[…]},{client,[…]}]", outline(t))
	}
	file := map[role]*roleOptions{}
	for _, e := range top {
		section, ok := e.(ei.Tuple)
		if !ok || len(section) != 2 || word(section[0]) != "server" && word(section[0]) != "client" {
			return nil, fmt.Errorf("%s is neither {server,[…]} nor {client,[…]}", outline(e))
		}
		r := server
		if word(section[0]) == "client" {
			r = client
		}
		options, ok := section[1].(ei.List)
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

func parseRole(r role, options ei.List) (*roleOptions, error) {
	o := &roleOptions{depth: defaultDepth}
	known := meanings()
	given := map[ei.Atom]ei.Term{}
	wrong := func(name string, err error) error {
		return &OptionError{Role: r.String(), Option: name, Err: err}
	}
	for _, e := range options {
		name, value, err := option(e)
		if err != nil {
			return nil, wrong(outline(e), err)
		}
		if before, twice := given[name]; twice {
			if ei.Identical(before, value) {
				continue
			}
			return nil, wrong(string(name),
				errors.New("it is given twice, with different values: keep only one"))
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
func option(e ei.Term) (ei.Atom, ei.Term, error) {
	switch e := e.(type) {
	case ei.Atom:
		return e, ei.Atom("true"), nil
	case ei.Tuple:
		if len(e) == 2 {
			if name, ok := e[0].(ei.Atom); ok {
				return name, e[1], nil
			}
		}
	}
	return "", nil, errors.New("it is not of the form {Name, Value}")
}

// whole checks options that need each other.
func (o *roleOptions) whole(r role, given map[ei.Atom]ei.Term) error {
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
			o.remark(slog.LevelWarn, "certfile, keyfile and password are ignored, as in Erlang: "+
				"certs_keys is given, too")
		} else {
			o.certs = append(o.certs, f)
		}
	} else {
		for _, name := range []ei.Atom{"keyfile", "password"} {
			if _, ok := given[name]; ok {
				return fmt.Errorf("%s without certfile", name)
			}
		}
	}
	// Without the option, clients of OTP 26 and later verify, and those of OTP 25 do not. A
	// cacertfile is taken as a wish to verify.
	if _, ok := given["verify"]; !ok && r == client && o.cacert != "" {
		o.verify = true
	}
	tls12 := o.versions == nil || slices.Contains(o.versions, tls.VersionTLS12)
	_, renegotiates := given["renegotiate_at"]
	spoken, _, _ := o.spoken()
	switch {
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
	}
	if renegotiates && tls12 {
		o.remark(slog.LevelWarn, "renegotiate_at has no effect: TLS 1.2 is never renegotiated here, "+
			"and an Erlang node that wants to closes the connection; {versions,['tlsv1.3']} has no "+
			"need for it")
	}
	return nil
}

// A meaning puts the value of an option into effect, or says why it cannot.
type meaning func(o *roleOptions, r role, v ei.Term) error

// nothing is the meaning of an option that has no effect if its value is one of values; other
// values are refused.
func nothing(values ...ei.Atom) meaning {
	return func(_ *roleOptions, _ role, v ei.Term) error {
		if a, ok := v.(ei.Atom); ok && slices.Contains(values, a) {
			return nil
		}
		return fmt.Errorf("%s cannot be honoured", outline(v))
	}
}

func unsupported(why string) meaning {
	return func(*roleOptions, role, ei.Term) error { return errors.New(why) }
}
