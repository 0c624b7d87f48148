package nodes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/party"
	"github.com/cnode-go/cnode/internal/test/rawpeer"
	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// The tests of package handoff kill and stop both sides at every point. Here a whole node is handed
// over, and a side is killed or stopped at the points where that makes a difference; each side is
// the test program, started again.
const (
	killPeers    = 3
	killsAtOnce  = 12
	killPatience = time.Minute
	killDeadline = 10 * time.Second
)

var (
	ownerPoints = []handoffpoint.Point{
		handoffpoint.OwnerGreeted, handoffpoint.OwnerFrozen, handoffpoint.OwnerDescriptorsSent,
		handoffpoint.OwnerStateSent, handoffpoint.OwnerAccepted,
		handoffpoint.OwnerCommitted,
		handoffpoint.OwnerHeard, handoffpoint.OwnerReleased,
	}
	heirPoints = []handoffpoint.Point{
		handoffpoint.HeirPrepared, handoffpoint.HeirStateAll, handoffpoint.HeirOffered,
		handoffpoint.HeirStaged, handoffpoint.HeirWaits, handoffpoint.HeirOwns,
		handoffpoint.HeirStarted,
		handoffpoint.HeirSaid,
	}
)

// seldomTicks is the TickInterval in tests where processes die and stop: by default a connection
// ends after a minute of silence, which a busy machine may cause.
const seldomTicks = 10 * time.Minute

// A census counts what a process has open and running.
type census struct{ Descriptors, Goroutines int }

func newCensus() census {
	return census{len(party.Open(os.Getpid())), runtime.NumGoroutine()}
}

// A killOrder tells a side what to do.
type killOrder struct {
	Owner  bool
	Addr   string // of the peers
	Half   int    // bytes of each peer's message that have come
	At     handoffpoint.Point
	Signal syscall.Signal
	Short  bool
}

func peerName(i int) string { return "peer" + strconv.Itoa(i) + "@test" }

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
	return Config{
		Name: "mover@test", Cookie: "secret", Creation: 4711, Resolver: table, Setup: setUpWitness, TickInterval: seldomTicks,
	}, err
}

