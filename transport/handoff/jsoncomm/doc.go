// Package jsoncomm passes JSON documents with sets of descriptors between processes, as the module
// jsoncomm of osbuild does, whose programs may be at the other end.
//
// A document refers to the descriptors beside it by index. Up to handoff.MaxDescriptors come with
// one, in an FDSet, the module's FdSet. The module has two forms, and so has this package.
//
// In the first, a document is a datagram, and a server answers the address that it came from: the
// module's Socket.new_server is [NewServer], new_client is [NewClient], and recv and send are
// [Socket.Receive] and [Socket.Send], or [Socket.SendTo] for a destination. A server's file goes
// when the Socket is closed, or dropped. In the present form there are connections: [Listen] and
// [Connect], or [Pair]. On these a document may be longer than a packet:
//
//	┌────────── … ──────────┐                  ┌───────────────┐
//	│ {"method": "mount"}   │      too long:   │ <args-via-fd> │
//	└────────── … ──────────┘                  └───────────────┘
//	 + descriptors 0, 1, 2 …                    + a memory file with the document, descriptors 0, 1, 2 …
//
// Package handoff says who owns a descriptor and when, what the limits of each system are, and
// what the errors mean that methods here return: a transport.OpError around handoff.ErrTruncated,
// say. Of this package's own is [ErrDocument].
package jsoncomm
