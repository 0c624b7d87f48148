// Package gallery holds small plug-ins of package transport, to use and to learn from: each is one
// file of at most 120 lines, is proved by package transporttest, and carries a node in its test.
//
//	ssh     a connection through an SSH server: FromNet, for what has no deadlines
//	vsock   between a machine and its virtual machines: one system call a callback
//	zstd    TCP with compression, which moves: a plug-in over streams of another Transport
package gallery
