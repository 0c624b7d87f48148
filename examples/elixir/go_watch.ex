defmodule GoWatch do
  @moduledoc """
  Watches a Go node that others start, systemd say: connects to it, and again when it is back.

      children = [{GoWatch, node: :"cnode@127.0.0.1"}]

  `up?/0` says whether it is there.
  """
  use GenServer
  require Logger

  @again 500

  def start_link(opts), do: GenServer.start_link(__MODULE__, opts, name: Keyword.get(opts, :name, __MODULE__))
  def up?(server \\ __MODULE__), do: GenServer.call(server, :up?)

  @impl true
  def init(opts) do
    # :all, since a Go node is hidden unless its configuration says otherwise
    :ok = :net_kernel.monitor_nodes(true, node_type: :all)
    {:ok, %{node: Keyword.fetch!(opts, :node), up: false}, {:continue, :connect}}
  end

  @impl true
  def handle_continue(:connect, state), do: {:noreply, connect(state)}

  @impl true
  def handle_call(:up?, _, state), do: {:reply, state.up, state}

  @impl true
  def handle_info({:nodeup, node, _}, %{node: node, up: false} = state) do
    Logger.info("#{node} is up")
    {:noreply, %{state | up: true}}
  end

  def handle_info({:nodedown, node, _}, %{node: node} = state) do
    Logger.warning("#{node} is down")
    {:noreply, connect(%{state | up: false})}
  end

  def handle_info(:connect, state), do: {:noreply, connect(state)}
  def handle_info(_, state), do: {:noreply, state}

  # A node that comes back does not connect by itself, so it is asked for. The message is nodeup.
  defp connect(%{up: true} = state), do: state

  defp connect(state) do
    Node.connect(state.node) || Process.send_after(self(), :connect, @again)
    state
  end
end
