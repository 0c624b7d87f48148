package global

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/global"
)

const elixirSide = `
go = String.to_atom(System.get_env("GO_NODE"))
true = Node.connect(go)
:ok = :global.sync()
{:ok, 42} = GenServer.call({:global, :answer}, {:double, 21})
:ok = GenServer.cast({:global, :answer}, :noted)

defmodule Counter do
  use GenServer
  def init(n), do: {:ok, n}
  def handle_call({:add, k}, _from, n), do: {:reply, {:ok, n + k}, n + k}
end

{:ok, pid} = GenServer.start_link(Counter, 40, name: {:global, "counter"})
{:error, {:already_started, ^pid}} = GenServer.start_link(Counter, 0, name: {:global, "counter"})
{:error, {:already_started, other}} = GenServer.start_link(Counter, 0, name: {:global, :answer})
^go = node(other)
:ok = GenServer.call({:global, :answer}, :ready, 20_000) |> elem(1)
IO.puts("all of it")
`

// Elixir's {:global, Name}: GenServer's calls, casts and starts, both ways.
func TestElixir(t *testing.T) {
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		port := otp.Epmd(t)
		m := startMember(t, uniqueName("go"), port)
		noted, counted := make(chan ei.Term, 1), make(chan error, 1)
		srv, err := m.n.Serve("", nodes.Server{
			Call: func(ctx context.Context, c *nodes.Call) (any, error) {
				if isTuple, ok := c.Request.(ei.Tuple); ok {
					return ei.Tuple{ei.Atom("ok"), 2 * isTuple[1].(ei.Int)}, nil
				}
				n, err := global.CallAs[int](ctx, m.Global, m.n, ei.Binary("counter"), ei.Tuple{ei.Atom("add"), ei.Int(2)})
				if err == nil && n != 42 {
					err = fmt.Errorf("the counter is at %d", n)
				}
				counted <- err
				return ei.Tuple{ei.Atom("ok"), ei.Atom("ok")}, nil
			},
			Cast: func(_ context.Context, request ei.Term) { noted <- request },
		}, nil)
		require.NoError(t, err)
		require.NoError(t, m.Register(within(t), "answer", srv, global.Method{}))
		require.Equal(t, "all of it\n", e.Prints(t, port, "zelixir@127.0.0.1", elixirSide, "GO_NODE="+m.n.Name()))
		require.Equal(t, ei.Atom("noted"), <-noted)
		require.NoError(t, <-counted)
	})
}
