//go:build unix

package nodes

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A flood is more than the way between two processes holds: the queues and windows at either end, and those of the two workers in between.
const (
	floodMessages = 1200
	floodBytes    = 32 << 10
)

// flood sends numbers to a process, each in a large message.
func flood(ctx context.Context, b *Mailbox, to ei.Pid) error {
	fill := make(ei.Binary, floodBytes)
	for i := range floodMessages {
		if err := b.Send(ctx, to, ei.Tuple{ei.Int(i), fill}); err != nil {
			return fmt.Errorf("number %d: %w", i, err)
		}
	}
	return nil
}

// drained receives what flood has sent, each number once and in order.
func drained(ctx context.Context, b *Mailbox) error {
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

// setUpFlood gives a worker processes that send more than others read, and processes that do not read.
func setUpFlood(n *Node) {
	deaf := func() (*Mailbox, error) { return n.NewMailbox(&MailboxOptions{Limit: 1000}) }
	n.Expose("w", "flood", func(_ context.Context, args []ei.Term) (any, error) {
		b, err := deaf()
		if err != nil {
			return nil, err
		}
		go func() { _ = flood(context.Background(), b, args[0].(ei.Pid)) }()
		return b.Pid(), nil
	})
	n.Expose("w", "deaf", func(context.Context, []ei.Term) (any, error) {
		b, err := deaf()
		if err != nil {
			return nil, err
		}
		return b.Pid(), nil
	})
	n.Expose("w", "drain", func(ctx context.Context, args []ei.Term) (any, error) {
		return ei.Atom("ok"), drained(ctx, n.procs.local(args[0].(ei.Pid)))
	})
	n.Expose("w", "cut", func(ctx context.Context, args []ei.Term) (any, error) { // cuts the worker's way to a peer, and sends there again
		to := args[0].(ei.Pid)
		c := n.Conn(string(to.Node))
		if c == nil || !c.shadow {
			return nil, ErrNoConnection
		}
		b, err := deaf()
		if err == nil {
			c.fail(ErrTickTimeout)
			<-c.left
			err = b.Send(ctx, to, ei.Int(1))
		}
		return ei.Atom("ok"), err
	})
	branch := func(peer ei.Term) *Conn { // the only branch of the connection to a peer
		c := n.Conn(string(peer.(ei.Atom)))
		if c == nil {
			return nil
		}
		c.branching.Lock()
		defer c.branching.Unlock()
		for _, b := range c.branches {
			return b
		}
		return nil
	}
	n.Expose("w", "passed", func(_ context.Context, args []ei.Term) (any, error) { // how many messages have come over the branch for a peer
		return branch(args[0]).messages.Load(), nil
	})
	n.Expose("w", "lose", func(_ context.Context, args []ei.Term) (any, error) { // cuts the branch, as when the other worker hangs
		b := branch(args[0])
		b.fail(ErrTickTimeout)
		<-b.left
		return ei.Atom("ok"), nil
	})
	// Tells whether a goroutine that sends to a peer, or passes on what comes from it, has to wait.
	var mu sync.Mutex
	type look struct {
		sent  int64
		times int
	}
	looks := map[*Conn]look{}
	n.Expose("w", "waits", func(_ context.Context, args []ei.Term) (any, error) {
		full := func(c *Conn) bool {
			queued, sent := c.q.Buffered()
			mu.Lock()
			defer mu.Unlock()
			l := looks[c]
			if l.times++; queued == 0 || l.sent != sent {
				l = look{sent: sent}
			}
			looks[c] = l
			return queued > transport.DefaultQueueLimit || l.times > 50 // a lone sender may wait as the writer, with nothing queued
		}
		c := n.Conn(string(args[0].(ei.Atom)))
		if c == nil {
			return ei.Atom("false"), nil
		}
		some := full(c)
		c.branching.Lock()
		defer c.branching.Unlock()
		for _, b := range c.branches {
			some = some || full(b)
		}
		return ei.Atom(fmt.Sprint(some)), nil
	})
}

// A floodWorld is a node with two workers, one of which has the connection to a peer; the way between that peer and a process of the other
// worker is full.
type floodWorld struct {
	*frontWorld
	peer *Node // the peer; its connection's reader in the worker waits
	mate *Node // another peer of the same worker
	far  *Node // a peer of the other worker
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

// toPeer makes a process of the other worker send to one of the peer's, which does not read.
func (w *floodWorld) toPeer() *Mailbox {
	w.t.Helper()
	require.NoError(w.t, narrow(w.peer.Conn(frontName).Stream(), unix.SO_RCVBUF))
	deaf := w.mailbox(w.peer, &MailboxOptions{Limit: 1000})
	w.rpc(w.far, "flood", deaf.Pid())
	w.full()
	return deaf
}

// fromPeer makes a process of the peer send to one of the other worker's, which does not read.
func (w *floodWorld) fromPeer(ctx context.Context) (deaf ei.Pid, sent <-chan result[int]) {
	w.t.Helper()
	deaf = w.rpc(w.far, "deaf").(ei.Pid)
	b := w.mailbox(w.peer, nil)
	sent = async(func() (int, error) { return 0, flood(ctx, b, deaf) })
	w.full()
	return deaf, sent
}

// moves moves the peer's worker to another process; a first attempt fails.
func (w *floodWorld) moves() {
	t := w.t
	t.Helper()
	at := w.worker(w.mate)
	man := w.crewman(at)
	require.NoError(t, peersDir(w.dir).write(disturbanceFile, disturbance{At: handoff.HeirStaged, Signal: syscall.SIGKILL}))
	_, err := w.f.upgrade(man)
	require.Error(t, err)
	require.NoFileExists(t, peersDir(w.dir).path(disturbanceFile), "the new process was there: %v", err)
	require.Equal(t, at, w.worker(w.mate), "the old process goes on")
	w.full()
	pid, err := w.f.upgrade(man)
	require.NoError(t, err)
	require.Equal(t, pid, w.worker(w.mate))
	w.full()
}

// A peer whose messages wait for room in a process of another worker can connect again when its connection has ended.
func TestPeerComesAgainBesideFullProcess(t *testing.T) {
	w := newFloodWorld(t)
	ctx, cancel := context.WithCancel(soon(t))
	_, sent := w.fromPeer(ctx)
	cancel()
	require.ErrorIs(t, arrives(t, sent, "the end of the flood").err, context.Canceled)
	require.NoError(t, w.peer.Conn(frontName).Close())
	w.worker(w.peer) // within the time of one handshake
}

// The worker of a peer that does not read what processes of another worker send can move even so; all messages arrive once, and in order.
func TestWorkerMovesBesideDeafPeer(t *testing.T) {
	w := newFloodWorld(t)
	deaf := w.toPeer()
	w.moves()
	require.NoError(t, drained(soon(t), deaf))
	w.worker(w.peer)
	require.Zero(t, unread(deaf))
}

// The worker of a peer that sends to a process of another worker, which does not read, can move even so; all messages arrive once, and in
// order.
func TestWorkerMovesBesideDeafProcess(t *testing.T) {
	w := newFloodWorld(t)
	deaf, sent := w.fromPeer(soon(t))
	w.moves()
	require.Equal(t, ei.Atom("ok"), w.rpc(w.far, "drain", deaf))
	require.NoError(t, arrives(t, sent, "the end of the flood").err)
	w.worker(w.peer)
}

// A worker that loses its way to a peer gets another one as soon as the old one has ended at its other end, too: that end stays until the
// peer has read what came through it.
func TestWayToDeafPeerAgain(t *testing.T) {
	w := newFloodWorld(t)
	deaf, sink := w.toPeer(), w.mailbox(w.peer, nil)
	asked := w.rpc(w.far, "questions")
	cut := async(func() (ei.Term, error) { return w.far.RPC(soon(t), frontName, "w", "cut", sink.Pid()) })
	require.Eventually(t, func() bool { return w.rpc(w.far, "questions") != asked }, tooLong, tick)
	ctx, cancel := context.WithCancel(context.Background())
	drained := async(func() (any, error) {
		for {
			if _, err := deaf.Receive(ctx); err != nil {
				return nil, err
			}
		}
	})
	require.NoError(t, arrives(t, cut, "the end of the function").err)
	w.receive(sink)
	cancel()
	arrives(t, drained, "the end of the receiver")
}

// A peer is told of the end of a process of another worker even if the way between them ends while the exit signal waits for room.
func TestLastWordsInHand(t *testing.T) {
	for _, monitors := range []bool{false, true} {
		t.Run(fmt.Sprint("monitors ", monitors), func(t *testing.T) {
			w := newFloodWorld(t)
			b := w.mailbox(w.peer, &MailboxOptions{TrapExit: true})
			joe := w.rpc(w.far, "start", ei.Atom("")).(ei.Pid)
			want := dist.OpExit
			if monitors {
				_, err := b.Monitor(soon(t), joe)
				require.NoError(t, err)
				want = dist.OpMonitorPExit
			} else {
				require.NoError(t, b.Link(soon(t), joe))
			}
			_, err := w.peer.Call(soon(t), joe, ei.Atom("pid")) // the link or monitor has arrived
			require.NoError(t, err)
			require.NoError(t, narrow(w.peer.Conn(frontName).Stream(), unix.SO_RCVBUF))
			var deaf [2]*Mailbox // two senders: one waits behind the other, with a full queue
			for i := range deaf {
				deaf[i] = w.mailbox(w.peer, &MailboxOptions{Limit: 1000})
				w.rpc(w.mate, "flood", deaf[i].Pid())
			}
			w.full()
			peer := ei.Atom(w.peer.Name())
			passed := w.rpc(w.mate, "passed", peer)
			require.NoError(t, w.mailbox(w.far, nil).Send(soon(t), joe, ei.Atom("bye")))
			require.Eventually(t, func() bool { return w.rpc(w.mate, "passed", peer) != passed }, tooLong, tick)
			w.rpc(w.mate, "lose", peer)
			ctx := soon(t)
			for _, d := range deaf {
				go func() { _ = drained(ctx, d) }()
			}
			m := w.receive(b)
			require.Equal(t, want, m.Op)
			reason, err := m.Reason.Decode()
			require.NoError(t, err)
			require.Contains(t, []ei.Term{ei.Atom("killed"), ei.Atom("bye")}, reason) // bye, if there was a moment's room
		})
	}
}
