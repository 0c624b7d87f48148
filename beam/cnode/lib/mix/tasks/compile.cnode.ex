defmodule Mix.Tasks.Compile.Cnode do
  @shortdoc "Builds the Go programs of the project"

  @moduledoc """
  Builds the Go programs of a project. In `mix.exs`:

      def project do
        [
          compilers: Mix.compilers() ++ [:cnode],
          ...
        ]
      end

  Without configuration every folder below `go` that has a main package is a program. It is called as `go build` would call it: by
  the last part of its import path. Folders that Go leaves out, such as `testdata`, are left out here. `Cnode.Node` starts the
  programs.

  The programs belong to the build, as modules do: those of `MIX_ENV=dev` are in `_build/dev/lib/APP/cnode`. Copies of them are in
  `priv/cnode` of the application, which `mix release` takes along. They are those of the last build, if the project has a folder
  `priv`.

  ## Configuration

  In `project/0`:

      cnode: [
        programs: [pricing: [path: "services/pricing", flags: ["-tags", "prod"]]],
        env: [{"GOOS", "linux"}, {"GOARCH", "arm64"}],
        go: "/usr/local/go/bin/go"
      ]

    * `:programs` - the names of the programs. Each has `:path`, by default `go/NAME`, and may have `:flags` and `:env`, behind
      those of all.
    * `:flags` - arguments for every `go build`, such as `-ldflags=-s -w`.
    * `:env` - variables of every `go build`. Others are those of mix, so `GOOS=linux GOARCH=arm64 mix release` builds for another
      system. `CGO_ENABLED` is 0 unless you set it: a program then needs no library of the system.
    * `:go` - the go command, by default the one in the `PATH`.
    * `:precompiled` - where the programs are that `mix cnode.precompile` has built.

  `go build` decides what has changed, and `mix compile --force` has it write the programs again. What go complains about comes as
  diagnostics, with file and line. Of `GOFLAGS` in your environment, those that change what go prints are left out, such as `-v`.

  Go has to be 1.21 or newer. From there on it fetches the version that your `go.mod` asks for, if it is an older one.

  ## Without Go

  With `:precompiled` the programs are fetched, and no Go is needed:

      cnode: [precompiled: "https://github.com/me/shop/releases/download/v\#{@version}"]

  It is the address of a folder (`http`, `https` or `file`), or its path. `mix cnode.precompile` makes its files, and
  `cnode.sha256` in the project, which has their checksums. The file for this system, or for `GOOS` and `GOARCH`, is
  fetched and compared with its checksum. If it is another one, or cannot be had, compiling fails: nothing is built in
  its place.

    * `CNODE_BUILD=1` in the environment has the programs built with Go.
    * `CNODE_MIRROR` takes the place of the address, for a mirror or a folder.
    * `CNODE_CACHE` is the folder that keeps what has been fetched, by default `cnode` in the user's cache. It is looked at first.
    * `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` name proxies.
  """

  use Mix.Task.Compiler
  alias Cnode.Precompiled

  @recursive true
  @oldest [1, 21]

  @impl true
  def run(args) do
    {options, _, _} = OptionParser.parse(args, switches: [force: :boolean])
    config = Mix.Project.config()[:cnode] || []

    with {:ok, programs, make} <- if(Precompiled.wanted?(config), do: fetched(config), else: built(config)) do
      before = if options[:force], do: %{}, else: before()
      remove(programs, before)
      results = Enum.map(programs, make)
      keep(programs, results, before)
      {status, diagnostics} = total(results)
      if status != :error, do: copy(programs)
      {status, diagnostics}
    else
      false ->
        Mix.shell().info(
          "No Go program to build: there is no folder go, and project/0 of mix.exs has no cnode: [programs: ...]"
        )

        clean()
        {:noop, []}

      {:error, diagnostics} ->
        {:error, Enum.map(diagnostics, &shown/1)}
    end
  end

  defp built(config) do
    with {:ok, programs, go} <- sources(config), do: {:ok, programs, &build(&1, go)}
  end

  @doc false
  def sources(config) do
    with true <- config[:programs] != nil or File.dir?("go"),
         {:ok, go} <- go(config),
         {:ok, programs} <- programs(config, go),
         :ok <- distinct(programs),
         do: {:ok, programs, go}
  end

  # What others have built. Without Go the checksums tell which programs there are.
  defp fetched(config) do
    case Precompiled.sums("cnode.sha256") do
      {:ok, sums} ->
        target = Precompiled.target(config)
        names = Keyword.get_lazy(config, :programs, fn -> Enum.map(Precompiled.names(sums, target), &{&1, []}) end)

        programs =
          for {name, _} <- names do
            asked = Precompiled.file(name, target)
            %{file: Path.join(folder(), "#{name}#{Precompiled.suffix(target)}"), asked: asked}
          end

        if programs == [],
          do: refused("cnode.sha256 has no program for #{Enum.join(Tuple.to_list(target), "-")}"),
          else: {:ok, programs, &fetch(&1, sums, config[:precompiled])}

      {:error, message} ->
        refused(message)
    end
  end

  defp fetch(program, sums, url) do
    with {:error, message} <- Precompiled.fetch(program.asked, program.file, sums, url),
         {:error, diagnostics} <- refused(message) do
      {:error, Enum.map(diagnostics, &shown/1)}
    else
      done -> {done, []}
    end
  end

  defp refused(message) do
    failed("""
    #{message}.
    Nothing is built in its place: CNODE_BUILD=1 builds the programs with Go. CNODE_MIRROR names another address, or a folder that
    has the files.
    """)
  end

  @impl true
  def manifests, do: [manifest()]

  @impl true
  def clean do
    if File.exists?(manifest()) do
      for path <- [manifest(), folder(), Path.join(priv(), "cnode")], do: File.rm_rf(path)
    end

    :ok
  end

  defp folder, do: Path.join(Mix.Project.app_path(), "cnode")
  defp priv, do: Path.join(Mix.Project.app_path(), "priv")
  defp manifest, do: Path.join(Mix.Project.manifest_path(), "compile.cnode")

  # The programs of the last time, with their sizes: go takes a program for built if its first bytes are.
  defp before do
    case File.read(manifest()) do
      {:ok, text} ->
        for line <- String.split(text, "\n"),
            [size, name] <- [String.split(line, " ", parts: 2)],
            into: %{},
            do: {name, size}

      {:error, _} ->
        %{}
    end
  end

  defp keep(programs, results, before) do
    sizes =
      for {program, {status, _}} <- Enum.zip(programs, results),
          size = if(status == :error, do: before[name(program)], else: size(program.file)),
          do: "#{size} #{name(program)}\n"

    File.mkdir_p!(Path.dirname(manifest()))
    File.write!(manifest(), sizes)
  end

  defp size(file), do: to_string(File.stat!(file).size)
  defp name(program), do: Path.basename(program.file)

  # What is no program any more, and what is not as go has written it.
  defp remove(programs, before) do
    names = Enum.map(programs, &name/1)

    for name <- names(folder()), file = Path.join(folder(), name), name not in names or size(file) != before[name] do
      File.rm_rf!(file)
    end
  end

  defp names(dir) do
    case File.ls(dir) do
      {:ok, names} -> Enum.reject(names, &String.starts_with?(&1, "."))
      {:error, _} -> []
    end
  end

  # For releases. mix links to the priv of the sources; where nobody can write there, the build has a copy of it. What is built is
  # not committed.
  defp copy(programs) do
    if File.dir?("priv") and match?({:error, _}, File.read_link(priv())) do
      File.rm_rf!(priv())
      Mix.Project.build_structure()
    end

    dir = Path.join(priv(), "cnode")

    if programs != [] and ignored(dir) != :ok do
      File.rm!(priv())
      File.cp_r!("priv", priv())
      :ok = ignored(dir)
    end

    for name <- names(dir) -- Enum.map(programs, &name/1), do: File.rm_rf!(Path.join(dir, name))

    for %{file: file} = program <- programs, to = Path.join(dir, name(program)), File.read(file) != File.read(to) do
      new = Path.join(dir, ".#{name(program)}.#{System.pid()}")
      File.cp!(file, new)
      File.rename!(new, to)
    end
  end

  defp ignored(dir) do
    with :ok <- File.mkdir_p(dir), do: File.write(Path.join(dir, ".gitignore"), "*\n")
  end

  defp total(results) do
    diagnostics = Enum.flat_map(results, &elem(&1, 1))

    cond do
      Enum.any?(results, &(elem(&1, 0) == :error)) -> {:error, diagnostics}
      Enum.any?(results, &(elem(&1, 0) == :ok)) -> {:ok, diagnostics}
      true -> {:noop, diagnostics}
    end
  end

  # The command, and what it says of itself.
  defp go(config) do
    wanted = Keyword.get(config, :go, "go")

    with {:found, path} when path != nil <- {:found, System.find_executable(wanted)},
         {:version, {text, 0}} <-
           {:version, command(path, ["env", "-json=false", "GOVERSION", "GOEXE", "GOFLAGS"], ".", env(config))},
         {:told, [_, version, suffix, flags]} <-
           {:told, Regex.run(~r/^((?:go\d|devel )\S*.*?)\r?\n(\S*)\r?\n([^\r\n]*)/m, text)},
         {:old, false, _} <- {:old, old?(version), version} do
      flags = Regex.replace(~r/(?<!\S)--?(v|x|n|json|work)(=\S*)?(?!\S)/, flags, "")
      env = env(config) ++ [{"GOFLAGS", flags}]
      {:ok, %{path: path, env: env, flags: Keyword.get(config, :flags, []), suffix: suffix}}
    else
      {:found, nil} ->
        failed("""
        the command #{wanted} is not found, which builds the Go programs of this project. Install Go (https://go.dev/dl), or say
        where it is, in project/0 of mix.exs: cnode: [go: "/usr/local/go/bin/go"]
        """)

      {:told, nil} ->
        failed("#{wanted} env does not tell a version")

      {:version, {text, status}} ->
        failed("#{wanted} env has failed, with exit status #{status}: #{text}")

      {:old, true, version} ->
        failed(
          "#{wanted} is #{version}, which is too old: go#{Enum.join(@oldest, ".")} or newer is needed (https://go.dev/dl)"
        )
    end
  end

  # A version that is not released ("devel go1.27-...") is not old.
  defp old?(version) do
    case Regex.run(~r/^go(\d+)\.(\d+)/, version) do
      [_, major, minor] -> [String.to_integer(major), String.to_integer(minor)] < @oldest
      nil -> false
    end
  end

  defp failed(message), do: {:error, [diagnostic(Path.expand("mix.exs"), 0, String.trim(message))]}

  # CGO_ENABLED is 0 unless somebody says otherwise.
  defp env(config) do
    if(System.get_env("CGO_ENABLED"), do: [], else: [{"CGO_ENABLED", "0"}]) ++ given(config)
  end

  defp given(config) do
    for {name, value} <- Keyword.get(config, :env, []), do: {to_string(name), value && to_string(value)}
  end

  defp programs(config, go) do
    case Keyword.fetch(config, :programs) do
      {:ok, programs} -> {:ok, for({name, options} <- programs, do: named(to_string(name), options, go))}
      :error -> found(go)
    end
  end

  defp named(name, options, go) do
    program(name, Path.expand(Keyword.get(options, :path, Path.join("go", name))), options, go)
  end

  defp program(name, path, options, go) do
    %{
      name: name,
      path: path,
      file: Path.join(folder(), name <> go.suffix),
      flags: go.flags ++ Keyword.get(options, :flags, []),
      env: go.env ++ given(options)
    }
  end

  # Two main packages may have the same last name.
  defp distinct(programs) do
    case programs |> Enum.group_by(&name/1) |> Enum.find(&match?({_, [_, _ | _]}, &1)) do
      nil ->
        :ok

      {name, same} ->
        failed("""
        #{name} is the name of more than one program: #{Enum.map_join(same, " and ", &Path.relative_to_cwd(&1.path))}. Give each its own
        name, in project/0 of mix.exs: cnode: [programs: [NAME: [path: "go/..."], ...]]
        """)
    end
  end

  # Every main package of every module below go, or below the project if go is part of its module.
  defp found(go) do
    {left, modules} = Path.wildcard("go/**/go.mod") |> Enum.map(&Path.dirname/1) |> Enum.split_with(&left_out?/1)
    if left != [], do: Mix.shell().info("Not built, as Go leaves out such folders: #{Enum.join(left, ", ")}")

    Enum.map(if(modules == [], do: ["go"], else: modules), &Path.expand/1)
    |> Enum.reduce_while({:ok, []}, fn module, {:ok, before} ->
      format = ~S'{{if eq .Name "main"}}{{.ImportPath}}|{{.Dir}}{{end}}'

      case command(go.path, ["list", "-find", "-f", format, "./..."], module, go.env) do
        {text, 0} ->
          more =
            for line <- String.split(text, "\n", trim: true),
                [path, dir] <- [String.split(line, "|")],
                do: {called(path), dir}

          {:cont, {:ok, before ++ Enum.map(more, fn {name, dir} -> program(name, dir, [], go) end)}}

        {text, _} ->
          {:halt, {:error, diagnostics(text, module)}}
      end
    end)
  end

  # As by the pattern ./...
  defp left_out?(path), do: Enum.any?(Path.split(path), &(&1 == "testdata" or String.starts_with?(&1, "_")))

  # example.com/shop/v2 builds shop.
  defp called(path) do
    case path |> String.split("/") |> Enum.reverse() do
      [last, name | _] -> if last =~ ~r/^v\d+$/, do: name, else: last
      [name] -> name
    end
  end

  defp build(%{name: name, path: path, file: file} = program, go) do
    before = stat(file)
    if before == nil, do: Mix.shell().info("Building #{name} (#{Path.relative_to_cwd(path)})")

    result =
      if File.dir?(path) do
        command(go.path, ["build", "-trimpath", "-o", file] ++ program.flags ++ ["."], path, program.env)
      else
        {"#{path} is no folder: it is the :path of the program #{name}", 1}
      end

    case result do
      {_, 0} ->
        if stat(file) == before do
          {:noop, []}
        else
          if before != nil, do: Mix.shell().info("Built #{name} (#{Path.relative_to_cwd(path)})")
          {:ok, []}
        end

      {text, _} ->
        {:error, Enum.map(diagnostics(text, path), &shown/1)}
    end
  end

  # go build leaves a program that has not changed where it is, and sets its time. A new one may have the number of the old one.
  # Its build ID is near the beginning.
  defp stat(file) do
    with {:ok, %{inode: inode, size: size}} <- File.stat(file),
         {:ok, beginning} <- File.open(file, [:read, :binary], &IO.binread(&1, 32_768)) do
      {inode, size, beginning}
    else
      {:error, _} -> nil
    end
  end

  defp command(go, args, path, env) do
    System.cmd(go, args, cd: path, env: env, stderr_to_stdout: true)
  end

  # "./main.go:4:2: undefined: x", and lines that begin with a tab belong to the one before. Without such a line, it is about the
  # module.
  defp diagnostics(text, path) do
    text
    |> String.split(["\r\n", "\n"], trim: true)
    |> Enum.reject(&String.starts_with?(&1, ["# ", "go: downloading "]))
    |> Enum.reduce([], fn line, all ->
      case {Regex.run(~r/^(\S.*?\.go):(\d+)(?::\d+)?: (.*)$/, line), all} do
        {[_, file, number, message], all} ->
          [diagnostic(Path.expand(file, path), String.to_integer(number), message) | all]

        {nil, [last | others]} ->
          [%{last | message: last.message <> "\n" <> line} | others]

        {nil, []} ->
          [diagnostic(path, 0, line)]
      end
    end)
    |> Enum.reverse()
    |> case do
      [] -> [diagnostic(path, 0, "go has failed, and has not said why")]
      some -> some
    end
  end

  defp diagnostic(file, line, message) do
    %Mix.Task.Compiler.Diagnostic{
      compiler_name: "cnode",
      file: file,
      position: line,
      message: message,
      severity: :error
    }
  end

  defp shown(%{file: file, position: line, message: message} = diagnostic) do
    place = if line > 0, do: "#{Path.relative_to_cwd(file)}:#{line}", else: Path.relative_to_cwd(file)
    Mix.shell().error("error: #{message}\n  #{place}\n")
    diagnostic
  end
end
