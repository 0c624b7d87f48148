package tlstransport

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cnode-go/cnode/ei"
)

// meanings are the known options: those of ssl(3erl) that make sense for distribution. Options with
// the meaning nothing have no effect, for the reason given.
func meanings() map[ei.Atom]meaning {
	known := map[ei.Atom]meaning{
		// roleOptions.whole combines these three.
		"certfile": aPath,
		"keyfile":  aPath,
		"password": func(_ *roleOptions, _ role, v ei.Term) error {
			if _, err := passwordOf(v); err != nil {
				return fmt.Errorf("it %w", err)
			}
			return nil
		},
		"certs_keys": certsKeys,
		"cacertfile": func(o *roleOptions, _ role, v ei.Term) (err error) {
			o.cacert, err = path(v)
			return err
		},

		"verify": func(o *roleOptions, _ role, v ei.Term) error {
			if v != ei.Atom("verify_peer") && v != ei.Atom("verify_none") {
				return fmt.Errorf("%s is neither verify_peer nor verify_none", outline(v))
			}
			o.verify = v == ei.Atom("verify_peer")
			return nil
		},
		"fail_if_no_peer_cert": func(o *roleOptions, r role, v ei.Term) error {
			given, err := boolean(v)
			// A client of OTP 25 ignores it, later ones do not connect.
			o.require, o.stray = given && r == server, r == client
			return err
		},
		"depth": func(o *roleOptions, _ role, v ei.Term) error {
			n, err := number(v, 0)
			o.depth = int(min(n, 255))
			return err
		},
		"verify_fun": func(o *roleOptions, r role, v ei.Term) error {
			// verify_client requires the certificate to be for a host of net_kernel:allow/1. Here
			// HostInCertificate and AllowedNodes in Options.Checks do that.
			verifyClient := ei.Export{Module: "inet_tls_dist", Function: "verify_client", Arity: 3}
			t, _ := v.(ei.Tuple)
			isIt := len(t) == 2 && t[0] == verifyClient ||
				len(t) == 3 && word(t[0]) == "inet_tls_dist" && word(t[1]) == "verify_client"
			if r == server && isIt {
				o.verifyFun = true
				return nil
			}
			return errors.New("only {fun inet_tls_dist:verify_client/3, _} of a server can be " +
				"honoured; Options.Checks can do what others do")
		},

		"versions": func(o *roleOptions, _ role, v ei.Term) (err error) {
			o.versions, err = spoken(o, "versions", v, versionOf)
			return err
		},
		"ciphers": func(o *roleOptions, _ role, v ei.Term) (err error) {
			if l, ok := v.(ei.List); ok && len(l) == 0 { // the default, in OTP as well
				return nil
			}
			o.suites, err = spoken(o, "ciphers", split(v), suiteNamed)
			return err
		},
		"eccs":                groups("eccs"),
		"supported_groups":    groups("supported_groups"),
		"signature_algs":      signatureAlgs,
		"signature_algs_cert": signatureAlgsCert,
		"server_name_indication": func(o *roleOptions, r role, v ei.Term) (err error) {
			if r == server {
				return errors.New("this is an option for clients")
			}
			if o.noName = v == ei.Atom("disable"); !o.noName {
				o.serverName, err = path(v)
			}
			return err
		},

		"key_update_at": func(o *roleOptions, _ role, v ei.Term) error {
			n, err := number(v, 1)
			o.keyUpdateAt = uint64(n)
			return err
		},
		"renegotiate_at": func(_ *roleOptions, _ role, v ei.Term) error {
			_, err := number(v, 1)
			return err // roleOptions.whole says that it has no effect
		},

		"crl_check":                crlChecks,
		"crl_cache":                crlCache,
		"customize_hostname_check": hostnameCheck,
		"certificate_authorities": func(o *roleOptions, r role, v ei.Term) error {
			named, err := boolean(v)
			o.unnamed = !named && r == server // a client names none in crypto/tls
			return err
		},

		"stapling":         nothing("no_staple"),
		"ocsp_stapling":    nothing("false"),
		"cert_policy_opts": empty("policies of certificates are not checked here"),
		"sni_hosts":        empty(sameForAllNames),
		"sni_fun":          unless("undefined", sameForAllNames),
		"partial_chain":    unless("undefined", "only self-signed certificates are trusted here"),
		"handshake":        nothing("full"),
		"protocol":         nothing("tls"),
		"cb_info":          unsupported("the sockets are those of package transport: leave it out"),
		"early_data":       nothing("disabled"),
		"ktls": func(_ *roleOptions, _ role, v ei.Term) error {
			if v == ei.Atom("false") {
				return nil
			}
			return errors.New("records are not left to the kernel here: one that cannot change its " +
				"keys would break sessions when the peer does")
		},
		"keep_secrets": nothing("true", "false"), // a KeyLogWriter gets them

		"cert":    unsupported("certificates inside the file are not supported: use certfile"),
		"key":     unsupported("keys inside the file are not supported: use keyfile"),
		"cacerts": unsupported("certificates inside the file are not supported: use cacertfile"),
	}
	for name := range strings.FieldsSeq(withoutEffect) {
		known[ei.Atom(name)] = func(*roleOptions, role, ei.Term) error { return nil }
	}
	return known
}

