// Package tlstransport is the TLS plug-in of package transport: it carries the Erlang distribution as -proto_dist inet_tls of Erlang/OTP
// does, with the certificates and the option file that a cluster has already, and its sessions can move to another process.
//
// # The model
//
// A transport is made once, of tls.Configs by [New], or of an ssl_dist_optfile by [FromOptFile]; a node takes it as its Config.Transport,
// or for one listener beside others. What it opens are TCP connections with a TLS session each. Accept returns as soon as the TCP
// connection is there. The TLS handshake then runs by itself, within [Options].HandshakeTimeout, and the first read or write waits for
// it: a silent peer delays nobody else. Packets of the distribution handshake have a 4-byte length. Reads and writes run on their
// callers' goroutines; a reader that is answered fast polls for a while before it sleeps: [Options].Polling.
//
// TLS over another socket than TCP's, a UNIX one say, is transport.FromNet of package tls's parts, whose Example that is.
//
// A session is up when it has carried a packet, not before: in TLS 1.3 a client hears only at its first read that the server refuses its
// certificate. Whatever ends a session, or keeps it from coming up, is a [*PeerError], which names the peer, the [Check] that failed, and
// which side made it.
//
// # Sessions
//
// The handshake is that of crypto/tls. From the first record after it on, records are protected by this package itself: TLS 1.3 with
// AES-GCM and ChaCha20-Poly1305 (RFC 8446), TLS 1.2 with ECDHE and the same ciphers (RFC 5288, RFC 7905). So what a session consists of
// is known, and can be handed over. This package takes a session over from crypto/tls only where it is certain to continue it exactly;
// should that be wrong all the same, the peer's first record does not open and the session ends. A session with another cipher suite of
// TLS 1.2, and every session with [Options].Plain, stays with crypto/tls, and cannot move: a node with workers refuses it.
//
// Sessions are never resumed or renegotiated. A configuration is cloned for each session, with these changes: TLS 1.2 is the lowest
// version, there are no session tickets and no session cache, and the key log goes to the user's KeyLogWriter by way of this package,
// which needs the secrets; it neither stores nor logs them elsewhere.
//
// Erlang/OTP 25 and 27 speak TLS 1.2 unless {versions,['tlsv1.3']} tells them otherwise. Long-lived connections are better off with TLS
// 1.3: in TLS 1.2 an Erlang node asks to renegotiate after 2^28 records, is refused, and closes the connection. In TLS 1.3 keys are
// changed by messages that both sides understand; this side never asks its peer to change its key, for OTP 25 and 27 stop receiving then.
//
// # Moving
//
// Export gives versions, secrets and sequence numbers of both directions, what has been received and not read, and what is sealed and not
// yet on the wire; that goes out from the new place as it is, so that no sequence number is used for two texts. Import and Release say
// nothing to the peer. The state is as secret as the session: it belongs on a private channel only. Interrupt makes a session movable at
// any byte. A listener moves as its descriptor alone.
//
// # Who may connect
//
// With an option file certificates are checked as OTP does: with {verify,verify_peer} a client checks the server's chain, and that the
// certificate is for the host in the peer's node name (names with a * are for none); a server checks the chain of a client that shows one,
// and lets in who shows none, unless fail_if_no_peer_cert is set. Without verify_peer nothing is checked. But a client that has a
// cacertfile, and is not told verify_none, checks as clients of OTP 26 and later do (OTP 25 does not).
//
// When the transport is made, [Options].Logger gets a warning for a check that the file leaves out. There is one for servers that let in
// who shows no certificate, for {server_name_indication,disable}, with which a client does not check the host, and for another name there,
// which every server's certificate must be for: so OTP 27 has it, while OTP 25 puts the host in place of that option, and checks it
// whatever the file says.
//
// Trusted are those certificates of cacertfile that have signed themselves, as in OTP also ones of version 3 without basicConstraints. The
// others complete chains: those of peers, and our own, whose certfile need not have them. Two things are stricter than in OTP: what a root
// says in its own extendedKeyUsage and pathlen counts, and signatures with SHA-1, which OTP 25 takes, do not.
//
// Some things are more lenient than in OTP. A peer's own certificate that has signed itself is accepted where it stands in cacertfile, and
// the common name counts where there are no other names (as in OTP 25, no longer in 27). Of a client's certificate anyExtendedKeyUsage will
// do, as will a keyUsage without digitalSignature and CA:TRUE, which servers of OTP 27 refuse.
//
// So a certificate names the host behind the "@" of its node's name, as a DNS name even where that is an address (DNS:127.0.0.1): for an
// address among the IP names OTP 25 does not know the host, later ones and this package do.
//
// What OTP lacks is there for the asking in [Options].Checks: [NameInCertificate] binds a node's name to its certificate,
// [HostInCertificate] the host in it, [AllowedNodes] is a list of names. verify_fun is accepted and has no effect, with a warning where
// there are no Checks: set the last two, which do what it asks for.
//
// Options of the file that cannot be honoured are an [*OptionError], never ignored. Known are certfile, keyfile, password, certs_keys,
// cacertfile, verify, fail_if_no_peer_cert, depth, verify_fun (inet_tls_dist:verify_client/3 only), versions ('tlsv1.2', 'tlsv1.3'),
// ciphers (by name; see below), eccs, supported_groups, server_name_indication, key_update_at;
// crl_check (true, peer, best_effort) with {crl_cache,{ssl_crl_hash_dir,{internal,[{dir,DIR}]}}}, whose lists are read for each handshake.
// OTP's other cache is filled by calls inside the BEAM, or over HTTP: have the lists written to a directory instead. These are taken and
// ask for nothing here: reuse_sessions, secure_renegotiate, client_renegotiation, honor_cipher_order, honor_ecc_order, hibernate_after,
// log_level, log_alert, dhfile, session_tickets disabled, middlebox_comp_mode true, ktls false, renegotiate_at where versions has TLS 1.3
// alone, and a client's fail_if_no_peer_cert, with a warning, for Erlang nodes from OTP 27 on do not connect with it. The file is read as
// the literal term that it is as a rule; what Erlang would have to evaluate is an error that names the line. Files that it names are read
// again when they change.
//
// Private keys are PKCS #1, SEC 1 or PKCS #8 in PEM files. Encrypted ones are read in OpenSSL's old form (Proc-Type: 4,ENCRYPTED), and in
// that of today: PKCS #8 with PBES2, PBKDF2, and AES or triple DES in CBC mode. PBES1 (openssl pkcs8 -v1) and scrypt (-scrypt) are not
// read, with an error that has the number of the algorithm: openssl pkcs8 -topk8 -in OLD -out NEW makes a key that is.
//
// Which suite of TLS 1.3 a session has crypto/tls decides, or the peer; one that ciphers lacks is refused. Between two nodes of this
// package crypto/tls picks TLS_AES_128_GCM_SHA256 (TLS_CHACHA20_POLY1305_SHA256 where a processor has no instructions for AES). If ciphers
// has suites of TLS 1.3 without TLS_AES_128_GCM_SHA256, TLS 1.2 alone is spoken where ciphers and versions allow it; elsewhere two nodes of
// this package cannot connect to each other, but each can with Erlang nodes. The log says which of the two it is.
//
// # Platforms
//
// Where there are no descriptors to pass (windows) all works but moving.
package tlstransport
