%% Echoes, over connections of its own and over those of a front.
-module(rates).
-export([direct/1, front/3]).

direct(Acceptors) ->
    {ok, L} = gen_tcp:listen(0, [binary, {active, false}, {nodelay, true}, {backlog, 1024}, {ip, {127, 0, 0, 1}}]),
    ok = gen_tcp:controlling_process(L, whereis(init)),
    _ = [spawn(fun() -> accepts(fun() -> gen_tcp:accept(L) end, off) end) || _ <- lists:seq(1, Acceptors)],
    {ok, Port} = inet:port(L),
    Port.

%% Points is on or off.
front(Path, Acceptors, Points) ->
    {ok, Server} = cnode_sessions:start_link(#{front => Path, adopt => gen_tcp, socket_opts => [{nodelay, true}], name => "rates"}),
    unlink(Server),
    _ = [spawn(fun() -> accepts(fun() -> cnode_sessions:accept(Server, infinity) end, Points) end) || _ <- lists:seq(1, Acceptors)],
    ok.

accepts(Accept, Points) ->
    case Accept() of
        {ok, Socket} ->
            P = spawn(fun() -> receive go -> echo(Socket, Points) end end),
            ok = gen_tcp:controlling_process(Socket, P),
            P ! go,
            accepts(Accept, Points);
        {error, closed} -> ok
    end.

echo(Socket, Points) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Data} ->
            ok = case Points of
                on -> cnode_sessions:answer(Socket, Data, <<>>, <<>>);
                off -> gen_tcp:send(Socket, Data)
            end,
            echo(Socket, Points);
        {error, _} -> gen_tcp:close(Socket)
    end.
