%% A large message there and back with small ones beside it, on one connection.
-module(bench_line).
-export([serve/0, talk/4]).

%% The BEAM as the peer: the large and the small messages have a process each, and so has
%% every answer. A process that finds the connection busy may be left waiting until the
%% large message has gone, and whatever comes behind waits with it: 15 s at 8 Mbit/s, where
%% a process of its own waits 2 s.
serve() ->
    [true = register(Name, spawn(fun echo/0)) || Name <- [peer, small]],
    ok.

echo() ->
    receive {echo, From, Term} -> spawn(fun() -> From ! Term end) end,
    echo().

%% Sends Size bytes to the peer and waits for them to come back. Meanwhile a small
%% message goes there and back every so many milliseconds, whether the last one is back
%% or not; every 0: the next after the last. Answers {How, Took, Idle, Median, Longest}:
%% how it ended, and in microseconds the time of the large message, and the waits of small
%% ones: the median of 21 before it, the median and the longest beside it. What had no
%% answer when the connection ended has waited until then.
talk(Node, Size, Every, Limit) ->
    ok = net_kernel:monitor_nodes(true, [{node_type, all}, nodedown_reason]),
    true = net_kernel:connect_node(Node),
    receive {nodeup, Node, _} -> ok end,
    Idle = [begin call(Node), receive {wait, _, W} -> W end end || _ <- lists:seq(1, 21)],
    Self = self(),
    Large = binary:copy(crypto:strong_rand_bytes(1 bsl 16), Size bsr 16),
    Begun = now_us(),
    spawn_link(fun() ->
        {peer, Node} ! {echo, self(), Large},
        receive Back ->
            At = now_us(),
            Self ! {large, case Back of Large -> done; _ -> changed end, At}
        end
    end),
    erlang:send_after(Limit, self(), late),
    self() ! call,
    {How, Ended, Waits} = beside(Node, Every, #{}, []),
    {How, Ended - Begun, median(Idle), median(Waits), lists:max(Waits)}.

%% Open has the small messages on their way, and when they left.
beside(Node, Every, Open, Waits) ->
    receive
        call ->
            Every > 0 andalso erlang:send_after(Every, self(), call),
            {Ref, At} = call(Node),
            beside(Node, Every, Open#{Ref => At}, Waits);
        {wait, Ref, W} ->
            Every > 0 orelse (self() ! call),
            beside(Node, Every, maps:remove(Ref, Open), [W | Waits]);
        {large, How, At} ->
            {How, At, rest(Node, Open, Waits)};
        {nodedown, Node, Why} ->
            Now = now_us(),
            {{down, proplists:get_value(nodedown_reason, Why)}, Now, unanswered(Open, Now) ++ Waits};
        late ->
            Now = now_us(),
            {late, Now, unanswered(Open, Now) ++ Waits}
    end.

%% The large message is back: the waits of those that are still on their way.
rest(_, Open, Waits) when map_size(Open) =:= 0 ->
    Waits;
rest(Node, Open, Waits) ->
    receive
        {wait, Ref, W} -> rest(Node, maps:remove(Ref, Open), [W | Waits]);
        {nodedown, Node, _} -> unanswered(Open, now_us()) ++ Waits;
        late -> unanswered(Open, now_us()) ++ Waits
    end.

unanswered(Open, Now) ->
    [Now - At || At <- maps:values(Open)].

%% A small message there and back, by a process of its own: whoever sends it may have to
%% wait for room.
call(Node) ->
    Self = self(),
    Ref = make_ref(),
    Begun = now_us(),
    spawn_link(fun() ->
        {small, Node} ! {echo, self(), Ref},
        receive Ref -> Self ! {wait, Ref, now_us() - Begun} end
    end),
    {Ref, Begun}.

median(Values) ->
    lists:nth((length(Values) + 1) div 2, lists:sort(Values)).

now_us() ->
    erlang:monotonic_time(microsecond).
