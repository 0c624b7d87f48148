# What Elixir's programs do with processes, done with those of a Go node. GoChild is docs/how-to/supervise-from-elixir.md's.
go = :"NODE"
pricing = {:pricing, go}

defmodule Check do
  def eventually(what, fun, tries \\ 600) do
    case fun.() do
      value when value not in [nil, false] -> value
      _ when tries > 0 -> Process.sleep(50); eventually(what, fun, tries - 1)
      _ -> raise "never: #{what}"
    end
  end
end

# a supervisor here over a process there
{:ok, sup} = Supervisor.start_link([{GoChild, {go, :pricing}}], strategy: :one_for_one, max_restarts: 10)
go_process = fn ->
  [{:pricing, child, :worker, [GoChild]}] = Supervisor.which_children(sup)
  try do
    GoChild.pid(child)
  catch
    :exit, _ -> nil
  end
end
pid = Check.eventually("the process", go_process)
^go = node(pid)
%{active: 1, specs: 1, supervisors: 0, workers: 1} = Supervisor.count_children(sup)

# GenServer
5 = GenServer.call(pricing, {:add, 5})
:ok = GenServer.cast(pricing, {:add, 2})
7 = GenServer.call(pid, {:add, 0}, 5000)
{:timeout, {GenServer, :call, [^pricing, :slow, 50]}} = try do
  GenServer.call(pricing, :slow, 50)
catch
  :exit, reason -> reason
end
{[{^go, 7}], []} = GenServer.multi_call([go], :pricing, {:add, 0}, 5000)

# :sys
7 = case :sys.get_state(pid) do {:ok, state} -> state; state -> state end
8 = case :sys.replace_state(pid, fn n -> n + 1 end) do {:ok, state} -> state; state -> state end
:ok = :sys.suspend(pid)
task = Task.async(fn -> GenServer.call(pricing, {:add, 0}) end)
nil = Task.yield(task, 50)
:ok = :sys.resume(pid)
8 = Task.await(task)

# Task over calls
[9, 10, 11] = 1..3 |> Enum.map(fn _ -> Task.async(fn -> GenServer.call(pricing, {:add, 1}) end) end) |> Task.await_many() |> Enum.sort()
[ok: 11, ok: 11] = Task.async_stream(1..2, fn _ -> GenServer.call(pricing, {:add, 0}) end) |> Enum.to_list()

# Process.monitor, and the supervisor
ref = Process.monitor(pid)
{{:go_panic, "a bug"}, _} = try do
  GenServer.call(pid, :bug)
catch
  :exit, reason -> reason
end
{:go_panic, "a bug"} = receive do {:DOWN, ^ref, :process, ^pid, reason} -> reason end
next = Check.eventually("a new process", fn ->
  new = go_process.()
  if is_pid(new) and new != pid, do: new
end)
ref = Process.monitor(next)
:ok = GenServer.stop(next, {:shutdown, :enough})
{:shutdown, :enough} = receive do {:DOWN, ^ref, _, _, reason} -> reason end
last = Check.eventually("a new process", fn ->
  new = go_process.()
  if is_pid(new) and new != next, do: new
end)

# Registry takes processes of its own node only; :global takes ours
{:ok, _} = Registry.start_link(keys: :unique, name: Names)
{:ok, _} = Registry.register(Names, :pricing, last)
[{me, ^last}] = Registry.lookup(Names, :pricing)
true = me == self()
:yes = :global.register_name(:pricing, last)
^last = GenServer.whereis({:global, :pricing})
0 = GenServer.call({:via, :global, :pricing}, {:add, 0})

# Process.link, with a Go supervisor
shop = {:shop, go}
[{:stock, stock, :worker, []}] = Supervisor.which_children(shop)
%{active: 1} = Supervisor.count_children(shop)
:ok = Supervisor.terminate_child(shop, :stock)
{:ok, stock2} = Supervisor.restart_child(shop, :stock)
true = stock != stock2
{:error, {:not_supported, _}} = Supervisor.start_child(shop, {Agent, fn -> 1 end})
Process.flag(:trap_exit, true)
{:status, shop_pid, _, _} = :sys.get_status(shop)
true = Process.link(shop_pid)
:ok = Supervisor.stop(shop, :shutdown)
:shutdown = receive do {:EXIT, ^shop_pid, reason} -> reason end

# a connection that breaks is no restart, for more children than Elixir's default intensity
specs = for name <- [:p1, :p2, :p3, :p4], do: {GoChild, {go, name}}
{:ok, several} = Supervisor.start_link(specs, strategy: :one_for_one)
stand_ins = fn -> Enum.sort(for {_, child, _, _} <- Supervisor.which_children(several), do: child) end
mine = stand_ins.()
running = fn ->
  pids = Enum.map(mine, &GoChild.pid/1)
  if Enum.all?(pids, &is_pid/1), do: pids
end
before = Check.eventually("all processes", running)
true = Node.disconnect(go)
Check.eventually("other processes", fn ->
  pids = running.()
  pids && Enum.all?(pids, & &1 not in before)
end)
^mine = stand_ins.()
:ok = Supervisor.stop(several)

# the end of the supervisor here ends the process there
ref = Process.monitor(Check.eventually("the process", go_process))
:ok = Supervisor.stop(sup)
:shutdown = receive do {:DOWN, ^ref, _, _, reason} -> reason end
IO.puts("all of it")
