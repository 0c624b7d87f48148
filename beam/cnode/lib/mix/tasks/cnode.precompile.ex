defmodule Mix.Tasks.Cnode.Precompile do
  @shortdoc "Builds the Go programs of the project for every system, with their checksums"

  @moduledoc """
  Builds the Go programs of a project for every system, so that others compile the project without Go.

      mix cnode.precompile
      mix cnode.precompile -o FOLDER

  The programs are built for Linux, macOS (`darwin`) and Windows, on `amd64` and `arm64`, whatever system this is. They are written
  to the folder, by default `_build/cnode-precompiled`, as `NAME-OS-ARCH`, with `.exe` for Windows. Put the files where the option
  `:precompiled` of `Mix.Tasks.Compile.Cnode` says.

  Their checksums are written to `cnode.sha256` in the project, in the form of `sha256sum`. Commit this file, and list
  it in `:files` if the project is a package of Hex.

  The flags are `CGO_ENABLED=0`, `-trimpath`, `-buildvcs=false` and `-ldflags=-s -w -buildid=`, then those of the
  configuration. So the same source and the same Go give the same bytes elsewhere, if `GOFLAGS` is the same.
  """

  use Mix.Task
  alias Cnode.Precompiled
  alias Mix.Tasks.Compile.Cnode, as: Compiler

  @recursive true

  @impl Mix.Task
  def run(args) do
    {options, [], []} = OptionParser.parse(args, strict: [output: :string], aliases: [o: :output])
    folder = options[:output] || Path.join(Path.dirname(Mix.Project.build_path()), "cnode-precompiled")

    case Compiler.sources(Mix.Project.config()[:cnode] || []) do
      {:ok, programs, go} ->
        sums = for program <- programs, target <- Precompiled.targets(), do: build(program, target, go, folder)
        File.write!("cnode.sha256", Enum.sort_by(sums, &List.last/1))
        Mix.shell().info("The checksums are in cnode.sha256, and the programs in #{folder}")

      false ->
        :ok

      {:error, diagnostics} ->
        Mix.raise(Enum.map_join(diagnostics, "\n", & &1.message))
    end
  end

  defp build(program, {os, arch} = target, go, folder) do
    file = Precompiled.file(program.name, target)
    Mix.shell().info("Building #{file}")
    out = Path.expand(file, folder)
    flags = ["-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="] ++ program.flags
    env = Map.merge(Map.new(program.env), %{"GOOS" => os, "GOARCH" => arch, "CGO_ENABLED" => "0"})

    case System.cmd(go.path, ["build", "-o", out] ++ flags ++ ["."], cd: program.path, env: env, stderr_to_stdout: true) do
      {_, 0} -> [Precompiled.sum(File.read(out)), "  ", file <> "\n"]
      {text, _} -> Mix.raise("#{file} is not built: #{text}")
    end
  end
end
