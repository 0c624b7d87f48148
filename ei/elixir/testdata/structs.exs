# Writes a line for each of many structs: what it is, the struct as external term, its text. Each
# comes back on a line of its own, and must be the same struct then.

# Elixir has no Decimal of its own: this is how the library's begins, and ends.
defmodule Decimal do
  defstruct sign: 1, coef: 0, exp: 0
end

defmodule Shop.Order do
  defstruct sku: nil, price: nil, when: nil, tags: nil, at: nil, until: nil, days: nil, opts: []
end

defmodule Shop.Error do
  defexception [:message, code: 0]
end

dt = fn {y, mo, d}, {h, mi, s, us}, {utc, std}, zone, abbr ->
  %DateTime{year: y, month: mo, day: d, hour: h, minute: mi, second: s, microsecond: us,
    utc_offset: utc, std_offset: std, time_zone: zone, zone_abbr: abbr}
end

rescued = fn f ->
  try do
    f.()
  rescue
    e -> e
  end
end

dec = &struct!(Decimal, &1)
big = 123_456_789_012_345_678_901_234_567_890

structs = [
  date: ~D[2024-02-29],
  date: ~D[1999-12-31],
  date: Date.new!(0, 1, 1),
  date: ~D[-0044-03-15],
  date: ~D[9999-12-31],
  time: ~T[00:00:00],
  time: ~T[12:34:56],
  time: ~T[12:34:56.120],
  time: ~T[12:34:56.000000],
  time: ~T[23:59:59.999999],
  time: Time.new!(1, 2, 3, {123_456, 2}),
  naive: ~N[2024-02-29 12:34:56],
  naive: ~N[2024-02-29 12:34:56.000001],
  naive: ~N[-0001-01-01 00:00:00.5],
  datetime: ~U[2024-02-29 12:34:56Z],
  datetime: ~U[2024-02-29 12:34:56.1Z],
  datetime: ~U[1969-12-31 23:59:59.999999Z],
  datetime: dt.({2024, 7, 1}, {1, 2, 3, {0, 0}}, {3600, 3600}, "Europe/Berlin", "CEST"),
  datetime: dt.({2024, 1, 1}, {1, 2, 3, {500_000, 3}}, {3600, 0}, "Europe/Berlin", "CET"),
  datetime: dt.({2024, 1, 1}, {1, 2, 3, {0, 0}}, {0, 0}, "Europe/London", "GMT"),
  datetime: dt.({2024, 7, 1}, {23, 30, 0, {0, 0}}, {-12600, 3600}, "America/St_Johns", "NDT"),
  datetime: dt.({2024, 7, 1}, {1, 2, 3, {0, 6}}, {-16200, 0}, "Mars/Olympus", "MTC"),
  datetime: dt.({1880, 7, 1}, {1, 2, 3, {0, 0}}, {-15, 0}, "Somewhere", "LMT"),
  decimal: dec.([]),
  decimal: dec.([sign: -1]),
  decimal: dec.([coef: 1234, exp: -2]),
  decimal: dec.([sign: -1, coef: 15, exp: 20]),
  decimal: dec.([coef: big, exp: -1]),
  decimal: dec.([coef: 1, exp: -7]),
  decimal: dec.([coef: :NaN]),
  decimal: dec.([sign: -1, coef: :inf]),
  mapset: MapSet.new([1, 2, 3]),
  mapset: MapSet.new(),
  mapset: MapSet.new(1..100),
  mapset_old: %{__struct__: MapSet, map: %{1 => [], 2 => []}, version: 2},
  mapset_new: %{__struct__: MapSet, map: %{1 => [], 2 => []}},
  mapset_text: MapSet.new(["a", "ü"]),
  mapset_mixed: MapSet.new([:a, "a", "ü", <<0, 255>>, "", 1, 2.5, nil, true, ~c"a"]),
  mapset_mixed: MapSet.new(1..40, fn i -> Integer.to_string(i) end),
  mapset_terms: MapSet.new([:a, "a", "ü", <<0, 255>>, "", 1, 2.5, nil, true]),
  mapset_any: MapSet.new([:a, "a", ~c"a", {1, 2.0}, ~D[2024-01-01], MapSet.new([1]), nil]),
  mapset_date: MapSet.new([~D[2024-01-01], ~D[2024-01-02]]),
  range: 1..3,
  range: 10..1//-3,
  range: 1..0//1,
  range: -9_223_372_036_854_775_808..9_223_372_036_854_775_807//2,
  keyword: [timeout: 5000, retry: 3, timeout: 1],
  keyword: [],
  keyword: ["odd key": 1],
  exception: %RuntimeError{message: "no such file"},
  exception: rescued.(fn -> raise "oops" end),
  exception: rescued.(fn -> String.to_integer("x") end),
  exception: rescued.(fn -> Map.fetch!(%{b: 1}, :a) end),
  exception: rescued.(fn -> raise Shop.Error, message: "sold out", code: 3 end),
  exception: %ErlangError{original: {:badarg, [1]}},
  order: struct!(Shop.Order, [
    sku: "A1", price: dec.([coef: 1999, exp: -2]), when: ~D[2026-01-01], tags: MapSet.new(["x"]),
    at: ~U[2026-01-01 08:00:00.000Z], until: nil, days: [~D[2026-01-01], ~D[2026-01-02]], opts: [gift: true]
  ]),
  order: struct!(Shop.Order, [
    sku: "B2", price: dec.([sign: -1, coef: 5]), when: ~D[2026-01-01], tags: MapSet.new(),
    at: dt.({2024, 7, 1}, {1, 2, 3, {0, 0}}, {3600, 3600}, "Europe/Berlin", "CEST"), until: ~T[20:00:00], days: []
  ])
]

text = fn
  %{__exception__: true, message: m} = e when is_binary(m) -> "(#{inspect(e.__struct__)}) #{m}"
  %Range{} = r -> inspect(r)
  %m{} = s when m in [Date, Time, NaiveDateTime, DateTime] -> to_string(s)
  _ -> ""
end

for {kind, struct} <- structs do
  data = :erlang.term_to_binary(struct, minor_version: 2)
  IO.puts("#{kind} #{Base.encode64(data)} #{Base.encode64(text.(struct))}")
end

IO.puts("end")

for {kind, struct} <- structs do
  back = IO.read(:stdio, :line) |> String.trim() |> Base.decode64!() |> :erlang.binary_to_term()

  unless back === struct and inspect(back) == inspect(struct) and
           inspect(back, structs: false) == inspect(struct, structs: false) do
    IO.puts("#{kind}: #{inspect(struct, structs: false)} came back as #{inspect(back, structs: false)}")
  end
end

# What the Elixir at hand does with sets of an older and of a newer one.
for version <- [[], [version: 2]] do
  set = Map.merge(%{__struct__: MapSet, map: %{1 => []}}, Map.new(version))
  true = MapSet.member?(set, 1) and MapSet.to_list(MapSet.put(set, 2)) == [1, 2]
end

IO.puts("done")
