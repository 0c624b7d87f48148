defmodule MyApp.Chat do
  use Supervisor

  def start_link(path), do: Supervisor.start_link(__MODULE__, path)

  @impl true
  def init(path) do
    children = [
      {Registry, keys: :duplicate, name: MyApp.Room},
      {ThousandIsland,
       port: 0,
       handler_module: MyApp.Chat.Session,
       transport_module: Cnode.Sessions.ThousandIsland,
       transport_options: [front: path]}
    ]

    Supervisor.init(children, strategy: :rest_for_one)
  end
end

defmodule MyApp.Chat.Session do
  use ThousandIsland.Handler
  alias Cnode.Sessions

  @impl ThousandIsland.Handler
  def handle_connection(socket, _options) do
    {:ok, %{state: name}} = Sessions.info(socket.socket)
    if name != "", do: enter()
    {:continue, {name, ""}}
  end

  @impl ThousandIsland.Handler
  def handle_data(data, socket, {name, begun}) do
    Sessions.received(socket.socket, begun <> data)
    serve(socket, name, begun <> data)
  end

  # a push
  @impl GenServer
  def handle_info({:said, text}, {socket, {name, begun}}) do
    Sessions.answer(socket.socket, text, begun, name)
    {:noreply, {socket, {name, begun}}}
  end

  defp serve(socket, name, data) do
    case String.split(data, "\n", parts: 2) do
      [line, rest] ->
        name = hear(name, line)
        Sessions.answer(socket.socket, "ok #{line}\n", rest, name)
        serve(socket, name, rest)

      [begun] ->
        {:continue, {name, begun}}
    end
  end

  # the first line is the name
  defp hear("", line) do
    enter()
    line
  end

  defp hear(name, line) do
    Registry.dispatch(MyApp.Room, :all, fn all ->
      for {pid, _} <- all, pid != self(), do: send(pid, {:said, "#{name}: #{line}\n"})
    end)

    name
  end

  defp enter, do: {:ok, _} = Registry.register(MyApp.Room, :all, nil)
end
