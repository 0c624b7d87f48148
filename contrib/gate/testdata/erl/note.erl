%% Keeps what has happened on the node inside that a gate should have prevented: each call of w/1,
%% and each message that reaches the process.
-module(note).
-export([start/0, w/1, all/0, lacks/1, loop/1]).

start() -> register(note, spawn(?MODULE, loop, [[]])).

%% What attacks run.
w(What) -> note ! {wrote, What}, What.

all() ->
    Ref = make_ref(),
    note ! {?MODULE, self(), Ref},
    receive {Ref, Notes} -> Notes end.

%% Those of the names that are in no note.
lacks(Names) ->
    Notes = all(),
    [Name || Name <- Names, not mentions(Name, Notes)].

mentions(Atom, Atom) -> true;
mentions(Atom, [H | T]) -> mentions(Atom, H) orelse mentions(Atom, T);
mentions(Atom, Tuple) when is_tuple(Tuple) -> mentions(Atom, tuple_to_list(Tuple));
mentions(_, _) -> false.

loop(Notes) ->
    receive
        {?MODULE, Pid, Ref} when node(Pid) =:= node() -> Pid ! {Ref, lists:reverse(Notes)}, loop(Notes);
        {wrote, What} -> loop([What | Notes]);
        Message -> loop([{message, Message} | Notes])
    end.
