%% Processes that do with a node of Go what an Erlang node does with another one, at
%% random, until they are told to stop. What hangs is printed.
-module(comings).
-export([start/1, stop/0, idle/1]).

start(Node) ->
    Self = self(),
    spawn(fun() ->
        register(comings, self()),
        Self ! {comings, self()},
        Doers = [spawn_monitor(fun() -> loop(Node) end) || _ <- lists:seq(1, 6)],
        serve(Doers)
    end),
    receive {comings, _} -> ok end.

serve(Doers) ->
    receive
        {'$gen_call', From, Request} ->
            gen:reply(From, Request),
            serve(Doers);
        stop ->
            [Pid ! stop || {Pid, _} <- Doers],
            [receive {'DOWN', Ref, process, Pid, _} -> ok end || {Pid, Ref} <- Doers];
        {'DOWN', _, process, Pid, Why} ->
            case lists:keymember(Pid, 1, Doers) of
                true -> io:format("comings: ~p~n", [Why]);
                false -> ok
            end,
            serve(lists:keydelete(Pid, 1, Doers));
        _ ->
            serve(Doers)
    end.

stop() ->
    Ref = monitor(process, comings),
    comings ! stop,
    receive {'DOWN', Ref, process, _, _} -> ok end.

%% A process that ends after so many milliseconds.
idle(Ms) ->
    spawn(fun() -> receive never -> ok after Ms -> ok end end).

loop(Node) ->
    receive
        stop -> ok
    after 0 ->
        {Pid, Ref} = spawn_monitor(fun() -> act(rand:uniform(9), Node) end),
        receive
            {'DOWN', Ref, process, Pid, _} -> loop(Node)
        after 60000 ->
            exit({hangs, process_info(Pid, current_stacktrace)})
        end
    end.

act(1, Node) ->
    erpc:call(Node, chaos, wait, [1], rand:uniform(50));
act(2, Node) ->
    rpc:call(Node, chaos, fail, [1]);
act(3, Node) ->
    {Pid, Ref} = spawn_monitor(Node, chaos, wait, [1]),
    rand:uniform(2) =:= 1 andalso exit(Pid, kill),
    receive {'DOWN', Ref, process, Pid, _} -> ok end;
act(4, Node) ->
    process_flag(trap_exit, true),
    Pid = spawn_link(Node, chaos, wait, [1]),
    rand:uniform(2) =:= 1 andalso exit(Pid, kill),
    receive {'EXIT', Pid, _} -> ok end;
act(5, Node) -> % links and monitors of a process that stays, left in every way
    Anchor = erpc:call(Node, chaos, anchor, []),
    link(Anchor),
    Ref = monitor(process, Anchor),
    monitor(process, {anchor, Node}),
    case rand:uniform(4) of
        1 -> exit(bye);
        2 -> unlink(Anchor), demonitor(Ref);
        3 -> exit(self(), kill);
        4 -> ok
    end;
act(6, Node) ->
    {anchor, Node} ! hello,
    gen_server:call({kept, Node}, hello, rand:uniform(50));
act(7, Node) -> % a process that is linked there
    Pid = erpc:call(Node, chaos, box, []),
    Ref = monitor(process, Pid),
    case rand:uniform(3) of
        1 -> exit(Pid, kill);
        2 -> Pid ! stop;
        3 -> link(Pid), exit(bye)
    end,
    receive {'DOWN', Ref, process, Pid, _} -> ok end;
act(8, Node) -> % what a supervisor starts again
    Ref = monitor(process, {kept, Node}),
    rpc:call(Node, chaos, kill, [kept]),
    receive {'DOWN', Ref, process, _, _} -> ok after 1000 -> demonitor(Ref) end;
act(9, Node) ->
    erpc:cast(Node, chaos, echo, [1]),
    rpc:multicall([Node, node()], chaos, echo, [1], 100).
