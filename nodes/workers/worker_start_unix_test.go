//go:build unix

package workers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/nametable"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/transport/handoff"
)

// setUpHeirs registers processes that have to ask the front something as soon as a worker's new
// process goes on.
func setUpHeirs(n *nodes.Node) error {
	begin := func(name string) (*nodes.Mailbox, error) {
		b, err := n.NewMailbox(nil)
		if err == nil {
			err = n.Register(context.Background(), name, b)
		}
		return b, err
	}
	if _, moved := n.Inherited(); !moved {
		_, err := begin("late") // it does not read
		return err
	}
	if n.Whereis("phoenix") != nil {
		b, err := begin("phoenix")
		if err != nil {
			return err
		}
		go func() {
			<-b.Done()
			if _, err := begin("phoenix"); err != nil {
				n.Logger().Error("phoenix", "error", err)
			}
		}()
	}
	// passes on what the old process had not read
	_, err := n.Handle("late", func(self *nodes.Mailbox, m *nodes.Message) {
		v, err := m.Term()
		if err == nil {
			err = self.SendName(context.Background(), n.Name(), "joe", v)
		}
		if err != nil {
			n.Logger().Error("late", "error", err)
		}
	}, nil)
	return err
}

// elsewhere is a node connected to another worker than the one with that process id.
func (w *frontWorld) elsewhere(pid int, alive string) *nodes.Node {
	w.t.Helper()
	for i := range 100 {
		if n := w.node(fmt.Sprintf("%s%d@127.0.0.1", alive, i)); w.worker(n) != pid {
			return n
		}
	}
	require.FailNow(w.t, "all are at one worker")
	return nil
}

// upgraded upgrades all workers.
func (w *frontWorld) upgraded() []Upgrade {
	w.t.Helper()
	list := of(w.f.UpgradeWorkers(soon(w.t))).must(w.t)
	for _, u := range list {
		require.NoError(w.t, u.Err)
	}
	return list
}

// A Handler that takes the place of a mailbox passes the messages that it finds there on to a
// process of another worker.
func TestLateMessagesPassedOn(t *testing.T) {
	w := newFrontWorld(t, 2)
	ns := w.spread(2)
	joe := w.start(ns[1], "joe")
	b := w.mailbox(ns[0], nil)
	for i := range 2 {
		require.NoError(t, b.SendName(soon(t), frontName, "late", i))
	}
	of(w.workerProcess(w.worker(ns[0])).Upgrade()).must(t)
	require.Eventually(t, func() bool {
		got := of(ns[0].Call(soon(t), joe, ei.Atom("got"))).must(t)
		l, _ := ei.Elements(got)
		return len(l) == 2 && l[0] == ei.Int(0) && l[1] == ei.Int(1)
	}, tooLong, tick)
}

// As a worker's new process goes on, processes end because the connection to those that they were
// linked with has broken. They do not hold up the worker, though their names have to be free when
// others hear of their end.
func TestNamedProcessesEndInMove(t *testing.T) {
	w := newFrontWorld(t, 1)
	x, calm := w.node(doomed), w.node("calm@127.0.0.1")
	b := w.mailbox(x, nil)
	watcher := w.mailbox(calm, nil)
	const many = 40
	for i := range many {
		pid := w.rpc(x, "start", ei.Atom(fmt.Sprint("joe", i))).(ei.Pid)
		require.NoError(t, b.Send(soon(t), pid, ei.Tuple{ei.Atom("link"), b.Pid()}))
		monitor(t, watcher, pid)
	}
	w.worker(x)
	w.worker(calm)
	w.upgraded()
	for range many {
		w.receive(watcher)
	}
	require.Equal(t, ei.Atom("undefined"), w.rpc(calm, "whereis", ei.Atom("joe0")))
}

