package nodes

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// Package handoff kills and stops both sides everywhere. Here it is a whole node that is handed over, at the points where that makes a difference; the test program
// started again is one side.
const (
	killPeers     = 3
	killsAtOnce   = 6
	killPatience  = 20 * time.Second
	killDeadline  = 2500 * time.Millisecond
	greetings     = 20
	greetingBytes = 8 << 10
	narrowWindow  = 32 << 10
)

var (
	ownerPoints = []handoff.Point{
		handoff.OwnerGreeted, handoff.OwnerFrozen, handoff.OwnerDescriptorsSent, handoff.OwnerStateSent, handoff.OwnerAccepted, handoff.OwnerCommitted,
		handoff.OwnerHeard, handoff.OwnerReleased,
	}
	heirPoints = []handoff.Point{
		handoff.HeirPrepared, handoff.HeirStateAll, handoff.HeirOffered, handoff.HeirStaged, handoff.HeirWaits, handoff.HeirOwns, handoff.HeirStarted,
		handoff.HeirSaid,
	}
)

// A killOrder tells a side what to do.
type killOrder struct {
	Owner  bool
	Addr   string // of the peers
	Half   int    // bytes of a message of each that have come
	At     handoff.Point
	Signal syscall.Signal
	Short  bool
}

// A killReport is what a side says when the hand-off is over.
type killReport struct {
	PID   int
	Owner bool
	Err   string
}

func peerName(i int) string { return "peer" + strconv.Itoa(i) + "@test" }

func greetingOf(peer, k int) ei.Binary {
	b := make(ei.Binary, greetingBytes)
	for i := range b {
		b[i] = byte(i + k + peer)
	}
	return b
}

