defmodule Cnode.Sessions.ThousandIsland do
  @moduledoc """
  A transport of Thousand Island whose connections come from a front, for Bandit and so for Phoenix.

  ## What moves, and what cannot

  With `points: :idle` a connection that waits for its next request goes on in another process, whenever this system is
  killed or restarted. That is right for HTTP/1.1, as Bandit serves it, where the point is told with the last bytes of a
  response. It is right for each handler, too, that has neither unfinished input nor state when it returns
  `{:continue, state}`. It is wrong for any other handler: leave the option out there, and only connections that have sent
  nothing move. Such a handler tells its points itself, by `Cnode.Sessions.received/2` and `Cnode.Sessions.answer/4`.

  HTTP/2 and WebSocket cannot move: for WebSockets see `Cnode.Sessions.Bandit`. The transport knows them by their first bytes
  and by the response with status 101, and tells no points for them. TLS that ends in this system cannot move either: let the front end it.

  ## Bandit

      {Bandit, plug: MyApp.Plug, thousand_island_options: [
        transport_module: Cnode.Sessions.ThousandIsland,
        transport_options: [front: "/run/app/front.sock", points: :idle]]}

  ## Phoenix

      config :my_app, MyAppWeb.Endpoint,
        adapter: Bandit.PhoenixAdapter,
        http: [thousand_island_options: [
          transport_module: Cnode.Sessions.ThousandIsland,
          transport_options: [front: "/run/app/front.sock", points: :idle]]]

  Beside `:front` (or `:plain` or `:listen`) and `:points`, the options `:name` and `:uids` of `:cnode_sessions.start_link/1`
  are taken; others are options of `:gen_tcp`. The port and `:ip` are only what `ThousandIsland.listener_info/1` says.
  """

  # Thousand Island's behaviour is not named here: this package compiles without Thousand Island.

  @compile {:no_warn_undefined, :telemetry}
  @ours [:front, :plain, :listen, :name, :uids, :points]
  @listeners [:ip, :backlog, :reuseaddr, :reuseport, :fd, :ifaddr, :ipv6_v6only, :mode, :active]

  @doc false
  def listen(port, options) do
    # what is no pair, such as :inet6, is about the listener
    options = Enum.filter(options, &is_tuple/1)
    {ours, others} = Enum.split_with(options, &(elem(&1, 0) in @ours))
    others = Enum.reject(others, &(elem(&1, 0) in @listeners))
    defaults = [nodelay: true, send_timeout: 30_000, send_timeout_close: true]
    defaults = Enum.reject(defaults, fn {key, _} -> List.keymember?(others, key, 0) end)
    local = local(options[:ip], port)
    options = ours |> Map.new() |> Map.merge(%{socket_opts: defaults ++ others, local: local})

    # what a handler gets as a message does not pass through here, but Thousand Island tells of it
    if Process.whereis(:telemetry_handler_table),
      do: :telemetry.attach(__MODULE__, [:thousand_island, :connection, :async_recv], &__MODULE__.came/4, nil)

    with {:ok, handle} <- :cnode_sessions.listen(options) do
      {:ok, {__MODULE__, handle, local}}
    end
  end

  @doc false
  def came(_event, %{data: data}, _metadata, _config), do: :cnode_sessions_http.came(data)

  # What a listener is called, whoever's it is: Cnode.Sessions.Bandit has what does not depend on the sockets from here.
  @doc false
  def local({:local, path}, _port), do: {:local, path}
  def local(:loopback, port), do: {{127, 0, 0, 1}, port}
  def local(any, port) when any in [nil, :any], do: {{0, 0, 0, 0}, port}
  def local(ip, port), do: {ip, port}

  @doc false
  def accept({_, handle, _}), do: :cnode_sessions.accept(handle, :infinity)

  @doc false
  def handshake(socket, _timeout \\ :infinity) do
    :cnode_sessions_http.waits()
    {:ok, socket}
  end

  @doc false
  def upgrade(_socket, _options), do: {:error, :unsupported_upgrade}

  @doc false
  defdelegate controlling_process(socket, pid), to: :gen_tcp

  @doc false
  def recv(socket, length, timeout) do
    case :gen_tcp.recv(socket, length, timeout) do
      # HTTP/2 begins with these three, which are no method of HTTP/1
      {:ok, "PRI" <> _} = result ->
        :cnode_sessions.stay(socket)
        result

      {:ok, data} = result ->
        :cnode_sessions_http.came(data)
        result

      result ->
        result
    end
  end

  @doc false
  def send(socket, data) do
    if switching?(data), do: :cnode_sessions.stay(socket)
    :cnode_sessions_http.send(socket, data, &:cnode_sessions.idle(socket, &1))
  end

  # Whether a response says 101: from then on it is another protocol's connection.
  defp switching?(data) do
    case first(data, 12, "") do
      "HTTP/1.1 101" -> true
      _ -> false
    end
  end

  defp first(_data, 0, found), do: found

  defp first(data, count, found) when is_binary(data),
    do: found <> binary_part(data, 0, min(count, byte_size(data)))

  defp first([head | tail], count, found) when is_integer(head),
    do: first(tail, count - 1, found <> <<head>>)

  defp first([head | tail], count, found) do
    part = first(head, count, "")
    first(tail, count - byte_size(part), found <> part)
  end

  defp first([], _count, found), do: found

  @doc false
  def sendfile(socket, filename, offset, length) do
    :cnode_sessions_http.sends_file(length, &:cnode_sessions.idle(socket, &1))

    with {:ok, file} <- :file.open(filename, [:read, :raw, :binary]) do
      try do
        :cnode_sessions.sendfile(socket, file, offset, length, [])
      after
        :file.close(file)
      end
    end
  end

  @doc false
  defdelegate getopts(socket, options), to: :inet

  @doc false
  def setopts(socket, options) do
    # the handler waits for what comes next; without the option points: :idle this does nothing
    if {:active, :once} in options and :cnode_sessions.idle(socket) != {:error, :no_point},
      do: :cnode_sessions_http.waits()

    :inet.setopts(socket, options)
  end

  @doc false
  defdelegate shutdown(socket, way), to: :cnode_sessions

  @doc false
  # the listener is closed first, and the connections end later
  def close({__MODULE__, handle, _}), do: :cnode_sessions.retire(handle)
  def close(socket), do: :cnode_sessions.close(socket)

  @doc false
  def sockname({_, _, local}), do: {:ok, local}

  def sockname(socket) do
    with {:ok, info} <- :cnode_sessions.info(socket), do: {:ok, info.local}
  end

  @doc false
  def peername(socket) do
    with {:ok, info} <- :cnode_sessions.info(socket), do: {:ok, info.remote}
  end

  @doc false
  def peercert(_socket), do: {:error, :not_secure}

  @doc false
  def secure?, do: false

  @doc false
  defdelegate getstat(socket), to: :inet

  @doc false
  def negotiated_protocol(_socket), do: {:error, :protocol_not_negotiated}

  @doc false
  def connection_information(_socket), do: {:error, :not_secure}
end
