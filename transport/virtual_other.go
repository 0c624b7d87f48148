//go:build !unix

package transport

// abortive does nothing: no carrier of this system has a descriptor that the SDK waits on.
func abortive(carrier) {}

// peerAddr knows no peer.
func peerAddr(carrier) Addr { return nil }
