-module(chat).
-export([start_link/1]).

start_link(Path) ->
    {ok, _} = pg:start_link(chat),
    {ok, Server} = cnode_sessions:start_link(#{front => Path}),
    {ok, spawn_link(fun() -> accepts(Server) end)}.

accepts(Server) ->
    case cnode_sessions:accept(Server, infinity) of
        {ok, Socket} ->
            Pid = spawn(fun() -> receive go -> begins(Socket) end end),
            ok = gen_tcp:controlling_process(Socket, Pid),
            Pid ! go,
            accepts(Server);
        {error, closed} -> ok
    end.

begins(Socket) ->
    {ok, #{state := Name}} = cnode_sessions:info(Socket),
    _ = Name =:= <<>> orelse pg:join(chat, all, self()),
    serves(Socket, Name, <<>>).

serves(Socket, Name0, Data) ->
    case binary:split(Data, <<"\n">>) of
        [Line, Rest] ->
            Name = hears(Name0, Line),
            _ = cnode_sessions:answer(Socket, [<<"ok ">>, Line, $\n], Rest, Name),
            serves(Socket, Name, Rest);
        [Begun] ->
            _ = inet:setopts(Socket, [{active, once}]),
            waits(Socket, Name0, Begun)
    end.

waits(Socket, Name, Begun) ->
    receive
        {tcp, Socket, More} ->
            Data = <<Begun/binary, More/binary>>,
            _ = cnode_sessions:received(Socket, Data),
            serves(Socket, Name, Data);
        {said, Text} -> % a push
            _ = cnode_sessions:answer(Socket, Text, Begun, Name),
            waits(Socket, Name, Begun);
        {tcp_closed, Socket} -> cnode_sessions:close(Socket);
        {tcp_error, Socket, _} -> cnode_sessions:close(Socket)
    end.

%% The first line is the name.
hears(<<>>, Line) ->
    ok = pg:join(chat, all, self()),
    Line;
hears(Name, Line) ->
    _ = [Pid ! {said, [Name, <<": ">>, Line, $\n]} || Pid <- pg:get_members(chat, all), Pid =/= self()],
    Name.
