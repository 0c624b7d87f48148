package nodes

import (
	"flag"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// killVariable says that the test program is one side of a hand-off, and what it is to do.
const killVariable = "CNODE_TEST_KILL"

// Nothing of a node may outlive its Close: no goroutine, no descriptor.
func TestMain(m *testing.M) {
	if IsWorker() {
		os.Exit(testWorker())
	}
	if workers, ok := os.LookupEnv("CNODE_BENCH_WORKERS"); ok {
		os.Exit(testServer(workers))
	}
	if os.Getenv(killVariable) != "" {
		os.Exit(runKillSide())
	}
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() == "" {
		_ = flag.Set("test.parallel", "32") // parallel tests are those that wait for time to pass
	}
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil { // the poller's own descriptors stay
		_, port, _ := net.SplitHostPort(l.Addr().String())
		os.Setenv("ERL_EPMD_PORT", port) // examples must not meet this machine's port mapper
		l.Close()
	}
	before, known := descriptors()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if code == 0 && known {
			code = checkDescriptors(before)
		}
		os.Exit(code)
	}))
}

// checkDescriptors gives what the collector and the kernel do later a second, no more.
func checkDescriptors(before int) int {
	for deadline := time.Now().Add(time.Second); ; time.Sleep(10 * time.Millisecond) {
		after, _ := descriptors()
		if after <= before {
			return 0
		}
		if time.Now().After(deadline) {
			fmt.Fprintf(os.Stderr, "descriptors: %d before the tests, %d after them\n", before, after)
			return 1
		}
	}
}

// descriptors counts the open descriptors of this process, where the system tells.
func descriptors() (n int, known bool) {
	entries, err := os.ReadDir("/proc/self/fd")
	return len(entries), err == nil
}
