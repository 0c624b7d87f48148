# The modules that are written for all forms of a Go struct, and a client.
{:ok, _, _} = Kernel.ParallelCompiler.compile(System.argv(), return_diagnostics: true) # they refer to each other

for f <- System.argv() do
  text = File.read!(f)
  formatted = IO.iodata_to_binary([Code.format_string!(text), "\n"])
  formatted == text || raise "#{f} is not formatted, but would be:\n#{formatted}"
end

%{name: "J", end: nil} = person = Shop.Person.from({:user, "J", :undefined})
{:user, "J", nil} = Shop.Person.to(person)
[timeout: 5, verbose: true] = Shop.Options.to(Shop.Options.from(verbose: true, timeout: 5))
%{"name" => "x"} = Shop.Doc.to(Shop.Doc.from(%{"name" => "x"}))

all = struct!(Shop.Everything, colour: :red, pair: {1, 2}, outcome: {:ok, ""}, pid: self(), made: nil)
sent = all |> Shop.Everything.to() |> Map.drop([:note]) |> Map.merge(%{made: :undefined, maybe?: :undefined})
^all = Shop.Everything.from(sent)
{:ok, _} = {:ok, Shop.Client.__info__(:functions) |> Keyword.fetch!(:other_shop_upper)}

# nothing is nil at every depth
:undefined = u = :undefined
row = {:row, "k", u}
base = %{id: 1, name: "n", note: u}
same = %{__struct__: Forms.Same, id: 1, note: nil, base: base, rest: [row, u], next: nil}
all = struct!(Forms.All, Map.from_keys([:ints, :texts, :var, :list, :keyword, :anonymous, :level, :ready?, :BIG], nil))
sent =
  all
  |> Forms.All.to()
  |> Map.merge(%{
    note: u,
    ints: %{items: [], next: u},
    texts: %{items: [], next: "x"},
    bool: %{b: u},
    anonymous: %{a: 1, b: 2, c: %{d: u}},
    got: {:ok, u},
    rows: [row],
    by_name: %{"a" => u, "b" => row},
    deep: [[%{"c" => u}]],
    options: [a: u, a: 1],
    maybe: u,
    ready?: %{a: u},
    BIG: %{b: u},
    level2: u,
    same: same,
    field_of_a_long_name: %{"a" => %{"b" => %{"c" => {:ok, u}}}}
  })

false = Map.has_key?(sent, :weight) or Map.has_key?(sent, :left)
got = Forms.All.from(Map.delete(sent, :count))
false = got |> inspect(limit: :infinity) |> String.contains?("undefined")
%{note: nil, weight: nil, left: nil, count: 0, bool: %{b: nil}, rows: [{:row, "k", nil}], by_name: %{"a" => nil}} = got
%{options: [a: nil, a: 1], anonymous: %{c: %{d: nil}}, same: %{__struct__: Forms.Same, rest: [{:row, "k", nil}, nil], base: %{note: nil}}} = got
%{__struct__: Forms.Same, rest: []} = same |> Map.delete(:rest) |> Forms.Same.from()
%{__struct__: Forms.Nils, note: nil, each: [nil]} = Forms.Nils.from(%{note: nil, each: [nil], bool: nil})
%{__struct__: Forms.Empty} = Forms.Empty.from(Forms.Empty.to(struct!(Forms.Empty)))
%{__struct__: Forms.Nothing} = Forms.Nothing.from(struct!(Forms.Nothing))
[0, 0] = all.pair
16 = byte_size(all.hash)
IO.puts("all of it")
