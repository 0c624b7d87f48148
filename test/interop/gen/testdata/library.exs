# Exchanges the structs of a library with the Go program: each with its defaults and with values,
# and compares them with what the constructors of Go make.
[name | files] = System.argv()
for f <- files, do: Code.compile_file(f)
node = String.to_atom(name)
same = fn name, value ->
  got = :erpc.call(node, :library, name, [value])
  got == value || raise "#{name}: #{inspect(value, limit: :infinity)} has become #{inspect(got, limit: :infinity)}"
end

for {name, module} <- [
      author: Library.Author,
      book: Library.Book,
      page: Library.Page,
      desk: Library.Desk,
      lost: Library.Lost,
      bare: Library.Bare
    ] do
  default = module.__struct__()
  same.(name, default)
  made = :erpc.call(node, :library, :"new_#{name}", [])
  # Go cannot say &String.upcase/1 == &String.upcase/1 of Elixir before it has read it, and does
  made == default || name == :author || raise "new_#{name}: #{inspect(made)} is not #{inspect(default)}"
end

author = struct!(Library.Author, id: 1, name: "Ann", born: ~D[1970-01-01], works: ["a"], homes: %{sea: "x"})
same.(:author, author)
book = struct!(Library.Book, author: author, state: :"being bound", price: {:per_day, 1, 2}, cover: <<0, 255>>, editions: [])
book = %{book | history: [{~U[2026-01-02 03:04:05Z], :lent}], shelf: %{room: "r", row: nil}, cost: struct!(Decimal, coef: 3)}
same.(:book, book)
same.(:book, %{book | shelf: %{room: "r", row: 7}, cover: nil, editions: nil})
same.(:page, struct!(Library.Page, items: [book], total: 1))
desk = struct!(Library.Desk, opts: [timeout: :infinity, retries: 0, name: :x], more_options: [loud: false, wait: 3])
same.(:desk, %{desk | found: {:ok, ""}, done: {:error, {:a, 1}}, last: nil, limits: %{cpu: 2.5, mem: 7}, extra: [b: 1, b: 2]})
same.(:desk, %{desk | last: {:error, "x"}, tree: desk, trees: [desk], authors: struct!(Library.Page, items: [author])})
same.(:lost, struct!(Library.Lost, message: "gone"))
%{n: 5, URL: "c", url: "d"} = :erpc.call(node, :library, :odd, [struct!(Library.Odd, n: 5, URL: "c", url: "d")])
%{n: 3, URL: "a", url: "b"} = :erpc.call(node, :library, :new_odd, [])
IO.puts("all of it")
