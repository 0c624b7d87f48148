%% What goes through a gate that allows everything, and what the node inside may do whatever the rules
%% are. As attacker.erl: a line "name result", where the result is ok, or what has come in its place.
-module(basics).
-export([all/3, back/2, asked/1, meet/2, flood/3]).

all(B, Count, File) -> lines(File, checks(B, Count)).

lines(File, Checks) ->
    Lines = [begin
                 Value = value(F),
                 Text = string:slice(lists:flatten(io_lib:format("~0p", [Value])), 0, 160),
                 io_lib:format("~s ~ts~n", [Name, Text])
             end || {Name, F} <- Checks],
    ok = file:write_file(File, Lines).

%% The check is a process of its own: what hangs is given up.
value(F) ->
    {Pid, Ref} = spawn_monitor(fun() -> exit({value, try F() catch Class:Reason -> {Class, Reason} end}) end),
    receive
        {'DOWN', Ref, process, Pid, {value, Value}} -> Value;
        {'DOWN', Ref, process, Pid, Reason} -> {died, Reason}
    after 30000 -> exit(Pid, kill), hangs
    end.

%% The value, if it is the one that is expected, becomes ok.
is(Value, Value) -> ok;
is(Value, _) -> Value.

down(Ref) -> receive {'DOWN', Ref, process, _, Why} -> Why after 20000 -> timeout end.

echoed(B, Term) ->
    {echo, B} ! {self(), Term},
    receive {echo, Term} -> ok; {echo, _} -> differs after 30000 -> timeout end.

checks(B, Count) ->
    [{ping, fun() -> is(net_adm:ping(B), pong) end},
     {rpc, fun() -> is(rpc:call(B, shop, quote, [1]), {price, 1}) end},
     {erpc, fun() -> is(erpc:call(B, shop, quote, [2]), {price, 2}) end},
     {erpc_error, fun() -> try erpc:call(B, erlang, error, [x]) catch error:{exception, x, _} -> ok end end},
     {erpc_fun, fun() -> is(erpc:call(B, fun erlang:node/0), B) end},
     {call, fun() -> is(gen_server:call({till, B}, hello), {ok, hello}) end},
     {call_ends, fun() ->
         process_flag(trap_exit, true),
         P = spawn_link(B, shop, loop, []),
         P ! {self(), x},
         receive {P, x} -> ok end,
         exit(P, kill),
         receive {'EXIT', P, Why} -> is(Why, killed) after 20000 -> timeout end
     end},
     {unlink, fun() ->
         P = spawn(B, shop, loop, []),
         link(P), unlink(P),
         Ref = monitor(process, P),
         P ! stop,
         normal = down(Ref),
         receive {'EXIT', P, Why} -> Why after 0 -> ok end
     end},
     {monitor, fun() -> {P, Ref} = spawn_monitor(B, shop, loop, []), P ! stop, is(down(Ref), normal) end},
     {monitor_name, fun() -> is(down(monitor(process, {nobody_of_this_name, B})), noproc) end},
     {demonitor, fun() -> is(demonitor(monitor(process, {till, B}), [info]), true) end},
     {large_binary, fun() -> echoed(B, binary:copy(<<"0123456789abcdef">>, 1 bsl 18)) end},
     {large_term, fun() -> echoed(B, lists:seq(1, 300000)) end},
     {atoms, fun() ->
         Atoms = [list_to_atom("basics_" ++ integer_to_list(I)) || I <- lists:seq(1, 3000)],
         is(lists:usort([echoed(B, {A, B, [A]}) || A <- Atoms]), [ok])
     end},
     {in_order, fun() ->
         [{sink, B} ! {n, I} || I <- lists:seq(0, Count - 1)],
         {sink, B} ! {last, self()},
         receive {sunk, N, Wrong} -> is({N, Wrong}, {Count, 0}) after 120000 -> timeout end
     end},
     {large_beside_small, fun() ->
         Big = binary:copy(<<"x">>, 1000000),
         Refs = [element(2, spawn_monitor(fun() -> [ok = echoed(B, {K, Big}) || K <- lists:seq(1, 3)] end)) || _ <- lists:seq(1, 4)],
         Small = lists:usort([echoed(B, K) || K <- lists:seq(1, 300)]),
         is({Small, lists:usort([down(Ref) || Ref <- Refs])}, {[ok], [normal]})
     end},
     {back, fun() -> is(rpc:call(B, rpc, call, [node(), erlang, node, []]), node()) end},
     {output, fun() -> is(rpc:call(B, io, format, ["~n"]), ok) end},
     {spawn_request, fun() ->
         process_flag(trap_exit, true),
         Id = spawn_request(B, shop, loop, [], [link, monitor, {reply_tag, tag}]),
         receive {tag, Id, ok, P} -> exit(P, kill), is(down(Id), killed) after 20000 -> timeout end
     end},
     {spawn_error, fun() ->
         Id = spawn_request(B, shop, loop, [], [{no_such_option, x}, {reply_tag, tag}]),
         receive {tag, Id, error, Why} -> is(Why, eacces) after 20000 -> timeout end
     end},
     {process_alias, fun() -> is(gen_server:receive_response(gen_server:send_request({till, B}, x), 20000), {reply, {ok, x}}) end},
     {hidden, fun() ->
         is({lists:member(B, nodes()), lists:member(B, nodes(hidden)), lists:member(node(), rpc:call(B, erlang, nodes, [hidden]))},
            {false, true, true})
     end},
     {global, fun() ->
         S = self(),
         spawn(fun() -> S ! {set, global:register_name({basics, S}, S)} end),
         receive {set, yes} -> is(global:whereis_name({basics, S}), S); Else -> Else after 20000 -> hangs end
     end}].

