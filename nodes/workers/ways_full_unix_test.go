//go:build unix

package workers

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/internal/test/rawpeer"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/link"
)

// A flood is more than the way between two processes holds: the queues and windows at either end,
// and those of the two workers in between.
const (
	floodMessages = 1200
	floodBytes    = 32 << 10
)

// flood sends numbers to a process, each in a large message.
func flood(ctx context.Context, b *nodes.Mailbox, to ei.Pid) error {
	fill := make(ei.Binary, floodBytes)
	for i := range floodMessages {
		if err := b.Send(ctx, to, ei.Tuple{ei.Int(i), fill}); err != nil {
			return fmt.Errorf("number %d: %w", i, err)
		}
	}
	return nil
}

// drained receives what flood has sent, each number once and in order.
func drained(ctx context.Context, b *nodes.Mailbox) error {
	for i := range floodMessages {
		m, err := b.Receive(ctx)
		if err != nil {
			return fmt.Errorf("number %d: %w", i, err)
		}
		v, err := m.Term()
		if err != nil {
			return err
		}
		if got := v.(ei.Tuple)[0]; got != ei.Int(i) {
			return fmt.Errorf("%v came, and %d is due", got, i)
		}
	}
	return nil
}

// setUpFlood gives a worker processes that send more than others read, and makes it stop reading.
func setUpFlood(n *nodes.Node) {
	n.Expose("w", "flood", func(_ context.Context, args []ei.Term) (any, error) {
		b, err := n.NewMailbox(nil)
		if err != nil {
			return nil, err
		}
		go func() { _ = flood(context.Background(), b, args[0].(ei.Pid)) }()
		return b.Pid(), nil
	})
	// it reads nothing more of a peer
	n.Expose("w", "deaf", func(ctx context.Context, args []ei.Term) (any, error) {
		b, err := n.NewMailbox(nil)
		if err != nil {
			return nil, err
		}
		to := args[0].(ei.Pid)
		if err := b.Send(ctx, to, "for the way"); err != nil {
			return nil, err
		}
		return b.Pid(), linkOf(n.Conn(string(to.Node))).StopReading(ctx)
	})
	n.Expose("w", "drain", func(ctx context.Context, args []ei.Term) (any, error) {
		linkOf(n.Conn(string(args[1].(ei.Atom)))).ResumeReading()
		return ei.Atom("ok"), drained(ctx, insideOf(n).ProcessOf(args[0].(ei.Pid)))
	})
	// cuts the worker's way to a peer, and sends there again
	n.Expose("w", "cut", func(ctx context.Context, args []ei.Term) (any, error) {
		to := args[0].(ei.Pid)
		c := n.Conn(string(to.Node))
		if c == nil || !insideOf(n).Ties(c).IsRemote {
			return nil, nodes.ErrNoConnection
		}
		b, err := n.NewMailbox(nil)
		if err == nil {
			linkOf(c).Fail(nodes.ErrTickTimeout)
			<-linkOf(c).Left()
			err = b.Send(ctx, to, ei.Int(1))
		}
		return ei.Atom("ok"), err
	})
	relayLink := func(peer ei.Term) *nodes.Conn { // the only relay link of the connection to a peer
		c := n.Conn(string(peer.(ei.Atom)))
		if c == nil {
			return nil
		}
		ties := insideOf(n).Ties(c)
		ties.Relaying.Lock()
		defer ties.Relaying.Unlock()
		for _, b := range ties.RelayLinks {
			return b
		}
		return nil
	}
	// how many messages have come over the relay link for a peer
	n.Expose("w", "passed", func(_ context.Context, args []ei.Term) (any, error) {
		return linkOf(relayLink(args[0])).Traffic().MessagesReceived, nil
	})
	// cuts the relay link, as when the other worker hangs
	n.Expose("w", "lose", func(_ context.Context, args []ei.Term) (any, error) {
		b := relayLink(args[0])
		linkOf(b).Fail(nodes.ErrTickTimeout)
		<-linkOf(b).Left()
		return ei.Atom("ok"), nil
	})
	// Tells whether a goroutine that sends to a peer, or passes on what comes from it, has to wait.
	var mu sync.Mutex
	type look struct {
		sent  int64
		times int
	}
	looks := map[*nodes.Conn]look{}
	n.Expose("w", "waits", func(_ context.Context, args []ei.Term) (any, error) {
		full := func(c *nodes.Conn) bool {
			queued, sent := link.Within(linkOf(c)).Queue().Buffered()
			mu.Lock()
			defer mu.Unlock()
			l := looks[c]
			if l.times++; queued == 0 || l.sent != sent {
				l = look{sent: sent}
			}
			looks[c] = l
			// a lone sender may wait as the writer, with nothing queued
			return queued > queue.DefaultLimit || l.times > 50
		}
		c := n.Conn(string(args[0].(ei.Atom)))
		if c == nil {
			return ei.Atom("false"), nil
		}
		some := full(c)
		ties := insideOf(n).Ties(c)
		ties.Relaying.Lock()
		defer ties.Relaying.Unlock()
		for _, b := range ties.RelayLinks {
			some = some || full(b)
		}
		return ei.Atom(fmt.Sprint(some)), nil
	})
}

