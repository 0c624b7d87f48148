// Package need is for tests that need something of the machine: a program to compare with, a family
// of addresses, the rights of root.
package need

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
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

// Long skips a test that takes long, repeats itself or waits for rare moments, where tests are run
// with -short: test/run.sh leaves it to its long lane. cost is about what it takes there, on a
// quiet machine; what it took goes to the file that CNODE_TEST_TIMES names.
func Long(t testing.TB, cost time.Duration) {
	t.Helper()
	if testing.Short() {
		t.Skipf("takes about %v: test/run.sh long runs it", cost)
	}
	begun := time.Now()
	t.Cleanup(func() {
		file := os.Getenv("CNODE_TEST_TIMES")
		if file == "" {
			return
		}
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err == nil {
			_, err = fmt.Fprintf(f, "%6.1f s, planned %v: %s %s\n", time.Since(begun).Seconds(), cost, filepath.Base(os.Args[0]), t.Name())
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Error(err)
		}
	})
}

// Fewer is how often a test does something: with -short less often, and as often as all in the long
// lane.
func Fewer(short, all int) int {
	if testing.Short() {
		return short
	}
	return all
}

// Sample gives what of all a test tries: with -short as many as it says, in their order, chosen by
// a seed that the log has and CNODE_TEST_SEED sets; all of them in the long lane.
func Sample[T any](t testing.TB, short int, all []T) []T {
	t.Helper()
	if !testing.Short() || len(all) <= short {
		return all
	}
	seed := rand.Uint64()
	if text := os.Getenv("CNODE_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("CNODE_TEST_SEED: %v", err)
		}
	}
	t.Logf("%d of %d: CNODE_TEST_SEED=%d chooses the same", short, len(all), seed)
	places := rand.New(rand.NewPCG(seed, 0)).Perm(len(all))[:short]
	slices.Sort(places)
	some := make([]T, 0, short)
	for _, i := range places {
		some = append(some, all[i])
	}
	return some
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
