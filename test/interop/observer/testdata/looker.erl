%% What Observer and etop do, without a screen.
-module(looker).
-export([printed/1, system/1, charts/1, applications/1, processes/1, process/2, state/1, etop/4]).

%% What a function prints.
printed(F) ->
    Me = self(),
    {Pid, Ref} = spawn_monitor(fun() ->
        Self = self(),
        Worker = spawn(fun() -> group_leader(Self, self()), try F() catch C:R:S -> io:format("~p", [{C, R, S}]) end, Self ! done end),
        Me ! {self(), device(Worker, [])}
    end),
    receive
        {Pid, Text} -> erlang:demonitor(Ref, [flush]), Text;
        {'DOWN', Ref, _, _, Why} -> exit(Why)
    end.

device(Worker, Text) ->
    receive
        {io_request, From, As, Request} ->
            {Answer, More} = request(Request),
            From ! {io_reply, As, Answer},
            device(Worker, [More | Text]);
        done -> unicode:characters_to_list(lists:reverse(Text));
        _ -> device(Worker, Text)
    end.

request({put_chars, _, M, F, A}) -> {ok, apply(M, F, A)};
request({put_chars, _, Chars}) -> {ok, Chars};
request({get_line, _, _}) -> {"c\n", []};
request(getopts) -> {[{encoding, unicode}], []};
request({get_geometry, rows}) -> {10000, []};
request({get_geometry, _}) -> {120, []};
request(_) -> {{error, request}, []}.

%% Observer's page System: the items that the local node has, and the remote one has not.
system(N) ->
    Keys = fun(L) -> lists:usort([K || {K, _} <- L]) end,
    There = erpc:call(N, observer_backend, sys_info, []),
    true = lists:all(fun({alloc_info, L}) -> L =/= []; ({_, V}) -> V =/= undefined end, There),
    Keys(observer_backend:sys_info()) -- Keys(There).

%% Load Charts: two samples, as the chart reads them.
charts(N) ->
    Dirty = rpc:call(N, erlang, system_info, [dirty_cpu_schedulers]),
    Pid = spawn_link(N, observer_backend, fetch_stats, [self(), 50]),
    Sample = fun() -> receive {stats, 1, S, {{input, I}, {output, O}}, M} -> {lists:sort(S), I, O, M} end end,
    {S1, I1, O1, M} = Sample(),
    {S2, I2, O2, _} = Sample(),
    Use = [100 * (A2 - A1) div (T2 - T1) || {{K, A1, T1}, {K, A2, T2}} <- lists:zip(S1, S2)],
    process_flag(trap_exit, true),
    Pid ! exit,
    receive {'EXIT', Pid, normal} -> process_flag(trap_exit, false) end,
    Types = [T || T <- [total, processes, atom, binary, code, ets], not lists:keymember(T, 1, M)],
    {Dirty, lists:all(fun(U) -> U >= 0 andalso U =< 100 end, Use), I2 >= I1, O2 > O1, Types}.

%% Applications: the name of the application, and its tree.
applications(N) ->
    {ok, P} = appmon_info:start_link(N, self(), []),
    appmon_info:app_ctrl(P, N, true, []),
    Apps = receive {delivery, P, app_ctrl, N, As} -> [App || {_, App, {_, _, _}} <- As] end,
    appmon_info:app(P, hd(Apps), true, []),
    {Root, Pids, Links, []} = receive {delivery, P, app, _, Tree} -> Tree end,
    {value, {_, Root}} = lists:keysearch(Root, 2, Pids),
    Names = [Name || {_, Name} <- Pids],
    true = length(Names) =:= length(lists:usort(Names)),
    [] = [L || {A, B} = L <- Links, not (lists:member(A, Names) andalso lists:member(B, Names))],
    unlink(P),
    exit(P, kill),
    {Apps, lists:sort(Links)}.

%% Processes: {Name, Reds, Queue} of each.
processes(N) ->
    _ = rpc:call(N, code, ensure_loaded, [observer_backend]),
    true = rpc:call(N, erlang, function_exported, [observer_backend, procs_info, 1]),
    process_flag(trap_exit, true),
    Pid = spawn_link(N, observer_backend, procs_info, [self()]),
    L = (fun F(Acc) -> receive
            {procs_info, Pid, Ps} -> F(Ps ++ Acc);
            {'EXIT', Pid, normal} -> Acc
        end end)([]),
    process_flag(trap_exit, false),
    [{Name, Reds, Queue} || {etop_proc_info, P, _, Reds, Name, 0, {_, _, _}, Queue} <- L, node(P) =:= N].

%% One process: what the page shows of it.
process(Pid, Items) ->
    8 = erpc:call(node(Pid), erlang, system_info, [wordsize]),
    Info = erpc:call(node(Pid), erlang, process_info, [Pid,
        [binary, catchlevel, current_function, error_handler, garbage_collection, group_leader, heap_size, initial_call, last_calls,
         links, memory, message_queue_len, monitored_by, monitors, priority, reductions, registered_name, sequential_trace_token,
         stack_size, status, suspending, total_heap_size, trace, trap_exit]]),
    0 = proplists:get_value(min_heap_size, proplists:get_value(garbage_collection, Info)),
    {messages, _} = erpc:call(node(Pid), erlang, process_info, [Pid, messages]),
    {dictionary, _} = erpc:call(node(Pid), erlang, process_info, [Pid, dictionary]),
    {current_stacktrace, _} = erpc:call(node(Pid), erlang, process_info, [Pid, current_stacktrace]),
    [proplists:get_value(Item, Info) || Item <- Items].

%% The page State.
state(Pid) ->
    case rpc:call(node(Pid), proc_lib, translate_initial_call, [Pid]) of
        {proc_lib, init_p, 5} -> [];
        {M, _, _} ->
            {behaviour, [B]} = lists:keyfind(behaviour, 1, rpc:call(node(Pid), M, module_info, [attributes])),
            {status, _, {module, _}, [_, _, _, _, [_Header, {data, _}, {data, State} | _]]} = rpc:call(node(Pid), sys, get_status, [Pid, 200]),
            {B, State}
    end.

%% What etop writes of a node, and what it and dbg print until it is stopped, and afterwards.
etop(N, Port, More, File) ->
    Me = self(),
    {Etop, Ended} = spawn_monitor(fun() -> Me ! {printed, printed(fun() ->
        etop:start([{node, N}, {port, Port}, {output, text}, {interval, 1}, {lines, 50} | More])
    end)} end),
    (fun F() -> case whereis(etop_server) of
        undefined -> receive {'DOWN', Ended, _, _, Why} -> exit({Why, receive {printed, T} -> T after 0 -> none end}) after 20 -> F() end;
        _ -> ok
    end end)(),
    etop:dump(File),
    Text = (fun F() -> case file:read_file(File) of
        {ok, T} when byte_size(T) > 500 -> T;
        _ -> timer:sleep(50), F()
    end end)(),
    etop:stop(),
    Printed = receive {printed, P} -> P end,
    receive {'DOWN', Ended, _, Etop, _} -> ok end,
    {unicode:characters_to_list(Text), Printed}.
