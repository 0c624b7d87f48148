# elixir --name app@127.0.0.1 --cookie secret demo.exs PATH    runs the Go program at PATH
# elixir --name app@127.0.0.1 --cookie secret demo.exs NODE    watches a Go node that others run
for file <- ["go_node.ex", "go_watch.ex"], do: Code.require_file(file, __DIR__)

defmodule Demo do
  # A child that comes after GoNode, and is started again with it: rest_for_one.
  use Task, restart: :transient
  def start_link(_), do: Task.start_link(__MODULE__, :run, [])

  def run do
    done = :erpc.call(:"service@127.0.0.1", :service, :work, [5])
    IO.puts("the Go program is process #{GoNode.os_pid()}, and its work is #{inspect(done)}")
    IO.puts("kill it, and see it come back; end this VM, and see it end")
  end
end

children =
  case System.argv() do
    [path, _ | _] = args -> raise "too many arguments after #{path}: #{inspect(args)}"
    [node_or_path] ->
      if node_or_path =~ "@",
        do: [{GoWatch, node: String.to_atom(node_or_path)}],
        else: [{GoNode, node: :"service@127.0.0.1", path: Path.expand(node_or_path)}, Demo]
    [] -> raise "which program, or which node?"
  end

{:ok, _} = Supervisor.start_link(children, strategy: :rest_for_one, name: Demo.Supervisor)
Process.sleep(:infinity)
