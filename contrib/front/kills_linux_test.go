package front

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport/handoff"
)

const (
	frontVariable = "CNODE_TEST_KEEPER_FRONT"      // the workers' path
	frontDies     = "CNODE_TEST_KEEPER_FRONT_DIES" // a step of a Keeper, and at which of them; or a point of the hand-off
)

func dieNow() {
	_ = unix.Kill(os.Getpid(), unix.SIGKILL)
	select {}
}

// dieAt kills this process at a point of a hand-off.
func dieAt(point string) func(handoffpoint.Point) {
	return func(p handoffpoint.Point) {
		if string(p) == point {
			dieNow()
		}
	}
}

// frontMain is a front in a process of its own. It says where clients come. With a line at its
// standard input it gives everything to an heir, which has the same input, and says what has come
// of it.
func frontMain() int {
	path, dies := os.Getenv(frontVariable), os.Getenv(frontDies)
	err := func() error {
		k, err := New(&Options{Dial: allowAll()})
		if err != nil {
			return err
		}
		if step, n, ok := strings.Cut(dies, ":"); ok {
			var passed atomic.Int64
			number, _ := strconv.ParseInt(n, 10, 64)
			k.reached = func(s string) {
				if s == step && passed.Add(1) == number {
					dieNow()
				}
			}
		}
		l, err := k.Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		go func() { _ = k.Serve(context.Background(), l, nil) }()
		if err := k.Workers(context.Background(), path); err != nil {
			return err
		}
		fmt.Println(l.Addr())
		one := make([]byte, 1)
		if n, _ := os.Stdin.Read(one); n == 0 {
			return k.Close()
		}
		ch, theirs, err := handoff.ChannelPair()
		if err != nil {
			return err
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, frontVariable) }),
			heirVariable+"=tcp 127.0.0.1:0|"+path)
		cmd.ExtraFiles, cmd.Stderr, cmd.Stdin = []*os.File{theirs}, os.Stderr, os.Stdin
		if err := cmd.Start(); err != nil {
			return err
		}
		_ = theirs.Close()
		handed, err := k.Give(handoffpoint.With(context.Background(), dieAt(strings.Replace(dies, ";", ":", 1))), ch)
		fmt.Println(handed.Moved, err)
		_, _ = io.Copy(io.Discard, os.Stdin)
		return k.Close()
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "front:", err)
		return 1
	}
	return 0
}

// A frontProcess is a front that can be killed. Its end is that of its standard input, at the end
// of the test.
type frontProcess struct {
	addr  string
	in    io.Writer
	out   *bufio.Reader
	ended chan struct{}
}

func startFront(t *testing.T, path, dies string) *frontProcess {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), frontVariable+"="+path, frontDies+"="+dies)
	cmd.Stderr = os.Stderr
	stdin, in, err := os.Pipe() // an heir has it as well: it does not end with the front
	require.NoError(t, err)
	cmd.Stdin = stdin
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_ = stdin.Close()
	f := &frontProcess{in: in, out: bufio.NewReader(out), ended: make(chan struct{})}
	t.Cleanup(func() {
		_ = in.Close()
		<-f.ended
	})
	line, err := f.out.ReadString('\n')
	require.NoError(t, err)
	f.addr = strings.TrimSpace(line)
	go func() {
		_ = cmd.Wait()
		close(f.ended)
	}()
	return f
}

// A localWorker is a worker in this process, whose sessions outlive the front.
func localWorker(t *testing.T, path string) *testWorker {
	t.Helper()
	w, err := joinKeeper(path, "local", "peek")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- w.serve() }()
	t.Cleanup(func() {
		w.leave()
		<-served
		require.Eventually(t, func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.conns) == 0 }, patience, time.Millisecond)
	})
	return w
}

// The front is killed at each of its steps: the sessions that are a worker's, or on their way to
// it, go on there, exactly; those that are not are closed.
func TestFrontIsKilled(t *testing.T) {
	for _, tt := range []struct {
		step   string
		goesOn bool
	}{
		{"admit:1", false}, {"forward:1", false}, {"forwarded:1", true}, {"heard t:1", true}, {"heard m:1", true}, {"heard m:3", true},
	} {
		t.Run(tt.step, func(t *testing.T) {
			path := filepath.Join(sockdir.New(t), "w")
			f := startFront(t, path, tt.step)
			localWorker(t, path)
			base := len(descriptors(t))
			c := dial(t, f.addr)
			for i := range 5 {
				_, err := c.ask(fmt.Sprint("line ", i))
				if !tt.goesOn {
					require.Error(t, err)
					break
				}
				require.NoError(t, err)
			}
			<-f.ended
			require.NoError(t, c.Close())
			require.Eventually(t, func() bool { return len(descriptors(t)) <= base }, patience, time.Millisecond, "%q", descriptors(t))
		})
	}
	for _, step := range []string{"heard d", "heard r", "heard x", "settle", "settled"} {
		t.Run(step, func(t *testing.T) {
			path := filepath.Join(sockdir.New(t), "w")
			f := startFront(t, path, step+":1")
			p := startWorker(t, path, "peek", "")
			c := dial(t, f.addr)
			c.must(t, "one")
			if step == "heard d" {
				require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
			} else {
				require.NoError(t, p.cmd.Process.Signal(unix.SIGTERM))
			}
			_, err := c.r.ReadByte() // no one has it any more, and nothing is said that is not so
			require.Error(t, err)
			<-f.ended
		})
	}
}

