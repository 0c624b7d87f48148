%% Messages of any size, and of many atoms, of which both sides can tell whether they are whole:
%% {Tag, Sender, I, Crc, Pieces} and {rich, Sender, I, Shape, Term, Texts}. I begins with 1.
-module(large).
-export([bytes/1, send/1, checker/1, atom/1, send_rich/1, dies/0, watches/0, until/1]).

%% Bytes that are others each time.
bytes(Size) ->
    Base = base(),
    Start = rand:uniform(byte_size(Base)) - 1,
    case Start + Size =< byte_size(Base) of
        true -> binary:part(Base, Start, Size);
        false -> binary:part(binary:copy(Base, Size div byte_size(Base) + 2), Start, Size)
    end.

base() ->
    case persistent_term:get({?MODULE, base}, none) of
        none -> Base = rand:bytes(1000003), persistent_term:put({?MODULE, base}, Base), Base;
        Base -> Base
    end.

pieces(I, Size) when I rem 3 =:= 0 -> cut(bytes(Size), 1000 + Size div 1000);
pieces(_, Size) -> [bytes(Size)].

cut(B, N) when byte_size(B) =< N -> [B];
cut(B, N) -> <<Piece:N/binary, Rest/binary>> = B, [Piece | cut(Rest, N)].

%% For each {Sender, To, Sizes} a process that sends messages of these sizes; true when all have.
send(All) ->
    together([fun() -> [To ! mail(S, I, Size) || {I, Size} <- lists:enumerate(Sizes)] end || {S, To, Sizes} <- All]).

mail(S, I, Size) ->
    Pieces = pieces(I, Size),
    {binary_to_atom(<<"mail", (integer_to_binary(S))/binary>>), S, I, erlang:crc32(Pieces), Pieces}.

together(Funs) ->
    Refs = [element(2, spawn_monitor(F)) || F <- Funs],
    [normal] =:= lists:usort([receive {'DOWN', R, process, _, Why} -> Why end || R <- Refs]).

%% Atoms by their texts, and terms that are made of them.
atom(Text) -> binary_to_atom(Text).

build(tuple, Atoms) -> list_to_tuple(Atoms);
build(map, Atoms) -> maps:from_list(lists:zip(Atoms, tl(Atoms) ++ [hd(Atoms)]));
build(long, Atoms) ->
    T = list_to_tuple(Atoms),
    [{I, element(1 + I rem size(T), T), element(1 + I * 7 rem size(T), T)} || I <- lists:seq(1, 12000)].

%% As send/1, for each {Sender, To, [{Shape, Texts}]}.
send_rich(All) ->
    together([fun() ->
        [To ! {rich, S, I, Shape, build(Shape, [atom(T) || T <- Texts]), Texts} || {I, {Shape, Texts}} <- lists:enumerate(Those)]
    end || {S, To, Those} <- All]).

%% A process that takes Count messages, answers those that say whom, and ends with reason whole, or
%% with what was wrong.
checker(Count) -> spawn(fun() -> check(Count, #{}) end).

check(0, _) -> exit(whole);
check(Left, Seen) ->
    receive
        {From, {_, S, I, Crc, Pieces} = M} ->
            in_order(S, I, Seen),
            case erlang:crc32(Pieces) of
                Crc when Crc < 1 bsl 28 -> From ! M; % one of sixteen goes all the way back
                Crc -> From ! {answer, S, I, iolist_size(Pieces)};
                Other -> exit({crc, S, I, Crc, Other})
            end,
            check(Left - 1, Seen#{S => I});
        {rich, S, I, Shape, Term, Texts} ->
            in_order(S, I, Seen),
            build(Shape, [atom(T) || T <- Texts]) =:= Term orelse exit({other, S, I, Shape}),
            check(Left - 1, Seen#{S => I});
        Other -> exit({not_whole, Other})
    end.

in_order(S, I, Seen) -> maps:get(S, Seen, 0) =:= I - 1 orelse exit({order, S, I, maps:get(S, Seen, 0)}).

%% A process that ends with the reason that it gets; and one that does as it is told, and answers
%% {ask, From, Count} with the exit signals and ends of monitored processes once there are so many.
dies() -> spawn(fun() -> receive Why -> exit(Why) end end).

watches() -> spawn(fun() -> process_flag(trap_exit, true), watches([]) end).

watches(Seen) ->
    receive
        {monitor, P} -> monitor(process, P), watches(Seen);
        {link, P} -> link(P), watches(Seen);
        {send, P, What} -> P ! What, watches(Seen);
        {ask, From, Count} when length(Seen) >= Count -> From ! {seen, Seen}, watches([]);
        {'EXIT', _, Why} -> watches([{exit, Why} | Seen]);
        {'DOWN', _, _, _, Why} -> watches([{down, Why} | Seen])
    end.

until(F) -> case F() of true -> true; false -> timer:sleep(1), until(F) end.
