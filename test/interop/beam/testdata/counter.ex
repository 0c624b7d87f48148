defmodule Counter do
  @moduledoc "A web server whose WebSockets answer each message with its number."
  import Plug.Conn
  @behaviour Plug
  @behaviour Application

  @impl Plug
  def init(options), do: options

  # a token that has expired, by the clock of the test
  @impl Plug
  def call(%{path_info: ["counter"], query_string: query} = conn, _) do
    case Integer.parse(query) do
      {at, _} -> if System.os_time(:second) >= at, do: send_resp(conn, 403, "expired"), else: upgrade(conn)
      :error -> upgrade(conn)
    end
  end

  def call(%{path_info: ["plain"]} = conn, _), do: conn |> WebSockAdapter.upgrade(Counter.Plain, [], []) |> halt()
  def call(conn, _), do: send_resp(conn, 200, "#{System.pid()}")

  defp upgrade(conn) do
    conn |> WebSockAdapter.upgrade(Cnode.Sessions.WebSock, {Counter.Socket, []}, timeout: 60_000, compress: true) |> halt()
  end

  @doc "Runs as an application, which the system stops in order."
  def run(path, transport \\ :kept) do
    :ok =
      :application.load(
        {:application, :counter,
         [vsn: ~c"1", modules: [], registered: [], applications: [:kernel, :stdlib, :elixir, :cnode, :bandit, :websock_adapter], mod: {__MODULE__, {path, transport}}]}
      )

    {:ok, _} = Application.ensure_all_started(:counter)
    Process.sleep(:infinity)
  end

  @impl Application
  def start(_type, {path, transport}) do
    options = %{
      kept: [
        transport_module: Cnode.Sessions.Bandit,
        handler_module: Cnode.Sessions.Bandit.Handler,
        transport_options: [front: path]
      ],
      today: [transport_module: Cnode.Sessions.ThousandIsland, transport_options: [front: path, points: :idle]]
    }

    Supervisor.start_link(
      [
        {Bandit,
         plug: __MODULE__,
         startup_log: false,
         thousand_island_options: [read_timeout: :infinity] ++ options[transport]}
      ],
      strategy: :one_for_one
    )
  end

  @impl Application
  def stop(_), do: :ok
end

defmodule Counter.Socket do
  @moduledoc "Answers each message with its number."
  @behaviour Cnode.Sessions.WebSock

  @impl true
  def init(_), do: {:push, {:text, "hello"}, 0}

  # two frames: no kill is to come between them
  @impl true
  def handle_in({text, opcode: :text}, n),
    do: {:push, [{:text, "#{n + 1} #{byte_size(text)} #{:erlang.crc32(text)}"}, {:text, "#{n + 1} more"}], n + 1}

  def handle_in({<<size::32>>, opcode: :binary}, n),
    do: {:push, {:binary, [<<n + 1::32>>, :binary.copy("x", size)]}, n + 1}

  @impl true
  def handle_info(_, n), do: {:ok, n}
  @impl true
  def point_state(n), do: <<n::64>>
  @impl true
  def resume(<<n::64>>, _), do: {:ok, n}
end

defmodule Counter.Plain do
  @moduledoc "A WebSock that says nothing of how another goes on."
  def init(_), do: {:push, {:text, "hello"}, 0}
  def handle_in(_, n), do: {:push, {:text, "#{n + 1}"}, n + 1}
  def handle_info(_, n), do: {:ok, n}
  def terminate(_, _), do: :ok
end
