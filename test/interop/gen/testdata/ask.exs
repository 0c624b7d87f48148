# Exchanges orders with the Go program, as the structs are that its types were written from.
[name | files] = System.argv()
for f <- files, do: Code.compile_file(f)
node = String.to_atom(name)

full = %{
  struct!(Shop.Order)
  | id: 7,
    status: :new,
    was: [:paid, :new],
    lines: [%{struct!(Shop.Line) | sku: "A1", count: 3, price: 1.5}, %{struct!(Shop.Line) | note: "x"}],
    first: struct!(Shop.Line),
    currency: :usd,
    address: %{street: "Ünter", town: "B"},
    at: {1.0, -2.5},
    size: {3, :large},
    paid?: true,
    on: ~D[2026-01-01],
    total: 2.5,
    tags: MapSet.new(["a", "b"]),
    counts: %{"x" => 1, "y" => -2},
    by_status: %{sent: "gone", new: ""},
    blob: <<0, 255>>,
    owner: self(),
    options: [a: 1, a: 2],
    name: ~c"Jo",
    event: {:moved, "home"},
    other: {:b, 1.0},
    handler: Enum,
    parent: struct!(Shop.Order)
}

for order <- [full, struct!(Shop.Order), %{full | total: 5, other: {:a, 1}, address: %{street: "", town: "", zip: "1"}}] do
  ^order = GenServer.call({:orders, node}, {:echo, order})
end

paid = %{full | status: :paid, was: [:paid, :new, :new]}
^paid = GenServer.call({:orders, node}, {:pay, full})
{:error, "it is paid"} = GenServer.call({:orders, node}, {:pay, paid})
{:error, {:badarg, "argument 1: ei: order.id: " <> _}} = GenServer.call({:orders, node}, {:pay, %{full | id: -1}})
4.5 = :erpc.call(node, :till, :total, full.lines |> Enum.take(1))

# the defaults are Go's, too
new = struct!(Shop.Order)
^new = :erpc.call(node, :till, :new, [])
IO.puts("all of it")
