%% The BEAM as the peer: one process does what ei_echo does for one connection.
-module(bench_peer).
-export([start/0]).

start() ->
    true = register(peer, spawn(fun() -> serve(0) end)),
    ok.

serve(Count) ->
    receive
        {echo, From, Term} ->
            From ! Term,
            serve(Count);
        {sink, _, false, _} ->
            serve(Count + 1);
        {sink, From, true, _} ->
            From ! {count, Count + 1},
            serve(0);
        {source, From, N, Term} ->
            source(From, N, Term),
            serve(Count);
        _ ->
            serve(Count)
    end.

source(_, 0, _) ->
    ok;
source(From, N, Term) ->
    From ! Term,
    source(From, N - 1, Term).
