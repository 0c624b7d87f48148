%% Runs a Go program as a node beside this one: starts it, waits until it is ready, watches it, and ends with it, so that
%% the supervisor starts both again, with the exit status as the reason. Copy this file into your application:
%%
%%     #{id => go_node, start => {go_node, start_link, [#{node => 'service@127.0.0.1', path => "/opt/shop/service"}]},
%%       shutdown => 15000}
%%
%% The program gets --name NODE --until-eof and what args has, and the cookie in the environment variable SERVICE_COOKIE,
%% since other users see command lines. It prints a line that begins with "ready", and ends with its standard input,
%% which is this VM's: it does not outlive it, unless it hangs when this VM is killed.
-module(go_node).
-behaviour(gen_server).
-export([start_link/1, os_pid/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include_lib("kernel/include/logger.hrl").

%% Milliseconds; AGAIN is for the name that a program which has just ended still has, and for the connection.
-define(AGAIN, 200).
-define(START_LIMIT, 15000).
%% A program has 10 s by itself (upgrade.DefaultShutdownTimeout); then it is killed.
-define(STOP_LIMIT, 12000).

start_link(Options) -> gen_server:start_link({local, ?MODULE}, ?MODULE, Options, []).

%% The number of the program's operating-system process.
os_pid() -> gen_server:call(?MODULE, os_pid).

init(#{node := Node} = Options) ->
    process_flag(trap_exit, true),
    run(#{options => Options, node => Node}, now_ms() + ?START_LIMIT).

%% The children that come after this one find the node there.
run(State, Until) ->
    Port = open(State),
    case ready(Port, Until) of
        ok ->
            {ok, connect(State#{port => Port})};
        {error, Reason} ->
            case now_ms() + ?AGAIN < Until of
                true -> timer:sleep(?AGAIN), run(State, Until);
                false -> {stop, Reason}
            end
    end.

open(#{options := #{path := Path} = Options, node := Node}) ->
    Args = ["--name", atom_to_list(Node), "--until-eof" | maps:get(args, Options, [])],
    Env = [{"SERVICE_COOKIE", atom_to_list(erlang:get_cookie())}],
    open_port({spawn_executable, Path}, [binary, exit_status, {line, 4096}, {args, Args}, {env, Env}]).

ready(Port, Until) ->
    receive
        {Port, {data, {_, <<"ready", _/binary>> = Line}}} -> said(Line);
        {Port, {data, {_, Line}}} -> said(Line), ready(Port, Until);
        {Port, {exit_status, Status}} -> {error, {exit_status, Status}}
    after max(Until - now_ms(), 0) ->
        kill(Port),
        {error, not_ready}
    end.

connect(#{node := Node} = State) ->
    case net_kernel:connect_node(Node) of
        true -> monitor_node(Node, true);
        _ -> erlang:send_after(?AGAIN, self(), connect)
    end,
    State.

handle_call(os_pid, _From, #{port := Port} = State) -> {reply, erlang:port_info(Port, os_pid), State}.

handle_cast(_, State) -> {noreply, State}.

handle_info({Port, {data, {_, Line}}}, #{port := Port} = State) ->
    said(Line),
    {noreply, State};
handle_info({Port, {exit_status, Status}}, #{port := Port} = State) -> % the supervisor starts it again
    {stop, {exit_status, Status}, maps:remove(port, State)};
handle_info({nodedown, Node}, #{node := Node} = State) -> % the program may still run: the connection alone may be lost
    {noreply, connect(State)};
handle_info(connect, State) ->
    {noreply, connect(State)};
handle_info(_, State) ->
    {noreply, State}.

%% On SIGTERM the program answers what it works on, and ends.
terminate(_, #{port := Port}) ->
    case erlang:port_info(Port, os_pid) of
        {os_pid, Pid} ->
            _ = os:cmd("kill -TERM " ++ integer_to_list(Pid)),
            receive
                {Port, {exit_status, _}} -> ok
            after ?STOP_LIMIT -> kill(Port)
            end;
        undefined -> ok
    end;
terminate(_, _) ->
    ok.

%% One that hangs does not hear that its standard input has ended, and would keep its name.
kill(Port) ->
    case erlang:port_info(Port, os_pid) of
        {os_pid, Pid} -> _ = os:cmd("kill -KILL " ++ integer_to_list(Pid));
        undefined -> ok
    end,
    try port_close(Port) catch error:badarg -> true end. % it has closed itself

said(Line) -> ?LOG_NOTICE("go: ~ts", [Line]).
now_ms() -> erlang:monotonic_time(millisecond).
