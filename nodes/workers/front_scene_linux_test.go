package workers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/sockdir"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/party"
	"github.com/cnode-go/cnode/internal/test/rawpeer"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

const (
	frontWorkers = 2
	// fullWindows is how many sessions have a full window if there are many; the others cost less.
	fullWindows = 4
	// nobody is the id of no process.
	nobody = 0
)

// A killPeer is a peer of a front.
type killPeer struct {
	*rawpeer.Questioner
	slot    int    // of its worker
	witness ei.Pid // the witness in that worker
}

// A frontScene is an old front with its workers, a new front, and peers. Each peer has sent half a
// question, and some peers have no room for what is sent to them.
type frontScene struct {
	t      *testing.T
	dir    peersDir
	sides  [2]*party.Party
	start  [2]frontStart
	share  census // the front's part of what a process has
	port   int
	peers  []*killPeer
	pids   map[int]int // of the workers, by slot
	asked  int         // questions
	late   lateComer
	moving bool // workers are moving: sessions may have got to processes that are not known
}

func newFrontScene(t *testing.T, sessions int, short bool) *frontScene {
	t.Helper()
	k := &frontScene{t: t, dir: peersDir(sockdir.New(t)), pids: map[int]int{}}
	t.Cleanup(func() {
		for _, pid := range k.processes() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		comes(t, func() string { return listed("left over", k.processes()) })
	})
	one, other, err := handoff.PacketPair()
	require.NoError(t, err)
	for i, end := range []*os.File{one, other} {
		text := of(json.Marshal(frontOrder{Heir: i == 1, Short: short})).must(t)
		k.sides[i] = party.Start(t, []string{frontVariable + "=" + string(text), k.mark()}, end)
		require.NoError(t, end.Close())
	}
	for i, p := range k.sides {
		p.Hear(t, &k.start[i])
	}
	for _, w := range k.start[0].Workers {
		k.pids[w.Slot] = w.PID
	}
	require.Len(t, k.pids, frontWorkers)
	addr := mustParse(k.start[0].Addr)
	at := of(transport.AddrPort(addr)).must(t)
	k.port = int(at.Port())
	for i := range sessions {
		p := of(k.meet(i)).must(t)
		k.peers = append(k.peers, p)
	}
	k.served() // this also makes a way from one worker to the other
	for _, p := range k.peers {
		require.NotNil(t, k.greeted(p, rawpeer.Greetings))
		p.Begin()
	}
	comes(t, k.halves)
	for i, p := range k.sides { // by now the old front has started everything that it needs
		var now census
		p.Ask(t, askCensus, &now)
		if i == 0 {
			k.share = now.minus(k.start[0].Bare)
		}
	}
	return k
}

// mark is in the environment of all processes of the scene.
func (k *frontScene) mark() string { return testPeersVariable + "=" + string(k.dir) }

// processes are the living processes of the scene.
func (k *frontScene) processes() []int { return party.Marked(k.mark()) }

// meet connects a peer.
func (k *frontScene) meet(i int) (*killPeer, error) {
	s, err := transport.TCP().Connect(soon(k.t), mustParse(k.start[0].Addr))
	if err != nil {
		return nil, err
	}
	k.t.Cleanup(func() { s.Close() })
	p := &killPeer{Questioner: &rawpeer.Questioner{Peer: &rawpeer.Peer{T: k.t, S: s}, I: i}, slot: -1}
	if err := errors.Join(rawpeer.Narrow(s, syscall.SO_RCVBUF), p.Initiate(role(peerName(i)))); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	said := k.greeted(p, 0)
	if said == nil {
		return nil, errors.Join(nodes.ErrClosed, s.Close())
	}
	p.witness = said[1].(ei.Pid)
	for slot, pid := range k.pids {
		if ei.Int(pid) == said[0] {
			p.slot = slot
		}
	}
	if p.slot < 0 {
		return nil, errors.Join(fmt.Errorf("process %v is no worker of %v", said[0], k.pids), s.Close())
	}
	return p, nil
}

