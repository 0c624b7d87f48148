# What the tests ask of an Elixir node, by rpc:call.
defmodule Peer.Counter do
  # gives the integers from 0 on, as they are demanded: up to a limit, and then it stops, or only waits
  use GenStage

  def init({limit, make, at_end, opts}), do: {:producer, %{next: 0, limit: limit, make: make, at_end: at_end}, opts}

  def handle_demand(demand, %{next: n, limit: limit} = s) do
    till = min(n + demand, limit)
    events = for i <- n..(till - 1)//1, do: made(s.make, i)
    if till == limit and s.at_end == :stop, do: GenStage.async_info(self(), :stop)
    {:noreply, events, %{s | next: till}}
  end

  def handle_info(:stop, s), do: {:stop, :normal, s}
  def handle_cast({:stop, reason}, s), do: {:stop, reason, s}
  def handle_call(:next, _from, s), do: {:reply, s.next, [], s}

  def made(:int, i), do: i
  def made(:map, i), do: %{item: "clock", price: i}
end

defmodule Peer.Collector do
  # counts the integers, tells who waits for so many, and notes cancellations
  use GenStage

  def init(pause), do: {:consumer, %{count: 0, sum: 0, last: -1, ordered: true, pause: pause, waiting: [], notes: []}}

  def handle_events(events, _from, s) do
    if s.pause > 0, do: Process.sleep(s.pause)
    s = Enum.reduce(events, s, &take/2)
    {due, waiting} = Enum.split_with(s.waiting, fn {n, _} -> s.count >= n end)
    for {_, from} <- due, do: GenStage.reply(from, s.count)
    {:noreply, [], %{s | waiting: waiting}}
  end

  defp take(%{price: i}, s), do: take(i, s)
  defp take(i, s), do: %{s | count: s.count + 1, sum: s.sum + i, ordered: s.ordered and i > s.last, last: i}

  def handle_cancel({kind, reason}, _from, s), do: {:noreply, [], %{s | notes: s.notes ++ [{kind, reason}]}}

  def handle_call({:await, n}, _from, %{count: count} = s) when count >= n, do: {:reply, count, [], s}
  def handle_call({:await, n}, from, s), do: {:noreply, [], %{s | waiting: [{n, from} | s.waiting]}}
  def handle_call(:result, _from, s), do: {:reply, {s.count, s.sum, s.ordered}, [], s}
  def handle_call(:notes, _from, s), do: {:reply, s.notes, [], s}
end

defmodule Peer do
  def produce(name, limit, make, at_end, opts \\ []) do
    {:ok, pid} = GenStage.start(Peer.Counter, {limit, make, at_end, opts}, name: name)
    pid
  end

  def partitioned(name, limit, n) do
    produce(name, limit, :int, :wait, dispatcher: {GenStage.PartitionDispatcher, partitions: n, hash: fn i -> {i, rem(i, n)} end})
  end

  def broadcasting(name, limit), do: produce(name, limit, :int, :wait, dispatcher: GenStage.BroadcastDispatcher)

  def collect(to, opts, pause \\ 0) do
    {:ok, pid} = GenStage.start(Peer.Collector, pause)
    {:ok, tag} = subscribe(pid, to, opts)
    {pid, tag}
  end

  def subscribe(pid, to, opts), do: GenStage.sync_subscribe(pid, [to: to] ++ opts)
  def resubscribe(pid, tag, reason, to, opts), do: GenStage.sync_resubscribe(pid, tag, reason, [to: to] ++ opts)
  # in the name of the consumer, as it does it itself
  def cancel(producer, pid, tag, reason), do: send(producer, {:"$gen_producer", {pid, tag}, {:cancel, reason}})
  def await(pid, n), do: GenStage.call(pid, {:await, n}, :infinity)
  def call(pid, what), do: GenStage.call(pid, what)
  def cast(pid, what), do: GenStage.cast(pid, what)
  def demand(stage, mode), do: GenStage.demand(stage, mode)
  def mode(stage), do: GenStage.demand(stage)
  def buffered(stage), do: GenStage.estimate_buffered_count(stage)
  def sync_info(stage), do: GenStage.sync_info(stage, :hello)
  def sync_subscribe(stage, to), do: GenStage.sync_subscribe(stage, to: to)
  def take(stage, opts, n), do: [{stage, opts}] |> GenStage.stream() |> Enum.take(n) |> Enum.sum()

  # how the process has ended, or alive
  def reason(pid) do
    ref = Process.monitor(pid)

    receive do
      {:DOWN, ^ref, _, _, reason} -> reason
    after
      0 -> :alive
    end
  end

  # the reason with which it will end
  def ends(pid) do
    ref = Process.monitor(pid)

    receive do
      {:DOWN, ^ref, _, _, reason} -> reason
    end
  end
end
