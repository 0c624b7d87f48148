# Each line that does not match raises, and ends Elixir with an error.
go = String.to_atom(System.get_env("GO_NODE"))
:pong = Node.ping(go)
[^go] = Node.list(:hidden)

value = %{list: [1, 2.5, nil, true, self()], text: "héé", date: ~D[2026-11-20], range: 1..10//2, set: MapSet.new([1, 2])}
{1, ^value} = GenServer.call({:counter, go}, value)
{2, :again} = GenServer.call({:counter, go}, :again)

send({:counter, go}, {self(), value})
receive do ^value -> :ok after 10_000 -> raise "no message" end

^value = :rpc.call(go, :go, :echo, [value])
"ABC" = :erpc.call(go, :go, :upper, ["abc"])
{:badrpc, {:EXIT, {:undef, [{:go, :nothing, [], _} | _]}}} = :rpc.call(go, :go, :nothing, [])
["A", "B", "C"] = Task.async_stream(~w(a b c), &:erpc.call(go, :go, :upper, [&1])) |> Enum.map(fn {:ok, x} -> x end)

{:noproc, _} = try do GenServer.call({:nobody, go}, 1) catch :exit, reason -> reason end
ref = Process.monitor({:nobody, go})
receive do {:DOWN, ^ref, :process, {:nobody, ^go}, :noproc} -> :ok after 10_000 -> raise "no DOWN" end

true = Node.monitor(go, true)
true = Node.disconnect(go)
receive do {:nodedown, ^go} -> :ok after 10_000 -> raise "no nodedown" end
:pong = Node.ping(go)
IO.puts("all of it")
