// Package gallery holds small plug-ins of package transport, to use and to learn from: each is at
// most 120 lines of code, is proved by package transporttest, and carries a node in its test. The
// comment of each package says when one wants it.
//
//	mux     many connections in one, by yamux or smux
//	ssh     through an SSH server; how FromNet carries what has no deadlines
//	vsock   between a machine and its virtual machines; one system call a callback
//	zstd    TCP, compressed; a plug-in with a state of its own, which moves
package gallery