// greeted asks the peer's witness to say who it is, and to send so many greetings behind that; most
// peers, if there are many, get one at most.
func (k *frontScene) greeted(p *killPeer, count int) ei.Tuple {
	if p.I >= fullWindows {
		count = min(count, 1)
	}
	ctl, asked := dist.Control{Op: dist.OpRegSend, From: p.Self, ToName: "witness"},
		ei.Tuple{p.Self, ei.Atom("greet"), ei.Int(p.I), ei.Int(count)}
	if err := p.Write(frame(k.t, ctl, asked)); err != nil {
		return nil
	}
	p.Due = count
	_, said := p.Hear()
	return said
}

// halves tells what is missing until each session has half a frame at its worker, and those that
// are to have one a full window.
func (k *frontScene) halves() string {
	sockets, err := party.Sockets(k.port)
	if err != nil {
		return err.Error()
	}
	peers := k.byPort()
	for _, s := range sockets {
		p := peers[s.Remote]
		switch {
		case s.Local != k.port || p == nil:
		case s.Unread > 0:
			return fmt.Sprintf("peer %d: %d bytes unread", p.I, s.Unread)
		case s.Unsent == 0 && p.Due == rawpeer.Greetings:
			return fmt.Sprintf("peer %d: the window is not full", p.I)
		}
	}
	return ""
}

// byPort has the peers whose connections are up, by the peers' ports.
func (k *frontScene) byPort() map[int]*killPeer {
	peers := map[int]*killPeer{}
	for _, p := range k.peers {
		if at, err := transport.AddrPort(p.S.LocalAddr()); err == nil && !p.Over {
			peers[int(at.Port())] = p
		}
	}
	return peers
}

// disturb arranges what is to go wrong.
func (k *frontScene) disturb(x disturbance) {
	k.t.Helper()
	require.NoError(k.t, k.dir.write(disturbanceFile, x))
}

// disturbed waits until it has gone wrong, and returns the process that came to the point.
func (k *frontScene) disturbed() (pid int) {
	k.t.Helper()
	comes(k.t, func() string {
		text, err := os.ReadFile(k.dir.path(disturbedFile))
		if err == nil {
			err = json.Unmarshal(text, &pid)
		}
		if err != nil {
			return "nothing has happened: " + err.Error()
		}
		return ""
	})
	return pid
}

// handOver moves the front, undisturbed.
func (k *frontScene) handOver() {
	k.t.Helper()
	party.Begin(k.t, k.sides)
	for i, p := range k.sides {
		r := p.Report(k.t)
		require.Equal(k.t, i == 1, r.Owner, r.Err)
	}
}

// served requires that the sessions of the slots, or of all slots, are served by the processes in
// k.pids.
func (k *frontScene) served(slots ...int) {
	k.t.Helper()
	k.asked++
	for _, p := range k.peers {
		if len(slots) == 0 || slices.Contains(slots, p.slot) {
			require.Equal(k.t, k.pids[p.slot], p.Ask(ei.Pid{}, k.asked), "peer %d, of worker %d", p.I, p.slot)
		}
	}
	if len(slots) == 0 { // and a process of the other worker is reached, too
		p := k.peers[0]
		for _, o := range k.peers[1:] {
			if o.slot != p.slot {
				k.asked++
				require.Equal(k.t, k.pids[o.slot], p.Ask(o.witness, k.asked), "peer %d, across", p.I)
				break
			}
		}
	}
}

// answered requires that the sessions of a slot are served, by whichever process.
func (k *frontScene) answered(slot int) {
	k.t.Helper()
	k.asked++
	for _, p := range k.peers {
		if p.slot == slot {
			require.NotZero(k.t, p.Ask(ei.Pid{}, k.asked), "peer %d, of worker %d", p.I, p.slot)
		}
	}
}

