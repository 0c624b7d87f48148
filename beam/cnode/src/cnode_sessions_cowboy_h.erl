-module(cnode_sessions_cowboy_h).
-include("cnode_doc.hrl").
?MODULEDOC("""
A stream handler of Cowboy: behind each response of a keep-alive connection another process can go on with it.

```erlang
#{stream_handlers => [cnode_sessions_cowboy_h, cowboy_stream_h]}
```

It is for HTTP/1.1 over the transport `m:cnode_sessions_ranch`. Connections of other kinds pass through it unchanged, and do
not move: HTTP/2, WebSocket after the upgrade, and clients that ask for `connection: close`.

The point is told with the last bytes of a response, and only if Cowboy has nothing of the client's next request. It has, if the
client does not wait for responses (pipelining): then the connection stands at no point until Cowboy has dealt with all that it has
read. If this system ends before, the connection ends too, behind the response that Cowboy is at. A request whose length Req does
not tell, such as one in chunks, keeps its connection from moving from then on; so does one with spaces that nobody needs.
""").
-export([init/3, data/4, info/3, terminate/3, early_error/5]).

%% Cowboy's behaviour is not named here: this package compiles without Cowboy.

-export([point/2]). % for cnode_sessions_ranch

?DOC(false).
init(Id, Req, Opts) ->
    Socket = socket(Req),
    _ = is_port(Socket) andalso begins(Socket, Req),
    {Commands, Next} = cowboy_stream:init(Id, Req, Opts),
    {Commands, {Socket, Req, not maps:get(has_body, Req, false), Next}}.

?DOC(false).
data(Id, Fin, Data, {Socket, #{method := Method} = Req, Whole, Next0}) ->
    _ = Fin =:= fin andalso cnode_sessions_http:asked(Method),
    {Commands, Next} = cowboy_stream:data(Id, Fin, Data, Next0),
    {Commands, {Socket, Req, Whole orelse Fin =:= fin, Next}}.

?DOC(false).
info(Id, Info, {Socket, Req, Whole, Next0}) ->
    {Commands, Next} = cowboy_stream:info(Id, Info, Next0),
    {Commands, {Socket, Req, Whole, Next}}.

?DOC(false).
terminate(Id, Reason, {Socket, _, Whole, Next}) ->
    Result = cowboy_stream:terminate(Id, Reason, Next),
    _ = is_port(Socket) andalso ends(Socket, Reason =:= normal andalso Whole),
    Result.

?DOC(false).
early_error(Id, Reason, PartialReq, Resp, Opts) -> cowboy_stream:early_error(Id, Reason, PartialReq, Resp, Opts).

%% Of a connection are known the requests that Cowboy is at, and the bytes of all that it has begun with.
begins(Socket, #{method := Method} = Req) ->
    {Open, Bytes} = case get(?MODULE) of
        undefined ->
            {ok, #{read := Read}} = cnode_sessions:info(Socket),
            {0, -byte_size(Read)}; % of its first request, which has come with the session
        Known -> Known
    end,
    _ = put(?MODULE, {Open + 1, is_integer(Bytes) andalso bytes(Bytes, Req)}),
    case Open of
        0 ->
            ok = cnode_sessions_http:reads(),
            _ = maps:get(has_body, Req, false) orelse cnode_sessions_http:asked(Method),
            ok;
        _ -> cnode_sessions_http:forget() % answers to both will be sent
    end.

ends(Socket, IsWhole) ->
    {Open, Bytes} = get(?MODULE),
    _ = put(?MODULE, {Open - 1, Bytes}),
    IsWhole andalso Open =:= 1 andalso not cnode_sessions_http:closes() andalso point(Socket, 0).

%% The connection is at a point behind the next bytes of the answer, if Cowboy has read no more than the request.
?DOC(false).
point(Socket, Answer) ->
    {_, Bytes} = get(?MODULE),
    case cnode_sessions:taken(Socket) of
        Bytes -> cnode_sessions:stands_behind(Socket, Answer, <<>>);
        _ -> {error, no_point}
    end.

%% What a request has of bytes, as clients write it, behind those before; false: Req does not tell.
bytes(Before, #{method := Method, path := Path, qs := Query, headers := Headers} = Req) ->
    Head = maps:fold(fun(Name, Value, N) -> N + byte_size(Name) + byte_size(Value) + byte_size(<<": \r\n">>) end,
        byte_size(<<Method/binary, " ", Path/binary, " HTTP/1.1\r\n\r\n">>) + case Query of <<>> -> 0; _ -> 1 + byte_size(Query) end, Headers),
    case Req of
        #{has_body := true, body_length := Length} -> is_integer(Length) andalso Before + Head + Length;
        _ -> Before + Head
    end.

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