func descriptors(t testing.TB) (all []string) {
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, e := range entries {
		to, _ := os.Readlink("/proc/self/fd/" + e.Name())
		all = append(all, e.Name()+" "+to)
	}
	return all
}

var (
	heirPoints = []handoffpoint.Point{handoffpoint.HeirConnected, handoffpoint.HeirGreeted, handoffpoint.HeirPrepared,
		handoffpoint.HeirDescriptorsHalf, handoffpoint.HeirDescriptorsAll, handoffpoint.HeirStateAll, handoffpoint.HeirOffered,
		handoffpoint.HeirStaged, handoffpoint.HeirWaits, handoffpoint.HeirOwns, handoffpoint.HeirStarted, handoffpoint.HeirSaid,
		handoffpoint.HeirParted}
	ownerPoints = []handoffpoint.Point{handoffpoint.OwnerConnected, handoffpoint.OwnerGreeted, handoffpoint.OwnerFreezes,
		handoffpoint.OwnerFrozen, handoffpoint.OwnerDescriptorsHalf, handoffpoint.OwnerDescriptorsSent, handoffpoint.OwnerStateSent,
		handoffpoint.OwnerOffered, handoffpoint.OwnerAccepted, handoffpoint.OwnerCommitted, handoffpoint.OwnerHeard,
		handoffpoint.OwnerReleased, handoffpoint.OwnerLeaves}
)

// The next process of a front is killed at each step of the hand-off. Until it owns the sessions
// nothing has changed, neither for those that are served nor for those that wait or begin. From
// then on it is a front that is killed: what is served, or on its way to the worker, goes on there.
func TestHeirIsKilled(t *testing.T) {
	owns := slices.Index(heirPoints, handoffpoint.HeirOwns)
	for i, point := range heirPoints {
		t.Run(string(point), func(t *testing.T) {
			var hold atomic.Bool
			h := newHouse(t, &Options{Policy: func(s *Session, workers []Worker) int {
				if hold.Load() {
					return -1
				}
				return LeastSessions(s, workers)
			}}, nil)
			proxies, err := h.k.Listen(t.Context(), "tcp", "localhost:0")
			require.NoError(t, err)
			served := make(chan error, 1)
			go func() { served <- h.k.Serve(context.Background(), proxies, &ServeOptions{Proxy: true}) }()
			localWorker(t, h.path)
			c := dial(t, h.addr)
			c.must(t, "before")
			hold.Store(true)
			waits, begins := dial(t, h.addr), dial(t, proxies.Addr().String())
			_, err = begins.Write([]byte("PROXY TCP4 192.0.2.1 192.0."))
			require.NoError(t, err)
			h.until("they are there", func(s Stats) bool { return s.Parked == 1 && s.Beginning == 1 })
			handed, err := h.giveTo(append(os.Environ(), heirVariable+"=tcp 127.0.0.1:0|tcp+proxy localhost:0|"+h.path, heirDies+"="+string(point)))
			hold.Store(false)
			c.must(t, "after")
			if i < owns {
				require.Error(t, err)
				require.False(t, handed.Moved)
				dial(t, h.addr).must(t, "new") // which makes the front look again
				waits.must(t, "waited")
				_, err = begins.Write([]byte("2.2 1 2\r\n"))
				require.NoError(t, err)
				require.Contains(t, begins.must(t, "who"), " 192.0.2.1:1 ")
			} else {
				require.True(t, handed.Moved)
				require.ErrorIs(t, <-served, net.ErrClosed)
				if _, err := waits.ask("waited"); point == handoffpoint.HeirOwns {
					require.Error(t, err, "nobody has it")
				} else {
					require.NoError(t, err, "it was on its way to the worker")
				}
			}
			c.must(t, "and again")
			_ = c.Close()
		})
	}
}

// The front that gives is killed at each step of the hand-off: what is served goes on, with the
// next front if that one has it, else with the worker alone.
func TestGivingFrontIsKilled(t *testing.T) {
	owns := slices.Index(ownerPoints, handoffpoint.OwnerCommitted)
	for i, point := range ownerPoints {
		t.Run(string(point), func(t *testing.T) {
			path := filepath.Join(sockdir.New(t), "w")
			f := startFront(t, path, strings.Replace(string(point), ":", ";", 1))
			localWorker(t, path)
			c := dial(t, f.addr)
			c.must(t, "before")
			_, err := f.in.Write([]byte("\n"))
			require.NoError(t, err)
			<-f.ended
			c.must(t, "after")
			if i >= owns {
				dial(t, f.addr).must(t, "new")
			}
			_ = c.Close()
		})
	}
}
