package transport

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// echoVar has the test's binary be an echo server: a peer that answers while all of this process's processors are taken.
const echoVar = "CNODE_TEST_ECHO"

func TestEchoServer(t *testing.T) {
	if os.Getenv(echoVar) == "" {
		t.Skip("it is the other process of TestPollingCrowd")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, _ = os.Stdout.WriteString(ln.Addr().String() + "\n")
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			f, err := c.(*net.TCPConn).File()
			if err != nil {
				return
			}
			_ = c.Close()
			go func() { // blocks in its own thread
				fd, p := int(f.Fd()), make([]byte, 100)
				for {
					n, err := unix.Read(fd, p)
					if err != nil || n == 0 {
						_ = f.Close()
						return
					}
					_, _ = unix.Write(fd, p[:n])
				}
			}()
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends
}

func echoServer(t *testing.T) string {
	cmd := exec.Command(os.Args[0], "-test.run=^TestEchoServer$")
	cmd.Env = append(os.Environ(), echoVar+"=1", "GOMAXPROCS=64")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	addr, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(addr)
}

// Among many whose peers answer at once nobody polls, or sits, all the time while others wait for a processor.
func TestPollingCrowd(t *testing.T) {
	for _, limit := range []time.Duration{DefaultPolling, 0} {
		t.Run(limit.String(), func(t *testing.T) {
			processors(t, 2)
			const talkers, each = 300, 20
			addr := echoServer(t)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			var slowest atomic.Int32
			var talks sync.WaitGroup
			start := make(chan struct{})
			counts := make([]int, talkers)
			for i := range talkers {
				to, err := ParseAddr(addr)
				require.NoError(t, err)
				s, err := WithPolling(TCP(), limit).Connect(ctx, to) // as many nodes
				require.NoError(t, err)
				defer s.Close()
				p := make([]byte, 16)
				for range 40 {
					_, err := s.Writev(ctx, p)
					require.NoError(t, err)
					_, err = s.Readv(ctx, p)
					require.NoError(t, err)
				}
				talks.Go(func() {
					<-start
					for slowest.Load() < talkers && ctx.Err() == nil {
						if _, err := s.Writev(ctx, p); err != nil {
							t.Error(err)
							return
						}
						if _, err := s.Readv(ctx, p); err != nil {
							t.Error(err)
							return
						}
						if counts[i]++; counts[i] == each {
							slowest.Add(1)
						}
					}
				})
			}
			begun := time.Now()
			close(start)
			talks.Wait()
			slices.Sort(counts)
			t.Log(time.Since(begun), counts[0], counts[talkers/2], counts[talkers-1], runtime.NumGoroutine())
		})
	}
}
