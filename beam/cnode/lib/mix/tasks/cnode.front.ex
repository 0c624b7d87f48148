defmodule Mix.Tasks.Cnode.Front do
  @shortdoc "Fetches cnode-front, the front that keeps sessions"

  @moduledoc """
  Fetches `cnode-front`, the front that keeps the sessions of `Cnode.Sessions`. No Go is needed.

      mix cnode.front
      mix cnode.front -o PATH

  The program is the one of this package's version, for Linux on `amd64` or `arm64`. It is written to the path, by default
  `_build/cnode-front`. To get it for another machine, set `GOOS` and `GOARCH`: `GOOS=linux GOARCH=arm64 mix cnode.front`.

  It is fetched from the release on GitHub, and verified against the checksums in this package. The variables `CNODE_CACHE` and
  `CNODE_MIRROR`, and those of proxies, are the same as for `Mix.Tasks.Compile.Cnode`.
  """

  use Mix.Task
  alias Cnode.Precompiled

  @impl Mix.Task
  def run(args) do
    {options, [], []} = OptionParser.parse(args, strict: [output: :string], aliases: [o: :output])
    to = Path.expand(options[:output] || Path.join(Path.dirname(Mix.Project.build_path()), "cnode-front"))
    Application.load(:cnode)
    version = Application.spec(:cnode, :vsn)
    url = "https://github.com/cnode-go/cnode/releases/download/v#{version}"

    with {:ok, sums} <- Precompiled.sums(Application.app_dir(:cnode, "priv/cnode-front.sha256")),
         done when done in [:ok, :noop] <-
           Precompiled.fetch(Precompiled.file("cnode-front", Precompiled.target()), to, sums, url) do
      Mix.shell().info("cnode-front #{version} is #{Path.relative_to_cwd(to)}")
    else
      {:error, message} ->
        Mix.raise("""
        #{message}.
        CNODE_MIRROR names another address, or a folder that has the file. With Go you can build the front yourself:

            go install github.com/cnode-go/cnode/contrib/front/cmd/cnode-front@v#{version}
        """)
    end
  end
end
