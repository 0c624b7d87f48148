// Package port gives tests a port of the loopback interface at which nobody listens.
//
// A port that was free a moment ago is somebody else's soon where many tests run beside each other. So the port is kept, as far as the
// system allows it: on Linux a socket holds it that is bound and does not listen. Then the system gives it to nobody who asks for any
// port, whoever connects to it is refused, and whoever asks for that very port, with SO_REUSEADDR as net.Listen, Erlang's port mapper and
// its nodes do, gets it. Elsewhere it is a port that was free a moment ago.
package port

import (
	"net"
	"strconv"
	"testing"
)

// Free returns a port at which nobody listens, and which is the test's own until it ends.
func Free(t testing.TB) int {
	t.Helper()
	number, release, err := Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return number
}

// Vacant is Free as an address, 127.0.0.1:PORT.
func Vacant(t testing.TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(Free(t)))
}

// Reserve is Free outside a test: the port is the caller's until release is called, once.
func Reserve() (number int, release func(), err error) { return reserve() }
