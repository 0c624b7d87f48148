-module(cnode_node).
-include("cnode_doc.hrl").
?MODULEDOC("""
Runs a Go program as a node beside this one, below a supervisor.

```erlang
init([]) -> {ok, {#{}, [cnode_node:child_spec(#{program => "pricing"})]}}.
```

The program is `priv/cnode/pricing` of the application, its node is pricing at the host of this node. If this node has no name, it
gets a private link to the program instead, which no other node knows of: `call/5` and `to/2` work over both. The child waits until
that node is connected. When the program ends, so does the child: with reason `normal` for exit status 0, else with
`{exit_status, Status, Lines}`. A signal counts as 128 plus its number. `unknown` is the status of a program that has ended while
another process, which it has started, holds its output. `Lines` are the last lines that it has written, or the first ones of a Go
panic; they are logged as an error, too. Its supervisor starts it again by its own rules.

What the program writes goes to `logger`, line by line. If it writes faster than the log takes it, lines are dropped, and the
log says how many bytes they had. When the child ends, the program gets SIGTERM and has `stop_timeout` to answer what it works
on. When this BEAM is killed, the program sees the end of its standard input.

A Go program with package `nodes/child` knows all that. Any other one prints a line that begins with ready once its node runs,
ends with its standard input, and takes from its environment:

- `CNODE_NODE`, the name of its node
- `CNODE_COOKIE`, the cookie
- `CNODE_LISTEN`, the address and port at which this node looks for it, port 0 being any
- `CNODE_PARENT`, the name of this node
- `CNODE_LINK`, in place of `CNODE_LISTEN`: the folder in which the node listens on a UNIX socket that has its name
- `CNODE_TAKE_OVER`, if that node runs already, and is to go on in this process

With exit status 75 it says that another process has the name of its node; it is started again until `ready_timeout` is over.

With `unit` in place of a program, systemd runs it. The child watches the unit and its node, and leaves it alone when it ends.
""").
-behaviour(gen_server).

-export([start_link/1, child_spec/1, info/1, upgrade/1, call/4, call/5, to/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export_type([options/0, info/0]).

-include_lib("kernel/include/logger.hrl").
-include_lib("kernel/include/file.hrl").

-define(READY_TIMEOUT, 15000).
%% A Go program has 10 s by itself (upgrade.Upgrader.ShutdownTimeout); then it is killed.
-define(STOP_TIMEOUT, 12000).
-define(AGAIN, 200). % ms until the next attempt to connect, or to start a program whose name was taken
-define(UNIT_AGAIN, 500). % the same for a unit
-define(UPGRADE_TIMEOUT, 60000). % each step of a hand-off has a limit in the program itself, 15 s together
-define(OLD_TIMEOUT, 30000). % ms that the old process may go on after it has handed its node over
-define(TAKEN, 75).
-define(LONGEST, 16384). % bytes of a line of systemctl

-type text() :: string() | binary().
-type options() :: #{
    program => atom() | text(), path => text(), unit => text(),
    app => atom(), node => node(), link => boolean(), name => atom(), args => [text()], env => [{text(), text()}], cd => text(),
    ready_timeout => pos_integer(), stop_timeout => pos_integer(), log => logger:level() | false, systemctl => [text()],
    id => term()
}.
?DOC("""
What a child tells: the `node`, whether it has a `link`, and is `connected`, the number of the operating system process,
`undefined` if there is none, and what it runs or watches.
""").
-type info() :: #{
    node := node(), link := boolean(), connected := boolean(), os_pid := pos_integer() | undefined, path => text(), unit => text(),
    state => binary()
}.

-record(next, {port :: port(), from :: gen_server:from(), file, timer :: reference()}).
%% Its folder, for the sockets, and a secret instead of a cookie, as a function, so that no report shows it.
-record(link, {folder :: file:filename(), secret :: fun(() -> string()), ours :: node(), pid = undefined :: undefined | pid()}).
-record(state, {
    options :: options(),
    title :: binary(), % what the log calls it
    node :: node(),
    names :: [atom()], % by which the child is known
    link = undefined :: undefined | link | #link{},
    connected = false :: boolean(),
    connecting = undefined :: undefined | pid(),
    port = undefined :: undefined | port(),
    file = undefined, % what runs
    next = undefined :: undefined | #next{}, % an upgrade goes on
    old = [] :: [port()], % have handed the node over, and end
    ended = undefined, % how the process has ended whose node the next one is taking over
    doubtful = false :: boolean() % an upgrade has failed: an end with status 0 may be part of that
}).

