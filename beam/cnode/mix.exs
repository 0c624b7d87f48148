defmodule Cnode.MixProject do
  use Mix.Project

  @version "0.1.0"
  @source "https://github.com/cnode-go/cnode"

  def project do
    [
      app: :cnode,
      version: @version,
      elixir: "~> 1.14",
      deps: deps(System.get_env("CNODE_DOCS"), Code.ensure_loaded?(Hex)),
      erlc_paths: erlc_paths(Mix.env()),
      description: "Go programs in an Elixir project, and sessions that outlive a BEAM behind a front in Go.",
      package: package(),
      docs: docs(),
      source_url: @source,
      erlc_options: erlc_options(Mix.env()),
      xref: xref(Version.match?(System.version(), "< 1.15.0"))
    ]
  end

  def application do
    [
      mod: {:cnode_app, []},
      registered: [:cnode_sup, :cnode_sessions_guard, :cnode_sessions_sup],
      extra_applications: [:logger, :crypto]
    ]
  end

  # For a release ex_doc and Igniter are fetched, and otherwise nothing. A project that has Igniter compiles it before this
  # package, whose mix cnode.install then uses it. Mix asks for Hex at the sight of such a line, so it is there where Hex is.
  defp deps(nil, false), do: []
  defp deps(nil, true), do: [{:igniter, "~> 0.6", optional: true, only: :prod}]

  defp deps(_, _),
    do: [{:ex_doc, "~> 0.30", only: :dev, runtime: false}, {:igniter, "~> 0.6", optional: true, only: [:prod, :test]}]

  defp erlc_paths(:test), do: ["src", "test/support"]
  defp erlc_paths(_), do: ["src"]

  # a warning of a newer release must not stop who depends on this
  defp erlc_options(:test), do: [:debug_info, :warnings_as_errors]
  defp erlc_options(_), do: [:debug_info]

  # what Cnode.Precompiled says of them itself is not enough for an old Elixir
  defp xref(true), do: [exclude: [:httpc, :inets, :public_key]]
  defp xref(false), do: []

  defp package do
    [
      licenses: ["Apache-2.0"],
      links: %{"GitHub" => @source, "Changelog" => "#{@source}/blob/main/CHANGELOG.md"},
      files:
        ~w(lib priv/cnode-front.sha256 src mix.exs rebar.config rebar.config.script README.md LICENSE .formatter.exs)
    ]
  end

  defp docs do
    [
      main: "readme",
      extras: ["README.md", "LICENSE"],
      source_ref: "v#{@version}",
      source_url_pattern: "#{@source}/blob/v#{@version}/beam/cnode/%{path}#L%{line}",
      groups_for_modules: [
        "Go programs": [Cnode.Node, :cnode_node],
        Sessions: [Cnode.Sessions, Cnode.Forwarder, :cnode_sessions, :cnode_forwarder],
        Transports: [
          Cnode.Sessions.ThousandIsland,
          Cnode.Sessions.Bandit,
          Cnode.Sessions.Bandit.Handler,
          Cnode.Sessions.Phoenix,
          Cnode.Sessions.WebSock,
          :cnode_sessions_ranch,
          :cnode_sessions_cowboy_h
        ]
      ]
    ]
  end
end
