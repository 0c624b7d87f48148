package callsout

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/groupleader"
)

// know gives the Erlang node a term of ours under a name: V = persistent_term:get(Name).
func know(t *testing.T, n *nodes.Node, erl *otp.Node, name string, term any) {
	t.Helper()
	_, err := n.ERPC(soon(t), erl.Name(), "persistent_term", "put", ei.Atom(name), term)
	require.NoError(t, err)
}

// Processes that Go has spawned are linked and monitored as spawn_link and spawn_monitor have it,
// on both sides.
func spawn(t *testing.T, erl *otp.Node, n *nodes.Node) {
	box, err := n.NewMailbox(&nodes.MailboxOptions{TrapExit: true})
	require.NoError(t, err)
	know(t, n, erl, "box", box.Pid())
	pid, err := box.Spawn(soon(t), erl.Name(), "calls", "wait", ei.Atom("plain"), 1)
	require.NoError(t, err)
	erl.Becomes(t, "is_pid(whereis(plain))", "true")
	know(t, n, erl, "plain", pid)
	require.Equal(t, "true", erl.Eval(t, "whereis(plain) =:= persistent_term:get(plain)"))
	require.Equal(t, "{links,[]}", erl.Eval(t, "process_info(whereis(plain), links)"))
	require.Equal(t, "true", erl.Eval(t, "{parent, persistent_term:get(box)} =:= process_info(whereis(plain), parent)"))

	linked, err := box.SpawnLink(soon(t), erl.Name(), "calls", "wait", ei.Atom("linked"), 1)
	require.NoError(t, err)
	watched, ref, err := box.SpawnMonitor(soon(t), erl.Name(), "calls", "wait", ei.Atom("watched"), 1)
	require.NoError(t, err)
	erl.Becomes(t, "is_pid(whereis(linked)) andalso is_pid(whereis(watched))", "true")
	require.Equal(t, "true", erl.Eval(t, "{links, [persistent_term:get(box)]} =:= process_info(whereis(linked), links)"))
	erl.Do(t, "linked ! {exit, l}, watched ! {exit, w}")
	ends := map[dist.Op]string{}
	for range 2 {
		m, err := box.Receive(soon(t))
		require.NoError(t, err)
		reason, err := m.Reason.Decode()
		require.NoError(t, err)
		ends[m.Op] = fmt.Sprint(m.From, m.Ref, reason)
	}
	require.Equal(t, map[dist.Op]string{
		dist.OpExit: fmt.Sprint(linked, ei.Ref{}, ei.Atom("l")), dist.OpMonitorPExit: fmt.Sprint(watched, ref, ei.Atom("w")),
	}, ends)

	_, ref, err = box.SpawnMonitor(soon(t), erl.Name(), "calls", "missing")
	require.NoError(t, err)
	m, err := box.Receive(soon(t))
	require.NoError(t, err)
	require.Equal(t, ref, m.Ref)
	reason, err := m.Reason.Decode()
	require.NoError(t, err)
	require.Equal(t, ei.Atom("undef"), reason.(ei.Tuple)[0])

	// A monitor that is ended says nothing, and the process goes on.
	_, ref, err = box.SpawnMonitor(soon(t), erl.Name(), "calls", "wait", ei.Atom("left"), 1)
	require.NoError(t, err)
	erl.Becomes(t, "is_pid(whereis(left))", "true")
	box.Demonitor(context.Background(), ref)
	erl.Becomes(t, "process_info(whereis(left), monitored_by)", "{monitored_by,[]}")

	// The end of the parent ends what is linked.
	parent, err := n.NewMailbox(nil)
	require.NoError(t, err)
	_, err = parent.SpawnLink(soon(t), erl.Name(), "calls", "wait", ei.Atom("child"), 1)
	require.NoError(t, err)
	erl.Becomes(t, "is_pid(whereis(child))", "true")
	parent.Exit(ei.Atom("enough"))
	erl.Becomes(t, "whereis(child)", "undefined")
	require.Equal(t, "true", erl.Eval(t, "is_pid(whereis(plain))"))

	asked, err := box.SpawnRequest(soon(t), erl.Name(), &nodes.SpawnOptions{Monitor: true}, "calls", "raise", ei.Atom("exit"), 5)
	require.NoError(t, err)
	m, err = box.Receive(soon(t))
	require.NoError(t, err)
	require.Equal(t, asked, m.Ref)
	pid, err = m.Spawned()
	require.NoError(t, err)
	m, err = box.Receive(soon(t))
	require.NoError(t, err)
	require.Equal(t, dist.OpMonitorPExit, m.Op)
	require.Equal(t, pid, m.From)
	require.Equal(t, asked, m.Ref)
}

