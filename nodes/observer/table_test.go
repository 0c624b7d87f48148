package observer

import (
	"context"
	"runtime/debug"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/nodes"
)

// Each function takes as many arguments as its name says: whatever they are, it is there.
func TestArities(t *testing.T) {
	w := cluster.New(t)
	cfg := w.Config("arities@host")
	cfg.Setup = func(n *nodes.Node) error { return Serve(n, nil) }
	n := w.Start(cfg)
	for module, of := range n.Exposed() {
		table := tableOf(&observer{})[module]
		for _, name := range of {
			require.NotEmpty(t, table[name], "%s:%s", module, name)
			for arity := range table[name] {
				args := make([]any, arity)
				for i := range args {
					args[i] = ei.Tuple{ei.Atom("nothing")} // which nobody takes for a pid or an atom
				}
				ctx, cancel := context.WithCancel(t.Context())
				_, err := n.ERPC(ctx, n.Name(), module, name, args...)
				cancel()
				if err != nil {
					require.NotContains(t, err.Error(), "undef", "%s:%s/%d", module, name, arity)
				}
			}
		}
	}
}

// An uptime is written as c:uptime/0 writes it.
func TestUptime(t *testing.T) {
	for want, of := range map[string]time.Duration{
		"59 seconds":                                 59*time.Second + 900*time.Millisecond,
		"1 minutes and 0 seconds":                    time.Minute,
		"23 hours, 59 minutes and 59 seconds":        24*time.Hour - time.Second,
		"2 days, 0 hours, 0 minutes and 1 seconds":   48*time.Hour + time.Second,
		"400 days, 1 hours, 1 minutes and 1 seconds": 400*24*time.Hour + time.Hour + time.Minute + time.Second,
	} {
		require.Equal(t, want, uptime(of))
	}
}

// The program has the name of its main package, not of the module that this is in.
func TestProgramOf(t *testing.T) {
	of := func(path string) string {
		return programOf(&debug.BuildInfo{Path: path, Main: debug.Module{Path: "example.org/shop/cmd"}})
	}
	require.Equal(t, "till", of("example.org/shop/cmd/till"))
	require.Equal(t, "cmd", of("command-line-arguments"))
	require.Equal(t, "cmd", of(""))
}
