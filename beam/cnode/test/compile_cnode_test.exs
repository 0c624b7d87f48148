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
    echo "$(head -n 1 "$FAKE/version") $PWD $* CGO_ENABLED=$CGO_ENABLED GOARCH=$GOARCH GOFLAGS=$GOFLAGS" >"$FAKE/said"
    # as go, which looks at the first bytes only
    test "$(head -c 20 "$FAKE/said")" = "$(head -c 20 "$4" 2>/dev/null)" || { mkdir -p "${4%/*}"; cat "$FAKE/said" >"$4"; }
  esac
  """

  setup do
    dir = Path.join(System.tmp_dir!(), "cnode_compile_#{System.pid()}_#{System.unique_integer([:positive])}")
    File.mkdir_p!(Path.join(dir, "app/go/pricing"))
    File.write!(Path.join(dir, "app/go/go.mod"), "module shop\n")
    File.write!(Path.join(dir, "go"), @go)
    File.chmod!(Path.join(dir, "go"), 0o755)
    File.write!(Path.join(dir, "version"), "go1.26.0\n\n\n")
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
                {run.(args), Path.join(Mix.Project.app_path(), "cnode")}
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

    assert File.read!(program) =~
             "#{dir}/app/go/pricing build -trimpath -o #{program} . CGO_ENABLED=0 GOARCH= GOFLAGS=\n"

    assert {{:noop, []}, _, ""} = compile(dir, [])
    assert {{:ok, []}, _, said} = compile(dir, [], ["--force"])
    assert said =~ "pricing"
    refute File.exists?(Path.join(dir, "app/priv"))
    # a file of the same number and the same size may be another one
    File.write!(Path.join(dir, "version"), "go1.26.1\n\n\n")
    assert {{:ok, []}, _, said} = compile(dir, [])
    assert said =~ "Built pricing (go/pricing)"
    # go would take one that was cut off for built
    text = File.read!(program)
    File.write!(program, String.slice(text, 0, 30))
    assert {{:ok, []}, _, _} = compile(dir, [])
    assert File.read!(program) == text
    # one that is no program any more goes
    File.write!(Path.join(dir, "list"), "shop/cmd/stock/v2|#{dir}/app/go/pricing\n")
    assert {{:ok, []}, _, _} = compile(dir, [])
    assert files(built) == ["stock"]
    assert {:ok, _, _} = compile(dir, [], [], fn _ -> Mix.Tasks.Compile.Cnode.clean() end)
    assert files(built) == []
  end

  defp files(built), do: Enum.flat_map([built, Path.join(built, "../priv/cnode")], &visible/1) |> Enum.uniq()

  defp visible(folder) do
    case File.ls(folder) do
      {:ok, names} -> Enum.reject(names, &String.starts_with?(&1, "."))
      {:error, :enoent} -> []
    end
  end

  test "gives a release the programs of the last build", %{dir: dir} do
    priv = Path.join(dir, "app/priv")
    assert {{:ok, []}, built, _} = compile(dir, [])
    of_build = Path.join(built, "../priv")
    program = File.read!(Path.join(built, "pricing"))
    assert File.read!(Path.join(of_build, "cnode/pricing")) == program
    # a priv of the sources is what the release has, too
    File.mkdir_p!(Path.join(priv, "static"))
    assert {{:noop, []}, _, _} = compile(dir, [])
    assert {:ok, _} = File.read_link(of_build)
    assert File.read!(Path.join(priv, "cnode/pricing")) == program
    assert File.read!(Path.join(priv, "cnode/.gitignore")) == "*\n"
    # what another build has left there
    File.write!(Path.join(priv, "cnode/pricing"), "another one")
    File.write!(Path.join(priv, "cnode/tool"), "another one")
    assert {{:noop, []}, _, _} = compile(dir, [])
    assert File.read!(Path.join(of_build, "cnode/pricing")) == program
    refute File.exists?(Path.join(of_build, "cnode/tool"))
  end

  test "builds what the configuration names", %{dir: dir} do
    programs = [pricing: [path: "go/pricing", flags: ["-tags", "prod"], env: [{"GOARCH", "arm64"}]]]
    assert {{:ok, []}, built, _} = compile(dir, programs: programs, flags: ["-v"], env: [{"CGO_ENABLED", "1"}])
    assert File.read!(Path.join(built, "pricing")) =~ "pricing -v -tags prod . CGO_ENABLED=1 GOARCH=arm64 GOFLAGS=\n"
    File.write!(Path.join(dir, "version"), "go: downloading go1.26.0\ngo1.26.0\n.exe\n\n")
    assert {{:ok, []}, built, _} = compile(dir, programs: [pricing: []])
    assert files(built) == ["pricing.exe"]
    assert {{:error, [%{message: message}]}, _, _} = compile(dir, programs: [stock: []])
    assert message =~ "is no folder"
  end

  test "refuses two programs of one name", %{dir: dir} do
    File.write!(Path.join(dir, "list"), for(x <- ~w(a b), do: "shop/#{x}/cmd/server|#{dir}/app/go/#{x}/cmd/server\n"))
    assert {{:error, [%{message: message}]}, built, _} = compile(dir, [])
    assert message =~ "server is the name of more than one program: go/a/cmd/server and go/b/cmd/server."
    assert files(built) == []
  end

  test "leaves out what Go leaves out", %{dir: dir} do
    for folder <- ["lib/testdata/fake", "_old"] do
      File.mkdir_p!(Path.join([dir, "app/go", folder]))
      File.write!(Path.join([dir, "app/go", folder, "go.mod"]), "module fake\n")
    end

    # the list is the same for each module
    assert {{:ok, []}, built, said} = compile(dir, [])
    assert said =~ "Not built, as Go leaves out such folders: go/_old, go/lib/testdata/fake\n"
    assert files(built) == ["pricing"]
  end

  test "takes GOFLAGS, but for what go prints", %{dir: dir} do
    File.write!(Path.join(dir, "version"), "go1.26.0\n\n-json -mod=mod -v=true -tags=v,x --x\n")
    assert {{:ok, []}, built, _} = compile(dir, [])
    assert File.read!(Path.join(built, "pricing")) =~ ~r/GOFLAGS= *-mod=mod *-tags=v,x *\n/
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
      File.write!(Path.join(dir, "version"), version <> "\n\n\n")
      {{result, diagnostics}, _, _} = compile(dir, [])
      assert result == :error == old
      for d <- diagnostics, do: assert(d.message =~ "is too old: go1.21 or newer")
    end
  end

  test "says that there is nothing to do in a project without Go", %{dir: dir} do
    assert {{:ok, []}, built, _} = compile(dir, [])
    File.rm_rf!(Path.join(dir, "app/go"))
    assert {{:noop, []}, ^built, said} = compile(dir, :none)
    assert said =~ "No Go program to build: there is no folder go"
    assert files(built) == []
    # one that the compiler has not built stays
    own = Path.join(built, "../priv/cnode/own")
    File.mkdir_p!(Path.dirname(own))
    File.write!(own, "")
    assert {{:noop, []}, _, _} = compile(dir, :none)
    assert File.exists?(own)
  end
end
