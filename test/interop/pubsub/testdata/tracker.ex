# The smallest Phoenix.Tracker that says on the wire what that of phoenix_pubsub 2.2 does: heartbeats
# with deltas, answers to transfer_req with the last delta or with everything, graceful_permdown. It
# also takes over what others track, passes it on, as a replica does, and tells its module who joins
# and leaves. Written for these tests; no part of that library.
defmodule Phoenix.Tracker.State do
  defstruct replica: nil,
            context: %{},
            clouds: %{},
            values: nil,
            pids: nil,
            mode: :unset,
            delta: :unset,
            replicas: %{},
            range: {%{}, %{}}
end

defmodule Phoenix.Tracker do
  use Supervisor

  def start_link(module, arg, opts), do: Supervisor.start_link(__MODULE__, {module, arg, opts}, name: opts[:name])

  @impl true
  def init({module, arg, opts}) do
    size = opts[:pool_size] || 1
    :persistent_term.put({__MODULE__, opts[:name]}, size)

    Supervisor.init(
      for n <- 0..(size - 1) do
        spec = %{id: n, start: {__MODULE__.Shard, :start_link, [module, arg, :"#{opts[:name]}_shard#{n}", opts]}}
        Map.put(spec, :restart, :transient)
      end,
      strategy: :one_for_one
    )
  end

  def track(tracker, pid, topic, key, meta), do: GenServer.call(shard(tracker, topic), {:track, pid, topic, key, meta})
  def untrack(tracker, pid, topic, key), do: GenServer.call(shard(tracker, topic), {:untrack, pid, topic, key})
  def update(tracker, pid, topic, key, meta), do: GenServer.call(shard(tracker, topic), {:update, pid, topic, key, meta})
  def list(tracker, topic), do: GenServer.call(shard(tracker, topic), {:tracked, topic})

  def graceful_permdown(tracker) do
    for n <- 0..(size(tracker) - 1), do: GenServer.call(:"#{tracker}_shard#{n}", :graceful_permdown)
    Supervisor.stop(tracker)
  end

  defp shard(tracker, topic), do: :"#{tracker}_shard#{:erlang.phash2(topic, size(tracker))}"
  defp size(tracker), do: :persistent_term.get({__MODULE__, tracker})
end

