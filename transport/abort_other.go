//go:build !unix

package transport

// peerAddr knows no peer.
func peerAddr(carrier) Addr { return nil }

// resetOnClose does nothing: no carrier of this system has a descriptor that the SDK waits on.
func resetOnClose(carrier) bool { return false }
