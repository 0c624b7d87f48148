// Package tlstransport is the TLS plug-in of package transport: it carries the Erlang distribution
// as -proto_dist inet_tls of Erlang/OTP does, with the certificates and the option file that a
// cluster already has, and its sessions can move to another process.
//
// # The model
//
// A transport is made once, from tls.Configs by [New], or from an ssl_dist_optfile by
// [FromOptFile]; a node uses it as its Config.Transport, or for one of several listeners. It is a
// plug-in over another transport, [Options].Transport, by itself TCP: each connection of that has a
// TLS session.
//
//	Accept          returns as soon as the connection below is there
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
// Over UNIX sockets (transport.Unix) a node's Resolver may be a nodes.SocketDir or AliveDir: it
// then uses this transport. What is below may be anything that carries a stream of bytes, such as a
// transport of package transport/virtual, which sees records; one that keeps packets is refused.
//
// A session is certain to be up only when it has carried a packet: in TLS 1.3 a client learns only
// at its first read that the server refuses its certificate. The error that ends a session, or
// prevents it, is a [*PeerError]. It names the peer, the check that failed (a [Failure]), and the
// side that made it.
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
// With an option file, certificates are checked as in OTP: a server with {verify,verify_peer}
// checks the chain of a client that presents one, and admits a client without, unless
// fail_if_no_peer_cert is set; a client with {verify,verify_peer}, or with cacertfile and no
// verify, checks the server's chain, and that the certificate is for the host in the peer's node
// name. When the transport is made, [Options].Logger gets a warning for each check that the file
// leaves out. A certificate of this node that is not valid yet or has expired, then or later,
// causes one warning, too.
//
// [Options].Checks adds checks that OTP lacks: [NameInCertificate] binds a node's name to its
// certificate, [HostInCertificate] the host in it, [AllowedNodes] is a list of names. verify_fun is
// accepted and has no effect, with a warning if there are no Checks: set the last two, which do
// what verify_fun asks for.
//
// # The option file
//
// The file is read by ei.Parse as one term. Files that it names are read again when they change; a
// part of one that cannot be read is skipped, with a warning. Options that cannot be honoured are
// an [*OptionError], never ignored; those that change nothing here are accepted, so that one file
// serves Erlang nodes as well. docs/reference/tls-options.md of this module lists all options, and
// where this package is stricter or more lenient than OTP: crypto/tls has no Diffie-Hellman over
// integers, CCM, pre-shared keys or renegotiation, and crypto/x509 does not parse every certificate
// that OTP does.
//
// # Platforms
//
// On systems without descriptors to pass (Windows), everything works except moving. A session can
// move if the transport below can be handed off, and has no state of its own.
//
// # Stability
//
// New, FromOptFile, Config and Options are stable. Callbacks, OptFileCallbacks and Socket, for
// whoever makes a carrier of their own with them, may change before 1.0. The state of a session is
// read by the next version, or refused with ErrState.
package tlstransport
