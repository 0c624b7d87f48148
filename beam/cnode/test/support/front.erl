%% A front for tests: it keeps the duplicates, and tells the test what it hears. Sessions are connections of clients here.
-module(front).
-export([start/1, start/2, accept/2, listen/2, stop/1, stop/2, connect/1, give/3, give/4, say/2, heard/1, heard/2, descriptors/0, path/0,
    eventually/1]).

-record(front, {path, controls, control, stream, given}).

path() -> filename:join("/tmp", "cnode" ++ os:getpid() ++ integer_to_list(erlang:unique_integer([positive]))).

start(Path) -> start(Path, 64).

%% Listens, waits for one worker, and answers its hello.
start(Path, Window) ->
    {ok, Controls} = listen(seqpacket, Path ++ ".control"),
    F = #front{path = Path, controls = Controls},
    accept(F, Window).

accept(#front{controls = Controls} = F, Window) ->
    {ok, Control} = socket:accept(Controls, 30000), % a worker that has found nobody pauses for up to 10 s
    {ok, <<"h", 1, _, _/binary>>} = socket:recv(Control, 0, 30000),
    ok = socket:setopt(Control, {otp, rcvbuf}, 131072), % the longest packet
    {Mine, Given, Fd} = pair(),
    Welcome = case Window of
        {N, Most} -> <<"w", 1, N:16, Most:32>>; % a front that takes points in parts
        N -> <<"w", 1, N:16>>
    end,
    ok = socket:sendmsg(Control, message(Welcome, Fd)),
    F#front{control = Control, stream = Mine, given = Given}.

listen(Type, Path) ->
    {ok, L} = socket:open(local, Type),
    ok = socket:bind(L, #{family => local, path => Path}),
    ok = socket:listen(L),
    {ok, L}.

pair() ->
    Path = path(),
    {ok, L} = listen(stream, Path),
    {ok, A} = socket:open(local, stream),
    ok = socket:connect(A, #{family => local, path => Path}),
    {ok, B} = socket:accept(L),
    ok = socket:close(L),
    ok = file:delete(Path),
    {ok, Fd} = socket:getopt(B, {otp, fd}),
    {A, B, Fd}.

message(Data, Fd) -> #{iov => [Data], ctrl => [#{level => socket, type => rights, data => <<Fd:32/native>>}]}.

stop(#front{} = F) -> stop(F, all).
%% To close a socket makes the file blocking for all who have it: a worker would stand still. So the end comes first.
stop(#front{control = Control, stream = Stream, given = Given, controls = Controls, path = Path}, What) ->
    _ = socket:close(Stream),
    _ = socket:close(Given),
    _ = socket:close(Control),
    _ = What =:= all andalso socket:close(Controls),
    _ = What =:= all andalso file:delete(Path ++ ".control"),
    ok.

%% A client and the accepted connection.
connect(Family) ->
    Address = case Family of inet -> {127, 0, 0, 1}; inet6 -> {0, 0, 0, 0, 0, 0, 0, 1} end,
    {ok, L} = gen_tcp:listen(0, [Family, binary, {active, false}, {ip, Address}]),
    {ok, Port} = inet:port(L),
    {ok, C} = gen_tcp:connect(Address, Port, [Family, binary, {active, false}]),
    {ok, A} = gen_tcp:accept(L),
    ok = gen_tcp:close(L),
    {C, A}.

give(F, Id, Accepted) -> give(F, Id, Accepted, {<<>>, <<>>}).
give(#front{stream = Stream}, Id, Accepted, {State, First}) ->
    {ok, Fd} = inet:getfd(Accepted),
    {ok, {Address, _} = Local} = inet:sockname(Accepted),
    {ok, Remote} = inet:peername(Accepted),
    Data = <<16#C5, Id:64, (byte_size(State)):32, State/binary, First/binary>>,
    Bytes = cnode_sessions_wire:encode(case tuple_size(Address) of 4 -> inet; 8 -> inet6 end, Local, Remote, Data),
    <<Head:1/binary, Rest/binary>> = Bytes,
    ok = socket:sendmsg(Stream, message(Head, Fd)),
    ok = socket:send(Stream, Rest).

say(#front{control = Control}, Packet) -> ok = socket:send(Control, Packet).

heard(F) -> heard(F, 5000).
heard(#front{control = Control}, Timeout) ->
    case socket:recv(Control, 0, Timeout) of
        {ok, <<"m", Id:64, C:64, W:64, N:32, Rest:N/binary, State/binary>>} -> {point, Id, C, W, Rest, State};
        {ok, <<Kind, Id:64>>} -> {[Kind], Id};
        {ok, Other} -> binary_to_list(Other);
        Error -> Error
    end.

%% The number of this system's descriptors.
descriptors() ->
    {ok, L} = file:list_dir("/proc/self/fd"),
    length(L).

eventually(F) -> eventually(F, 200).
eventually(F, 0) -> {never, F()};
eventually(F, N) ->
    case F() of
        true -> true;
        _ -> timer:sleep(25), eventually(F, N - 1)
    end.
