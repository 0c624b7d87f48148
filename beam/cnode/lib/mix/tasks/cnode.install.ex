doc = """
Adds a Go program to a project: its folder, the compiler that builds it, and the child that runs it.

    mix igniter.install cnode
    mix igniter.install cnode --program pricing

The first line calls the program `worker`. Igniter shows each change before it is made:

  * `go/pricing/main.go`, a Go program with one function, and `go/go.mod`
  * `:cnode` among the `compilers` in `mix.exs`
  * `{Cnode.Node, program: "pricing"}` as the first child of the application's supervisor

Then `go mod tidy` fetches the Go module, if there is a `go` command. What is there already stays as it is.

The task needs [Igniter](https://hex.pm/packages/igniter) 0.6 or newer. Without it, take the lines from
[the page](https://github.com/cnode-go/cnode/blob/main/docs/how-to/elixir-project.md).
"""

# Igniter is an optional dependency.
if Code.ensure_loaded?(Igniter) do
  defmodule Mix.Tasks.Cnode.Install do
    @shortdoc "Adds a Go program to the project, with Igniter"
    @moduledoc doc
    use Igniter.Mix.Task

    @impl Igniter.Mix.Task
    def info(_argv, _parent) do
      %Igniter.Mix.Task.Info{
        group: :cnode,
        schema: [program: :string],
        defaults: [program: "worker"],
        example: "mix igniter.install cnode --program pricing"
      }
    end

    @impl Igniter.Mix.Task
    def igniter(igniter) do
      program = igniter.args.options[:program]

      if program =~ ~r/\A[a-z][a-z0-9_]*\z/ do
        add(igniter, program, Igniter.Project.Application.app_name(igniter))
      else
        Igniter.add_issue(igniter, "--program #{inspect(program)} is not a name such as pricing: a-z, 0-9 and _")
      end
    end

    defp add(igniter, program, app) do
      client = inspect(Module.concat(Macro.camelize("#{app}"), Macro.camelize(program)))
      file = "go/#{program}/main.go"
      new? = not Igniter.exists?(igniter, file)

      igniter
      |> Igniter.create_new_file(file, main(program), on_exists: :skip)
      |> Igniter.create_new_file("go/go.mod", "module #{app}\n\ngo 1.26\n", on_exists: :skip)
      |> Igniter.Project.MixProject.update(:project, [:compilers], &compilers/1)
      |> Igniter.Project.Application.add_new_child({Cnode.Node, program: program}, force?: new?)
      |> tidy(System.find_executable("go"))
      |> Igniter.add_notice("""
      Call Go, in iex -S mix:

          Cnode.Node.call(:#{program}, :#{program}, :total, [1.5, 3])

      With cnode-gen in the PATH, a client with types is written by

          mix cnode.gen --link --go ./go/#{program} --client #{client} -o lib/#{app}/#{program}.ex
      """)
    end

    defp compilers(nil), do: {:ok, {:code, quote(do: Mix.compilers() ++ [:cnode])}}

    defp compilers(zipper) do
      now = Sourceror.to_string(zipper.node)
      more = now <> " ++ [:cnode]"
      {:ok, if(now =~ ":cnode", do: zipper, else: Igniter.Code.Common.replace_code(zipper, more))}
    end

    defp tidy(igniter, nil), do: Igniter.add_notice(igniter, "Go 1.26 builds the program. Then: cd go && go mod tidy")
    defp tidy(igniter, _), do: Igniter.add_task(igniter, "cmd", ["--cd", "go", "go", "mod", "tidy"])

    defp main(program) do
      """
      package main

      import (
      	"github.com/cnode-go/cnode/nodes"
      	"github.com/cnode-go/cnode/nodes/child"
      )

      type server struct{}

      func (server) Total(price float64, qty int) float64 { return price * float64(qty) }

      func main() { child.Main(func(n *nodes.Node) error { return n.ExposeMethods("#{program}", server{}) }) }
      """
    end
  end
else
  defmodule Mix.Tasks.Cnode.Install do
    @shortdoc "Adds a Go program to the project, with Igniter"
    @moduledoc doc
    use Mix.Task

    @impl Mix.Task
    def run(_args) do
      Mix.raise("""
      mix cnode.install needs Igniter. Install its archive, and have it add the package and a Go program:

          mix archive.install hex igniter_new
          mix igniter.install cnode --program pricing

      Or write the lines yourself: https://github.com/cnode-go/cnode/blob/main/docs/how-to/elixir-project.md
      """)
    end
  end
end
