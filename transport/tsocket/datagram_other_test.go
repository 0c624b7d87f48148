//go:build !unix

package tsocket

import "testing"

// datagramAllocs is how many allocations a datagram may cost, sent and received.
const datagramAllocs = 10.0

func unixgrams(t testing.TB) (open, connected *Datagram) {
	t.Skip("no UNIX datagram sockets here")
	return nil, nil
}