// Whoever gives up a spawn_link, or ends, before the node has answered is no parent of anything.
func spawnGivenUp(t *testing.T, erl *otp.Node, n *nodes.Node) {
	box, err := n.NewMailbox(nil)
	require.NoError(t, err)
	_, err = n.ERPC(soon(t), erl.Name(), "calls", "echo", 1)
	require.NoError(t, err)
	erl.Pause(t)
	ctx, cancel := context.WithCancel(soon(t))
	failed := make(chan error, 1)
	go func() {
		_, err := box.SpawnLink(ctx, erl.Name(), "calls", "wait", ei.Atom("given_up"), 1)
		failed <- err
	}()
	ref, err := box.SpawnRequest(soon(t), erl.Name(), nil, "calls", "echo", 1)
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	erl.Continue(t)
	m, err := box.Receive(soon(t))
	require.NoError(t, err)
	require.Equal(t, ref, m.Ref, "and nothing of the other one")
	erl.Becomes(t, "whereis(given_up)", "undefined")
	require.NoError(t, box.Err())
}

// A parent that ends before the node has answered is one all the same: the link tells the process
// the parent's exit reason.
func spawnOrphan(t *testing.T, erl *otp.Node, n *nodes.Node) {
	erl.Do(t, `Self = self(), spawn(fun() -> register(tracer, self()), Self ! ready,
		(fun L() -> receive {trace, _, exit, {orphan, _} = R} -> persistent_term:put(why, R); _ -> ok end, L() end)() end),
		receive ready -> erlang:trace(new_processes, true, [procs, {tracer, whereis(tracer)}]) end`)
	_, err := n.ERPC(soon(t), erl.Name(), "calls", "echo", 1)
	require.NoError(t, err)
	erl.Pause(t)
	for name, reason := range map[ei.Atom]ei.Term{"crashed": ei.Tuple{ei.Atom("orphan"), ei.Binary("x")}, "closed": ei.Atom("normal")} {
		box, err := n.NewMailbox(nil)
		require.NoError(t, err)
		_, err = box.SpawnRequest(soon(t), erl.Name(), &nodes.SpawnOptions{Link: true}, "calls", "wait", name, 1)
		require.NoError(t, err)
		box.Exit(reason)
	}
	erl.Continue(t)
	erl.Becomes(t, "persistent_term:get(why, none)", `{orphan,<<"x">>}`)
	erl.Becomes(t, "process_info(whereis(closed), links)", "{links,[]}")
	require.Equal(t, "undefined", erl.Eval(t, "whereis(crashed)"))
}

// What is printed in the other node goes to the group leader that the context names; without one a
// function that prints, or reads, goes on.
func groupLeader(t *testing.T, erl *otp.Node, n *nodes.Node) {
	v, err := n.ERPC(soon(t), erl.Name(), "calls", "print", "nowhere\n")
	require.NoError(t, err)
	require.Equal(t, ei.Atom("printed"), v)
	v, err = n.ERPC(soon(t), erl.Name(), "calls", "ask")
	require.NoError(t, err)
	require.Equal(t, ei.Atom("eof"), v)
	box, err := n.NewMailbox(nil)
	require.NoError(t, err)
	_, ref, err := box.SpawnMonitor(soon(t), erl.Name(), "calls", "print", "nowhere\n")
	require.NoError(t, err)
	m, err := box.Receive(soon(t))
	require.NoError(t, err)
	require.Equal(t, ref, m.Ref)
	reason, err := m.Reason.Decode()
	require.NoError(t, err)
	require.Equal(t, ei.Atom("normal"), reason)

	out := make(written, 10)
	leader, err := groupleader.Serve(n, "", out, nil)
	require.NoError(t, err)
	ctx := nodes.WithGroupLeader(soon(t), leader.Pid())
	v, err = n.ERPC(ctx, erl.Name(), "calls", "print", "one ")
	require.NoError(t, err)
	require.Equal(t, ei.Atom("printed"), v)
	_, err = n.RPC(ctx, erl.Name(), "calls", "print", "two ")
	require.NoError(t, err)
	_, _, err = box.SpawnMonitor(ctx, erl.Name(), "calls", "print", "three")
	require.NoError(t, err)
	_, err = box.Receive(soon(t))
	require.NoError(t, err)
	v, err = n.ERPC(ctx, erl.Name(), "calls", "leader")
	require.NoError(t, err)
	require.Equal(t, leader.Pid(), v)
	require.Equal(t, "one two three", <-out+<-out+<-out)
}

// written takes what is written to it.
type written chan string

func (w written) Write(b []byte) (int, error) {
	w <- string(b)
	return len(b), nil
}
