package tlstransport

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// files is the source for an option file. The files that it names are read again when they have
// changed.
type files struct {
	log   *slog.Logger
	mu    sync.Mutex
	roles map[role]*fileRole
}

// A fileRole is one role's configuration, with the stamps of its files when they were read, and
// when they last could not be read.
type fileRole struct {
	file  string // the option file
	role  role
	opts  *roleOptions
	seen  map[string]stamp
	tried map[string]stamp // of the last attempt, if it failed
	when  time.Time        // the time of that attempt
	base  *tls.Config
	trust *authorities
}

// A stamp changes when a file is changed, or is replaced by another file, even one of the same
// length and time.
type stamp struct{ os.FileInfo }

func (s stamp) equals(other stamp) bool {
	return os.SameFile(s.FileInfo, other.FileInfo) && s.ModTime().Equal(other.ModTime()) && s.Size() == other.Size()
}

func (f *fileRole) paths() []string {
	var all []string
	for _, c := range f.opts.certs {
		all = append(all, c.cert, c.key)
	}
	if f.opts.cacert != "" {
		all = append(all, f.opts.cacert)
	}
	return all
}

func (f *fileRole) stamps() map[string]stamp {
	seen := map[string]stamp{}
	for _, p := range f.paths() {
		if info, err := os.Stat(p); err == nil {
			seen[p] = stamp{info}
		}
	}
	return seen
}

// tryAgain is how long files that could not be read are left alone if they do not change. They are
// read again then, because the reason may have been a lack of descriptors.
const tryAgain = 10 * time.Second

// renew reads the files again if they have changed. Since every connection calls renew, files that
// cannot be read are tried once, and again only when they change or after tryAgain.
func (f *fileRole) renew(log *slog.Logger, now time.Time) {
	stamps := f.stamps()
	if maps.EqualFunc(stamps, f.seen, stamp.equals) || maps.EqualFunc(stamps, f.tried, stamp.equals) && now.Sub(f.when) < tryAgain {
		return
	}
	if err := f.load(log); err != nil {
		f.tried, f.when = stamps, now
		log.Error("certificates have changed and cannot be read: still using the previous ones", "error", err)
		return
	}
	f.tried = nil
	log.Info("certificates have changed and were read again", "role", f.role.String())
}

// load reads the files. Their faults cause warnings.
func (f *fileRole) load(log *slog.Logger) error {
	var faults []error
	seen := f.stamps() // before reading: files that change meanwhile are read once more
	o := f.opts
	c := &tls.Config{CurvePreferences: o.groups}
	var trust *authorities // without verify it still completes our own chains
	if o.cacert != "" {
		var err error
		if trust, faults, err = readAuthorities(o.cacert); err != nil {
			return f.wrong("cacertfile", err)
		}
	}
	for _, files := range o.certs {
		pair, more, option, err := readPair(files)
		if err != nil {
			return f.wrong(option, err)
		}
		faults = append(faults, more...)
		if !canSign(pair.Leaf.PublicKey, o.signs) {
			return f.wrong("certfile", fmt.Errorf("%s: %w", files.cert, errCannotSign))
		}
		pair.SupportedSignatureAlgorithms = o.signs
		if trust != nil {
			pair.Certificate = trust.complete(pair.Certificate)
		}
		c.Certificates = append(c.Certificates, pair)
	}
	if f.role == client {
		c.GetClientCertificate = choose(c.Certificates)
	}
	c.MinVersion, c.MaxVersion, _ = o.spoken()
	for _, id := range o.suites {
		if !is13(id) {
			c.CipherSuites = append(c.CipherSuites, id)
		}
	}
	if f.role == server && o.verify {
		if err := f.ask(c, trust); err != nil {
			return err
		}
	}
	f.seen, f.base, f.trust = seen, c, trust
	for _, why := range faults {
		log.Warn("a file of certificates has a fault", "role", f.role.String(), "reason", why)
	}
	return nil
}

