defmodule Mix.Tasks.Cnode.Gen do
  @shortdoc "Writes Go types of Elixir structs, and Elixir modules of Go types"

  @moduledoc """
  Writes Go types of Elixir structs, and Elixir modules of Go types.

      mix cnode.gen --from shop@127.0.0.1 --cookie secret --struct Shop.Order --package shop -o go/shop/
      mix cnode.gen --go ./go/shop.Options -o lib/shop/options.ex
      mix cnode.gen --go ./go/cmd/pricing --client Shop.Pricing -o lib/shop/pricing.ex

  The task runs `cnode-demo gen` in the current folder, with the arguments that it is given:
  `mix cnode.gen --help` lists them. A file of Elixir that it has written is formatted as the
  project's `.formatter.exs` says. If the program fails, the task ends with its exit status.

  The program is the first of these:

    * the one that the option `--program PATH` names
    * the one that the configuration names: `config :cnode, gen_program: "/opt/bin/cnode-demo"`
    * `cnode-demo` in the `PATH`

  With `--go` the program needs the `go` command, and the source of the Go package.
  """

  use Mix.Task

  @impl Mix.Task
  def run(args) do
    {named, args} = split(args, [])
    program = find(named || Application.get_env(:cnode, :gen_program, "cnode-demo"))

    case System.cmd(program, ["gen" | args], into: IO.binstream(:stdio, :line)) do
      {_, 0} -> format(output(args))
      {_, status} -> exit({:shutdown, status})
    end
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

          go install github.com/cnode-go/cnode/cmd/cnode-demo@latest

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
