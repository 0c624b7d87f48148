package callsout

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

// shop is what the Elixir node has to call, and an Agent.
const shop = `
defmodule Shop do
  defmodule Item do
    defstruct [:sku, :price]
  end
  def find("A1"), do: {:ok, %Item{sku: "A1", price: 2}}
  def find(_), do: {:error, :not_found}
  def find!(sku), do: raise(ArgumentError, "no #{sku}")
  def failing(node) do
    {:badrpc, {:EXIT, {%RuntimeError{message: first}, _}}} = :rpc.call(node, :go, :fail, [])
    {:error, %RuntimeError{} = second} = GenServer.call({:go, node}, :fail)
    try do
      :erpc.call(node, :go, :fail, [])
    catch
      :error, {:exception, e, _} -> [first, Exception.message(second), Exception.message(e)]
    end
  end
  def loud(text), do: IO.puts(text)
  def next(n), do: {n, n + 1}
  def work(name), do: Process.register(self(), name) && receive(do: ({:stop, why} -> exit(why)))
end
{:ok, _} = Agent.start_link(fn -> 0 end, name: Counter)
IO.puts("ready #{node()} 0")
Process.sleep(:infinity)
`

type item struct {
	_     struct{} `ei:"struct=Elixir.Shop.Item"`
	SKU   string
	Price int
}

// Functions, exceptions, structs and processes of an Elixir node.
func TestElixir(t *testing.T) {
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		port := otp.Epmd(t)
		ex := otp.Serve(t, e.Command(context.Background(), t, port, "ex@127.0.0.1", shop)).Name
		n := started(t, port)
		found, err := nodes.ERPCAs[item](soon(t), n, ex, "Elixir.Shop", "find", "A1")
		require.NoError(t, err)
		require.Equal(t, item{SKU: "A1", Price: 2}, found)
		_, err = nodes.ERPCAs[item](soon(t), n, ex, "Elixir.Shop", "find", "B2")
		reason := new(ei.ReasonError)
		require.ErrorAs(t, err, &reason)
		require.Equal(t, ei.Atom("not_found"), reason.Reason)
		_, err = n.ERPC(soon(t), ex, "Elixir.Shop", "find!", "B2")
		raise := new(nodes.Raise)
		require.ErrorAs(t, err, &raise)
		exception, _ := raise.Reason.(ei.Map)
		message, _ := exception.Get(ei.Atom("message"))
		require.Equal(t, ei.Binary("no B2"), message)
		require.Contains(t, raise.Stack.String(), "'Elixir.Shop'")
		fail := nodes.FuncOf(func() error { return fmt.Errorf("store: %w", elixir.NewException("RuntimeError", "no disk")) })
		n.Expose("go", "fail", fail)
		server, err := n.Serve("go", nodes.Server{On: map[string]nodes.Func{"fail": fail}}, nil)
		require.NoError(t, err)
		told, err := nodes.ERPCAs[[]string](soon(t), n, ex, "Elixir.Shop", "failing", ei.Atom(n.Name()))
		require.NoError(t, err)
		require.Equal(t, []string{"no disk", "no disk", "no disk"}, told)
		server.Close()
		v, err := n.ERPC(soon(t), ex, "Elixir.Shop", "loud", "nowhere")
		require.NoError(t, err)
		require.Equal(t, ei.Atom("ok"), v)

		box, err := n.NewMailbox(nil)
		require.NoError(t, err)
		pid, ref, err := box.SpawnMonitor(soon(t), ex, "Elixir.Shop", "work", ei.Atom("worker"))
		require.NoError(t, err)
		require.NoError(t, box.Send(soon(t), pid, ei.Tuple{ei.Atom("stop"), ei.Atom("tired")}))
		m, err := box.Receive(soon(t))
		require.NoError(t, err)
		require.Equal(t, dist.OpMonitorPExit, m.Op)
		require.Equal(t, ref, m.Ref)
		why, err := m.Reason.Decode()
		require.NoError(t, err)
		require.Equal(t, ei.Atom("tired"), why)
		var requests []*nodes.Request
		for range 3 {
			r, err := n.ERPCRequest(soon(t), ex, "Elixir.Agent", "get_and_update", ei.Atom("Elixir.Counter"), ei.Atom("Elixir.Shop"),
				ei.Atom("next"), ei.List{})
			require.NoError(t, err)
			requests = append(requests, r)
		}
		sum := 0
		for r := range nodes.Answered(soon(t), requests...) {
			i, err := nodes.WaitAs[int](soon(t), r)
			require.NoError(t, err)
			sum += i
		}
		require.Equal(t, 0+1+2, sum)
		quiet(t, n, 1)
	})
}
