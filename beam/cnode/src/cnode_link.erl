%% A private link between this BEAM and the Go node of a child. Over a UNIX socket, in a folder that only this user can enter,
%% runs the protocol of the distribution, but no node of this BEAM knows of it: here the Go node's processes are local ones that
%% stand for them. To the Go node this BEAM is a peer with its own name, nonode@nohost as a rule, so pids and references of this
%% BEAM are its own again when they come back.
%%
%% This process reads, and hands each message to whom it is for, results undecoded. Callers encode by themselves, and another
%% process writes. What waits there has a bound. A caller waits for room for no longer than his time-out; what is sent or cast
%% waits at the process that stands for the receiver, without a bound. That process sends all that is for its process of Go:
%% replies, and the ends of monitored processes, too. So they stay in the order in which they were sent.
%%
%% See erl_dist_protocol, "Distribution Handshake" and "Protocol between Connected Nodes", and erl_ext_dist, "Distribution Header".
-module(cnode_link).
-include("cnode_doc.hrl").
?MODULEDOC(false).
-behaviour(gen_server).
-dialyzer(no_improper_lists). % an alias in a call is [alias | Reference]

-export([table/0, known/3, forget/2, child/1, start_link/1, path_fits/1, call/5, to/2]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2]).

-define(LINKS, cnode_links). % the table of children

-define(TICK, 15000). % ms, as nodes tick by default
-define(SILENT, 5). % ticks until a program that has sent nothing counts as gone
-define(LOOK, 1000). % ms between looks whether this BEAM has got another name
-define(KEPT, 90000). % ms after which no answer comes to a call that was given up: by then silence has ended the link
-define(ACTIVE, 64). % packets
-define(FRAGMENT, 262144). % bytes of a message in a frame
-define(QUEUE, 1048576). % bytes that wait to be written; who has more waits
-define(BUFFER, 262144).
-define(PREFIX, 512). % bytes that have a control message in them, as a rule

%% EXTENDED_REFERENCES, DIST_MONITOR, FUN_TAGS, DIST_MONITOR_NAME, NEW_FUN_TAGS, EXTENDED_PIDS_PORTS, EXPORT_PTR_TAG, BIT_BINARIES,
%% NEW_FLOATS, SMALL_ATOM_TAGS, UTF8_ATOMS, MAP_TAG, BIG_CREATION, SEND_SENDER, EXIT_PAYLOAD, FRAGMENTS, HANDSHAKE_23, UNLINK_ID,
%% MANDATORY_25_DIGEST, SPAWN, V4_NC, ALIAS. Without DIST_HDR_ATOM_CACHE headers name no atoms.
-define(FLAGS, lists:sum([1 bsl Bit || Bit <- [2, 3, 4, 5, 7, 8, 9, 10, 11, 14, 16, 17, 18, 19, 22, 23, 24, 25, 26, 32, 34, 35]])).

%% What senders need.
-record(out, {
    link :: pid(),
    writer :: pid(),
    counts :: atomics:atomics_ref(), % 1: bytes that wait to be written, 2: processes of Go that have one here
    pids :: ets:tid(), % {GoPid, Pid}, {Pid, GoPid}, {Name, Pid}
    node :: node(),
    ours :: node()
}).

-record(state, {
    owner :: pid(),
    names :: [atom()],
    out :: undefined | #out{},
    socket :: undefined | gen_tcp:socket(),
    pattern :: undefined | binary:cp(), % finds the Go node's name in a message
    parts = #{} :: #{non_neg_integer() => {tuple(), [binary() | byte()]}}, % of messages in fragments, the latest first
    calls = #{} :: #{reference() => {pid(), reference()}}, % calls to Go: the process there, and the monitor of the caller
    past = #{} :: #{reference() => true}, % calls that were given up before Go had said which process has them
    monitors = #{} :: #{reference() => {call, reference()} | watch()}, % of processes here: why
    asked = #{} :: #{reference() => reference()}, % monitors that Go has asked for, by its reference
    received = 0 :: non_neg_integer(), % packets, at the last tick
    silent = 0 :: non_neg_integer() % ticks
}).

