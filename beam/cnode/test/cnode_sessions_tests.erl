-module(cnode_sessions_tests).
-define(EUNIT_NOAUTO, true). % so that run/0 runs where EUnit is not installed
-include_lib("eunit/include/eunit.hrl").
-include("cnode_sessions.hrl").
-export([all_test_/0, run/0, tests/0, log/2]).

all_test_() -> {setup, fun begins/0, fun(_) -> application:stop(cnode) end, [{name(F), {spawn, {timeout, 60, F}}} || F <- tests()]}.

%% The same without EUnit, one line for each test.
run() ->
    begins(),
    Only = [A || A <- init:get_plain_arguments()],
    _ = [begin
        {P, M} = spawn_monitor(fun() -> F(), exit(done) end),
        receive
            {'DOWN', M, _, P, done} -> io:format("ok ~s~n", [name(F)]);
            {'DOWN', M, _, P, Reason} -> io:format("FAILED ~s: ~p~n", [name(F), Reason])
        end
     end || F <- tests(), Only =:= [] orelse lists:member(name(F), Only)],
    application:stop(cnode),
    io:format("end~n").

begins() ->
    logger:set_primary_config(level, critical),
    {ok, _} = application:ensure_all_started(cnode).

name(F) -> atom_to_list(element(2, erlang:fun_info(F, name))).

tests() -> [fun answers/0, fun first_bytes/0, fun ipv6/0, fun retires/0, fun owner_dies/0, fun server_dies/0, fun guard_dies/0,
            fun front_ends/0, fun front_stops/0, fun front_is_gone/0, fun server_stops/0, fun server_stops_early/0,
            fun void_is_late/0, fun front_comes_late/0,
             fun front_says_no/0, fun front_hangs/0, fun no_descriptor/0, fun malformed/0,
            fun peeks/0, fun files/0, fun put_back/0, fun modes/0, fun too_large/0, fun parts/0, fun send_timeout/0, fun idle_points/0, fun unread_messages/0, fun delivered_messages/0, fun http_answers/0, fun http_not_followed/0, fun plain_senders/0, fun forwards/0,
            fun transports_server/0, fun transports_server_hears_late/0,
            fun transport_crash/0, fun wrong_options/0, fun many/0,
    fun application_stops/0].

