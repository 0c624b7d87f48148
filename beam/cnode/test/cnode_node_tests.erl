-module(cnode_node_tests).
-define(EUNIT_NOAUTO, true). % so that run/0 runs where EUnit is not installed
-include_lib("eunit/include/eunit.hrl").
-export([all_test_/0, run/0, tests/0, log/2]).

all_test_() -> [{atom_to_list(name(F)), {spawn, {timeout, 60, F}}} || F <- tests()].

%% The same without EUnit, one line for each test.
run() ->
    logger:set_handler_config(default, level, none),
    _ = [begin
        {P, M} = spawn_monitor(fun() -> F(), exit(done) end),
        receive
            {'DOWN', M, _, P, done} -> io:format("ok ~s~n", [name(F)]);
            {'DOWN', M, _, P, Reason} -> io:format("FAILED ~s: ~p~n", [name(F), Reason])
        end
     end || F <- tests()],
    io:format("end~n").

name(F) -> element(2, erlang:fun_info(F, name)).

%% What needs a node runs only on one.
tests() ->
    [fun specs/0, fun wrong_options/0] ++ case is_alive() of
        true -> [fun environment/0, fun lines/0, fun ends/0, fun stops/0, fun starts_late/0, fun upgrade_fails/0];
        false -> [fun not_distributed/0]
    end.

specs() ->
    #{id := {cnode_node, "pricing"}, shutdown := 17000} = cnode_node:child_spec(#{program => "pricing"}),
    #{id := {cnode_node, 'a@b'}, shutdown := 6000} = cnode_node:child_spec(#{program => "p", node => 'a@b', stop_timeout => 1000}),
    #{id := {cnode_node, x}} = cnode_node:child_spec(#{unit => "p.service", id => x}).

