package tlstransport

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cnode-go/cnode/ei"
)

// A revocation is what an option file asks for with crl_check and crl_cache: certificates are
// looked up in their issuers' lists, files in a directory that is laid out as for OTP's module
// ssl_crl_hash_dir. The lists are read for each handshake, so new ones are used at once.
type revocation struct {
	check crlCheck
	dir   string
}

// A crlCheck says which certificates of a chain must not be revoked.
type crlCheck int

const (
	crlNone       crlCheck = iota
	crlPeer                // the peer's own
	crlAll                 // all but the trusted root
	crlBestEffort          // the same, but a certificate that no list covers is accepted
)

// errRevoked is the error for a certificate that a list names.
var errRevoked = errors.New("the certificate has been revoked")

// refuses returns the reason to refuse a verified chain, which begins with the peer's certificate;
// nil if there is none.
func (r revocation) refuses(chain []*x509.Certificate, now time.Time, log *slog.Logger) error {
	if r.check == crlNone {
		return nil
	}
	lists, err := readLists(r.dir)
	if err != nil && r.check == crlBestEffort { // OTP accepts as well, but without a warning
		log.Warn("lists of revoked certificates cannot be read, and crl_check is best_effort: what they revoke is accepted", "dir", r.dir,
			"error", err)
	}
	for i := range len(chain) - 1 {
		if i > 0 && r.check == crlPeer {
			break
		}
		known, revoked := lists.status(chain[i], chain[i+1], now)
		switch {
		case revoked:
			return fmt.Errorf("certificate %s of %s: %w", chain[i].SerialNumber, chain[i].Issuer, errRevoked)
		case !known && r.check != crlBestEffort:
			unknown := fmt.Errorf("whether certificate %s of %s is revoked is not known: no valid list in %s", chain[i].SerialNumber,
				chain[i].Issuer, r.dir)
			if err != nil {
				return fmt.Errorf("%w: %w", unknown, err)
			}
			return unknown
		}
	}
	return nil
}

// lists are the lists of a directory.
type lists []*x509.RevocationList

// status looks for a certificate in the valid lists of its issuer. known says that one of these
// would name c if it were revoked. A list that covers only some certificates can show that a
// certificate is revoked, but not that it is good.
func (l lists) status(c, issuer *x509.Certificate, now time.Time) (known, revoked bool) {
	for _, list := range l {
		if !bytes.Equal(list.RawIssuer, c.RawIssuer) || now.Before(list.ThisUpdate) || !list.NextUpdate.IsZero() && now.After(list.NextUpdate) ||
			isOfOthers(list) || list.CheckSignatureFrom(issuer) != nil {
			continue
		}
		known = known || isWhole(list)
		for i := range list.RevokedCertificateEntries {
			if list.RevokedCertificateEntries[i].SerialNumber.Cmp(c.SerialNumber) == 0 {
				return true, true
			}
		}
	}
	return known, false
}

// isWhole tells whether a list has all certificates that its issuer has revoked. Lists of changes,
// and lists that cover only some certificates, say so in a critical extension.
func isWhole(list *x509.RevocationList) bool {
	for _, e := range list.Extensions {
		if e.Critical {
			return false
		}
	}
	return true
}

// isOfOthers tells whether a list's entries have no meaning by themselves: a delta list may
// withdraw entries of another list, and an indirect list has certificates of other issuers.
func isOfOthers(list *x509.RevocationList) bool {
	delta, distribution := asn1.ObjectIdentifier{2, 5, 29, 27}, asn1.ObjectIdentifier{2, 5, 29, 28}
	for _, e := range list.Extensions {
		switch {
		case e.Id.Equal(delta):
			return true
		case e.Id.Equal(distribution):
			var point struct { // RFC 5280, section 5.2.5
				Name           asn1.RawValue  `asn1:"optional,tag:0"`
				UserCerts      bool           `asn1:"optional,tag:1"`
				CACerts        bool           `asn1:"optional,tag:2"`
				Reasons        asn1.BitString `asn1:"optional,tag:3"`
				Indirect       bool           `asn1:"optional,tag:4"`
				AttributeCerts bool           `asn1:"optional,tag:5"`
			}
			if rest, err := asn1.Unmarshal(e.Value, &point); err != nil || len(rest) > 0 || point.Indirect {
				return true
			}
		}
	}
	return false
}

// readLists reads the files HASH.r0, HASH.r1, … of a directory, each with a list in PEM or DER. The
// error joins those of all files that cannot be read; the other lists are returned all the same.
func readLists(dir string) (all lists, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		hash, number, ok := strings.Cut(e.Name(), ".r")
		if _, bad := strconv.ParseUint(number, 10, 32); !ok || bad != nil || len(hash) != 8 {
			continue
		}
		b, failed := os.ReadFile(filepath.Join(dir, e.Name()))
		if failed == nil {
			if block, _ := pem.Decode(b); block != nil {
				b = block.Bytes
			}
			var list *x509.RevocationList
			if list, failed = x509.ParseRevocationList(b); failed == nil {
				all = append(all, list)
				continue
			}
			failed = fmt.Errorf("%s: %w", e.Name(), failed)
		}
		if err != nil {
			failed = fmt.Errorf("%w; %w", err, failed)
		}
		err = failed
	}
	return all, err
}

// crlChecks is the meaning of crl_check.
func crlChecks(o *roleOptions, _ role, v ei.Term) error {
	check, ok := map[ei.Atom]crlCheck{
		"false": crlNone, "peer": crlPeer, "true": crlAll, "best_effort": crlBestEffort,
	}[word(v)]
	if !ok {
		return fmt.Errorf("%s is none of true, false, peer, best_effort", outline(v))
	}
	o.crl.check = check
	return nil
}

// crlCache is the meaning of crl_cache: {ssl_crl_hash_dir,{internal,[{dir,DIR}]}}.
func crlCache(o *roleOptions, _ role, v ei.Term) error {
	wrong := errors.New("only {ssl_crl_hash_dir,{internal,[{dir,DIR}]}} can be honoured: have the " +
		"lists put into a directory")
	module, ok := v.(ei.Tuple)
	if ok && len(module) == 2 && word(module[0]) == "ssl_crl_cache" {
		return nil // OTP's default, without effect unless crl_check needs it: see roleOptions.whole
	}
	if !ok || len(module) != 2 || word(module[0]) != "ssl_crl_hash_dir" {
		return wrong
	}
	cache, ok := module[1].(ei.Tuple)
	if !ok || len(cache) != 2 {
		return wrong
	}
	options, ok := cache[1].(ei.List)
	if !ok || len(options) != 1 {
		return wrong
	}
	dir, ok := options[0].(ei.Tuple)
	if !ok || len(dir) != 2 || word(dir[0]) != "dir" {
		return wrong
	}
	var err error
	o.crl.dir, err = path(dir[1])
	return err
}
