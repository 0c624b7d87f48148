%% The side that measures: a real Erlang node times what it does with a peer. Every
%% call answers {done, Nanoseconds} or {failed, Reason}; Limit, in milliseconds,
%% bounds it.
-module(bench_driver).
-export([check/3, round_trip/4, in/4, out/4, burst/4, connect/3, watch/2, watched/1, goroutines/1, codec/4]).

%% Whether the peer keeps its promises at this size: every byte is looked at here,
%% and only the sizes below.
check(Node, Size, Limit) ->
    Bin = payload(Size),
    Peer = {peer, Node},
    timed(Limit, fun() ->
        true = net_kernel:connect_node(Node),
        Peer ! {echo, self(), [Bin, Size]},
        receive [Bin, Size] -> ok end,
        Peer ! {source, self(), 3, Bin},
        [receive Bin -> ok end || _ <- [1, 2, 3]],
        [Peer ! {sink, self(), Last, Bin} || Last <- [false, false, true]],
        receive {count, 3} -> ok end
    end).

%% N times there and back, one after the other.
round_trip(Node, Size, N, Limit) ->
    Bin = payload(Size),
    timed(Limit, fun() -> round_trips({peer, Node}, Bin, Size, N) end).

round_trips(_, _, _, 0) ->
    ok;
round_trips(Peer, Bin, Size, N) ->
    Peer ! {echo, self(), Bin},
    received(Size),
    round_trips(Peer, Bin, Size, N - 1).

%% N messages to the peer, to its word that it has had them all.
in(Node, Size, N, Limit) ->
    Bin = payload(Size),
    timed(Limit, fun() ->
        send({peer, Node}, Bin, N),
        receive
            {count, N} -> ok;
            {count, Other} -> exit({failed, {counted, Other, N}})
        end
    end).

send(Peer, Bin, 1) ->
    Peer ! {sink, self(), true, Bin};
send(Peer, Bin, N) ->
    Peer ! {sink, self(), false, Bin},
    send(Peer, Bin, N - 1).

%% N messages from the peer, from asking for them to the last.
out(Node, Size, N, Limit) ->
    Bin = payload(Size),
    timed(Limit, fun() ->
        {peer, Node} ! {source, self(), N, Bin},
        collect(Size, N)
    end).

%% The same, but from the first message on: the peer may take its time before.
burst(Node, Size, N, Limit) ->
    Bin = payload(Size),
    timed(Limit, fun() ->
        {peer, Node} ! {source, self(), N + 1, Bin},
        collect(Size, 1),
        now_ns()
    end, fun() -> collect(Size, N) end).

collect(_, 0) ->
    ok;
collect(Size, N) ->
    received(Size),
    collect(Size, N - 1).

received(Size) ->
    receive
        B when byte_size(B) =:= Size -> ok;
        T when Size =:= -1, tuple_size(T) =:= 20 -> ok;
        M when Size =:= -2, map_size(M) =:= 40 -> ok
    end.

%% N times connect and disconnect, each to its end.
connect(Node, N, Limit) ->
    disconnect(Node),
    timed(Limit, fun() -> [connected(Node) || _ <- lists:seq(1, N)] end).

connected(Node) ->
    case net_kernel:connect_node(Node) of
        true -> disconnect(Node);
        Other -> exit({failed, {connect_node, Other}})
    end.

disconnect(Node) ->
    case lists:member(Node, nodes(connected)) of
        true ->
            true = erlang:monitor_node(Node, true),
            erlang:disconnect_node(Node),
            receive {nodedown, Node} -> ok end;
        false ->
            ok
    end.

%% What the BEAM's own codec takes for one operation, in picoseconds, measured for Ms
%% after a quarter of that.
codec(Operation, File, Ms, Limit) ->
    {ok, Bin} = file:read_file(File),
    Term = binary_to_term(Bin),
    Once = case Operation of
        decode -> fun() -> binary_to_term(Bin) end;
        encode -> fun() -> term_to_binary(Term) end
    end,
    timed(Limit, fun() ->
        {N, _} = repeat(Once, 1, Ms * 250_000),
        {M, Took} = repeat(Once, max(1, N div 4), Ms * 1_000_000),
        exit({done, Took * 1000 div M})
    end).

%% Does it for so many nanoseconds; looks at the clock after each batch.
repeat(Once, Batch, For) ->
    repeat(Once, Batch, For, now_ns(), 0).

repeat(Once, Batch, For, Begun, N) ->
    do(Once, Batch),
    case now_ns() - Begun of
        Took when Took >= For -> {N + Batch, Took};
        _ -> repeat(Once, Batch, For, Begun, N + Batch)
    end.

do(_, 0) ->
    ok;
do(Once, N) ->
    Once(),
    do(Once, N - 1).

%% Waits in the background for Skip nodes to come up, and N more; watched/1 tells how
%% long it took from the first to the last of the latter.
watch(Skip, N) ->
    Caller = self(),
    Watcher = spawn(fun() ->
        ok = net_kernel:monitor_nodes(true, [{node_type, all}]),
        Caller ! {watching, self()},
        [up() || _ <- lists:seq(1, Skip)],
        First = up(),
        Last = lists:foldl(fun(_, _) -> up() end, First, lists:seq(2, N)),
        receive {report, To} -> To ! {self(), {done, Last - First}} end
    end),
    register(bench_watcher, Watcher),
    receive {watching, Watcher} -> ok end.

up() ->
    receive {nodeup, _, _} -> now_ns() end.

watched(Limit) ->
    Watcher = whereis(bench_watcher),
    Watcher ! {report, self()},
    Result = receive {Watcher, R} -> R after Limit -> {failed, timeout} end,
    exit(Watcher, kill),
    Result.

%% What only the Go peer knows of itself.
goroutines(Node) ->
    {peer, Node} ! {goroutines, self()},
    receive {goroutines, N} -> {done, N} after 5000 -> {failed, timeout} end.

%% -1 is a tuple of 20 atoms, -2 a map with 40 atoms for keys, about 1 KB.
payload(-1) ->
    list_to_tuple([atom(N) || N <- lists:seq(1, 20)]);
payload(-2) ->
    maps:from_list([{atom(N), #{status => active, count => N}} || N <- lists:seq(1, 40)]);
payload(Size) ->
    binary:copy(<<"x">>, Size).

atom(N) ->
    list_to_atom("attribute_" ++ integer_to_list(N)).

now_ns() ->
    erlang:monotonic_time(nanosecond).

%% Times Fun in a new process, which has nothing to collect and no message waiting.
timed(Limit, Fun) ->
    timed(Limit, fun now_ns/0, Fun).

%% The same; Begin does what goes before, and gives the time from which to count.
timed(Limit, Begin, Fun) ->
    {Pid, Ref} = spawn_opt(fun() ->
        Start = Begin(),
        Fun(),
        exit({done, now_ns() - Start})
    end, [monitor, {message_queue_data, off_heap}]),
    receive
        {'DOWN', Ref, process, Pid, {done, _} = Done} -> Done;
        {'DOWN', Ref, process, Pid, {failed, _} = Failed} -> Failed;
        {'DOWN', Ref, process, Pid, Reason} -> {failed, Reason}
    after Limit ->
        exit(Pid, kill),
        receive {'DOWN', Ref, process, Pid, _} -> {failed, timeout} end
    end.