%% A worker and its front. The server belongs to the test.
world(Options) ->
    Path = front:path(),
    {ok, Server} = cnode_sessions:start_link(Options#{front => Path}),
    unlink(Server),
    {Server, front:start(Path)}.

ends(Server, Front) ->
    ok = gen_server:stop(Server),
    front:stop(Front).

answers() ->
    Base = front:descriptors(),
    {Server, F} = world(#{name => "eunit"}),
    {C, A} = front:connect(inet),
    front:give(F, 7, A, {<<"before">>, <<>>}),
    {ok, S} = cnode_sessions:accept(Server, 5000),
    ?assertEqual({"t", 7}, front:heard(F)),
    {ok, #{id := 7, state := <<"before">>, read := <<>>, local := Local, remote := Remote}} = cnode_sessions:info(S),
    ?assertEqual({ok, Remote}, inet:sockname(C)),
    ?assertEqual({ok, Local}, inet:peername(C)),
    ok = gen_tcp:send(C, "one\nand"),
    {ok, <<"one\nand">>} = gen_tcp:recv(S, 7, 5000),
    ok = cnode_sessions:answer(S, "1\n", <<"and">>, <<"after 1">>),
    ?assertEqual({point, 7, 7, 2, <<"and">>, <<"after 1">>}, front:heard(F)),
    {ok, <<"1\n">>} = gen_tcp:recv(C, 2, 5000),
    ok = gen_tcp:send(C, " more"),
    {ok, <<" more">>} = gen_tcp:recv(S, 5, 5000),
    ok = cnode_sessions:received(S, <<"and more">>),
    ?assertEqual({point, 7, 12, 2, <<"and more">>, <<"after 1">>}, front:heard(F)),
    ok = cnode_sessions:no_point(S),
    ?assertMatch({point, 7, 16#FFFFFFFFFFFFFFFF, _, _, _}, front:heard(F)),
    ?assertEqual({error, emsgsize}, cnode_sessions:point(S, binary:copy(<<0>>, 70000))),
    ok = cnode_sessions:close(S),
    ?assertEqual({"d", 7}, front:heard(F)),
    ?assertEqual({error, closed}, cnode_sessions:info(S)),
    ?assertEqual({error, closed}, cnode_sessions:answer(S, "x", <<>>)),
    ?assertEqual({error, timeout}, cnode_sessions:accept(Server, 10)),
    ok = gen_tcp:close(C),
    ok = gen_tcp:close(A),
    ends(Server, F),
    ?assert(front:eventually(fun() -> front:descriptors() =:= Base end)).

first_bytes() ->
    {Server, F} = world(#{}),
    {C, A} = front:connect(inet),
    front:give(F, 1, A, {<<>>, <<"GET">>}),
    {ok, S} = cnode_sessions:accept(Server, 5000),
    {"t", 1} = front:heard(F),
    ok = gen_tcp:send(C, " /"),
    {ok, <<"GET">>} = gen_tcp:recv(S, 3, 5000),
    {ok, <<" /">>} = gen_tcp:recv(S, 2, 5000),
    ok = cnode_sessions:received(S, <<"GET /">>),
    ?assertEqual({point, 1, 2, 0, <<"GET /">>, <<>>}, front:heard(F)),
    ok = gen_tcp:close(S),
    {"d", 1} = front:heard(F),
    _ = [gen_tcp:close(C), gen_tcp:close(A)],
    ends(Server, F).

ipv6() ->
    {Server, F} = world(#{socket_opts => [{nodelay, true}]}),
    {C, A} = front:connect(inet6),
    front:give(F, 1, A),
    {ok, S} = cnode_sessions:accept(Server, 5000),
    {ok, #{remote := {{0, 0, 0, 0, 0, 0, 0, 1}, _} = Remote}} = cnode_sessions:info(S),
    ?assertEqual({ok, Remote}, inet:peername(S)),
    ?assertEqual({ok, [{nodelay, true}]}, inet:getopts(S, [nodelay])),
    ok = gen_tcp:send(S, "six"),
    {ok, <<"six">>} = gen_tcp:recv(C, 3, 5000),
    _ = [gen_tcp:close(C), gen_tcp:close(S), gen_tcp:close(A)],
    ends(Server, F).

%% What is closed while the server retires is given back, goodbyes are not sent, and what nobody has taken is given back.
retires() ->
    {Server, F} = world(#{}),
    {C1, A1} = front:connect(inet),
    {C2, A2} = front:connect(inet),
    front:give(F, 1, A1),
    {ok, S} = cnode_sessions:accept(Server, 5000),
    {"t", 1} = front:heard(F),
    front:give(F, 2, A2),
    ?assert(front:eventually(fun() -> map_get(ready, cnode_sessions:status(Server)) =:= 1 end)),
    Me = self(),
    spawn(fun() -> Me ! cnode_sessions:accept(Server, infinity), Me ! cnode_sessions:accept(Server, infinity) end),
    {ok, _} = receive R1 -> R1 after 5000 -> none end,
    {"t", 2} = front:heard(F),
    ok = cnode_sessions:retire(Server),
    ?assertEqual({error, closed}, receive R2 -> R2 after 5000 -> none end),
    ?assertEqual(lists:sort(["r", {"x", 2}]), lists:sort([front:heard(F), front:heard(F)])), % its owner has ended
    ?assertEqual({error, enotconn}, cnode_sessions:shutdown(S, write)),
    ?assertEqual({error, closed}, cnode_sessions:accept(Server, infinity)),
    ok = cnode_sessions:close(S),
    ?assertEqual({"x", 1}, front:heard(F)),
    ok = gen_tcp:send(A1, "goes on"),
    {ok, <<"goes on">>} = gen_tcp:recv(C1, 7, 5000),
    {C3, A3} = front:connect(inet),
    front:give(F, 3, A3), % it was under way
    ?assertEqual({"f", 3}, front:heard(F)),
    [gen_tcp:close(C) || C <- [C1, C2, C3]],
    [gen_tcp:close(A) || A <- [A1, A2, A3]],
    ends(Server, F).

owner_dies() ->
    Base = front:descriptors(),
    {Server, F} = world(#{}),
    {C, A} = front:connect(inet),
    front:give(F, 1, A),
    Me = self(),
    P = spawn(fun() -> {ok, S} = cnode_sessions:accept(Server, 5000), Me ! S, timer:sleep(infinity) end),
    receive S when is_port(S) -> ok end,
    {"t", 1} = front:heard(F),
    exit(P, kill),
    ?assertEqual({"d", 1}, front:heard(F)),
    _ = [gen_tcp:close(C), gen_tcp:close(A)],
    ends(Server, F),
    ?assert(front:eventually(fun() -> front:descriptors() =:= Base end)).

%% The server dies: who serves a session serves it on, exactly, and its descriptor is closed at its end.
server_dies() ->
    Base = front:descriptors(),
    [begin
        {Server, F} = world(#{adopt => Kind}),
        {C, A} = front:connect(inet),
        {C2, A2} = front:connect(inet),
        front:give(F, 1, A),
        {ok, S} = cnode_sessions:accept(Server, 5000),
        {"t", 1} = front:heard(F),
        front:give(F, 2, A2),
        ?assert(front:eventually(fun() -> map_get(ready, cnode_sessions:status(Server)) =:= 1 end)),
        exit(Server, kill),
        ?assertEqual(lists:sort(["n", {"x", 2}]), lists:sort([front:heard(F), front:heard(F)])),
        ok = cnode_sessions:answer(S, "still here", <<"state">>),
        ?assertEqual({point, 1, 0, 10, <<>>, <<"state">>}, front:heard(F)),
        {ok, <<"still here">>} = gen_tcp:recv(C, 10, 5000),
        ok = cnode_sessions:close(S),
        ?assertEqual({"d", 1}, front:heard(F)),
        ?assertEqual("", case front:heard(F) of {error, econnreset} -> ""; {error, closed} -> ""; Other -> Other end), % the last one
        [gen_tcp:close(X) || X <- [C, C2]],
        [gen_tcp:close(X) || X <- [A, A2]],
        front:stop(F)
     end || Kind <- [gen_tcp, socket]],
    ?assert(front:eventually(fun() -> front:descriptors() =:= Base end)).

%% The guard dies: the next one finds the sessions, and closes the descriptors of those that are closed meanwhile.
guard_dies() ->
    Base = front:descriptors(),
    {Server, F} = world(#{}),
    {C, A} = front:connect(inet),
    {C2, A2} = front:connect(inet),
    front:give(F, 1, A),
    front:give(F, 2, A2),
    {ok, S} = cnode_sessions:accept(Server, 5000),
    {ok, S2} = cnode_sessions:accept(Server, 5000),
    _ = [front:heard(F), front:heard(F)],
    Guard = whereis(cnode_sessions_guard),
    sys:suspend(Guard),
    ok = gen_tcp:close(S),
    exit(Guard, kill),
    ?assert(front:eventually(fun() -> ets:lookup(?TABLE, S) =:= [] andalso whereis(cnode_sessions_guard) =/= Guard end)),
    ok = gen_tcp:send(S2, "on"),
    {ok, <<"on">>} = gen_tcp:recv(C2, 2, 5000),
    ok = gen_tcp:close(S2),
    F2 = front:accept(F, 64), % the socket to the front was the guard's
    front:stop(F, worker),
    front:give(F2, 3, A),
    {ok, S3} = cnode_sessions:accept(Server, 5000),
    ?assertEqual({"t", 3}, front:heard(F2)),
    ok = gen_tcp:close(S3),
    ?assertEqual({"d", 3}, front:heard(F2)),
    [gen_tcp:close(X) || X <- [C, C2, A, A2]],
    ends(Server, F2),
    ?assert(front:eventually(fun() -> front:descriptors() =:= Base end)).

%% The front ends: sessions are served on, and are this system's own; the next front is found.
front_ends() ->
    Base = front:descriptors(),
    {Server, F} = world(#{}),
    {C, A} = front:connect(inet),
    front:give(F, 1, A),
    {ok, S} = cnode_sessions:accept(Server, 5000),
    {"t", 1} = front:heard(F),
    front:stop(F, worker),
    ok = gen_tcp:close(A),
    F2 = front:accept(F, 64),
    ok = cnode_sessions:answer(S, "alone", <<>>),
    {ok, <<"alone">>} = gen_tcp:recv(C, 5, 5000),
    ?assertEqual({error, no_front}, cnode_sessions:point(S, <<>>)),
    ok = cnode_sessions:close(S), % the last copy of it
    ?assertEqual({error, closed}, gen_tcp:recv(C, 0, 5000)),
    {C2, A2} = front:connect(inet),
    front:give(F2, 2, A2),
    {ok, S2} = cnode_sessions:accept(Server, 5000),
    {"t", 2} = front:heard(F2),
    [gen_tcp:close(X) || X <- [C, C2, S2]],
    ok = gen_tcp:close(A2),
    ends(Server, F2),
    ?assert(front:eventually(fun() -> front:descriptors() =:= Base end)).

%% The front says that it stops: what is on its way is served, and the next front is looked for meanwhile.
front_stops() ->
    Base = front:descriptors(),
    [begin
        {Server, F} = world(#{adopt => Kind}),
        Pairs = [front:connect(inet) || _ <- [1, 2, 3]],
        sys:suspend(Server),
        [front:give(F, I, A) || {I, {_, A}} <- lists:zip([1, 2], tl(Pairs))],
        front:say(F, <<"c">>),
        sys:resume(Server),
        ?assert(front:eventually(fun() -> map_get(ready, cnode_sessions:status(Server)) =:= 2 end)),
        front:give(F, 3, element(2, hd(Pairs))), % the last one that it had accepted
        F2 = front:accept(F, 64),
        Sessions = [begin {ok, S} = cnode_sessions:accept(Server, 5000), {"t", I} = front:heard(F), S end || I <- [1, 2, 3]],
        ?assertEqual({error, no_front}, cnode_sessions:point(hd(Sessions), <<>>)),
        ?assertMatch(#{connected := true}, cnode_sessions:status(Server)),
        ok = cnode_sessions:close(lists:last(Sessions)),
        {"d", 3} = front:heard(F),
        front:stop(F, worker),
        [gen_tcp:close(A) || {_, A} <- Pairs],
        [begin
            ok = cnode_sessions:answer(S, "alone", <<>>),
            {ok, <<"alone">>} = gen_tcp:recv(C, 5, 5000),
            ok = cnode_sessions:close(S),
            {error, closed} = gen_tcp:recv(C, 0, 5000)
         end || {S, {C, _}} <- lists:zip(lists:droplast(Sessions), tl(Pairs))],
        [gen_tcp:close(C) || {C, _} <- Pairs],
        ends(Server, F2)
     end || Kind <- [gen_tcp, socket]],
    ?assert(front:eventually(fun() -> front:descriptors() =:= Base end)).

%% The front is gone, with sessions in its stream: they are served.
front_is_gone() ->
    Base = front:descriptors(),
    {Server, F} = world(#{}),
    {C, A} = front:connect(inet),
    sys:suspend(Server),
    front:give(F, 1, A),
    front:stop(F, worker),
    ok = gen_tcp:close(A),
    sys:resume(Server),
    {ok, S} = cnode_sessions:accept(Server, 5000),
    ok = cnode_sessions:answer(S, "alone", <<>>),
    {ok, <<"alone">>} = gen_tcp:recv(C, 5, 5000),
    F2 = front:accept(F, 64),
    [gen_tcp:close(X) || X <- [C, S]],
    ends(Server, F2),
    ?assert(front:eventually(fun() -> front:descriptors() =:= Base end)).

%% A server ends with sessions in its stream that it has not read: the front hears that it will not.
server_stops() ->
    Base = front:descriptors(),
    [begin
        {Server, F} = world(#{}),
        {C, A} = front:connect(inet),
        {C2, A2} = front:connect(inet),
        front:give(F, 1, A),
        {ok, S} = cnode_sessions:accept(Server, 5000),
        {"t", 1} = front:heard(F),
        sys:suspend(Server),
        front:give(F, 2, A2),
        End(Server),
        ?assertEqual(Says ++ ["n"], [front:heard(F) || _ <- Says ++ ["n"]]),
        ok = cnode_sessions:answer(S, "still here", <<>>), % it may be the last thing that the client hears from here
        {point, 1, 0, 10, <<>>, <<>>} = front:heard(F),
        {ok, <<"still here">>} = gen_tcp:recv(C, 10, 5000),
        ok = cnode_sessions:close(S),
        ?assertEqual({Kind, 1}, front:heard(F)),
        ?assertMatch({error, _}, closed(front:heard(F))),
        [gen_tcp:close(X) || X <- [C, C2, A, A2]],
        front:stop(F)
     end || {End, Says, Kind} <- [{fun(P) -> ok = gen_server:stop(P) end, ["r"], "x"}, {fun(P) -> exit(P, kill) end, [], "d"}]],
    ?assert(front:eventually(fun() -> front:descriptors() =:= Base end)).

%% A server that ends before it has read its welcome says that it reads nothing.
server_stops_early() ->
    Base = front:descriptors(),
    [begin
        Path = front:path(),
        {ok, Controls} = front:listen(seqpacket, Path ++ ".control"),
        {ok, Server} = cnode_sessions:start_link(#{front => Path}),
        unlink(Server),
        {ok, Control} = socket:accept(Controls, 10000),
        {ok, <<"h", 1, 2, _/binary>>} = socket:recv(Control, 0, 5000),
        End(Server),
        ?assertEqual(Says, [element(2, socket:recv(Control, 0, 5000)) || _ <- Says]),
        [socket:close(X) || X <- [Control, Controls]],
        ok = file:delete(Path ++ ".control")
     end || {End, Says} <- [{fun(P) -> ok = gen_server:stop(P) end, [<<"r">>, <<"n">>]}, {fun(P) -> exit(P, kill) end, [<<"n">>]}]],
    ?assert(front:eventually(fun() -> front:descriptors() =:= Base end)).

%% That there is no point reaches a front late that did not read, but not behind a point.
void_is_late() ->
    {Server, F} = world(#{}),
    {C, A} = front:connect(inet),
    {C2, A2} = front:connect(inet),
    front:give(F, 1, A),
    front:give(F, 2, A2),
    {ok, S} = cnode_sessions:accept(Server, 5000),
    {ok, S2} = cnode_sessions:accept(Server, 5000),
    {"t", 1} = front:heard(F),
    {"t", 2} = front:heard(F),
    Guard = whereis(cnode_sessions_guard),
    Fill = fun Fill(N) -> case cnode_sessions:point(S, <<0:80000>>) of ok -> Fill(N + 1); E -> {N, E} end end,
    {Full, {error, timeout}} = Fill(0),
    sys:suspend(Guard),
    ?assertEqual({error, timeout}, cnode_sessions:no_point(S)),
    ?assertEqual({error, timeout}, cnode_sessions:no_point(S2)),
    [{point, 1, 0, 0, _, _} = front:heard(F) || _ <- lists:seq(1, Full)],
    ?assert(front:eventually(fun() -> cnode_sessions:point(S2, <<"later">>) =:= ok end)),
    {point, 2, 0, 0, <<>>, <<"later">>} = front:heard(F),
    sys:resume(Guard),
    ?assertMatch({point, 1, 16#FFFFFFFFFFFFFFFF, 16#FFFFFFFFFFFFFFFF, <<>>, <<>>}, front:heard(F)),
    ok = cnode_sessions:close(S2),
    ?assertEqual({"d", 2}, front:heard(F)),
    [gen_tcp:close(X) || X <- [C, C2, S, A, A2]],
    ends(Server, F).

front_comes_late() ->
    Path = front:path(),
    {ok, Server} = cnode_sessions:start_link(#{front => Path}),
    unlink(Server),
    ?assertMatch(#{connected := false}, cnode_sessions:status(Server)),
    F = front:start(Path),
    ?assert(front:eventually(fun() -> map_get(connected, cnode_sessions:status(Server)) end)),
    ends(Server, F).

front_says_no() ->
    Path = front:path(),
    {ok, Controls} = front:listen(seqpacket, Path ++ ".control"),
    {ok, Server} = cnode_sessions:start_link(#{front => Path}),
    unlink(Server),
    [begin
        {ok, Control} = socket:accept(Controls, 10000),
        {ok, <<"h", 1, 2, _/binary>>} = socket:recv(Control, 0, 5000),
        ok = socket:send(Control, Answer),
        _ = socket:close(Control)
     end || Answer <- [<<"etoo many">>, <<"?">>, <<"w", 1, 0, 64>>]],
    ok = gen_server:stop(Server),
    ok = socket:close(Controls),
    ok = file:delete(Path ++ ".control").

%% A front that does not read holds nobody up: a point that finds no room is none, and the end is told later.
front_hangs() ->
    {Server, F} = world(#{}),
    {C, A} = front:connect(inet),
    front:give(F, 1, A),
    {ok, S} = cnode_sessions:accept(Server, 5000),
    {"t", 1} = front:heard(F),
    Fill = fun Fill(N) -> case cnode_sessions:point(S, <<0:80000>>) of ok -> Fill(N + 1); E -> {N, E} end end,
    {Full, Error} = Fill(0),
    ?assertEqual({error, timeout}, Error),
    {Time, _} = timer:tc(fun() -> [{error, timeout} = cnode_sessions:point(S, <<>>) || _ <- lists:seq(1, 100)] end),
    ?assert(Time < 5000000),
    ok = cnode_sessions:answer(S, "served", <<>>),
    {ok, <<"served">>} = gen_tcp:recv(C, 6, 5000),
    ok = cnode_sessions:close(S),
    [{point, 1, _, _, _, _} = front:heard(F) || _ <- lists:seq(1, Full)],
    ?assertEqual({"d", 1}, front:heard(F)),
    _ = [gen_tcp:close(C), gen_tcp:close(A)],
    ends(Server, F).

%% No number is left for the descriptor: that session is refused, those after it are not.
no_descriptor() ->
    {Server, F} = world(#{}),
    {C, A} = front:connect(inet),
    {C2, A2} = front:connect(inet),
    sys:suspend(Server),
    front:give(F, 1, A),
    front:give(F, 2, A2),
    {ok, Limit} = limit(),
    Held = fill(Limit, []),
    sys:resume(Server),
    R = front:heard(F),
    [file:close(X) || X <- Held],
    ?assertEqual({"f", 1}, R),
    Second = front:heard(F, 500),
    front:give(F, 3, A2),
    {ok, S} = cnode_sessions:accept(Server, 5000),
    ok = gen_tcp:send(S, "room"),
    {ok, <<"room">>} = gen_tcp:recv(C2, 4, 5000),
    ?assert(lists:member(Second, [{"f", 2}, {error, timeout}])),
    [gen_tcp:close(X) || X <- [C, C2, S]],
    [gen_tcp:close(X) || X <- [A, A2]],
    ends(Server, F).

limit() ->
    {ok, Text} = file:read_file("/proc/self/limits"),
    {match, [N]} = re:run(Text, "Max open files +([0-9]+)", [{capture, all_but_first, list}]),
    {ok, list_to_integer(N)}.

%% A small limit is the test runner's to set; with a large one the descriptors are opened all the same.
fill(Limit, Held) when length(Held) > Limit -> Held;
fill(Limit, Held) ->
    case file:open("/dev/null", [read, raw]) of
        {ok, F} -> fill(Limit, [F | Held]);
        {error, _} -> Held
    end.

%% Nonsense ends the connection, not the server, and leaves no descriptor.
malformed() ->
    Base = front:descriptors(),
    {Server, F} = world(#{}),
    {C, A} = front:connect(inet),
    {ok, Fd} = inet:getfd(A),
    Stream = element(5, F),
    ok = socket:sendmsg(Stream, #{iov => [<<9, 9, 9>>], ctrl => [#{level => socket, type => rights, data => <<Fd:32/native>>}]}),
    ?assertMatch({error, _}, closed(front:heard(F))),
    front:stop(F, worker),
    F2 = front:accept(F, 64),
    ok = socket:sendmsg(element(5, F2), #{iov => [<<0>>], ctrl => [#{level => socket, type => rights, data => <<Fd:32/native, Fd:32/native>>}]}),
    ?assertMatch({error, _}, closed(front:heard(F2))),
    front:stop(F2, worker),
    F3 = front:accept(F, 64),
    {ok, Name} = inet:sockname(A),
    ok = socket:sendmsg(element(5, F3), #{iov => [cnode_sessions_wire:encode(inet, Name, Name, <<"no envelope">>)],
        ctrl => [#{level => socket, type => rights, data => <<Fd:32/native>>}]}),
    ?assertMatch({error, _}, closed(front:heard(F3))),
    front:stop(F3, worker),
    F4 = front:accept(F, 64),
    _ = [gen_tcp:close(C), gen_tcp:close(A)],
    ends(Server, F4),
    ?assert(front:eventually(fun() -> front:descriptors() =:= Base end)).

closed("") -> {error, closed};
closed(Other) -> Other.

%% Sessions of module socket: what was only looked at is still there for whoever comes after a kill.
peeks() ->
    Base = front:descriptors(),
    {Server, F} = world(#{adopt => socket}),
    {C, A} = front:connect(inet),
    front:give(F, 1, A, {<<"5">>, <<"ab">>}),
    {ok, S} = cnode_sessions:accept(Server, 5000),
    {"t", 1} = front:heard(F),
    {ok, <<"ab">>} = cnode_sessions:peek(S, 5000),
    ok = gen_tcp:send(C, "cd"),
    {ok, <<"abcd">>} = cnode_sessions:more(S, 5000),
    ok = gen_tcp:send(C, "\nrest"),
    {ok, <<"abcd\nrest">>} = cnode_sessions:more(S, 5000),
    {ok, <<"abcd\nrest">>} = cnode_sessions:peek(S, 5000), % also what has come since
    ?assertEqual({point, 1, 2, 0, <<"abcd">>, <<"5">>}, front:heard(F)), % told before it was taken
    ok = cnode_sessions:answer(S, "ok\n", <<"rest">>, <<"6">>),
    ?assertEqual({point, 1, 7, 3, <<"rest">>, <<"6">>}, front:heard(F)),
    {ok, <<"rest">>} = cnode_sessions:peek(S, 5000),
    ok = cnode_sessions:send(S, "part"),
    ok = cnode_sessions:answer(S, "end", <<"7">>),
    ?assertEqual({point, 1, 7, 10, <<>>, <<"7">>}, front:heard(F)),
    {error, timeout} = cnode_sessions:peek(S, 10),
    {ok, <<"ok\npartend">>} = gen_tcp:recv(C, 10, 5000),
    ok = gen_tcp:close(C),
    {error, closed} = cnode_sessions:peek(S, 5000),
    ok = cnode_sessions:close(S),
    {"d", 1} = front:heard(F),
    ok = gen_tcp:close(A),
    ends(Server, F),
    ?assert(front:eventually(fun() -> front:descriptors() =:= Base end)).

%% Bytes of files are counted, which the driver does not.
files() ->
    File = front:path(),
    ok = file:write_file(File, binary:copy(<<"f">>, 100000)),
    {ok, Raw} = file:open(File, [read, raw, binary]),
    [begin
        {Server, F} = world(#{adopt => Kind}),
        {C, A} = front:connect(inet),
        front:give(F, 1, A),
        {ok, S} = cnode_sessions:accept(Server, 5000),
        {"t", 1} = front:heard(F),
        Me = self(),
        spawn_link(fun() -> Me ! gen_tcp:recv(C, 100010, 5000) end),
        ok = cnode_sessions:answer(S, "head", <<>>),
        {point, 1, 0, 4, <<>>, <<>>} = front:heard(F),
        ?assertEqual({ok, 99999}, cnode_sessions:sendfile(S, Raw, 1, 0, [])),
        ?assertEqual({ok, 5}, cnode_sessions:sendfile(S, Raw, 0, 5, [])),
        ok = cnode_sessions:answer(S, "es", <<"2">>),
        ?assertEqual({point, 1, 0, 100010, <<>>, <<"2">>}, front:heard(F)),
        {ok, Got} = receive R -> R after 5000 -> none end,
        ?assertEqual(100010, byte_size(Got)),
        ok = cnode_sessions:point(S, <<"3">>),
        ?assertEqual({point, 1, 0, 100010, <<>>, <<"3">>}, front:heard(F)),
        ok = gen_tcp:close(C),
        ok = gen_tcp:close(A),
        ?assertMatch({error, _}, broken(fun() -> cnode_sessions:sendfile(S, Raw, 0, 0, []) end, 1000)),
        ok = cnode_sessions:point(S, <<"lost">>),
        {point, 1, 0, Never, <<>>, <<"lost">>} = front:heard(F),
        ?assert(Never >= 1 bsl 62),
        ok = cnode_sessions:close(S),
        ends(Server, F)
     end || Kind <- [gen_tcp, socket]],
    ok = file:close(Raw),
    ok = file:delete(File).

broken(Do, N) ->
    case Do() of
        {ok, _} when N > 0 -> broken(Do, N - 1);
        Result -> Result
    end.

%% Bytes that are put back are counted once, and are unread until they are read again.
put_back() ->
    {Server, F} = world(#{}),
    {C, A} = front:connect(inet),
    front:give(F, 1, A, {<<>>, <<"ab">>}),
    {ok, S} = cnode_sessions:accept(Server, 5000),
    {"t", 1} = front:heard(F),
    ok = gen_tcp:send(C, "cdef"),
    {ok, <<"abcd">>} = gen_tcp:recv(S, 4, 5000),
    ok = cnode_sessions:unrecv(S, <<"bcd">>),
    ?assertEqual({error, unread}, cnode_sessions:point(S, <<>>)),
    {ok, <<"bc">>} = gen_tcp:recv(S, 2, 5000),
    ok = cnode_sessions:unrecv(S, <<"c">>),
    ?assertEqual({error, unread}, cnode_sessions:point(S, <<>>)),
    {ok, <<"cdef">>} = gen_tcp:recv(S, 4, 5000),
    ok = cnode_sessions:point(S, <<>>),
    ?assertEqual({point, 1, 4, 0, <<>>, <<>>}, front:heard(F)),
    [gen_tcp:close(X) || X <- [C, S, A]],
    ends(Server, F).

%% An answer whose state is too large is sent, and that there is no point is in the log, once.
too_large() ->
    {Server, F} = world(#{}),
    {C, A} = front:connect(inet),
    front:give(F, 1, A),
    {ok, S} = cnode_sessions:accept(Server, 5000),
    true = ets:match_delete(?TABLE, {said, emsgsize}),
    Level = maps:get(level, logger:get_primary_config()),
    _ = logger:set_handler_config(default, level, none),
    ok = logger:set_primary_config(level, warning),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => self()}),
    try
        [begin
            ok = cnode_sessions:answer(S, "sent", binary:copy(<<0>>, 70000)),
            {ok, <<"sent">>} = gen_tcp:recv(C, 4, 5000)
         end || _ <- [1, 2]]
    after
        ok = logger:remove_handler(?MODULE),
        ok = logger:set_primary_config(level, Level),
        _ = logger:set_handler_config(default, level, all),
        true = ets:match_delete(?TABLE, {said, emsgsize})
    end,
    {log, Text} = receive {log, _} = Log -> Log after 5000 -> none end,
    ?assert(string:find(Text, "70000") =/= nomatch),
    none = receive {log, Again} -> Again after 0 -> none end,
    [gen_tcp:close(X) || X <- [C, S, A]],
    ends(Server, F).

log(#{msg := {Format, Args}}, #{config := Test}) -> Test ! {log, lists:flatten(io_lib:format(Format, Args))}.

%% A client that does not read keeps nobody for ever.
send_timeout() ->
    {Server, F} = world(#{adopt => socket, socket_opts => [{send_timeout, 50}]}),
    {C, A} = front:connect(inet),
    front:give(F, 1, A),
    {ok, S} = cnode_sessions:accept(Server, 5000),
    Much = binary:copy(<<0>>, 1 bsl 26),
    ?assertEqual({error, timeout}, cnode_sessions:answer(S, Much, <<>>)),
    ?assertEqual({error, timeout}, cnode_sessions:send(S, Much)),
    ok = cnode_sessions:close(S),
    [gen_tcp:close(X) || X <- [C, A]],
    ends(Server, F).

%% What states begin with is told once, and what is too long for a packet in parts. A front of before gets neither.
parts() ->
    [begin
        Path = front:path(),
        {ok, Server} = cnode_sessions:start_link(#{front => Path, adopt => socket}),
        unlink(Server),
        F = front:start(Path, Window),
        _ = ["l" = front:heard(F) || is_tuple(Window)],
        {C, A} = front:connect(inet),
        front:give(F, 1, A),
        {ok, S} = cnode_sessions:accept(Server, 5000),
        {"t", 1} = front:heard(F),
        true = cnode_sessions:counts(S, 5, 6),
        ?assertEqual({ok, 5, 6}, cnode_sessions:counts(S)),
        ok = cnode_sessions:tells(S, 5, 6, <<"rest">>, <<"head">>, <<"state">>),
        Long = binary:copy(<<"r">>, 150000),
        case Window of
            64 ->
                ?assertEqual({point, 1, 5, 6, <<"rest">>, <<"headstate">>}, front:heard(F)),
                ?assertEqual({error, emsgsize}, cnode_sessions:tells(S, 5, 6, Long, <<"head">>, <<"state">>));
            _ ->
                ?assertEqual(<<"b", 1:64, "head">>, list_to_binary(front:heard(F))),
                ?assertEqual(<<"p", 1:64, 5:64, 6:64, 4:32, 4:32, 0:32, "reststate">>, list_to_binary(front:heard(F))),
                ok = cnode_sessions:tells(S, 7, 8, Long, <<"head">>, <<"next">>),
                Part = binary:copy(<<"r">>, 65536),
                Last = binary:copy(<<"r">>, 150000 - 2 * 65536),
                ?assertEqual(<<"a", 1:64, 0:32, Part/binary>>, list_to_binary(front:heard(F))),
                ?assertEqual(<<"a", 1:64, 65536:32, Part/binary>>, list_to_binary(front:heard(F))),
                ?assertEqual(<<"p", 1:64, 7:64, 8:64, 150000:32, 4:32, 131072:32, Last/binary, "next">>, list_to_binary(front:heard(F))),
                ?assertEqual({error, emsgsize}, cnode_sessions:tells(S, 7, 8, Long, <<"head">>, binary:copy(<<0>>, 100000)))
        end,
        ?assertNot(cnode_sessions:leaves(S)),
        ok = cnode_sessions:retire(Server),
        ?assert(cnode_sessions:leaves(S)),
        ok = cnode_sessions:close(S),
        [gen_tcp:close(X) || X <- [C, A]],
        ends(Server, F)
     end || Window <- [64, {64, 200000}]],
    [_ | Turns] = [cnode_sessions:turn(100) || _ <- lists:seq(1, 11)],
    ?assert(lists:last(Turns) >= 80 andalso lists:last(Turns) =< 100),
    [true = ets:delete(?TABLE, Key) || Key <- [turns, emsgsize]].

%% A front hears in the first packet whether points may be ahead of what was taken.
modes() ->
    [begin
        Path = front:path(),
        {ok, Controls} = front:listen(seqpacket, Path ++ ".control"),
        {ok, Server} = cnode_sessions:start_link(#{front => Path, adopt => Kind}),
        unlink(Server),
        {ok, Control} = socket:accept(Controls, 10000),
        ?assertMatch({ok, <<"h", 1, Mode, _/binary>>}, socket:recv(Control, 0, 5000)),
        ok = gen_server:stop(Server),
        [socket:close(X) || X <- [Control, Controls]],
        ok = file:delete(Path ++ ".control")
     end || {Kind, Mode} <- [{socket, 1}, {gen_tcp, 2}]].

idle_points() ->
    {Server, F} = world(#{points => idle}),
    {C, A} = front:connect(inet),
    front:give(F, 1, A, {<<"s">>, <<>>}),
    {ok, S} = cnode_sessions:accept(Server, 5000),
    {"t", 1} = front:heard(F),
    ok = cnode_sessions:idle(S),
    ?assertEqual({point, 1, 0, 0, <<>>, <<"s">>}, front:heard(F)),
    ok = cnode_sessions:stay(S),
    ?assertMatch({point, 1, 16#FFFFFFFFFFFFFFFF, _, _, _}, front:heard(F)),
    ?assertEqual({error, no_point}, cnode_sessions:idle(S)),
    [gen_tcp:close(X) || X <- [C, S]],
    ok = gen_tcp:close(A),
    ends(Server, F).

%% A message with data is read, and not dealt with: the next process would read it behind the rest.
unread_messages() ->
    {Server, F} = world(#{}),
    {C, A} = front:connect(inet),
    front:give(F, 1, A),
    {ok, S} = cnode_sessions:accept(Server, 5000),
    {"t", 1} = front:heard(F),
    self() ! other,
    ok = cnode_sessions:point(S, <<>>),
    {point, 1, 0, 0, <<>>, <<>>} = front:heard(F),
    ok = inet:setopts(S, [{active, once}]),
    ok = gen_tcp:send(C, "x"),
    ?assert(front:eventually(fun() -> {_, Came} = process_info(self(), messages), lists:member({tcp, S, <<"x">>}, Came) end)),
    [begin % what is pushed meanwhile stands at a point, too
        ok = cnode_sessions:answer(S, "push", <<"w">>, integer_to_binary(N)),
        ?assertEqual({point, 1, 1, 4 * N, <<"wx">>, integer_to_binary(N)}, front:heard(F))
     end || N <- [1, 2]],
    receive {tcp, S, <<"x">>} -> ok end,
    ok = cnode_sessions:received(S, <<"wx">>),
    ?assertEqual({point, 1, 1, 8, <<"wx">>, <<"2">>}, front:heard(F)),
    ok = cnode_sessions:point(S, <<>>),
    ?assertEqual({point, 1, 1, 8, <<>>, <<>>}, front:heard(F)),
    ok = cnode_sessions:answer(S, "y", <<>>),
    ?assertEqual({point, 1, 1, 9, <<>>, <<>>}, front:heard(F)),
    receive other -> ok end,
    ok = inet:setopts(S, [{active, once}, {packet, http_bin}]), % of which nobody can say the bytes
    ok = gen_tcp:send(C, "GET / HTTP/1.1\r\n"),
    ?assert(front:eventually(fun() ->
        receive nothing -> ok after 0 -> ok end, % process_info/2 of OTP 25 does not see what no receive has looked for
        {_, Came} = process_info(self(), messages),
        lists:keymember(S, 2, Came)
    end)),
    ?assertEqual({error, unread}, cnode_sessions:point(S, <<>>)),
    [gen_tcp:close(X) || X <- [C, S]],
    ok = gen_tcp:close(A),
    {"d", 1} = front:heard(F),
    {C2, A2} = front:connect(inet), % what has come along with the session is to be read, too
    front:give(F, 2, A2, {<<>>, <<"ab">>}),
    {ok, S2} = cnode_sessions:accept(Server, 5000),
    {"t", 2} = front:heard(F),
    ?assertEqual({error, unread}, cnode_sessions:point(S2, <<>>)),
    {ok, <<"ab">>} = gen_tcp:recv(S2, 2, 5000),
    ok = cnode_sessions:point(S2, <<>>),
    ?assertEqual({point, 2, 0, 0, <<>>, <<>>}, front:heard(F)),
    [gen_tcp:close(X) || X <- [C2, S2, A2]],
    ends(Server, F).

%% What has come as a message when the owner ends a session that others may have goes with it, if it stood at a point before.
delivered_messages() ->
    [begin
        {Server, F} = world(#{}),
        {C, A} = front:connect(inet),
        front:give(F, 1, A, {<<"s">>, <<"ab">>}),
        {ok, S} = cnode_sessions:accept(Server, 5000),
        {"t", 1} = front:heard(F),
        {ok, <<"ab">>} = gen_tcp:recv(S, 2, 5000),
        ok = cnode_sessions:received(S, <<"ab">>),
        {point, 1, 0, 0, <<"ab">>, <<"s">>} = front:heard(F),
        Did = Before(F, S),
        [begin % the second one comes when the first is there
            ok = inet:setopts(S, [{active, once}]),
            ok = gen_tcp:send(C, Text),
            ?assert(front:eventually(fun() -> inet:getstat(S, [recv_oct]) =:= {ok, [{recv_oct, 2 + Count}]} end))
         end || {Text, Count} <- [{<<"cd">>, 2}, {<<"ef">>, 4}]],
        ok = cnode_sessions:retire(Server),
        "r" = front:heard(F),
        _ = End(S),
        _ = Did =:= nothing andalso ?assertEqual({point, 1, 4, 0, <<"abcdef">>, <<"s">>}, front:heard(F)),
        _ = gen_tcp:close(S),
        ?assertEqual({"x", 1}, front:heard(F)),
        [gen_tcp:close(X) || X <- [C, A]],
        ends(Server, F)
     end || {Before, End} <- [
        {fun(_, _) -> nothing end, fun(S) -> {error, enotconn} = cnode_sessions:shutdown(S, write) end},
        {fun(_, _) -> nothing end, fun(S) -> ok = cnode_sessions:close(S) end},
        {fun(_, S) -> gen_tcp:send(S, "part of an answer") end, fun(S) -> ok = cnode_sessions:close(S) end},
        {fun(F, S) -> ok = cnode_sessions:no_point(S), {point, 1, _, _, _, _} = front:heard(F), void end,
            fun(S) -> ok = cnode_sessions:close(S) end}]].

%% The point of an answer is told before its last bytes are written, and not again when the process waits for what comes next.
http_answers() ->
    {Server, F} = world(#{points => idle}),
    {C, A} = front:connect(inet),
    front:give(F, 1, A),
    {ok, S} = cnode_sessions:accept(Server, 5000),
    {"t", 1} = front:heard(F),
    ok = cnode_sessions_http:waits(),
    Head = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n",
    Chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    Long = binary:copy(<<"v">>, 1000), % a part of the head that is not copied
    [begin
        [begin
            ok = gen_tcp:send(C, Part),
            {ok, Bytes} = gen_tcp:recv(S, iolist_size(Part), 5000),
            ok = cnode_sessions_http:came(Bytes)
         end || Part <- Request],
        lists:foreach(fun(Part) -> ok = cnode_sessions_http:send(S, Part, fun(N) -> cnode_sessions:idle(S, N) end) end, Before ++ Last),
        {ok, [{recv_oct, Received}, {send_oct, Sent}]} = inet:getstat(S, [recv_oct, send_oct]),
        ?assertEqual({point, 1, Received, Sent, <<>>, <<>>}, front:heard(F)),
        ok = cnode_sessions:idle(S),
        ok = cnode_sessions_http:waits()
     end || {Request, Before, Last} <- [
        {["GET / HTTP/1.1\r\nHost: x\r\n\r\n"], [], [[Head, <<"answer">>]]},
        {["GET / HT", "TP/1.1\r\nHost: x\r", "\n\r\n"], [Head, "ans"], ["wer"]},
        {["POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbo", "dy"], ["HTTP/1.1 100 Continue\r\n\r\n"], [[Head, "answer"]]},
        {["HEAD / HTTP/1.1\r\n\r\n"], [], [Head]},
        {["GET / HTTP/1.1\r\n\r\n"], [], ["HTTP/1.1 204 No Content\r\n\r\n"]},
        {["GET / HTTP/1.1\r\n\r\n"], [], [["HTTP/1.1 200 OK\r\nx: ", Long, "\r\ncontent-length: 0\r\n\r\n"]]},
        {["GET / HTTP/1.1\r\n\r\n"], [Chunked, ["5", "\r\n", "0\r\n\r\n", "\r\n"]], [["0", "\r\n", <<>>, "\r\n"]]},
        {["GET / HTTP/1.1\r\n\r\n"], [Chunked, ["3", "\r\n", "0\r\n", "\r\n"]], [["3e8", "\r\n", Long, "\r\n0\r\n\r\n"]]}]],
    [gen_tcp:close(X) || X <- [C, S, A]],
    ends(Server, F).

%% Where the end of a request or an answer is not certain no point is told.
http_not_followed() ->
    Answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    {C, A} = front:connect(inet),
    [begin
        ok = cnode_sessions_http:waits(),
        ok = cnode_sessions_http:came(iolist_to_binary(Request)),
        [ok = cnode_sessions_http:send(C, Part, fun(_) -> error({point, Request}) end) || Part <- Sent]
     end || {Request, Sent} <- [
        {"GET / HTTP/1.1\r\n\r\nGET", [Answer]},
        {"GET / HTTP/1.1\r\nHost", [Answer]},
        {"GET / HTTP/1.0\r\n\r\n", [Answer]},
        {"GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", [Answer]},
        {"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbod", [Answer]},
        {"POST / HTTP/1.1\nContent-Length: 4\r\n\r\n", [Answer]},
        {"POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 0\r\n\r\n", [Answer]},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", [Answer]},
        {"nonsense", [Answer]},
        {"GET / HTTP/1.1\r\n\r\n", ["HTTP/1.1 200 OK\r\n\r\n"]},
        {"GET / HTTP/1.1\r\n\r\n", ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabc"]},
        {"GET / HTTP/1.1\r\n\r\n", ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na", "bc"]},
        {"GET / HTTP/1.1\r\n\r\n", ["HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"]},
        {"GET / HTTP/1.1\r\n\r\n", ["HTTP/1.1 200 OK\r\ncontent-len", "gth: 0\r\n\r\n"]},
        {"GET / HTTP/1.1\r\n\r\n", ["HTTP/1.1 101 Switching Protocols\r\n\r\n", "frame"]},
        {"GET / HTTP/1.1\r\n\r\n", ["frame", Answer]},
        {"GET / HTTP/1.1\r\n\r\n", ["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\n", "0\r\n\r\n"]}]],
    [gen_tcp:close(X) || X <- [C, A]].

%% Senders that know neither states nor points connect to a path.
plain_senders() ->
    Base = front:descriptors(),
    Path = front:path(),
    {ok, Server} = cnode_sessions:start_link(#{listen => Path}),
    unlink(Server),
    ?assertMatch({ok, _}, file:read_link_info(Path)),
    process_flag(trap_exit, true),
    ?assertMatch({error, {listen, _, eaddrinuse}}, cnode_sessions:start_link(#{listen => Path})),
    receive {'EXIT', _, _} -> ok after 100 -> ok end,
    process_flag(trap_exit, false),
    {ok, Forwarder} = cnode_forwarder:start_link(#{path => Path}),
    {C, A} = front:connect(inet),
    ok = cnode_forwarder:push(Forwarder, A, <<16#C5, "any byte may be first">>),
    ok = gen_tcp:close(A),
    {ok, S} = cnode_sessions:accept(Server, 5000),
    {ok, #{id := 0, read := <<16#C5, _/binary>>}} = cnode_sessions:info(S),
    {ok, <<16#C5, "any byte">>} = gen_tcp:recv(S, 9, 5000),
    ok = cnode_sessions:answer(S, "hello", <<"nobody hears of it">>),
    {ok, <<"hello">>} = gen_tcp:recv(C, 5, 5000),
    ok = cnode_sessions:close(S),
    ?assertEqual({error, closed}, gen_tcp:recv(C, 0, 5000)),
    ok = gen_tcp:close(C),
    ok = gen_server:stop(Forwarder),
    ok = gen_server:stop(Server),
    ?assertEqual({error, enoent}, file:read_link_info(Path)),
    ?assert(front:eventually(fun() -> front:descriptors() =:= Base end)).

%% From a front to this system, and on to another receiver.
forwards() ->
    Base = front:descriptors(),
    Path = front:path(),
    {ok, Receiver} = cnode_sessions:start_link(#{listen => Path, adopt => socket}),
    unlink(Receiver),
    {Server, F} = world(#{}),
    {ok, Forwarder} = cnode_forwarder:start_link(#{path => Path}),
    [begin
        {C, A} = front:connect(Family),
        front:give(F, 1, A),
        {ok, S} = cnode_sessions:accept(Server, 5000),
        {"t", 1} = front:heard(F),
        ok = gen_tcp:send(C, "question"),
        {ok, <<"question">>} = gen_tcp:recv(S, 8, 5000),
        ok = cnode_forwarder:push(Forwarder, S, <<"question">>),
        {point, 1, Never, Never, <<>>, <<>>} = front:heard(F), % nobody else goes on with it
        ok = cnode_sessions:close(S),
        {"d", 1} = front:heard(F),
        ok = gen_tcp:close(A),
        {ok, S2} = cnode_sessions:accept(Receiver, 5000),
        {ok, #{remote := Remote}} = cnode_sessions:info(S2),
        ?assertEqual({ok, Remote}, inet:sockname(C)),
        {ok, <<"question">>} = cnode_sessions:peek(S2, 5000),
        ok = cnode_sessions:send(S2, "answer"),
        {ok, <<"answer">>} = gen_tcp:recv(C, 6, 5000),
        ok = cnode_sessions:close(S2),
        ?assertEqual({error, closed}, gen_tcp:recv(C, 0, 5000)),
        ok = gen_tcp:close(C)
     end || Family <- [inet, inet6]],
    ?assertEqual({error, einval}, cnode_forwarder:push(Forwarder, hd([X || {_, X} <- [front:connect(inet)]]), <<>>)),
    ok = gen_server:stop(Receiver),
    {C3, A3} = front:connect(inet),
    ?assert(front:eventually(fun() -> {error, _} = cnode_forwarder:push(Forwarder, A3, <<"x">>), true end)),
    _ = [gen_tcp:close(C3), gen_tcp:close(A3)],
    ok = gen_server:stop(Forwarder),
    ends(Server, F),
    ?assert(front:eventually(fun() -> front:descriptors() =< Base + 2 end)).

%% A transport's server and its front, and the process that called listen, which ends when it is told to stop.
transport() ->
    Path = front:path(),
    Me = self(),
    Opener = spawn_monitor(fun() -> Me ! cnode_sessions:listen(#{front => Path}), receive stop -> ok end end),
    {ok, Handle} = receive R -> R after 5000 -> none end,
    {front:start(Path), Opener, Handle}.

%% The process that called listen ends: that means retire. The server ends with its last session.
transports_server() ->
    {F, {P, M}, Handle} = transport(),
    {C, A} = front:connect(inet),
    front:give(F, 1, A),
    {ok, S} = cnode_sessions:accept(Handle, infinity),
    {"t", 1} = front:heard(F),
    P ! stop,
    receive {'DOWN', M, _, _, _} -> ok end,
    ?assertEqual("r", front:heard(F)),
    ?assertEqual({error, closed}, cnode_sessions:accept(Handle, infinity)),
    ok = cnode_sessions:close(S),
    ?assertEqual({"x", 1}, front:heard(F)),
    ?assert(front:eventually(fun() -> supervisor:which_children(cnode_sessions_sup) =:= [] end)),
    ?assertEqual({error, closed}, cnode_sessions:accept(Handle, infinity)),
    ok = cnode_sessions:retire(Handle),
    _ = [gen_tcp:close(C), gen_tcp:close(A)],
    front:stop(F).

%% Connections that end before the server has heard that the process which called listen has ended go on elsewhere, too.
transports_server_hears_late() ->
    {F, {P, M}, Handle} = transport(),
    {C, A} = front:connect(inet),
    front:give(F, 1, A),
    {ok, S} = cnode_sessions:accept(Handle, infinity),
    {"t", 1} = front:heard(F),
    [{_, Server, _, _}] = supervisor:which_children(cnode_sessions_sup),
    ?assertNot(cnode_sessions:leaves(S)),
    ok = sys:suspend(Server),
    P ! stop,
    receive {'DOWN', M, _, _, _} -> ok end,
    ?assert(cnode_sessions:leaves(S)),
    ok = cnode_sessions:close(S),
    ?assertEqual({"x", 1}, front:heard(F)),
    ok = sys:resume(Server),
    ?assertEqual("r", front:heard(F)),
    ?assert(front:eventually(fun() -> supervisor:which_children(cnode_sessions_sup) =:= [] end)),
    ?assertEqual([], ets:lookup(cnode_sessions, Server)),
    _ = [gen_tcp:close(C), gen_tcp:close(A)],
    front:stop(F).

%% A transport's server crashes: its acceptors get sessions of the next one.
transport_crash() ->
    {F, {P, _}, Handle} = transport(),
    Me = self(),
    Acceptor = spawn(fun() -> Me ! cnode_sessions:accept(Handle, infinity), timer:sleep(infinity) end),
    [{_, Server, _, _}] = supervisor:which_children(cnode_sessions_sup),
    exit(Server, kill),
    F2 = front:accept(F, 64),
    {C, A} = front:connect(inet),
    front:give(F2, 1, A),
    ?assertMatch({ok, _}, receive Got -> Got after 5000 -> none end),
    exit(Acceptor, kill),
    P ! stop,
    _ = [gen_tcp:close(C), gen_tcp:close(A)],
    front:stop(F2),
    _ = [supervisor:terminate_child(cnode_sessions_sup, X) || {_, X, _, _} <- supervisor:which_children(cnode_sessions_sup)].

wrong_options() ->
    [{error, {badarg, _}} = cnode_sessions:start_link(O) || O <- [#{}, #{front => "a", listen => "b"}, #{front => "a", adopt => x},
        #{front => "a", points => yes}, #{front => "a", nonsense => 1}, #{front => "a", socket_opts => [{packet, 4}]}]],
    ?assertMatch(#{id := cnode_sessions, start := {cnode_sessions, start_link, [#{front := "a"}]}}, cnode_sessions:child_spec(#{front => "a"})).

%% After many sessions, closed in each way, no descriptor is left.
many() ->
    Base = front:descriptors(),
    {Server, F} = world(#{}),
    {C, A} = front:connect(inet),
    [begin
        front:give(F, I, A),
        case I rem 3 of
            0 -> {ok, S} = cnode_sessions:accept(Server, 5000), ok = gen_tcp:close(S);
            1 -> {ok, S} = cnode_sessions:accept(Server, 5000), ok = cnode_sessions:close(S);
            2 -> {_, M} = spawn_monitor(fun() -> {ok, _} = cnode_sessions:accept(Server, 5000) end), receive {'DOWN', M, _, _, _} -> ok end
        end,
        {"t", I} = front:heard(F),
        {"d", I} = front:heard(F)
     end || I <- lists:seq(1, 2000)],
    _ = [gen_tcp:close(C), gen_tcp:close(A)],
    ends(Server, F),
    ?assert(front:eventually(fun() -> front:descriptors() =:= Base end)),
    ?assertEqual([], ets:tab2list(?TABLE)).

%% The application stops while sessions are served: they are given back, and those who served them see them closed.
application_stops() ->
    Base = front:descriptors(),
    [begin
        {Server, F} = world(#{adopt => Kind}),
        {C, A} = front:connect(inet),
        front:give(F, 1, A),
        {ok, S} = cnode_sessions:accept(Server, 5000),
        {"t", 1} = front:heard(F),
        {C2, A2} = front:connect(inet),
        sys:suspend(Server),
        front:give(F, 2, A2),
        ok = application:stop(cnode),
        ?assertEqual(["r", {"x", 1}, "n"], [front:heard(F) || _ <- [1, 2, 3]]),
        ?assertMatch({error, _}, case Kind of gen_tcp -> gen_tcp:send(S, "x"); socket -> socket:send(S, "x") end),
        ok = gen_tcp:send(A, "goes on"),
        {ok, <<"goes on">>} = gen_tcp:recv(C, 7, 5000),
        exit(Server, kill),
        [gen_tcp:close(X) || X <- [C, A, C2, A2]],
        front:stop(F),
        ?assertMatch({error, {not_started, cnode}}, cnode_sessions:start_link(#{front => "a"})),
        {ok, _} = application:ensure_all_started(cnode)
     end || Kind <- [gen_tcp, socket]],
    ?assert(front:eventually(fun() -> front:descriptors() =:= Base end)).
