# Calls examples/first-node. Each line that does not match raises, and ends Elixir with an error.
defmodule Shop.Order do
  defstruct [:sku, :qty, :tags, :price, :when]
end

defmodule Shop.Quote do
  defstruct [:sku, :total, :when]
end

defmodule Shop do
  def run do
    %Shop.Quote{sku: "A1", total: 4.5, when: ~D[2026-01-01]} =
      GenServer.call({:pricing, :"go@127.0.0.1"}, {:quote, %Shop.Order{sku: "A1", qty: 3, tags: ["x"], price: 1.5, when: ~D[2026-01-01]}})

    # any map with these keys, here with an integer for a price and text as I/O data
    %Shop.Quote{sku: "A1", total: 6.0} =
      GenServer.call({:pricing, :"go@127.0.0.1"}, {:quote, %{sku: ["A", ?1], qty: 3, price: 2, when: ~D[2026-01-01], colour: :red}})

    # nil is no date
    %Shop.Quote{sku: "A1", total: 3.5, when: nil} =
      GenServer.call({:pricing, :"go@127.0.0.1"}, {:quote, %Shop.Order{sku: "A1", qty: 1, tags: [], price: 3.5}})

    # what does not fit is said, to whom it concerns
    {:error, {:badarg, "argument 1: ei: order.qty: float 1.5 where " <> _}} =
      GenServer.call({:pricing, :"go@127.0.0.1"}, {:quote, %{sku: "A1", qty: 1.5}})

    {:error, {:badarg, "argument 1: ei: order.when" <> _}} =
      GenServer.call({:pricing, :"go@127.0.0.1"}, {:quote, %{when: ~T[12:00:00]}})

    {:error, {:unknown_request, {:quote, 1, 2}}} = GenServer.call({:pricing, :"go@127.0.0.1"}, {:quote, 1, 2})
    {:error, {:unknown_request, :stop}} = GenServer.call({:pricing, :"go@127.0.0.1"}, :stop)

    "ABC" = :rpc.call(:"go@127.0.0.1", :go, :upper, ["abc"])
    {:badrpc, {:EXIT, {:badarg, [{:go, :upper, [1], []} | _]}}} = :rpc.call(:"go@127.0.0.1", :go, :upper, [1])
    # erpc makes Elixir's own exceptions of them
    "ABC" = :erpc.call(:"go@127.0.0.1", :go, :upper, ["abc"])
    %ErlangError{original: {:exception, :badarg, [{:go, :upper, [1], []} | _]}} = rescued(fn -> :erpc.call(:"go@127.0.0.1", :go, :upper, [1]) end)
    %ErlangError{original: {:exception, :undef, [{:go, :upper, [], []} | _]}} = rescued(fn -> :erpc.call(:"go@127.0.0.1", :go, :upper, []) end)
  end

  defp rescued(f) do
    f.()
  rescue
    e -> e
  end
end

Shop.run()
IO.puts("all of it")