// ask has a server ask its clients for certificates. It tells them the names of all authorities,
// unless the file says otherwise; verifyConnection trusts only the roots.
func (f *fileRole) ask(c *tls.Config, trust *authorities) error {
	switch o := f.opts; {
	case o.unnamed && o.require:
		c.ClientAuth = tls.RequireAnyClientCert
	case o.unnamed:
		c.ClientAuth = tls.RequestClientCert
	case trust.names() > maxNames:
		return f.wrong("cacertfile", fmt.Errorf("its certificates have names of %d bytes together, and "+
			"a server can tell its clients %d: leave out those that no client needs, or set "+
			"{certificate_authorities,false}, with which it tells none", trust.names(), maxNames))
	case o.require:
		c.ClientCAs, c.ClientAuth = trust.pool, tls.RequireAndVerifyClientCert
	default:
		c.ClientCAs, c.ClientAuth = trust.pool, tls.VerifyClientCertIfGiven
	}
	return nil
}

func (f *fileRole) wrong(option string, err error) error {
	return &OptionError{File: f.file, Role: f.role.String(), Option: option, Err: err}
}

// choose picks a certificate that the server says it accepts, or else the first one, as OTP does:
// the server's refusal then tells more than a missing certificate would.
func choose(certs []tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		for i := range certs {
			if info.SupportsCertificate(&certs[i]) == nil {
				return &certs[i], nil
			}
		}
		if len(certs) > 0 {
			return &certs[0], nil
		}
		return &tls.Certificate{}, nil
	}
}

// spoken returns the lowest and highest version that are spoken, 0 and 0 if there are none. A
// version without a suite is not spoken. In TLS 1.3 the suites of crypto/tls cannot be configured,
// and it usually chooses TLS_AES_128_GCM_SHA256 with itself: if that suite is not allowed, two
// nodes of this package have only TLS 1.2 in common, or nothing. The caveat says so.
func (o *roleOptions) spoken() (lowest, highest uint16, caveat string) {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		if o.versions != nil && !slices.Contains(o.versions, v) ||
			o.suites != nil && !slices.ContainsFunc(o.suites, func(id uint16) bool { return is13(id) == (v == tls.VersionTLS13) }) {
			continue
		}
		if lowest == 0 {
			lowest = v
		}
		highest = v
	}
	switch {
	case highest != tls.VersionTLS13 || o.suites == nil || slices.Contains(o.suites, tls.TLS_AES_128_GCM_SHA256):
		return lowest, highest, ""
	case lowest == tls.VersionTLS12:
		return lowest, lowest, "TLS 1.3 is not spoken: ciphers lacks TLS_AES_128_GCM_SHA256, without which two nodes of this library cannot " +
			"speak it; with {versions,['tlsv1.3']} it is spoken, with Erlang nodes"
	}
	return lowest, highest, "two nodes of this library cannot connect to each other with these options: ciphers lacks TLS_AES_128_GCM_SHA256"
}

func (f *files) verifies(r role) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.roles[r].opts.verify
}

// config gives the configuration for one handshake. If files have changed and cannot be read,
// because they are being replaced, say, the previous configuration stays in use.
func (f *files) config(r role, host string) (*tls.Config, error) {
	f.mu.Lock()
	fr := f.roles[r]
	if fr == nil {
		f.mu.Unlock()
		return nil, fmt.Errorf("no options for the %s", r)
	}
	fr.renew(f.log, time.Now())
	c, trust, o := fr.base.Clone(), fr.trust, fr.opts
	f.mu.Unlock()
	if r == client {
		c.InsecureSkipVerify = true // VerifyConnection below verifies instead, as OTP does
		if !o.noName {
			if c.ServerName = host; o.serverName != "" {
				c.ServerName = o.serverName
			}
		}
	}
	name := c.ServerName
	c.VerifyConnection = func(state tls.ConnectionState) error { return o.verifyConnection(r, trust, name, state, f.log) }
	return c, nil
}

