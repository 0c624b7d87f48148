// Package tlstransport is the TLS plug-in of package transport: it carries the Erlang distribution
// as -proto_dist inet_tls of Erlang/OTP does, with the certificates and the option file that a
// cluster already has, and its sessions can move to another process.
//
// # The model
//
// A transport is made once, from tls.Configs by [New], or from an ssl_dist_optfile by
// [FromOptFile]; a node uses it as its Config.Transport, or for one of several listeners. It opens
// TCP connections, each with a TLS session.
//
//	Accept          returns as soon as the TCP connection is there
//	TLS handshake   on a goroutine of its own, within Options.HandshakeTimeout; the first read or
//	                write waits for it, so a silent peer delays no other connection
//	Read, Write     on their callers' goroutines; see Options.Polling
//	Close           waits for a fifth of a second at most; see below
//	Release         sends nothing
//
// Packets of the distribution handshake have a 4-byte length. Bytes that a write has counted are
// sealed. Those for which the connection has no room yet are sent in the background, also after
// Close: for five seconds more, with the keys gone and the descriptor still open. Then, or when the
// program ends, the rest is lost, and the peer sees a connection that was cut off.
//
// For TLS over sockets other than TCP, say UNIX ones, use transport.FromNet with package
// crypto/tls; FromNet has an example.
//
// A session is certain to be up only when it has carried a packet: in TLS 1.3 a client learns only
// at its first read that the server refuses its certificate. The error that ends a session, or
// prevents it, is a [*PeerError], which names the peer, the [Check] that failed, and the side that
// made the check.
//
// # Sessions
//
// The handshake is that of crypto/tls. From the first record after it on, records are protected by
// this package itself, so the whole state of a session is known, and can be handed over:
//
//	session                                                 records are of     can move
//	TLS 1.3 with AES-GCM, ChaCha20-Poly1305 (RFC 8446)      this package       yes
//	TLS 1.2 with ECDHE and these (RFC 5288, RFC 7905)       this package       yes
//	TLS 1.2 with another suite                              crypto/tls         no
//	any with Options.Plain or GODEBUG=fips140=only          crypto/tls         no
//
// A node with workers refuses a session that cannot move. This package takes a session over from
// crypto/tls only if it is certain to continue it exactly; should the state be wrong all the same,
// the peer's first record cannot be decrypted and the session ends.
//
// Sessions are never resumed or renegotiated. A configuration is cloned for each session, with
// these changes: TLS 1.2 is the lowest version, there are no session tickets and no session cache,
// and the key log goes through this package, which needs the secrets, to the user's KeyLogWriter;
// this package neither stores nor logs them elsewhere.
//
// Erlang/OTP 25 and 27 speak TLS 1.2 unless {versions,['tlsv1.3']} tells them otherwise. For
// long-lived connections TLS 1.3 is better: in TLS 1.2 an Erlang node asks to renegotiate after
// 2^28 records, is refused, and closes the connection. In TLS 1.3 keys are changed by messages that
// both sides understand; this side never asks its peer to change its key, because OTP 25 and 27
// would then stop receiving.
//
// # Moving
//
// Export gives the version, the secrets and sequence numbers of both directions, bytes that have
// been received but not read, and records that are sealed but not sent yet. The new place sends
// those records unchanged, so that no sequence number is used for two plaintexts. Import and
// Release send nothing to the peer. The state is as secret as the session: send it only over a
// private channel. After Interrupt a session can be moved at any byte. A listener moves as its
// descriptor alone.
//
// # Who may connect
//
// With an option file, certificates are checked as in OTP:
//
//	server with {verify,verify_peer}    the chain of a client that presents one; a client without a
//	                                    certificate is admitted, unless fail_if_no_peer_cert is set
//	client with {verify,verify_peer},   the server's chain, and that the certificate is for the host
//	or with cacertfile and no verify    in the peer's node name
//	otherwise                           nothing
//
// A client with cacertfile and no verify checks as clients of OTP 26 and later do; OTP 25 does not.
// Names with a * match a host only with this option, by the rules of its function:
//
//	{customize_hostname_check,[{match_fun,public_key:pkix_verify_hostname_match_fun(https)}]}
//
// When the transport is made, [Options].Logger gets a warning for each check that the file leaves
// out:
//
//	peers are not verified at all
//	a server admits clients without a certificate
//	{server_name_indication,disable}: a client does not check the host
//	{server_name_indication,NAME}: every server's certificate must be for NAME
//
// This is what OTP 27 does with server_name_indication, while OTP 25 replaces it by the host, and
// checks the host whatever the file says. A certificate of this node that is not valid yet or has
// expired, then or later, causes one warning, too.
//
// The self-signed certificates of cacertfile are trusted, as in OTP even those of version 3 without
// basicConstraints. The others complete chains: those of peers, and our own, so that certfile need
// not contain the whole chain.
//
// So a certificate should have
//
//	the host after the "@" of its node's name, as a DNS name even if it is an address
//	(DNS:127.0.0.1): OTP 25 finds no address among the IP names; later releases do, as does
//	this package
//	extendedKeyUsage serverAuth and clientAuth, if it has that extension at all, and keyUsage
//	digitalSignature: each node is a server to some of its peers, and a client to others
//
// [Options].Checks adds checks that OTP lacks: [NameInCertificate] binds a node's name to its
// certificate, [HostInCertificate] the host in it, [AllowedNodes] is a list of names. verify_fun is
// accepted and has no effect, with a warning if there are no Checks: set the last two, which do
// what verify_fun asks for.
//
// # Files of certificates
//
// What cannot be read in a file of certificates is skipped, with a warning that gives the line,
// when the transport is made and whenever the file is read again:
//
//	a part without an END line, or with damaged base64 text     skipped
//	TRUSTED CERTIFICATE                                         skipped
//	a certificate that crypto/x509 does not parse               skipped
//	a BEGIN that is not at the beginning of its line            read, but Erlang nodes skip it
//	the first certificate of certfile, the node's own           never skipped: an error
//
// A BEGIN is not at the beginning of its line if the file begins with a byte order mark, say, or
// the newline between two parts is missing. If no certificate is left, that is an error, or the
// previous file stays in use.
//
// # Stricter than OTP
//
//	a certificate that crypto/x509    skipped in cacertfile, so that peers which need it are
//	does not parse                    refused, and behind the first one in certfile, so that it
//	                                  is not sent; refused anywhere in the chain of a peer
//	stray characters in base64 text,  the part is skipped; OTP ignores both
//	another word in the END line
//	keys of RSA                       from 1024 to 8192 bits
//	signatures with SHA-1             refused, in chains (OTP 25 accepts them) and in handshakes
//	extendedKeyUsage, pathlen of      enforced, {allow_any_ca_purpose,true} or not
//	a root
//	suites                            no Diffie-Hellman over integers, CCM or pre-shared keys
//	groups                            x25519, secp256r1, secp384r1, secp521r1, x25519mlkem768
//	versions                          no TLS 1.1; TLS 1.2 is never renegotiated
//
// OTP 25 to 29 parse most certificates that crypto/x509 does not: negative serial numbers, a "@" or
// "_" in a PrintableString, keys on curves other than P-224, P-256, P-384 and P-521 or with
// explicit parameters, and names of subjectAltName that are no names.
//
// # More lenient than OTP
//
//	a peer's self-signed certificate  accepted if it is in cacertfile
//	the common name                   counts if there are no other names (as in OTP 25, not in 27)
//	a client's certificate            may have anyExtendedKeyUsage, a keyUsage without
//	                                  digitalSignature, CA:TRUE, which servers of OTP 27 refuse
//	signature_algs                    restricts what this node signs with and the kinds of peers'
//	                                  keys, but not the hash of a peer's signature in the
//	                                  handshake, nor (signature_algs_cert) of certificates
//	max_handshake_size                the limit is crypto/tls's own
//
// # Options
//
// The file is read by ei.Parse as one term, which it usually is; but for the call that
// customize_hostname_check needs, anything that Erlang would have to evaluate is an error that
// names the line and the column. Files that the option file names are read again when they change.
// Options that cannot be honoured are an [*OptionError], never ignored. These are honoured:
//
//	this node's certificate  certfile, keyfile, password; certs_keys
//	peers' certificates      cacertfile, verify, fail_if_no_peer_cert, depth,
//	                         certificate_authorities, server_name_indication
//	  names with a *         customize_hostname_check, as above
//	  verify_fun             inet_tls_dist:verify_client/3 only
//	  crl_check              true, peer, best_effort, with
//	                         {crl_cache,{ssl_crl_hash_dir,{internal,[{dir,DIR}]}}}
//	sessions                 versions, ciphers, eccs, supported_groups, signature_algs,
//	                         signature_algs_cert, key_update_at
//
// Lists of revoked certificates are read for each handshake. OTP's other cache is filled by calls
// inside the BEAM, or over HTTP: write the lists to a directory instead.
//
// Lists of versions, suites, groups and signature schemes may have some that crypto/tls does not:
// an old version beside new ones, say. They are left out, which the log says; one must be left.
// eccs and supported_groups are one list here, of what both have.
//
// So that one file serves Erlang nodes as well, options that change nothing here are accepted:
//
//	sessions are never     reuse_sessions, reuse_session, session_tickets, use_ticket, anti_replay,
//	resumed                stateless_tickets_seed, {early_data,disabled}
//	nor renegotiated       secure_renegotiate, client_renegotiation, renegotiate_at (with a
//	                       warning if TLS 1.2 is spoken)
//	crypto/tls has its     honor_cipher_order, honor_ecc_order, middlebox_comp_mode, cookie,
//	own way                max_handshake_size, max_fragment_length, {handshake,full},
//	                       {protocol,tls}, {ktls,false}, fallback, padding_check, beast_mitigation,
//	                       dh, dhfile, psk_identity, srp_identity, user_lookup_fun,
//	                       alpn_advertised_protocols, alpn_preferred_protocols,
//	                       next_protocols_advertised, client_preferred_next_protocols
//	a check that is        {stapling,no_staple}, {ocsp_stapling,false}, ocsp_nonce,
//	not asked for          ocsp_responder_certs, {cert_policy_opts,[]}, allow_any_ca_purpose,
//	                       {sni_hosts,[]}; sni_fun and partial_chain if undefined
//	processes and logs     sender_spawn_opts, receiver_spawn_opts, hibernate_after, log_level,
//	of Erlang              log_alert, keep_secrets
//	sockets, which         nodelay, keepalive, delay_send, linger, priority, tos, tclass, sndbuf,
//	package transport      recbuf, buffer, high_watermark, low_watermark, high_msgq_watermark,
//	sets up                low_msgq_watermark, send_timeout, send_timeout_close, reuseaddr,
//	                       backlog, exit_on_close, show_econnreset; cb_info is an error
//	a client's             fail_if_no_peer_cert, with a warning, because Erlang nodes from OTP 27
//	                       on do not connect with it
//
// Private keys are in PEM files, and may be encrypted with the option password:
//
//	forms        PKCS #1, SEC 1, PKCS #8
//	encrypted    OpenSSL's old form (Proc-Type: 4,ENCRYPTED); PKCS #8 with PBES2, PBKDF2, and AES or
//	             triple DES in CBC mode
//	kinds        RSA; ECDSA on P-224, P-256, P-384 or P-521; Ed25519, which Erlang nodes take in
//	             TLS 1.3 only
//	an error     PBES1 (openssl pkcs8 -v1) and scrypt (-scrypt), which it calls by the algorithm's
//	             object identifier; RSASSA-PSS, Ed448
//
// openssl pkcs8 -topk8 -in OLD -out NEW makes a key that can be read.
//
// The TLS 1.3 suite of a session is chosen by crypto/tls or by the peer; if it is not in the option
// ciphers, the session is refused. Between two nodes of this package crypto/tls picks
// TLS_AES_128_GCM_SHA256 (TLS_CHACHA20_POLY1305_SHA256 if a processor has no instructions for AES).
// If ciphers has suites of TLS 1.3 without TLS_AES_128_GCM_SHA256, only TLS 1.2 is spoken if
// ciphers and versions allow it; otherwise two nodes of this package cannot connect to each other,
// but each can with Erlang nodes. In both cases the log says so.
//
// # Platforms
//
// On systems without descriptors to pass (Windows), everything works except moving.
package tlstransport
