%% What holds between a BEAM and a child with a link: all but what is said, as with a node.
-module(cnode_link_checks).
-export([run/1, renamed/1, store/1, parts/1]).

-define(CHILD, linked).

%% One line for each check.
run(Program) ->
    {ok, _} = application:ensure_all_started(cnode),
    logger:set_primary_config(level, error),
    Self = self(),
    logger:remove_handler(default),
    Node = node(),
    ok = logger:add_handler(errors, logger_std_h, #{}),
    {Runner, Monitor} = spawn_monitor(fun() ->
        process_flag(trap_exit, true),
        {ok, Child} = cnode_node:start_link(#{path => Program, link => true}),
        spawn_link(?MODULE, store, [0]),
        put(child, Child),
        [check(F) || F <- checks()],
        Self ! over
    end),
    receive
        over -> ok;
        {'DOWN', Monitor, _, Runner, Reason} -> io:format("FAILED: ~p~n", [Reason])
    end,
    Node = node(),
    io:format("end~n").

%% A BEAM that gets a name later: its child starts again, as a node.
renamed(Program) ->
    {ok, _} = application:ensure_all_started(cnode),
    logger:set_primary_config(level, none),
    {ok, _} = supervisor:start_child(cnode_sup, cnode_node:child_spec(#{path => Program})),
    #{link := true, node := linked@nohost} = cnode_node:info(?CHILD),
    4.5 = call(pricing, total, [1.5, 3]),
    {ok, _} = net_kernel:start(['late@127.0.0.1', longnames]),
    until(fun() ->
        case caught(fun() -> cnode_node:info(?CHILD) end) of
            #{link := false, connected := true, node := 'linked@127.0.0.1'} -> true;
            No -> No
        end
    end),
    4.5 = call(pricing, total, [1.5, 3]),
    4.5 = erpc:call('linked@127.0.0.1', pricing, total, [1.5, 3]),
    <<"ABC">> = gen_server:call({counter, _} = cnode_node:to(?CHILD, counter), {upper, <<"abc">>}),
    io:format("ok renamed~nend~n").

check(F) ->
    {name, Name} = erlang:fun_info(F, name),
    try F() of
        _ -> io:format("ok ~s~n", [Name])
    catch Class:Reason:Stack -> io:format("FAILED ~s: ~p ~p ~p~n", [Name, Class, Reason, Stack])
    end,
    flush().

flush() -> receive _ -> flush() after 0 -> ok end.

checks() -> [
    fun what_it_is/0, fun no_cluster/0, fun functions/0, fun exceptions/0, fun missing/0, fun limits/0, fun caller_ends/0,
    fun servers/0, fun casts/0, fun requests/0, fun last_words/0, fun parts_first/0, fun sizes_in_order/0, fun no_sender/0,
    fun group_leader_is_ours/0, fun caller/0, fun terms/0, fun large/0, fun calls_from_go/0, fun functions_from_go/0, fun messages_from_go/0,
    fun go_watches/0, fun processes_of_go/0, fun links_of_go/0, fun links_to_go/0, fun kills/0, fun exits_from_go/0, fun stream/0, fun between_fragments/0,
    fun many_processes/0, fun many_callers/0, fun stands_still/0, fun nothing_is_kept/0, fun server_crashes/0, fun upgrade/0, fun link_breaks/0,
    fun no_secret/0, fun ends/0].

%% A gen_server, which Go calls.
store(N) ->
    _ = whereis(store) =:= undefined andalso register(store, self()),
    receive
        {'$gen_call', From, {add, X}} ->
            gen_server:reply(From, {ok, N + X}),
            store(N + X);
        {'$gen_call', {Pid, _}, {whose, To}} ->
            To ! {whose, Pid},
            store(N);
        {'$gen_call', _, die} -> exit(dead);
        {'EXIT', _, _} -> ok
    end.

call(M, F, A) -> cnode_node:call(?CHILD, M, F, A).

caught(F) -> try F() catch Class:Reason -> {Class, Reason} end.

%% Waits until something holds.
until(F) -> until(F, 1000).
until(F, 0) -> error({never, F()});
until(F, N) ->
    case F() of
        true -> ok;
        _ ->
            timer:sleep(10),
            until(F, N - 1)
    end.

%% The reason of an end.
down(Pid, Does) ->
    Monitor = monitor(process, Pid),
    Does(),
    receive {'DOWN', Monitor, _, _, Reason} -> Reason after 10000 -> error(no_end) end.

%% What the link keeps, but for calls that were given up, which it forgets later.
kept() -> maps:without([past], all_kept()).

all_kept() ->
    [{_, Out, _}] = ets:lookup(cnode_links, ?CHILD),
    maps:filter(fun(_, N) -> N > 0 end, gen_server:call(element(2, Out), kept)).

%% There is only the process that stands for the counter.
little_is_kept() -> until(fun() -> case kept() of #{pids := 2} = Kept when map_size(Kept) =:= 1 -> true; Kept -> Kept end end).

what_it_is() ->
    #{link := true, connected := true, node := linked@nohost} = cnode_node:info(?CHILD),
    Name = atom_to_binary(node()),
    Name = call(pricing, parent, []),
    [] = nodes(connected),
    [{_, Out, Child}] = ets:lookup(cnode_links, linked@nohost),
    [{_, Out, Child}] = ets:lookup(cnode_links, ?CHILD),
    Child = get(child).

%% What needs a cluster says that there is none.
no_cluster() -> [_, _, _] = [{match, _} = re:run(Text, "is in no cluster") || Text <- call(back, clusters, [])].

functions() ->
    4.5 = call(pricing, total, [1.5, 3]),
    4.5 = cnode_node:call(linked@nohost, pricing, total, [1.5, 3], infinity).

exceptions() ->
    {error, {exception, {go_error, <<"no">>}, [{pricing, fail, 1, _} | _]}} = caught(fun() -> call(pricing, fail, [<<"no">>]) end),
    {error, {exception, {out_of_stock, <<"A1">>}, [{pricing, raise, 0, _} | _]}} = caught(fun() -> call(pricing, raise, []) end),
    {error, {exception, badarg, _}} = caught(fun() -> call(pricing, total, [x, 3]) end).

missing() ->
    {error, {exception, undef, _}} = caught(fun() -> call(pricing, nothing, []) end),
    {error, {erpc, badarg}} = caught(fun() -> call(pricing, nothing, x) end),
    {error, {erpc, noconnection}} = caught(fun() -> cnode_node:call(nobody@nohost, pricing, total, [1.0, 1]) end),
    {exit, {noproc, _}} = caught(fun() -> gen_server:call(cnode_node:to(?CHILD, nobody), x) end).

limits() ->
    Before = call(pricing, cancelled, []),
    {error, {erpc, timeout}} = caught(fun() -> cnode_node:call(?CHILD, pricing, sleep, [60000], 50) end),
    {error, {erpc, timeout}} = caught(fun() -> cnode_node:call(?CHILD, pricing, sleep, [60000], 0) end),
    until(fun() -> call(pricing, cancelled, []) =:= Before + 2 end).

caller_ends() ->
    Before = call(pricing, cancelled, []),
    Pid = spawn(fun() -> cnode_node:call(?CHILD, pricing, sleep, [60000], infinity) end),
    timer:sleep(100),
    exit(Pid, kill),
    until(fun() -> call(pricing, cancelled, []) =:= Before + 1 end).

servers() ->
    <<"ABC">> = gen_server:call(cnode_node:to(?CHILD, counter), {upper, <<"abc">>}),
    To = cnode_node:to(?CHILD, counter),
    To = cnode_node:to(linked@nohost, counter),
    true = is_pid(To).

casts() ->
    N = gen_server:call(cnode_node:to(?CHILD, counter), {add, 0}),
    _ = [gen_server:cast(cnode_node:to(?CHILD, counter), {add, X}) || X <- [5, 6]],
    N12 = gen_server:call(cnode_node:to(?CHILD, counter), {add, 1}),
    12 = N12 - N.

requests() ->
    Id = gen_server:send_request(cnode_node:to(?CHILD, counter), {upper, <<"req">>}),
    {reply, <<"REQ">>} = gen_server:receive_response(Id, 5000).

%% A reply comes before the end of whoever has sent it, however large it is.
last_words() ->
    Data = binary:copy(<<"w">>, 1000000),
    [begin
        Pid = spawn(fun() -> receive {'$gen_call', From, _} -> gen_server:reply(From, Data) end end),
        register(last, Pid),
        Data = call(back, call, [<<"last">>, ask]),
        until(fun() -> whereis(last) =:= undefined end)
    end || _ <- lists:seq(1, 5)].

%% What a function has sent comes before its result.
parts(To) ->
    [To ! {part, I, <<0:400000>>} || I <- lists:seq(1, 60)],
    done.

parts_first() -> 60 = call(back, parts, []).

%% A message does not overtake another one of its sender, whatever else is on its way.
sizes_in_order() ->
    [To, Other] = [call(back, echo, []) || _ <- [1, 2]],
    Large = binary:copy(<<"l">>, 400000),
    Busy = spawn_link(fun Again() ->
        Other ! {self(), Large},
        receive {echoed, Other, Large} -> Again(); stop -> ok end
    end),
    [begin
        [To ! {self(), Sent} || Sent <- [1, Large, 3]],
        [1, Large, 3] = [receive {echoed, To, Got} -> Got after 10000 -> error(none) end || _ <- [1, 2, 3]]
    end || _ <- lists:seq(1, 20)],
    unlink(Busy),
    exit(Busy, kill),
    [P ! {self(), stop} || P <- [To, Other]].

%% Go does not hear who has sent a message. Were it the process that stands for the receiver, an answer would come back to that.
no_sender() ->
    P = call(back, echo, []),
    P ! {self(), from},
    receive {echoed, P, <<"0">>} -> ok; {echoed, P, Other} -> error(Other) after 5000 -> error(none) end,
    P ! {self(), stop}.

group_leader_is_ours() ->
    Test = self(),
    Leader = spawn_link(fun() -> receive {io_request, From, As, {put_chars, _, Text}} -> From ! {io_reply, As, ok}, Test ! {printed, Text} end end),
    Pid = spawn_link(fun() ->
        group_leader(Leader, self()),
        Test ! {result, call(pricing, print, [<<"by Go">>])}
    end),
    receive {result, ok} -> ok after 5000 -> error(Pid) end,
    receive {printed, Text} -> <<"by Go\n">> = iolist_to_binary(Text) end.

caller() ->
    Self = self(),
    Self = call(pricing, caller, []).

terms() ->
    Y = 7,
    Ref = make_ref(),
    Self = self(),
    Port = hd(erlang:ports()),
    Sent = [Self, Ref, fun lists:max/1, <<5:3>>, Port, #{a => [1.5 | tail]}, 1 bsl 200, "text", alias()],
    Sent = call(pricing, same, [Sent]),
    F = call(pricing, same, [fun(X) -> X + Y end]),
    8 = F(1).

large() ->
    [begin
        Data = crypto:strong_rand_bytes(Size),
        Data = gen_server:call(cnode_node:to(?CHILD, counter), {echo, Data}, 60000),
        Data = cnode_node:call(?CHILD, pricing, same, [Data], 60000)
     end || Size <- [Piece + D || Piece <- [65536, 262144], D <- [-200, -100, -40, -10, -1, 0, 1, 10, 40, Piece]] ++ [1000000, 20000000]].

calls_from_go() ->
    {ok, 5} = call(back, call, [<<"store">>, {add, 5}]),
    {ok, 6} = call(back, call, [<<"store">>, {add, 1}]),
    {error, {exception, {go_error, Text}, _}} = caught(fun() -> call(back, call, [<<"nostore">>, {add, 5}]) end),
    {match, _} = re:run(Text, "noproc"),
    Self = self(),
    spawn(fun() -> caught(fun() -> cnode_node:call(?CHILD, back, call, [<<"store">>, {whose, Self}], 300) end) end),
    Whose = receive {whose, Pid} -> Pid after 5000 -> error(none) end,
    true = is_pid(Whose) andalso node(Whose) =:= node(),
    _ = down(Whose, fun() -> ok end), % the function's process is over
    {error, {exception, {go_error, _}, _}} = caught(fun() -> call(back, call, [<<"store">>, die]) end),
    until(fun() -> whereis(store) =:= undefined end),
    Store = spawn(?MODULE, store, [0]),
    until(fun() -> whereis(store) =:= Store end).

functions_from_go() ->
    6 = call(back, apply, [lists, sum, [[1, 2, 3]]]),
    {error, {exception, oops, _}} = caught(fun() -> call(back, apply, [erlang, error, [oops]]) end),
    3 = call(back, 'rpc', [erlang, length, [1, 2, 3]]).

messages_from_go() ->
    call(back, send, [self(), hello]),
    receive hello -> ok after 5000 -> error(none) end,
    Test = self(),
    Server = spawn_link(fun() ->
        receive first -> ok after 5000 -> exit(none) end,
        receive {'$gen_call', From, last} -> gen_server:reply(From, {answered, Test}) end
    end),
    {answered, Test} = call(back, both, [Server, first]).

go_watches() ->
    Pid = spawn(fun() -> timer:sleep(50), exit({bye, 1}) end),
    {bye, 1} = call(back, watch, [Pid]),
    noproc = call(back, watch, [Pid]).

processes_of_go() ->
    Pid = call(back, echo, []),
    true = node(Pid) =:= node(),
    Pid ! {self(), [1, Pid]},
    receive {echoed, Pid, [1, Pid]} -> ok after 5000 -> error(none) end,
    Pid = call(pricing, same, [Pid]),
    stopped = down(Pid, fun() -> Pid ! {x, stop} end),
    noproc = down(Pid, fun() -> ok end).

links_of_go() ->
    Test = self(),
    Pid = spawn(fun() ->
        Test ! {go, call(back, linked, [self()])},
        receive stop -> exit(crash) end
    end),
    Go = receive {go, P} -> P after 5000 -> error(none) end,
    crash = down(Go, fun() -> Pid ! stop end),
    Other = spawn(fun() ->
        Test ! {go, call(back, linked, [self()])},
        receive stop -> ok end
    end),
    Its = receive {go, I} -> I after 5000 -> error(none) end,
    wanted = down(Other, fun() -> exit(Its, wanted) end).

links_to_go() ->
    Go = call(back, echo, []),
    link(Go),
    Go ! {x, stop},
    receive {'EXIT', Go, stopped} -> ok after 5000 -> error(none) end.

kills() ->
    little_is_kept(),
    Before = call(back, processes, []),
    Go = call(back, echo, []),
    true = call(back, processes, []) =:= Before + 1,
    killed = down(Go, fun() -> exit(Go, kill) end),
    until(fun() -> call(back, processes, []) =:= Before end).

exits_from_go() ->
    Pid = spawn(fun() -> receive stop -> ok end end),
    because = down(Pid, fun() -> call(back, exit, [Pid, because]) end).

stream() ->
    Test = self(),
    spawn(fun() -> Test ! {streamed, cnode_node:call(?CHILD, back, stream, [Test, 2000, 65536], 60000)} end),
    (fun Parts(N) ->
        receive
            {part, N, Data} when byte_size(Data) =:= 65536 -> Parts(N + 1);
            {streamed, 2000} when N =:= 2000 -> ok
        after 20000 -> error({lost, N})
        end
    end)(0).

%% A small call does not wait for a large one.
between_fragments() ->
    Test = self(),
    Data = binary:copy(<<1>>, 60000000),
    spawn_link(fun() -> Test ! {large, Data =:= cnode_node:call(?CHILD, pricing, same, [Data], 60000)} end),
    Calls = (fun Small(N) ->
        4.5 = call(pricing, total, [1.5, 3]),
        receive {large, true} -> N after 0 -> Small(N + 1) end
    end)(0),
    true = Calls > 10.

many_processes() ->
    little_is_kept(),
    Pids = [call(back, echo, []) || _ <- lists:seq(1, 2000)],
    #{pids := 4002} = kept(),
    _ = [Pid ! {x, stop} || Pid <- Pids],
    little_is_kept().

many_callers() ->
    Test = self(),
    Pids = [spawn_link(fun() -> [N = call(pricing, same, [N]) || _ <- lists:seq(1, 100)], Test ! {done, self()} end) || N <- lists:seq(1, 50)],
    _ = [receive {done, Pid} -> ok after 30000 -> error(none) end || Pid <- Pids].

%% A program that stands still holds up nobody for longer than his time-out, and loses nothing.
stands_still() ->
    #{os_pid := Process} = cnode_node:info(?CHILD),
    Test = self(),
    Data = binary:copy(<<1>>, 1000000),
    os:cmd("kill -STOP " ++ integer_to_list(Process)),
    until(fun() -> lists:usort([state(Stat) || Stat <- filelib:wildcard("/proc/" ++ integer_to_list(Process) ++ "/task/*/stat")]) =:= "T" end),
    Callers = try
        Wait = [spawn_link(fun() ->
            Test ! {self(), caught(fun() -> gen_server:call(cnode_node:to(?CHILD, counter), {echo, Data}, infinity) end)}
        end) || _ <- lists:seq(1, 50)],
        GiveUp = [spawn_link(fun() ->
            Test ! {self(), caught(fun() -> cnode_node:call(?CHILD, pricing, same, [Arg], 300) end)}
        end) || Arg <- [1, Data | lists:duplicate(200, binary:part(Data, 0, 50000))]],
        _ = [receive {Pid, Answer} -> {error, {erpc, timeout}} = Answer after 30000 -> error(none) end || Pid <- GiveUp],
        #{connected := true} = cnode_node:info(?CHILD),
        Wait
    after
        os:cmd("kill -CONT " ++ integer_to_list(Process))
    end,
    _ = [receive {Pid, Answer} -> Data = Answer after 30000 -> error(none) end || Pid <- Callers],
    4.5 = call(pricing, total, [1.5, 3]).

state(Stat) ->
    {ok, Text} = file:read_file(Stat),
    [_, <<State, _/binary>>] = string:split(Text, ") ", trailing),
    State.

nothing_is_kept() ->
    little_is_kept(),
    true = maps:get(past, all_kept(), 0) < 300.

server_crashes() ->
    To = cnode_node:to(?CHILD, counter),
    crashed = down(To, fun() -> gen_server:cast(To, crash) end).

%% The program goes on in another process, and no call fails.
upgrade() ->
    Before = call(pricing, process, []),
    Test = self(),
    Go = call(back, echo, []),
    Caller = spawn_link(fun() ->
        (fun Calls() ->
            3 = cnode_node:call(?CHILD, pricing, same, [3], 20000),
            receive stop -> Test ! stopped after 0 -> Calls() end
        end)()
    end),
    {ok, Path} = maps:find(path, cnode_node:info(?CHILD)),
    {ok, _} = file:copy(Path, [Path, ".new"]),
    ok = file:change_mode([Path, ".new"], 8#755),
    ok = file:rename([Path, ".new"], Path),
    ok = cnode_node:upgrade(?CHILD),
    Caller ! stop,
    receive stopped -> ok after 30000 -> error(none) end,
    true = call(pricing, process, []) =/= Before,
    true = is_process_alive(Go),
    unchanged = cnode_node:upgrade(linked@nohost).

%% A link that breaks is made again, and the program goes on.
link_breaks() ->
    Before = call(pricing, process, []),
    [{_, Out, _}] = ets:lookup(cnode_links, ?CHILD),
    Go = call(back, echo, []),
    noconnection = down(Go, fun() -> exit(element(2, Out), kill) end),
    until(fun() -> caught(fun() -> call(pricing, process, []) end) =:= Before end).

%% No report shows the secret: not the state, nor what a crash would.
no_secret() ->
    State = sys:get_state(get(child)),
    [Secret] = [F() || Link <- tuple_to_list(State), is_tuple(Link), element(1, Link) =:= link, F <- tuple_to_list(Link), is_function(F, 0)],
    32 = length(Secret),
    Shown = fun(Pid) -> lists:flatten(io_lib:format("~p ~p ~p", [sys:get_state(Pid), sys:get_status(Pid), process_info(Pid)])) end,
    [{_, Out, _}] = ets:lookup(cnode_links, ?CHILD),
    [nomatch = string:find(Shown(Pid), Secret) || Pid <- [get(child), element(2, Out)]].

%% The program's end.
ends() ->
    Test = self(),
    spawn(fun() -> Test ! {pending, caught(fun() -> cnode_node:call(?CHILD, pricing, sleep, [60000], infinity) end)} end),
    Go = call(back, echo, []),
    timer:sleep(50),
    [Folder] = [element(2, Link) || Link <- tuple_to_list(sys:get_state(get(child))), is_tuple(Link), element(1, Link) =:= link],
    {ok, Mode} = file:read_file_info(Folder),
    8#700 = element(8, Mode) band 8#777,
    noconnection = down(Go, fun() -> spawn(fun() -> caught(fun() -> call(pricing, 'end', [0]) end) end) end),
    Child = get(child),
    receive {'EXIT', Child, normal} -> ok after 10000 -> error(lives) end,
    receive {pending, {error, {erpc, noconnection}}} -> ok after 5000 -> error(none) end,
    {error, {erpc, noconnection}} = caught(fun() -> call(pricing, total, [1.5, 3]) end),
    {error, enoent} = file:read_file_info(Folder),
    [] = ets:tab2list(cnode_links).
