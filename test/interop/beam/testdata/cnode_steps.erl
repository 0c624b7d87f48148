%% Stands still at a step of the package, once, so that a test can kill this system or the front there.
-module(cnode_steps).
-export([arm/3, passed/1, stands/1]).

%% The number'th time that a step is passed, a file AT is made, and nothing goes on until it is deleted.
arm(Step, Number, At) -> persistent_term:put(?MODULE, {Step, Number, counters:new(1, []), At}).

passed(Step) ->
    case persistent_term:get(?MODULE, none) of
        {Step, Number, Counter, At} ->
            ok = counters:add(Counter, 1, 1),
            case counters:get(Counter, 1) of
                Number -> stands(At);
                _ -> ok
            end;
        _ -> ok
    end.

%% Makes a file, and waits until it is deleted.
stands(At) ->
    ok = prim_file:write_file(At, <<>>),
    waits(At).

waits(At) ->
    case prim_file:read_file_info(At) of
        {ok, _} ->
            receive after 1 -> waits(At) end;
        _ -> ok
    end.
