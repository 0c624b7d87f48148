package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/stretchr/testify/require"
)

// withErlang runs f with every release: a port mapper of that release, and a node of it.
func withErlang(t *testing.T, o otp.Options, f func(t *testing.T, w *home, n *otp.Node)) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		w := newHome(t, r.Epmd(t))
		o := o
		o.EpmdPort = w.port
		f(t, w, r.Start(t, o))
	})
}

func TestCommandsMeetErlang(t *testing.T) {
	withErlang(t, otp.Options{}, func(t *testing.T, w *home, n *otp.Node) {
		require.Equal(t, "pong\n", w.succeed("ping", n.Name()))
		require.Equal(t, "pong\n", w.succeed("ping", n.Name(), "--name", "visitor@127.0.0.1"))
		for _, tt := range [][4]string{
			{"lists", "seq", "[1, 5]", "[1,2,3,4,5]"},
			{"erlang", "node", "[]", "'" + n.Name() + "'"},
			{"erlang", "list_to_binary", `["abc"]`, `<<"abc">>`},
			{"erlang", "throw", "[ball]", "ball"},
		} {
			require.Equal(t, tt[3]+"\n", w.succeed("call", n.Name(), tt[0], tt[1], tt[2]))
		}
		n.Becomes(t, "nodes(hidden)", "[]") // those of the commands before are gone in a moment
		// A node that takes short hosts for a mistake would complain of one that has left.
		require.Regexp(t, `^\['cnode-demo-\d+@[^.']+\.[^']+'\]\n$`, w.succeed("call", n.Name(), "erlang", "nodes", "[hidden]"))
		for call, want := range map[string]string{
			"erlang exit [boo]":  "{badrpc,{'EXIT',boo}}",
			"erlang error [boo]": "{badrpc,{'EXIT',{boo,",
			"no such []":         "There is no such function",
		} {
			out, errOut := w.fail(append([]string{"call", n.Name()}, words(call)...)...)
			require.Empty(t, out)
			require.Contains(t, errOut, want)
		}
		out, errOut := w.fail("ping", n.Name(), "--cookie", "wrong")
		require.Equal(t, "pang\n", out)
		require.Contains(t, errOut, "The two nodes most likely have different cookies")

		n.Pause(t)
		out, errOut = w.fail("ping", n.Name(), "--timeout", "2s")
		require.Equal(t, "pang\n", out)
		require.Contains(t, errOut, "No answer came in time")
		_, errOut = w.fail("call", n.Name(), "erlang", "node", "--timeout", "2s")
		require.Contains(t, errOut, "No answer came in time")
		n.Continue(t)

		n.Do(t, "net_kernel:allow(['"+n.Name()+"'])")
		out, errOut = w.fail("ping", n.Name(), "--name", "stranger@127.0.0.1")
		require.Equal(t, "pang\n", out)
		require.Contains(t, errOut, "net_kernel:allow/1")
	})
}

func TestCommandsMeetShortNames(t *testing.T) {
	withErlang(t, otp.Options{Short: true}, func(t *testing.T, w *home, n *otp.Node) {
		require.Equal(t, "pong\n", w.succeed("ping", n.Name()))
		require.Equal(t, n.Name()+"\n", w.succeed("call", n.Name(), "erlang", "node"))
		s := w.serve("serve", "--name", "served@localhost")
		require.Equal(t, "pong", n.Do(t, "net_adm:ping('"+s.name+"')"))
	})
}

// The nodes of Erlang's own port mapper are listed in its own words.
func TestNamesMeetErlang(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		list := func(w *home) string {
			cmd := exec.Command(r.Command("epmd"), "-names")
			cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, w.env...)
			out, err := cmd.Output()
			require.NoError(t, err)
			return string(out)
		}
		theirs := newHome(t, r.Epmd(t))
		r.Start(t, otp.Options{EpmdPort: theirs.port})
		theirs.serve("serve")
		require.Equal(t, 3, strings.Count(list(theirs), "\n"))
		require.Equal(t, list(theirs), theirs.succeed("names"))
	})
}
