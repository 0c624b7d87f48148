defmodule Cnode.Sessions.Bandit do
  @moduledoc """
  A transport of Thousand Island for Bandit, and so for Phoenix, whose WebSockets outlive the system, too.

      config :my_app, MyAppWeb.Endpoint,
        adapter: Bandit.PhoenixAdapter,
        http: [thousand_island_options: [
          transport_module: Cnode.Sessions.Bandit,
          handler_module: Cnode.Sessions.Bandit.Handler,
          transport_options: [front: "/run/app/front.sock"]]]

  A WebSocket moves if its handler says how the next process goes on: see `Cnode.Sessions.Phoenix` and
  `Cnode.Sessions.WebSock`. Other WebSockets are closed or reset. HTTP/1.1 moves as with `Cnode.Sessions.ThousandIsland`,
  HTTP/2 does not move.

  The next process gets the request again that the client has made, so your plugs run again, and may refuse it. The client
  then gets a close with code 1008. A message is taken when it has been dealt with and what was written meanwhile is out.

  Compression is without context takeover, since a dictionary would be lost. Beside `:front` the options `:name` and `:uids`
  of `:cnode_sessions.start_link/1` are taken.
  """

  # Thousand Island's behaviour is not named here: this package compiles without Thousand Island.

  import Kernel, except: [send: 2]
  alias Cnode.Sessions.ThousandIsland

  @compile {:no_warn_undefined, Bandit.Headers}

  @ours [:front, :name, :uids]
  @mark "CW1"
  # milliseconds that a client may read nothing, and between looks whether the system stops
  @send_timeout 30_000
  @glance 200
  # bytes of a request that is kept, of a frame that is given to Bandit as a whole, and of a read of a large one
  @longest_request 32_768
  @largest_frame 1_048_576
  @read 65_536
  @usual_read 8192

  # Of a connection, in its process. Bandit clears the process's dictionary between requests: then request is :lost.
  #   mode      http; raw: no point any more; waits: for a handler that keeps it; replays the request of the process before;
  #             ws; refused
  #   request   as it came; feed: what is to be read again
  #   consumed  (of the client's bytes, as the front counts) and written, while the connection is a WebSocket
  #   buffer    taken, and no whole frame; seen: how many bytes behind it were looked at
  #   frame     {size, kind} of the one that Bandit deals with; {0, :control} for what it does by itself
  #   left      bytes of a frame, too large to be kept, that are still to come
  #   fragments of a message that is not whole; out: what Bandit has written meanwhile
  #   head      what the states for the next process begin with: the request
  #   given     whether Bandit has the frame, or a message with it is on its way; held: see hold/0
  #   app       the handler's state for the next process; resumed: that of the process before
  defstruct mode: :http,
            request: "",
            feed: "",
            consumed: 0,
            written: 0,
            buffer: "",
            seen: 0,
            frame: nil,
            left: 0,
            fragments: "",
            out: [],
            head: "",
            app: nil,
            resumed: nil,
            held: false,
            given: true

  ## Of Thousand Island

  @doc false
  def listen(port, options) do
    options = Enum.filter(options, &is_tuple/1)
    local = ThousandIsland.local(options[:ip], port)
    options = options |> Keyword.take(@ours) |> Map.new()
    options = Map.merge(options, %{adopt: :socket, points: :idle, local: local})

    # Bandit makes a persistent term at the first use: all connections that come at once would make
    # it, and for each that replaces another one the system looks through all processes
    if Code.ensure_loaded?(Bandit.Headers) and function_exported?(Bandit.Headers, :field_value_valid?, 1),
      do: Bandit.Headers.field_value_valid?("")

    with {:ok, handle} <- :cnode_sessions.listen(options), do: {:ok, {__MODULE__, handle, local}}
  end

  @doc false
  defdelegate accept(listener), to: ThousandIsland

  @doc false
  def handshake(socket, _timeout \\ :infinity) do
    :cnode_sessions_http.waits()
    {:ok, %{state: state, read: first}} = :cnode_sessions.info(socket)

    case state do
      <<@mark, n::32, request::binary-size(n), u::32, unsent::binary-size(u), app::binary>> ->
        put(%__MODULE__{mode: :replays, request: request, feed: request, buffer: first, out: unsent, app: app})

      _ ->
        if first != "", do: :cnode_sessions_http.came(first)
        put(%__MODULE__{request: first, feed: first})
    end

    {:ok, socket}
  end

  @doc false
  defdelegate upgrade(socket, options), to: ThousandIsland

  @doc false
  def controlling_process(socket, pid), do: :socket.setopt(socket, {:otp, :controlling_process}, pid)

  @doc false
  def recv(socket, length, timeout), do: recv(get(), socket, length, timeout)

  defp recv(%{feed: "", mode: mode} = s, socket, length, timeout) when mode in [:http, :raw] do
    case :socket.recv(socket, length, [], timeout) do
      {:ok, data} ->
        # HTTP/2 begins with these three, which are no method of HTTP/1
        if match?("PRI" <> _, data), do: :cnode_sessions.stay(socket)
        {:ok, took(s, socket, data)}

      {:error, {reason, part}} ->
        part = took(s, socket, part)
        put(%{get() | feed: part})
        {:error, reason}

      {:error, reason} ->
        {:error, reason}
    end
  end

  defp recv(%{feed: ""}, _socket, _length, _timeout), do: {:error, :closed}

  defp recv(%{feed: feed} = s, socket, length, timeout) do
    if length > 0 and length <= byte_size(feed) do
      put(%{s | feed: binary_part(feed, length, byte_size(feed) - length)})
      {:ok, binary_part(feed, 0, length)}
    else
      put(%{s | feed: ""})
      more(feed, socket, length, timeout)
    end
  end

  defp more(feed, _socket, 0, _timeout), do: {:ok, no_context(feed)}

  defp more(feed, socket, length, timeout) do
    with {:ok, rest} <- recv(get(), socket, length - byte_size(feed), timeout), do: {:ok, feed <> rest}
  end

  # Bytes that are Bandit's from now on, and that the front counts as taken.
  defp took(s, socket, data) do
    {:ok, consumed, written} = :cnode_sessions.counts(socket)
    :cnode_sessions.counts(socket, consumed + byte_size(data), written)
    :cnode_sessions_http.came(data)

    request =
      if s.request == :lost or byte_size(s.request) + byte_size(data) > @longest_request,
        do: :lost,
        else: s.request <> data

    put(%{s | request: request})
    no_context(data)
  end

  # A compression that begins anew with each message has no state that could be lost.
  defp no_context(data) do
    if data =~ "permessage-deflate" do
      Regex.replace(
        ~r/^(sec-websocket-extensions:)[^\r\n]*permessage-deflate[^\r\n]*\r\n/mi,
        data,
        "\\1 permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
      )
    else
      data
    end
  end

  @doc false
  def send(socket, data), do: sends(get(), socket, data)

  # of a frame that is too large: nobody else can go on before its end
  defp sends(%{mode: :ws, left: left} = s, socket, data) when left > 0 do
    put(writes(s, socket, IO.iodata_to_binary(data)))
    :ok
  end

  defp sends(%{mode: :ws, out: out} = s, socket, data) do
    goodbye = Process.get(:cnode_sessions_stops, false) and match?(<<0x88, _::binary>>, IO.iodata_to_binary(data))
    unless goodbye, do: put(%{s | out: [out | data]})
    if s.frame == nil and not goodbye, do: flush(socket), else: :ok
  end

  defp sends(%{mode: :replays} = s, socket, data) do
    case first(data, 12) do
      "HTTP/1.1 101" -> put(%{s | mode: :waits, resumed: s.app, feed: ""}) && :ok
      _ -> refuse(s, socket, 1008)
    end
  end

  # one that does not keep its connections, where the one before has left something for it
  defp sends(%{mode: :waits, resumed: resumed} = s, socket, _data) when resumed != nil, do: refuse(s, socket, 1012)
  defp sends(%{mode: :waits} = s, _socket, data), do: put(%{s | out: [s.out | data]}) && :ok
  defp sends(%{mode: :refused}, _socket, _data), do: {:error, :closed}

  defp sends(s, socket, data) do
    if first(data, 12) == "HTTP/1.1 101" do
      :cnode_sessions.stay(socket)
      data = IO.iodata_to_binary(data)

      if can_be_kept?(s, data),
        do: put(%{s | mode: :waits, out: data}) && :ok,
        else: plainly(%{s | mode: :raw}, socket, data)
    else
      if s.mode == :http,
        do: :cnode_sessions_http.sends(:erlang.iolist_to_iovec(data), &:cnode_sessions.idle(socket, &1))

      plainly(s, socket, data)
    end
  end

  # It goes out together with the first point.
  defp can_be_kept?(s, response) do
    response = String.downcase(response)

    s.request != :lost and response =~ "upgrade: websocket" and
      (not (response =~ "permessage-deflate") or
         (response =~ "server_no_context_takeover" and response =~ "client_no_context_takeover"))
  end

  defp plainly(s, socket, data) do
    put(s)
    :cnode_sessions.send(socket, data)
  end

  defp refuse(s, socket, code) do
    :cnode_sessions.no_point(socket)
    put(%{s | mode: :refused})
    _ = :cnode_sessions.send(socket, <<0x88, 2, code::16>>)
    {:error, :closed}
  end

  defp first(data, count) when is_binary(data), do: binary_part(data, 0, min(count, byte_size(data)))

  defp first(data, count),
    do: data |> :erlang.iolist_to_iovec() |> Enum.take(3) |> IO.iodata_to_binary() |> first(count)

  @doc false
  defdelegate sendfile(socket, filename, offset, length), to: ThousandIsland

  @doc false
  def getopts(_socket, _options), do: {:ok, []}

  @doc false
  def setopts(socket, options) do
    if {:active, :once} in options, do: asks(socket, next(get(), socket))
    :ok
  end

  @doc false
  # What was held is dealt with now: goes on as if Bandit had asked for the next frame.
  def resumes(socket) do
    s = get()

    if s.held do
      put(%{s | held: false})
      asks(socket, next(get(), socket))
    end
  end

  defp asks(_socket, :nothing), do: :ok

  defp asks(socket, {:data, data}) do
    put(%{get() | given: false})
    Kernel.send(self(), {:tcp, socket, data})
  end

  defp asks(socket, :closed), do: Kernel.send(self(), {:tcp_closed, socket})

  @doc false
  def given, do: put(%{get() | given: true})

  @doc false
  def shutdown(socket, how) do
    flush(socket)
    :cnode_sessions.shutdown(socket, how)
  end

  @doc false
  # the listener is closed first, and the connections end later
  def close({__MODULE__, handle, _}), do: :cnode_sessions.retire(handle)

  def close(socket) do
    flush(socket)
    :cnode_sessions.close(socket)
  end

  @doc false
  defdelegate sockname(socket), to: ThousandIsland

  @doc false
  defdelegate peername(socket), to: ThousandIsland

  @doc false
  defdelegate peercert(socket), to: ThousandIsland

  @doc false
  defdelegate secure?(), to: ThousandIsland

  @doc false
  def getstat(socket) do
    with %{mode: :ws} = s <- get(), do: :cnode_sessions.counts(socket, s.consumed, s.written)

    with {:ok, consumed, written} <- :cnode_sessions.counts(socket),
         do: {:ok, recv_oct: consumed, recv_cnt: 0, send_oct: written, send_cnt: 0}
  end

  @doc false
  defdelegate negotiated_protocol(socket), to: ThousandIsland

  @doc false
  defdelegate connection_information(socket), to: ThousandIsland

  ## What Bandit gets next

  # It has dealt with what it got before.
  defp next(%{mode: mode, feed: ""} = s, socket) when mode in [:http, :raw] do
    if mode == :http and :cnode_sessions.idle(socket) == :ok do
      :cnode_sessions_http.waits()
      put(%{s | request: ""})
    end

    ready(socket)
  end

  defp next(%{mode: mode, feed: feed} = s, _socket) when mode in [:http, :raw] do
    put(%{s | feed: ""})
    {:data, no_context(feed)}
  end

  # nobody has said that it is to be kept
  defp next(%{mode: :waits, resumed: nil} = s, socket) do
    _ = plainly(%{s | mode: :raw, out: []}, socket, s.out)
    ready(socket)
  end

  defp next(%{mode: :waits} = s, socket) do
    _ = refuse(s, socket, 1012)
    :closed
  end

  defp next(%{mode: :ws, held: true}, _socket), do: :nothing
  defp next(%{mode: :ws, left: left} = s, socket) when left > 0, do: part(s, socket)

  defp next(%{mode: :ws} = s, socket) do
    case finish(s, socket) do
      %{mode: :refused} -> :closed
      s -> whole(s, s.buffer, 0, socket)
    end
  end

  defp next(_, _socket), do: :closed

  @doc false
  # What there is, if Bandit waits for something.
  def ready(socket) do
    case get() do
      %{mode: :ws, frame: nil} = s -> looks(s, socket)
      %{mode: :ws, left: left} = s when left > 0 -> part(s, socket)
      %{mode: :ws} -> :nothing
      %{mode: mode} = s when mode in [:http, :raw] -> takes(s, socket)
      _ -> :nothing
    end
  end

  defp takes(s, socket) do
    case :socket.recv(socket, 0, [], :nowait) do
      {:ok, data} -> {:data, took(s, socket, data)}
      {:select, _} -> :nothing
      {:error, _} -> :closed
    end
  end

  defp looks(s, socket) do
    case :socket.recv(socket, 0, [:peek], :nowait) do
      {:ok, seen} -> whole(s, s.buffer <> seen, byte_size(seen), socket)
      {:select, _} -> :nothing
      {:error, _} -> :closed
    end
  end

  # The first frame of all that there is, seen bytes of which are not taken yet.
  defp whole(s, all, seen, socket) do
    case frame(all) do
      {size, kind} when size <= byte_size(all) ->
        if size > @usual_read, do: :socket.setopt(socket, {:otp, :rcvbuf}, @usual_read)
        put(%{s | frame: {size, kind}, seen: seen})
        {:data, binary_part(all, 0, size)}

      {size, kind} when size > @largest_frame ->
        _ = :cnode_sessions.no_point(socket)
        s = taken(s, socket, seen)
        put(%{s | frame: {0, kind}, left: size - byte_size(all), buffer: "", fragments: :lost})
        {:data, all}

      # Bandit says what is wrong with it; from here on there is no point
      :invalid ->
        _ = :cnode_sessions.no_point(socket)
        s = taken(s, socket, seen)
        put(%{s | mode: :raw, buffer: ""})
        {:data, all}

      _ when seen == 0 ->
        put(s)
        looks(s, socket)

      # so that the rest of it can come
      _ ->
        if byte_size(all) >= @usual_read, do: :socket.setopt(socket, {:otp, :rcvbuf}, @read)
        _ = tell(s, s.consumed + seen, s.written, s.fragments, all, "")
        s = %{taken(s, socket, seen) | buffer: all}
        put(s)
        looks(s, socket)
    end
  end

  # The next part of a frame that is too large.
  defp part(s, socket) do
    case :socket.recv(socket, 0, [:peek], :nowait) do
      {:ok, seen} ->
        size = min(byte_size(seen), s.left)
        put(%{taken(s, socket, size) | left: s.left - size})
        {:data, binary_part(seen, 0, size)}

      {:select, _} ->
        :nothing

      {:error, _} ->
        :closed
    end
  end

  defp taken(s, _socket, 0), do: %{s | seen: 0}

  defp taken(s, socket, bytes) do
    _ = :socket.recv(socket, bytes)
    %{s | seen: 0, consumed: s.consumed + bytes}
  end

  # The frame that Bandit had is dealt with, and out is its answer: point, answer, and then the frame is taken.
  defp finish(%{frame: nil, out: []} = s, _socket), do: s

  defp finish(s, socket) do
    {size, kind} = s.frame || {0, :control}
    all = if s.seen > 0, do: s.buffer <> peeked(socket, s.seen), else: s.buffer
    {here, rest} = {binary_part(all, 0, size), binary_part(all, size, byte_size(all) - size)}

    fragments =
      case {kind, s.fragments} do
        {:ends, _} -> ""
        {:begins, begun} when is_binary(begun) and byte_size(begun) <= @largest_frame -> begun <> here
        {:begins, _} -> :lost
        {:control, begun} -> begun
      end

    seen = s.seen
    data = IO.iodata_to_binary(s.out)
    s = %{s | frame: nil, out: [], fragments: fragments, buffer: rest, seen: 0}
    s = write(%{s | consumed: s.consumed + seen}, socket, data)
    if seen > 0, do: _ = :socket.recv(socket, seen)
    put(s)
  end

  defp peeked(socket, bytes) do
    {:ok, data} = :socket.recv(socket, bytes, [:peek], 0)
    data
  end

  defp flush(socket) do
    stops? = Process.get(:cnode_sessions_stops, false)

    case get() do
      # the next process deals with the frame
      %{mode: :ws, held: held, given: given} when stops? and (held or not given) -> :ok
      %{mode: :ws} = s -> if match?(%{mode: :refused}, finish(s, socket)), do: {:error, :closed}, else: :ok
      %{mode: :waits, resumed: nil, out: [_ | _] = out} = s -> plainly(%{s | mode: :raw, out: []}, socket, out)
      _ -> :ok
    end
  end

  @doc false
  # Size and kind of the first frame: :begins if its message goes on behind it.
  def frame(<<_::8, 1::1, 127::7, n::64, _::binary>> = all), do: {n + 14, kind(all)}
  def frame(<<_::8, 1::1, 126::7, n::16, _::binary>> = all), do: {n + 8, kind(all)}
  def frame(<<_::8, 1::1, n::7, _::binary>> = all) when n < 126, do: {n + 6, kind(all)}
  def frame(<<_::8, 0::1, _::7, _::binary>>), do: :invalid
  def frame(_), do: :more

  defp kind(<<_::4, 1::1, _::3, _::binary>>), do: :control
  defp kind(<<0::1, _::7, _::binary>>), do: :begins
  defp kind(_), do: :ends

  ## What Bandit has written

  defp write(s, socket, data) do
    _ = tell(s, s.consumed, s.written + byte_size(data), s.fragments, s.buffer, "")
    writes(s, socket, data)
  end

  defp writes(s, _socket, ""), do: s

  defp writes(s, socket, data) do
    case :socket.send(socket, data, [], :nowait) do
      :ok -> %{s | written: s.written + byte_size(data)}
      {:ok, left} -> writes(unsent(s, data, left), socket, left)
      {:select, {{:select_info, _, ref}, left}} -> data |> then(&unsent(s, &1, left)) |> again(socket, left, ref)
      {:select, {:select_info, _, ref}} -> s |> unsent(data, data) |> again(socket, data, ref)
      {:error, _} -> %{s | mode: :refused}
    end
  end

  # What the kernel does not take at once is the next process's to write.
  defp unsent(s, data, left) do
    s = %{s | written: s.written + byte_size(data) - byte_size(left)}
    _ = tell(s, s.consumed, s.written, s.fragments, s.buffer, left)
    s
  end

  defp again(s, socket, left, ref, patience \\ @send_timeout) do
    receive do
      {:"$socket", ^socket, :select, ^ref} -> write(s, socket, left)
      {:"$socket", ^socket, :abort, {^ref, _}} -> %{s | mode: :refused}
    after
      @glance ->
        # the system that is next goes on with it
        if patience < @glance or :cnode_sessions.leaves(socket),
          do: %{s | mode: :refused},
          else: again(s, socket, left, ref, patience - @glance)
    end
  end

  defp tell(%{fragments: :lost}, _, _, _, _, _), do: {:error, :emsgsize}
  defp tell(%{app: :none}, _, _, _, _, _), do: {:error, :no_point}

  defp tell(s, consumed, written, fragments, rest, unsent) do
    state = <<byte_size(unsent)::32, unsent::binary, s.app::binary>>
    :cnode_sessions.tells(socket(), consumed, written, fragments <> rest, s.head, state)
  end

  ## For handlers

  @doc false
  # Called first by a handler that keeps its connections: what the process before has left, or nil. :no: it cannot be kept.
  def resumed do
    case Process.get(__MODULE__) do
      %{mode: :waits} = s -> s.resumed
      _ -> :no
    end
  end

  @doc false
  # From now on the connection is kept, with this for the next process; :none: not from here.
  def keep(app) do
    case Process.get(__MODULE__) do
      %{mode: :waits} = s ->
        {:ok, consumed, written} = :cnode_sessions.counts(socket())
        head = <<@mark, byte_size(s.request)::32, s.request::binary>>
        s = %{s | mode: :ws, app: app, head: head, resumed: nil, frame: {0, :control}}
        put(%{s | consumed: consumed, written: written})

      %{mode: :ws} = s ->
        if app == :none and s.app != :none, do: :cnode_sessions.no_point(socket())
        put(%{s | app: app})

      _ ->
        :ok
    end
  end

  @doc false
  # Bandit gets no other frame, and what it writes stays here, until resumes/1.
  def hold do
    case Process.get(__MODULE__) do
      %{mode: :ws, frame: {size, _}} = s when size > 0 -> put(%{s | held: true}) && true
      _ -> false
    end
  end

  @doc false
  # Bandit begins with something that is no frame: what it writes goes out together, with one point.
  def begins do
    case Process.get(__MODULE__) do
      %{mode: :ws, frame: nil} = s -> put(%{s | frame: {0, :control}})
      _ -> nil
    end
  end

  @doc false
  def ends(socket, app) do
    case Process.get(__MODULE__) do
      %{mode: :ws, frame: {0, :control}, left: 0, out: [], app: ^app} = s -> put(%{s | frame: nil})
      %{mode: :ws, frame: {0, :control}, left: 0} = s -> finish(s, socket)
      _ -> :ok
    end
  end

  @doc false
  def socket, do: Process.get(:cnode_sessions_socket)

  defp put(s) do
    Process.put(__MODULE__, s)
    s
  end

  defp get, do: Process.get(__MODULE__) || %__MODULE__{request: :lost}
