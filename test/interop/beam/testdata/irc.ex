defmodule MyApp.Irc do
  use Task, restart: :permanent
  alias Cnode.Sessions

  def start_link({nick, address}), do: Task.start_link(__MODULE__, :run, [nick, address])

  def run(nick, address) do
    case Sessions.connect(MyApp.Sessions, "irc/#{nick}", address, tls: true, wait: true) do
      {:ok, socket} ->
        {:ok, info} = Sessions.info(socket)
        if info.state == "", do: Sessions.answer(socket, "NICK #{nick}\r\nUSER #{nick} 0 * :#{nick}\r\n", "in")
        serve(socket, Sessions.peek(socket))

      {:error, {:unreachable, _}} ->
        :ok
    end

    run(nick, address)
  end

  defp serve(socket, {:ok, data}) do
    case String.split(data, "\r\n", parts: 2) do
      ["PING " <> token, rest] ->
        :ok = Sessions.answer(socket, "PONG #{token}\r\n", rest, "in")
        serve(socket, Sessions.peek(socket))

      [_other, rest] ->
        :ok = Sessions.point(socket, rest, "in")
        serve(socket, Sessions.peek(socket))

      [_incomplete] ->
        serve(socket, Sessions.more(socket))
    end
  end

  defp serve(socket, {:error, _}), do: Sessions.close(socket)
end
