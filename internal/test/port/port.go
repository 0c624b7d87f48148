// Package port gives tests a port of the loopback interface at which nobody listens.
//
// When many tests run at the same time, a port that was free a moment ago may soon be taken. So the
// port is reserved, as far as the system allows it: on Linux a socket is bound to it, and does not
// listen. Then the system does not choose the port for a program that asks for any port,
// connections to it are refused, and a program that asks for that very port gets it, with
// SO_REUSEADDR as net.Listen, Erlang's port mapper and its nodes do. Elsewhere it is only a port
// that was free a moment ago.
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
