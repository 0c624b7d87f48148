%% erl -noinput -name app@127.0.0.1 -setcookie secret -run demo main PATH    runs the Go program at PATH
%% erl -noinput -name app@127.0.0.1 -setcookie secret -run demo main NODE    watches a Go node that others run
-module(demo).
-behaviour(supervisor).
-export([main/1, init/1, start_link/0]).

main([PathOrNode]) ->
    {ok, Supervisor} = supervisor:start_link({local, ?MODULE}, ?MODULE, PathOrNode),
    unlink(Supervisor). % of a process that ends now

init(PathOrNode) ->
    Children =
        case lists:member($@, PathOrNode) of
            true ->
                [#{id => go_watch, start => {go_watch, start_link, [list_to_atom(PathOrNode)]}}];
            false ->
                Go = #{node => 'service@127.0.0.1', path => filename:absname(PathOrNode)},
                [
                    #{id => go_node, start => {go_node, start_link, [Go]}, shutdown => 15000},
                    %% a child that comes after go_node, and is started again with it
                    #{id => ?MODULE, start => {?MODULE, start_link, []}, restart => transient}
                ]
        end,
    {ok, {#{strategy => rest_for_one, intensity => 3, period => 5}, Children}}.

start_link() -> {ok, spawn_link(fun run/0)}.

run() ->
    {os_pid, Pid} = go_node:os_pid(),
    Done = erpc:call('service@127.0.0.1', service, work, [5]),
    io:format("the Go program is process ~w, and its work is ~w~n", [Pid, Done]),
    io:format("kill it, and see it come back; end this VM, and see it end~n").
