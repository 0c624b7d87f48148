package workers

import (
	"flag"
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
)

// Nothing of a node may outlive its Close: no goroutine, no descriptor.
func TestMain(m *testing.M) {
	if IsWorker() {
		os.Exit(testWorker())
	}
	if os.Getenv(frontVariable) != "" {
		os.Exit(runFrontSide())
	}
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() == "" {
		_ = flag.Set("test.parallel", "32") // parallel tests are those that wait for time to pass
	}
	os.Exit(leak.Run(m))
}

// descriptors counts the open descriptors of this process, on systems that tell, without those that
// serve for waiting: a connection gets these when it first has to wait.
func descriptors() (n int, known bool) {
	open := leak.Descriptors()
	for _, target := range open {
		if target != "anon_inode:[eventpoll]" {
			n++
		}
	}
	return n, open != nil
}
