//go:build unix

package pubsub

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// What each worker tracks is seen by all nodes, and by the other workers, as that of one node. When
// the worker that speaks for it is killed, another one does, and only the processes of that worker
// are gone.
func TestWorkersTrack(t *testing.T) {
	each(t, func(w *world) {
		at := w.run("3")
		x, y := w.lab.peers[0], w.lab.peers[1]
		do, all, pids := w.workers(at)
		w.track(x, "room", "xena", "Xena")
		do(x, "track", "room", "a", "A")
		all("a=A xena=Xena", x, y, nil)
		do(y, "track", "room", "b", "B")
		do(nil, "track", "room", "c", "C")
		all("a=A b=B c=C xena=Xena", x, y, nil)
		do(y, "update", "room", "b", "Bo")
		all("a=A b=Bo c=C xena=Xena", x, y, nil)
		do(nil, "track", "room", "d", "D")
		do(nil, "untrack", "room", "c")
		all("a=A b=Bo d=D xena=Xena", x, y, nil)
		do(y, "track", "room", "e", "E")
		all("a=A b=Bo d=D e=E xena=Xena", x, y, nil)
		do(y, "finish", "e")
		all("a=A b=Bo d=D xena=Xena", x, y, nil)

		// the shard's process of a worker is killed: of one that follows, and of the one that leads
		shard := w.shardName()
		leader := shard + "_leader"
		require.Equal(w.t, ei.Atom("true"), do(x, "leads", leader))
		do(y, "kill", shard)
		do(y, "track", "room", "f", "F")
		all("a=A b=Bo d=D f=F xena=Xena", x, y, nil)
		do(x, "kill", shard)
		do(y, "untrack", "room", "f")
		all("a=A b=Bo d=D xena=Xena", x, y, nil)

		// a whole worker, which leads or not
		kill := func(of *peer) {
			w.t.Helper()
			require.NoError(w.t, syscall.Kill(pids[of], syscall.SIGKILL))
			for _, p := range []*peer{x, y, nil} { // whichever has lost its connection
				require.True(w.t, assertSoon(func() bool { v, err := at(p, "pid"); _, ok := v.(ei.Int); return err == nil && ok }))
			}
		}
		kill(x)
		all("b=Bo d=D xena=Xena", x, y, nil)
		kill(nil)
		all("b=Bo xena=Xena", x, y, nil)
		do(x, "track", "room", "g", "G")
		all("b=Bo g=G xena=Xena", x, y, nil)
	})
}

// When all workers go on in new processes nobody sees a leave or a join, and what each of them
// tracks is its own.
func TestWorkersTrackMove(t *testing.T) {
	each(t, func(w *world) {
		at := w.run("3")
		x, y := w.lab.peers[0], w.lab.peers[1]
		do, all, pids := w.workers(at)
		w.track(x, "room", "xena", "Xena")
		do(x, "track_lasting", "room", "a", "A")
		all("a=A xena=Xena", x, y, nil)
		do(y, "track_lasting", "room", "b", "B")
		do(nil, "track_lasting", "room", "c", "C")
		all("a=A b=B c=C xena=Xena", x, y, nil)
		noted := w.noted(x, "room")
		for range 2 {
			require.NoError(w.t, syscall.Kill(w.program.Pid(), syscall.SIGUSR1))
			for p, was := range pids {
				require.True(w.t, assertSoon(func() bool {
					v, err := at(p, "pid")
					now, ok := v.(ei.Int)
					pids[p] = int(now)
					return err == nil && ok && int(now) != was
				}))
			}
			all("a=A b=B c=C xena=Xena", x, y, nil)
		}
		require.Equal(w.t, noted, w.noted(x, "room"))
		do(y, "update_lasting", "room", "b", "Bo")
		do(x, "update_lasting", "room", "a", "Ao")
		all("a=Ao b=Bo c=C xena=Xena", x, y, nil)
		do(nil, "finish_lasting")
		all("a=Ao b=Bo xena=Xena", x, y, nil)
		do(x, "finish_lasting")
		all("b=Bo xena=Xena", x, y, nil)
	})
}

// workers has the worker of each node, and of this one, do something, and waits until all nodes and
// some workers see the same; and the workers' processes.
func (w *world) workers(at func(p *peer, fun string, args ...any) (ei.Term, error)) (
	do func(p *peer, fun string, args ...string) ei.Term, all func(want string, workers ...*peer), pids map[*peer]int,
) {
	w.t.Helper()
	x, y := w.lab.peers[0], w.lab.peers[1]
	do = func(p *peer, fun string, args ...string) ei.Term {
		w.t.Helper()
		var terms []any
		for _, a := range args {
			terms = append(terms, ei.Binary(a))
		}
		v, err := at(p, fun, terms...)
		require.NoError(w.t, err)
		bad, isTuple := v.(ei.Tuple)
		require.False(w.t, isTuple, "%v", bad)
		return v
	}
	pids = map[*peer]int{}
	for _, p := range []*peer{x, y, nil} {
		pids[p] = int(do(p, "pid").(ei.Int))
	}
	require.Len(w.t, slices.Compact(slices.Sorted(maps.Values(pids))), 3)
	for _, p := range w.lab.peers {
		w.hasMembers(p, 5)
	}
	all = func(want string, workers ...*peer) {
		w.t.Helper()
		for _, p := range w.lab.peers {
			w.eventually(want, func() string { return w.at(p, "room") })
		}
		for _, p := range workers {
			w.eventually(want, func() string { return string(do(p, "seen", "room").(ei.Binary)) })
		}
	}
	return do, all, pids
}

func (w *world) shardName() string { return string(elixirName(w.presence)) + "_shard0" }

// A program that is killed is seen to be gone after a while, or when it is there again; one that
// ends in good order is at once.
func TestTrackProgram(t *testing.T) {
	each(t, func(w *world) {
		app := fmt.Sprintf("App%08x", rand.Uint32())
		w.pubsub, w.presence = app+".PubSub", app+".Presence"
		w.asks()
		name := goName()
		begin := func(key string) *otp.Program {
			w.t.Helper()
			p := w.launchGo(name, "0")
			for _, of := range w.lab.peers {
				_, err := w.n.RPC(w.ctx(), of.name, "net_adm", "ping", ei.Atom(name))
				require.NoError(w.t, err)
			}
			_, err := w.n.RPC(w.ctx(), name, "w", "track", ei.Binary("room"), ei.Binary(key), ei.Binary(key))
			require.NoError(w.t, err)
			return p
		}
		all := func(want string) {
			w.t.Helper()
			for _, of := range w.lab.peers {
				w.eventually(want, func() string { return w.at(of, "room") })
			}
		}
		w.startPeers(1)
		first := begin("a")
		all("a=a")
		first.Kill()
		all("") // after the down period
		second := begin("b")
		all("b=b")
		second.Kill()
		third := begin("c") // before that
		all("c=c")
		began := time.Now()
		require.NoError(w.t, syscall.Kill(third.Pid(), syscall.SIGTERM))
		all("")
		require.Less(w.t, time.Since(began), down, "it has said so")
		for _, of := range w.lab.peers {
			require.Equal(w.t, "joined a, left a, joined b, left b, joined c, left c", w.noted(of, "room"))
		}
	})
}
