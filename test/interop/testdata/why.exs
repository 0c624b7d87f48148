# Calls functions of Go that are called wrongly, or find nothing. Each line that does not match
# raises, and ends Elixir with an error.
defmodule Why do
  def run(go) do
    for {args, why} <- [
          {[:quote, [%{qty: 1.5}]], "argument 1: ei: line.qty: float 1.5 where an integer is due"},
          {[:quot, [1]], "did you mean shop:quote/1?"},
          {[:quote, [1, 2]], "did you mean shop:quote/1?"},
          {[:set, [[timout: 1]]], "argument 1: ei: settings: atom timout: unknown key"},
          {[:channel, []], "ei: chan int: a Go value of this type is no term"},
          {[:channel, []], ":shop.channel/0"}
        ] do
      {:exception, reason, stack} =
        try do
          apply(:erpc, :call, [go, :shop | args])
        rescue
          e in ErlangError -> e.original
        end

      {blamed, stack} = Exception.blame(:error, reason, stack)
      true = Exception.format(:error, blamed, stack) =~ why

      {:badrpc, {:EXIT, exit}} = apply(:rpc, :call, [go, :shop | args])
      true = Exception.format_exit(exit) =~ why
    end

    {:ok, 1} = :erpc.call(go, :shop, :find, ["a"])
    :error = :erpc.call(go, :shop, :find, ["b"])
    nil = :erpc.call(go, Shop, :note, [1])
    nil = :erpc.call(go, :shop, :note, [~D[2026-01-01]])
    :undefined = :erpc.call(go, :shop, :note, [1])
    nil = GenServer.call({:shop, go}, {:note, 1..2})
  end
end

Why.run(String.to_atom(System.fetch_env!("GO_NODE")))
IO.puts("all of it")
