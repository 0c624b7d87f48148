-module(cnode_sessions_cowboy_h).
-include("cnode_doc.hrl").
?MODULEDOC("""
A stream handler of Cowboy: behind each response of a keep-alive connection another process can go on with it.

```erlang
#{stream_handlers => [cnode_sessions_cowboy_h, cowboy_stream_h]}
```

It is for HTTP/1.1 over the transport `m:cnode_sessions_ranch`. Connections of other kinds pass through it unchanged, and do
not move: HTTP/2, WebSocket after the upgrade, and clients that ask for `connection: close`.

Use it for clients that wait for each response, as browsers and almost all libraries do. A client that sends its next request
before it has the response (pipelining) is noticed when Cowboy begins with that request. If this system ends before, the next
one reads the rest of a request of which Cowboy has the beginning, and answers with 400.
""").
-export([init/3, data/4, info/3, terminate/3, early_error/5]).

%% Cowboy's behaviour is not named here: this package compiles without Cowboy.

?DOC(false).
init(Id, Req, Opts) ->
    Socket = socket(Req),
    _ = is_port(Socket) andalso is_pipelined(Socket) andalso cnode_sessions:no_point(Socket),
    _ = put({?MODULE, open}, Id),
    {Commands, Next} = cowboy_stream:init(Id, Req, Opts),
    {Commands, {Socket, not maps:get(has_body, Req, false), Next}}.

?DOC(false).
data(Id, Fin, Data, {Socket, Whole, Next0}) ->
    {Commands, Next} = cowboy_stream:data(Id, Fin, Data, Next0),
    {Commands, {Socket, Whole orelse Fin =:= fin, Next}}.

?DOC(false).
info(Id, Info, {Socket, Whole, Next0}) ->
    {Commands, Next} = cowboy_stream:info(Id, Info, Next0),
    {Commands, {Socket, Whole, Next}}.

?DOC(false).
terminate(Id, Reason, {Socket, Whole, Next}) ->
    Result = cowboy_stream:terminate(Id, Reason, Next),
    Last = get({?MODULE, open}) =:= Id, % else Cowboy has begun with the next request
    _ = Last andalso erase({?MODULE, open}),
    _ = case Reason of
        normal when is_port(Socket), Whole, Last -> % what is left of a body would be another process's next request
            put(?MODULE, received(Socket)),
            cnode_sessions:point(Socket, <<>>);
        _ -> ok
    end,
    Result.

?DOC(false).
early_error(Id, Reason, PartialReq, Resp, Opts) -> cowboy_stream:early_error(Id, Reason, PartialReq, Resp, Opts).

%% The request came with the one before, or while that is served.
is_pipelined(Socket) -> get({?MODULE, open}) =/= undefined orelse get(?MODULE) =:= received(Socket).

received(Socket) -> inet:getstat(Socket, [recv_oct]).

%% The session that the connection's process, which runs this, serves. It has no other port, and Req does not tell.
socket(#{version := 'HTTP/1.1', headers := Headers}) ->
    case closes(maps:get(<<"connection">>, Headers, <<>>)) of
        true -> none;
        false ->
            {links, Links} = process_info(self(), links),
            case [P || P <- Links, is_port(P)] of
                [Port] ->
                    case cnode_sessions:info(Port) of
                        {ok, _} -> Port;
                        {error, _} -> none
                    end;
                _ -> none
            end
    end;
socket(_) -> none.

closes(Connection) ->
    lists:any(fun(Token) -> string:trim(Token) =:= <<"close">> end, binary:split(string:lowercase(Connection), <<",">>, [global])).
