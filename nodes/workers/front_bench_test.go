//go:build unix

package workers

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes"
)

// testServer is what this program does as the node of a benchmark.
func testServer(workers string) int {
	n, err := strconv.Atoi(workers)
	if err == nil {
		err = benchNode(n)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// envBench makes this program the node of a benchmark: its value is the number of workers, 0 for
// none.
const envBench = "CNODE_BENCH_WORKERS"

// benchNode runs that node until its standard input ends.
func benchNode(workers int) error {
	ctx := context.Background()
	cfg := nodes.Config{Name: fmt.Sprintf("bench%d@127.0.0.1", workers), Cookie: "secret", Resolver: testPeers()}
	var end func() error
	if workers == 0 {
		n, err := nodes.New(cfg)
		if err != nil {
			return err
		}
		if err := n.Start(ctx); err != nil {
			return err
		}
		end = n.Close
	} else {
		f, err := Start(ctx, Config{Node: cfg, Workers: workers})
		if err != nil {
			return err
		}
		end = f.Close
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return end()
}

// startBenchNode runs that node in a process of its own, for as long as b.
func startBenchNode(b *testing.B, dir string, workers int) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), testPeersVariable+"="+dir, envBench+"="+strconv.Itoa(workers))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	_, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(b, err)
}

// How long a connection takes to be set up, by a node that is one process and by one with workers;
// the figures are medians, and added-us is the difference.
func BenchmarkConnect(b *testing.B) {
	dir := b.TempDir()
	client, err := nodes.New(nodes.Config{Name: "client@127.0.0.1", Cookie: "secret", Resolver: peersDir(dir)})
	require.NoError(b, err)
	defer client.Close()
	connect := func(workers int) time.Duration {
		begun := time.Now()
		c, err := client.Connect(context.Background(), fmt.Sprintf("bench%d@127.0.0.1", workers))
		took := time.Since(begun)
		require.NoError(b, err)
		require.NoError(b, c.Close())
		time.Sleep(200 * time.Microsecond) // until the other side sees the end
		return took
	}
	startBenchNode(b, dir, 0)
	startBenchNode(b, dir, 2)
	var took [2][]time.Duration
	for range 50 {
		connect(0)
		connect(2)
	}
	for b.Loop() {
		took[0] = append(took[0], connect(0))
		took[1] = append(took[1], connect(2))
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2]) / 1e3
	}
	plain, workers := median(took[0]), median(took[1])
	b.ReportMetric(plain, "plain-us")
	b.ReportMetric(workers, "workers-us")
	b.ReportMetric(workers-plain, "added-us")
}
