// Package need is for tests that need something of the machine: a program to compare with, a family
// of addresses, the rights of root.
package need

import (
	"net"
	"os"
	"os/exec"
	"testing"
)

// Variable is the environment variable that says, if it is set, that nothing may be missing:
// test/run.sh has installed everything.
const Variable = "CNODE_TEST_REQUIRE"

// All tells whether nothing may be missing.
func All() bool { return os.Getenv(Variable) != "" }

// Missing ends a test that lacks something: the test is skipped, or fails if nothing may be
// missing.
func Missing(t testing.TB, why string) {
	t.Helper()
	if All() {
		t.Fatalf("%s is set: %s", Variable, why)
	}
	t.Skip(why)
}

// Program gives the path of a program.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, "no "+name+" on the PATH")
	}
	return path
}

// Root ends a test that does not run as root: see Missing.
func Root(t testing.TB, why string) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, why)
	}
}

// IPv6 skips a test if the loopback interface has no IPv6 address: not all machines have IPv6, and
// it cannot be installed.
func IPv6(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	l.Close()
}
