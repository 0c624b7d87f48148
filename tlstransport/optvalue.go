package tlstransport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/cnode-go/cnode/ei"
)

func boolean(v ei.Term) (bool, error) {
	switch word(v) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%s is neither true nor false", outline(v))
}

func path(v ei.Term) (string, error) {
	s, err := plainText(v)
	if err == nil && s == "" {
		err = errors.New("an empty path")
	}
	return s, err
}

// passwordOf reads a password. In a string each character is a byte, as in Erlang.
func passwordOf(v ei.Term) (string, error) {
	chars, ok := ei.Charlist(v)
	if !ok {
		s, err := plainText(v)
		if err != nil {
			// The error must not show the password.
			err = errors.New("is neither a string nor a binary")
		}
		return s, err
	}
	var b []byte
	for _, r := range chars {
		if r > 0xff {
			return "", errors.New("has a character that is no byte: write it as a binary, <<\"…\"/utf8>>")
		}
		b = append(b, byte(r))
	}
	return string(b), nil
}

// plainText reads a string or a binary.
func plainText(v ei.Term) (string, error) {
	if b, ok := v.(ei.Binary); ok {
		return string(b), nil
	}
	if text, ok := ei.Charlist(v); ok {
		return text, nil
	}
	return "", fmt.Errorf("%s is neither a string nor a binary", outline(v))
}

func number(v ei.Term, least int64) (int64, error) {
	n, ok := v.(ei.Int)
	if !ok || int64(n) < least {
		return 0, fmt.Errorf("%s is not a number from %d on", outline(v), least)
	}
	return int64(n), nil
}

// errUnspoken is the error for a version, suite, group or scheme that OTP may have and crypto/tls
// does not.
var errUnspoken = errors.New("not supported")

// spoken applies of to every element of a list. Those that are not spoken here can be left out, for
// the list restricts what is spoken; one has to be left.
func spoken[T any](
	o *roleOptions, name string, v ei.Term, of func(ei.Term) (T, error),
) ([]T, error) {
	l, ok := v.(ei.List)
	if !ok || len(l) == 0 {
		return nil, fmt.Errorf("%s is not a list of them", outline(v))
	}
	var all []T
	var others []string
	var first error
	for _, e := range l {
		x, err := of(e)
		switch {
		case err == nil:
			all = append(all, x)
			continue
		case !errors.Is(err, errUnspoken):
			return nil, err
		case first == nil:
			first = err
		}
		others = append(others, show(e))
	}
	if len(all) == 0 {
		return nil, first
	}
	if others != nil {
		o.remark(slog.LevelInfo, "%s: of this list, crypto/tls does not have %s", name,
			strings.Join(others, ", "))
	}
	return all, nil
}

// versionOf reads a TLS version.
func versionOf(v ei.Term) (uint16, error) {
	switch word(v) {
	case "tlsv1.3":
		return tls.VersionTLS13, nil
	case "tlsv1.2":
		return tls.VersionTLS12, nil
	case "tlsv1.1", "tlsv1":
		return 0, fmt.Errorf("%s is %w, only 'tlsv1.2' and 'tlsv1.3' are", show(v), errUnspoken)
	}
	return 0, fmt.Errorf("%s is no version", outline(v))
}

// groupOf reads the name of a key exchange group of crypto/tls.
func groupOf(v ei.Term) (tls.CurveID, error) {
	switch word(v) {
	case "":
		return 0, fmt.Errorf("%s is no name of a group", outline(v))
	case "x25519":
		return tls.X25519, nil
	case "secp256r1", "prime256v1":
		return tls.CurveP256, nil
	case "secp384r1":
		return tls.CurveP384, nil
	case "secp521r1":
		return tls.CurveP521, nil
	case "x25519mlkem768":
		return tls.X25519MLKEM768, nil
	}
	return 0, fmt.Errorf("%s is %w", show(v), errUnspoken)
}

const oneList = "here they are one list, for TLS 1.2 and 1.3"