// A name that is registered anew while its worker's new process starts is found from all workers.
func TestNameRegisteredAnewInMove(t *testing.T) {
	w := newFrontWorld(t, 2)
	x := w.node(doomed)
	other := w.elsewhere(w.worker(x), "calm")
	b := w.mailbox(x, nil)
	pid := w.start(x, "phoenix")
	require.NoError(t, b.Send(soon(t), pid, ei.Tuple{ei.Atom("link"), b.Pid()}))
	w.worker(x)
	watcher := w.mailbox(other, nil)
	ref := monitor(t, watcher, pid)
	require.Equal(t, pid, w.rpc(other, "whereis", ei.Atom("phoenix")))
	w.upgraded()
	require.Equal(t, ref, w.receive(watcher).Ref, "the first one has ended")
	beside := w.elsewhere(w.worker(other), "beside")
	var next ei.Term
	require.Eventually(t, func() bool {
		next = w.rpc(beside, "whereis", ei.Atom("phoenix"))
		return next != ei.Atom("undefined") && next != pid
	}, tooLong, tick)
	require.Equal(t, next, w.rpc(other, "whereis", ei.Atom("phoenix")))
}

// Shutdown of a node or a worker while the node is frozen gives up when its context ends, and has
// then ended nothing.
func TestWorkerShutdownBesideFreeze(t *testing.T) {
	n := newWorld(t).started("front")
	f := freeze(t, n)
	ctx, cancel := context.WithCancel(soon(t))
	cancel()
	inTime(t, "Shutdown", func() { require.ErrorIs(t, (&Worker{n: insideOf(n)}).Shutdown(ctx), context.Canceled) })
	inTime(t, "Shutdown", func() { require.ErrorIs(t, n.Shutdown(ctx), context.Canceled) })
	f.Thaw()
	require.NoError(t, n.Err())
	require.Len(t, n.Listeners(), 1)
	f = of(n.Freeze(soon(t))).must(t) // it is not being shut down
	f.Thaw()
}

// A worker whose Setup fails, that has another name than the front, or hears something else first,
// does not start: the error says why, and its sockets are closed.
func TestWorkerDoesNotStart(t *testing.T) {
	why := errors.New("no database")
	for name, tt := range map[string]struct {
		name  string
		first talk.Message
		want  error
	}{
		"Setup fails": {"", &talk.Welcome{}, why}, "another name": {"c@d", &talk.Welcome{}, nodes.ErrOtherNode},
		"no welcome": {"", &talk.Move{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs, err := handoff.PacketPair()
			require.NoError(t, err)
			socket := of(handoff.FileConn(ours)).must(t)
			front := of(talk.New(socket)).must(t)
			line := of(descriptor.Duplicate(int(theirs.Fd()))).must(t)
			require.NoError(t, theirs.Close())
			names := of(nametable.New()).must(t)
			defer names.Close()
			its := of(descriptor.Duplicate(names.Descriptor())).must(t)
			sessions, other, err := descriptor.StreamPair()
			require.NoError(t, err)
			giver, err := descriptor.Conn(other)
			require.NoError(t, err)
			defer giver.Close()
			switch m := tt.first.(type) {
			case *talk.Welcome:
				*m = talk.Welcome{Name: "a@b", Creation: 7, Part: 1, FD: its}
			case *talk.Move:
				m.FD = its
			}
			require.True(t, front.Say(tt.first))

			t.Setenv(inside.Variable, fmt.Sprintf("%d,%d", line, sessions))
			var n *nodes.Node
			_, err = Join(soon(t), nodes.Config{
				Name: tt.name, Cookie: "c", Resolver: nodes.Static{}, Setup: func(started *nodes.Node) error { n = started; return why },
			})
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
			} else {
				require.ErrorContains(t, err, "no welcome")
			}
			require.NoError(t, giver.SetReadDeadline(time.Now().Add(tooLong)))
			_, err = giver.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
			require.Error(t, front.Read(func(m talk.Message) { require.NotEqual(t, &talk.Ready{}, m) }), "the line has ended")
			front.Close()
			<-front.Wrote()
			if n != nil {
				_, err = n.NewMailbox(nil)
				require.ErrorIs(t, err, nodes.ErrClosed)
			}
		})
	}
}
