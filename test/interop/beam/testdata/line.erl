%% A protocol of lines with state: "N\n" is answered by "N Count\n", where Count is the number of the client's lines so far,
%% whichever process had them.
-module(line).
-export([start/3, stop/1, descriptors/0]).

start(Path, Kind, Acceptors) ->
    {ok, Server} = cnode_sessions:start_link(#{front => Path, adopt => Kind, socket_opts => [{nodelay, true}], name => "line"}),
    _ = [spawn(fun() -> accepts(Server, Kind) end) || _ <- lists:seq(1, Acceptors)],
    Server.

stop(Server) -> cnode_sessions:retire(Server).

descriptors() ->
    {ok, Names} = file:list_dir("/proc/self/fd"),
    length(Names).

accepts(Server, Kind) ->
    case cnode_sessions:accept(Server, infinity) of
        {ok, Socket} ->
            P = spawn(fun() -> receive go -> begins(Socket, Kind) end end),
            ok = case Kind of
                gen_tcp -> gen_tcp:controlling_process(Socket, P);
                socket -> socket:setopt(Socket, {otp, controlling_process}, P)
            end,
            P ! go,
            accepts(Server, Kind);
        {error, closed} -> ok
    end.

begins(Socket, Kind) ->
    {ok, #{state := State}} = cnode_sessions:info(Socket),
    Count = case State of <<>> -> 0; _ -> binary_to_integer(State) end,
    case Kind of
        gen_tcp -> reads(Socket, Count, <<>>);
        socket -> looks(Socket, Count, cnode_sessions:peek(Socket, infinity))
    end.

looks(Socket, Count, {ok, Data}) ->
    case binary:split(Data, <<"\n">>) of
        [Line, Rest] ->
            case cnode_sessions:answer(Socket, line(Line, Count + 1), Rest, integer_to_binary(Count + 1)) of
                ok -> looks(Socket, Count + 1, cnode_sessions:peek(Socket, infinity));
                _ -> cnode_sessions:close(Socket)
            end;
        [_] -> looks(Socket, Count, cnode_sessions:more(Socket, infinity))
    end;
looks(Socket, _, {error, _}) -> cnode_sessions:close(Socket).

reads(Socket, Count, Buffer) ->
    case binary:split(Buffer, <<"\n">>) of
        [Line, Rest] ->
            case cnode_sessions:answer(Socket, line(Line, Count + 1), Rest, integer_to_binary(Count + 1)) of
                ok -> reads(Socket, Count + 1, Rest);
                _ -> cnode_sessions:close(Socket)
            end;
        [_] ->
            case gen_tcp:recv(Socket, 0) of
                {ok, More} ->
                    _ = cnode_sessions:received(Socket, <<Buffer/binary, More/binary>>),
                    reads(Socket, Count, <<Buffer/binary, More/binary>>);
                {error, _} -> cnode_sessions:close(Socket)
            end
    end.

line(Line, Count) -> [Line, $\s, integer_to_binary(Count), $\n].
