defmodule MyApp.MixProject do
  use Mix.Project

  # The sources of others are beside it: there is no Hex where the tests run.
  @deps ~w(telemetry mime plug_crypto plug websock hpax thousand_island bandit websock_adapter
    phoenix_pubsub phoenix_template phoenix_html phoenix phoenix_live_view cnode)a

  def project, do: [app: :my_app, version: "1.0.0", deps: for(name <- @deps, do: {name, path: "../#{name}"})]
  def application, do: [mod: {Rooms, []}, extra_applications: [:logger]]
end