// runKillSide is the main function of a side.
func runKillSide() int {
	var o killOrder
	err := json.Unmarshal([]byte(os.Getenv(killVariable)), &o)
	if err == nil {
		err = o.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (o killOrder) config() (Config, error) {
	at, err := transport.ParseAddr(o.Addr)
	table := Static{}
	for i := range killPeers {
		table[peerName(i)] = Endpoint{Addr: at}
	}
	echo := func(self *Mailbox, m *Message) {
		if t, err := m.Term(); err == nil {
			question := t.(ei.Tuple)
			_ = self.Send(context.Background(), question[0].(ei.Pid), ei.Tuple{question[1], ei.Int(os.Getpid())})
		}
	}
	return Config{
		Name: "mover@test", Cookie: "secret", Creation: 4711, Resolver: table,
		Setup: func(n *Node) error { _, err := n.Handle("echo", echo, nil); return err },
	}, err
}

func (o killOrder) run() error {
	goesOn := make(chan os.Signal, 1)
	signal.Notify(goesOn, syscall.SIGCONT)
	reached := func(p handoff.Point) {
		if p == o.At {
			_ = syscall.Kill(os.Getpid(), o.Signal)
			<-goesOn
		}
	}
	var d handoff.Deadlines
	if o.Short {
		d = handoff.Deadlines{
			Hello: killDeadline, Static: killDeadline, Freeze: killDeadline, Offer: killDeadline, Stage: killDeadline, Take: killDeadline, Goodbye: killDeadline,
		}
	}
	ch, err := handoff.FileChannel(os.NewFile(3, "channel"))
	if err != nil {
		return err
	}
	ctx := context.Background()
	cfg, err := o.config()
	if err != nil {
		return err
	}
	r := killReport{PID: os.Getpid()}
	in := bufio.NewReader(os.Stdin)
	var n *Node
	if o.Owner {
		if n, err = New(cfg); err == nil {
			err = n.Start(ctx)
		}
		if err == nil {
			err = o.meet(ctx, n)
		}
		if err != nil {
			return err
		}
	}
	fmt.Println("ready") // and the other side, too: no deadline is to begin before
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	if o.Owner {
		if err := o.wait(n); err != nil {
			return err
		}
		h, err := (&handoff.Offer{
			Freeze: func(ctx context.Context) (handoff.Frozen, error) { return o.freeze(ctx, n) }, Deadlines: d, Reached: reached,
		}).Give(ctx, ch)
		r.Owner, r.Err = !h.Moved, fmt.Sprint(err)
	} else {
		_, err := (&handoff.Acceptance{
			Stage: func(_ context.Context, state []byte, fds []int) (handoff.Staged, error) {
				return Restore(cfg, state, fds)
			}, Deadlines: d, Reached: reached,
		}).Take(ctx, ch)
		var h *handoff.HandoffError
		r.Owner, r.Err = err == nil || errors.As(err, &h) && h.Owns, fmt.Sprint(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// meet connects to all peers and says more to each than its window holds.
func (o killOrder) meet(ctx context.Context, n *Node) error {
	for i := range killPeers {
		c, err := n.Connect(ctx, peerName(i))
		if err != nil {
			return err
		}
		raw, err := c.Stream().SyscallConn()
		if err != nil {
			return err
		}
		if err := raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, narrowWindow) }); err != nil {
			return err
		}
		for k := range greetings {
			if err := c.SendName(ctx, "sink", ei.Tuple{ei.Int(k), greetingOf(i, k)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// wait waits until what the peers have said has been read.
func (o killOrder) wait(n *Node) error {
	for i := range killPeers {
		c := n.Conn(peerName(i))
		if c == nil {
			return fmt.Errorf("no connection to %s", peerName(i))
		}
		fd, err := c.s.Descriptor()
		for begun := time.Now(); err == nil; time.Sleep(time.Millisecond) {
			var unread int
			if unread, err = unix.IoctlGetInt(fd, unix.TIOCINQ); unread == 0 {
				break
			}
			if time.Since(begun) > killPatience {
				err = fmt.Errorf("%d bytes unread", unread)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// freeze freezes the node, and looks whether it has half a frame in either direction.
func (o killOrder) freeze(ctx context.Context, n *Node) (handoff.Frozen, error) {
	f, err := n.Freeze(ctx)
	if err != nil {
		return nil, err
	}
	var s nodeState
	if err = readState(kindNode, f.State(), &s); err == nil && len(s.conns) != killPeers {
		err = fmt.Errorf("%d connections", len(s.conns))
	}
	for _, c := range s.conns {
		if len(c.ahead) != o.Half || len(c.rest) == 0 || len(c.rest) >= greetings*greetingBytes {
			err = fmt.Errorf("%s: %d bytes read and %d unsent, in place of halves", c.peer.Name, len(c.ahead), len(c.rest))
		}
	}
	if err != nil {
		f.Thaw()
		return nil, err
	}
	return f, nil
}

// A killPeer is the other end of a connection, which this process plays.
type killPeer struct {
	*wire
	i     int
	rest  []byte // of the first question
	heard int    // greetings
}

func (p *killPeer) question(q int) []byte {
	return frame(p.t, dist.Control{Op: dist.OpRegSend, From: p.self, ToName: "echo"}, ei.Tuple{p.self, ei.Int(q)})
}

// ask asks, and returns which process answers, 0 if the connection is closed. Everything that was said before has to come first, once and in order.
func (p *killPeer) ask(q int) (pid int) {
	out := p.question(q)
	if p.rest != nil {
		q, out, p.rest = 0, p.rest, nil
	}
	if err := p.write(out); err != nil {
		require.NotErrorIs(p.t, err, context.DeadlineExceeded)
	}
	for {
		body, err := p.frame(patience(p.t))
		if err != nil {
			require.NotErrorIs(p.t, err, context.DeadlineExceeded)
			return 0
		}
		if len(body) == 0 {
			continue
		}
		var ctl dist.Control
		_, raw, err := dist.ParseFrame(body, p.peer.Flags, nil, &ctl)
		require.NoError(p.t, err)
		term, err := raw.Decode()
		require.NoError(p.t, err)
		said := term.(ei.Tuple)
		if ctl.ToName == "sink" {
			require.Equal(p.t, ei.Int(p.heard), said[0], "peer %d", p.i)
			require.Equal(p.t, greetingOf(p.i, p.heard), said[1])
			p.heard++
			continue
		}
		require.Equal(p.t, greetings, p.heard, "peer %d: the answer has overtaken", p.i)
		require.Equal(p.t, ei.Int(q), said[0], "peer %d: the answer to another question", p.i)
		return int(said[1].(ei.Int))
	}
}

// ask asks all.
func ask(peers []*killPeer, q int) (owner int) {
	for i, p := range peers {
		who := p.ask(q)
		if i > 0 {
			require.Equal(p.t, owner, who, "two owners")
		}
		owner = who
	}
	return owner
}

// A killParty is a side.
type killParty struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startKillParty(t *testing.T, o killOrder, end *os.File) *killParty {
	t.Helper()
	text, err := json.Marshal(o)
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	p := &killParty{cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), killVariable+"="+string(text), "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	p.cmd.ExtraFiles, p.cmd.Stderr = []*os.File{end}, os.Stderr
	p.in, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	p.out = bufio.NewReader(out)
	watchdog := time.AfterFunc(time.Minute, func() { _ = p.cmd.Process.Kill() })
	t.Cleanup(func() {
		watchdog.Stop()
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
	return p
}

func (p *killParty) report(t *testing.T) (r killReport) {
	t.Helper()
	line, err := p.out.ReadString('\n')
	require.NoError(t, err, "it has said nothing")
	require.NoError(t, json.Unmarshal([]byte(line), &r))
	return r
}

// halted waits until the process has been stopped.
func (p *killParty) halted(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/stat")
		_, rest, _ := strings.Cut(string(b), ") ")
		return err == nil && strings.HasPrefix(rest, "T")
	}, killPatience, time.Millisecond)
}

// One side dies or stops while a node is handed over, each of whose peers has sent half a message and has no room for ours: at most one process serves, and each peer
// gets everything once and in order, or sees the end of the connection.
func TestKill(t *testing.T) {
	turns := make(chan struct{}, killsAtOnce)
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		for side, points := range [][]handoff.Point{ownerPoints, heirPoints} {
			owns := []handoff.Point{handoff.OwnerCommitted, handoff.HeirOwns}[side]
			for i, at := range points {
				t.Run(fmt.Sprintf("%v/%s", sig, at), func(t *testing.T) {
					t.Parallel()
					turns <- struct{}{}
					defer func() { <-turns }()
					killOne(t, side, killOrder{At: at, Signal: sig}, i >= slices.Index(points, owns))
				})
			}
		}
	}
}

func killOne(t *testing.T, victim int, o killOrder, moved bool) {
	w := newWorld(t, "tcp")
	a := w.ambush("peers@test")
	var peers []*killPeer
	o.Addr, o.Short = a.l.Addr().String(), o.Signal == syscall.SIGSTOP
	o.Half = len((&killPeer{wire: &wire{t: t, self: ei.Pid{Node: ei.Atom(peerName(0)), ID: 1, Creation: 77}}}).question(0)) / 2
	var orders [2]killOrder
	for i := range orders {
		orders[i] = o
		orders[i].Owner = i == 0
		if i != victim {
			orders[i].At = ""
		}
	}
	one, other, err := handoff.SocketPair()
	require.NoError(t, err)
	parties := [2]*killParty{startKillParty(t, orders[0], one), startKillParty(t, orders[1], other)}
	require.NoError(t, errors.Join(one.Close(), other.Close()))
	for i := range killPeers {
		p := &killPeer{wire: a.accept(), i: i}
		raw, err := p.s.SyscallConn()
		require.NoError(t, err)
		require.NoError(t, raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, narrowWindow) }))
		require.NoError(t, p.respond(role(peerName(i)), dist.StatusOK))
		first := p.question(0)
		require.NoError(t, p.write(first[:o.Half]))
		p.rest = first[o.Half:]
		peers = append(peers, p)
	}
	for _, p := range parties {
		line, err := p.out.ReadString('\n')
		require.NoError(t, err, "it has said nothing")
		require.Equal(t, "ready\n", line)
	}
	for _, p := range parties {
		_, err := p.in.Write([]byte("\n"))
		require.NoError(t, err)
	}

	v, rest := parties[victim], parties[1-victim]
	owner := parties[0]
	if moved {
		owner = parties[1]
	}
	if o.Signal == syscall.SIGKILL {
		_ = v.cmd.Wait()
		r := rest.report(t)
		require.Equal(t, owner == rest, r.Owner, r.Err)
		want := 0
		if r.Owner {
			want = r.PID
		}
		require.Equal(t, want, ask(peers, 1), r.Err)
	} else {
		v.halted(t)
		first := rest.report(t)
		require.Equal(t, owner == rest, first.Owner, first.Err)
		if first.Owner {
			require.Equal(t, first.PID, ask(peers, 1))
		}
		require.NoError(t, v.cmd.Process.Signal(syscall.SIGCONT))
		second := v.report(t)
		require.Equal(t, owner == v, second.Owner, second.Err)
		for q := range 3 {
			require.Equal(t, owner.cmd.Process.Pid, ask(peers, 2+q))
		}
	}
	for _, p := range parties {
		_ = p.in.Close()
		if p != v || o.Signal != syscall.SIGKILL {
			require.NoError(t, p.cmd.Wait())
		}
	}
	require.Zero(t, ask(peers, 9), "somebody still has a connection")
}
