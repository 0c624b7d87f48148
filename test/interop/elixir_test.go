package interop

import (
	"os"
	"os/exec"
	"testing"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/stretchr/testify/require"
)

// The README's first node takes Elixir's structs and gives one back, with each Elixir that there
// is.
func TestFirstNodeWithElixir(t *testing.T) {
	needsTCP(t, "the examples say what they have")
	node := program(t, "examples/first-node")
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		port := otp.Epmd(t)
		serve := exec.Command(node)
		serve.Env = epmdEnviron(port)
		otp.Serve(t, serve)
		runElixir(t, e, port, "testdata/pricing.exs", "Node.set_cookie(:secret)\n")
	})
}

// What Elixir prints of an exception says why, and nothing is nil for it.
func TestElixirPrintsWhy(t *testing.T) {
	needsTCP(t, "Elixir is started without another carrier")
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		port := otp.Epmd(t)
		n := startNode(t, config(port))
		shopFuncs(t, n)
		runElixir(t, e, port, "testdata/why.exs", "", "GO_NODE="+n.Name())
	})
}

// runElixir runs a script on a node.
func runElixir(t *testing.T, e otp.Elixir, port int, script, before string, env ...string) {
	t.Helper()
	text, err := os.ReadFile(script)
	require.NoError(t, err)
	require.Equal(t, "all of it\n", e.Prints(t, port, "ex@127.0.0.1", before+string(text), env...))
}
