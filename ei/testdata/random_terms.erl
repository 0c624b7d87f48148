%% The other end of TestRandomTermsWithErl: sends terms through a port, and wants each back.
-module(random_terms).
-export([run/1]).

run(N) ->
    Port = open_port({fd, 0, 1}, [{packet, 4}, binary, eof]),
    Specs = list_to_tuple(binary_to_term(next(Port))),
    loop(Port, Specs, N),
    port_command(Port, term_to_binary({done, N})),
    halt().

next(Port) ->
    receive {Port, {data, Data}} -> Data; {Port, eof} -> halt(1) end.

%% A hundred at a time are under way.
loop(_, _, 0) -> ok;
loop(Port, Specs, N) ->
    Sent = [send(Port, Specs) || _ <- lists:seq(1, min(N, 100))],
    [check(Port, S, next(Port)) || S <- Sent],
    loop(Port, Specs, N - length(Sent)).

send(Port, Specs) ->
    I = rand:uniform(size(Specs)),
    {Any, Typed} = Sent = {any(4), typed(element(I, Specs))},
    port_command(Port, term_to_binary({term, I - 1, Any, Typed})),
    Sent.

check(Port, {Any, Typed}, Back) ->
    case binary_to_term(Back) of
        {Any2, Typed2} when Any2 =:= Any, Typed2 =:= Typed -> ok;
        Other ->
            port_command(Port, term_to_binary({differs, unicode:characters_to_binary(io_lib:format("~0tp~nis ~0tp", [{Any, Typed}, Other]))})),
            receive after infinity -> ok end
    end.

any(0) -> leaf(rand:uniform(12));
any(D) ->
    N = rand:uniform(5) - 1,
    case rand:uniform(14) of
        1 -> [any(D - 1) || _ <- lists:seq(1, N)];
        2 -> [any(D - 1) | leaf(rand:uniform(12))];
        3 -> list_to_tuple([any(D - 1) || _ <- lists:seq(1, N)]);
        4 -> maps:from_list([{any(D - 1), any(D - 1)} || _ <- lists:seq(1, N)]);
        5 -> [{leaf(3), any(D - 1)} || _ <- lists:seq(1, N)];
        6 -> [rand:uniform(256) - 1 || _ <- lists:seq(1, N * 10)];
        _ -> leaf(rand:uniform(12))
    end.

leaf(1) -> integer();
leaf(2) -> float();
leaf(3) -> atom();
leaf(4) -> binary();
leaf(5) -> <<(rand:uniform(128) - 1):7, (binary())/binary>>;
leaf(6) -> self();
leaf(7) -> make_ref();
leaf(8) -> [];
leaf(9) -> fun lists:map/2;
leaf(10) -> hd(erlang:ports());
leaf(11) -> [rand:uniform(1000) || _ <- lists:seq(1, 3)];
leaf(12) -> lists:nth(rand:uniform(4), [true, false, undefined, nil]).

integer() ->
    Bits = lists:nth(rand:uniform(7), [3, 8, 16, 31, 33, 63, 200]),
    (rand:uniform(1 bsl Bits) - 1) * lists:nth(rand:uniform(2), [1, -1]).

float() -> (rand:uniform() - 0.5) * math:pow(10, rand:uniform(60) - 30).

atom() -> binary_to_atom(text(), utf8).

binary() -> rand:bytes(rand:uniform(20) - 1).

text() ->
    unicode:characters_to_binary([lists:nth(rand:uniform(6), [$a, $Z, $_, $\s, 16#e9, 16#65e5]) || _ <- lists:seq(1, rand:uniform(8) - 1)]).

%% A term that a Go type takes, by what the test has said about it.
typed(any) -> any(2);
typed(bool) -> rand:uniform(2) =:= 1;
typed({int, Bits}) -> rand:uniform(1 bsl Bits) - 1 - (1 bsl (Bits - 1));
typed({uint, Bits}) -> rand:uniform(1 bsl Bits) - 1;
typed(big) -> integer();
typed(float) -> float();
typed(atom) -> atom();
typed(text) -> text();
typed(atom_text) -> atom();
typed(charlist) -> unicode:characters_to_list(text());
typed(bytes) -> binary();
typed(pid) -> self();
typed({list, Spec}) -> [typed(Spec) || _ <- lists:seq(1, rand:uniform(4) - 1)];
typed({array, N, Spec}) -> [typed(Spec) || _ <- lists:seq(1, N)];
typed({map, Key, Value}) -> maps:from_list([{typed(Key), typed(Value)} || _ <- lists:seq(1, rand:uniform(4) - 1)]);
typed({optional, Spec}) ->
    case rand:uniform(3) of
        1 -> undefined;
        _ -> case typed(Spec) of nil -> undefined; T -> T end
    end;
typed({struct, Fields}) -> maps:from_list([{Key, typed(Spec)} || {Key, Spec} <- Fields]).
