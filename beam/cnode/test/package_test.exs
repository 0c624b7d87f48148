defmodule Cnode.PackageTest do
  use ExUnit.Case

  # What hex.build asks for, as far as it can be seen without Hex.
  test "the package has what publishing needs" do
    config = Mix.Project.config()
    package = config[:package]
    assert {:ok, _} = Version.parse(config[:version])
    assert String.length(config[:description]) in 20..300
    assert package[:licenses] == ["Apache-2.0"]
    assert map_size(package[:links]) > 0
    # nothing that is fetched for who depends on it
    for {_, _, options} <- config[:deps], do: assert(options[:only] == :dev or options[:optional])
    for file <- package[:files], do: assert(Path.wildcard(file, match_dot: true) != [], file)
    assert File.read!("LICENSE") =~ "Apache License"
    {:ok, [{:application, :cnode, app}]} = :file.consult("src/cnode.app.src")
    assert List.to_string(app[:vsn]) == config[:version]
    assert Enum.sort(app[:registered]) == Enum.sort(Cnode.MixProject.application()[:registered])
    assert app[:licenses] == [~c"Apache-2.0"]
    assert Map.new(app[:links], fn {k, v} -> {List.to_string(k), List.to_string(v)} end) == package[:links]
    {:ok, rebar} = :file.consult("rebar.config")
    assert rebar[:deps] == []
  end

  test "the package has all that is compiled, and the checksums of the front, and no tests" do
    files = for path <- Mix.Project.config()[:package][:files], do: if(File.dir?(path), do: path <> "/**", else: path)
    files = Enum.flat_map(files, &Path.wildcard(&1, match_dot: true))
    for file <- Path.wildcard("{lib,src,priv}/**/*.*"), do: assert(file in files)
    assert "priv/cnode-front.sha256" in files
    refute Enum.any?(files, &String.starts_with?(&1, ["test", "_build", "deps"]))
    assert File.read!("priv/cnode-front.sha256") =~ ~r/^(#.*\n|[0-9a-f]{64}  cnode-front-linux-(amd64|arm64)\n)+$/
  end

  test "the documentation names modules, pages and a version that there are" do
    config = Mix.Project.config()
    docs = config[:docs]
    for page <- docs[:extras], do: assert(File.regular?(page), page)
    assert docs[:source_ref] == "v" <> config[:version]
    assert docs[:source_url_pattern] =~ "#{config[:source_url]}/blob/#{docs[:source_ref]}/beam/cnode/%{path}#L%{line}"
    grouped = docs[:groups_for_modules] |> Keyword.values() |> List.flatten()
    assert Enum.uniq(grouped) == grouped
    for module <- grouped, do: assert(Code.ensure_loaded?(module), inspect(module))
  end

  test "each function is documented, or hidden" do
    {:ok, modules} = :application.get_key(:cnode, :modules)
    elixir? = &String.starts_with?(Atom.to_string(&1), "Elixir.")
    documented? = System.otp_release() >= "27"
    ours = for m <- modules, m != :front, elixir?.(m) or documented?, do: m
    assert Cnode.Sessions in ours

    for module <- ours do
      assert {:docs_v1, _, _, _, about, _, docs} = Code.fetch_docs(module)
      assert about != :none, "#{inspect(module)} has no documentation"

      if about != :hidden do
        for {{:function, name, arity}, _, _, doc, _} <- docs, doc == :none do
          flunk("#{inspect(module)}.#{name}/#{arity} has no documentation")
        end
      end
    end
  end
end
