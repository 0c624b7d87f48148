package tlstransport

import (
	"errors"
	"fmt"
)

// meanings are the known options: those of ssl(3erl) that make sense for distribution. Options with the meaning nothing have no effect, for
// the reason given.
func meanings() map[atom]meaning {
	return map[atom]meaning{
		"certfile": func(_ *roleOptions, _ role, v any) error { _, err := path(v); return err }, // roleOptions.whole combines these three
		"keyfile":  func(_ *roleOptions, _ role, v any) error { _, err := path(v); return err },
		"password": func(_ *roleOptions, _ role, v any) error {
			if _, err := passwordOf(v); err != nil {
				return fmt.Errorf("it %w", err)
			}
			return nil
		},
		"certs_keys": certsKeys,
		"cacertfile": func(o *roleOptions, _ role, v any) (err error) { o.cacert, err = path(v); return err },

		"verify": func(o *roleOptions, _ role, v any) error {
			if v != any(atom("verify_peer")) && v != any(atom("verify_none")) {
				return fmt.Errorf("%s is neither verify_peer nor verify_none", show(v))
			}
			o.verify = v == any(atom("verify_peer"))
			return nil
		},
		"fail_if_no_peer_cert": func(o *roleOptions, r role, v any) error {
			given, err := boolean(v)
			o.require, o.stray = given && r == server, r == client // a client of OTP 25 ignores it, later ones do not connect
			return err
		},
		"depth": func(o *roleOptions, _ role, v any) error {
			n, err := number(v, 0)
			o.depth = int(min(n, 255))
			return err
		},
		"verify_fun": func(o *roleOptions, r role, v any) error {
			// verify_client requires the certificate to be for a host of net_kernel:allow/1. Here HostInCertificate and AllowedNodes in
			// Options.Checks do that.
			t, _ := v.(tuple)
			switch {
			case r != server:
			case len(t) == 2 && t[0] == any(function{"inet_tls_dist", "verify_client", 3}),
				len(t) == 3 && t[0] == any(atom("inet_tls_dist")) && t[1] == any(atom("verify_client")):
				o.verifyFun = true
				return nil
			}
			return errors.New("only {fun inet_tls_dist:verify_client/3, _} of a server can be honoured; Options.Checks can do what others do")
		},

		"versions": func(o *roleOptions, _ role, v any) (err error) { o.versions, err = each(v, versionOf); return err },
		"ciphers": func(o *roleOptions, _ role, v any) (err error) {
			o.suites, err = each(split(v), suiteNamed)
			return err
		},
		"eccs":             func(o *roleOptions, _ role, v any) (err error) { o.groups, err = each(v, groupOf); return err },
		"supported_groups": func(o *roleOptions, _ role, v any) (err error) { o.groups, err = each(v, groupOf); return err },
		"server_name_indication": func(o *roleOptions, r role, v any) (err error) {
			if r == server {
				return errors.New("this is an option for clients")
			}
			if o.noName = v == any(atom("disable")); !o.noName {
				o.serverName, err = path(v)
			}
			return err
		},

		"key_update_at": func(o *roleOptions, _ role, v any) error {
			n, err := number(v, 1)
			o.keyUpdateAt = uint64(n)
			return err
		},
		"renegotiate_at": func(_ *roleOptions, _ role, v any) error { _, err := number(v, 1); return err }, // see roleOptions.whole

		"crl_check":            crlChecks,
		"crl_cache":            crlCache,
		"reuse_sessions":       nothing("true", "false", "save"), // sessions are never resumed, which every value allows
		"secure_renegotiate":   nothing("true", "false"),         // nothing is ever renegotiated
		"client_renegotiation": nothing("true", "false"),
		"honor_cipher_order":   nothing("true", "false"), // crypto/tls has its own order
		"honor_ecc_order":      nothing("true", "false"),
		"log_level":            func(*roleOptions, role, any) error { return nil }, // for OTP's log; ours is Options.Logger
		"log_alert":            nothing("true", "false"),
		"session_tickets":      nothing("disabled"),
		"middlebox_comp_mode":  nothing("true"),
		"hibernate_after":      func(*roleOptions, role, any) error { return nil }, // about the memory of BEAM processes
		"dhfile":               func(*roleOptions, role, any) error { return nil }, // for DHE suites, which crypto/tls does not have
		"ktls": func(_ *roleOptions, _ role, v any) error {
			if v == any(atom("false")) {
				return nil
			}
			return errors.New("records are not left to the kernel here: one that cannot change its keys would break sessions when the peer does")
		},
		"cert":    unsupported("certificates inside the file are not supported: use certfile"),
		"key":     unsupported("keys inside the file are not supported: use keyfile"),
		"cacerts": unsupported("certificates inside the file are not supported: use cacertfile"),
	}
}

// certsKeys is a list of maps, each with a certificate and its key.
func certsKeys(o *roleOptions, _ role, v any) error {
	maps, err := each(v, func(v any) (certFiles, error) {
		m, ok := v.(pairs)
		if !ok {
			return certFiles{}, fmt.Errorf("%s is not a map", outline(v))
		}
		var f certFiles
		for _, kv := range m {
			var err error
			switch kv[0] {
			case any(atom("certfile")):
				f.cert, err = path(kv[1])
			case any(atom("keyfile")):
				f.key, err = path(kv[1])
			case any(atom("password")):
				if f.password, err = passwordOf(kv[1]); err != nil {
					err = fmt.Errorf("the password %w", err)
				}
			default:
				err = fmt.Errorf("%s is not supported in it", show(kv[0]))
			}
			if err != nil {
				return f, err
			}
		}
		if f.cert == "" {
			return f, errors.New("certfile is missing in it")
		}
		if f.key == "" {
			f.key = f.cert
		}
		return f, nil
	})
	o.certs = maps
	return err
}
