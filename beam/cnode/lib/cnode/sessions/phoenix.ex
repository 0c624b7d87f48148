defmodule Cnode.Sessions.Phoenix do
  @moduledoc """
  Channels and LiveViews whose connections outlive the system, on the transport `Cnode.Sessions.Bandit`. One line in each
  socket's module:

      defmodule MyAppWeb.UserSocket do
        use Phoenix.Socket
        use Cnode.Sessions.Phoenix
        channel "room:*", MyAppWeb.RoomChannel
        ...

  LiveView's socket gets a module, which the endpoint names in place of `Phoenix.LiveView.Socket`:

      defmodule MyAppWeb.LiveSocket do
        use Phoenix.LiveView.Socket
        use Cnode.Sessions.Phoenix
      end

      socket "/live", MyAppWeb.LiveSocket, websocket: [connect_info: [session: @session_options]]

  In the next system `connect/3` is called again, with the request of then. If it refuses, the client gets a close. Processes
  of channels and LiveViews are new. To the client it looks as if the old ones had crashed: it gets `phx_error` for each
  topic, and joins again on the same connection. A message to a channel that comes before the client knows waits until
  then. A message is dealt with when `handle_in/3` of its channel has returned, so each is answered once.

  With `server: ["room:"]` channels whose topic begins so are joined here, with the client's own parameters, and the client
  notices nothing. That is for channels whose client needs no new answer to its join. It is never for LiveView.

  After a restart `rejoins` sockets in a second begin again, 500 if the application's environment does not say otherwise:
  `config :cnode, rejoins: 500`.
  """

  alias Cnode.Sessions.Bandit, as: Transport

  @compile {:no_warn_undefined, [Phoenix.Socket, Phoenix]}

  # messages of a socket that wait for joins, and milliseconds that its next frame waits for a channel
  @most_held 500
  @patience 1000

  defmacro __using__(options) do
    quote do
      @cnode_server Keyword.get(unquote(options), :server, [])
      defoverridable init: 1, handle_in: 2, handle_info: 2, drainer_spec: 1

      @doc false
      def init(state), do: Cnode.Sessions.Phoenix.__init__(state)

      @doc false
      def handle_in(message, state), do: Cnode.Sessions.Phoenix.__in__(message, state, @cnode_server)

      @doc false
      def handle_info(message, state), do: Cnode.Sessions.Phoenix.__info__(message, state)

      @doc false
      def drainer_spec(options) do
        with {Phoenix.Socket.PoolDrainer, argument} <- super(options), do: {Cnode.Sessions.Phoenix.Drainer, argument}
      end
    end
  end

  # Of a socket, in its process:
  #   joins    topic => {join_ref, frame of the join or nil}: what the client has joined
  #   pending  those of them that are not joined again yet
  #   held     messages to them, the last one first
  #   inverse  Phoenix's channels when they were last looked at
  #   waits    {reference, timer, channels} that have not said yet that they have dealt with a message
  #   deaf     channels that do not say it
  defstruct joins: %{}, pending: %{}, held: [], inverse: nil, waits: nil, deaf: %{}

  @doc false
  def __init__(state) do
    {:ok, state} = Phoenix.Socket.__init__(state)

    case Transport.resumed() do
      :no -> {:ok, state}
      nil -> fresh(state)
      <<2, saved::binary>> -> resumes(:erlang.binary_to_term(saved, [:safe]), state)
      # the socket was another kind's before the deploy
      _ -> {:stop, {:shutdown, :restart}, state}
    end
  end

  defp fresh(state) do
    save(%__MODULE__{})
    {:ok, state}
  end

  defp resumes({joins, held}, state) do
    save(%__MODULE__{joins: joins, pending: joins, held: held})
    turn = :cnode_sessions.turn(Application.get_env(:cnode, :rejoins, 500))

    cond do
      joins == %{} ->
        {:ok, state}

      # nothing is read before these channels are there again
      Enum.any?(joins, fn {_, {_, frame}} -> frame != nil end) ->
        Process.sleep(turn)
        rejoin(state)

      true ->
        Process.send_after(self(), {__MODULE__, :rejoin}, turn)
        {:ok, state}
    end
  end

  @doc false
  def __in__({payload, [opcode: opcode]} = message, state, server) do
    case get() do
      nil -> Phoenix.Socket.__in__(message, state)
      %{pending: pending} when pending == %{} -> deals(message, state, server)
      s -> if opcode == :text, do: late(s, payload, message, state, server), else: deals(message, state, server)
    end
  end

  # Until the client has joined again, what it has sent to its channels before it knew waits, and gets the new join_ref: else it
  # would be answered with an error. Not for LiveView, whose client does not expect answers from before.
  defp late(%{pending: pending, held: held} = s, payload, message, {_, socket} = state, server) do
    case socket.serializer.decode!(payload, opcode: :text) do
      %{event: "phx_leave", topic: topic} ->
        save(%{s | pending: Map.delete(pending, topic), inverse: nil})
        deals(message, state, server)

      %{event: event, topic: topic, join_ref: ref} = m
      when event != "phx_join" and is_map_key(pending, topic) and length(held) < @most_held ->
        if match?({^ref, _}, pending[topic]) and not String.starts_with?(topic, "lv") do
          save(%{s | held: [{topic, m.ref, event, m.payload} | held]})
          {:ok, state}
        else
          deals(message, state, server)
        end

      _ ->
        deals(message, state, server)
    end
  end

  defp deals({payload, _} = message, state, server) do
    result = Phoenix.Socket.__in__(message, state)

    case result do
      # it was sent to a channel
      {:ok, {%{channels: channels}, _}} when channels != %{} -> awaits(channels_of(payload, channels))
      _ -> :ok
    end

    joins? = :binary.match(payload, "\"phx_join\"") != :nomatch
    looks(result, joins? && payload, server)
    result
  end

  # Those that a message may be for: the topic of one in form 2.0.0 is easily found.
  defp channels_of(payload, channels) do
    with [_, topic] <- Regex.run(~r/^\[(?:null|"[^"]*"),(?:null|"[^"]*"),"([^"\\]*)"/, payload),
         %{^topic => channel} <- channels do
      [elem(channel, 0)]
    else
      _ -> for {_, channel} <- channels, do: elem(channel, 0)
    end
  end

  # The next frame, and what this one is answered, wait until the channels have dealt with it.
  defp awaits(channels) do
    s = get()
    channels = Enum.reject(channels, &is_map_key(s.deaf, &1))

    if channels != [] and Transport.hold() do
      ref = ask(channels)
      timer = Process.send_after(self(), {__MODULE__, :late, ref}, @patience)
      put(%{s | waits: {ref, timer, channels}})
    end
  end

  # A question that every process of OTP answers behind the messages that it has got before.
  defp ask(channels) do
    ref = make_ref()
    for channel <- channels, do: send(channel, {:system, {self(), {ref, channel}}, {:debug, {:log, :get}}})
    ref
  end

  @doc false
  def __info__({{ref, channel}, _}, state) when is_reference(ref) and is_pid(channel), do: answered(ref, channel, state)

  def __info__({__MODULE__, :late, ref}, state) do
    case get() do
      %{waits: {^ref, _, channels}} = s ->
        put(%{s | waits: nil, deaf: Map.merge(s.deaf, Map.from_keys(channels, true))})
        Transport.resumes(Transport.socket())

      _ ->
        :ok
    end

    {:ok, state}
  end

  def __info__({__MODULE__, :rejoin}, state), do: rejoin(state)
  def __info__({__MODULE__, :joined, topic, join_ref}, state), do: release(topic, join_ref, state)

  def __info__(:socket_drain, state) do
    if get(), do: {:ok, state}, else: Phoenix.Socket.__info__(:socket_drain, state)
  end

  def __info__(message, state) do
    case message do
      {:DOWN, _, _, channel, _} -> ended(channel)
      {:socket_close, channel, _} -> ended(channel)
      _ -> :ok
    end

    result = Phoenix.Socket.__info__(message, state)
    if get(), do: looks(result, false, [])
    result
  end

  defp answered(ref, channel, state) do
    case get() do
      %{waits: {^ref, timer, channels}} = s -> answered(s, ref, timer, List.delete(channels, channel))
      %{deaf: deaf} = s -> put(%{s | deaf: Map.delete(deaf, channel)})
      nil -> :ok
    end

    {:ok, state}
  end

  defp answered(s, _ref, timer, []) do
    Process.cancel_timer(timer)
    put(%{s | waits: nil})
    Transport.resumes(Transport.socket())
  end

  defp answered(s, ref, timer, channels), do: put(%{s | waits: {ref, timer, channels}})

  # of a channel that has ended there is no answer
  defp ended(channel) do
    case get() do
      %{waits: {ref, timer, channels}} = s -> answered(s, ref, timer, List.delete(channels, channel))
      _ -> :ok
    end
  end

  # The errors by which clients join again, and the joins that they need not make.
  defp rejoin(state) do
    {messages, state} =
      Enum.reduce(get().pending, {[], state}, fn {topic, {join_ref, frame}}, {messages, state} ->
        case frame && Phoenix.Socket.__in__({frame, opcode: :text}, state) do
          {:reply, :ok, _, state} -> {messages, state}
          {:reply, :error, _, state} -> {[error(state, topic, join_ref) | messages], state}
          nil -> {[error(state, topic, join_ref) | messages], state}
        end
      end)

    looks({:ok, state}, false, [])
    # what was refused here the client has to join itself
    put(%{get() | pending: Map.new(get().pending, fn {topic, {ref, _}} -> {topic, {ref, nil}} end)})
    if messages == [], do: {:ok, state}, else: {:push, messages, state}
  end

  defp error({_, socket}, topic, join_ref) do
    {:socket_push, opcode, payload} =
      socket.serializer.encode!(
        struct!(Phoenix.Socket.Message,
          topic: topic,
          event: "phx_error",
          ref: join_ref,
          join_ref: join_ref,
          payload: %{reason: "resumed"}
        )
      )

    {opcode, payload}
  end

  # The messages that have waited for a join are dealt with before anything else, as one step.
  defp release(topic, join_ref, {%{channels: channels}, _} = state) do
    {mine, others} = Enum.split_with(get().held, &(elem(&1, 0) == topic))

    {out, state} =
      mine
      |> Enum.reverse()
      |> Enum.reduce({[], state}, fn {_, ref, event, payload}, {out, state} ->
        text = Phoenix.json_library().encode!([join_ref, ref, topic, event, payload])

        case Phoenix.Socket.__in__({text, opcode: :text}, state) do
          {:ok, state} -> {out, state}
          {:push, more, state} -> {[more | out], state}
          {:reply, _, more, state} -> {[more | out], state}
        end
      end)

    with %{^topic => {channel, _, _}} <- channels do
      ref = {ask([channel]), channel}

      receive do
        {^ref, _} -> :ok
      after
        @patience -> :ok
      end
    end

    save(%{get() | held: others})
    out = Enum.reverse(out) ++ pushes()
    if out == [], do: {:ok, state}, else: {:push, out, state}
  end

  defp pushes do
    receive do
      {:socket_push, opcode, payload} -> [{opcode, payload} | pushes()]
    after
      0 -> []
    end
  end

  # The map of channels is private to Phoenix.Socket.
  defp looks(result, frame, server) do
    {%{channels_inverse: inverse}, _socket} = elem(result, tuple_size(result) - 1)
    s = get()

    unless :erts_debug.same(inverse, s.inverse) do
      now =
        for {_, {topic, join_ref}} <- inverse, into: %{} do
          case s.joins do
            %{^topic => {^join_ref, _} = same} -> {topic, same}
            _ -> {topic, {join_ref, if(frame && Enum.any?(server, &String.starts_with?(topic, &1)), do: frame)}}
          end
        end

      for {topic, {join_ref, _}} <- now,
          is_map_key(s.pending, topic),
          List.keymember?(s.held, topic, 0),
          do: send(self(), {__MODULE__, :joined, topic, join_ref})

      pending = Map.drop(s.pending, Map.keys(now))
      save(%{s | inverse: inverse, pending: pending, joins: Map.merge(pending, now)})
    end
  end

  defp save(s) do
    was = get()

    if was == nil or {was.joins, was.held} != {s.joins, s.held},
      do: Transport.keep(<<2, :erlang.term_to_binary({s.joins, s.held})::binary>>)

    put(s)
  end

  defp put(s), do: Process.put(__MODULE__, s)
  defp get, do: Process.get(__MODULE__)
end

defmodule Cnode.Sessions.Phoenix.Drainer do
  @moduledoc false
  # Phoenix's, which has nothing to do where sockets go on in another system.

  @compile {:no_warn_undefined, Phoenix.Socket.PoolDrainer}

  def child_spec(argument),
    do: Map.put(Phoenix.Socket.PoolDrainer.child_spec(argument), :start, {__MODULE__, :start_link, [argument]})

  def start_link(argument), do: GenServer.start_link(__MODULE__, argument)
  defdelegate init(argument), to: Phoenix.Socket.PoolDrainer

  def terminate(reason, state) do
    http = elem(state, 0).config(:http)

    unless is_list(http) and get_in(http, [:thousand_island_options, :transport_module]) == Cnode.Sessions.Bandit,
      do: Phoenix.Socket.PoolDrainer.terminate(reason, state)
  end
end
