-module(cnode_sessions_ranch).
-include("cnode_doc.hrl").
?MODULEDOC("""
A transport of Ranch 2 whose connections come from a front, for Cowboy and other protocols of Ranch.

```erlang
{ok, _} = ranch:start_listener(web, cnode_sessions_ranch, #{socket_opts => [{front, "/run/app/front.sock"}]},
    cowboy_clear, #{env => #{dispatch => Dispatch}, stream_handlers => [cnode_sessions_cowboy_h, cowboy_stream_h]}).
```

When the listener stops, as at `SIGTERM`, connections that stand at a point go on in another process: with Cowboy's HTTP/1.1
and the stream handler `m:cnode_sessions_cowboy_h`, all that wait for their next request. Those that are in a request are
served to its end, as far as Ranch waits for it. Without a stream handler only connections that have sent nothing move.

Let the front take PROXY headers off. With Ranch's own `proxy_header` the next process waits for another header, and ends a
connection that has moved.

What cannot move are HTTP/2, WebSocket, and TLS that ends here: let the front end TLS. They end as they would without a front.

Beside `front` (or `plain` or `listen`) the options `name` and `uids` of `cnode_sessions:start_link/1` are taken; others are
options of `gen_tcp`. `ip` and `port` are only what `ranch:get_addr/1` says. `num_listen_sockets` has to be 1.
""").
-export([name/0, secure/0, messages/0, listen/1, disallowed_listen_options/0, accept/2, handshake/2, handshake/3, handshake_continue/2,
    handshake_continue/3, handshake_cancel/1, connect/3, connect/4, recv/3, recv_proxy_header/2, send/2, sendfile/2, sendfile/4,
    sendfile/5, setopts/2, getopts/2, getstat/1, getstat/2, controlling_process/2, peername/1, sockname/1, shutdown/2, close/1,
    cleanup/1, format_error/1]).

%% Ranch's behaviour is not named here: this package compiles without Ranch.

-define(OURS, [front, plain, listen, name, uids]).
-define(LISTENERS, [ip, port, backlog, fd, ipv6_v6only, ifaddr, active, header, mode, packet, packet_size, line_delimiter, reuseaddr, reuseport]).

?DOC(false).
name() -> tcp. % Cowboy looks at it

?DOC(false).
secure() -> false.

?DOC(false).
messages() -> {tcp, tcp_closed, tcp_error, tcp_passive}.

