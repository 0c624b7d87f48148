# Compiles sources of others, each in a folder of its name below src, without Mix: Hex is not needed.
[src, out, package] = String.split(System.fetch_env!("BUILD"), ":")
Application.load(:elixir)
# what Phoenix's own configuration says
for {key, value} <- [logger: false, json_library: JSON, trim_on_html_eex_engine: false, filter_parameters: []],
    do: Application.put_env(:phoenix, key, value)

apps = [
  {"telemetry", [], :telemetry_app},
  {"mime", [], nil},
  {"plug_crypto", [:crypto], Plug.Crypto.Application},
  {"plug", [:mime, :plug_crypto, :telemetry], Plug.Application},
  {"websock", [], nil},
  {"hpax", [], nil},
  {"thousand_island", [:telemetry, :ssl], nil},
  {"bandit", [:thousand_island, :plug, :websock, :hpax, :telemetry], Bandit.Application},
  {"websock_adapter", [:websock, :plug], nil},
  {"phoenix_pubsub", [:crypto], Phoenix.PubSub.Application},
  {"phoenix_template", [:eex], nil},
  {"phoenix_html", [:eex], nil},
  {"phoenix", [:plug, :plug_crypto, :telemetry, :phoenix_pubsub, :phoenix_template, :websock_adapter, :eex, :public_key], Phoenix},
  {"phoenix_live_view", [:phoenix, :plug, :phoenix_template, :phoenix_html, :telemetry], Phoenix.LiveView.Application}
]

Code.compiler_options(ignore_module_conflict: true)

compile = fn name, dir, deps, mod, vsn ->
  ebin = Path.join([out, name, "ebin"])
  File.mkdir_p!(ebin)
  Code.append_path(ebin)

  erlang =
    for file <- Path.wildcard("#{dir}/src/*.erl") do
      options = [:return_errors, :debug_info, {:d, :CNODE_STEPS}, {:outdir, String.to_charlist(ebin)}, {:i, String.to_charlist("#{dir}/src")}]
      {:ok, module} = :compile.file(String.to_charlist(file), options)
      module
    end

  File.cd!(dir)
  files = "lib/**/*.ex" |> Path.wildcard() |> Enum.reject(&(&1 =~ "mix/" or String.ends_with?(&1, ["igniter.ex", "prettier.ex"])))
  {:ok, elixir, _} = Kernel.ParallelCompiler.compile_to_path(files, ebin, return_diagnostics: true)

  app =
    {:application, String.to_atom(name),
     [vsn: vsn, modules: erlang ++ elixir, registered: [], applications: [:kernel, :stdlib, :elixir, :logger] ++ deps] ++
       if(mod, do: [mod: {mod, []}], else: [])}

  File.write!("#{ebin}/#{name}.app", :io_lib.format("~tp.~n", [app]))
  if File.dir?("#{dir}/priv"), do: File.cp_r!("#{dir}/priv", Path.join([out, name, "priv"]))
  Application.load(String.to_atom(name))
end

for {name, deps, mod} <- apps, File.dir?(Path.join(src, name)) do
  dir = Path.join(src, name)
  vsn = case File.read(Path.join(dir, "mix.exs")) do
    {:ok, text} -> case Regex.run(~r/version "([0-9.]+)"|version: "([0-9.]+)"/, text) do [_ | v] -> List.last(v); _ -> "1.0.0" end
    _ -> "1.0.0"
  end
  compile.(name, dir, deps, mod, String.to_charlist(vsn))
end

compile.("cnode", package, [], :cnode_app, ~c"0.1.0")

# a program that starts faster than if it were compiled each time
with file when file != nil <- System.get_env("PROGRAM") do
  {:ok, _} = Application.ensure_all_started(:phoenix_live_view)
  ebin = Path.join([out, "program", "ebin"])
  File.mkdir_p!(ebin)
  {:ok, _, _} = Kernel.ParallelCompiler.compile_to_path([file], ebin, return_diagnostics: true)
end

IO.puts("built")
