# The smallest Phoenix.PubSub with adapter PG2 that says on the wire, and does with what comes, what
# that of phoenix_pubsub 2.2 does. Written for these tests; no part of that library.
defmodule Phoenix.PubSub do
  use Supervisor

  def start_link(opts), do: Supervisor.start_link(__MODULE__, opts, name: Module.concat(opts[:name], "Supervisor"))

  @impl true
  def init(opts) do
    size = opts[:pool_size] || 1
    adapter = Module.concat(opts[:name], "Adapter")
    names = [adapter | for(n <- 2..size//1, do: :"#{adapter}_#{n}")]
    senders = names |> Enum.take(opts[:broadcast_pool_size] || size) |> List.to_tuple()
    :persistent_term.put(adapter, senders)
    workers = for name <- names, do: Supervisor.child_spec({__MODULE__.Member, {opts[:name], name}}, id: name)
    Supervisor.init([{Registry, keys: :duplicate, name: opts[:name]} | workers], strategy: :rest_for_one)
  end

  def subscribe(pubsub, topic, _opts \\ []), do: with({:ok, _} <- Registry.register(pubsub, topic, nil), do: :ok)
  def unsubscribe(pubsub, topic), do: Registry.unregister(pubsub, topic)

  def broadcast(pubsub, topic, message, dispatcher \\ __MODULE__), do: spread(pubsub, :none, topic, message, dispatcher)

  def broadcast_from(pubsub, from, topic, message, dispatcher \\ __MODULE__),
    do: spread(pubsub, from, topic, message, dispatcher)

  def local_broadcast(pubsub, topic, message, dispatcher \\ __MODULE__), do: give(pubsub, :none, topic, message, dispatcher)

  def direct_broadcast(node, pubsub, topic, message, dispatcher \\ __MODULE__) do
    send({mine(pubsub), node}, {:forward_to_local, topic, message, dispatcher})
    :ok
  end

  def dispatch(entries, from, message), do: for({pid, _} <- entries, pid != from, do: send(pid, message))

  defp spread(pubsub, from, topic, message, dispatcher) do
    for pid <- :pg.get_members(__MODULE__, mine(pubsub)), node(pid) != node() do
      send(pid, {:forward_to_local, topic, message, dispatcher})
    end

    give(pubsub, from, topic, message, dispatcher)
  end

  defp give(pubsub, from, topic, message, dispatcher) do
    Registry.dispatch(pubsub, topic, &dispatcher.dispatch(&1, from, message))
    :ok
  end

  # a process uses one group always, so that its messages stay in order
  defp mine(pubsub) do
    groups = :persistent_term.get(Module.concat(pubsub, "Adapter"))
    elem(groups, :erlang.phash2(self(), tuple_size(groups)))
  end
end

defmodule Phoenix.PubSub.Member do
  use GenServer

  def start_link({_, name} = arg), do: GenServer.start_link(__MODULE__, arg, name: name)

  @impl true
  def init({pubsub, name}) do
    :ok = :pg.join(Phoenix.PubSub, name, self())
    {:ok, pubsub}
  end

  @impl true
  def handle_info({:forward_to_local, topic, message, dispatcher}, pubsub) do
    Phoenix.PubSub.local_broadcast(pubsub, topic, message, dispatcher)
    {:noreply, pubsub}
  end

  def handle_info(_, pubsub), do: {:noreply, pubsub}
end
