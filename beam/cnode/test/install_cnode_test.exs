# Igniter is there if its applications have been fetched from Hex: CNODE_DOCS=1 mix do deps.get, test.
if Code.ensure_loaded?(Igniter) do
  defmodule Mix.Tasks.Cnode.InstallTest do
    use ExUnit.Case
    import Igniter.Test

    @mix """
    defmodule Shop.MixProject do
      use Mix.Project
      def project, do: [app: :shop, version: "0.1.0", compilers: [:boundary] ++ Mix.compilers()]
      def application, do: [mod: {Shop.Application, []}]
    end
    """
    @application """
    defmodule Shop.Application do
      use Application

      def start(_, _) do
        children = [Shop.Repo]
        Supervisor.start_link(children, strategy: :one_for_one)
      end
    end
    """

    defp installs(project, argv), do: Igniter.compose_task(project, Mix.Tasks.Cnode.Install, argv)

    defp text(igniter, file), do: igniter.rewrite |> Rewrite.source!(file) |> Rewrite.Source.get(:content)

    test "a new project gets a program, which is built and run" do
      new = installs(test_project(app_name: :shop), ["--program", "pricing"])
      assert text(new, "go/pricing/main.go") =~ ~s|n.ExposeMethods("pricing", server{})|
      assert text(new, "go/go.mod") == "module shop\n\ngo 1.26\n"
      assert text(new, "mix.exs") =~ "compilers: Mix.compilers() ++ [:cnode]"
      assert text(new, "lib/shop/application.ex") =~ ~s|{Cnode.Node, [program: "pricing"]}|
      assert Enum.any?(new.notices, &(&1 =~ "--client Shop.Pricing -o lib/shop/pricing.ex"))
      assert new.issues == []
      new |> apply_igniter!() |> installs(["--program", "pricing"]) |> assert_unchanged()
    end

    test "what a project has stays, and a second program is added to it" do
      files = %{"mix.exs" => @mix, "lib/shop/application.ex" => @application}
      one = installs(test_project(app_name: :shop, files: files), [])
      assert text(one, "mix.exs") =~ "compilers: [:boundary] ++ Mix.compilers() ++ [:cnode]"
      two = one |> apply_igniter!() |> installs(["--program", "second"])
      assert text(two, "mix.exs") == text(one, "mix.exs")
      children = ~r/\{Cnode.Node, \[program: "second"\]\},\s+\{Cnode.Node, \[program: "worker"\]\},\s+Shop.Repo/
      assert text(two, "lib/shop/application.ex") =~ children
    end

    test "a program is no path" do
      assert [issue] = installs(test_project(), ["--program", "../x"]).issues
      assert issue =~ "is not a name such as pricing"
    end
  end
else
  defmodule Mix.Tasks.Cnode.InstallTest do
    use ExUnit.Case

    test "without Igniter it says what it needs, and where the lines are" do
      error = assert_raise Mix.Error, fn -> Mix.Task.rerun("cnode.install", []) end
      assert error.message =~ "needs Igniter"
      assert error.message =~ "mix igniter.install cnode --program pricing"
      assert error.message =~ "docs/how-to/elixir-project.md"
    end
  end
end