const sameForAllNames = "a server has the same certificates for all names here: certs_keys may " +
	"list several"

// withoutEffect are options that OTP takes and that change nothing here, whatever their values are,
// by the reason.
const withoutEffect = "" +
	// Sessions are never resumed, which every value allows, nor is anything renegotiated.
	" reuse_sessions reuse_session session_tickets use_ticket anti_replay stateless_tickets_seed" +
	" secure_renegotiate client_renegotiation fallback" +
	// crypto/tls has its own order, sizes and compatibility, and answers what it does not know by
	// leaving it out.
	" honor_cipher_order honor_ecc_order middlebox_comp_mode cookie max_handshake_size" +
	" max_fragment_length alpn_advertised_protocols alpn_preferred_protocols" +
	" next_protocols_advertised client_preferred_next_protocols" +
	// For suites and versions that crypto/tls does not have, or that are not spoken here.
	" dh dhfile psk_identity srp_identity user_lookup_fun padding_check beast_mitigation" +
	// For OCSP, which can only be switched off, and for authorities with extendedKeyUsage, where
	// this package is stricter.
	" ocsp_nonce ocsp_responder_certs allow_any_ca_purpose" +
	// About processes and logs of Erlang.
	" sender_spawn_opts receiver_spawn_opts hibernate_after log_level log_alert" +
	// About its sockets. Those of package transport are set up by that package.
	" nodelay keepalive delay_send linger priority tos tclass sndbuf recbuf buffer high_watermark" +
	" low_watermark high_msgq_watermark low_msgq_watermark send_timeout send_timeout_close" +
	" reuseaddr backlog exit_on_close show_econnreset"

// aPath is the meaning of an option whose value is a path, and which has its effect elsewhere.
func aPath(_ *roleOptions, _ role, v ei.Term) error {
	_, err := path(v)
	return err
}

// empty is the meaning of an option that has no effect if its value is an empty list.
func empty(why string) meaning {
	return func(_ *roleOptions, _ role, v ei.Term) error {
		if l, ok := v.(ei.List); ok && len(l) == 0 {
			return nil
		}
		return errors.New(why)
	}
}

// unless is the meaning of an option that has no effect if it has the one value.
func unless(value ei.Atom, why string) meaning {
	return func(_ *roleOptions, _ role, v ei.Term) error {
		if v == value {
			return nil
		}
		return errors.New(why)
	}
}

// hostnameCheck is the meaning of customize_hostname_check: of OTP's own functions, the one for the
// rules of HTTPS.
func hostnameCheck(o *roleOptions, r role, v ei.Term) error {
	l, ok := v.(ei.List)
	switch {
	case r == server:
		return errors.New("this is an option for clients")
	case ok && len(l) == 0:
		return nil
	case ok && len(l) == 1:
		t, _ := l[0].(ei.Tuple)
		if len(t) == 2 && word(t[0]) == "match_fun" && word(t[1]) == httpsMatch {
			o.wildcards = true
			return nil
		}
	}
	return fmt.Errorf("only [{match_fun,%s}] can be honoured, which has names with a * match",
		httpsMatchCall)
}

// certsKeys is a list of maps, each with a certificate and its key.
func certsKeys(o *roleOptions, _ role, v ei.Term) error {
	maps, err := each(v, func(v ei.Term) (certFiles, error) {
		m, ok := v.(ei.Map)
		if !ok {
			return certFiles{}, fmt.Errorf("%s is not a map", outline(v))
		}
		var f certFiles
		for _, kv := range m {
			var err error
			switch word(kv.Key) {
			case "certfile":
				f.cert, err = path(kv.Value)
			case "keyfile":
				f.key, err = path(kv.Value)
			case "password":
				if f.password, err = passwordOf(kv.Value); err != nil {
					err = fmt.Errorf("the password %w", err)
				}
			default:
				err = fmt.Errorf("%s is not supported in it", outline(kv.Key))
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