// changed waits until the sessions of a slot are served by another process, and returns that
// process.
func (k *frontScene) changed(slot int) (pid int) {
	k.t.Helper()
	i := slices.IndexFunc(k.peers, func(p *killPeer) bool { return p.slot == slot })
	comes(k.t, func() string {
		k.asked++
		if pid = k.peers[i].Ask(ei.Pid{}, k.asked); pid == k.pids[slot] {
			return "the same process serves"
		}
		return ""
	})
	require.NotZero(k.t, pid)
	return pid
}

// lose requires that the sessions of a worker that has died are closed. Two of the peers connect
// again.
func (k *frontScene) lose(slot int) {
	k.t.Helper()
	var again []int
	k.asked++
	k.peers = slices.DeleteFunc(k.peers, func(p *killPeer) bool {
		if p.slot != slot {
			return false
		}
		require.Zero(k.t, p.Ask(ei.Pid{}, k.asked), "peer %d, of worker %d, which has died", p.I, slot)
		again = append(again, p.I)
		return true
	})
	dead := k.pids[slot]
	delete(k.pids, slot)
	for _, i := range again[:min(len(again), 2)] {
		comes(k.t, func() string {
			pid, err := k.replaced(slot, dead)
			if err != nil {
				return err.Error()
			}
			k.pids[slot] = pid
			p, err := k.meet(i)
			if err != nil {
				return err.Error()
			}
			k.peers = append(k.peers, p)
			return ""
		})
	}
}

// replaced finds the new process in a slot whose process has died: it is no front, and in no other
// slot.
func (k *frontScene) replaced(slot, dead int) (int, error) {
	for _, pid := range k.processes() {
		if pid != dead && pid != k.sides[0].PID() && pid != k.sides[1].PID() && !k.isAt(pid, slot) {
			return pid, nil
		}
	}
	return nobody, fmt.Errorf("nobody is in slot %d", slot)
}

func (k *frontScene) isAt(pid, except int) bool {
	for slot, at := range k.pids {
		if slot != except && at == pid {
			return true
		}
	}
	return false
}

// closed requires that everything ends: every process and each connection, and that nothing
// listens.
func (k *frontScene) closed() {
	k.t.Helper()
	for _, p := range k.peers {
		// a worker that ends in good order may still answer
		for who := k.pids[p.slot]; who != nobody; {
			k.asked++
			who = p.Ask(ei.Pid{}, k.asked)
			if who != nobody && !k.moving {
				require.Equal(k.t, k.pids[p.slot], who, "peer %d", p.I)
			}
		}
	}
	comes(k.t, func() string { return listed("still there", k.processes()) })
	comes(k.t, func() string { return k.owners(nobody) })
}

// owners tells which connection, or the listener, is open in a wrong process, or in more than one:
// only its worker must have a session, and only this front the listener.
func (k *frontScene) owners(front int) (wrong string) {
	sockets, err := party.Sockets(k.port)
	if err != nil {
		return err.Error()
	}
	who := map[string][]int{}
	for _, pid := range k.processes() {
		for _, name := range party.Open(pid) {
			// a process may have two descriptors of one socket
			if !slices.Contains(who[name], pid) {
				who[name] = append(who[name], pid)
			}
		}
	}
	listeners, peers := 0, k.byPort()
	for _, s := range sockets {
		p := peers[s.Remote]
		switch {
		case s.Local == k.port && s.Remote == 0:
			listeners++
			if !slices.Equal(who[s.Name], []int{front}) {
				return fmt.Sprintf("the listener is that of %v, and not of %d", who[s.Name], front)
			}
		case s.Local == k.port && p != nil && !slices.Equal(who[s.Name], []int{k.pids[p.slot]}):
			return fmt.Sprintf("the session of peer %d is that of %v, and not of %d", p.I, who[s.Name], k.pids[p.slot])
		}
	}
	if want := min(front, 1); listeners != want {
		return fmt.Sprintf("%d listeners, and %d due", listeners, want)
	}
	return ""
}