func (o killOrder) run() error {
	reached := func(p handoffpoint.Point) {
		if p == o.At {
			party.Hit(o.Signal)
		}
	}
	d := allDeadlines(killPatience) // the end of the other side is noticed without one
	if o.Short {
		d = allDeadlines(killDeadline)
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
	test, r := party.NewSide(), party.Report{PID: os.Getpid()}
	due := newCensus()
	var n *Node
	if o.Owner {
		if n, err = New(cfg); err == nil {
			n.freezeTime = killPatience
			err = n.Start(ctx)
		}
		if err == nil {
			err = o.meet(ctx, n)
		}
		if err != nil {
			return err
		}
	}
	if err := test.Ready(); err != nil {
		return err
	}
	if o.Owner {
		if err := o.wait(n); err != nil {
			return err
		}
		h, err := (&handoff.Offer{
			Freeze: func(ctx context.Context) (handoff.Frozen, error) { return o.freeze(ctx, n) }, Deadlines: d,
		}).Give(handoffpoint.With(ctx, reached), ch)
		if r.Owner, r.Err = !h.Moved, fmt.Sprint(err); !r.Owner {
			// the other process has the node: only goroutines are left to end
			if err := n.Close(); err != nil {
				return err
			}
		}
	} else {
		_, err := (&handoff.Acceptance{
			Stage: func(_ context.Context, state []byte, fds []int) (handoff.Staged, error) {
				return Restore(cfg, state, fds)
			}, Deadlines: d,
		}).Take(handoffpoint.With(ctx, reached), ch)
		var h *handoff.Error
		r.Owner, r.Err = err == nil || errors.As(err, &h) && h.Owns, fmt.Sprint(err)
	}
	r.Leak = o.leak(r.Owner, due)
	return errors.Join(test.Tell(r), test.Stay())
}

// The node's descriptors: those of each connection's socket, and two polls, by which it reads and
// writes; those of the listener, and one poll, by which it waits.
const (
	killNodeSockets = killPeers + 1
	killNodePolls   = 2*killPeers + 1
	killOtherPolls  = 2 // of the channel
)

// leak tells what is left over, beyond what there was before and, if the node is here, what the
// node needs.
func (o killOrder) leak(here bool, due census) (what string) {
	polls := killOtherPolls
	if here {
		due.Descriptors += killNodeSockets
		polls += killNodePolls
		if o.Owner {
			// a listener that was opened here waits by a duplicate of its descriptor
			due.Descriptors++
		}
	}
	for begun := time.Now(); time.Since(begun) < killPatience; time.Sleep(time.Millisecond) {
		now, p := newCensus(), leak.Polls()
		what = ""
		if now.Descriptors > due.Descriptors || p > polls || !here && now.Goroutines > due.Goroutines {
			what = fmt.Sprintf("%+v and %d to wait by; %+v and %d are due:\n%s", now, p, due, polls, strings.Join(party.Open(os.Getpid()), "\n"))
		}
		if what == "" {
			break
		}
	}
	return what
}

// allDeadlines are shorter if a side is stopped: the other side waits for it until a deadline is
// over. All are long enough for a side that goes on.
func allDeadlines(d time.Duration) handoff.Deadlines {
	return handoff.Deadlines{Hello: d, Static: d, Freeze: d, Offer: d, Stage: d, Take: d, Goodbye: d}
}

// meet connects to all peers and says more to each than its window holds.
func (o killOrder) meet(ctx context.Context, n *Node) error {
	for i := range killPeers {
		c, err := n.Connect(ctx, peerName(i))
		if err != nil {
			return err
		}
		if err := rawpeer.Greet(ctx, c, i, rawpeer.Greetings); err != nil {
			return err
		}
	}
	return nil
}

// wait waits until everything that the peers have sent has been read.
func (o killOrder) wait(n *Node) error {
	for i := range killPeers {
		c := n.Conn(peerName(i))
		if c == nil {
			return fmt.Errorf("no connection to %s", peerName(i))
		}
		fd, err := c.l.Stream().Descriptor()
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

// freeze freezes the node, and checks that each connection has half a frame in either direction.
func (o killOrder) freeze(ctx context.Context, n *Node) (handoff.Frozen, error) {
	f, err := n.Freeze(ctx)
	if err != nil {
		return nil, err
	}
	var s states.Node
	if err = form.Read(states.KindNode, f.State(), &s); err == nil && len(s.Conns) != killPeers {
		err = fmt.Errorf("%d connections", len(s.Conns))
	}
	for _, c := range s.Conns {
		if len(c.Ahead) != o.Half || len(c.Rest) == 0 || len(c.Rest) >= rawpeer.Greetings*rawpeer.GreetingBytes {
			err = fmt.Errorf("%s: %d bytes read and %d unsent, in place of halves", c.Peer.Name, len(c.Ahead), len(c.Rest))
		}
	}
	if err != nil {
		f.Thaw()
		return nil, err
	}
	return f, nil
}

// ask asks the witnesses of all peers which process they are in, which must be the same one, and
// returns it.
func ask(peers []*rawpeer.Questioner, q int) (owner int) {
	for i, p := range peers {
		who := p.Ask(ei.Pid{}, q)
		if i > 0 {
			require.Equal(p.T, owner, who, "two owners")
		}
		owner = who
	}
	return owner
}

// One side dies or stops while a node is handed over; each of its peers has sent half a message and
// has no room for the node's. At most one process serves, and each peer gets everything once and in
// order, or sees the end of the connection.
func TestKillDuringNodeHandover(t *testing.T) {
	turns := make(chan struct{}, killsAtOnce)
	decided := [2]handoffpoint.Point{handoffpoint.OwnerCommitted, handoffpoint.HeirOwns}
	cells := party.Cells([2][]handoffpoint.Point{ownerPoints, heirPoints}, decided)
	if testing.Short() {
		cells = party.Alternate(cells, decided, true)
	}
	for _, c := range cells {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			turns <- struct{}{}
			defer func() { <-turns }()
			killOne(t, c)
		})
	}
}

func killOne(t *testing.T, c party.Cell[handoffpoint.Point]) {
	w := newWorld(t, "tcp")
	a := w.ambush("peers@test")
	first := &rawpeer.Questioner{Peer: &rawpeer.Peer{T: t, Self: ei.Pid{Node: ei.Atom(peerName(0)), ID: 1, Creation: 77}}}
	one, other, err := handoff.PacketPair()
	require.NoError(t, err)
	var sides [2]*party.Party
	for i, end := range []*os.File{one, other} {
		o := killOrder{Owner: i == 0, Addr: a.l.Addr().String(), Short: c.Signal == syscall.SIGSTOP, Half: len(first.Question(ei.Pid{}, 0)) / 2}
		if i == c.Victim {
			o.At, o.Signal = c.At, c.Signal
		}
		text := of(json.Marshal(o)).must(t)
		sides[i] = party.Start(t, []string{killVariable + "=" + string(text)}, end)
		require.NoError(t, end.Close())
	}
	var peers []*rawpeer.Questioner
	for i := range killPeers {
		p := &rawpeer.Questioner{Peer: a.accept().Peer, I: i, Due: rawpeer.Greetings}
		require.NoError(t, rawpeer.Narrow(p.S, unix.SO_RCVBUF))
		require.NoError(t, p.Respond(role(peerName(i)), protocol.StatusOK))
		p.Begin()
		peers = append(peers, p)
	}
	party.Begin(t, sides)
	q := 0
	c.Play(t, sides, func(owner *party.Party, why string) {
		want := 0
		if owner != nil {
			want = owner.PID()
		}
		q++
		require.Equal(t, want, ask(peers, q), why)
	})
	for _, p := range sides {
		p.Leave(t)
	}
	require.Zero(t, ask(peers, q+1), "somebody still has a connection")
}
