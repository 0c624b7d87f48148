# Calls the Go program by the client and the struct that were written from its source.
[name | files] = System.argv()
{:ok, _, _} = Kernel.ParallelCompiler.compile(files, return_diagnostics: true) # they refer to each other
node = String.to_atom(name)

order = struct!(Shop.Order, at: {1.0, 2.0}, size: {1, :a}, status: :new, handler: Enum, total: 1, on: ~D[2026-01-01])
line = struct!(Shop.Line, sku: "A1", count: 2, price: 1.5)
order = %{order | lines: [line], first: line}
^order = Till.echo(node, order)
^order = Shop.Order.from(Till.echo(node, Shop.Order.to(order)))
%{status: :paid, was: [:new]} = paid = apply(Till, :pay, [node, order])
{:error, "it is paid"} = Till.pay(node, paid, 1_000)
6.0 = Till.total(node, [line, line])
%{__struct__: Shop.Order, status: :new} = Till.new(node)

%{"a" => %{note: nil, inner: inner, each: [nil, "x"]}} = Till.places(node, "x")
%{note: "x", inner: nil, each: []} = inner
IO.puts("all of it")
