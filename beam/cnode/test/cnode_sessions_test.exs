defmodule Cnode.SessionsTest do
  use ExUnit.Case

  # the front is Erlang, and shared with the Erlang tests: test/support/front.erl
  defp world(options) do
    path = List.to_string(:front.path())
    server = start_supervised!({Cnode.Sessions, [front: path] ++ options})
    front = :front.start(String.to_charlist(path))
    on_exit(fn -> :front.stop(front) end)
    {server, front}
  end

  test "a session is answered, and its points are told" do
    {_, front} = world(name: Here, adopt: :socket, worker: "exunit")
    {client, accepted} = :front.connect(:inet)
    :front.give(front, 7, accepted, {"before", ""})
    {:ok, session} = Cnode.Sessions.accept(Here, 5000)
    assert {~c"t", 7} = :front.heard(front)
    assert {:ok, %{state: "before", id: 7, remote: remote}} = Cnode.Sessions.info(session)
    assert {:ok, ^remote} = :inet.sockname(client)
    :ok = :gen_tcp.send(client, "one\ntwo")
    {:ok, "one\ntwo"} = Cnode.Sessions.peek(session, 5000)
    :ok = Cnode.Sessions.answer(session, "1\n", "two", "after")
    assert {:point, 7, 7, 2, "two", "after"} = :front.heard(front)
    assert {:ok, "1\n"} = :gen_tcp.recv(client, 2, 5000)
    :ok = :gen_tcp.send(client, "!")
    {:ok, "two!"} = Cnode.Sessions.more(session, 5000)
    :ok = Cnode.Sessions.send(session, "bye")
    assert %{connected: true, sessions: 1} = Cnode.Sessions.status(Here)
    :ok = Cnode.Sessions.close(session)
    assert {~c"d", 7} = :front.heard(front)
    assert {:error, :timeout} = Cnode.Sessions.accept(Here, 1)
    :ok = Cnode.Sessions.retire(Here)
    assert {:error, :closed} = Cnode.Sessions.accept(Here)
    :gen_tcp.close(client)
    :gen_tcp.close(accepted)
  end

  test "gen_tcp sessions" do
    {server, front} = world([])
    {client, accepted} = :front.connect(:inet6)
    :front.give(front, 1, accepted)
    {:ok, session} = Cnode.Sessions.accept(server)
    assert {~c"t", 1} = :front.heard(front)
    :ok = :gen_tcp.send(client, "ab")
    {:ok, "ab"} = :gen_tcp.recv(session, 2, 5000)
    :ok = Cnode.Sessions.received(session, "ab")
    assert {:point, 1, 2, 0, "ab", ""} = :front.heard(front)
    :ok = Cnode.Sessions.point(session, "state")
    assert {:point, 1, 2, 0, "", "state"} = :front.heard(front)
    :ok = Cnode.Sessions.no_point(session)
    assert {:point, 1, _, _, _, _} = :front.heard(front)
    :ok = Cnode.Sessions.shutdown(session, :write)
    assert {:error, :closed} = :gen_tcp.recv(client, 0, 5000)
    for socket <- [client, session, accepted], do: :gen_tcp.close(socket)
  end

  test "a name can be had once" do
    options = [front: List.to_string(:front.path()), name: Once]
    start_supervised!({Cnode.Sessions, options})
    assert {:error, {:already_started, _}} = Cnode.Sessions.start_link(options)
    via = Keyword.put(options, :name, {:global, Once})
    {:ok, _} = start_supervised({Cnode.Sessions, via})
    assert {:error, {:already_started, _}} = Cnode.Sessions.start_link(via)
    assert {:error, {:badarg, _}} = Cnode.Sessions.start_link(front: "a", nonsense: 1)
  end

  test "a session is forwarded" do
    path = List.to_string(:front.path())
    receiver = start_supervised!({Cnode.Sessions, listen: path})
    forwarder = start_supervised!({Cnode.Forwarder, path: path})
    {client, accepted} = :front.connect(:inet)
    :ok = Cnode.Forwarder.push(forwarder, accepted, "first")
    :ok = :gen_tcp.close(accepted)
    {:ok, session} = Cnode.Sessions.accept(receiver, 5000)
    {:ok, "first"} = :gen_tcp.recv(session, 5, 5000)
    :ok = Cnode.Sessions.close(session)
    assert {:error, :closed} = :gen_tcp.recv(client, 0, 5000)
    :gen_tcp.close(client)
  end

  alias Cnode.Sessions.ThousandIsland, as: Transport

  # The functions as Thousand Island calls them; test/interop/beam has the real one.
  defp transport(options) do
    path = List.to_string(:front.path())

    {:ok, listener} =
      Transport.listen(4000, [:inet6, front: path, backlog: 5, ip: :loopback, nodelay: false] ++ options)

    front = :front.start(String.to_charlist(path))
    on_exit(fn -> :front.stop(front) end)
    {listener, front}
  end

  defp serve({listener, front}, id) do
    {client, accepted} = :front.connect(:inet)
    :front.give(front, id, accepted)
    {:ok, socket} = Transport.accept(listener)
    assert {~c"t", ^id} = :front.heard(front)
    {client, accepted, socket}
  end

  test "idle connections have points, those that have changed their protocol have none" do
    {listener, front} = world = transport(points: :idle)
    assert {:ok, {{127, 0, 0, 1}, 4000}} = Transport.sockname(listener)

    for {id, change} <- [
          {1, fn _, _ -> :ok end},
          {2,
           fn client, socket ->
             :ok = :gen_tcp.send(client, "PRI * HTTP/2.0")
             {:ok, "PRI"} = Transport.recv(socket, 3, 5000)
           end},
          {3,
           fn _, socket -> :ok = Transport.send(socket, ["HTTP/", [~c"1.1", " 101"], " Switching Protocols\r\n"]) end}
        ] do
      {client, accepted, socket} = serve(world, id)
      assert {:ok, [nodelay: false]} = Transport.getopts(socket, [:nodelay])
      assert Transport.peername(socket) == :inet.sockname(client)
      change.(client, socket)
      :ok = Transport.setopts(socket, active: :once)

      case id do
        1 -> assert {:point, 1, 0, 0, "", ""} = :front.heard(front)
        _ -> assert {:point, ^id, 0xFFFFFFFFFFFFFFFF, _, _, _} = :front.heard(front)
      end

      assert {:error, :timeout} = :front.heard(front, 20)
      :ok = Transport.close(socket)
      assert {~c"d", ^id} = :front.heard(front)
      :gen_tcp.close(client)
      :gen_tcp.close(accepted)
    end

    :ok = Transport.close(listener)
    assert ~c"r" = :front.heard(front)
    assert {:error, :closed} = Transport.accept(listener)
  end

  test "without the option there are no points" do
    {listener, front} = world = transport([])
    {client, accepted, socket} = serve(world, 1)
    :ok = Transport.setopts(socket, active: :once)
    assert {:error, :timeout} = :front.heard(front, 20)
    :ok = Transport.close(listener)
    assert ~c"r" = :front.heard(front)
    assert {:error, :enotconn} = Transport.shutdown(socket, :write)
    :ok = Transport.close(socket)
    assert {~c"x", 1} = :front.heard(front)
    :gen_tcp.close(client)
    :gen_tcp.close(accepted)
  end
end