// verifyConnection checks what crypto/tls does not check: the suite, and the certificate as OTP
// does.
func (o *roleOptions) verifyConnection(r role, trust *authorities, host string, state tls.ConnectionState, log *slog.Logger) error {
	if o.suites != nil && !slices.Contains(o.suites, state.CipherSuite) {
		return fmt.Errorf("cipher suite %s is not among the option ciphers: %w", tls.CipherSuiteName(state.CipherSuite), errNoSuite)
	}
	if len(state.PeerCertificates) == 0 {
		return nil
	}
	wrong := func(err error) error {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	if !canSign(state.PeerCertificates[0].PublicKey, o.signs) {
		return wrong(errCannotSign)
	}
	if !o.verify {
		return nil
	}
	usage := x509.ExtKeyUsageServerAuth
	if r == server {
		usage = x509.ExtKeyUsageClientAuth
	}
	chains, err := state.VerifiedChains, error(nil)
	// Else crypto/tls has verified a client's certificate against the same roots.
	if len(chains) == 0 || !trust.areRoots() {
		chains, err = trust.chains(state.PeerCertificates, usage)
	}
	if err == nil && r == client && !o.noName {
		err = checkHost(state.PeerCertificates[0], host, o.wildcards)
	}
	if err != nil {
		return wrong(err)
	}
	refused := fmt.Errorf("the chain of certificates is longer than depth %d allows", o.depth)
	for _, chain := range chains {
		if len(chain)-2 > o.depth { // certificates between the peer's and the root
			continue
		}
		if !signedBy(chain, o.certSigns) {
			refused = errSignedBy
			continue
		}
		if refused = o.crl.refuses(chain, time.Now(), log); refused == nil {
			return nil
		}
	}
	return wrong(refused)
}

var errNoSuite = errors.New("no cipher suite supported")

// hasOtherNames tells whether a certificate has subject alternative names, of any kind. RFC 5280,
// section 4.2.1.6.
func hasOtherNames(c *x509.Certificate) bool {
	const emptySequence = 2
	return slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool {
		return e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) && len(e.Value) > emptySequence
	})
}

// checkHost returns an error unless a certificate is for a host, by the rules of
// public_key:pkix_verify_hostname/2: an address may be among the DNS names, and the common name
// counts if there are no other names (in OTP 25, not in 27). Names with a * count only with
// wildcards, by the rules of public_key:pkix_verify_hostname_match_fun(https).
func checkHost(c *x509.Certificate, host string, wildcards bool) error {
	exact := *c
	isWild := func(name string) bool { return strings.Contains(name, "*") }
	exact.DNSNames = slices.DeleteFunc(slices.Clone(c.DNSNames), isWild)
	switch {
	case exact.VerifyHostname(host) == nil:
		return nil
	case net.ParseIP(host) != nil && slices.Contains(c.DNSNames, host):
		return nil
	case !hasOtherNames(c) && strings.EqualFold(c.Subject.CommonName, host):
		return nil
	}
	matches := func(name string) bool { return matchesStar(name, host) }
	wild := net.ParseIP(host) == nil && slices.ContainsFunc(c.DNSNames, matches)
	wrong := error(x509.HostnameError{Certificate: c, Host: host})
	switch {
	case wild && wildcards:
		return nil
	case wild:
		return fmt.Errorf("%w: names with a * count only with {customize_hostname_check,"+
			"[{match_fun,%s}]} in an option file, as in Erlang", wrong, httpsMatchCall)
	}
	return wrong
}

// matchesStar tells whether a name with a * in its first part, for any text within that part, is
// that of a host.
func matchesStar(name, host string) bool {
	first, rest, _ := strings.Cut(strings.ToLower(name), ".")
	label, domain, _ := strings.Cut(strings.TrimSuffix(strings.ToLower(host), "."), ".")
	before, after, star := strings.Cut(first, "*")
	return star && rest == domain && len(label) >= len(before)+len(after) &&
		strings.HasPrefix(label, before) && strings.HasSuffix(label, after)
}
