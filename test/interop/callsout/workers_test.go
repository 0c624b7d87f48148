package callsout

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/workers"
)

// envServe makes this test's binary a node with workers, under the name that it holds.
const envServe = "CNODE_TEST_SERVE"

// serve runs a front, or its worker.
func serve(name string) error {
	return gonode.Serve(workers.Config{Workers: 2, Choose: workers.BySessions, Patience: limit,
		Node: nodes.Config{Name: name, Cookie: otp.DefaultCookie, Setup: setUp, HandshakeTimeout: otp.HandshakeTime}}, nil)
}

// setUp gives a worker functions that call further, in a function's own context.
func setUp(n *nodes.Node) error {
	n.Expose("w", "pid", nodes.FuncOf(os.Getpid))
	n.Expose("w", "erpc", nodes.FuncOf(func(ctx context.Context, node, mod, fun ei.Atom, args ...ei.Term) (ei.Term, error) {
		return nodes.ERPCAs[ei.Term](ctx, n, string(node), string(mod), string(fun), list(args)...)
	}))
	// how a spawned process has ended
	n.Expose("w", "spawn", nodes.FuncOf(func(ctx context.Context, node, mod, fun ei.Atom, args ...ei.Term) (ei.Term, error) {
		box, err := n.NewMailbox(nil)
		if err != nil {
			return nil, err
		}
		defer box.Close()
		pid, ref, err := box.SpawnMonitor(ctx, string(node), string(mod), string(fun), list(args)...)
		if err != nil {
			return nil, err
		}
		m, err := box.Receive(ctx)
		if err != nil {
			return nil, err
		}
		if m.Ref != ref || m.From != pid {
			return nil, fmt.Errorf("%v of %v", m.Op, m.From)
		}
		return m.Reason.Decode()
	}))
	// a linked process, and its parent, which goes on
	n.Expose("w", "link", nodes.FuncOf(func(ctx context.Context, node, mod, fun ei.Atom, args ...ei.Term) ([]ei.Pid, error) {
		box, err := n.NewMailbox(nil)
		if err != nil {
			return nil, err
		}
		pid, err := box.SpawnLink(ctx, string(node), string(mod), string(fun), list(args)...)
		return []ei.Pid{box.Pid(), pid}, err
	}))
	return nil
}

func list(args []ei.Term) (all []any) {
	for _, a := range args {
		all = append(all, a)
	}
	return all
}

// Each worker calls nodes that another worker is connected to, the node itself, and the caller.
func TestAcrossWorkers(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		cmd := exec.Command(os.Args[0])
		cmd.Env = gonode.Environment(t, port, envServe+"=many@127.0.0.1")
		front := otp.Serve(t, cmd)
		a, b := erlang(t, r, otp.Options{EpmdPort: port}), erlang(t, r, otp.Options{EpmdPort: port})
		at := map[string]string{}
		for _, e := range []*otp.Node{a, b} {
			at[e.Eval(t, "erpc:call('many@127.0.0.1', w, pid, [])")] = e.Name()
		}
		require.Len(t, at, 2, "each has its own worker")
		call := func(fun, node, rest string) string {
			t.Helper()
			return a.Eval(t, fmt.Sprintf("erpc:call('%s', w, %s, ['%s'%s])", front.Name, fun, node, rest))
		}
		for _, e := range []*otp.Node{a, b} { // the caller's own node, and the other worker's peer
			require.Equal(t, "{x,1}", call("erpc", e.Name(), ", calls, echo, {x, 1}"))
			require.Equal(t, "printed", call("erpc", e.Name(), ", calls, print, \"nowhere\""))
			require.Equal(t, "7000000", call("erpc", e.Name(), ", calls, size, binary:copy(<<1>>, 7000000)"))
			require.Equal(t, "normal", call("spawn", e.Name(), ", calls, print, \"nowhere\""))
			require.Equal(t, "crash", call("spawn", e.Name(), ", calls, raise, exit, crash"))
			require.Contains(t, call("spawn", e.Name(), ", calls, missing"), "{undef,")
			require.Contains(t, call("erpc", e.Name(), ", calls, raise, exit, crash"), "crash")
			pids := call("link", e.Name(), ", calls, wait, linked, 1")
			require.NotContains(t, pids, "error")
			e.Becomes(t, "is_pid(whereis(linked))", "true")
			require.Equal(t, "1", e.Eval(t, "{links, L} = process_info(whereis(linked), links), length(L)"))
			e.Do(t, "exit(hd(element(2, process_info(whereis(linked), links))), kill)")
			e.Becomes(t, "whereis(linked)", "undefined")
		}
		require.NotContains(t, call("erpc", front.Name, ", w, pid"), "error")
		require.Contains(t, call("erpc", "nobody@127.0.0.1", ", calls, echo, 1"), "no connection")
	})
}