defmodule Phoenix.Tracker.Shard do
  use GenServer
  alias Phoenix.{PubSub, Tracker.State}

  def start_link(module, arg, name, opts), do: GenServer.start_link(__MODULE__, {module, arg, name, opts}, name: name)

  # values: {topic, pid, key} => {meta, tag}; clouds: replica => MapSet of tags beyond the context
  @impl true
  def init({module, arg, name, opts}) do
    Process.flag(:trap_exit, true)
    {:ok, client} = module.init(arg)
    me = {node(), System.os_time(:microsecond)}
    topic = "phx_presence:#{name}"
    :ok = PubSub.subscribe(opts[:pubsub_server], topic)
    period = opts[:broadcast_period] || 1500
    silence = opts[:max_silent_periods] || 10
    Process.send_after(self(), :heartbeat, div(period, 8))

    {:ok,
     %{
       me: me, pubsub: opts[:pubsub_server], topic: topic, module: module, client: client, period: period,
       max_silence: silence, silence: silence, samples: 2, down_after: opts[:down_period] || 2 * period * silence,
       context: %{me => 0}, clouds: %{}, values: %{}, replicas: %{}, ahead: %{},
       changes: empty(me, 0), last: nil
     }}
  end

  @impl true
  def handle_call({:track, pid, topic, key, meta}, _, s) do
    Process.link(pid)
    ref = fresh()
    {:reply, {:ok, ref}, join(s, {topic, pid, key}, Map.put(meta, :phx_ref, ref))}
  end

  def handle_call({:update, pid, topic, key, meta}, _, s) do
    {old, _} = s.values[{topic, pid, key}]
    ref = fresh()
    meta = Map.merge(meta, %{phx_ref: ref, phx_ref_prev: old.phx_ref})
    {:reply, {:ok, ref}, s |> leave({topic, pid, key}) |> join({topic, pid, key}, meta)}
  end

  def handle_call({:untrack, pid, topic, key}, _, s), do: {:reply, :ok, leave(s, {topic, pid, key})}

  def handle_call({:tracked, topic}, _, s) do
    up = for {node, {vsn, _, :up}} <- s.replicas, into: MapSet.new([s.me]), do: {node, vsn}
    {:reply, for({{^topic, _, key}, {meta, {r, _}}} <- s.values, r in up, do: {key, meta}), s}
  end

  def handle_call(:graceful_permdown, _, s) do
    say(s, {:pub, :graceful_permdown, s.me})
    {:stop, :normal, :ok, s}
  end

  # as in the original: for tests of what is lost on the way
  def handle_call(:unsubscribe, _, s), do: {:reply, PubSub.unsubscribe(s.pubsub, s.topic), s}
  def handle_call(:resubscribe, _, s), do: {:reply, PubSub.subscribe(s.pubsub, s.topic), s}

  @impl true
  def handle_info(:heartbeat, s) do
    Process.send_after(self(), :heartbeat, s.period)
    {:noreply, s |> speak() |> ask() |> find_silent()}
  end

  def handle_info({:pub, :heartbeat, replica, delta, {_, clocks}}, s) do
    s = alive(s, replica)
    s = if delta == :empty, do: s, else: merge(s, delta, delta.values)
    {:noreply, put_in(s.ahead[replica], clocks)}
  end

  def handle_info({:pub, :transfer_req, ref, {node, _}, {_, clocks}}, s) do
    PubSub.direct_broadcast(node, s.pubsub, s.topic, {:pub, :transfer_ack, ref, s.me, answer(s, clocks)})
    {:noreply, s}
  end

  def handle_info({:pub, :transfer_ack, _, _, {state, values}}, s), do: {:noreply, merge(s, state, values)}
  def handle_info({:pub, :transfer_ack, _, _, delta}, s), do: {:noreply, merge(s, delta, delta.values)}

  def handle_info({:pub, :graceful_permdown, {node, vsn} = replica}, s) do
    case s.replicas do
      %{^node => {^vsn, _, _}} -> {:noreply, forget(s, replica)}
      _ -> {:noreply, s}
    end
  end

  def handle_info({:EXIT, pid, _}, s) do
    ids = for {{_, ^pid, _} = id, _} <- s.values, do: id
    {:noreply, Enum.reduce(ids, s, &leave(&2, &1))}
  end

  # what the module hears: who has joined and left, by topic

  defp report(s, joined, left) do
    diff =
      Enum.reduce(joined, %{}, fn {{topic, _, key}, {meta, _}}, diff ->
        Map.update(diff, topic, {[{key, meta}], []}, fn {joins, leaves} -> {[{key, meta} | joins], leaves} end)
      end)

    diff =
      Enum.reduce(left, diff, fn {{topic, _, key}, {meta, _}}, diff ->
        Map.update(diff, topic, {[], [{key, meta}]}, fn {joins, leaves} -> {joins, [{key, meta} | leaves]} end)
      end)

    if diff != %{}, do: {:ok, _} = s.module.handle_diff(diff, s.client)
  end

  defp of(s, replica), do: for({_, {_, {^replica, _}}} = v <- s.values, do: v)

  # own changes: each is a clock, in the delta of this period as well

  defp join(s, {topic, pid, key} = id, meta) do
    {s, tag} = count(s)
    left = Map.take(s.values, [id])
    s = put_in(s.values[id], {meta, tag})
    report(s, [{id, {meta, tag}}], left)
    put_in(s.changes.values[tag], {pid, topic, key, meta})
  end

  defp leave(s, id) do
    case Map.pop(s.values, id) do
      {nil, _} ->
        s

      {{_, tag} = value, values} ->
        report(s, [], [{id, value}])
        {s, _} = count(%{s | values: values})
        s = update_in(s.changes.values, &Map.delete(&1, tag))
        update_in(s.changes.clouds, &add(&1, tag))
    end
  end

  defp count(%{me: me} = s) do
    clock = s.context[me] + 1
    {from, _} = s.changes.range
    changes = %{s.changes | clouds: add(s.changes.clouds, {me, clock}), range: {from, %{me => clock}}}
    {%{s | context: Map.put(s.context, me, clock), changes: changes}, {me, clock}}
  end

  defp empty(me, clock), do: %State{replica: me, values: %{}, mode: :delta, range: {%{me => clock}, %{me => clock}}}
  defp add(clouds, {replica, _} = tag), do: Map.update(clouds, replica, MapSet.new([tag]), &MapSet.put(&1, tag))

  # what is said, and asked

  defp speak(%{me: me} = s) do
    cond do
      s.changes.clouds != %{} ->
        say(s, {:pub, :heartbeat, me, s.changes, {me, clocks(s)}})
        %{s | silence: 0, last: s.changes, changes: empty(me, s.context[me])}

      s.silence >= s.max_silence ->
        say(s, {:pub, :heartbeat, me, :empty, {me, clocks(s)}})
        %{s | silence: 0}

      true ->
        %{s | silence: s.silence + 1}
    end
  end

  defp say(s, message), do: PubSub.broadcast_from(s.pubsub, self(), s.topic, message)
  defp clocks(s), do: Map.drop(s.context, for({node, {vsn, _, :down}} <- s.replicas, do: {node, vsn}))

  defp ask(%{samples: 1} = s) do
    for {{node, _}, clocks} <- s.ahead, Enum.any?(clocks, fn {r, c} -> c > Map.get(s.context, r, 0) end) do
      PubSub.direct_broadcast(node, s.pubsub, s.topic, {:pub, :transfer_req, make_ref(), s.me, {s.me, clocks(s)}})
    end

    %{s | ahead: %{}, samples: 2}
  end

  defp ask(s), do: %{s | samples: s.samples - 1}

  # the last delta, if the other side lacks no more than that; else all of what it knows of
  defp answer(%{me: me, last: %State{range: {from, to}} = last}, %{} = clocks)
       when is_map_key(clocks, me) and :erlang.map_get(me, clocks) >= :erlang.map_get(me, from) and
              :erlang.map_get(me, clocks) < :erlang.map_get(me, to),
       do: last

  defp answer(s, clocks) do
    known = Map.keys(clocks)
    values = for {{topic, pid, key}, {meta, {r, _} = tag}} <- s.values, r in known, into: %{}, do: {tag, {pid, topic, key, meta}}
    replicas = for {node, {vsn, _, status}} <- s.replicas, into: %{s.me => :up}, do: {{node, vsn}, status}

    {%State{
       replica: s.me, context: Map.take(s.context, known), clouds: Map.take(s.clouds, known), mode: :normal, replicas: replicas
     }, values}
  end

  # what others say

  defp merge(s, remote, remote_values) do
    joined = for {{r, _} = tag, _} = v <- remote_values, is_map_key(s.context, r), not seen?(s, tag), do: v
    gone? = fn {_, tag} -> seen?(remote, tag) and not is_map_key(remote_values, tag) end
    {left, values} = Enum.split_with(s.values, fn {_, v} -> elem(elem(v, 1), 0) != s.me and gone?.(v) end)
    joined = for {tag, {pid, topic, key, meta}} <- joined, do: {{topic, pid, key}, {meta, tag}}
    report(s, joined, left)
    values = Map.merge(Map.new(values), Map.new(joined))
    clouds = Map.merge(s.clouds, Map.take(remote.clouds, Map.keys(s.context)), fn _, a, b -> MapSet.union(a, b) end)
    context = Map.merge(s.context, Map.take(remote.context, Map.keys(s.context)), fn _, a, b -> max(a, b) end)
    Enum.reduce(clouds, %{s | values: values, clouds: %{}, context: context}, &compact/2)
  end

  defp compact({replica, tags}, s) do
    {clock, rest} =
      tags |> Enum.map(&elem(&1, 1)) |> Enum.sort() |> Enum.reduce({s.context[replica], []}, fn
        c, {clock, rest} when c <= clock + 1 -> {max(c, clock), rest}
        c, {clock, rest} -> {clock, [{replica, c} | rest]}
      end)

    s = put_in(s.context[replica], clock)
    if rest == [], do: s, else: put_in(s.clouds[replica], MapSet.new(rest))
  end

  defp seen?(s, {replica, clock} = tag) do
    Map.get(s.context, replica, 0) >= clock or MapSet.member?(Map.get(s.clouds, replica, MapSet.new()), tag)
  end

  defp alive(s, {node, vsn} = replica) do
    s =
      case s.replicas do
        %{^node => {other, _, _}} when other != vsn -> forget(s, {node, other})
        _ -> s
      end

    if match?(%{^node => {_, _, :down}}, s.replicas), do: report(s, of(s, replica), [])
    s = %{s | context: Map.put_new(s.context, replica, 0)}
    put_in(s.replicas[node], {vsn, now(), :up})
  end

  defp find_silent(s) do
    silent = fn
      {node, {vsn, at, :up}} = up ->
        if now() - at > s.down_after do
          report(s, [], of(s, {node, vsn}))
          {node, {vsn, at, :down}}
        else
          up
        end

      other ->
        other
    end

    %{s | replicas: Map.new(s.replicas, silent)}
  end

  defp forget(s, {node, _} = replica) do
    if match?(%{^node => {_, _, :up}}, s.replicas), do: report(s, [], of(s, replica))
    values = Map.reject(s.values, fn {_, {_, {r, _}}} -> r == replica end)
    s = %{s | values: values, context: Map.delete(s.context, replica), clouds: Map.delete(s.clouds, replica)}
    %{s | replicas: Map.delete(s.replicas, node)}
  end

  defp now, do: System.monotonic_time(:millisecond)
  defp fresh, do: Base.url_encode64(:crypto.strong_rand_bytes(12))
end
