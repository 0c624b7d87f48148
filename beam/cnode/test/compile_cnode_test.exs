defmodule Mix.Tasks.Compile.CnodeTest do
  use ExUnit.Case
  import ExUnit.CaptureIO

  # A go that says what the test wants, and writes what it is asked for: the arguments, and some variables.
  @go """
  #!/bin/sh
  case $1 in
  env) cat "$FAKE/version" ;;
  list) cat "$FAKE/list" ;;
  build)
    if test -s "$FAKE/wrong"; then cat "$FAKE/wrong"; exit 1; fi
    echo "$PWD $* CGO_ENABLED=$CGO_ENABLED GOARCH=$GOARCH" >"$FAKE/said"
    test "$(cat "$FAKE/said")" = "$(cat "$4" 2>/dev/null)" || { cp "$FAKE/said" "$4.new"; mv "$4.new" "$4"; }
  esac
  """

  setup do
    dir = Path.join(System.tmp_dir!(), "cnode_compile_#{System.pid()}_#{System.unique_integer([:positive])}")
    File.mkdir_p!(Path.join(dir, "app/go/pricing"))
    File.write!(Path.join(dir, "app/go/go.mod"), "module shop\n")
    File.write!(Path.join(dir, "go"), @go)
    File.chmod!(Path.join(dir, "go"), 0o755)
    File.write!(Path.join(dir, "version"), "go1.26.0\n\n")
    File.write!(Path.join(dir, "list"), "shop/pricing|#{dir}/app/go/pricing\n")
    System.put_env("FAKE", dir)
    System.delete_env("CGO_ENABLED")
    on_exit(fn -> File.rm_rf!(dir) end)
    {:ok, dir: dir}
  end

  # Runs the task in a project with a configuration.
  defp compile(dir, config, args \\ [], run \\ &Mix.Tasks.Compile.Cnode.run/1) do
    name = :"app#{System.unique_integer([:positive])}"
    config = if config == :none, do: [], else: [cnode: Keyword.put_new(config, :go, Path.join(dir, "go"))]
    parent = self()

    said =
      capture_io(fn ->
        said =
          capture_io(:stderr, fn ->
            result =
              in_project(name, Path.join(dir, "app"), config, fn ->
                {run.(args), Path.join(Mix.Project.app_path(), "priv/cnode")}
              end)

            send(parent, {:result, result})
          end)

        IO.write(said)
      end)

    receive do
      {:result, {result, built}} -> {result, built, said}
    end
  end

  # Mix.Project.in_project/4 knows no configuration of a project without mix.exs.
  defp in_project(name, path, config, fun) do
    File.cd!(path, fn ->
      file = Path.join(path, "mix.exs")

      File.write!(file, """
      defmodule #{inspect(Module.concat(__MODULE__, Macro.camelize(to_string(name))))} do
        use Mix.Project
        def project, do: #{inspect([app: :shop, version: "1.0.0"] ++ config)}
      end
      """)

      Mix.Project.in_project(name, path, fn _ -> fun.() end)
    end)
  end

  test "builds what is below go, and what has changed", %{dir: dir} do
    assert {{:ok, []}, built, said} = compile(dir, [])
    assert said =~ "Building pricing (go/pricing)"
    program = Path.join(built, "pricing")
    assert File.read!(program) =~ "#{dir}/app/go/pricing build -trimpath -o #{program} . CGO_ENABLED=0 GOARCH=\n"
    assert {{:noop, []}, _, ""} = compile(dir, [])
    assert {{:ok, []}, _, said} = compile(dir, [], ["--force"])
    assert said =~ "pricing"
    # one that is no program any more goes
    File.write!(Path.join(dir, "list"), "shop/cmd/stock/v2|#{dir}/app/go/pricing\n")
    assert {{:ok, []}, _, _} = compile(dir, [])
    assert Enum.sort(File.ls!(built)) == [".gitignore", "stock"]
    assert File.exists?(Path.join(dir, "app/priv/cnode/stock"))
    assert {:ok, _, _} = compile(dir, [], [], fn _ -> Mix.Tasks.Compile.Cnode.clean() end)
    refute File.exists?(built)
  end

  test "builds what the configuration names", %{dir: dir} do
    programs = [pricing: [path: "go/pricing", flags: ["-tags", "prod"], env: [{"GOARCH", "arm64"}]]]
    assert {{:ok, []}, built, _} = compile(dir, programs: programs, flags: ["-v"], env: [{"CGO_ENABLED", "1"}])
    assert File.read!(Path.join(built, "pricing")) =~ "pricing -v -tags prod . CGO_ENABLED=1 GOARCH=arm64\n"
    File.write!(Path.join(dir, "version"), "go: downloading go1.26.0\ngo1.26.0\n.exe\n")
    assert {{:ok, []}, built, _} = compile(dir, programs: [pricing: []])
    assert Enum.sort(File.ls!(built)) == [".gitignore", "pricing.exe"]
    assert {{:error, [%{message: message}]}, _, _} = compile(dir, programs: [stock: []])
    assert message =~ "is no folder"
  end

  test "says what go says, with file and line", %{dir: dir} do
    File.write!(Path.join(dir, "wrong"), """
    # shop/pricing
    ./main.go:18:9: undefined: quantity
    ../lib/lib.go:3: cannot use x
    \thave string
    \twant int
    """)

    assert {{:error, [one, two]}, _, said} = compile(dir, [])
    assert %{compiler_name: "cnode", severity: :error, position: 18, message: "undefined: quantity"} = one
    assert one.file == Path.join(dir, "app/go/pricing/main.go")
    assert %{position: 3, message: "cannot use x\n\thave string\n\twant int"} = two
    assert two.file == Path.join(dir, "app/go/lib/lib.go")
    assert said =~ "error: undefined: quantity\n  go/pricing/main.go:18\n"

    File.write!(Path.join(dir, "wrong"), "go: downloading x v1\ngo: go.mod file not found\n")
    assert {{:error, [%{position: 0, message: "go: go.mod file not found"}]}, _, _} = compile(dir, [])
  end

  test "says that go is missing, or too old", %{dir: dir} do
    assert {{:error, [%{message: message}]}, _, _} = compile(dir, go: "/none/go")
    assert message =~ "the command /none/go is not found"

    for {version, old} <- [{"go1.20.3", true}, {"go1.21.0", false}, {"go2.0", false}, {"devel go1.27-abc", false}] do
      File.write!(Path.join(dir, "version"), version <> "\n\n")
      {{result, diagnostics}, _, _} = compile(dir, [])
      assert result == :error == old
      for d <- diagnostics, do: assert(d.message =~ "is too old: go1.21 or newer")
    end
  end

  test "has nothing to do in a project without Go", %{dir: dir} do
    File.rm_rf!(Path.join(dir, "app/go"))
    assert {{:noop, []}, _, ""} = compile(dir, :none)
  end
end