// A floodWorld is a node with two workers, one of which has the connection to a peer; the way
// between that peer and a process of the other worker is full.
type floodWorld struct {
	*frontWorld
	peer *nodes.Node // the peer; its connection's reader in the worker waits
	mate *nodes.Node // another peer of the same worker
	far  *nodes.Node // a peer of the other worker
}

func newFloodWorld(t *testing.T) *floodWorld {
	w := newFrontWorld(t, 2)
	ns := w.spread(2)
	f := &floodWorld{w, ns[0], nil, ns[1]}
	for i := 0; f.mate == nil; i++ {
		if n := w.node(fmt.Sprintf("mate%d@127.0.0.1", i)); w.worker(n) == w.worker(f.peer) {
			f.mate = n
		}
	}
	return f
}

// full waits until the way is full.
func (w *floodWorld) full() {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return w.rpc(w.mate, "waits", ei.Atom(w.peer.Name())) == ei.Atom("true") }, tooLong, 10*tick)
}

// deafen makes the peer stop reading, until hear is called.
func (w *floodWorld) deafen() (hear func()) {
	w.t.Helper()
	c := w.peer.Conn(frontName)
	require.NoError(w.t, rawpeer.Narrow(c.Stream(), unix.SO_RCVBUF))
	require.NoError(w.t, linkOf(c).StopReading(soon(w.t)))
	hear = sync.OnceFunc(linkOf(c).ResumeReading)
	w.t.Cleanup(hear)
	return hear
}

// toPeer makes a process of the other worker send to one of the peer's, which does not read until
// hear is called.
func (w *floodWorld) toPeer() (to *nodes.Mailbox, hear func()) {
	w.t.Helper()
	to = w.mailbox(w.peer, nil)
	hear = w.deafen()
	w.rpc(w.far, "flood", to.Pid())
	w.full()
	return to, hear
}

// fromPeer makes a process of the peer send to one of the other worker's, which does not read.
func (w *floodWorld) fromPeer(ctx context.Context) (deaf ei.Pid, sent <-chan result[int]) {
	w.t.Helper()
	b := w.mailbox(w.peer, nil)
	deaf = w.rpc(w.far, "deaf", b.Pid()).(ei.Pid)
	sent = async(func() (int, error) { return 0, flood(ctx, b, deaf) })
	w.full()
	return deaf, sent
}

