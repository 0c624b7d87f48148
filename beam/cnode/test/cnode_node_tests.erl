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
        true -> [fun environment/0, fun lines/0, fun ends/0, fun stops/0, fun starts_late/0, fun upgrade_fails/0,
            fun panics/0, fun its_output_is_held/0, fun is_flooded/0, fun log_stands_still/0];
        false -> [fun not_distributed/0, fun linked/0]
    end.

specs() ->
    #{id := {cnode_node, "pricing"}, shutdown := 17000} = cnode_node:child_spec(#{program => "pricing"}),
    #{id := {cnode_node, 'a@b'}, shutdown := 6000} = cnode_node:child_spec(#{program => "p", node => 'a@b', stop_timeout => 1000}),
    #{id := {cnode_node, x}} = cnode_node:child_spec(#{unit => "p.service", id => x}).

wrong_options() ->
    {error, {badarg, _}} = cnode_node:start_link(#{}),
    {error, {badarg, _}} = cnode_node:start_link(#{path => "p", unit => "u"}),
    {error, {badarg, _}} = cnode_node:start_link(#{program => p}),
    {error, {badarg, _}} = cnode_node:start_link(#{unit => "u", link => true}),
    process_flag(trap_exit, true),
    {ok, _} = application:ensure_all_started(cnode),
    {error, {no_program, _}} = cnode_node:start_link(#{program => p, app => stdlib}),
    {error, {no_program, "/none"}} = cnode_node:start_link(#{path => "/none"}),
    ok = application:stop(cnode),
    {error, {not_started, cnode}} = cnode_node:start_link(#{path => "/none", link => true}).

not_distributed() ->
    [{error, {not_distributed, _}} = cnode_node:start_link(Options) || Options <- [#{unit => "u"}, #{path => "/bin/true", link => false}]].

%% Without a name the program gets a folder of its own, which goes with the child.
linked() ->
    process_flag(trap_exit, true),
    {ok, _} = application:ensure_all_started(cnode),
    Dir = "/tmp/cnode_node_" ++ os:getpid(),
    ok = file:make_dir(Dir),
    os:putenv("CNODE_LISTEN", "1.2.3.4:5"),
    program(Dir ++ "/program", "echo $CNODE_NODE $CNODE_PARENT ${CNODE_LISTEN-none} >$(dirname $0)/said;"
        "echo $CNODE_LINK $CNODE_COOKIE >>$(dirname $0)/said; ls -ld $CNODE_LINK >>$(dirname $0)/said; echo ready; exec cat"),
    {error, not_connected} = cnode_node:start_link(#{path => Dir ++ "/program", ready_timeout => 1000, log => false}),
    os:unsetenv("CNODE_LISTEN"),
    {ok, Said} = file:read_file(Dir ++ "/said"),
    [<<"program@nohost nonode@nohost none">>, Second, <<"drwx------", _/binary>> | _] = binary:split(Said, <<"\n">>, [global]),
    [Folder, <<_:32/binary>>] = binary:split(Second, <<" ">>),
    {error, enoent} = file:read_file_info(Folder),
    [] = [Name || {Name, _, _} <- ets:tab2list(cnode_links)],
    ok = application:stop(cnode),
    ok = file:del_dir_r(Dir).

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
    _ = [peer:stop(Peer) || Peer =/= none],
    ok = file:del_dir_r(Dir).

%% The log handler.
log(#{msg := {_, _}, meta := #{cnode := _}}, #{config := {stands, Test}}) ->
    Test ! {stands, self()},
    receive never -> ok end;
log(#{level := Level, msg := {Format, Args}, meta := #{cnode := _}}, #{config := Test}) ->
    Test ! {logged, Level, unicode:characters_to_binary(io_lib:format(Format, Args))};
log(_, _) -> ok.

logged(Level, Text) ->
    receive {logged, Level, Text} -> ok
    after 50000 -> error({not_logged, Text, process_info(self(), messages)})
    end.

logged_like(Pattern) ->
    receive
        {logged, warning, Text} ->
            case re:run(Text, Pattern) of
                {match, _} -> {dropped, Text};
                nomatch -> logged_like(Pattern)
            end
    after 50000 -> error({not_logged, Pattern})
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
     end || {End, Reason} <- [{"exit 0", normal}, {"echo why; exit 3", {exit_status, 3, [<<"ready">>, <<"why">>]}},
        {"kill -KILL $$", {exit_status, 137, [<<"ready">>]}}]].

%% The first lines of a panic say what it is, not the last ones, which are stacks.
panics() ->
    Panic = "echo 0; printf 'panic: no prices\\n\\ngoroutine 1 [running]:\\n'; seq 4 50; exit 2",
    First = [<<"panic: no prices">>, <<>>, <<"goroutine 1 [running]:">> | [integer_to_binary(N) || N <- lists:seq(4, 10)]],
    Said = iolist_to_binary(["program: has ended, exit status 2", [["\n", L] || L <- First]]),
    {{error, {exit_status, 2, First}}, W} = child(Panic, #{}),
    logged(error, Said),
    over(W),
    {{ok, Pid}, X} = child("echo ready; read line; " ++ Panic, #{}),
    {ok, Port} = port(Pid),
    true = port_command(Port, "go\n"),
    {exit_status, 2, First} = ended(Pid),
    logged(error, Said),
    over(X),
    {{error, {exit_status, 3, [<<"2">>, <<"3">>, <<"4">>, <<"5">>, <<"6">>]}}, Y} = child("seq 6; exit 3", #{}),
    over(Y).

%% Its end is seen although a process that it has started holds its output: while it runs, starts, stops, and takes over.
its_output_is_held() ->
    Child = "sleep 50 & echo $! > $(dirname $0)/child; ",
    Held = fun(#{dir := Dir}) ->
        {ok, Number} = file:read_file(Dir ++ "/child"),
        [] = os:cmd("kill " ++ string:trim(binary_to_list(Number))) % it has lived until now
    end,
    {{ok, Pid}, W} = child(Child ++ "echo ready; exec cat", #{}),
    #{peer := Peer, os_pid := Number} = maps:merge(W, cnode_node:info(maps:get(node, W))),
    os:cmd("kill -KILL " ++ integer_to_list(Number)),
    peer:stop(Peer),
    {exit_status, unknown, [<<"ready">>]} = ended(Pid),
    Held(W),
    over(W#{peer := none}),
    {{error, {exit_status, unknown, [<<"no prices">>]}}, X} = child(Child ++ "echo no prices; exit 3", #{}),
    Held(X),
    over(X),
    {{ok, Stops}, Y} = child(Child ++ "echo ready; exec cat", #{}),
    ok = gen_server:stop(Stops, normal, 5000),
    Held(Y),
    program(maps:get(path, Y), "echo ready; exec cat"),
    {ok, Next} = cnode_node:start_link(#{path => maps:get(path, Y), node => maps:get(node, Y)}),
    program(maps:get(path, Y), Child ++ "echo no; exit 5"),
    {error, {exit_status, unknown, [<<"no">>]}} = cnode_node:upgrade(Next),
    Held(Y),
    ok = gen_server:stop(Next),
    over(Y).

%% A program that writes all the time costs lines, and holds up nobody.
is_flooded() ->
    {{ok, Pid}, W} = child("echo ready; trap 'kill $!; exit 0' TERM; yes & wait", #{}),
    {dropped, _} = logged_like("^program: lines were dropped, together \\d+ bytes"),
    {connected, Reader} = erlang:port_info(element(2, port(Pid)), connected),
    #{connected := true} = gen_server:call(Pid, info, 1000),
    #{os_pid := Number} = cnode_node:info(Pid),
    ok = gen_server:stop(Pid, normal, 5000),
    false = is_process_alive(Reader),
    "gone\n" = os:cmd("kill -0 " ++ integer_to_list(Number) ++ " 2>/dev/null || echo gone"),
    over(W).

%% A handler of the log that does not come back holds up a thousand lines, and nothing else.
log_stands_still() ->
    {{ok, Pid}, W} = child("echo ready; read line; seq 5000; read line; exit 0", #{}),
    logged(info, <<"program: ready">>),
    ok = logger:remove_handler(?MODULE),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => {stands, self()}}),
    {ok, Port} = port(Pid),
    true = port_command(Port, "go\n"),
    Writer = receive {stands, P} -> P end,
    #{connected := true} = gen_server:call(Pid, info, 1000),
    true = port_command(Port, "go\n"),
    normal = ended(Pid),
    {message_queue_len, Waiting} = process_info(Writer, message_queue_len),
    true = Waiting < 1010,
    exit(Writer, kill),
    over(W).

%% The port of a child's program.
port(Pid) ->
    #{os_pid := Number} = cnode_node:info(Pid),
    case [P || P <- erlang:ports(), erlang:port_info(P, os_pid) =:= {os_pid, Number}] of
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
    true = lists:member(Taken, [{exit_status, 75, []}, not_ready]), % by how long a shell takes to start
    over(X),
    {{error, not_ready}, Y} = child("echo already; exec cat", #{ready_timeout => 200, stop_timeout => 100}),
    over(Y),
    {{error, {exit_status, 4, []}}, Z} = child("exit 4", #{}),
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