?DOC("""
Starts a child. Exactly one option says what it is about:

- `program`: the name of a program in `priv/cnode` of the application `app`, by default the one that the caller is part of
- `path`: the path of a program
- `unit`: a unit of systemd

The others are optional:

- `node`: the name of the node; by default the program, at the host of this node, or at nohost for a link
- `link`: `true` for a link although this node has a name, `false` for an error if it has none; by default there is a link if it
  has none
- `name`: the name that the child is registered by; by default that of the node
- `args`, `env`, `cd`: arguments, variables and folder of the program
- `ready_timeout`: milliseconds until the node has to be connected, 15000. A unit that is late is waited for in the background
- `stop_timeout`: milliseconds after which the program is killed when it has to stop, 12000
- `log`: the level of lines without one of their own, `info`, or `false` for no lines
- `systemctl`: the command to ask about a unit, systemctl; it has a list with its arguments

It returns once the node is connected. The errors: `{not_distributed, Why}` if this node has no name and there can be no link,
`{not_started, cnode}` if there is to be a link and the application cnode has not been started, `{no_folder, Folder, Reason}`
and `{name_too_long, Node}` if it cannot have a socket, `{no_program, Path}`, `{exit_status, Status, Lines}`, `not_ready` and
`not_connected`.
""").
-spec start_link(options()) -> {ok, pid()} | {error, term()}.
start_link(Options) ->
    case prepared(Options) of
        {ok, #state{names = [Name | _]} = S} -> gen_server:start_link({local, Name}, ?MODULE, S, []);
        Error -> Error
    end.

?DOC("A child for a supervisor. Its id is the one in the options, or what they name first of node, program, path and unit.").
-spec child_spec(options()) -> supervisor:child_spec().
child_spec(Options) ->
    [Id | _] = [maps:get(Key, Options) || Key <- [id, node, program, path, unit], is_map_key(Key, Options)],
    #{id => {?MODULE, Id}, start => {?MODULE, start_link, [Options]},
        shutdown => maps:get(stop_timeout, Options, ?STOP_TIMEOUT) + 5000}.

?DOC("""
What the child does. Of a unit it asks systemd, which takes some milliseconds: `state` is the state of the unit.
""").
-spec info(gen_server:server_ref()) -> info().
info(Server) ->
    case gen_server:call(cnode_link:child(Server), info, infinity) of
        #{unit := Unit, systemctl := Systemctl} = Info ->
            Shown = shown(Systemctl, Unit),
            (maps:remove(systemctl, Info))#{os_pid => main_pid(Shown), state => maps:get(<<"ActiveState">>, Shown, <<"unknown">>)};
        Info -> Info
    end.

?DOC("""
Has the node go on in a new process of the program, as the file is now. Connections, processes, links and monitors stay, and
no node sees it go down. It returns when the new process is the node, or `unchanged` if the file is the one that runs.

After `{error, Reason}` the old process serves on, unless the child ends: `busy` while another upgrade goes on,
`{exit_status, Status, Lines}` if the new process has ended, or `timeout`.

For a unit it is a reload of the unit, whether the file has changed or not.
""").
-spec upgrade(gen_server:server_ref()) -> ok | unchanged | {error, term()}.
upgrade(Server) ->
    case gen_server:call(cnode_link:child(Server), upgrade, infinity) of
        {unit, Unit, [Program | Args]} ->
            case run(Program, Args ++ ["reload", Unit]) of
                {0, _} -> ok;
                {Status, Lines} -> {error, {exit_status, Status, Lines}}
            end;
        Answer -> Answer
    end.

?DOC("Calls a function of the child's node, as `call/5` with 5000 ms.").
-spec call(atom(), module(), atom(), [term()]) -> term().
call(Child, Module, Function, Args) -> call(Child, Module, Function, Args, 5000).