%% What the node inside asks the one outside, which has called inside:start/0 too. asked/1 is run
%% there.
back(A, File) -> lines(File, questions(A)).

asked(Pid) -> Pid ! {self(), raw}.

questions(A) ->
    [{ping, fun() -> is(net_adm:ping(A), pong) end},
     {rpc, fun() -> is(rpc:call(A, shop, quote, [1]), {price, 1}) end},
     {rpc_large, fun() -> Big = binary:copy(<<1>>, 1000000), is(rpc:call(A, shop, quote, [Big]), {price, Big}) end},
     {erpc, fun() -> is(erpc:call(A, shop, quote, [1]), {price, 1}) end},
     {erpc_request, fun() -> is(erpc:receive_response(erpc:send_request(A, shop, quote, [1])), {price, 1}) end},
     {erpc_error, fun() -> try erpc:call(A, erlang, error, [x]) catch error:{exception, x, _} -> ok end end},
     {call, fun() -> is(gen_server:call({till, A}, x), {ok, x}) end},
     {multi_call, fun() -> is(gen_server:multi_call([A], till, x, 20000), {[{A, {ok, x}}], []}) end},
     {rex, fun() -> is(rpc:block_call(A, shop, quote, [1]), {price, 1}) end},
     {cast, fun() -> is(gen_server:cast({till, A}, x), ok) end},
     {system, fun() -> is({sys:suspend({till, A}), sys:resume({till, A})}, {ok, ok}) end},
     {process, fun() -> {P, Ref} = spawn_monitor(A, shop, loop, []), P ! stop, is(down(Ref), normal) end},
     {link, fun() ->
         process_flag(trap_exit, true),
         P = spawn_link(A, shop, loop, []),
         exit(P, kill),
         receive {'EXIT', P, Why} -> is(Why, killed) after 20000 -> timeout end
     end},
     {unlink, fun() -> P = spawn_link(A, shop, loop, []), is(unlink(P), true) end},
     {monitor_name, fun() -> is(down(monitor(process, {nobody_of_this_name, A})), noproc) end},
     {no_answer, fun() -> % a message that is no answer to a request needs a rule
         spawn(A, basics, asked, [self()]),
         {ok, x} = gen_server:call({till, A}, x),
         receive {_, raw} -> came after 100 -> ok end
     end}].

%% Both nodes disconnect and connect to each other at once, N times, and are connected at the end. The
%% other node runs it too.
meet(_, 0) -> ok;
meet(Other, N) ->
    erlang:disconnect_node(Other),
    timer:sleep(rand:uniform(8)),
    net_adm:ping(Other),
    meet(Other, N - 1).

%% Sends refused messages for some time, a millisecond between each, and tells whether the
%% connection has lasted.
flood(B, Milliseconds, Wait) ->
    true = net_kernel:connect_node(B),
    monitor_node(B, true),
    flood_until(B, erlang:monotonic_time(millisecond) + Milliseconds, Wait),
    receive {nodedown, B} -> lost after 0 -> lasted end.

flood_until(B, End, Wait) ->
    {note, B} ! flood,
    timer:sleep(Wait),
    case erlang:monotonic_time(millisecond) < End of
        true -> flood_until(B, End, Wait);
        false -> ok
    end.
