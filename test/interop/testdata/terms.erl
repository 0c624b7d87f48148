%% Terms of every kind, and the ways in which a node is asked to give them back.
-module(terms).
-export([all/0, check/2, check/3]).

%% check(Node, Named) sends each {Name, Term} through Node in every way, and tells how many terms came back, and what went wrong:
%% a term must come back =:= and, for what =:= does not see, with the bytes that it was sent as.
check(Node, Named) -> check(Node, Named, ways()).

check(Node, Named, Ways) ->
    Wrong = [{Name, Way, shown(Got)} || {Name, T} <- Named, {Way, Send} <- Ways,
                                        Got <- [try Send(Node, T) catch C:R -> {C, R} end], not same(Got, {came, T})],
    {length(Named), Wrong}.

ways() ->
    [{rpc, fun(N, T) -> {came, rpc:call(N, cnode, echo, [T])} end},
     {erpc, fun(N, T) -> {came, erpc:call(N, cnode, echo, [T])} end},
     {gen_server, fun(N, T) -> {ok, Got} = gen_server:call({peer, N}, T), {came, Got} end},
     {message, fun(N, T) -> {peer, N} ! {echo, self(), T}, receive Got -> {came, Got} after 20000 -> nothing end end}].

same(A, B) -> A =:= B andalso term_to_binary(A) =:= term_to_binary(B).

shown(T) -> lists:flatten(io_lib:format("~0tP", [T, 40])).

all() ->
    integers() ++ floats() ++ atoms() ++ lists() ++ tuples() ++ maps() ++ binaries() ++ identifiers() ++ funs() ++ deep() ++ many().

integers() ->
    Boundaries = [0, 1, 255, 256, 1 bsl 27 - 1, 1 bsl 27, 1 bsl 31 - 1, 1 bsl 31, 1 bsl 32, 1 bsl 59 - 1, 1 bsl 59, 1 bsl 63 - 1, 1 bsl 63,
                  1 bsl 64 - 1, 1 bsl 64, 1 bsl (255 * 8) - 1, 1 bsl (255 * 8)],
    [{{int, I}, I} || B <- Boundaries, I <- [B, -B, -B - 1]]
        ++ [{{digits, D}, pow10(D) - 1} || D <- [100, 1000, 5000]] ++ [{minus_5000_digits, 1 - pow10(5000)}].

pow10(N) -> lists:foldl(fun(_, P) -> P * 10 end, 1, lists:seq(1, N)).