wrong_options() ->
    {error, {badarg, _}} = cnode_node:start_link(#{}),
    {error, {badarg, _}} = cnode_node:start_link(#{path => "p", unit => "u"}),
    case is_alive() of
        true ->
            {error, {badarg, _}} = cnode_node:start_link(#{program => p}),
            process_flag(trap_exit, true),
            {error, {no_program, _}} = cnode_node:start_link(#{program => p, app => stdlib}),
            {error, {no_program, "/none"}} = cnode_node:start_link(#{path => "/none"});
        false -> ok
    end.

not_distributed() -> {error, {not_distributed, _}} = cnode_node:start_link(#{path => "/bin/true"}).

%% A child whose program is a shell, and whose node is one that is there anyhow. The test hears what is logged.
child(Script, Options) ->
    process_flag(trap_exit, true),
    {ok, Peer, Node} = peer:start_link(#{name => peer:random_name(), host => host(), connection => standard_io}),
    Dir = "/tmp/cnode_node_" ++ os:getpid() ++ "_" ++ integer_to_list(erlang:unique_integer([positive])),
    ok = file:make_dir(Dir),
    Path = Dir ++ "/program",
    program(Path, Script),
    ok = logger:set_primary_config(level, debug),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => self()}),
    Started = cnode_node:start_link(maps:merge(#{path => Path, node => Node}, Options)),
    {Started, #{peer => Peer, node => Node, dir => Dir, path => Path}}.

host() -> tl(lists:dropwhile(fun(C) -> C =/= $@ end, atom_to_list(node()))).

program(Path, Script) ->
    ok = file:write_file(Path ++ ".new", ["#!/bin/sh\n", Script]),
    ok = file:change_mode(Path ++ ".new", 8#755),
    ok = file:rename(Path ++ ".new", Path).

over(#{peer := Peer, dir := Dir}) ->
    ok = logger:remove_handler(?MODULE),
    ok = logger:set_primary_config(level, notice),
    peer:stop(Peer),
    ok = file:del_dir_r(Dir).

%% The log handler.
log(#{level := Level, msg := {Format, Args}, meta := #{cnode := _}}, #{config := Test}) ->
    Test ! {logged, Level, unicode:characters_to_binary(io_lib:format(Format, Args))};
log(_, _) -> ok.

logged(Level, Text) ->
    receive {logged, Level, Text} -> ok
    after 50000 -> error({not_logged, Text, process_info(self(), messages)})
    end.

ended(Pid) ->
    receive {'EXIT', Pid, Reason} -> Reason
    after 50000 -> error(goes_on)
    end.

environment() ->
    os:putenv("NOTIFY_SOCKET", "/run/ours"),
    {{ok, Pid}, W} = child("echo ready; echo $CNODE_NODE $CNODE_PARENT $CNODE_LISTEN $CNODE_COOKIE $OWN $1 $PWD;"
        "echo ${NOTIFY_SOCKET-none}; exec cat", #{env => [{"OWN", <<"own">>}], args => ["first"], cd => <<"/tmp">>}),
    os:unsetenv("NOTIFY_SOCKET"),
    #{node := Node} = W,
    logged(info, <<"program: ready">>),
    {ok, Address} = inet:getaddr(host(), inet),
    logged(info, unicode:characters_to_binary(io_lib:format("program: ~s ~s ~s:0 ~s own first /tmp",
        [Node, node(), inet:ntoa(Address), erlang:get_cookie()]))),
    logged(info, <<"program: none">>),
    #{node := Node, connected := true, os_pid := _} = cnode_node:info(Node),
    ok = gen_server:stop(Pid),
    over(W).

lines() ->
    {{ok, Pid}, W} = child("echo ready; echo level=WARN msg=odd; echo level=ODD x; printf 'caf\\303\\251\\n\\351\\n';"
        "head -c 20000 /dev/zero | tr '\\0' r; echo; echo err >&2; exec cat", #{log => notice}),
    logged(notice, <<"program: ready">>),
    logged(warning, <<"program: msg=odd">>),
    logged(notice, <<"program: level=ODD x">>),
    logged(notice, <<"program: café"/utf8>>),
    logged(notice, <<"program: é"/utf8>>),
    logged(notice, <<"program: ", (binary:copy(<<"r">>, 16384))/binary>>),
    logged(notice, <<"program: ", (binary:copy(<<"r">>, 20000 - 16384))/binary>>),
    logged(notice, <<"program: err">>),
    ok = gen_server:stop(Pid),
    over(W).

ends() ->
    [begin
        {{ok, Pid}, W} = child("echo ready; read line; " ++ End, #{log => false}),
        {ok, Port} = port(Pid),
        true = port_command(Port, "go\n"),
        Reason = ended(Pid),
        over(W)
     end || {End, Reason} <- [{"exit 0", normal}, {"exit 3", {exit_status, 3}}, {"kill -KILL $$", {exit_status, 137}}]].

port(Pid) ->
    case [P || P <- element(2, process_info(Pid, links)), is_port(P)] of
        [Port] -> {ok, Port};
        [] -> none
    end.

stops() ->
    Loop = "while :; do sleep 0.02; done",
    {{ok, Pid}, W} = child("trap 'echo bye; exit 0' TERM; echo ready; " ++ Loop, #{}),
    ok = gen_server:stop(Pid),
    logged(info, <<"program: ready">>),
    over(W),
    {{ok, Hangs}, X} = child("trap '' TERM; echo ready; " ++ Loop, #{stop_timeout => 100}),
    #{os_pid := Number} = cnode_node:info(maps:get(node, X)),
    ok = gen_server:stop(Hangs),
    "gone\n" = os:cmd("kill -0 " ++ integer_to_list(Number) ++ " 2>/dev/null || echo gone"),
    over(X).

%% A name that is taken is tried again; a program that does not get ready is killed.
starts_late() ->
    {{ok, Pid}, W} = child("cd $(dirname $0); if test -e twice; then echo ready; exec cat; fi;"
        "test -e once && touch twice; touch once; exit 75", #{}),
    true = filelib:is_regular(maps:get(dir, W) ++ "/twice"),
    ok = gen_server:stop(Pid),
    over(W),
    {{error, Taken}, X} = child("exit 75", #{ready_timeout => 500}),
    true = lists:member(Taken, [{exit_status, 75}, not_ready]), % by how long a shell takes to start
    over(X),
    {{error, not_ready}, Y} = child("echo already; exec cat", #{ready_timeout => 200, stop_timeout => 100}),
    over(Y),
    {{error, {exit_status, 4}}, Z} = child("exit 4", #{}),
    over(Z).

upgrade_fails() ->
    {{ok, Pid}, W} = child("echo ready; exec cat", #{}),
    #{node := Node, path := Path} = W,
    unchanged = cnode_node:upgrade(Node),
    program(Path, "echo 1; echo 2 $CNODE_TAKE_OVER; exit 5"),
    {error, {exit_status, 5, [<<"1">>, <<"2 1">>]}} = cnode_node:upgrade(Node),
    ok = file:delete(Path),
    {error, {no_program, Path}} = cnode_node:upgrade(Node),
    {ok, _} = port(Pid),
    ok = gen_server:stop(Pid),
    over(W).
