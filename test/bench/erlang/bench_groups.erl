%% Members of a process group, and how long it takes until others see them. start/1, join/1 and
%% leave/0 are the BEAM as the peer; measure/4 is the side that measures, and answers as
%% bench_driver does.
-module(bench_groups).
-export([start/0, make/1, join/0, leave/0, watch/2, measure/4]).

start() ->
    {ok, _} = pg:start(bench),
    ok.

%% N processes that may become members.
make(N) ->
    From = self(),
    spawn(fun() ->
        register(members, self()),
        Pids = [spawn(fun() -> receive stop -> ok end end) || _ <- lists:seq(1, N)],
        From ! made,
        (fun F() ->
            receive
                {join, By} -> [ok = pg:join(bench, group, P) || P <- Pids], By ! done;
                {leave, By} -> ok = pg:leave(bench, group, Pids), By ! done
            end,
            F()
        end)()
    end),
    receive made -> ok end.

join() -> members ! {join, self()}, receive done -> ok end.
leave() -> members ! {leave, self()}, receive done -> ok end.

%% Tells when N have joined, and again when all have left.
watch(To, N) ->
    {Ref, []} = pg:monitor(bench, group),
    To ! ready,
    count(Ref, join, N),
    To ! seen,
    count(Ref, leave, N),
    pg:demonitor(bench, Ref),
    To ! gone.

count(_, _, 0) -> ok;
count(Ref, What, N) -> receive {Ref, What, group, Pids} -> count(Ref, What, N - length(Pids)) end.

%% The time from the first join of N processes on Node until all Watchers have seen all of them.
measure(Node, Watchers, N, Limit) ->
    Self = self(),
    [spawn(W, ?MODULE, watch, [Self, N]) || W <- Watchers],
    Each = fun(What) -> [receive What -> ok after Limit -> exit({failed, What}) end || _ <- Watchers] end,
    try
        Each(ready),
        Begun = erlang:monotonic_time(),
        ok = erpc:call(Node, ?MODULE, join, [], Limit),
        Each(seen),
        Took = erlang:convert_time_unit(erlang:monotonic_time() - Begun, native, nanosecond),
        ok = erpc:call(Node, ?MODULE, leave, [], Limit),
        Each(gone),
        {done, Took}
    catch _:Why -> {failed, Why}
    end.