?DOC("""
Calls a function of the child's node, over a link too: `erpc:call/5`, with its errors. The child is named by its program, its
node, or its name.
""").
-spec call(atom(), module(), atom(), [term()], timeout()) -> term().
call(Child, Module, Function, Args, Timeout) -> cnode_link:call(Child, Module, Function, Args, Timeout).

?DOC("""
The process that has this name in the child's node: `{Name, Node}`, or, over a link, a process here that stands for it until it
ends. It is for `gen_server:call/3`, `gen_server:cast/2`, monitors and so on. Ask each time.
""").
-spec to(atom(), atom()) -> {atom(), node()} | pid().
to(Child, Name) -> cnode_link:to(Child, Name).

%% What start_link does in the caller, which is part of the application.
prepared(Options) ->
    case {has_link(Options), [Key || Key <- [program, path, unit], is_map_key(Key, Options)]} of
        {_, Keys} when length(Keys) =/= 1 -> {error, {badarg, <<"exactly one of program, path and unit is needed">>}};
        {true, [unit]} -> {error, {badarg, <<"the program of a unit is a node: it can have no link">>}};
        {false, _} when node() =:= nonode@nohost ->
            {error, {not_distributed, <<"a Go node needs a node to connect to: start this one with --name or --sname">>}};
        {_, [unit]} -> described(Options);
        {_, [path]} -> described(Options);
        {_, [program]} ->
            case {maps:find(app, Options), application:get_application()} of
                {{ok, _}, _} -> described(Options);
                {error, {ok, App}} -> described(Options#{app => App});
                {error, undefined} -> {error, {badarg, <<"the option app has to name the application whose program it is">>}}
            end
    end.

has_link(#{link := Is}) -> Is;
has_link(#{unit := _}) -> false;
has_link(_) -> node() =:= nonode@nohost.

described(Options) ->
    Title = unicode:characters_to_binary(title(Options)),
    {Link, Host} = case has_link(Options) of
        true -> {link, "nohost"};
        false -> {undefined, host(node())}
    end,
    Node = maps:get(node, Options, binary_to_atom(<<Title/binary, "@", (list_to_binary(Host))/binary>>)),
    Names = [maps:get(name, Options, Node), Node, binary_to_atom(Title)],
    {ok, #state{options = Options, title = Title, node = Node, names = Names, link = Link}}.

host(Node) ->
    [_, Host] = string:split(atom_to_list(Node), "@"),
    Host.

title(#{program := Name}) when is_atom(Name) -> atom_to_list(Name);
title(#{program := Name}) -> Name;
title(#{path := Path}) -> filename:rootname(filename:basename(Path), ".exe");
title(#{unit := Unit}) -> filename:rootname(Unit, ".service").

path(#{path := Path}) -> Path;
path(#{app := App} = Options) ->
    case code:priv_dir(App) of
        {error, bad_name} -> filename:join([atom_to_list(App), "priv", "cnode", title(Options)]); % there is none
        Dir -> existing(filename:join([Dir, "cnode", title(Options)]))
    end.

existing(Path) ->
    case filelib:is_regular(Path) orelse not filelib:is_regular([Path, ".exe"]) of
        true -> Path;
        false -> filename:flatten([Path, ".exe"])
    end.

%% The file as it is now. A program that runs keeps its file, so a new one has another number; go build sets the time of one
%% that it leaves as it is.
identity(Path) ->
    case file:read_file_info(Path, [raw, {time, posix}]) of
        {ok, #file_info{type = regular, inode = Inode, major_device = Device, size = Size}} -> {ok, {Device, Inode, Size}};
        _ -> {error, {no_program, Path}}
    end.

?DOC(false).
init(#state{names = Names, node = Node} = S) ->
    process_flag(trap_exit, true),
    IsKnown = cnode_link:known(Names, Node, self()),
    case with_folder(IsKnown, S) of
        {ok, S1} ->
            case begins(S1) of
                {ok, S2} -> {ok, S2};
                {stop, Reason} ->
                    over(S1),
                    {stop, Reason}
            end;
        {error, Reason} ->
            over(S),
            {stop, Reason}
    end.

begins(#state{options = Options} = S) ->
    Until = now_ms() + maps:get(ready_timeout, Options, ?READY_TIMEOUT),
    case Options of
        #{unit := _} -> watch(S, Until);
        _ -> start(S, Until)
    end.

with_folder(_, #state{link = undefined} = S) -> {ok, S};
with_folder(false, _) -> {error, {not_started, cnode}};
with_folder(true, #state{node = Node} = S) ->
    case folder(Node) of
        {ok, Link} -> {ok, S#state{link = Link}};
        Error -> Error
    end.

%% A folder of its own: two BEAMs may run the same program.
folder(Node) ->
    Name = "cnode-" ++ random(6),
    Own = os:getenv("TMPDIR", "/tmp"),
    Folders = [Folder || In <- [Own || filename:pathtype(Own) =:= absolute, filelib:is_dir(Own)] ++ ["/tmp"],
        Folder <- [filename:join(In, Name)], cnode_link:path_fits(socket(Folder, Node))],
    case {os:type(), Folders} of
        {{unix, _}, [Folder | _]} ->
            Secret = random(16),
            case private(Folder) of
                ok -> {ok, #link{folder = Folder, secret = fun() -> Secret end, ours = node()}};
                {error, Reason} -> {error, {no_folder, Folder, Reason}}
            end;
        {{unix, _}, []} -> {error, {name_too_long, Node}};
        _ ->
            Why = <<"a link needs UNIX sockets, which this system does not have: start this node with --name or --sname">>,
            {error, {not_distributed, Why}}
    end.

private(Folder) ->
    case file:make_dir(Folder) of
        ok -> file:change_mode(Folder, 8#700);
        Error -> Error
    end.

random(Bytes) -> [hd(integer_to_list(N, 16)) || <<N:4>> <= crypto:strong_rand_bytes(Bytes)].

socket(Folder, Node) -> filename:join(Folder, atom_to_list(Node)).

%% The children that come after this one find the node there.
start(#state{options = Options} = S, Until) ->
    Path = path(Options),
    case identity(Path) of
        {ok, File} ->
            case open(S, Path, []) of
                {ok, Port} -> started(S#state{port = Port, file = File}, Until);
                {error, Reason} -> {stop, Reason}
            end;
        {error, Reason} -> {stop, Reason}
    end.

started(S, Until) ->
    case ready(S, Until) of
        {ok, S1} ->
            case connected(S1, Until) of
                {ok, S2} -> {ok, S2};
                {error, Reason, S2} -> failed(Reason, S2, Until)
            end;
        {error, Reason, S1} -> failed(Reason, S1, Until)
    end.

%% A name is taken for a moment by a process that has just been killed, and longer by one that still answers what the BEAM
%% before has asked for.
failed({exit_status, ?TAKEN, _} = Taken, S, Until) ->
    case now_ms() + ?AGAIN < Until of
        true ->
            receive {'EXIT', Pid, Reason} when is_pid(Pid), Reason =/= normal -> {stop, Reason}
            after ?AGAIN -> start(S, Until)
            end;
        false -> {stop, Taken}
    end;
failed({exit_status, _, _} = Reason, S, _) ->
    complain(Reason, S),
    {stop, Reason};
failed(Reason, S, _) ->
    _ = stop(S),
    {stop, Reason}.

ready(#state{port = Port} = S, Until) ->
    receive
        {Port, ready} -> {ok, S};
        {Port, Ended} -> {error, Ended, S};
        {'EXIT', Pid, Reason} when is_pid(Pid), Reason =/= normal -> {error, Reason, S}
    after left(Until) -> {error, not_ready, S}
    end.

connected(#state{port = Port} = S, Until) ->
    case connect_now(S) of
        {true, S1} -> {ok, up(S1)};
        _ ->
            receive
                {Port, {exit_status, _, _} = Ended} when is_port(Port) -> {error, Ended, S};
                {'EXIT', Pid, Reason} when is_pid(Pid), Reason =/= normal -> {error, Reason, S}
            after min(?AGAIN, left(Until)) ->
                case left(Until) of
                    0 -> {error, not_connected, S};
                    _ -> connected(S, Until)
                end
            end
    end.

connect_now(#state{node = Node, link = undefined} = S) -> {net_kernel:connect_node(Node), S};
connect_now(S) ->
    Pid = begin_link(S),
    receive
        {connecting, Pid, Is} -> {Is, linked(Pid, S)};
        {'EXIT', Pid, _} -> {false, S}
    end.

begin_link(#state{node = Node, names = Names, link = #link{folder = Folder, secret = Secret}}) ->
    cnode_link:start_link(#{node => Node, names => Names, path => socket(Folder, Node), secret => Secret}).

linked(Pid, #state{link = #link{} = Link} = S) -> S#state{link = Link#link{pid = Pid}};
linked(_, S) -> S.

%% A unit may come later: systemd starts it, not this process.
watch(S, Until) ->
    case connected(S, Until) of
        {ok, S1} -> {ok, S1};
        {error, not_connected, S1} ->
            down(S1),
            {ok, connect(S1)};
        {error, Reason, _} -> {stop, Reason}
    end.

%% Variables by which a service manager speaks to this BEAM are not the program's.
-define(UNSET, [{Name, false} || Name <- ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS",
    "LISTEN_FDNAMES", "CNODE_UPGRADE_FD", "CNODE_TAKE_OVER", "CNODE_LISTEN", "CNODE_LINK"]]).

open(#state{options = Options, node = Node, title = Title, link = Link} = S, Path, More) ->
    Own = [{"CNODE_NODE", atom_to_list(Node)}, {"CNODE_PARENT", atom_to_list(node())} | More] ++ case Link of
        undefined -> [{"CNODE_COOKIE", atom_to_list(erlang:get_cookie(Node))}, {"CNODE_LISTEN", listen(Node)}];
        #link{folder = Folder, secret = Secret} -> [{"CNODE_COOKIE", Secret()}, {"CNODE_LINK", Folder}]
    end,
    Given = [{chars(Name), chars(Value)} || {Name, Value} <- maps:get(env, Options, [])],
    Env = maps:to_list(maps:from_list(?UNSET ++ Own ++ Given)), % the last counts
    Settings = [{args, maps:get(args, Options, [])}, {env, Env} | [{cd, chars(Cd)} || #{cd := Cd} <- [Options]]],
    Log = case maps:get(log, Options, info) of
        false -> false;
        Level -> {Title, Level, meta(S)}
    end,
    cnode_program:start(Path, Settings, Log).

chars(false) -> false;
chars(Text) -> unicode:characters_to_list(Text).

%% Where this node looks for the other one.
listen(Node) ->
    Host = host(Node),
    Families = case init:get_argument(proto_dist) of
        {ok, [["inet6" ++ _]]} -> [inet6, inet];
        _ -> [inet, inet6]
    end,
    case [inet:ntoa(A) || Family <- Families, {ok, A} <- [inet:getaddr(Host, Family)]] of
        [Address | _] ->
            case lists:member($:, Address) of
                true -> "[" ++ Address ++ "]:0";
                false -> Address ++ ":0"
            end;
        [] -> "127.0.0.1:0"
    end.

?DOC(false).
handle_call(info, _, #state{options = Options, node = Node, connected = Connected} = S) ->
    Info = case Options of
        #{unit := Unit} -> #{unit => Unit, systemctl => systemctl(Options)};
        _ -> #{path => path(Options), os_pid => os_pid(S#state.port)}
    end,
    {reply, Info#{node => Node, link => S#state.link =/= undefined, connected => Connected}, S};
handle_call(upgrade, From, #state{options = #{unit := Unit} = Options} = S) ->
    gen_server:reply(From, {unit, Unit, systemctl(Options)}),
    {noreply, S};
handle_call(upgrade, _, #state{next = #next{}} = S) ->
    {reply, {error, busy}, S};
handle_call(upgrade, From, #state{options = Options, file = Now} = S) ->
    Path = path(Options),
    case identity(Path) of
        {ok, Now} -> {reply, unchanged, S};
        {ok, File} ->
            case open(S, Path, [{"CNODE_TAKE_OVER", "1"}]) of
                {ok, Port} ->
                    Timer = erlang:start_timer(?UPGRADE_TIMEOUT, self(), {upgrade, Port}),
                    {noreply, S#state{next = #next{port = Port, from = From, file = File, timer = Timer}}};
                Error -> {reply, Error, S}
            end;
        Error -> {reply, Error, S}
    end;
handle_call(Request, _, S) -> {reply, {error, {unknown_request, Request}}, S}.

?DOC(false).
handle_cast(_, S) -> {noreply, S}.

?DOC(false).
handle_info({Port, ready}, #state{next = #next{port = Port}} = S) -> {noreply, upgraded(S)};
handle_info({Port, {exit_status, _, _} = Ended}, #state{next = #next{port = Port}} = S) -> refused(Ended, S);
handle_info({Port, {exit_status, _, _} = Ended}, #state{port = Port, next = #next{}} = S) -> % it has handed over, or else the next one ends, too
    {noreply, S#state{port = undefined, ended = Ended}};
handle_info({Port, {exit_status, 0, _}}, #state{port = Port, doubtful = false} = S) -> {stop, normal, S#state{port = undefined}};
handle_info({Port, {exit_status, _, _} = Ended}, #state{port = Port} = S) ->
    complain(Ended, S),
    {stop, Ended, S#state{port = undefined}};
handle_info({Port, {exit_status, _, _}}, #state{old = Old} = S) -> {noreply, S#state{old = lists:delete(Port, Old)}};
handle_info({timeout, Timer, {upgrade, _}}, #state{next = #next{timer = Timer, port = Port}} = S) ->
    kill(Port),
    refused(timeout, S);
handle_info({timeout, _, {old, Port}}, #state{old = Old} = S) ->
    _ = [kill(Port) || lists:member(Port, Old)],
    {noreply, S#state{old = lists:delete(Port, Old)}};
handle_info({nodedown, Node}, #state{node = Node} = S) -> lost(S);
handle_info({'EXIT', Pid, _}, #state{link = #link{pid = Pid} = Link} = S) -> lost(S#state{link = Link#link{pid = undefined}});
handle_info({'EXIT', Pid, _}, #state{connecting = Pid} = S) -> handle_info({connecting, Pid, false}, S);
handle_info({connecting, Pid, true}, #state{connecting = Pid} = S) ->
    {noreply, up(linked(Pid, S#state{connecting = undefined}))};
handle_info({connecting, Pid, _}, #state{connecting = Pid, options = Options} = S) ->
    _ = erlang:send_after(case Options of #{unit := _} -> ?UNIT_AGAIN; _ -> ?AGAIN end, self(), connect),
    {noreply, S#state{connecting = undefined}};
handle_info(connect, S) -> {noreply, connect(S)};
handle_info({'EXIT', Pid, Reason}, S) when is_pid(Pid), Reason =/= normal -> {stop, Reason, S};
handle_info(_, S) -> {noreply, S}.

%% A program that has ended by itself, and what it says of that.
complain({exit_status, Status, Lines}, #state{title = Title} = S) ->
    ?LOG_ERROR("~ts: has ended, exit status ~p~ts", [Title, Status, [["\n", L] || L <- Lines]], meta(S)).

upgraded(#state{port = Before, old = Old, next = #next{port = Port, from = From, file = File, timer = Timer}} = S) ->
    _ = erlang:cancel_timer(Timer),
    Ends = [Before || Before =/= undefined],
    _ = [erlang:start_timer(?OLD_TIMEOUT, self(), {old, P}) || P <- Ends],
    gen_server:reply(From, ok),
    cnode_program:watch(Port, not S#state.connected),
    S#state{port = Port, old = Ends ++ Old, file = File, next = undefined, doubtful = false}.

refused(Reason, #state{port = Port, next = #next{from = From, timer = Timer}} = S) ->
    _ = erlang:cancel_timer(Timer),
    gen_server:reply(From, {error, Reason}),
    S1 = S#state{next = undefined, doubtful = true},
    case Port of
        undefined -> {stop, S#state.ended, S1};
        _ -> {noreply, S1}
    end.

%% The program goes on, unless this BEAM has got another name: the pids that it has are those of the name before.
lost(#state{link = #link{ours = Ours}} = S) when Ours =/= node() ->
    down(S),
    {stop, {renamed, node()}, S#state{connected = false}};
lost(S) ->
    down(S),
    look_for(true, S),
    {noreply, connect(S#state{connected = false})}.

%% Connecting may take seconds, in which this process has to hear of others.
connect(#state{connecting = Pid} = S) when is_pid(Pid) -> S;
connect(#state{connected = true} = S) -> S;
connect(#state{link = #link{}} = S) -> S#state{connecting = begin_link(S)};
connect(#state{node = Node} = S) ->
    Self = self(),
    S#state{connecting = spawn_link(fun() -> Self ! {connecting, self(), net_kernel:connect_node(Node)} end)}.

up(#state{node = Node, title = Title, link = Link} = S) ->
    true = Link =/= undefined orelse erlang:monitor_node(Node, true),
    ?LOG_INFO("~ts: ~ts is connected", [Title, Node], meta(S)),
    look_for(false, S),
    S#state{connected = true}.

%% Why a unit is down takes a while to ask.
down(#state{options = #{unit := Unit} = Options, title = Title, node = Node} = S) ->
    _ = spawn(fun() ->
        Shown = shown(systemctl(Options), Unit),
        Get = fun(Key) -> maps:get(Key, Shown, <<"unknown">>) end,
        ?LOG_WARNING("~ts: ~ts is not connected: the unit is ~ts (~ts), its result ~ts",
            [Title, Node, Get(<<"ActiveState">>), Get(<<"SubState">>), Get(<<"Result">>)], meta(S))
    end),
    ok;
down(#state{title = Title, node = Node} = S) ->
    ?LOG_WARNING("~ts: ~ts is not connected any more", [Title, Node], meta(S)).

meta(#state{node = Node}) -> #{cnode => Node}.

look_for(_, #state{port = undefined}) -> ok;
look_for(Is, #state{port = Port}) -> cnode_program:watch(Port, Is).

%% On SIGTERM the program answers what it works on, and ends.
?DOC(false).
terminate(_, S) ->
    ok = stop(S),
    over(S).

over(#state{names = Names, link = Link}) ->
    cnode_link:forget(Names, self()),
    _ = [file:del_dir_r(Folder) || #link{folder = Folder} <- [Link]],
    ok.

stop(#state{port = Port, next = Next, old = Old, options = Options}) ->
    Ports = [P || P <- [Port | Old] ++ [N#next.port || N <- [Next], N =/= undefined], P =/= undefined],
    _ = [signal("TERM", P) || P <- Ports],
    Until = now_ms() + maps:get(stop_timeout, Options, ?STOP_TIMEOUT),
    lists:foreach(fun(P) ->
        receive {P, {exit_status, _, _}} -> ok
        after left(Until) -> kill(P)
        end
    end, Ports).

%% One that hangs does not hear that its standard input has ended, and would keep its name.
kill(Port) ->
    signal("KILL", Port),
    receive {Port, {exit_status, _, _}} -> ok
    after 5000 -> ok
    end.

signal(Name, Port) ->
    cnode_program:signal(Name, Port),
    cnode_program:watch(Port, true).

os_pid(undefined) -> undefined;
os_pid(Port) -> cnode_program:os_pid(Port).

systemctl(Options) -> [chars(A) || A <- maps:get(systemctl, Options, ["systemctl"])].

%% What systemd knows of a unit; nothing if it cannot be asked.
shown([Program | Args], Unit) ->
    {_, Lines} = run(Program, Args ++ ["show", "--property=ActiveState,SubState,Result,MainPID", Unit]),
    maps:from_list([{Key, Value} || Line <- Lines, [Key, Value] <- [binary:split(Line, <<"=">>)]]).

main_pid(#{<<"MainPID">> := Text}) when Text =/= <<"0">> -> binary_to_integer(Text);
main_pid(_) -> undefined.

%% Runs a command: its exit status and what it has written.
run(Program, Args) ->
    case os:find_executable(Program) of
        false -> {127, [<<"there is no ", (unicode:characters_to_binary(Program))/binary>>]};
        Path -> collect(open_port({spawn_executable, Path}, [binary, exit_status, stderr_to_stdout, {line, ?LONGEST}, {args, Args}]), [])
    end.

collect(Port, Lines) ->
    receive
        {Port, {data, {_, Line}}} -> collect(Port, [Line | Lines]);
        {Port, {exit_status, Status}} -> {Status, lists:reverse(Lines)}
    end.

left(Until) -> max(Until - now_ms(), 0).

now_ms() -> erlang:monotonic_time(millisecond).
