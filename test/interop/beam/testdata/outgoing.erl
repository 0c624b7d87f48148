%% Connections that outlive this system. It says who it is on each, and then answers "PING N\n" by "PONG N Count\n", where Count is
%% the number of answers so far, whichever process gave them.
-module(outgoing).
-export([start/5, more/5]).

start(Path, Kind, Address, Options, Names) ->
    {ok, Server} = cnode_sessions:start_link(#{front => Path, adopt => Kind, socket_opts => [{nodelay, true}]}),
    ok = more(Server, Kind, Address, Options, Names),
    Server.

more(Server, Kind, Address, Options, Names) ->
    _ = [spawn(fun() -> connects(Server, Kind, Name, Address, Options) end) || Name <- Names],
    ok.

connects(Server, Kind, Name, Address, Options) ->
    case cnode_sessions:connect(Server, Name, Address, Options) of
        {ok, Socket} ->
            begins(Socket, Kind),
            connects(Server, Kind, Name, Address, Options); % it has ended
        {error, {unreachable, _}} -> connects(Server, Kind, Name, Address, Options);
        {error, closed} -> ok
    end.

begins(Socket, Kind) ->
    {ok, #{state := State, name := Name}} = cnode_sessions:info(Socket),
    case State of
        <<>> -> % nothing was said on it
            _ = cnode_sessions:answer(Socket, ["NAME ", Name, $\n], <<"0">>),
            serves(Socket, Kind, 0, <<>>);
        _ -> serves(Socket, Kind, binary_to_integer(State), <<>>)
    end.

serves(Socket, socket, Count, Begun) ->
    case input(Socket, Begun) of
        {ok, Data} ->
            case binary:split(Data, <<"\n">>) of
                [<<"PING ", N/binary>>, Rest] ->
                    _ = cnode_sessions:answer(Socket, pong(N, Count + 1), Rest, integer_to_binary(Count + 1)),
                    serves(Socket, socket, Count + 1, <<>>);
                [Some] -> serves(Socket, socket, Count, Some)
            end;
        {error, _} -> cnode_sessions:close(Socket)
    end;
serves(Socket, gen_tcp, Count, Data) ->
    case binary:split(Data, <<"\n">>) of
        [<<"PING ", N/binary>>, Rest] ->
            _ = cnode_sessions:answer(Socket, pong(N, Count + 1), Rest, integer_to_binary(Count + 1)),
            serves(Socket, gen_tcp, Count + 1, Rest);
        [Some] ->
            case gen_tcp:recv(Socket, 0) of
                {ok, More} ->
                    _ = cnode_sessions:received(Socket, <<Some/binary, More/binary>>),
                    serves(Socket, gen_tcp, Count, <<Some/binary, More/binary>>);
                {error, _} -> cnode_sessions:close(Socket)
            end
    end.

input(Socket, <<>>) -> cnode_sessions:peek(Socket, infinity);
input(Socket, _) -> cnode_sessions:more(Socket, infinity).

pong(N, Count) -> [<<"PONG ">>, N, $\s, integer_to_binary(Count), $\n].
