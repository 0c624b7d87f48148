%% An OTP application with two gen_servers, of which one is idle, and one works when the application
%% stops, and who watches such servers from another node.
-module(shop).
-behaviour(gen_server).
-export([load/0, start/2, stop/1, start_link/1, init/1, handle_call/3, handle_cast/2]).
-export([watch/3, seen/1, find/2]).

load() ->
    application:load({application, shop, [{vsn, "1"}, {modules, [shop]}, {registered, []},
                                          {applications, [kernel, stdlib]}, {mod, {shop, []}}]}).

start(normal, []) ->
    {ok, Pid} = supervisor:start_link(shop, supervisor),
    {ok, Pid}.

stop(_) -> ok.

start_link(Name) -> gen_server:start_link({local, Name}, shop, Name, []).

init(supervisor) ->
    {ok, {{one_for_one, 1, 5}, [{Name, {shop, start_link, [Name]}, permanent, 10000, worker, [shop]} || Name <- [busy, idle]]}};
init(Name) ->
    process_flag(trap_exit, true),
    ok = pg:join(Name, self()),
    yes = global:register_name({shop, Name}, self()),
    {ok, Name}.

handle_call({work, From, Ms}, _, S) ->
    From ! started,
    timer:sleep(Ms),
    {reply, done, S}.

handle_cast(_, S) -> {noreply, S}.

%% watch/3: a process that calls busy, and notes in which order it hears of what.
watch(Idle, Busy, Ms) ->
    Me = self(),
    W = spawn(fun() ->
        Is = [{monitor(process, P), N} || {P, N} <- [{Idle, idle}, {Busy, busy}]],
        Id = gen_server:send_request(Busy, {work, self(), Ms}),
        receive started -> Me ! {self(), started} end,
        watching(Is, Id, [])
    end),
    receive {W, started} -> W end.

watching(Is, Id, Seen) ->
    receive
        {seen, From} -> From ! {seen, self(), lists:reverse(Seen)}, watching(Is, Id, Seen);
        {'DOWN', Ref, process, _, Reason} = Down ->
            case lists:keyfind(Ref, 1, Is) of
                {_, Name} -> watching(Is, Id, [{down, Name, Reason} | Seen]);
                false -> watching(Is, Id, [{answer, gen_server:check_response(Down, Id)} | Seen])
            end;
        Message -> watching(Is, Id, [{answer, gen_server:check_response(Message, Id)} | Seen])
    end.

seen(W) -> W ! {seen, self()}, receive {seen, W, Seen} -> Seen end.

%% find/2: what somebody finds who comes now, by the pid, the name, pg and global.
find(Node, Pid) ->
    Ref = monitor(process, Pid),
    Down = receive {'DOWN', Ref, _, _, R} -> R after 5000 -> lives end,
    Named = try gen_server:call({idle, Node}, {work, self(), 0}, 20000) catch exit:{Why, _} -> {exit, Why} end,
    {Down, Named, pg:get_members(idle), global:whereis_name({shop, idle})}.