floats() ->
    [{{float, B}, F} || B <- [<<0:64>>, <<1:1, 0:63>>, <<1:64>>, <<1:1, 1:63>>, <<16#000fffffffffffff:64>>, <<16#0010000000000000:64>>,
                              <<16#7fefffffffffffff:64>>, <<16#ffefffffffffffff:64>>, <<0.1/float>>, <<-1.5/float>>, <<1.0e22/float>>],
                        <<F/float>> <- [B]].

atoms() ->
    [{{atom, A}, A} || A <- [a, '', 'Ünïcödé', 'with space', '\n', 'don\'t', '日本', '𝄞', 'if', 'maybe', 'else', true, undefined,
                             list_to_atom(lists:duplicate(255, $a)), list_to_atom(lists:duplicate(255, 16#e4)),
                             list_to_atom(lists:duplicate(255, 16#1d11e))]].

lists() ->
    [{{list, N, Kind}, lists:duplicate(N, X)} || N <- [0, 1, 2, 255, 256, 65534, 65535, 65536], {Kind, X} <- [{byte, $x}, {number, 256}, {tuple, {}}]]
        ++ [{printable, "text"}, {controls, [0, 1, 255]}, {mixed, [1, a, "b", <<"c">>, 2.0, [[]]]}, {unicode, "häh 日本"},
            {improper, [a | b]}, {improper_bytes, [1, 2, 3 | 4]}, {improper_map, [[] | #{}]}, {long_improper, lists:seq(1, 70000) ++ tail}].

tuples() ->
    [{{tuple, N}, erlang:make_tuple(N, x)} || N <- [0, 1, 2, 254, 255, 256, 257, 70000]] ++ [{tuples, {{}, {{}, {}}, {{{}}}}}].

maps() ->
    [{{map, N}, maps:from_list([{K, {K}} || K <- lists:seq(1, N)])} || N <- [0, 1, 2, 31, 32, 33, 1000]]
        ++ [{map_of_atoms, maps:from_list([{list_to_atom("k" ++ integer_to_list(K)), K} || K <- lists:seq(1, 33)])},
            {keys, #{1 => a, 1.0 => b, k => c, "s" => d, <<"b">> => e, <<1:3>> => f, {} => g, {1, [a]} => h, #{} => i, #{#{a => 1} => 2} => j,
                     [] => k, [1 | 2] => l, self() => m, make_ref() => n, fun lists:map/2 => o, 1 bsl 70 => p, 0.0 => q, '' => r}},
            {nested, lists:foldl(fun(I, M) -> #{I => M, I + 0.5 => [M]} end, #{}, lists:seq(1, 8))}].

binaries() ->
    [{{binary, N}, binary:copy(<<"x">>, N)} || N <- [0, 1, 63, 64, 65, 255, 256, 65535, 65536, 1000000]]
        ++ [{five_megabytes, << <<I:32>> || I <- lists:seq(1, 1310720) >>}]
        ++ [{{bits, N}, B} || N <- [1, 2, 3, 4, 5, 6, 7, 9, 15, 17, 1001], <<B:N/bitstring, _/bitstring>> <- [binary:copy(<<16#b6>>, 200)]]
        ++ [{part, binary:part(<<"a part of a binary">>, 2, 4)}].

identifiers() ->
    Local = [self(), hd(erlang:ports()), make_ref(), alias([explicit_unalias])],
    Node = atom_to_binary(node()),
    Nodes = [{own_of_old, Node, 7}, {elsewhere, <<"nobody@127.0.0.1">>, 16#ffffffff}, {creation_zero, <<"nobody@127.0.0.1">>, 0},
             {unicode_node, <<"nöbody@127.0.0.1"/utf8>>, 4}],
    [{{local, I}, X} || {I, X} <- lists:enumerate(Local)]
        ++ [{{Kind, Which}, made(Kind, N, Creation)} || {Which, N, Creation} <- Nodes, Kind <- [pid, new_pid, port, big_port, ref1, ref2, ref3, ref5]].

%% An identifier of any node, from its external form.
made(Kind, Node, Creation) ->
    N = <<119, (byte_size(Node)), Node/binary>>,
    Ref = fun(Words) -> <<90, (length(Words)):16, N/binary, Creation:32, << <<W:32>> || W <- Words >>/binary>> end,
    binary_to_term(<<131, (case Kind of
        pid -> <<88, N/binary, 38:32, 0:32, Creation:32>>;
        new_pid -> <<88, N/binary, 16#fffffff1:32, 16#7ffffff2:32, Creation:32>>;
        port -> <<89, N/binary, 5:32, Creation:32>>;
        big_port -> <<120, N/binary, 16#f234567812345678:64, Creation:32>>;
        ref1 -> Ref([4711]);
        ref2 -> Ref([4711, 16#fffffff0]);
        ref3 -> Ref([16#3ffff, 16#fffffff0, 16#fffffff1]);
        ref5 -> Ref([16#3ffff, 16#fffffff0, 16#fffffff1, 16#fffffff2, 16#fffffff3])
    end)/binary>>).

funs() ->
    X = self(), Y = [1, {2, <<"3">>}],
    [{external, fun lists:map/2}, {external_arity_255, fun erlang:nobody/255}, {external_unicode, fun 'möd':'fün'/0},
     {closure, fun() -> ok end}, {closure_with_variables, fun(A) -> {A, X, Y} end}, {closure_of_many, fun(A, B, C, D, E) -> [A, B, C, D, E, Y] end},
     {closure_in_closure, fun() -> F = fun() -> X end, {F, Y} end}, {fun_in_data, #{f => [fun all/0, {fun ways/0}]}}].

deep() ->
    Nest = fun(F, N) -> lists:foldl(fun(_, T) -> F(T) end, x, lists:seq(1, N)) end,
    [{deep_lists, Nest(fun(T) -> [T] end, 9000)}, {deep_tuples, Nest(fun(T) -> {T} end, 9000)},
     {deep_maps, Nest(fun(T) -> #{k => T} end, 5000)}, {deep_mixture, Nest(fun(T) -> {[#{k => [T, T]} | 1]} end, 11)},
     {deep_funs, Nest(fun(T) -> fun() -> T end end, 500)}].

%% More atoms than a connection remembers, and many small things of each kind.
many() ->
    Atoms = [list_to_atom("an_atom_" ++ integer_to_list(I)) || I <- lists:seq(1, 5000)],
    [{atoms, Atoms}, {atoms_again, lists:reverse(Atoms)}, {map_of_atoms, maps:from_list([{A, A} || A <- Atoms])},
     {refs, [make_ref() || _ <- lists:seq(1, 5000)]}, {floats, [I / 7 || I <- lists:seq(1, 5000)]},
     {records, [{user, I, <<"name">>, "text", 1.5, [tag, {at, I}], #{role => admin}} || I <- lists:seq(1, 5000)]}].
