defmodule Cnode.Sessions.WebSock do
  @moduledoc """
  A WebSock whose connections outlive the system. It is a WebSock with two more callbacks, on the transport
  `Cnode.Sessions.Bandit`:

      defmodule MyApp.Counter do
        @behaviour Cnode.Sessions.WebSock

        def init(_args), do: {:ok, 0}
        def handle_in({text, opcode: :text}, n), do: {:push, {:text, "\#{n + 1} \#{text}"}, n + 1}
        def handle_info(_message, n), do: {:ok, n}

        def point_state(n), do: <<n::64>>
        def resume(<<n::64>>, _args), do: {:ok, n}
      end

      conn |> WebSockAdapter.upgrade(Cnode.Sessions.WebSock, {MyApp.Counter, args}, timeout: 60_000) |> halt()

  Each message is answered once, whenever the system is killed. If it is killed before all of an answer is written, the next
  one deals with the message again: make what a message does beside its answer idempotent.

  With another transport it is a WebSock as any other.
  """

  alias Cnode.Sessions.Bandit, as: Transport

  @typedoc "As in `WebSock`."
  @type result :: tuple

  @callback init(args :: term) :: result
  @callback handle_in({binary, opcode: :text | :binary}, state :: term) :: result
  @callback handle_control({binary, opcode: :ping | :pong}, state :: term) :: result
  @callback handle_info(message :: term, state :: term) :: result
  @callback terminate(reason :: term, state :: term) :: term

  @doc "What the next process needs, or `:none` while none can go on. It is called after each of the other callbacks."
  @callback point_state(state :: term) :: binary | :none

  @doc "Called in place of `init/1`, with what `point_state/1` of the process before has returned. It may push, too."
  @callback resume(binary, args :: term) :: result

  @optional_callbacks handle_control: 2, terminate: 2

  @doc false
  def init({module, args}) do
    case Transport.resumed() do
      <<1, saved::binary>> -> result(module.resume(saved, args), module)
      fresh when fresh in [nil, :no] -> result(module.init(args), module)
      # the socket was another kind's before the deploy
      _ -> {:stop, {:shutdown, :restart}, {module, args}}
    end
  end

  @doc false
  def handle_in(message, {module, state}), do: result(module.handle_in(message, state), module)

  @doc false
  def handle_info(message, {module, state}), do: result(module.handle_info(message, state), module)

  @doc false
  def handle_control(message, {module, state}) do
    if function_exported?(module, :handle_control, 2),
      do: result(module.handle_control(message, state), module),
      else: {:ok, {module, state}}
  end

  @doc false
  def terminate(reason, {module, state}) do
    if function_exported?(module, :terminate, 2), do: module.terminate(reason, state), else: :ok
  end

  # the state is always the last one
  defp result(result, module) do
    at = tuple_size(result) - 1
    state = elem(result, at)

    case module.point_state(state) do
      saved when is_binary(saved) -> Transport.keep(<<1, saved::binary>>)
      :none -> Transport.keep(:none)
    end

    put_elem(result, at, {module, state})
  end
end
