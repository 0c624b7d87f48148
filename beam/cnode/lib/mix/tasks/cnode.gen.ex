defmodule Mix.Tasks.Cnode.Gen do
  @shortdoc "Writes Go types of Elixir structs, and Elixir modules of Go types"

  @moduledoc """
  Writes Go types of Elixir structs, and Elixir modules of Go types.

      mix cnode.gen --struct Shop.Order --package main -o go/pricing/order.go
      mix cnode.gen --from shop@127.0.0.1 --cookie secret --struct Shop.Order --package shop -o go/shop/
      mix cnode.gen --go ./go/shop.Options -o lib/shop/options.ex
      mix cnode.gen --go ./go/cmd/pricing --client Shop.Pricing -o lib/shop/pricing.ex

  The task runs `cnode-gen` in the current folder, with the arguments that it is given:
  `mix cnode.gen --help` lists them. A file of Elixir that it has written is formatted as the
  project's `.formatter.exs` says. If the program fails, the task ends with its exit status.

  The program is the first of these:

    * the one that the option `--program PATH` names
    * the one that the configuration names: `config :cnode, gen_program: "/opt/bin/cnode-gen"`
    * `cnode-gen` in the `PATH`

  With `--go` the program needs the `go` command, and the source of the Go package.

  With `--struct` or `--record`, and without `--from`, the task compiles the project's Elixir and
  Erlang and asks its own node for the modules. It starts no application, and builds no Go program.
  If the node has no name, the task gives it one for the moment, which needs `epmd`.
  """

  use Mix.Task

  @impl Mix.Task
  def run(args) do
    {named, args} = split(args, [])
    program = find(named || Application.get_env(:cnode, :gen_program, "cnode-gen"))
    args = if asks_here?(args), do: args ++ ["--from", own_node()], else: args

    case System.cmd(program, args, into: IO.binstream(:stdio, :line)) do
      {_, 0} -> format(output(args))
      {_, status} -> exit({:shutdown, status})
    end
  end

  defp asks_here?(args) do
    given = fn option ->
      Enum.any?(args, &(&1 == option or String.starts_with?(&1, option <> "=")))
    end

    (given.("--struct") or given.("--record")) and not given.("--from")
  end

  # The project's modules are compiled, without the Go programs, whose types may still be missing.
  defp own_node do
    for task <- ["loadpaths", "compile.yecc", "compile.leex", "compile.erlang", "compile.elixir"] do
      Mix.Task.run(task)
    end

    unless Node.alive?() do
      System.cmd(find_epmd(), ["-daemon"], stderr_to_stdout: true)

      case Node.start(:"cnode_gen_#{System.pid()}@127.0.0.1") do
        {:ok, _} -> :ok
        {:error, why} -> Mix.raise("this node cannot get a name: #{inspect(why)}")
      end
    end

    Atom.to_string(node())
  end

  defp find_epmd do
    beside = for at <- ["bin", "erts-*/bin"], do: Path.wildcard("#{:code.root_dir()}/#{at}/epmd")

    System.find_executable("epmd") || beside |> List.flatten() |> List.first() ||
      Mix.raise("epmd is not found: it comes with Erlang")
  end

  # The task's own option is none of the program's.
  defp split([], before), do: {nil, Enum.reverse(before)}
  defp split(["--program", path | rest], before), do: {path, Enum.reverse(before, rest)}
  defp split(["--program=" <> path | rest], before), do: {path, Enum.reverse(before, rest)}
  defp split([arg | rest], before), do: split(rest, [arg | before])

  defp find(program) do
    System.find_executable(program) ||
      Mix.raise("""
      #{program} is not found, or is no program. Install it:

          go install github.com/cnode-go/cnode/cmd/cnode-gen@latest

      or say where it is, by --program PATH or by config :cnode, gen_program: "PATH".
      """)
  end

  defp output(["-o", path | _]), do: path
  defp output(["--output", path | _]), do: path
  defp output(["--output=" <> path | _]), do: path
  defp output(["-o" <> path | _]), do: String.trim_leading(path, "=")
  defp output([_ | rest]), do: output(rest)
  defp output([]), do: ""

  # A project may have lines of another length than the formatter's default.
  defp format(path) do
    if Path.extname(path) in [".ex", ".exs"] and File.regular?(path) do
      Mix.Task.rerun("format", [path])
    end

    :ok
  end
end
