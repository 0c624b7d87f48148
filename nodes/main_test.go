package nodes

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/port"
)

// killVariable says that the test program is one side of a hand-off, and what it is to do.
const killVariable = "CNODE_TEST_KILL"

// Nothing of a node may outlive its Close: no goroutine, no descriptor.
func TestMain(m *testing.M) {
	if os.Getenv(benchVariable) != "" {
		os.Exit(runBenchNode())
	}
	if os.Getenv(killVariable) != "" {
		os.Exit(runKillSide())
	}
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() == "" {
		_ = flag.Set("test.parallel", "32") // parallel tests are those that wait for time to pass
	}
	mapper, _, err := port.Reserve()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// examples must not meet this machine's port mapper
	os.Setenv("ERL_EPMD_PORT", strconv.Itoa(mapper))
	os.Exit(leak.Run(m))
}

// descriptors counts the open descriptors of this process, on systems that tell, without those that
// serve for waiting: a connection gets these when it first has to wait.
func descriptors() (n int, known bool) {
	open := leak.Descriptors()
	for _, target := range open {
		if target != eventpoll {
			n++
		}
	}
	return n, open != nil
}

const eventpoll = "anon_inode:[eventpoll]"
