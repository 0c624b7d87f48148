//go:build unix

package upgrade

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A process is one of the two processes, as the test sees it.
type process struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts a process with its ends of channels.
func start(t *testing.T, side string, count int, ends ...*os.File) *process {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), sideVariable+"="+side, countVariable+"="+strconv.Itoa(count))
	cmd.ExtraFiles, cmd.Stderr = ends, os.Stderr
	p := &process{t: t}
	p.in, err = cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p.out = bufio.NewReader(out)
	t.Cleanup(func() {
		_ = p.in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return p
}

func (p *process) hear() (w word) {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	require.NoError(p.t, err)
	require.NoError(p.t, json.Unmarshal([]byte(line), &w))
	require.Empty(p.t, w.Err)
	return w
}

func (p *process) begin() {
	_, err := p.in.Write([]byte("go\n"))
	require.NoError(p.t, err)
}

// ends makes the two ends of a channel for two processes.
func ends(t *testing.T) (one, other *os.File) {
	t.Helper()
	one, other, err := handoff.PacketPair()
	require.NoError(t, err)
	t.Cleanup(func() { one.Close(); other.Close() })
	return one, other
}

// clients connects nodes of this process to another one.
func clients(t *testing.T, addr string, count int) []*nodes.Conn {
	t.Helper()
	at, err := transport.ParseAddr(addr)
	require.NoError(t, err)
	conns := make([]*nodes.Conn, count)
	var wg sync.WaitGroup
	turn := make(chan struct{}, 32)
	for i := range conns {
		n, err := nodes.New(nodes.Config{
			Name: "client" + strconv.Itoa(i) + "@127.0.0.1", Cookie: sideCookie, Resolver: nodes.Static{sideName: {Addr: at}},
			HandshakeTimeout: patience,
		})
		require.NoError(t, err)
		t.Cleanup(func() { n.Close() })
		require.NoError(t, n.Start(context.Background()))
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			c, err := n.Connect(context.Background(), sideName)
			if err != nil {
				t.Error(err)
			}
			conns[i] = c
		})
	}
	wg.Wait()
	require.False(t, t.Failed())
	return conns
}

// A prober asks without pause over one connection, and notes the longest time without an answer.
type prober struct {
	gap   atomic.Int64
	calls atomic.Int64
	stop  chan struct{}
	wg    sync.WaitGroup
}

func probe(t *testing.T, c *nodes.Conn) *prober {
	t.Helper()
	p := &prober{stop: make(chan struct{})}
	var mu sync.Mutex
	last := time.Now()
	for range 4 {
		box, err := c.Node().NewMailbox(nil)
		require.NoError(t, err)
		p.wg.Go(func() {
			for i := ei.Int(0); ; i++ {
				select {
				case <-p.stop:
					return
				default:
				}
				if err := ask(box, i); err != nil {
					t.Errorf("question %v: %v", i, err)
					return
				}
				p.calls.Add(1)
				mu.Lock()
				now := time.Now()
				p.gap.Store(max(p.gap.Load(), int64(now.Sub(last))))
				last = now
				mu.Unlock()
			}
		})
	}
	return p
}

// ask asks once.
func ask(box *nodes.Mailbox, i ei.Int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := box.SendName(ctx, sideName, "echo", ei.Tuple{box.Pid(), i}); err != nil {
		return err
	}
	m, err := box.Receive(ctx)
	if err != nil {
		return err
	}
	if got, err := m.Term(); err != nil || got != ei.Term(i) {
		return fmt.Errorf("the answer is %v, %v", got, err)
	}
	return nil
}

func (p *prober) end() {
	close(p.stop)
	p.wg.Wait()
}

// A node with many connections, and many mailboxes, moves to another process, and no connection
// that is made meanwhile is refused.
func TestUpgradeFigures(t *testing.T) {
	conns := otp.Times("CNODE_CONNECTIONS", 100)
	for _, mailboxes := range []int{1, 10 * conns} {
		t.Run(strconv.Itoa(mailboxes), func(t *testing.T) {
			one, other := ends(t)
			owner := start(t, "owner", mailboxes, one)
			addr := owner.hear().Addr
			all := clients(t, addr, conns)
			p := probe(t, all[0])
			require.Eventually(t, func() bool { return p.calls.Load() > 100 }, patience, time.Millisecond)
			arrivals, stop := make(chan int), make(chan struct{})
			go func() { arrivals <- arrive(t, addr, stop) }()
			p.gap.Store(0)
			heir := start(t, "heir", mailboxes, other)
			owner.begin()
			heir.hear()
			w := owner.hear()
			close(stop)
			came := <-arrivals
			p.end()
			for _, c := range all {
				box, err := c.Node().NewMailbox(nil)
				require.NoError(t, err)
				require.NoError(t, ask(box, 1))
			}
			t.Logf("a node with %d connections and %d mailboxes moved between two processes: silence %v; longest time without an answer %v; "+
				"state %d KiB; %d connected meanwhile, none was refused",
				conns, mailboxes, w.Silence, time.Duration(p.gap.Load()), w.State>>10, came)
		})
	}
}

// arrive connects and leaves, again and again.
func arrive(t *testing.T, addr string, stop <-chan struct{}) (came int) {
	at, err := transport.ParseAddr(addr)
	if err != nil {
		t.Error(err)
		return 0
	}
	for ; ; came++ {
		select {
		case <-stop:
			return came
		default:
		}
		n, err := nodes.New(nodes.Config{
			Name: "late" + strconv.Itoa(came) + "@127.0.0.1", Cookie: sideCookie, Resolver: nodes.Static{sideName: {Addr: at}},
			HandshakeTimeout: patience,
		})
		if err == nil {
			_, err = n.Connect(context.Background(), sideName)
			n.Close()
		}
		if err != nil {
			t.Errorf("arrival %d: %v", came, err)
			return came
		}
	}
}
