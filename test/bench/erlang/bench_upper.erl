%% What an application does of a node: calls of functions and of a server, monitors,
%% processes that wait. quote/1 to start/0 are the BEAM as the peer; calls/5 and
%% monitors/3 are the side that measures, and answer as bench_driver does.
-module(bench_upper).
-behaviour(gen_server).
-export([quote/1, typed/1, idle/1, start/0, init/1, handle_call/3, handle_cast/2, calls/5, monitors/3]).

quote(#{sku := Sku, pieces := Pieces, price := Price}) ->
    #{sku => Sku, total => Pieces * Price}.

typed(Order) ->
    quote(Order).

%% N processes that wait for ever; the last of them.
idle(N) ->
    lists:last([spawn(fun() -> receive stop -> ok end end) || _ <- lists:seq(1, N)]).

start() ->
    [{ok, _} = gen_server:start({local, Name}, ?MODULE, [], []) || Name <- [quotes, typed]],
    ok.

init([]) ->
    {ok, none}.

handle_call({quote, Order}, _, State) ->
    {reply, quote(Order), State}.

handle_cast(_, State) ->
    {noreply, State}.

%% How many calls a second the peer answers to so many callers, measured for Ms.
calls(Way, Node, Callers, Ms, Limit) ->
    Order = #{sku => <<"apple">>, pieces => 3, price => 2.5},
    #{total := 7.5, sku := <<"apple">>} = call(Way, Node, Order),
    Begun = erlang:monotonic_time(),
    End = Begun + erlang:convert_time_unit(Ms, millisecond, native),
    All = [spawn_monitor(fun() -> exit({done, repeat(Way, Node, Order, End, 0)}) end) || _ <- lists:seq(1, Callers)],
    Counts = [receive {'DOWN', Ref, process, Pid, Why} -> Why after Limit -> exit(Pid, kill), {failed, timeout} end || {Pid, Ref} <- All],
    Took = erlang:convert_time_unit(erlang:monotonic_time() - Begun, native, nanosecond),
    case [Why || Why <- Counts, element(1, Why) =/= done] of
        [] -> {done, round(lists:sum([N || {done, N} <- Counts]) * 1000000000 / Took)};
        [Why | _] -> {failed, Why}
    end.

repeat(Way, Node, Order, End, N) ->
    call(Way, Node, Order),
    case erlang:monotonic_time() of
        Now when Now >= End -> N + 1;
        _ -> repeat(Way, Node, Order, End, N + 1)
    end.

call({rex, F}, Node, Order) ->
    gen_server:call({rex, Node}, {call, ?MODULE, F, [Order], group_leader()}, infinity);
call({erpc, F}, Node, Order) ->
    erpc:call(Node, ?MODULE, F, [Order]);
call({gen_server, Name}, Node, Order) ->
    gen_server:call({Name, Node}, {quote, Order}, infinity).

%% From an exit signal to the last of N processes that have a monitor of the one that it
%% ends.
monitors(Node, N, Limit) ->
    Pid = erpc:call(Node, ?MODULE, idle, [1]),
    Self = self(),
    Ref = make_ref(),
    Watchers = [spawn(fun() ->
        Monitor = monitor(process, Pid),
        Self ! {Ref, watching},
        receive {'DOWN', Monitor, process, Pid, killed} -> Self ! {Ref, told} end
    end) || _ <- lists:seq(1, N)],
    [receive {Ref, watching} -> ok end || _ <- Watchers],
    #{} = call({erpc, quote}, Node, #{sku => <<"x">>, pieces => 1, price => 1.0}), % the monitors have come before
    Begun = erlang:monotonic_time(nanosecond),
    exit(Pid, kill),
    Told = [receive {Ref, told} -> told after Limit -> late end || _ <- Watchers],
    Took = erlang:monotonic_time(nanosecond) - Begun,
    case lists:member(late, Told) of
        true -> {failed, timeout};
        false -> {done, Took}
    end.
