package await

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// echoVar makes this test's binary an echo server, with a thread for each connection: it answers at
// once, even if all processors of the process that asks are taken.
const echoVar = "CNODE_TEST_ECHO"

func init() {
	if os.Getenv(echoVar) != "" {
		serveEcho()
	}
}

// serveEcho prints its address, and ends with the process that has started this one.
func serveEcho() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(os.Stdout, ln.Addr().String()+"\n")
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		c, err := ln.Accept()
		if err != nil {
			panic(err)
		}
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			panic(err)
		}
		_ = c.Close()
		go echo(f)
	}
}

func echo(f *os.File) {
	defer f.Close()
	p := make([]byte, 100)
	for fd := int(f.Fd()); ; { // blocks
		n, err := unix.Read(fd, p)
		if err != nil || n == 0 {
			return
		}
		if _, err = unix.Write(fd, p[:n]); err != nil {
			return
		}
	}
}

// echoServer starts an echo server and returns its address.
func echoServer(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), echoVar+"=1", "GOMAXPROCS=64")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(line)
}

// A talker asks and reads the answers.
type talker struct {
	s *line
	p [16]byte
}

func (t *talker) ask(ctx context.Context) error {
	if _, err := t.s.Writev(ctx, t.p[:]); err != nil {
		return err
	}
	_, err := t.s.Readv(ctx, t.p[:])
	return err
}

// dial makes a connection whose reader waits under p.
func dial(t *testing.T, to string, p *Policy) *line {
	t.Helper()
	c, err := net.Dial("tcp", to)
	require.NoError(t, err)
	defer c.Close()
	f, err := c.(*net.TCPConn).File()
	require.NoError(t, err)
	defer f.Close()
	fd, err := sys.Dup(int(f.Fd()))
	require.NoError(t, err)
	return newLine(t, fd, p, true)
}

// untilAllHave makes all talkers ask at once until each has had n answers, and returns how long
// that took.
func untilAllHave(ctx context.Context, t *testing.T, all []talker, n int32) time.Duration {
	var done atomic.Int32
	var talks sync.WaitGroup
	begun := time.Now()
	for i := range all {
		talks.Go(func() {
			for had := int32(0); int(done.Load()) < len(all); {
				if err := all[i].ask(ctx); err != nil {
					t.Error(err)
					done.Add(int32(len(all)))
					return
				}
				if had++; had == n {
					done.Add(1)
				}
			}
		})
	}
	talks.Wait()
	return time.Since(begun)
}

// In a crowd of readers that are used to wait on their threads each has its turn: on one transport
// almost as soon as if all slept. If each reader has a transport of its own, nothing counts them.
func TestCrowdOfThreadWaits(t *testing.T) {
	need.Descriptors(t, 1000)
	const talkers = 200
	to := echoServer(t)
	for name, policies := range map[string]func() func() *Policy{
		"one transport": func() func() *Policy { p := NewPolicy(60 * time.Microsecond); return func() *Policy { return p } },
		"one each":      func() func() *Policy { return func() *Policy { return NewPolicy(60 * time.Microsecond) } },
	} {
		t.Run(name, func(t *testing.T) {
			processors(t, 2)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			policy, all := policies(), make([]talker, talkers)
			each := make([]*Policy, talkers)
			for i := range all {
				each[i] = policy()
				all[i].s = dial(t, to, each[i])
				defer all[i].s.Close()
				for range 40 { // alone
					require.NoError(t, all[i].ask(ctx))
				}
			}
			threads := untilAllHave(ctx, t, all, 20)
			if each[0] != each[1] {
				return
			}
			policy().busy.Add(100) // no place is left
			sleeping := untilAllHave(ctx, t, all, 20)
			require.Less(t, threads, 20*sleeping)
		})
	}
}

// A goroutine that has not slept for a while lets others run, and then not again for as long.
func TestLetsOthersRun(t *testing.T) {
	processors(t, 1)
	var other atomic.Bool
	go other.Store(true)
	w := side{began: time.Now()}
	for range 1000 { // the scheduler may choose this one a few times
		if w.ran = w.began.Add(-runsFor); other.Load() {
			break
		}
		w.letOthersRun()
	}
	require.True(t, other.Load())
	w.began = w.ran.Add(runsFor - 1)
	before := w.ran
	w.letOthersRun()
	require.Equal(t, before, w.ran)
	w.slept, w.began = true, w.began.Add(time.Hour)
	w.letOthersRun()
	require.Equal(t, w.began, w.ran, "it has just slept")
}
