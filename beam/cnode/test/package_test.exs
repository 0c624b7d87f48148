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
    assert config[:deps] == []
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
