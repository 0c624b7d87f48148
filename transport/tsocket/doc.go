// Package tsocket has the datagram sockets of Samba's tsocket guide. The streams of the guide are
// those of package transport, as are its addresses and queues.
//
// # Datagrams
//
// A [Datagram] is a socket of the operating system, over UDP ([OpenUDP]) or UNIX sockets
// ([OpenUnixgram]), or a virtual one over another ([Over]). It keeps the rules of package
// transport: one operation a direction, contexts end operations, errors are *transport.OpError and
// wrap what the table there says. [Datagram.Receive] gives a datagram of any length in a buffer of
// its own, [Datagram.RecvFrom] puts it into yours.
//
// # Descriptors
//
// [AdoptDatagram] takes a descriptor over, whether it comes from a supervisor, another process or
// package net, as AdoptStream and AdoptListener of package transport do.
//
// # Names of the guide
//
//	tdgram_recvfrom_send, _recv         Datagram.RecvFrom, Receive, NextLength
//	tdgram_sendto_send                  Datagram.SendTo
//	tdgram_disconnect_send              Datagram.Disconnect
//	tdgram_sendto_queue_send            SendToQueue, with a transport.Queue
//	tdgram_inet_udp_socket              OpenUDP
//	tdgram_unix_socket                  OpenUnixgram
//	tstream_bsd_existing_socket         transport.AdoptStream
//	tsocket_address_…                   transport.ParseInet, FromUnixPath, ParseSockaddr and the like
//	tstream_…_queue_send                transport.Queue
//	tstream_…                           transport.Stream
//	tstream_…_connect_send              transport.ConnectTCP, ConnectUnix
//	tstream_unix_socketpair             transport.UnixPair
package tsocket
