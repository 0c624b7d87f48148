%% Calls of a Go program by each way that there is: see doors/main.go.
-module(bench_doors).
-behaviour(gen_server).
-export([start/2, measure/4, init/1, handle_call/3, handle_cast/2, handle_info/2]).

%% Starts the program of a way.
start(Way, Program) when Way =:= link; Way =:= node ->
    {ok, _} = application:ensure_all_started(cnode),
    {ok, _} = supervisor:start_child(cnode_sup, cnode_node:child_spec(#{
        path => Program, link => Way =:= link, id => Way, log => false, name => Way,
        node => case Way of link -> doors@nohost; node -> 'doors@127.0.0.1' end})),
    ok;
start(Way, Program) ->
    {ok, _} = gen_server:start({local, Way}, ?MODULE, {Way, Program}, []),
    ok.

%% Microseconds of a call, and of the processor time that both sides have for it.
measure(Way, Size, Callers, Ms) ->
    Data = crypto:strong_rand_bytes(Size),
    Call = call(Way),
    _ = calls(Call, Data, Callers, Ms div 4),
    Before = processor(Way),
    {N, Time} = calls(Call, Data, Callers, Ms),
    {Time * Callers / N, (processor(Way) - Before) / N}.

call(Way) when Way =:= link; Way =:= node -> fun(Data) -> cnode_node:call(Way, doors, echo, [Data], 60000) end;
call(Way) -> fun(Data) -> gen_server:call(Way, Data, 60000) end.

calls(Call, Data, Callers, Ms) ->
    Test = self(),
    Begun = erlang:monotonic_time(microsecond),
    Until = Begun + Ms * 1000,
    Pids = [spawn_link(fun() -> Test ! {self(), until(Call, Data, Until, 0)} end) || _ <- lists:seq(1, Callers)],
    N = lists:sum([receive {Pid, Count} -> Count end || Pid <- Pids]),
    {N, erlang:monotonic_time(microsecond) - Begun}.

until(Call, Data, Until, N) ->
    Data = Call(Data),
    case erlang:monotonic_time(microsecond) < Until of
        true -> until(Call, Data, Until, N + 1);
        false -> N + 1
    end.

%% In microseconds, to 10 ms.
processor(Way) ->
    #{os_pid := Program} = case lists:member(Way, [link, node]) of
        true -> cnode_node:info(Way);
        false -> #{os_pid => gen_server:call(Way, os_pid)}
    end,
    lists:sum([ticks(P) || P <- [os:getpid(), integer_to_list(Program)]]) * 10000.

ticks(Process) ->
    {ok, Stat} = file:read_file(["/proc/", Process, "/stat"]),
    [_, Fields] = string:split(Stat, ") ", trailing),
    lists:sum([binary_to_integer(lists:nth(N, string:split(Fields, " ", all))) || N <- [12, 13]]).

%% A port behind a process, as people write it.
init({Way, Program}) ->
    Form = case Way of port -> {packet, 4}; json -> {line, 1 bsl 20} end,
    Port = open_port({spawn_executable, Program}, [Form, binary, exit_status, {args, [atom_to_list(Way)]}]),
    {ok, {Way, Port, #{}, 0, []}}.

handle_call(os_pid, _, {_, Port, _, _, _} = S) ->
    {os_pid, Program} = erlang:port_info(Port, os_pid),
    {reply, Program, S};
handle_call(Data, From, {Way, Port, Waiting, Id, Begun}) ->
    true = port_command(Port, case Way of
        port -> term_to_iovec({Id, Data});
        json -> [<<"{\"id\":">>, integer_to_binary(Id), <<",\"data\":\"">>, base64:encode(Data), <<"\"}\n">>]
    end),
    {noreply, {Way, Port, Waiting#{Id => From}, Id + 1, Begun}}.

handle_cast(_, S) -> {noreply, S}.

handle_info({Port, {data, {noeol, Data}}}, {json, Port, Waiting, Next, Begun}) -> {noreply, {json, Port, Waiting, Next, [Begun, Data]}};
handle_info({Port, {data, Data}}, {Way, Port, Waiting, Next, Begun}) ->
    {Id, Answer} = case {Way, Data} of
        {port, _} -> binary_to_term(Data);
        {json, {eol, Line}} -> decoded(iolist_to_binary([Begun, Line]))
    end,
    {From, Rest} = maps:take(Id, Waiting),
    gen_server:reply(From, Answer),
    {noreply, {Way, Port, Rest, Next, []}}.

%% OTP has JSON from release 27 on.
decoded(Line) ->
    #{<<"id">> := Id, <<"data">> := Data} = json:decode(Line),
    {Id, base64:decode(Data)}.