// groups is the meaning of eccs, for TLS 1.2, and of supported_groups, for 1.3. In crypto/tls they
// are one list, whose order it ignores: if both are given, it has what both have.
func groups(name string) meaning {
	return func(o *roleOptions, _ role, v ei.Term) error {
		all, err := spoken(o, name, v, groupOf)
		if err != nil {
			return err
		}
		if o.groups == nil {
			o.groups = all
			return nil
		}
		notIn := func(l []tls.CurveID) func(tls.CurveID) bool {
			return func(g tls.CurveID) bool { return !slices.Contains(l, g) }
		}
		both := slices.DeleteFunc(slices.Clone(o.groups), notIn(all))
		if len(both) == 0 {
			return errors.New("eccs and supported_groups have no group in common: " + oneList)
		}
		if len(both) < len(o.groups) || len(both) < len(all) {
			o.remark(slog.LevelInfo, "eccs and supported_groups differ: %s, of what both have",
				oneList)
		}
		o.groups = both
		return nil
	}
}

// suiteNamed finds a cipher suite by its name in the standards or in OpenSSL, or by its parts:
// Erlang uses all of them.
func suiteNamed(v ei.Term) (uint16, error) {
	name, err := plainText(v)
	if err != nil {
		if name = suiteOfParts(v); name == "" {
			return 0, fmt.Errorf("%s is no cipher suite", outline(v))
		}
	}
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if s.Name == name || openSSLName(s.Name) == name {
			return s.ID, nil
		}
	}
	return 0, fmt.Errorf("%s is %w", name, errUnspoken)
}

// suiteOfParts gives the name of a suite that is a map, #{key_exchange, cipher, mac, prf}, or a
// tuple of these in this order, the last left out for the default; "" if it is neither.
func suiteOfParts(v ei.Term) string {
	parts := map[ei.Atom]string{}
	switch v := v.(type) {
	case ei.Map:
		for _, kv := range v {
			parts[word(kv.Key)] = strings.ToUpper(string(word(kv.Value)))
		}
	case ei.Tuple:
		for i, name := range []ei.Atom{"key_exchange", "cipher", "mac", "prf"} {
			if i < len(v) {
				parts[name] = strings.ToUpper(string(word(v[i])))
			}
		}
	}
	cipher, hash := parts["cipher"], parts["mac"]
	if strings.HasSuffix(cipher, "_GCM") || cipher == "CHACHA20_POLY1305" {
		// mac is aead, or null in old files.
		hash = parts["prf"]
	}
	if parts["key_exchange"] == "" || cipher == "" || hash == "" {
		return ""
	}
	if parts["key_exchange"] == "ANY" { // TLS 1.3
		return "TLS_" + cipher + "_" + hash
	}
	return "TLS_" + parts["key_exchange"] + "_WITH_" + cipher + "_" + hash
}

// split makes a list of the names in a string of OpenSSL's form, "A:B"; other values stay as they
// are.
func split(v ei.Term) ei.Term {
	s, ok := v.(ei.String)
	if !ok {
		return v
	}
	var names ei.List
	for name := range strings.SplitSeq(string(s), ":") {
		names = append(names, ei.String(name))
	}
	return names
}

// openSSLName turns TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 into ECDHE-RSA-AES128-GCM-SHA256.
func openSSLName(name string) string {
	name, ok := strings.CutPrefix(name, "TLS_")
	if !ok || !strings.Contains(name, "_WITH_") {
		return "" // suites of TLS 1.3 have the same name in OpenSSL
	}
	// OpenSSL does not name the key exchange of RSA.
	name = strings.TrimPrefix(strings.ReplaceAll(name, "_WITH_", "_"), "RSA_")
	if strings.Contains(name, "POLY1305") {
		name = strings.TrimSuffix(name, "_SHA256")
	}
	name = strings.NewReplacer("AES_128_CBC", "AES128", "AES_256_CBC", "AES256", "AES_128",
		"AES128", "AES_256", "AES256").Replace(name)
	return strings.ReplaceAll(name, "_", "-")
}

// each applies of to every element of a list, which must not be empty.
func each[T any](v ei.Term, of func(ei.Term) (T, error)) ([]T, error) {
	l, ok := v.(ei.List)
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
