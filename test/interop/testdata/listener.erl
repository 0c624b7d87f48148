%% Processes that look at the order of what they get.
-module(listener).
-export([numbers/2, echo/0, sink/1]).

%% Takes {From, I} from Senders senders, 1 to Last of each, and gives those of whom something came out of order, twice or not at all.
numbers(Senders, Last) -> numbers(Senders * Last, Last, #{}).

numbers(0, Last, Seen) -> [From || {From, I} <- maps:to_list(Seen), I =/= Last];
numbers(Left, Last, Seen) ->
    receive
        {From, I} ->
            case maps:get(From, Seen, 0) of
                Before when Before =:= I - 1 -> numbers(Left - 1, Last, Seen#{From => I});
                Before -> [{From, I, came_after, Before}]
            end
    after 20000 -> {only, Seen}
    end.

echo() -> receive {From, T} -> From ! T, echo() end.

%% Takes Last binaries and tells their sizes together.
sink(Last) -> lists:sum([receive B when is_binary(B) -> byte_size(B) after 20000 -> lost end || _ <- lists:seq(1, Last)]).