end

defmodule Cnode.Sessions.Bandit.Handler do
  @moduledoc """
  Bandit's handler of connections, which also hears of input that a socket of `:socket` has: the option `:handler_module`
  beside the transport `Cnode.Sessions.Bandit`.
  """

  alias Cnode.Sessions.Bandit, as: Transport

  @compile {:no_warn_undefined, Bandit.DelegatingHandler}

  @doc false
  def child_spec(arg), do: %{id: __MODULE__, start: {__MODULE__, :start_link, [arg]}, restart: :temporary}

  @doc false
  def start_link({options, genserver}), do: GenServer.start_link(__MODULE__, options, genserver)

  @doc false
  defdelegate init(options), to: Bandit.DelegatingHandler

  @doc false
  defdelegate handle_call(message, from, state), to: Bandit.DelegatingHandler

  @doc false
  defdelegate handle_cast(message, state), to: Bandit.DelegatingHandler

  @doc false
  def handle_continue(continue, {%{socket: socket}, _} = state) do
    Process.put(:cnode_sessions_socket, socket)
    Bandit.DelegatingHandler.handle_continue(continue, state)
  end

  @doc false
  def handle_info({:"$socket", socket, :select, _}, {%{socket: socket}, _} = state) do
    case Transport.ready(socket) do
      {:data, data} -> Bandit.DelegatingHandler.handle_info({:tcp, socket, data}, state)
      :closed -> Bandit.DelegatingHandler.handle_info({:tcp_closed, socket}, state)
      :nothing -> {:noreply, state}
    end
  end

  def handle_info({:"$socket", _, _, _}, state), do: {:noreply, state}

  # also called in a process whose Bandit has cleared the dictionary
  def handle_info({:tcp, socket, _} = message, state) do
    Process.put(:cnode_sessions_socket, socket)
    Transport.given()
    Bandit.DelegatingHandler.handle_info(message, state)
  end

  def handle_info(message, {%{socket: socket}, _} = state) do
    case Transport.begins() do
      nil ->
        Bandit.DelegatingHandler.handle_info(message, state)

      %{app: app} ->
        result = Bandit.DelegatingHandler.handle_info(message, state)
        Transport.ends(socket, app)
        result
    end
  end

  def handle_info(message, state), do: Bandit.DelegatingHandler.handle_info(message, state)

  @doc false
  # the goodbye to a client that goes on with the next process is not sent
  def terminate(:shutdown, {%{socket: socket}, _} = state) do
    Process.put(:cnode_sessions_stops, :cnode_sessions.leaves(socket))
    Bandit.DelegatingHandler.terminate(:shutdown, state)
  end

  def terminate(reason, state), do: Bandit.DelegatingHandler.terminate(reason, state)
end
