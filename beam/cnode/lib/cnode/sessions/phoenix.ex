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
  then. A message is dealt with when `handle_in/3` of its channel has returned, so each is answered once. Of a channel that is
  behind, 500 messages of a socket, or 256 KiB, are kept so.

  With `server: ["room:"]` channels whose topic begins so are joined here, with the client's own parameters, and the client
  notices nothing. That is for channels whose client needs no new answer to its join. It is never for LiveView.

  After a restart `rejoins` sockets in a second begin again, 500 if the application's environment does not say otherwise:
  `config :cnode, rejoins: 500`.
  """

  alias Cnode.Sessions.Bandit, as: Transport

  @compile {:no_warn_undefined, [Phoenix.Socket, Phoenix]}

  # messages of a socket that the next process may have to deal with, their bytes, and milliseconds
  # that a socket's next frame waits for a channel
  @most_kept 500
  @most_bytes 262_144
  @patience 200

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
  #   held     messages to them, {topic, ref, encoded}, the last one first
  #   inverse  Phoenix's channels when they were last looked at
  #   waits    {reference, timer, channel, frame, pushes}: for a channel that has not said yet that it
  #            has dealt with a frame, and what was written meanwhile
  #   slow     {reference, channel, message} that are not waited for any more, the last one first;
  #            message is nil if it is not kept
  defstruct joins: %{}, pending: %{}, held: [], inverse: nil, waits: nil, slow: []

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
    held =
      for encoded <- held, {topic, ref, _, _} <- [:erlang.binary_to_term(encoded, [:safe])], do: {topic, ref, encoded}

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
  def __in__(message, state, server) do
    case get() do
      nil -> Phoenix.Socket.__in__(message, state)
      %{pending: pending} when pending == %{} -> deals(message, state, server)
      s -> late(s, decodes(message, state), message, state, server)
    end
  end

  # Until the client has joined again, what it has sent to its channels before it knew waits, and gets the new join_ref: else it
  # would be answered with an error. Not for LiveView, whose client does not expect answers from before.
  defp late(%{pending: pending, held: held} = s, %{topic: topic, join_ref: ref} = m, message, state, server) do
    case {m.event, pending} do
      {"phx_leave", _} ->
        save(%{s | pending: Map.delete(pending, topic), held: Enum.reject(held, &(elem(&1, 0) == topic)), inverse: nil})
        deals(message, state, server)

      {event, %{^topic => {^ref, _}}} when event != "phx_join" ->
        case keeps(s, m) do
          nil ->
            deals(message, state, server)

          kept ->
            save(%{s | held: [kept | held]})
            {:ok, state}
        end

      _ ->
        deals(message, state, server)
    end
  end

  defp deals({payload, _} = frame, state, server) do
    result = Phoenix.Socket.__in__(frame, state)

    # it was sent to a channel
    with {:ok, {%{channels: channels}, _} = state} when channels != %{} <- result,
         %{topic: topic} = head(frame) || decodes(frame, state),
         %{^topic => {channel, _, _}} <- channels,
         do: awaits(channel, frame, state)

    joins? = :binary.match(payload, "\"phx_join\"") != :nomatch
    looks(result, joins? && payload, server)
    result
  end

  # The next frame, and what this one is answered, wait until the channel has dealt with it.
  defp awaits(channel, frame, state) do
    s = get()

    cond do
      List.keymember?(s.slow, channel, 1) ->
        with message when message != nil <- keeps(s, decodes(frame, state)),
             do: save(%{s | slow: [{ask(channel), channel, message} | s.slow]})

      Transport.hold() ->
        ref = ask(channel)
        timer = Process.send_after(self(), {__MODULE__, :late, ref}, @patience)
        put(%{s | waits: {ref, timer, channel, frame, []}})

      true ->
        :ok
    end
  end

  # A question that every process of OTP answers behind the messages that it has got before.
  defp ask(channel) do
    ref = make_ref()
    send(channel, {:system, {self(), {__MODULE__, ref}}, {:debug, {:log, :get}}})
    ref
  end

  # A message that the next process deals with if this one does not, if there is room.
  defp keeps(%{held: held, slow: slow}, %{topic: topic, event: event} = m) do
    encoded = :erlang.term_to_binary({topic, m.ref, event, m.payload})
    others = encoded(held, slow)

    if event != "phx_leave" and not String.starts_with?(topic, "lv") and length(others) < @most_kept and
         IO.iodata_length([encoded | others]) < @most_bytes,
       do: {topic, m.ref, encoded}
  end

  defp encoded(held, slow),
    do: for({_, _, encoded} <- held, do: encoded) ++ for({_, _, {_, _, encoded}} <- slow, do: encoded)

  defp decodes({payload, options}, {_, socket}), do: socket.serializer.decode!(payload, options)

  # The beginning of a frame of form 2.0.0, if it is easily found.
  defp head({payload, [opcode: :text]}) do
    with [_, ref, topic, event] <-
           Regex.run(~r/^\[(?:null|"[^"]*"),(?:null|"([^"]*)"),"([^"\\]*)","([^"\\]*)"/, payload),
         do: %{ref: ref, topic: topic, event: event}
  end

  defp head(
         {<<1, j, r, t, _, _::binary-size(j), ref::binary-size(r), topic::binary-size(t), _::binary>>,
          [opcode: :binary]}
       ),
       do: %{ref: ref, topic: topic, event: "phx_reply"}

  defp head(_), do: nil

  @doc false
  def __info__({{__MODULE__, ref}, _}, state) do
    case get() do
      %{waits: {^ref, timer, _, _, _}} = s -> goes_on(s, timer)
      s -> save(%{s | slow: Enum.reject(s.slow, &(elem(&1, 0) == ref))})
    end

    {:ok, state}
  end

  def __info__({__MODULE__, :late, ref}, state) do
    with %{waits: {^ref, timer, channel, frame, pushes}} = s <- get() do
      # it is taken, and the next process deals with it, too, unless this one has answered it
      s = %{s | slow: [{ref, channel, keeps(s, decodes(frame, state))} | s.slow]}
      goes_on(Enum.reduce(pushes, s, &replied(&2, &1)), timer)
    end

    {:ok, state}
  end

  def __info__({__MODULE__, :rejoin}, state), do: rejoin(state)
  def __info__({__MODULE__, :joined, topic, join_ref}, state), do: release(topic, join_ref, state)

  def __info__(:socket_drain, state) do
    if get(), do: {:ok, state}, else: Phoenix.Socket.__info__(:socket_drain, state)
  end

  def __info__(message, state) do
    case {message, get()} do
      {_, nil} -> :ok
      {{:socket_push, opcode, payload}, s} -> pushed(s, {payload, [opcode: opcode]})
      # of a channel that has ended there is no answer
      {{:DOWN, _, _, channel, _}, %{waits: {_, timer, channel, _, _}} = s} -> goes_on(s, timer)
      {{:socket_close, channel, _}, %{waits: {_, timer, channel, _, _}} = s} -> goes_on(s, timer)
      _ -> :ok
    end

    result = Phoenix.Socket.__info__(message, state)
    if get(), do: looks(result, false, [])
    result
  end

  defp goes_on(s, timer) do
    Process.cancel_timer(timer)
    save(%{s | waits: nil})
    Transport.resumes(Transport.socket())
  end

  # With its reply a message is dealt with, in one step.
  defp pushed(%{waits: nil, slow: []}, _), do: :ok

  defp pushed(%{waits: {ref, timer, channel, frame, pushes}} = s, push),
    do: save(replied(%{s | waits: {ref, timer, channel, frame, [push | pushes]}}, push))

  defp pushed(s, push), do: save(replied(s, push))

  defp replied(%{slow: []} = s, _), do: s

  defp replied(s, {payload, options}) do
    with %{event: "phx_reply", topic: topic, ref: ref} <- head({IO.iodata_to_binary(payload), options}),
         do: %{s | slow: Enum.reject(s.slow, &match?({_, _, {^topic, ^ref, _}}, &1))},
         else: (_ -> s)
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

  # The channel gets the messages that have waited for its join before any other: if it is quick,
  # they are dealt with as one step.
  defp release(topic, join_ref, {%{channels: channels}, _} = state) do
    s = get()
    {mine, others} = Enum.split_with(s.held, &(elem(&1, 0) == topic))

    with %{^topic => {channel, _, _}} <- channels do
      for {_, _, encoded} <- Enum.reverse(mine) do
        {_, ref, event, payload} = :erlang.binary_to_term(encoded)
        fields = [topic: topic, ref: ref, event: event, payload: payload, join_ref: join_ref]
        send(channel, struct!(Phoenix.Socket.Message, fields))
      end

      ref = ask(channel)

      receive do
        {{__MODULE__, ^ref}, _} ->
          save(%{s | held: others})
          {:push, pushes(), state}
      after
        @patience ->
          save(%{s | held: others, slow: for(message <- mine, do: {ref, channel, message}) ++ s.slow})
          {:ok, state}
      end
    else
      _ ->
        save(%{s | held: others})
        {:ok, state}
    end
  end

  defp pushes do
    receive do
      {:socket_push, opcode, payload} ->
        pushed(get(), {payload, [opcode: opcode]})
        [{opcode, payload} | pushes()]
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
      slow = Enum.filter(s.slow, &is_map_key(inverse, elem(&1, 1)))
      save(%{s | inverse: inverse, pending: pending, slow: slow, joins: Map.merge(pending, now)})
    end
  end

  defp save(s) do
    was = get()

    if was == nil or {was.joins, was.held, was.slow} != {s.joins, s.held, s.slow} do
      Transport.keep(<<2, :erlang.term_to_binary({s.joins, encoded(s.held, s.slow)})::binary>>)
    end

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
