// Package cnodequic carries the connections of Go nodes over QUIC (RFC 9000), by quic-go: a plug-in
// of package transport, with TLS 1.3 and certificates on both sides.
//
//	both := &tls.Config{
//		Certificates: []tls.Certificate{cert}, RootCAs: pool,
//		ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
//	}
//	tr, err := cnodequic.New(cnodequic.Config{
//		Server: both, Client: both, Checks: []tlstransport.PeerCheck{tlstransport.HostInCertificate},
//	})
//	n, err := nodes.New(nodes.Config{
//		Name: "a@a.example.org", Transport: tr, Listen: at, Resolver: nodes.FixedPort(4433),
//	})
//
// One wants it where the line loses packets, where a node's address changes (a laptop, a phone, a
// container behind NAT that is moved) and its connections, links and monitors are to live on, or
// where UDP port 443 is all that is open. Within a data centre TCP is quicker and costs less
// processor time, and only over TCP are there Erlang nodes: with them, and for sessions that move
// to another process, use package tlstransport. docs/explanation/carriers.md of this module's
// repository compares.
//
// # On the wire
//
// A connection of QUIC carries one connection of nodes, under the application protocol [ALPN]: each
// side sends its bytes in one unidirectional stream, its first. Its second one has no byte, only an
// end, by which a side says that it has read the other's bytes to their end, or wants no more of
// them. Packets of the distribution handshake have a 4-byte length. There is no 0-RTT, and sessions
// are not resumed.
//
// # The end
//
// Close waits until the peer has read what was written, a fifth of a second at most, and goes on
// waiting in the background for up to five seconds. Then, or when the program ends, the rest is
// lost, and the peer's reads end with an error and not with the end of the stream: so a program
// that is about to exit closes its node first.
//
// # Handshakes
//
// A datagram from a forged address is enough to begin a handshake of QUIC. So a listener has
// [Config].MaxHandshakes of them in progress, and when a part of these are taken, it asks each new
// client for a proof of its address, by a Retry packet, before it keeps anything of it. Forged
// datagrams keep nobody out then, and one host takes at most half of the places.
//
// # Errors
//
//	*tlstransport.PeerError     a certificate, ours or the peer's, was refused, or the peer by Checks
//	syscall.ECONNREFUSED        nobody listens there, or the listener has no room, or too many
//	                            handshakes in progress
//	syscall.ETIMEDOUT           nothing came from the peer for Config.TickTime, or in the handshake
//	syscall.ECONNRESET, EPIPE   the peer has closed, or reads no more
//
// Those of quic-go are found in them by errors.As. In TLS 1.3 a client learns only at its first
// read that the server refuses its certificate.
//
// # Time
//
// A peer that is gone without a word, killed or cut off, is noticed by its silence only: after
// [Config].TickTime, or by the node's own ticks, whichever comes first. The ticks of nodes keep the
// connection alive; it sends packets of its own only if it is idle for longer than those let it be.
// Other packets than those with ticks do not count for a node: a peer that hangs is noticed, too.
//
// # Addresses
//
// They are those of TCP, IP:PORT, so that every Resolver works; the port is one of UDP. A port
// mapper holds it as any other: a BEAM that finds it there tries TCP, in vain. When the address of
// the connecting side changes, packets go on from the new one, and the other side follows as soon
// as it has checked that address; Stream.RemoteAddr and Peer.Addr stay what they were. Packets for
// which there is no way meanwhile are dropped and sent again. A client that moves three times
// before the server has followed once is lost to quic-go, until both ends give up. A listener's
// address cannot change.
//
// A connection that is made has a UDP socket of its own, which is closed a moment after it. Those
// that a listener has accepted share the listener's: its port is free again when the last of them
// is gone.
//
// # Other protocols on the same port
//
// [Config].Others are served beside nodes, on a listener's socket: HTTP/3, say. [Config].Socket is
// a socket of the program's own, with options of its own, to listen and to connect by: make its
// Conn with [Lossy]. With a StatelessResetKey there, which is the same after each start, peers
// learn at their next packet that the program was killed and has been started anew, and not after
// TickTime.
//
// # Packets
//
// A packet that the system does not send (no way, a rule of a firewall, no buffer) is lost, and
// sent again. Packets have 1,200 bytes at most, unless [Config].PathMTUDiscovery searches for
// longer ones: quic-go's DisablePathMTUDiscovery is true by default here, since it does not notice
// when a path takes only shorter ones later.
//
// # Limits
//
// Nothing moves: the state of a connection is quic-go's, and cannot be taken out, so a hand-off is
// refused with a *nodes.NotMovableError before anything stops, and a node with workers does not
// listen over this transport. There is no descriptor. quic-go logs one warning, by package log,
// where the system does not let it have large socket buffers (net.core.rmem_max of Linux).
package cnodequic
