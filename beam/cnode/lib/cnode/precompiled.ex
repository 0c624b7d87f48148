defmodule Cnode.Precompiled do
  @moduledoc false
  # Programs that are fetched and not built: by compile.cnode those of a project, by cnode.front the front.

  # Only mix calls them: a release needs no HTTP for this.
  @compile {:no_warn_undefined, [:crypto, :httpc, :inets, :public_key]}

  def wanted?(config), do: config[:precompiled] != nil and env("CNODE_BUILD") in [nil, "0", "false"]

  # The names that cnode.precompile gives, and what it builds for.
  def targets, do: for(os <- ~w(linux darwin windows), arch <- ~w(amd64 arm64), do: {os, arch})

  def file(name, {os, arch}), do: "#{name}-#{os}-#{arch}#{suffix({os, arch})}"

  def suffix({"windows", _}), do: ".exe"
  def suffix(_), do: ""

  # As Go has it: the variables, or else this machine.
  def target(config \\ []) do
    given = Map.new(config[:env] || [], fn {name, value} -> {to_string(name), value && to_string(value)} end)
    {given["GOOS"] || env("GOOS") || os(:os.type()), given["GOARCH"] || env("GOARCH") || arch()}
  end

  defp os({:win32, _}), do: "windows"
  defp os({:unix, name}), do: to_string(name)

  defp arch do
    case :erlang.system_info(:system_architecture) |> to_string() |> String.split("-") |> hd() do
      "x86_64" -> "amd64"
      "aarch64" -> "arm64"
      "win32" -> String.downcase(env("PROCESSOR_ARCHITECTURE") || "amd64")
      other -> other
    end
  end

  # The names of the programs that a file of checksums has for a target.
  def names(sums, target) do
    end_ = file("", target)
    for file <- Enum.sort(Map.keys(sums)), String.ends_with?(file, end_), do: String.replace_suffix(file, end_, "")
  end

  # Lines as sha256sum writes them, and no code.
  def sums(path) do
    with {:error, reason} <- File.read(path) do
      {:error, "#{path}: #{:file.format_error(reason)}. It has the checksums of the programs"}
    else
      {:ok, text} ->
        lines = Regex.scan(~r/^([0-9a-f]{64}) [ *](\S+)\r?$/m, text, capture: :all_but_first)
        {:ok, Map.new(lines, fn [sum, file] -> {file, sum} end)}
    end
  end

  # Puts a program where it is wanted. A program that is there already is not asked for again.
  def fetch(file, to, sums, url) do
    started()

    with {:ok, sum} <- known(sums, file),
         {:wanted, true} <- {:wanted, sum(File.read(to)) != sum},
         {:ok, data} <- cached(file, sum, url),
         :ok <- write(to, data) do
      :ok
    else
      {:wanted, false} -> :noop
      {:error, reason} when is_atom(reason) -> {:error, "#{to}: #{:file.format_error(reason)}"}
      {:error, message} -> {:error, message}
    end
  end

  # From Elixir 1.15 on mix has only the applications at hand that a project names.
  defp started do
    if function_exported?(Mix, :ensure_application!, 1) do
      for app <- [:inets, :ssl], do: apply(Mix, :ensure_application!, [app])
    end

    for app <- [:inets, :ssl], do: {:ok, _} = Application.ensure_all_started(app)
  end

  defp known(sums, file) do
    with :error <- Map.fetch(sums, file) do
      have = if sums == %{}, do: "none", else: sums |> Map.keys() |> Enum.sort() |> Enum.join(", ")
      {:error, "there is no checksum of #{file}, so it cannot be fetched. There are: #{have}"}
    end
  end

  # The name has the checksum: what another version has left is never taken.
  defp cached(file, sum, url) do
    cache = env("CNODE_CACHE") || to_string(:filename.basedir(:user_cache, ~c"cnode"))
    at = Path.join(cache, "#{sum}-#{file}")
    kept = File.read(at)

    if sum(kept) == sum do
      kept
    else
      from = String.trim_trailing(env("CNODE_MIRROR") || url, "/") <> "/" <> file
      Mix.shell().info("Fetching #{from}")

      with {:ok, data} <- get(from),
           {:sum, ^sum} <- {:sum, sum({:ok, data})} do
        # a cache that cannot be written to keeps nothing, which is no error
        write(at, data)
        {:ok, data}
      else
        {:sum, other} -> {:error, "#{from} has the checksum #{other}, and should have #{sum}: it is not used"}
        {:error, why} -> {:error, "#{from} #{why}. It is not in the cache either, #{cache}"}
      end
    end
  end

  def sum({:ok, data}), do: Base.encode16(:crypto.hash(:sha256, data), case: :lower)
  def sum({:error, _}), do: nil

  # A program may be running: it gets another file.
  defp write(to, data) do
    new = Path.join(Path.dirname(to), ".#{Path.basename(to)}.#{System.pid()}")

    with :ok <- File.mkdir_p(Path.dirname(to)), :ok <- File.write(new, data), :ok <- File.chmod(new, 0o755) do
      File.rename(new, to)
    end
  end

  # Without the option httpc asks for the system's certificates, which may have none, and fails.
  defp get("http://" <> _ = url), do: request(url, ssl: [])

  defp get("https://" <> _ = url) do
    match = :public_key.pkix_verify_hostname_match_fun(:https)

    with {:ok, trusted} <- trusted() do
      request(url, ssl: [trusted, verify: :verify_peer, customize_hostname_check: [match_fun: match]])
    end
  end

  defp get("file://" <> _ = url), do: get(URI.decode(Regex.replace(~r"^/(?=[A-Za-z]:)", URI.parse(url).path || "", "")))

  defp get(path) do
    with {:error, reason} <- File.read(path), do: {:error, "cannot be read (#{:file.format_error(reason)})"}
  end

  # The file is the one that Hex takes.
  defp trusted do
    if path = env("HEX_CACERTS_PATH"),
      do: {:ok, {:cacertfile, path}},
      else: {:ok, {:cacerts, :public_key.cacerts_get()}}
  rescue
    # another one in each OTP
    _ ->
      {:error,
       "cannot be verified, as this system has no certificates, and HEX_CACERTS_PATH does not name a file of them"}
  end

  defp request(url, options) do
    # A profile of our own, as the proxies are options of one. For a second program it is there already.
    :inets.start(:httpc, profile: :cnode)
    auth = proxies(url)
    options = [timeout: 600_000, connect_timeout: 10_000] ++ auth ++ options

    case :httpc.request(:get, {String.to_charlist(url), []}, options, [body_format: :binary], :cnode) do
      {:ok, {{_, 200, _}, _, data}} -> {:ok, data}
      {:ok, {{_, status, reason}, _, _}} -> {:error, "is not to be had: the server says #{status} #{reason}"}
      {:error, {:failed_connect, tried}} -> {:error, "cannot be reached (#{why(tried)})"}
      {:error, reason} -> {:error, "cannot be fetched (#{inspect(reason)})"}
    end
  end

  defp why(tried) do
    case List.last(tried) do
      {_, _, reason} when is_atom(reason) -> :inet.format_error(reason)
      {_, _, {:tls_alert, {_, text}}} -> text |> to_string() |> String.split() |> Enum.join(" ")
      _ -> inspect(tried)
    end
  end

  # As curl reads the variables. The answer is what the proxy wants to know of the user.
  defp proxies(url) do
    not_for =
      for name <- String.split(env("NO_PROXY") || env("no_proxy") || "", [",", " "], trim: true),
          name = String.trim_leading(name, "."),
          host <- if(name == "*", do: ["*"], else: [name, "*." <> name]),
          do: String.to_charlist(host)

    for {scheme, option} <- [{"http", :proxy}, {"https", :https_proxy}],
        proxy = env(String.upcase(scheme) <> "_PROXY") || env(scheme <> "_proxy"),
        uri = URI.parse(if(proxy =~ "://", do: proxy, else: "http://" <> proxy)),
        :ok = :httpc.set_options([{option, {{String.to_charlist(uri.host), uri.port}, not_for}}], :cnode),
        uri.userinfo != nil and String.starts_with?(url, scheme <> "://") do
      [user, password] = String.split(uri.userinfo <> ":", ":") |> Enum.take(2) |> Enum.map(&URI.decode/1)
      {:proxy_auth, {String.to_charlist(user), String.to_charlist(password)}}
    end
  end

  # An empty variable is none.
  defp env(name), do: if((value = System.get_env(name)) != "", do: value)
end
