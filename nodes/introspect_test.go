package nodes

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/introspect"
)

// processesOf has the records of a node's processes that the program, or a peer, has made.
func processesOf(n *Node) map[ei.Pid]introspect.Process {
	all := map[ei.Pid]introspect.Process{}
	for p := range n.Processes() {
		if p.Kind != introspect.KindSystem {
			all[p.Pid] = p
		}
	}
	return all
}

// Each kind of process is described: what it is, what waits for it, what it has handled, what it is
// bound to.
func TestProcesses(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		begun := time.Now()
		entered, leave := make(chan struct{}, 1), make(chan struct{})
		till := serve(t, there, "till", Server{Call: func(ctx context.Context, c *Call) (any, error) {
			entered <- struct{}{}
			<-leave
			return "ok", nil
		}}, &MailboxOptions{TrapExit: true})
		handler := handle(t, there, "sink", func(*Mailbox, *Message) {}, &MailboxOptions{Parent: till.Pid()})
		b := registered(t, there, "queue")
		require.NoError(t, there.Register(t.Context(), "line", b))
		require.NoError(t, b.SetLabel("of jobs"))
		there.Expose("shop", "wait", FuncOf(func(ctx context.Context, n int) error {
			_, err := MailboxOf(ctx).Receive(ctx)
			return err
		}))
		boss := box(t, here)
		fn := of(boss.SpawnLink(w.ctx(), there.Name(), "shop", "wait", 1)).must(t)
		monitor(t, boss, b.Pid())
		for range 3 {
			require.NoError(t, boss.Send(w.ctx(), b.Pid(), "x"))
		}
		require.NoError(t, boss.Send(w.ctx(), b.Pid(), ei.Tuple{ei.Atom("last"), boss.Pid()}))
		require.NoError(t, boss.Send(w.ctx(), handler.Pid(), "x"))
		for range 2 {
			receive(t, b)
		}
		go func() { _, _ = here.CallName(w.ctx(), there.Name(), "till", "x") }()
		arrives(t, entered, "a call")

		require.Eventually(t, func() bool {
			all := processesOf(there)
			return all[b.Pid()].Queue == 2 && all[handler.Pid()].Handled == 1 && !all[handler.Pid()].Running &&
				all[fn].Runs.Function == "wait" && !all[fn].Running
		}, 10*time.Second, time.Millisecond)
		all := processesOf(there)
		is := func(pid ei.Pid, want introspect.Process) {
			t.Helper()
			p := all[pid]
			require.False(t, p.Started.Before(begun.Add(-time.Second)) || p.Started.After(time.Now()))
			if want.Queue > 0 {
				require.Greater(t, p.QueueBytes, 2*messageCost)
			}
			slices.Sort(p.Names)
			want.Pid, want.Started, want.QueueBytes = pid, p.Started, p.QueueBytes
			require.Equal(t, want, p)
		}
		label := of(ei.Append(nil, "of jobs")).must(t)
		test := ei.Atom("github.com/cnode-go/cnode/nodes")
		is(till.Pid(), introspect.Process{Kind: introspect.KindServer, Names: []ei.Atom{"till"}, Handled: 1, Links: 1, TrapExit: true,
			Running: true, MonitoredBy: 1, Runs: introspect.MFA{Module: test, Function: all[till.Pid()].Runs.Function}})
		require.True(t, strings.HasPrefix(string(all[till.Pid()].Runs.Function), "TestProcesses.func"))
		is(handler.Pid(), introspect.Process{Kind: introspect.KindHandler, Names: []ei.Atom{"sink"}, Handled: 1, Links: 1, Parent: till.Pid(),
			Runs: introspect.MFA{Module: test, Function: all[handler.Pid()].Runs.Function}})
		is(b.Pid(), introspect.Process{Kind: introspect.KindMailbox, Names: []ei.Atom{"line", "queue"}, Label: label, Queue: 2, Handled: 2,
			MonitoredBy: 1})
		is(fn, introspect.Process{Kind: introspect.KindFunction, Parent: boss.Pid(), GroupLeader: all[fn].GroupLeader, Links: 1,
			Runs: introspect.MFA{Module: "shop", Function: "wait", Arity: 1}})
		_, isPid := all[fn].GroupLeader.(ei.Pid)
		require.True(t, isPid)

		d, ok := there.Process(b.Pid())
		require.True(t, ok)
		require.ElementsMatch(t, []ei.Atom{"queue", "line"}, d.Names)
		require.Equal(t, []ei.Pid{boss.Pid()}, d.Watchers)
		require.Len(t, d.Messages, 2)
		last := of(d.Messages[1].Decode()).must(t)
		require.Equal(t, ei.Tuple{ei.Atom("last"), boss.Pid()}, last)
		d, ok = there.Process(handler.Pid())
		require.True(t, ok)
		require.Equal(t, []ei.Pid{till.Pid()}, d.LinkedWith)
		d, ok = here.Process(boss.Pid())
		require.True(t, ok)
		require.Equal(t, []introspect.Target{{Pid: b.Pid(), Node: there.Name()}}, d.Monitoring)
		require.Equal(t, []ei.Pid{fn}, d.LinkedWith)

		close(leave)
		handler.Close()
		require.NoError(t, boss.Send(w.ctx(), fn, "end"))
		require.Eventually(t, func() bool { _, ok := there.Process(fn); return !ok }, 10*time.Second, time.Millisecond)
		_, ok = there.Process(handler.Pid())
		require.False(t, ok)
		require.Contains(t, there.Exposed()["shop"], "wait")
	})
}

// An iteration meets what begins and ends meanwhile, may be left at any time, and may itself use
// the node.
func TestProcessesWhileTheyChange(t *testing.T) {
	n := newWorld(t, "memory").started("alice")
	stays := map[ei.Pid]bool{}
	for range 3 * processPage {
		stays[box(t, n).Pid()] = true
	}
	for p := range n.Processes() {
		if stays[p.Pid] {
			break
		}
	}
	seen, i := map[ei.Pid]int{}, 0
	for p := range n.Processes() {
		seen[p.Pid]++
		if i++; i%50 == 0 {
			b := box(t, n)
			if i%100 == 0 {
				b.Close()
			}
			_, _ = n.Process(p.Pid)
		}
	}
	for pid := range stays {
		require.Equal(t, 1, seen[pid])
	}
}