// moves moves the peer's worker to another process; a first attempt fails.
func (w *floodWorld) moves() {
	t := w.t
	t.Helper()
	at := w.worker(w.mate)
	man := w.workerProcess(at)
	require.NoError(t, peersDir(w.dir).write(disturbanceFile, disturbance{At: handoffpoint.HeirStaged, Signal: syscall.SIGKILL}))
	_, err := man.Upgrade()
	require.Error(t, err)
	require.NoFileExists(t, peersDir(w.dir).path(disturbanceFile), "the new process was there: %v", err)
	require.Equal(t, at, w.worker(w.mate), "the old process goes on")
	w.full()
	require.Equal(t, of(man.Upgrade()).must(t), w.worker(w.mate))
	w.full()
}

// The worker of a peer that does not read what processes of another worker send can move even so;
// all messages arrive once, and in order.
func TestWorkerMovesBesideDeafPeer(t *testing.T) {
	w := newFloodWorld(t)
	to, hear := w.toPeer()
	w.moves()
	hear()
	require.NoError(t, drained(soon(t), to))
	w.worker(w.peer)
	require.Zero(t, insideOf(to.Node()).Waiting(to))
}

// The worker of a peer that sends to a process of another worker, which does not read, can move
// even so; all messages arrive once, and in order.
func TestWorkerMovesBesideDeafProcess(t *testing.T) {
	w := newFloodWorld(t)
	deaf, sent := w.fromPeer(soon(t))
	w.moves()
	require.Equal(t, ei.Atom("ok"), w.rpc(w.far, "drain", deaf, ei.Atom(w.peer.Name())))
	require.NoError(t, arrives(t, sent, "the end of the flood").err)
	w.worker(w.peer)
}

// A worker that loses its way to a peer gets another one as soon as the old one has ended at its
// other end, too: that end stays until the peer has read what came through it.
func TestWayToDeafPeerAgain(t *testing.T) {
	w := newFloodWorld(t)
	sink := w.mailbox(w.peer, nil)
	to, hear := w.toPeer()
	asked := w.rpc(w.far, "questions")
	cut := async(func() (ei.Term, error) { return w.far.RPC(soon(t), frontName, "w", "cut", sink.Pid()) })
	require.Eventually(t, func() bool { return w.rpc(w.far, "questions") != asked }, tooLong, tick)
	hear()
	require.NoError(t, arrives(t, cut, "the end of the function").err)
	w.receive(sink)
	require.NotZero(t, insideOf(to.Node()).Waiting(to))
}

// A peer is told of the end of a process of another worker even if the way between them ends while
// the exit signal waits for room.
func TestLastWordsInHand(t *testing.T) {
	for _, monitors := range []bool{false, true} {
		t.Run(fmt.Sprint("monitors ", monitors), func(t *testing.T) {
			w := newFloodWorld(t)
			b := w.mailbox(w.peer, &nodes.MailboxOptions{TrapExit: true})
			joe := w.start(w.far, "")
			want := dist.OpExit
			if monitors {
				monitor(t, b, joe)
				want = dist.OpMonitorPExit
			} else {
				require.NoError(t, b.Link(soon(t), joe))
			}
			of(w.peer.Call(soon(t), joe, ei.Atom("pid"))).must(t) // the link or monitor has arrived
			hear := w.deafen()
			for range 2 { // two senders: one waits behind the other, with a full queue
				w.rpc(w.mate, "flood", w.mailbox(w.peer, nil).Pid())
			}
			w.full()
			peer := ei.Atom(w.peer.Name())
			passed := w.rpc(w.mate, "passed", peer)
			require.NoError(t, w.mailbox(w.far, nil).Send(soon(t), joe, ei.Atom("bye")))
			require.Eventually(t, func() bool { return w.rpc(w.mate, "passed", peer) != passed }, tooLong, tick)
			w.rpc(w.mate, "lose", peer)
			hear()
			m := w.receive(b)
			require.Equal(t, want, m.Op)
			reason := decode(t, m.Reason)
			// bye, if there was a moment's room
			require.Contains(t, []ei.Term{ei.Atom("killed"), ei.Atom("bye")}, reason)
		})
	}
}
