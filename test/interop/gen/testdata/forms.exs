# The modules that are written for all forms of a Go struct, and a client.
for f <- System.argv(), do: Code.compile_file(f)

%{name: "J", end: nil} = person = Shop.Person.from({:user, "J", :undefined})
{:user, "J", nil} = Shop.Person.to(person)
[timeout: 5, verbose: true] = Shop.Options.to(Shop.Options.from(verbose: true, timeout: 5))
%{"name" => "x"} = Shop.Doc.to(Shop.Doc.from(%{"name" => "x"}))

all = struct!(Shop.Everything, colour: :red, pair: {1, 2}, outcome: {:ok, ""}, pid: self(), made: nil)
sent = all |> Shop.Everything.to() |> Map.drop([:note]) |> Map.merge(%{made: :undefined, maybe?: :undefined})
^all = Shop.Everything.from(sent)
{:ok, _} = {:ok, Shop.Client.__info__(:functions) |> Keyword.fetch!(:other_shop_upper)}
IO.puts("all of it")
