%% Closes what nobody else does. It watches every session's socket: when that is closed, by whomever and for whatever
%% reason, it closes the descriptor, and tells the front. If it dies itself, the next one finds all in the table, which the
%% supervisor owns. It depends on nothing that a session's process or server does at its end.
-module(cnode_sessions_guard).
-include("cnode_doc.hrl").
?MODULEDOC(false).
-behaviour(gen_server).
-include("cnode_sessions.hrl").

-export([retiring/1, start_link/0, link/2, in_hand/1, no_session/1, watch/1, tell/2, void/3, ended/1, sessions/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(AGAIN, 50).   % ms between attempts to tell a front that does not read
-define(SWEEP, 1000). % ms until the sockets that a process has owned are closed for certain

-record(state, {
    watched = #{} :: #{Socket :: term() => reference()},
    servers = #{} :: #{pid() => reference()},
    links = #{} :: #{socket:socket() => {#link{}, Server :: pid(), queue:queue(binary() | {cnode_sessions:session(), binary()})}}
}).

start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% The caller has a link to a front. Its socket is the guard's from now on, so that it lasts as long as the sessions.
-spec link(#link{}, pid()) -> ok.
link(#link{control = Control} = Link, Server) ->
    ok = socket:setopt(Control, {otp, controlling_process}, whereis(?MODULE)),
    gen_server:cast(?MODULE, {link, Link, Server}).

%% A descriptor has come: if the caller dies before it belongs to a session, it is closed.
-spec in_hand(non_neg_integer()) -> ok.
in_hand(Fd) ->
    true = ets:insert(?TABLE, #hand{fd = {fd, Fd}, server = self()}),
    ok.

%% It will belong to none.
-spec no_session(non_neg_integer()) -> ok.
no_session(Fd) ->
    _ = ets:take(?TABLE, {fd, Fd}) =/= [] andalso cnode_sessions_wire:close_descriptor(Fd),
    ok.

%% From now on a session's descriptor is closed when its socket is.
-spec watch(#session{}) -> ok.
watch(#session{socket = Socket, fd = Fd, server = Server} = Session) ->
    true = ets:insert(?TABLE, Session),
    _ = is_integer(Fd) andalso ets:delete(?TABLE, {fd, Fd}),
    gen_server:cast(?MODULE, {watch, Socket, Server}).

%% A packet that is sent when there is room.
-spec tell(#link{} | none, binary()) -> ok.
tell(none, _) -> ok;
tell(Link, Packet) -> gen_server:cast(?MODULE, {tell, Link, Packet}).

%% A packet that says that there is no point. Once the session has told another one it is not sent.
-spec void(#link{}, cnode_sessions:session(), binary()) -> ok.
void(Link, Socket, Packet) -> gen_server:cast(?MODULE, {tell, Link, {Socket, Packet}}).

%% The front is gone, or has ended its service.
-spec ended(#link{}) -> ok.
ended(#link{flags = Flags} = Link) ->
    ok = atomics:put(Flags, ?ENDED, 1),
    gen_server:cast(?MODULE, {ended, Link}).

%% Whether a session that is closed now may go on in another process. The listening process of a transport may have ended a moment
%% ago, and its server not have heard of it: the connections that end behind it do not wait for that.
-spec retiring(#session{}) -> boolean().
retiring(#session{link = #link{flags = Flags}, server = Server}) ->
    atomics:get(Flags, ?RETIRING) =:= 1 orelse
        lists:any(fun(#opened{by = Opener}) -> not is_process_alive(Opener) end, ets:lookup(?TABLE, Server)).

%% How many sessions of a server there are, and how many of them an acceptor has taken.
-spec sessions(pid()) -> {non_neg_integer(), non_neg_integer()}.
sessions(Server) ->
    Of = fun(Taken) -> ets:select_count(?TABLE, [{every(Server, Taken), [], [true]}]) end,
    {Of('_'), Of(true)}.

every(Server, Taken) -> #session{socket = '_', kind = '_', server = Server, taken = Taken, link = '_', id = '_', fd = '_', head = '_', points = '_',
    stays = '_', void = '_', local = '_', remote = '_', state = '_', first = '_', back = '_', again = '_', seen = '_', told = '_', files = '_', outgoing = '_', timeout = '_', buffer = '_',
    peeked = '_', consumed = '_', written = '_'}.

init([]) ->
    process_flag(trap_exit, true),
    Servers = [S || #hand{server = S} <- ets:match_object(?TABLE, {hand, '_', '_'})] ++
        [S || #session{server = S} <- ets:match_object(?TABLE, every('_', '_'))],
    {ok, lists:foldl(fun(Server, State) -> rest(Server, server(Server, State)) end, #state{}, lists:usort(Servers))}.

handle_call(_, _From, State) -> {noreply, State}.

handle_cast({link, #link{control = Control} = Link, Server}, #state{links = Links} = State) ->
    {noreply, server(Server, State#state{links = Links#{Control => {Link, Server, queue:new()}}})};
handle_cast({watch, Socket, Server}, State) -> {noreply, observe(Socket, server(Server, State))};
handle_cast({tell, Link, Packet}, State) -> {noreply, post(Link, Packet, State)};
handle_cast({ended, Link}, State) -> {noreply, drop(Link, State)}.

handle_info({'DOWN', _, process, Server, _}, #state{servers = Servers} = State) ->
    _ = erlang:send_after(?SWEEP, self(), {sweep, Server}), % the sockets that it had are closed by then
    {noreply, finish(Server, unread(Server, rest(Server, State#state{servers = maps:remove(Server, Servers)})))};
handle_info({'DOWN', _, _, Socket, _}, #state{watched = Watched} = State) ->
    case maps:take(Socket, Watched) of
        {_, Rest} -> {noreply, closed(Socket, State#state{watched = Rest})};
        error -> {noreply, State}
    end;
handle_info({sweep, Server}, State) ->
    _ = [no_session(Fd) || #hand{fd = {fd, Fd}} <- ets:match_object(?TABLE, {hand, '_', Server})],
    {noreply, State};
handle_info({again, Control}, #state{links = Links} = State) ->
    case Links of
        #{Control := {Link, Server, Queue}} ->
            Emptied = State#state{links = Links#{Control := {Link, Server, queue:new()}}},
            {noreply, finish(Server, lists:foldl(fun(P, S) -> post(Link, P, S) end, Emptied, queue:to_list(Queue)))};
        _ -> {noreply, State}
    end;
handle_info(_, State) -> {noreply, State}.

%% The system stops, and those whose sessions they were have had their time: who can, goes on elsewhere.
terminate(_Reason, #state{links = Links, watched = Watched} = State) ->
    _ = [atomics:put(Flags, ?RETIRING, 1) || {#link{flags = Flags}, _, _} <- maps:values(Links)],
    All = [Link || {Link, _, _} <- maps:values(Links)],
    Retired = posts(<<$r>>, All, State), % a server that lives on would get back what is closed here
    _ = [cnode_sessions:close(Socket) || Socket <- maps:keys(Watched)],
    _ = posts(<<$n>>, All, last(Retired)),
    _ = [socket:close(Control) || Control <- maps:keys(Links)],
    ok.

%% The front gives others what has come for a server, and was not read.
unread(Server, #state{links = Links} = State) -> posts(<<$n>>, [Link || {Link, S, _} <- maps:values(Links), S =:= Server], State).

posts(Packet, Links, State) -> lists:foldl(fun(Link, S) -> post(Link, Packet, S) end, State, Links).

last(#state{watched = Watched} = State) when map_size(Watched) =:= 0 -> State;
last(#state{watched = Watched} = State) ->
    receive
        {'DOWN', _, _, Socket, _} when is_map_key(Socket, Watched) ->
            last(closed(Socket, State#state{watched = maps:remove(Socket, Watched)}))
    after 1000 -> State
    end.

server(Server, #state{servers = Servers} = State) when is_map_key(Server, Servers) -> State;
server(Server, #state{servers = Servers} = State) ->
    State#state{servers = Servers#{Server => erlang:monitor(process, Server)}}.

%% Watches what a server has not said, or has said to the guard before.
rest(Server, State) ->
    lists:foldl(fun(#session{socket = Socket}, S) -> observe(Socket, S) end, State, ets:match_object(?TABLE, every(Server, '_'))).

observe(Socket, #state{watched = Watched} = State) when is_map_key(Socket, Watched) -> State;
observe(Socket, #state{watched = Watched} = State) when is_port(Socket) ->
    State#state{watched = Watched#{Socket => erlang:monitor(port, Socket)}}; % DOWN at once if it is closed
observe(Socket, #state{watched = Watched} = State) ->
    State#state{watched = Watched#{Socket => socket:monitor(Socket)}}.

closed(Socket, State) ->
    case ets:take(?TABLE, Socket) of
        [#session{fd = Fd, id = Id, link = Link, taken = Taken, server = Server} = Session] ->
            ?STEP(closes),
            _ = is_integer(Fd) andalso cnode_sessions_wire:close_descriptor(Fd),
            ?STEP(closed),
            case Link of
                none -> State;
                #link{} ->
                    Kind = case Taken andalso not outlives(Session) andalso not retiring(Session) of true -> $d; false -> $x end,
                    Said = finish(Server, post(Link, <<Kind, Id:64>>, State)),
                    ?STEP(said),
                    Said
            end;
        [] -> State
    end.

%% A connection of a name ends when it is closed: the end of its owner leaves it to who asks for it next.
outlives(#session{outgoing = none}) -> false;
outlives(#session{outgoing = Outgoing}) -> not is_map_key(closed, Outgoing).

%% Sends a packet, or keeps it if there is no room.
post(#link{control = Control} = Link, Packet, #state{links = Links} = State) ->
    case Links of
        #{Control := {_, Server, Queue}} ->
            case queue:is_empty(Queue) andalso now(Link, Packet) of
                sent -> State;
                false -> State#state{links = Links#{Control := {Link, Server, queue:in(Packet, Queue)}}};
                wait ->
                    _ = erlang:send_after(?AGAIN, self(), {again, Control}),
                    State#state{links = Links#{Control := {Link, Server, queue:in(Packet, Queue)}}}
            end;
        _ -> % of a guard that is gone, and the socket with it
            State
    end.

%% The guard has others to serve: it never waits.
now(Link, {Socket, Packet}) ->
    case ets:lookup(?TABLE, Socket) of
        [#session{void = true}] -> now(Link, Packet);
        _ -> sent
    end;
now(#link{control = Control, flags = Flags}, Packet) ->
    case socket:send(Control, Packet, [], 0) of
        {error, {timeout, _}} -> wait;
        {error, timeout} -> wait;
        {error, _} -> ok = atomics:put(Flags, ?ENDED, 1), sent;
        _ -> sent
    end.

%% A link whose server is gone ends with its last session.
finish(Server, #state{servers = Servers} = State) when is_map_key(Server, Servers) -> State;
finish(Server, #state{links = Links} = State) ->
    case sessions(Server) of
        {0, _} ->
            ets:delete(?TABLE, Server),
            lists:foldl(fun drop/2, State, [Link || {Link, S, Queue} <- maps:values(Links), S =:= Server, queue:is_empty(Queue)]);
        _ -> State
    end.

drop(#link{control = Control}, #state{links = Links} = State) ->
    _ = socket:close(Control),
    State#state{links = maps:remove(Control, Links)}.
