%% Follows HTTP/1.1 on a connection, as far as its process lets it see: so that a point is told with the last bytes of an answer, and
%% not after them, when its client waits for nothing any more. What it does not understand it leaves alone, and there is no such
%% point. It keeps what it knows in the dictionary of the connection's process.
-module(cnode_sessions_http).
-include("cnode_doc.hrl").
?MODULEDOC(false).
-include("cnode_sessions.hrl").

-export([waits/0, came/1, reads/0, asked/1, forget/0, closes/0, send/3, sends/2, sends_file/2]).

-define(LONGEST, 65536). % bytes of a head

-type method() :: atom() | binary().
-type following() :: {head, binary()} % of a request, to be completed
    | {body, pos_integer(), method()} % of the request, still to come
    | reads
    | {asked, method()} % all of it is here, and nothing behind it
    | {answer, non_neg_integer()} % bytes of it that are still to be written
    | chunks % of it
    | over | closes | undefined.

%% The process waits for a request, of which it has nothing yet.
-spec waits() -> ok.
waits() -> now({head, <<>>}).

%% It has read these bytes.
-spec came(binary()) -> ok.
came(Data) -> now(came(Data, get(?MODULE))).

%% It has begun with a request, of which it reads on.
-spec reads() -> ok.
reads() -> now(reads).

%% It has read all of that, and nothing behind it.
-spec asked(method()) -> ok.
asked(Method) ->
    case get(?MODULE) of
        reads -> now({asked, Method});
        _ -> ok % the answer has begun
    end.

-spec forget() -> ok.
forget() -> now(undefined).

%% Whether the answer has said that the server ends the connection.
-spec closes() -> boolean().
closes() -> get(?MODULE) =:= closes.

%% Sends a part of an answer. If it is the last one, Point is called before with the number of its bytes.
-spec send(gen_tcp:socket(), iodata(), fun((non_neg_integer()) -> term())) -> ok | {error, term()}.
send(Socket, Data, Point) ->
    case get(?MODULE) of
        undefined -> gen_tcp:send(Socket, Data);
        Following ->
            Parts = erlang:iolist_to_iovec(Data),
            now(sent(Following, Parts, iolist_size(Parts), Point)),
            Sent = gen_tcp:send(Socket, Parts),
            ?STEP(answered),
            Sent
    end.

%% The caller sends a part of an answer by itself, as `send/3` would.
-spec sends([binary()], fun((non_neg_integer()) -> term())) -> ok.
sends(Parts, Point) -> now(sent(get(?MODULE), Parts, iolist_size(Parts), Point)).

%% The caller sends so many bytes of a file, as `send/3` would.
-spec sends_file(non_neg_integer(), fun((non_neg_integer()) -> term())) -> ok.
sends_file(Bytes, Point) -> now(sent(get(?MODULE), [], Bytes, Point)).

now(undefined) ->
    _ = erase(?MODULE),
    ok;
now(Following) ->
    _ = put(?MODULE, Following),
    ok.

%%% Requests

-spec came(binary(), following()) -> following().
came(Data, {head, Begun}) -> request(<<Begun/binary, Data/binary>>);
came(Data, {body, Left, Method}) -> body(byte_size(Data), Left, Method);
came(_, _) -> undefined.

request(Head) ->
    case erlang:decode_packet(http_bin, Head, []) of
        {ok, {http_request, Method, _, {1, 1}}, Rest} when Method =/= <<"CONNECT">> ->
            case headers(Rest, #{}) of
                {#{closes := true}, _} -> undefined;
                {#{encoding := _}, _} -> undefined;
                {#{length := Length}, Body} -> body(byte_size(Body), Length, Method);
                {#{}, Body} -> body(byte_size(Body), 0, Method);
                more when byte_size(Head) =< ?LONGEST -> {head, Head};
                _ -> undefined
            end;
        {more, _} when byte_size(Head) =< ?LONGEST -> {head, Head};
        _ -> undefined
    end.

body(Size, Size, Method) -> {asked, Method};
body(Size, Left, Method) when Size < Left -> {body, Left - Size, Method};
body(_, _, _) -> undefined. % the next request has begun

%% Those that say where a message ends, and what follows the head.
headers(Data, Found) ->
    case erlang:decode_packet(httph_bin, Data, []) of
        {ok, http_eoh, Rest} -> {Found, Rest};
        {ok, {http_header, _, 'Content-Length', _, Value}, Rest} ->
            case {string:to_integer(Value), Found} of
                {_, #{length := _}} -> error;
                {{Length, <<>>}, _} when is_integer(Length), Length >= 0 -> headers(Rest, Found#{length => Length});
                _ -> error
            end;
        {ok, {http_header, _, 'Transfer-Encoding', _, Value}, Rest} -> headers(Rest, Found#{encoding => Value});
        {ok, {http_header, _, 'Connection', _, Value}, Rest} ->
            headers(Rest, case string:find(string:lowercase(Value), "close") of nomatch -> Found; _ -> Found#{closes => true} end);
        {ok, {http_header, _, _, _, _}, Rest} -> headers(Rest, Found);
        {more, _} -> more;
        _ -> error
    end.

%%% Answers

-spec sent(following(), [binary()], non_neg_integer(), fun((non_neg_integer()) -> term())) -> following().
sent({asked, Method} = Following, Parts, Size, Point) ->
    case answer(Parts, <<>>) of
        {Status, _, _} when Status < 200 -> Following; % the answer comes behind it
        {_, #{closes := true}, _} -> closes;
        {Status, _, Head} when Method =:= 'HEAD'; Status =:= 204; Status =:= 304 -> written(Head, Size, Point);
        {_, #{encoding := <<"chunked">>}, Size} -> chunks;
        {_, #{length := Length}, Head} -> written(Head + Length, Size, Point);
        _ -> undefined
    end;
sent({answer, Left}, _, Size, Point) -> written(Left, Size, Point);
sent(chunks, Parts, Size, Point) -> chunk(Parts, Size, Point);
sent(closes, _, _, _) -> closes;
sent(_, _, _, _) -> undefined.

written(Size, Size, Point) ->
    _ = Point(Size),
    over;
written(Expected, Size, _) when Size < Expected -> {answer, Expected - Size};
written(_, _, _) -> undefined.

%% Servers send chunks one by one, the last one alone or behind another.
chunk([Part | _], Size, Point) ->
    [Digits | _] = binary:split(Part, <<"\r\n">>),
    Data = try binary_to_integer(Digits, 16) catch error:badarg -> -1 end,
    case Size - byte_size(Digits) - byte_size(<<"\r\n\r\n">>) of
        0 when Data =:= 0 -> written(Size, Size, Point);
        Data when Data > 0 -> chunks;
        Left when Data > 0, Left - Data =:= byte_size(<<"0\r\n\r\n">>) -> written(Size, Size, Point);
        _ -> undefined
    end;
chunk([], _, _) -> undefined.

%% The status of an answer, its headers, and the number of bytes of its head, which has to be here.
answer([], _) -> error;
answer([Part | Parts], Before) ->
    Data = <<Before/binary, Part/binary>>,
    case erlang:decode_packet(http_bin, Data, []) of
        {ok, {http_response, {1, 1}, Status, _}, Rest} ->
            case headers(Rest, #{}) of
                {Headers, Body} -> {Status, Headers, byte_size(Data) - byte_size(Body)};
                more when byte_size(Data) =< ?LONGEST -> answer(Parts, Data);
                _ -> error
            end;
        {more, _} when byte_size(Data) =< ?LONGEST -> answer(Parts, Data);
        _ -> error
    end.
