# What the tests ask of an Elixir node, by rpc:call. It knows only what both the counterparts here and
# the libraries themselves have.
defmodule Phoenix.Socket.Broadcast do
  defstruct topic: nil, event: nil, payload: nil
end

defmodule Phoenix.Channel.Server do
  # a channel's process gets the struct; a browser gets what comes of that
  def dispatch(entries, from, %Phoenix.Socket.Broadcast{} = b) do
    for {pid, _} <- entries, pid != from, do: send(pid, {:to_browser, b.topic, b.event, b.payload})
  end

  def broadcast(pubsub, topic, event, payload) do
    b = %Phoenix.Socket.Broadcast{topic: topic, event: event, payload: payload}
    Phoenix.PubSub.broadcast(pubsub, topic, b, __MODULE__)
  end
end

defmodule Peer.Presence do
  def init(name), do: {:ok, name}

  def handle_diff(diff, name) do
    for {topic, {joins, leaves}} <- diff do
      for {key, _} <- leaves, do: note(name, topic, "left #{key}")
      for {key, _} <- joins, do: note(name, topic, "joined #{key}")
    end

    {:ok, name}
  end

  # an update is both: first the leave here
  def note(name, topic, text), do: :ets.insert(__MODULE__, {{name, topic, System.unique_integer([:monotonic])}, text})
  def table, do: :ets.whereis(__MODULE__) != :undefined || :ets.new(__MODULE__, [:named_table, :public, :ordered_set])
  def notes(name, topic), do: :ets.select(__MODULE__, [{{{name, topic, :_}, :"$1"}, [], [:"$1"]}])
end

defmodule Peer do
  # start: the scope, a PubSub and a Presence, in a process that stays
  def start(pubsub, pool, presence, presence_opts) do
    lasting(fn ->
      Peer.Presence.table()

      case :pg.start_link(Phoenix.PubSub) do
        {:ok, _} -> :ok
        {:error, {:already_started, _}} -> :ok
      end

      {:ok, _} = Supervisor.start_link([{Phoenix.PubSub, name: pubsub, pool_size: pool}], strategy: :one_for_one)
      start_presence(pubsub, presence, presence_opts)
    end)
  end

  def start_presence(pubsub, presence, opts) do
    {:ok, pid} = Phoenix.Tracker.start_link(Peer.Presence, presence, [name: presence, pubsub_server: pubsub] ++ opts)
    pid
  end

  def restart_presence(pubsub, presence, opts), do: lasting(fn -> start_presence(pubsub, presence, opts) end)

  # subscribe: a process that keeps what comes, and gives it to whoever asks for the next one
  def subscribe(pubsub, topic) do
    lasting(fn -> :ok = Phoenix.PubSub.subscribe(pubsub, topic) end)
  end

  def next(pid) do
    send(pid, {:next, self()})

    receive do
      {^pid, message} -> message
    end
  end

  def broadcast(pubsub, topic, message), do: Phoenix.PubSub.broadcast(pubsub, topic, message)
  def direct(node, pubsub, topic, message), do: Phoenix.PubSub.direct_broadcast(node, pubsub, topic, message)
  def push(pubsub, topic, event, payload), do: Phoenix.Channel.Server.broadcast(pubsub, topic, event, payload)

  def flood(pubsub, topic, n), do: for(i <- 1..n, do: Phoenix.PubSub.broadcast(pubsub, topic, {:n, i})) && :ok

  def track(presence, topic, key, meta) do
    lasting(fn -> {:ok, _} = Phoenix.Tracker.track(presence, self(), topic, key, meta) end)
  end

  def update(presence, pid, topic, key, meta), do: Phoenix.Tracker.update(presence, pid, topic, key, meta)
  def untrack(presence, pid, topic, key), do: Phoenix.Tracker.untrack(presence, pid, topic, key)
  def list(presence, topic), do: Phoenix.Tracker.list(presence, topic)
  def diffs(presence, topic), do: Peer.Presence.notes(presence, topic)
  def permdown(presence), do: Phoenix.Tracker.graceful_permdown(presence)

  def kill(name), do: Process.exit(Process.whereis(name), :kill)

  def churn(presence, topic, n) do
    pids = for i <- 1..n, do: track(presence, topic, "k#{i}", %{n: i})
    for {pid, i} <- Enum.with_index(pids, 1), rem(i, 3) != 0, do: Process.exit(pid, :kill)
    :ok
  end

  defp lasting(f) do
    parent = self()

    {pid, ref} =
      spawn_monitor(fn ->
        f.()
        send(parent, {self(), :ready})
        keep()
      end)

    receive do
      {^pid, :ready} ->
        Process.demonitor(ref, [:flush])
        pid

      {:DOWN, ^ref, _, _, reason} ->
        exit(reason)
    end
  end

  defp keep do
    receive do
      {:next, to} ->
        receive do
          message when not (is_tuple(message) and elem(message, 0) == :next) -> send(to, {self(), message})
        end

        keep()
    end
  end
end