// upgrade makes a front upgrade its workers; all upgrades must succeed, once workers that have died
// are replaced.
func (k *frontScene) upgrade(front *party.Party) {
	k.t.Helper()
	comes(k.t, func() string {
		var list []movedWorker
		front.Ask(k.t, askUpgrade, &list)
		return k.moved(list)
	})
}

// moved notes the new process of each worker, and tells which worker has not moved.
func (k *frontScene) moved(list []movedWorker) (wrong string) {
	for _, m := range list {
		if m.Err != "" {
			wrong += fmt.Sprintf("worker %d: %s; ", m.Slot, m.Err)
			continue
		}
		require.Equal(k.t, k.pids[m.Slot], m.Old)
		k.pids[m.Slot] = m.New
	}
	if len(list) != frontWorkers {
		wrong += fmt.Sprintf("%d workers", len(list))
	}
	return wrong
}

// goesOn requires that everything goes on with one of the fronts, as if nothing had happened: the
// late comer is served, workers can be upgraded, nothing is left over.
func (k *frontScene) goesOn(owner int) {
	k.t.Helper()
	t, front, other := k.t, k.sides[owner], k.sides[1-owner]
	k.late.served(t)
	comes(t, func() string { return k.owners(front.PID()) })
	k.upgrade(front)
	k.served()
	comes(t, func() string { return k.owners(front.PID()) })
	k.settles(front, k.start[owner].Base.plus(k.share))
	if !party.Ended(other.PID()) {
		k.settles(other, k.start[1-owner].Base)
	}
	other.Leave(t)
	front.Leave(t)
	k.closed()
}

// settles requires that a process comes to have no more descriptors and goroutines than are due.
func (k *frontScene) settles(p *party.Party, due census) {
	k.t.Helper()
	comes(k.t, func() string {
		var now census
		p.Ask(k.t, askCensus, &now)
		if now.Descriptors > due.Descriptors || now.Goroutines > due.Goroutines {
			var stacks string
			p.Ask(k.t, askStacks, &stacks)
			return fmt.Sprintf("%+v, and %+v due:\n%s\n%s", now, due, strings.Join(party.Open(p.PID()), "\n"), stacks)
		}
		return ""
	})
}

// A lateComer is a node that connects while something goes wrong, again and again until it is
// served.
type lateComer struct {
	came <-chan result[ei.Term]
	stop context.CancelFunc
}

func (k *frontScene) comeLate() {
	k.t.Helper()
	n := of(nodes.New(nodes.Config{Name: "late@127.0.0.1", Cookie: "secret", Resolver: k.dir})).must(k.t)
	ctx, cancel := context.WithCancel(context.Background())
	k.late = lateComer{stop: cancel, came: async(func() (ei.Term, error) {
		for {
			v, err := n.RPC(ctx, frontName, "w", "pid")
			if err == nil || ctx.Err() != nil {
				return v, err
			}
			time.Sleep(tick)
		}
	})}
	k.t.Cleanup(func() { cancel(); n.Close() })
}

// served requires that the node was served at last.
func (l lateComer) served(t *testing.T) {
	t.Helper()
	r := arrives(t, l.came, "the answer to who has come late")
	require.NoError(t, r.err)
}

// fails requires that the node was never served.
func (l lateComer) fails(t *testing.T) {
	t.Helper()
	l.stop()
	require.Error(t, arrives(t, l.came, "the end of who has come late").err)
}

// listed is a text that lists processes, behind what they are; "" for an empty list.
func listed(what string, pids []int) string {
	if len(pids) == 0 {
		return ""
	}
	text := what
	for _, pid := range pids {
		text += " " + strconv.Itoa(pid)
	}
	return text
}

// comes waits until nothing is wrong any more.
func comes(t testing.TB, wrong func() string) {
	t.Helper()
	for begun, pause := time.Now(), tick; ; time.Sleep(pause) {
		pause = min(2*pause, 100*tick)
		text := wrong()
		if text == "" {
			return
		}
		if time.Since(begun) > tooLong {
			require.FailNow(t, text)
		}
	}
}
