// Package tlstransport is the TLS plug-in of package transport: it carries the Erlang distribution as -proto_dist inet_tls of Erlang/OTP
// does, with the certificates and the option file that a cluster already has, and its sessions can move to another process.
//
// # The model
//
// A transport is made once, from tls.Configs by [New], or from an ssl_dist_optfile by [FromOptFile]; a node uses it as its
// Config.Transport, or for one of several listeners. It opens TCP connections, each with a TLS session. Accept returns as soon as the TCP
// connection is there. The TLS handshake then runs on its own goroutine, within [Options].HandshakeTimeout, and the first read or write
// waits for it: a silent peer delays no other connection. Packets of the distribution handshake have a 4-byte length. Reads and writes run
// on their callers' goroutines; a reader whose peer answers fast polls for a while before it sleeps: [Options].Polling.
//
// Bytes that a write has counted are sealed. Those for which the connection has no room yet are sent in the background, also after Close,
// which does not wait for more than a fifth of a second: for five seconds more, with the keys gone and the descriptor still open. Then, or
// when the program ends, the rest is lost, and the peer sees a connection that was cut off. Release sends nothing.
//
// For TLS over sockets other than TCP, say UNIX ones, use transport.FromNet with package crypto/tls; FromNet has an example.
//
// A session is certain to be up only when it has carried a packet: in TLS 1.3 a client learns only at its first read that the server
// refuses its certificate. The error that ends a session, or prevents it, is a [*PeerError], which names the peer, the [Check] that failed,
// and the side that made the check.
//
// # Sessions
//
// The handshake is that of crypto/tls. From the first record after it on, records are protected by this package itself: TLS 1.3 with
// AES-GCM and ChaCha20-Poly1305 (RFC 8446), TLS 1.2 with ECDHE and the same ciphers (RFC 5288, RFC 7905). So the whole state of a session
// is known, and can be handed over. This package takes a session over from crypto/tls only if it is certain to continue it exactly; should
// the state be wrong all the same, the peer's first record cannot be decrypted and the session ends. A session with another cipher suite of
// TLS 1.2, and every session with [Options].Plain or GODEBUG=fips140=only, stays with crypto/tls and cannot move: a node with workers
// refuses it.
//
// Sessions are never resumed or renegotiated. A configuration is cloned for each session, with these changes: TLS 1.2 is the lowest
// version, there are no session tickets and no session cache, and the key log goes through this package, which needs the secrets, to the
// user's KeyLogWriter; this package neither stores nor logs them elsewhere.
//
// Erlang/OTP 25 and 27 speak TLS 1.2 unless {versions,['tlsv1.3']} tells them otherwise. For long-lived connections TLS 1.3 is better: in
// TLS 1.2 an Erlang node asks to renegotiate after 2^28 records, is refused, and closes the connection. In TLS 1.3 keys are changed by
// messages that both sides understand; this side never asks its peer to change its key, because OTP 25 and 27 would then stop receiving.
//
// # Moving
//
// Export gives the version, the secrets and sequence numbers of both directions, bytes that have been received but not read, and records
// that are sealed but not sent yet. The new place sends those records unchanged, so that no sequence number is used for two plaintexts.
// Import and Release send nothing to the peer. The state is as secret as the session: send it only over a private channel. After Interrupt
// a session can be moved at any byte. A listener moves as its descriptor alone.
//
// # Who may connect
//
// With an option file, certificates are checked as in OTP: with {verify,verify_peer} a client
// checks the server's chain, and that the certificate is for the host in the peer's node name; a
// server checks the chain of a client that presents one, and admits a client without a certificate
// unless fail_if_no_peer_cert is set. Without verify_peer nothing is checked, with one exception: a
// client that has a cacertfile but no verify option checks as clients of OTP 26 and later do (OTP
// 25 does not). Names with a * match a host only with
// {customize_hostname_check,[{match_fun,public_key:pkix_verify_hostname_match_fun(https)}]}, by the
// rules of that function.
//
// When the transport is made, [Options].Logger gets a warning for each check that the file leaves out: if peers are not verified at all; if
// a server admits clients without a certificate; for {server_name_indication,disable}, with which a client does not check the host; and for
// a name in that option, which every server's certificate must then match. This is what OTP 27 does, while OTP 25 replaces the option by
// the host, and checks the host whatever the file says. A certificate of this node that is not valid yet or has expired, then or later,
// causes one warning, too.
//
// The self-signed certificates of cacertfile are trusted, as in OTP even those of version 3 without basicConstraints. The others complete
// chains: those of peers, and our own, so that certfile need not contain the whole chain.
//
// So a certificate should name the host after the "@" of its node's name, as a DNS name even if the
// host is an address (DNS:127.0.0.1): OTP 25 does not find an address among the IP names; later
// releases and this package do. It needs extendedKeyUsage serverAuth and clientAuth, if it has that
// extension at all, and keyUsage digitalSignature: each node is a server to some of its peers, and
// a client to others.
//
// [Options].Checks adds checks that OTP lacks: [NameInCertificate] binds a node's name to its certificate, [HostInCertificate] the host in
// it, [AllowedNodes] is a list of names. verify_fun is accepted and has no effect, with a warning if there are no Checks: set the last two,
// which do what verify_fun asks for.
//
// # Files of certificates
//
// What cannot be read in a file of certificates is skipped, with a warning that gives the line,
// when the transport is made and whenever the file is read again: a part without an END line, one
// whose base64 text is damaged, a TRUSTED CERTIFICATE, and a certificate that crypto/x509 does not
// parse. If none is left, that is an error, or the previous file stays in use. The first
// certificate of certfile, the node's own, is never skipped. A certificate whose BEGIN is not at
// the beginning of its line, because the file begins with a byte order mark, say, or because the
// newline between two parts is missing, is read, but Erlang nodes skip it; so there is a warning,
// too.
//
// # Stricter than OTP
//
// A certificate that crypto/x509 does not parse is skipped in cacertfile, so that peers which need
// it are refused; behind the first one in certfile, so that it is not sent; and refused if a peer
// sends it, at any place of its chain. OTP 25 to 29 parse most of these: negative serial numbers, a
// "@" or "_" in a PrintableString, keys on curves other than P-224, P-256, P-384 and P-521 or with
// explicit parameters, and names of subjectAltName that are no names. OTP also ignores stray
// characters in base64 text, and what an END line says; here such a part is skipped.
//
// Keys of RSA have from 1024 to 8192 bits. Signatures with SHA-1 are refused, in chains (OTP 25
// accepts them) and in handshakes. A root's own extendedKeyUsage and pathlen are enforced,
// {allow_any_ca_purpose,true} or not. Suites with Diffie-Hellman over integers, CCM or pre-shared
// keys are not spoken, nor groups other than x25519, secp256r1, secp384r1, secp521r1 and
// x25519mlkem768, nor TLS 1.1. TLS 1.2 is never renegotiated.
//
// # More lenient than OTP
//
// A peer's self-signed certificate is accepted if it is in cacertfile, and the common name counts
// if there are no other names (as in OTP 25, no longer in 27). In a client's certificate
// anyExtendedKeyUsage is accepted, as are a keyUsage without digitalSignature and CA:TRUE, which
// servers of OTP 27 refuse. signature_algs restricts what this node signs with, and the kinds of
// keys that peers may have, but not the hash of a peer's signature in the handshake, and not the
// signatures of certificates, for which there is signature_algs_cert. A limit of max_handshake_size
// is crypto/tls's own.
//
// # Options
//
// Options in the file that cannot be honoured are an [*OptionError], never ignored. Supported are
// certfile, keyfile, password, certs_keys, cacertfile, verify, fail_if_no_peer_cert, depth,
// verify_fun (inet_tls_dist:verify_client/3 only), versions, ciphers (see below), eccs,
// supported_groups, signature_algs, signature_algs_cert, server_name_indication,
// customize_hostname_check (as above), key_update_at, certificate_authorities; crl_check (true,
// peer, best_effort) with {crl_cache,{ssl_crl_hash_dir,{internal,[{dir,DIR}]}}}, whose lists are
// read for each handshake. OTP's other cache is filled by calls inside the BEAM, or over HTTP:
// write the lists to a directory instead.
//
// Lists of versions, suites, groups and signature schemes may have some that crypto/tls does not:
// an old version beside new ones, say. They are left out, which the log says; one must be left.
// eccs and supported_groups are one list here, of what both have.
//
// So that one file serves Erlang nodes as well, options that change nothing here are accepted.
// About sessions, which are never resumed: reuse_sessions, reuse_session, session_tickets,
// use_ticket, anti_replay, stateless_tickets_seed, {early_data,disabled}. About what crypto/tls
// does in its own way: secure_renegotiate, client_renegotiation, renegotiate_at (with a warning if
// TLS 1.2 is spoken), honor_cipher_order, honor_ecc_order, middlebox_comp_mode, cookie,
// max_handshake_size, max_fragment_length, {handshake,full}, {protocol,tls}, {ktls,false},
// fallback, padding_check, beast_mitigation, dh, dhfile, psk_identity, srp_identity,
// user_lookup_fun, alpn_advertised_protocols, alpn_preferred_protocols, next_protocols_advertised,
// client_preferred_next_protocols. About checks that are not asked for: {stapling,no_staple},
// {ocsp_stapling,false}, ocsp_nonce, ocsp_responder_certs, {cert_policy_opts,[]},
// allow_any_ca_purpose, {sni_hosts,[]}, and sni_fun and partial_chain if they are undefined. About
// processes and logs of Erlang: sender_spawn_opts, receiver_spawn_opts, hibernate_after, log_level,
// log_alert, keep_secrets. About sockets, which package transport sets up: nodelay, keepalive,
// delay_send, linger, priority, tos, tclass, sndbuf, recbuf, buffer, high_watermark, low_watermark,
// high_msgq_watermark, low_msgq_watermark, send_timeout, send_timeout_close, reuseaddr, backlog,
// exit_on_close, show_econnreset; cb_info is an error. And a client's fail_if_no_peer_cert, with a
// warning, because Erlang nodes from OTP 27 on do not connect with it.
//
// The file is read as a literal term, which it usually is; but for the call that
// customize_hostname_check needs, anything that Erlang would have to evaluate is an error that
// names the line. Files that the option file names are read again when they change.
//
// Private keys are PKCS #1, SEC 1 or PKCS #8 in PEM files. Encrypted keys are read in OpenSSL's old form (Proc-Type: 4,ENCRYPTED) and in
// today's: PKCS #8 with PBES2, PBKDF2, and AES or triple DES in CBC mode. PBES1 (openssl pkcs8 -v1) and scrypt (-scrypt) are an error that
// gives the algorithm's object identifier: openssl pkcs8 -topk8 -in OLD -out NEW makes a key that can be read. The keys are of RSA, of ECDSA
// on P-224, P-256, P-384 or P-521, or of Ed25519, which Erlang nodes take in TLS 1.3 only; RSASSA-PSS and Ed448 are an error.
//
// The TLS 1.3 suite of a session is chosen by crypto/tls or by the peer; if it is not in the option ciphers, the session is refused.
// Between two nodes of this package crypto/tls picks TLS_AES_128_GCM_SHA256 (TLS_CHACHA20_POLY1305_SHA256 if a processor has no
// instructions for AES). If ciphers has suites of TLS 1.3 without TLS_AES_128_GCM_SHA256, only TLS 1.2 is spoken if ciphers and versions
// allow it; otherwise two nodes of this package cannot connect to each other, but each can with Erlang nodes. In both cases the log says
// so.
//
// # Platforms
//
// On systems without descriptors to pass (Windows), everything works except moving.
package tlstransport