?DOC(false).
listen(#{num_listen_sockets := N}) when N > 1 -> {error, num_listen_sockets};
listen(TransOpts) ->
    Given = [O || O <- maps:get(socket_opts, TransOpts, []), is_tuple(O), tuple_size(O) =:= 2],
    Ours = maps:from_list([O || {K, _} = O <- Given, lists:member(K, ?OURS)]),
    Others = [O || {K, _} = O <- Given, not lists:member(K, ?OURS ++ ?LISTENERS)],
    Raw = [O || O <- maps:get(socket_opts, TransOpts, []), is_tuple(O), tuple_size(O) =/= 2],
    Defaults = [O || {K, _} = O <- [{nodelay, true}, {send_timeout, 30000}, {send_timeout_close, true}], not lists:keymember(K, 1, Others)],
    Local = {proplists:get_value(ip, Given, {0, 0, 0, 0}), proplists:get_value(port, Given, 0)},
    case cnode_sessions:listen(Ours#{socket_opts => Defaults ++ Others ++ Raw, local => Local}) of
        {ok, Handle} -> {ok, {?MODULE, Handle, Local}};
        {error, Reason} -> {error, Reason}
    end.

?DOC(false).
disallowed_listen_options() -> [active, header, mode, packet, packet_size, line_delimiter, reuseaddr].

?DOC(false).
accept({?MODULE, Handle, _}, Timeout) -> cnode_sessions:accept(Handle, Timeout).

?DOC(false).
handshake(Socket, Timeout) -> handshake(Socket, [], Timeout).

?DOC(false).
handshake(Socket, _, _) -> {ok, Socket}.

?DOC(false).
-spec handshake_continue(_, _) -> no_return().
handshake_continue(_, _) -> error(not_supported).

?DOC(false).
-spec handshake_continue(_, _, _) -> no_return().
handshake_continue(_, _, _) -> error(not_supported).

?DOC(false).
-spec handshake_cancel(_) -> no_return().
handshake_cancel(_) -> error(not_supported).

?DOC(false).
connect(Host, Port, Opts) -> gen_tcp:connect(Host, Port, Opts ++ [binary, {active, false}]).

?DOC(false).
connect(Host, Port, Opts, Timeout) -> gen_tcp:connect(Host, Port, Opts ++ [binary, {active, false}], Timeout).

?DOC(false).
recv(Socket, Length, Timeout) -> gen_tcp:recv(Socket, Length, Timeout).

?DOC(false).
%% The front takes PROXY headers off if it is told to. One that comes nevertheless is Ranch's to read, as ranch_tcp does it.
recv_proxy_header(Socket, Timeout) ->
    case recv(Socket, 0, Timeout) of
        {ok, Data} ->
            case ranch_proxy_header:parse(Data) of
                {ok, Info, <<>>} -> {ok, Info};
                {ok, Info, Rest} ->
                    case cnode_sessions:unrecv(Socket, Rest) of
                        ok -> {ok, Info};
                        Error -> Error
                    end;
                {error, Text} -> {error, protocol_error, Text}
            end;
        Error -> Error
    end.

?DOC(false).
send(Socket, Data) -> cnode_sessions_http:send(Socket, Data, point(Socket)).

%% Whether an answer ends at a point is for Cowboy's stream handler to say.
point(Socket) -> fun(Bytes) -> cnode_sessions_cowboy_h:point(Socket, Bytes) end.

?DOC(false).
sendfile(Socket, File) -> sendfile(Socket, File, 0, 0, []).

?DOC(false).
sendfile(Socket, File, Offset, Bytes) -> sendfile(Socket, File, Offset, Bytes, []).

?DOC(false).
sendfile(Socket, Name, Offset, Bytes, Opts) when is_list(Name); is_atom(Name); is_binary(Name) ->
    case file:open(Name, [read, raw, binary]) of
        {ok, File} ->
            try sendfile(Socket, File, Offset, Bytes, Opts)
            after file:close(File)
            end;
        {error, _} = Error -> Error
    end;
sendfile(Socket, File, Offset, Bytes, Opts) ->
    ok = cnode_sessions_http:sends_file(Bytes, point(Socket)),
    cnode_sessions:sendfile(Socket, File, Offset, Bytes, case Opts of [] -> [{chunk_size, 16#1FFF}]; _ -> Opts end).

?DOC(false).
setopts(Socket, Opts) -> inet:setopts(Socket, Opts).

?DOC(false).
getopts(Socket, Opts) -> inet:getopts(Socket, Opts).

?DOC(false).
getstat(Socket) -> inet:getstat(Socket).

?DOC(false).
getstat(Socket, Names) -> inet:getstat(Socket, Names).

?DOC(false).
controlling_process(Socket, Pid) -> gen_tcp:controlling_process(Socket, Pid).

?DOC(false).
%% The endpoints are the client's and the front's, whatever the descriptor is.
peername(Socket) ->
    case cnode_sessions:info(Socket) of
        {ok, #{remote := Remote}} -> {ok, Remote};
        {error, _} -> inet:peername(Socket)
    end.

?DOC(false).
sockname({?MODULE, _, Local}) -> {ok, Local};
sockname(Socket) ->
    case cnode_sessions:info(Socket) of
        {ok, #{local := Local}} -> {ok, Local};
        {error, _} -> inet:sockname(Socket)
    end.

?DOC(false).
shutdown(Socket, How) -> cnode_sessions:shutdown(Socket, How).

?DOC(false).
close({?MODULE, Handle, _}) -> cnode_sessions:retire(Handle); % the connections end later
close(Socket) -> cnode_sessions:close(Socket).

?DOC(false).
cleanup(_) -> ok.

?DOC(false).
format_error(num_listen_sockets) -> "num_listen_sockets has to be 1 with a front";
format_error({not_started, cnode}) -> "the application cnode is not started";
format_error(Reason) -> lists:flatten(io_lib:format("~0tp", [Reason])).