%% A process of Go watches one here. Via which process here it is told, or its own pid: then via the one that stands for it.
-type watch() :: {Via :: pid(), GoPid :: pid(), GoRef :: reference(), Of :: pid() | atom() | spawned}.

%%% For users

%% {Name, Way, Child}: a name of a child, how its node is reached, the node or an #out{} while a link is up, and the child.
-spec table() -> ok.
table() ->
    ?LINKS = ets:new(?LINKS, [named_table, public, {read_concurrency, true}]),
    ok.

%% Whether there is a table: the application has been started. The first name is the child's own; the others, of its node and
%% its program, may be those of another child.
-spec known([atom()], node() | #out{}, pid()) -> boolean().
known([Own | Others], Way, Child) ->
    ets:whereis(?LINKS) =/= undefined andalso
        ets:insert(?LINKS, [{Own, Way, Child} | [{Name, Way, Child} || Name <- Others, is_free(Name, Child)]]).

is_free(Name, Child) ->
    case ets:lookup(?LINKS, Name) of
        [{_, _, Other}] -> Other =:= Child orelse not is_process_alive(Other);
        [] -> true
    end.

-spec forget([atom()], pid()) -> ok.
forget(Names, Child) ->
    _ = [ets:match_delete(?LINKS, {Name, '_', Child}) || ets:whereis(?LINKS) =/= undefined, Name <- Names],
    ok.

%% The process that a name of a child stands for.
-spec child(term()) -> term().
child(Name) when is_atom(Name) ->
    try ets:lookup_element(?LINKS, Name, 3)
    catch error:badarg -> Name
    end;
child(Server) -> Server.

way(Child) ->
    try ets:lookup_element(?LINKS, Child, 2) of
        #out{ours = Ours, node = Node} when Ours =/= node() -> Node; % it is about to end
        Way -> Way
    catch error:badarg -> Child
    end.

%% As erpc:call/5.
-spec call(atom(), module(), atom(), [term()], timeout()) -> term().
call(Child, M, F, A, Timeout) ->
    case way(Child) of
        #out{link = Link} = Out when is_atom(M), is_atom(F), is_list(A) ->
            Until = until(Timeout),
            Result = make_ref(),
            Alias = erlang:monitor(process, Link, [{alias, reply_demonitor}]),
            Control = {29, Alias, self(), group_leader(), {erpc, execute_call, 4}, [monitor]},
            case send(Out, Control, [Result, M, F, A], Until) of
                timeout ->
                    _ = demonitor(Alias, [flush]),
                    erlang:error({erpc, timeout});
                _ -> answer(Alias, Result, Link, Until)
            end;
        #out{} -> erlang:error({erpc, badarg});
        Node -> erpc:call(Node, M, F, A, Timeout)
    end.

answer(Alias, Result, Link, Until) ->
    receive
        {Alias, exit, Reason} -> result(Result, decoded(Reason));
        {Alias, spawn_reply, Reason} -> erlang:error({erpc, Reason});
        {'DOWN', Alias, _, _, _} -> erlang:error({erpc, noconnection})
    after left(Until) ->
        _ = demonitor(Alias, [flush]),
        Link ! {given_up, Alias},
        receive {Alias, exit, Reason} -> result(Result, decoded(Reason))
        after 0 -> erlang:error({erpc, timeout})
        end
    end.

%% What erpc:execute_call ends with, and what erpc:call makes of it.
result(Result, Reason) ->
    case Reason of
        {Result, return, Value} -> Value;
        {Result, throw, Thrown} -> throw(Thrown);
        {Result, exit, Why} -> exit({exception, Why});
        {Result, error, Why, Stack} -> erlang:error({exception, Why, Stack});
        {Result, error, Why} -> erlang:error({erpc, Why});
        noconnection -> erlang:error({erpc, noconnection});
        Signal -> exit({signal, Signal})
    end.

%% The process that has this name in Go, for gen_server:call and its like.
-spec to(atom(), atom()) -> pid() | {atom(), node()}.
to(Child, Name) ->
    case way(Child) of
        #out{node = Node} = Out ->
            try stand_in(Out, Name)
            catch exit:_ -> {Name, Node} % the link has just ended
            end;
        Node -> {Name, Node}
    end.

stand_in(#out{link = Link, pids = Pids}, Name) ->
    try ets:lookup_element(Pids, Name, 2)
    catch error:badarg -> gen_server:call(Link, {stand_in, Name}, infinity)
    end.

%%% The process

%% The owner, which calls this, gets {connecting, Pid, IsConnected}.
-spec start_link(#{node := node(), names := [atom()], path := file:filename(), secret := fun(() -> string())}) -> pid().
start_link(Options) ->
    {ok, Pid} = gen_server:start_link(?MODULE, Options#{owner => self()}, []),
    Pid.

%% A UNIX socket's path has 107 bytes, and 103 on BSD and macOS.
-spec path_fits(file:filename()) -> boolean().
path_fits(Path) -> byte_size(unicode:characters_to_binary(Path)) =< 103.

init(#{owner := Owner, names := Names} = Options) ->
    process_flag(trap_exit, true),
    _ = process_flag(message_queue_data, off_heap),
    {ok, #state{owner = Owner, names = Names}, {continue, Options}}.

handle_continue(#{node := Node, path := Path, secret := Secret}, #state{owner = Owner, names = Names} = S) ->
    Ours = node(),
    case connect(Path, Ours, Secret) of
        {ok, Socket} ->
            Counts = atomics:new(2, []),
            Out = #out{link = self(), counts = Counts, pids = ets:new(pids, [{read_concurrency, true}]), node = Node, ours = Ours,
                writer = spawn_link(fun() -> writes(Socket, Counts) end)},
            true = known(Names, Out, Owner),
            _ = erlang:send_after(?TICK, self(), tick),
            _ = erlang:send_after(?LOOK, self(), look),
            Owner ! {connecting, self(), true},
            {noreply, S#state{out = Out, socket = Socket, pattern = binary:compile_pattern(atom_to_binary(Node))}};
        {error, _} ->
            Owner ! {connecting, self(), false},
            {stop, normal, S}
    end.

connect(Path, Ours, Secret) ->
    Options = [binary, {packet, 2}, {active, false}, {sndbuf, ?BUFFER}, {recbuf, ?BUFFER}, {buffer, ?BUFFER},
        {high_watermark, 2 * ?BUFFER}, {low_watermark, ?BUFFER}, {linger, {true, 0}}],
    case gen_tcp:connect({local, Path}, 0, Options, 5000) of
        {ok, Socket} ->
            case handshake(Socket, Ours, Secret) of
                ok -> {ok, Socket};
                Error ->
                    ok = gen_tcp:close(Socket),
                    Error
            end;
        Error -> Error
    end.

handshake(Socket, Ours, Secret) ->
    Name = atom_to_binary(Ours),
    <<Challenge:32>> = crypto:strong_rand_bytes(4),
    Expected = digest(Secret, Challenge),
    maybe_all([
        fun(_) ->
            gen_tcp:send(Socket, <<$N, (?FLAGS):64, (erlang:system_info(creation)):32, (byte_size(Name)):16, Name/binary>>)
        end,
        fun(_) -> gen_tcp:recv(Socket, 0, 7000) end,
        fun({ok, <<"salive">>}) -> gen_tcp:send(Socket, <<"strue">>); % the connection before has ended
            ({ok, <<"sok", _/binary>>}) -> ok
        end,
        fun(_) -> gen_tcp:recv(Socket, 0, 7000) end,
        fun({ok, <<"N", _:64, Theirs:32, _/binary>>}) ->
            gen_tcp:send(Socket, <<$r, Challenge:32, (digest(Secret, Theirs))/binary>>)
        end,
        fun(_) -> gen_tcp:recv(Socket, 0, 7000) end,
        fun({ok, <<"a", Digest/binary>>}) when Digest =:= Expected -> inet:setopts(Socket, [{packet, 4}, {active, ?ACTIVE}]) end
    ], ok).

%% Each step gets what the one before has returned.
maybe_all(_, {error, _} = Error) -> Error;
maybe_all([], ok) -> ok;
maybe_all([Step | Steps], Before) ->
    try Step(Before) of Now -> maybe_all(Steps, Now)
    catch error:function_clause -> {error, handshake}
    end.

digest(Secret, Challenge) -> erlang:md5([Secret(), integer_to_list(Challenge)]).

handle_call({stand_in, Name}, _, #state{out = #out{pids = Pids}} = S) ->
    case ets:lookup(Pids, Name) of
        [{_, Pid}] -> {reply, Pid, S};
        [] ->
            Pid = stands(Name, S),
            ets:insert(Pids, [{Name, Pid}, {Pid, Name}]),
            {reply, Pid, S}
    end;
handle_call(kept, _, #state{out = #out{pids = Pids}} = S) -> % for tests
    Maps = #{parts => S#state.parts, calls => S#state.calls, past => S#state.past, monitors => S#state.monitors,
        asked => S#state.asked},
    {reply, (maps:map(fun(_, Map) -> map_size(Map) end, Maps))#{pids => ets:info(Pids, size)}, S}.

handle_cast(_, S) -> {noreply, S}.

handle_info({tcp, Socket, Data}, #state{socket = Socket} = S) -> {noreply, frame(Data, S)};
handle_info({tcp_passive, Socket}, S) ->
    _ = inet:setopts(Socket, [{active, ?ACTIVE}]),
    {noreply, S};
handle_info({tcp_closed, _}, S) -> over(S);
handle_info({tcp_error, _, _}, S) -> over(S);
handle_info({'DOWN', Monitor, process, Pid, Reason}, #state{monitors = Monitors, asked = Asked, out = Out} = S) ->
    case maps:take(Monitor, Monitors) of
        {{call, Call}, Rest} -> {noreply, give_up(Call, S#state{monitors = Rest})};
        {{Via, GoPid, GoRef, Of}, Rest} ->
            _ = say(Out, Via, {28, case Of of spawned -> Pid; _ -> Of end, GoPid, GoRef}, Reason),
            {noreply, S#state{monitors = Rest, asked = maps:remove(GoRef, Asked)}};
        error -> {noreply, S}
    end;
handle_info({given_up, Call}, #state{calls = Calls, past = Past} = S) ->
    case is_map_key(Call, Calls) of
        true -> {noreply, give_up(Call, S)};
        false -> % Go has not got it yet, or has just answered it
            _ = erlang:send_after(?KEPT, self(), {forget, Call}),
            {noreply, S#state{past = Past#{Call => true}}}
    end;
handle_info({forget, Call}, #state{past = Past} = S) -> {noreply, S#state{past = maps:remove(Call, Past)}};
handle_info({'EXIT', Writer, _}, #state{out = #out{writer = Writer}} = S) -> over(S);
handle_info({'EXIT', Pid, Reason}, #state{out = Out} = S) -> % one that stands for a process of Go
    case ets:take(Out#out.pids, Pid) of
        [{_, Of}] ->
            ets:delete(Out#out.pids, Of),
            _ = is_pid(Of) andalso gone(Of, Reason, Out);
        [] -> ok
    end,
    {noreply, S};
handle_info(tick, S) -> tick(S);
handle_info(look, #state{out = #out{ours = Ours}} = S) ->
    _ = erlang:send_after(?LOOK, self(), look),
    case node() of
        Ours -> {noreply, S};
        _ -> over(S)
    end;
handle_info(_, S) -> {noreply, S}.

gone(GoPid, Reason, #out{counts = Counts} = Out) ->
    ok = atomics:sub(Counts, 2, 1),
    Reason =:= killed andalso now(Out, {26, self(), GoPid}, kill). % it could not say so itself

tick(#state{socket = Socket, received = Before, silent = Silent, out = #out{writer = Writer}} = S) ->
    _ = erlang:send_after(?TICK, self(), tick),
    Writer ! {out, 0, <<>>},
    case inet:getstat(Socket, [recv_cnt]) of
        {ok, [{recv_cnt, Before}]} when Silent + 1 >= ?SILENT -> over(S);
        {ok, [{recv_cnt, Before}]} -> {noreply, S#state{silent = Silent + 1}};
        {ok, [{recv_cnt, Now}]} -> {noreply, S#state{received = Now, silent = 0}};
        {error, _} -> over(S)
    end.

%% The end of a program is no error of this process.
over(S) -> {stop, {shutdown, noconnection}, S}.

give_up(Call, #state{calls = Calls, out = Out} = S) ->
    case maps:take(Call, Calls) of
        {{GoPid, Monitor}, Rest} ->
            now(Out, {20, self(), GoPid, Call}),
            S#state{calls = Rest, monitors = unwatch(Monitor, S#state.monitors)};
        error -> S
    end.

unwatch(Monitor, Monitors) ->
    _ = demonitor(Monitor, [flush]),
    maps:remove(Monitor, Monitors).

%%% What comes

frame(<<131, 68, 0, Rest/binary>>, S) -> message(Rest, S);
frame(<<131, 69, _:64, 1:64, 0, Rest/binary>>, S) -> message(Rest, S);
frame(<<131, 69, Sequence:64, _:64, 0, Rest/binary>>, #state{parts = Parts} = S) ->
    {Control, Data} = control_of(Rest),
    S#state{parts = Parts#{Sequence => {Control, [Data, 131]}}};
frame(<<131, 70, Sequence:64, Number:64, Rest/binary>>, #state{parts = Parts} = S) ->
    case maps:take(Sequence, Parts) of
        {{Control, Before}, Others} when Number =:= 1 ->
            control(Control, iolist_to_binary(lists:reverse([Rest | Before])), S#state{parts = Others});
        {{Control, Before}, _} -> S#state{parts = Parts#{Sequence := {Control, [Rest | Before]}}};
        error -> S
    end;
frame(<<>>, S) -> S.

message(Rest, S) ->
    {Control, Data} = control_of(Rest),
    control(Control, Data, S).

%% Only what has the control message is copied, as a rule.
control_of(Rest) ->
    {Control, Used} = try binary_to_term(<<131, (binary:part(Rest, 0, min(?PREFIX, byte_size(Rest))))/binary>>, [used])
    catch error:badarg -> binary_to_term(<<131, Rest/binary>>, [used])
    end,
    {Control, binary:part(Rest, Used - 1, byte_size(Rest) - Used + 1)}.

%% The usual ones first.
control({28, _, _, Ref}, Data, #state{calls = Calls} = S) ->
    Ref ! {Ref, exit, ours(Data, S)}, % of a caller, or a process that stands for one of Go
    case maps:take(Ref, Calls) of
        {{_, Monitor}, Rest} -> S#state{calls = Rest, monitors = unwatch(Monitor, S#state.monitors)};
        error -> S
    end;
control({31, Call, Caller, _, GoPid}, _, #state{calls = Calls, monitors = Monitors, past = Past} = S) when is_pid(GoPid) ->
    Monitor = monitor(process, Caller),
    S1 = S#state{calls = Calls#{Call => {GoPid, Monitor}}, monitors = Monitors#{Monitor => {call, Call}}},
    case is_map_key(Call, Past) of
        true -> give_up(Call, S1#state{past = maps:remove(Call, Past)});
        false -> S1
    end;
control({31, Call, _, _, Reason}, _, S) ->
    Call ! {Call, spawn_reply, Reason},
    S;
control({33, _, Alias}, Data, S) ->
    Alias ! term(Data, S),
    S;
control({22, _, To}, Data, S) -> deliver(term(Data, S), To, S);
control({2, _, To}, Data, S) -> deliver(term(Data, S), To, S);
control({6, _, _, Name}, Data, S) -> deliver(term(Data, S), Name, S);
control({29, Ref, GoPid, Leader, {M, F, _}, Options}, Data, S) ->
    spawned(Ref, GoPid, swapped(Leader, S), {M, F, term(Data, S)}, Options, S);
control({19, GoPid, To, Ref}, _, S) -> watched(monitor(process, To), {GoPid, GoPid, Ref, To}, S);
control({20, _, _, Ref}, _, #state{asked = Asked} = S) ->
    case maps:take(Ref, Asked) of
        {Monitor, Rest} -> S#state{asked = Rest, monitors = unwatch(Monitor, S#state.monitors)};
        error -> S
    end;
control({1, GoPid, To}, _, S) -> told(GoPid, {link, To}, S);
control({35, Id, GoPid, To}, _, S) ->
    now(S#state.out, {36, Id, To, GoPid}),
    told(GoPid, {unlink, To}, S);
control({24, GoPid, _}, Data, S) -> told(GoPid, {ended, term(Data, S)}, S);
control({26, GoPid, To}, Data, S) -> told(GoPid, {exit, To, term(Data, S)}, S);
control(_, _, S) -> S.

told(GoPid, What, S) ->
    local(GoPid, S) ! {?MODULE, What},
    S.

%% A call from Go: a server here cannot answer to an alias of Go, so it answers to the process that stands for the caller. The
%% server's end is told via the same.
deliver({'$gen_call', {From, [alias | Ref]}, Request}, To, #state{out = #out{node = Node}} = S) when node(Ref) =:= Node ->
    pass({'$gen_call', {From, {?MODULE, Ref}}, Request}, To),
    case S#state.asked of
        #{Ref := Monitor} -> S#state{monitors = maps:update_with(Monitor, fun(Why) -> setelement(1, Why, From) end, S#state.monitors)};
        _ -> S
    end;
deliver(Message, To, S) ->
    pass(Message, To),
    S.

pass(Message, To) ->
    try To ! Message
    catch error:badarg -> Message % nobody has that name
    end.

spawned(Ref, GoPid, Leader, {M, F, Args}, Options, #state{out = Out} = S) ->
    {Pid, Monitor} = spawn_opt(fun() ->
        true = group_leader(Leader, self()),
        apply(M, F, Args)
    end, [monitor]),
    IsLinked = lists:member(link, Options),
    IsMonitored = lists:member(monitor, Options),
    _ = IsLinked andalso told(GoPid, {link, Pid}, S),
    now(Out, {31, Ref, GoPid, bit(IsLinked) bor bit(IsMonitored) bsl 1, Pid}),
    case IsMonitored of
        true -> watched(Monitor, {GoPid, GoPid, Ref, spawned}, S);
        false ->
            _ = demonitor(Monitor, [flush]),
            S
    end.

bit(true) -> 1;
bit(false) -> 0.

watched(Monitor, {_, _, Ref, _} = Why, #state{monitors = Monitors, asked = Asked} = S) ->
    S#state{monitors = Monitors#{Monitor => Why}, asked = Asked#{Ref => Monitor}}.

%% Whoever wants a result decodes it, unless there are processes of Go in it.
ours(Data, S) ->
    case binary:match(Data, S#state.pattern) of
        nomatch -> Data;
        _ -> {term, term(Data, S)}
    end.

decoded({term, Term}) -> Term;
decoded(<<131, _/binary>> = Data) -> binary_to_term(Data); % what came in fragments
decoded(Data) -> binary_to_term(<<131, Data/binary>>).

term(Data, S) ->
    Term = decoded(Data),
    case binary:match(Data, S#state.pattern) of
        nomatch -> Term;
        _ -> swapped(Term, S)
    end.

swapped(Term, #state{out = #out{node = Node}} = S) ->
    walk(Term, fun(Pid) when node(Pid) =:= Node -> local(Pid, S); (Pid) -> Pid end).

%% A term with other pids.
walk(Pid, F) when is_pid(Pid) -> F(Pid);
walk([Head | Tail], F) -> [walk(Head, F) | walk(Tail, F)];
walk(Tuple, F) when is_tuple(Tuple) -> list_to_tuple([walk(Element, F) || Element <- tuple_to_list(Tuple)]);
walk(Map, F) when is_map(Map) -> maps:from_list([{walk(Key, F), walk(Value, F)} || {Key, Value} <- maps:to_list(Map)]);
walk(Term, _) -> Term.

%% The process here that stands for one of Go.
local(GoPid, #state{out = #out{pids = Pids, counts = Counts}} = S) ->
    case ets:lookup(Pids, GoPid) of
        [{_, Pid}] -> Pid;
        [] ->
            Pid = stands(GoPid, S),
            ok = atomics:add(Counts, 2, 1),
            ets:insert(Pids, [{GoPid, Pid}, {Pid, GoPid}]),
            Pid
    end.

%%% Processes that stand for those of Go

-record(stand_in, {out :: #out{}, for :: pid() | atom(), ends :: reference(), linked = #{} :: #{pid() => true}}).

stands(For, #state{out = Out}) ->
    spawn_link(fun() ->
        process_flag(trap_exit, true),
        Ends = alias(),
        later(Out, {19, self(), For, Ends}), % it ends with the process of Go
        stands_in(#stand_in{out = Out, for = For, ends = Ends})
    end).

stands_in(#stand_in{out = #out{link = Link} = Out, for = For, ends = Ends, linked = Linked} = P) ->
    receive
        {Ends, exit, Reason} -> exit(decoded(Reason));
        {?MODULE, {ended, Reason}} -> exit(Reason);
        {?MODULE, {link, To}} ->
            true = link(To),
            stands_in(P#stand_in{linked = Linked#{To => true}});
        {?MODULE, {unlink, To}} ->
            true = unlink(To),
            stands_in(P#stand_in{linked = maps:remove(To, Linked)});
        {?MODULE, {exit, To, Reason}} ->
            true = exit(To, Reason),
            stands_in(P);
        {?MODULE, {say, Control, Message}} ->
            later(Out, Control, Message),
            stands_in(P);
        {{?MODULE, Ref}, Reply} -> % gen_server:reply/2
            later(Out, {33, self(), Ref}, {[alias | Ref], Reply}),
            stands_in(P);
        {'EXIT', Link, _} -> exit(noconnection);
        {'EXIT', From, Reason} when is_map_key(From, Linked) -> % Go has asked for this link
            later(Out, {24, From, For}, Reason),
            stands_in(P#stand_in{linked = maps:remove(From, Linked)});
        {'EXIT', From, Reason} when is_pid(For) ->
            later(Out, {26, From, For}, case Reason of kill -> killed; _ -> Reason end), % it came by a link
            stands_in(P);
        {'EXIT', _, _} -> stands_in(P); % exit/2 takes no names
        Message when is_pid(For) -> % nobody knows who has sent it
            later(Out, {2, '', For}, Message),
            stands_in(P);
        Message ->
            later(Out, {6, Link, '', For}, Message),
            stands_in(P)
    end.

%%% What goes

%% Without waiting, for the link itself: it reads on whatever happens.
now(Out, Control) -> write(Out, whole(Control, [])).

now(Out, Control, Message) ->
    case frames(Control, payload(Out, Message)) of
        {one, Frame} -> write(Out, Frame);
        {many, Frames} ->
            Out#out.writer ! {large, none, Frames},
            ok
    end.

%% To a process of Go, behind all that processes here have sent it before: the process that stands for it has that still.
say(Out, Via, Control, Message) when node(Via) =:= node() ->
    case is_process_alive(Via) of
        true -> Via ! {?MODULE, {say, Control, Message}};
        false -> now(Out, Control, Message)
    end;
say(#out{pids = Pids} = Out, GoPid, Control, Message) ->
    case ets:lookup(Pids, GoPid) of
        [{_, Pid}] -> say(Out, Pid, Control, Message);
        [] -> now(Out, Control, Message)
    end.

%% For processes that have all the time.
later(Out, Control) -> sent(Out, whole(Control, []), infinity).

later(Out, Control, Message) -> send(Out, Control, Message, infinity).

send(#out{writer = Writer} = Out, Control, Message, Until) ->
    case frames(Control, payload(Out, Message)) of
        {one, Frame} -> sent(Out, Frame, Until);
        {many, Frames} -> % this is not to overtake what the sender has sent before
            case asked(Writer, room, Until) of
                ok ->
                    _ = asked(Writer, {large, Frames}, Until),
                    ok;
                No -> No
            end
    end.

sent(#out{writer = Writer, counts = Counts} = Out, Frame, Until) ->
    case atomics:get(Counts, 1) < ?QUEUE of
        true -> write(Out, Frame);
        false ->
            case asked(Writer, room, Until) of
                ok -> write(Out, Frame);
                No -> No
            end
    end.

write(#out{writer = Writer, counts = Counts}, Frame) ->
    Size = iolist_size(Frame),
    ok = atomics:add(Counts, 1, Size),
    Writer ! {out, Size, Frame},
    ok.

%% Waits for the writer.
asked(Writer, What, Until) ->
    Alias = erlang:monitor(process, Writer, [{alias, reply_demonitor}]),
    Writer ! case What of room -> {room, Alias}; {large, Frames} -> {large, Alias, Frames} end,
    receive
        {Alias, ok} -> ok;
        {'DOWN', Alias, _, _, _} -> closed
    after left(Until) ->
        _ = demonitor(Alias, [flush]),
        receive {Alias, ok} -> ok
        after 0 -> timeout
        end
    end.

until(infinity) -> infinity;
until(Timeout) -> erlang:monotonic_time(millisecond) + Timeout.

left(infinity) -> infinity;
left(Until) -> max(0, Until - erlang:monotonic_time(millisecond)).

%% Pids that stand for processes of Go are those again.
payload(#out{counts = Counts, pids = Pids}, Message) ->
    Term = case atomics:get(Counts, 2) of
        0 -> Message;
        _ -> walk(Message, fun(Pid) -> theirs(Pid, Pids) end)
    end,
    [<<131, First/binary>> | Rest] = erlang:term_to_iovec(Term),
    [First | Rest].

theirs(Pid, Pids) ->
    try ets:lookup_element(Pids, Pid, 2) of
        GoPid when is_pid(GoPid) -> GoPid;
        _ -> Pid
    catch error:badarg -> Pid
    end.

encoded(Control) ->
    <<131, Data/binary>> = term_to_binary(Control),
    Data.

whole(Control, Payload) -> [<<131, 68, 0>>, encoded(Control) | Payload].

%% A message that is too long for a frame goes in fragments, others between them.
frames(Control, Payload) ->
    case iolist_size(Payload) of
        Size when Size =< ?FRAGMENT -> {one, whole(Control, Payload)};
        _ ->
            Sequence = erlang:unique_integer([positive]),
            [First | Rest] = pieces(Payload, ?FRAGMENT, [], []),
            Number = length(Rest) + 1,
            {many, [[<<131, 69, Sequence:64, Number:64, 0>>, encoded(Control) | First] | numbered(Rest, Sequence, Number - 1)]}
    end.

numbered([], _, 0) -> [];
numbered([Piece | Rest], Sequence, Number) ->
    [[<<131, 70, Sequence:64, Number:64>> | Piece] | numbered(Rest, Sequence, Number - 1)].

pieces([], _, Piece, Pieces) -> lists:reverse([lists:reverse(Piece) | Pieces]);
pieces([Data | More], Room, Piece, Pieces) when byte_size(Data) =< Room ->
    pieces(More, Room - byte_size(Data), [Data | Piece], Pieces);
pieces([Data | More], Room, Piece, Pieces) ->
    <<Now:Room/binary, Later/binary>> = Data,
    pieces([Later | More], ?FRAGMENT, [], [lists:reverse([Now | Piece]) | Pieces]).

%% The process that writes. It may stand still for as long as Go does.
writes(Socket, Counts) -> writes(Socket, Counts, [], ?FRAGMENT).

%% Large messages take turns, a fragment each, and so do small ones, of that many bytes. All is received in its order: whoever
%% has asked for room gets it when all that was sent before has been written.
writes(Socket, Counts, [{Alias, [Frame | Frames]} | Others], Turn) when Turn =< 0 ->
    written(Socket, Frame),
    case Frames of
        [] ->
            _ = is_reference(Alias) andalso (Alias ! {Alias, ok}),
            writes(Socket, Counts, Others, ?FRAGMENT);
        _ -> writes(Socket, Counts, Others ++ [{Alias, Frames}], ?FRAGMENT)
    end;
writes(Socket, Counts, Large, Turn) ->
    receive
        {out, Size, Frame} ->
            written(Socket, Frame),
            ok = atomics:sub(Counts, 1, Size),
            writes(Socket, Counts, Large, max(0, Turn - Size));
        {large, Alias, Frames} -> writes(Socket, Counts, Large ++ [{Alias, Frames}], Turn);
        {room, Alias} ->
            Alias ! {Alias, ok},
            writes(Socket, Counts, Large, Turn)
    after case Large of [] -> infinity; _ -> 0 end -> writes(Socket, Counts, Large, 0)
    end.

written(Socket, Frame) ->
    case gen_tcp:send(Socket, Frame) of
        ok -> ok;
        {error, _} -> exit(normal) % the link hears of the same
    end.
