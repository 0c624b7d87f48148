-module(cnode_sessions).
-include("cnode_doc.hrl").
?MODULEDOC("""
Takes TCP sessions over that another process of this machine has accepted, as ordinary sockets.

A front written in Go (package `contrib/front` of [cnode](https://github.com/cnode-go/cnode)) accepts and keeps the
connections; processes of this system serve them. If this system is killed, or restarted, the next one goes on with the same
connections, at the byte up to which this one has told the front.

## What moves, and what cannot

A session moves when it stands at a *point*: a place that you have told, from which another process can go on with the state
that you have told with it. `answer/3` and `answer/4` tell a point with each answer. A session that nobody has told a point of
moves as long as nothing was read from it or written to it. Every other session is reset when its process is killed: the
client sees a broken connection, never a wrong answer.

Some sessions cannot move. TLS that ends in this system cannot: its keys go with it, so end TLS at the front. HTTP/2 and
WebSocket cannot, unless your program tells the points, because a connection that is silent has state nevertheless.
`Cnode.Sessions.WebSock` and `Cnode.Sessions.Phoenix` do, with Bandit.

## A server of your own

```erlang
{ok, Server} = cnode_sessions:start_link(#{front => "/run/app/front.sock"}),
{ok, Socket} = cnode_sessions:accept(Server, infinity),
{ok, #{state := State}} = cnode_sessions:info(Socket),
{ok, Line} = gen_tcp:recv(Socket, 0),
ok = cnode_sessions:answer(Socket, [<<"got ">>, Line], NewState).
```

## Two kinds of socket

With `adopt => gen_tcp`, the default, a session is a socket of `gen_tcp`: everything that takes one takes it. Between reading
a request and telling `received/2` there is a moment in which a kill loses the session.

With `adopt => socket` it is a socket of module `socket`, of which you look at the input before you take it: `peek/2`,
`answer/4`, and `more/2` if a request is not complete. Then there is no such moment. Use only this module to read and write
such a socket, because it counts the bytes.

Linux only, OTP 25 or newer.
""").
-behaviour(gen_server).
-include("cnode_sessions.hrl").
-include_lib("kernel/include/logger.hrl").

-export([start_link/1, child_spec/1, status/1, accept/2, connect/3, connect/4, begin_tls/2, retire/1]).
-export([info/1, answer/3, answer/4, received/2, point/2, point/3, no_point/1]).
-export([peek/2, more/2, send/2, sendfile/5, unrecv/2, shutdown/2, close/1]).
-export([listen/1, idle/1, idle/2, stands_behind/3, stay/1, taken/1]). % for transports
-export([counts/1, counts/3, tells/6, leaves/1, turn/1]). % for those that count the bytes of a socket themselves
-export([gives/1]). % for cnode_forwarder
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export_type([options/0, server/0, handle/0, session/0, endpoint/0, info/0, connect_options/0, connect_error/0]).

-define(BUFFER, 16#100000).      % of the packets to the front: 208 KiB, the system's own choice, hold some 270
-define(HELLO, 5000).            % ms that a front has for its answer
-define(FIRST_PAUSE, 100).       % ms before the second attempt to connect; doubled each time
-define(LONGEST_PAUSE, 5000).
-define(RESTART, 20).            % ms between looks for a server that is started anew
-define(RESTARTS, 250).
-define(AT_ONCE, 64).            % reads before others have their turn
-define(NEVER, 16#FFFFFFFFFFFFFFFF).
-define(UNKNOWN, (1 bsl 62)).     % bytes: no point that counts them is ever reached
-define(MOST, 65522).             % of rest and state: they go to the next process as a session's data, of a front that takes no parts
-define(PART, 65536).             % of a point that does not fit into a packet
-define(VERSION, 1).
-define(LOOKS, 1).                % modes of hello: points count bytes that may only have been looked at,
-define(TAKES, 2).                % or are taken already

-type endpoint() :: {inet:ip_address(), inet:port_number()} | {local, binary()}.
-type session() :: gen_tcp:socket() | socket:socket().
-type server() :: gen_server:server_ref().
-opaque handle() :: {?MODULE, reference()}.
-type options() :: #{
    front => file:name_all(),
    plain => file:name_all(),
    listen => file:name_all(),
    adopt => gen_tcp | socket,
    socket_opts => [gen_tcp:option()],
    name => unicode:chardata(),
    uids => [non_neg_integer()],
    points => none | idle,
    local => endpoint()
}.
-type info() :: #{
    id := non_neg_integer(), local := endpoint(), remote := endpoint(), state := binary(), read := binary(),
    name => binary(), connection => new | kept | ended, tls => tls()
}.
-type tls() :: #{version := char(), cipher := char(), protocol := binary(), certificate := Der :: binary()}.
-type connect_options() :: #{tls => boolean() | later, server_name => unicode:chardata(), wait => boolean(), timeout => timeout(), tell => pid()}.
-type connect_error() ::
    {not_allowed | taken | unreachable | certificate | tls, Why :: binary()} | unsupported | timeout | closed | badarg.

%% A connection that was asked for, and has not come: by the packet that asks a front for it.
-record(ask, {from :: gen_server:from(), timer :: reference() | none, tell :: pid() | none, name :: binary(), packet :: binary()}).

-record(stream, {
    buffer = <<>> :: binary(),
    fds = queue:new() :: queue:queue(non_neg_integer() | lost),
    link = none :: #link{} | none
}).
-record(state, {
    options :: options(),
    handle = none :: handle() | none,
    opener = none :: reference() | none,
    listener = none :: socket:socket() | none,
    hello = none :: {#link{}, reference()} | none,
    link = none :: #link{} | none,
    streams = #{} :: #{socket:socket() => #stream{}},
    pause = ?FIRST_PAUSE :: pos_integer(),
    said = false :: boolean(),
    ready = queue:new() :: queue:queue(session()),
    waiting = queue:new() :: queue:queue({gen_server:from(), reference() | none}),
    asks = #{} :: #{pos_integer() => #ask{}},
    dials = unknown :: boolean() | unknown, % whether the front makes connections
    retiring = false :: boolean()
}).

?DOC("""
Starts a server of sessions. It never waits for the front, and connects again whenever the connection ends.

Exactly one of these options says where sessions come from:

  * `front`: the path of a front whose sessions can go on elsewhere. The front's other socket is beside it, at that path with
    `.control` behind it.
  * `plain`: the path of a sender that is connected to, and has neither states nor points.
  * `listen`: a path at which senders connect: a front's, or programs of BIND 10. The file has mode 0600, and is deleted at the
    end.

These are optional:

  * `adopt`: the kind of socket, `gen_tcp` or `socket`.
  * `socket_opts`: options for `gen_tcp`, beside `binary` and `{active, false}`. With `front` it is an error to set `packet` to 1,
    2 or 4, here or later: a point counts each byte, and what is read again has its length in front. Put the length there
    yourself. With `adopt => socket` only `send_timeout` counts: after `{error, timeout}`, part of the data may be out, so close
    the session.
  * `name`: what the front calls this worker in its statistics.
  * `uids`: the users that may send sessions, beside root and the one that this system runs as.
  * `points`: see `idle/1`.
  * `local`: what a transport says when it is asked for the listener's address.
""").
-spec start_link(options()) -> {ok, pid()} | {error, term()}.
start_link(Options) ->
    case {ets:whereis(?TABLE), check(Options)} of
        {undefined, _} -> {error, {not_started, cnode}};
        {_, ok} -> gen_server:start_link(?MODULE, Options, []);
        {_, Error} -> Error
    end.

?DOC("""
A child for a supervisor. Put it behind the supervisor of those that serve its sessions: it ends before them then, and retires, so
that their sessions can go on elsewhere. Put those that call `accept/2` behind it.
""").
-spec child_spec(options()) -> supervisor:child_spec().
child_spec(Options) ->
    #{id => ?MODULE, start => {?MODULE, start_link, [Options]}, shutdown => 10000}.

?DOC(false).
%% A server for a transport. A web server's listening process ends first when it stops, its connections afterwards: the first
%% means retire, and this server outlives it to see the others go.
-spec listen(options()) -> {ok, handle()} | {error, term()}.
listen(Options) ->
    Handle = {?MODULE, make_ref()},
    case whereis(cnode_sessions_sup) of
        undefined -> {error, {not_started, cnode}};
        Sup ->
            case supervisor:start_child(Sup, [Options#{handle => Handle, opener => self()}]) of
                {ok, _} -> {ok, Handle};
                {error, Reason} -> {error, Reason}
            end
    end.

?DOC("""
The next session, whose owner the caller becomes. `{error, closed}` after `retire/1`, `{error, timeout}` after `Timeout` ms.

Bytes that were read from the session before come first: from `gen_tcp:recv/2` or as a message, or from `peek/2`.
""").
-spec accept(server() | handle(), timeout()) -> {ok, session()} | {error, closed | timeout}.
accept({?MODULE, _} = Handle, Timeout) -> accept(Handle, Timeout, ?RESTARTS);
accept(Server, Timeout) ->
    try gen_server:call(Server, {accept, Timeout}, infinity)
    catch exit:_ -> {error, closed}
    end.

%% A transport's server that has crashed is started anew by its supervisor; acceptors do not notice.
accept(_, _, 0) -> {error, closed};
accept({_, Ref} = Handle, Timeout, N) ->
    case ets:lookup(?TABLE, {name, Ref}) of
        [#named{server = Server}] ->
            case accept(Server, Timeout) of
                {error, closed} ->
                    case is_process_alive(Server) of
                        true -> {error, closed}; % it retires
                        false ->
                            timer:sleep(?RESTART),
                            accept(Handle, Timeout, N - 1)
                    end;
                Result -> Result
            end;
        [] -> {error, closed}
    end.

?DOC("`connect/4` with no options.").
-spec connect(server(), unicode:chardata(), unicode:chardata()) -> {ok, session()} | {error, connect_error()}.
connect(Server, Name, Address) -> connect(Server, Name, Address, #{}).

?DOC("""
The connection of a name, whose owner the caller becomes: that which a process before has had, or a new one to `Address`,
`"HOST:PORT"`, that the front makes. The front's list of addresses must have it.

```erlang
{ok, Socket} = cnode_sessions:connect(Server, "irc/alice", "irc.libera.chat:6667"),
{ok, #{state := State}} = cnode_sessions:info(Socket),
_ = State =:= <<>> andalso cnode_sessions:answer(Socket, <<"NICK alice\r\nUSER alice 0 * :Alice\r\n">>, <<"in">>),
serve(Socket)
```

It is a session as those of `accept/2` are: with points it outlives this system, and the front's own upgrades. Its `state` is
empty as long as no point was told. `info/1` also has its `name`, and `connection`: `new`, `kept`, or `ended` if the peer has
ended it while nobody had it. What the peer had sent is read first then, and the end comes behind it.

A name belongs to the user of the system that has asked for it first. One process at a time has its connection. `close/1` ends
it. If its owner ends without that, also by `gen_tcp:close/1`, the connection waits for who asks for the name next. A name that is asked for
with another address is connected anew.

When a connection has ended, or cannot be made, ask for its name again: the front pauses before it dials, longer each time.

  * `tls`: `true` for TLS, which the front does, so that it outlives this system as well. The peer's certificate is verified. With
    `later` the connection begins without, until `begin_tls/2`. `info/1` has `tls`: the numbers of the version and of the cipher
    suite, the protocol of ALPN, and the peer's certificate.
  * `server_name`: whose certificate it must be, else that of the address's host.
  * `wait`: `true` waits while another process has the connection. Otherwise the error is `taken`, unless that process is about
    to end.
  * `timeout`: ms, or `infinity`, which is the default. The connection may come later: it waits for who asks for it next.
  * `tell`: a process that gets `{cnode_sessions, Name, {redial, Ms, Why}}` when the front pauses before it dials.

The errors are `not_allowed`, `taken`, `unreachable`, `certificate` and `tls`, each with a text, `unsupported` for a front that makes no
connections because it is older, `timeout`, and `closed` after `retire/1`. Without a front, it waits for one.
""").
-spec connect(server(), unicode:chardata(), unicode:chardata(), connect_options()) -> {ok, session()} | {error, connect_error()}.
connect(Server, Name0, Address0, Options) ->
    Name = unicode:characters_to_binary(Name0),
    Address = unicode:characters_to_binary(Address0),
    ServerName = unicode:characters_to_binary(maps:get(server_name, Options, <<>>)),
    Known = [tls, server_name, wait, timeout, tell],
    Timeout = maps:get(timeout, Options, infinity),
    case {maps:keys(maps:without(Known, Options)), maps:get(tls, Options, false), maps:get(wait, Options, false)} of
        {[], Tls, Wait} when is_binary(Name), byte_size(Address) < 1024, Name =/= <<>>, byte_size(Name) < 256, byte_size(ServerName) < 256,
                Timeout =:= infinity orelse is_integer(Timeout) andalso Timeout >= 0 andalso Timeout < 1 bsl 32,
                is_boolean(Tls) orelse Tls =:= later, is_boolean(Wait) ->
            Flags = case Wait of true -> 1; false -> 0 end + case Tls of true -> 2; later -> 4; false -> 0 end,
            Packet = <<Flags, (byte_size(Name)), Name/binary, (byte_size(ServerName)), ServerName/binary, Address/binary>>,
            ask(Server, {ask, Name, fun(Number) -> <<$o, Number:64, Packet/binary>> end, Options});
        _ -> {error, badarg}
    end.

ask(Server, Ask) ->
    try gen_server:call(Server, Ask, infinity)
    catch exit:_ -> {error, closed}
    end.

?DOC("""
Begins TLS in a connection that was made with `tls => later`: when the peer has said that it is ready for it, as in STARTTLS. All
that has come must have been taken, by `answer/4` or `point/3`. If the peer has sent more, the connection ends: what somebody
else has put in before TLS must not count. After any error close it.
""").
-spec begin_tls(session(), timeout()) -> ok | {error, connect_error()}.
begin_tls(Socket, Timeout) ->
    case ets:lookup(?TABLE, Socket) of
        [#session{server = Server, id = Id, buffer = <<>>, peeked = 0, outgoing = #{name := Name}}]
                when Timeout =:= infinity; is_integer(Timeout), Timeout >= 0, Timeout < 1 bsl 32 ->
            Ask = {ask, Name, fun(Number) -> <<$s, Id:64, Number:64>> end, #{timeout => Timeout}},
            case silent(Socket, fun() -> ask(Server, Ask) end) of
                {ok, Tls} ->
                    [#session{outgoing = Outgoing}] = ets:lookup(?TABLE, Socket),
                    _ = ets:update_element(?TABLE, Socket, {#session.outgoing, tls(Tls, Outgoing)}),
                    ok;
                Error -> Error
            end;
        [_] -> {error, badarg};
        [] -> {error, closed}
    end.

%% What gen_tcp has taken for a socket, and not given out, was said before TLS.
silent(Socket, Fun) when is_port(Socket) ->
    case inet:getopts(Socket, [packet, active]) of
        {ok, Options} ->
            _ = inet:setopts(Socket, [{packet, raw}, {active, false}]),
            case receive {tcp, Socket, Data} -> {ok, Data} after 0 -> gen_tcp:recv(Socket, 0, 0) end of
                {error, timeout} ->
                    Result = Fun(),
                    _ = inet:setopts(Socket, Options),
                    Result;
                {ok, _} -> {error, {tls, <<"the peer has said more before TLS began">>}};
                {error, _} -> {error, closed}
            end;
        {error, _} -> {error, closed}
    end;
silent(_, Fun) -> Fun().

tls(<<Version:16, Cipher:16, N, Protocol:N/binary, Certificate/binary>>, Outgoing) ->
    Outgoing#{tls => #{version => Version, cipher => Cipher, protocol => Protocol, certificate => Certificate}};
tls(<<>>, Outgoing) -> Outgoing.

?DOC("""
What a server does: `connected` to a front or sender, how many `sessions` there are, how many of them are `ready` for an
acceptor, and whether it is `retiring`.
""").
-spec status(server() | handle()) ->
    #{connected := boolean(), sessions := non_neg_integer(), ready := non_neg_integer(), retiring := boolean(), local := endpoint()}.
status({?MODULE, Ref}) -> gen_server:call(ets:lookup_element(?TABLE, {name, Ref}, #named.server), status, infinity);
status(Server) -> gen_server:call(Server, status, infinity).

?DOC("""
No more sessions. `accept/2` returns `{error, closed}` from now on. A session that is closed from now on goes on in another
process if it stands at a point. Call it before you stop, as early as you can.
""").
-spec retire(server() | handle()) -> ok.
retire({?MODULE, Ref}) ->
    _ = [retire(Server) || #named{server = Server} <- ets:lookup(?TABLE, {name, Ref})],
    ok;
retire(Server) ->
    try gen_server:call(Server, retire, infinity)
    catch exit:_ -> ok
    end.

?DOC("""
What the front has said of a session: its endpoints, the state that the process before has left (empty if there was none), and
the bytes that were read before. These are read again: `gen_tcp:recv/2` and `peek/2` give them first, so do not deal with both.
`id` is 0 without a front. `{error, closed}` for a socket that is no session, or none any
more.
""").
-spec info(session()) -> {ok, info()} | {error, closed}.
info(Socket) ->
    case ets:lookup(?TABLE, Socket) of
        [#session{id = Id, local = Local, remote = Remote, state = State, first = First, outgoing = Outgoing}] ->
            Info = #{id => Id, local => Local, remote => Remote, state => State, read => First},
            {ok, case Outgoing of none -> Info; _ -> maps:merge(Info, maps:with([name, connection, tls], Outgoing)) end};
        [] -> {error, closed}
    end.

?DOC("`answer/4` where nothing more was read than what is answered.").
-spec answer(session(), iodata(), binary()) -> ok | {error, term()}.
answer(Socket, Data, State) -> answer(Socket, Data, <<>>, State).

?DOC("""
Sends an answer, behind which another process can go on, with `State`, if all of it gets out. `Rest` is what was read behind
the request that is answered: the other process reads it first.

The front hears of the point before the answer is written; whether it was reached is for the kernel's counters to say. If the
front does not hear of it, the answer is sent nevertheless. The result is that of sending.
""").
-spec answer(session(), iodata(), binary(), binary()) -> ok | {error, term()}.
answer(Socket, Data, Rest, State) ->
    case ets:lookup(?TABLE, Socket) of
        [#session{kind = gen_tcp} = Session] ->
            ?STEP(answers),
            _ = counted(Session#session{told = false}, iolist_size(Data), Rest, State),
            ?STEP(told),
            Sent = gen_tcp:send(Socket, Data),
            ?STEP(sent),
            Sent;
        [#session{kind = socket, timeout = Timeout, peeked = Peeked, consumed = C, written = W} = Session] ->
            Consumed = C + Peeked,
            Written = W + iolist_size(Data),
            ?STEP(answers),
            _ = tell(Session, Consumed, Written, Rest, State),
            _ = ets:update_element(?TABLE, Socket, [{#session.state, State}, {#session.written, Written}]),
            ?STEP(told),
            case socket:send(Socket, Data, Timeout) of
                ok ->
                    ?STEP(sent),
                    Taken = take(Socket, Peeked, Consumed, Rest),
                    ?STEP(took),
                    Taken;
                Error -> failed(Error)
            end;
        [] -> {error, closed}
    end.

?DOC("""
Says that `Rest` was read and is not dealt with: another process would read it first, with the state that was told last. Call
it as soon as you have read what is not a whole request.
""").
-spec received(session(), binary()) -> ok | {error, term()}.
received(Socket, Rest) ->
    case ets:lookup(?TABLE, Socket) of
        [#session{state = State} = Session] -> stands(Session, Rest, State);
        [] -> {error, closed}
    end.

?DOC("`point/3` where nothing was read that is not dealt with.").
-spec point(session(), binary()) -> ok | {error, term()}.
point(Socket, State) -> point(Socket, <<>>, State).

?DOC("""
Says that another process can go on here, with `State`, and `Rest` that was read and is not dealt with.

The errors mean that the session is not at a point: `timeout`, because the front does not read; `no_front`, because there is
none, so that the session is this system's own; `unread`, because bytes that came with the session were not read; `emsgsize`,
because state and rest together have more than 1 MiB, or 65,522 bytes with an older front. Data of the session that is still in the caller's mailbox belongs to
the rest: another process would read it behind `Rest`.
""").
-spec point(session(), binary(), binary()) -> ok | {error, term()}.
point(Socket, Rest, State) ->
    case ets:lookup(?TABLE, Socket) of
        [Session] -> stands(Session, Rest, State);
        [] -> {error, closed}
    end.

stands(#session{kind = gen_tcp} = Session, Rest, State) ->
    ?STEP(read),
    Result = counted(Session#session{told = false}, 0, Rest, State),
    ?STEP(pointed),
    Result;
stands(#session{socket = Socket, peeked = Peeked, consumed = C, written = W} = Session, Rest, State) ->
    case tell(Session, C + Peeked, W, Rest, State) of
        ok ->
            ?STEP(pointed),
            _ = ets:update_element(?TABLE, Socket, {#session.state, State}),
            take(Socket, Peeked, C + Peeked, Rest);
        Error -> Error
    end.

%% The driver has counted. What it has sent to this process as messages is read, and dealt with by nobody: such a message is in
%% the mailbox before the counts are.
counted(#session{socket = Socket, back = Back, again = Again, files = Files, seen = Seen} = Session, More, Rest, State) ->
    case inet:getstat(Socket, [recv_oct, send_oct]) of
        {ok, [{recv_oct, Received}, _]} when Received < Again -> {error, unread};
        {ok, [{recv_oct, Received}, {send_oct, Sent}]} ->
            case ahead(Socket, Received =:= Seen) of
                error -> {error, unread};
                Ahead ->
                    Consumed = Received - Back,
                    stands_at(Session#session{seen = case Ahead of <<>> -> Received; _ -> none end}, Consumed - byte_size(Ahead),
                        Sent + Files + More, {Rest, Ahead}, State)
            end;
        {error, _} = Error -> Error
    end.

%% The point that a process tells with the end of an answer it need not tell again when it waits for what comes next.
stands_at(#session{consumed = Consumed, written = Written, buffer = Rest, state = State, void = false, told = true}, Consumed, Written, {Rest, <<>>},
    State) -> ok;
stands_at(#session{socket = Socket, seen = Seen} = Session, Consumed, Written, {Rest, Ahead}, State) ->
    case tell(Session, Consumed + byte_size(Ahead), Written, <<Rest/binary, Ahead/binary>>, State) of
        ok ->
            _ = ets:update_element(?TABLE, Socket, [{#session.consumed, Consumed}, {#session.written, Written}, {#session.buffer, Rest},
                {#session.state, State}, {#session.seen, Seen}, {#session.told, true}]),
            ok;
        Error ->
            _ = ets:update_element(?TABLE, Socket, [{#session.state, State}, {#session.told, false}]),
            Error
    end.

%% The owner ends a session that others may go on with. What the driver has sent to it as messages since the last point would be
%% lost: the next process has to read it first.
gives_back(#session{kind = gen_tcp, socket = Socket, back = Back, files = Files, consumed = Consumed, written = Written, buffer = Rest} = Session)
    when Consumed =/= ?NEVER ->
    _ = inet:setopts(Socket, [{active, false}]),
    case delivered(Socket, <<>>) of
        <<>> -> ok;
        Data ->
            Now = Consumed + byte_size(Data),
            Counted = Now + Back,
            Sent = Written - Files,
            case inet:getstat(Socket, [recv_oct, send_oct]) of
                {ok, [{recv_oct, Counted}, {send_oct, Sent}]} -> tell(Session, Now, Written, <<Rest/binary, Data/binary>>, Session#session.state);
                _ -> ok % it was at no point before that
            end
    end;
gives_back(_) -> ok.

delivered(Socket, Data) ->
    receive {tcp, Socket, More} when is_binary(More) -> delivered(Socket, <<Data/binary, More/binary>>)
    after 0 -> Data
    end.

%% The data in this process' mailbox. There is none if no byte has come since there was none.
ahead(_, true) -> <<>>;
ahead(Socket, false) ->
    receive {?MODULE, nothing} -> ok after 0 -> ok end, % process_info/2 of OTP 25 does not see what no receive has looked for
    case process_info(self(), message_queue_len) of
        {_, 0} -> <<>>;
        _ ->
            {messages, Messages} = process_info(self(), messages),
            Data = [M || M <- Messages, is_tuple(M), tuple_size(M) =:= 3, element(2, M) =:= Socket], % tcp, or http of {packet, http}
            case lists:all(fun({Tag, _, D}) -> Tag =:= tcp andalso is_binary(D) end, Data) of
                true -> << <<D/binary>> || {_, _, D} <- Data >>;
                false -> error
            end
    end.

?DOC(false).
%% How many bytes of a session of kind gen_tcp its process, the caller, has dealt with, or has in its own memory.
-spec taken(session()) -> non_neg_integer() | error.
taken(Socket) ->
    case {ets:lookup(?TABLE, Socket), inet:getstat(Socket, [recv_oct])} of
        {[#session{back = Back}], {ok, [{recv_oct, Received}]}} ->
            case ahead(Socket, false) of
                error -> error;
                Ahead -> Received - Back - byte_size(Ahead)
            end;
        _ -> error
    end.

?DOC("""
Says that nobody else can go on, until the next point: before something is written that an answer does not end, such as the
beginning of a stream.

`{error, timeout}` means that the front does not read. It is told when it does, unless you have told a point by then.
""").
-spec no_point(session()) -> ok | {error, term()}.
no_point(Socket) ->
    case ets:lookup(?TABLE, Socket) of
        [#session{link = Link, id = Id, kind = Kind} = Session] ->
            _ = Kind =:= gen_tcp andalso ets:update_element(?TABLE, Socket, {#session.consumed, ?NEVER}),
            case tell(Session, ?NEVER, ?NEVER, <<>>, <<>>) of
                {error, timeout} = Error ->
                    _ = ets:update_element(?TABLE, Socket, {#session.void, true}),
                    ok = cnode_sessions_guard:void(Link, Socket, <<$m, Id:64, ?NEVER:64, ?NEVER:64, 0:32>>),
                    Error;
                Result -> Result
            end;
        [] -> {error, closed}
    end.

?DOC(false).
%% The caller gives the session to another process by itself: nobody else goes on with it. What was only looked at is taken, so
%% that the receiver does not read it again; `peek/2` still shows it, should the receiver not get the session.
gives(Socket) ->
    case no_point(Socket) of
        {error, timeout} = Error -> Error;
        _ when is_port(Socket) -> ok;
        _ ->
            case ets:lookup(?TABLE, Socket) of
                [#session{peeked = 0}] -> ok;
                [#session{peeked = Peeked, buffer = Buffer, consumed = C}] ->
                    case socket:recv(Socket, Peeked, [peek]) of
                        {ok, Seen} -> take(Socket, Peeked, C + Peeked, <<Buffer/binary, Seen/binary>>);
                        Error -> failed(Error)
                    end;
                [] -> {error, closed}
            end
    end.

tell(Session, Consumed, Written, Rest, State) -> tell(Session, Consumed, Written, Rest, <<>>, State).

tell(#session{link = Link, id = Id, void = Void, socket = Socket}, Consumed, Written, Rest, Head, State) ->
    Size = byte_size(Rest) + byte_size(State),
    Told = case most(Link) of
        Most when Size + byte_size(Head) > Most -> too_long(Rest, Size - byte_size(Rest) + byte_size(Head), Most);
        _ when Size =< ?MOST, Head =:= <<>> ->
            cnode_sessions_wire:tell(Link, [<<$m, Id:64, Consumed:64, Written:64, (byte_size(Rest)):32>>, Rest, State]);
        _ ->
            {Parts, Last} = case Size =< ?MOST of
                true -> {0, [Rest, State]};
                false -> parts(Link, Id, 0, <<Rest/binary, State/binary>>)
            end,
            cnode_sessions_wire:tell(Link, [<<$p, Id:64, Consumed:64, Written:64, (byte_size(Rest)):32, (byte_size(Head)):32, Parts:32>>, Last])
    end,
    _ = Told =:= ok andalso Void andalso ets:update_element(?TABLE, Socket, {#session.void, false}),
    Told.

most(none) -> ?MOST;
most(#link{flags = Flags}) -> max(atomics:get(Flags, ?POINTS_TO), ?MOST).

%% A part that finds no room leaves a point to which something is missing: the front does not use it.
parts(Link, Id, Offset, <<Part:?PART/binary, Data/binary>>) when Data =/= <<>> ->
    _ = cnode_sessions_wire:tell(Link, [<<$a, Id:64, Offset:32>>, Part]),
    parts(Link, Id, Offset + ?PART, Data);
parts(_, _, Offset, Data) -> {Offset, Data}.

too_long(Rest, State, Most) ->
    _ = ets:insert_new(?TABLE, {said, emsgsize}) andalso
        ?LOG_WARNING("a session is at no point: its state has ~b bytes and the rest ~b, together more than ~b (not said again)",
            [State, byte_size(Rest), Most]),
    {error, emsgsize}.

?DOC("""
A point, if the server has the option `points => idle`, and `stay/1` was not called.

Transports call it whenever a handler waits for data. That is right for protocols in which nothing is unfinished then and the
connection has no state, as in HTTP/1.1. It is wrong for any other.
""").
-spec idle(session()) -> ok | {error, term()}.
idle(Socket) -> idle(Socket, 0).

?DOC("The same before the caller writes the last `Bytes` bytes of an answer. So a client that has all of it is at a point.").
-spec idle(session(), non_neg_integer()) -> ok | {error, term()}.
idle(Socket, Bytes) ->
    case ets:lookup(?TABLE, Socket) of
        [#session{points = idle, stays = false, state = State}] -> stands_behind(Socket, Bytes, State);
        [#session{}] -> {error, no_point};
        [] -> {error, closed}
    end.

?DOC(false).
-spec stands_behind(gen_tcp:socket(), non_neg_integer(), binary()) -> ok | {error, term()}.
stands_behind(Socket, Bytes, State) ->
    case ets:lookup(?TABLE, Socket) of
        [#session{kind = gen_tcp} = Session] ->
            ?STEP(read),
            Result = counted(Session, Bytes, <<>>, State),
            ?STEP(pointed),
            Result;
        [#session{kind = socket, told = true, consumed = C, seen = C, written = W, files = W}] when Bytes =:= 0 -> ok; % with the answer's end
        [#session{kind = socket, consumed = C, written = W} = Session] ->
            Result = tell(Session, C, W + Bytes, <<>>, State),
            _ = ets:update_element(?TABLE, Socket, [{#session.told, Result =:= ok}, {#session.seen, C}, {#session.files, W + Bytes}]),
            Result;
        _ -> {error, closed}
    end.

?DOC(false).
%% What the process of a session of kind socket has taken and written by itself, where it reads and writes the socket itself.
-spec counts(socket:socket()) -> {ok, non_neg_integer(), non_neg_integer()} | {error, closed}.
counts(Socket) ->
    case ets:lookup(?TABLE, Socket) of
        [#session{consumed = C, written = W}] -> {ok, C, W};
        [] -> {error, closed}
    end.

?DOC(false).
-spec counts(socket:socket(), non_neg_integer(), non_neg_integer()) -> boolean().
counts(Socket, C, W) -> ets:update_element(?TABLE, Socket, [{#session.consumed, C}, {#session.written, W}]).

?DOC(false).
%% A point of a process that counts itself. Head is what its states begin with: the front is told it once.
-spec tells(socket:socket(), non_neg_integer(), non_neg_integer(), binary(), binary(), binary()) -> ok | {error, term()}.
tells(Socket, C, W, Rest, Head, State) ->
    case ets:lookup(?TABLE, Socket) of
        [#session{link = #link{flags = Flags} = Link, id = Id, head = Known} = Session] ->
            case atomics:get(Flags, ?POINTS_TO) of
                0 -> tell(Session, C, W, Rest, <<Head/binary, State/binary>>);
                _ when Known =:= Head -> tell(Session, C, W, Rest, Head, State);
                _ ->
                    case cnode_sessions_wire:tell(Link, [<<$b, Id:64>>, Head]) of
                        ok ->
                            _ = ets:update_element(?TABLE, Socket, {#session.head, Head}),
                            tell(Session, C, W, Rest, Head, State);
                        Error -> Error
                    end
            end;
        [Session] -> tell(Session, C, W, Rest, <<Head/binary, State/binary>>);
        [] -> {error, closed}
    end.

?DOC(false).
%% Whether a session that is closed now goes on in another process.
-spec leaves(session()) -> boolean().
leaves(Socket) -> lists:any(fun retiring/1, ets:lookup(?TABLE, Socket)).

?DOC(false).
%% Milliseconds until the caller's turn, Rate of which come in a second: what all sessions of a system that is gone would do at once.
-spec turn(pos_integer()) -> non_neg_integer().
turn(Rate) ->
    _ = ets:member(?TABLE, turns) orelse ets:insert_new(?TABLE, {atomics:new(1, []), turns}),
    [{Turns, _}] = ets:lookup(?TABLE, turns),
    Now = erlang:monotonic_time(microsecond),
    max(turn(Turns, atomics:get(Turns, 1), Now, 1000000 div Rate) - Now, 0) div 1000.

turn(Turns, Last, Now, Step) ->
    Next = case Last of 0 -> Now; _ -> max(Now, Last + Step) end,
    case atomics:compare_exchange(Turns, 1, Last, Next) of
        ok -> Next;
        Other -> turn(Turns, Other, Now, Step)
    end.

?DOC("From now on `idle/1` is no point: the connection has changed to a protocol that has state.").
-spec stay(session()) -> ok.
stay(Socket) ->
    case ets:lookup(?TABLE, Socket) of
        [#session{points = idle}] ->
            _ = ets:update_element(?TABLE, Socket, {#session.stays, true}),
            _ = no_point(Socket),
            ok;
        _ -> ok
    end.

?DOC("""
What has come and is not dealt with, and stays where it is. It waits, for `Timeout` ms at most, if there is nothing. For
sessions with `adopt => socket`.
""").
-spec peek(socket:socket(), timeout()) -> {ok, binary()} | {error, term()}.
peek(Socket, Timeout) ->
    case ets:lookup(?TABLE, Socket) of
        [#session{buffer = Buffer, peeked = 0}] when Buffer =/= <<>> -> {ok, Buffer};
        [#session{buffer = Buffer}] -> look(Socket, Buffer, Timeout); % what was looked at is still there
        [] -> {error, closed}
    end.

?DOC("""
The same where that was not enough: waits until more has come, and returns all of it. What `peek/2` has shown is taken, and
another process would read it first.
""").
-spec more(socket:socket(), timeout()) -> {ok, binary()} | {error, term()}.
more(Socket, Timeout) ->
    case ets:lookup(?TABLE, Socket) of
        [#session{peeked = 0, buffer = Buffer}] -> look(Socket, Buffer, Timeout);
        [#session{peeked = Peeked, buffer = Buffer, consumed = C, written = W, state = State} = Session] ->
            case socket:recv(Socket, Peeked, [peek], Timeout) of
                {ok, Seen} ->
                    Rest = <<Buffer/binary, Seen/binary>>,
                    _ = tell(Session, C + Peeked, W, Rest, State),
                    ?STEP(pointed),
                    case take(Socket, Peeked, C + Peeked, Rest) of
                        ok -> look(Socket, Rest, Timeout);
                        Error -> Error
                    end;
                Error -> failed(Error)
            end;
        [] -> {error, closed}
    end.

look(Socket, Buffer, Timeout) ->
    case socket:recv(Socket, 0, [peek], Timeout) of
        {ok, Seen} ->
            _ = ets:update_element(?TABLE, Socket, {#session.peeked, byte_size(Seen)}),
            {ok, <<Buffer/binary, Seen/binary>>};
        Error -> failed(Error)
    end.

failed({error, {Reason, _}}) -> {error, Reason};
failed({error, Reason}) -> {error, Reason}.

%% Takes what was only looked at. The front does it in place of a process that is killed before it gets here.
take(Socket, 0, _, Rest) ->
    _ = ets:update_element(?TABLE, Socket, {#session.buffer, Rest}),
    ok;
take(Socket, Peeked, Consumed, Rest) ->
    case socket:recv(Socket, Peeked) of
        {ok, _} ->
            _ = ets:update_element(?TABLE, Socket, [{#session.buffer, Rest}, {#session.peeked, 0}, {#session.consumed, Consumed}]),
            ok;
        Error -> failed(Error)
    end.

?DOC("""
Sends something behind which nobody else can go on, until you tell the next point. The last answer before `close/1` is one:
after an `answer/3` the client would go on with another process while this one retires.
""").
-spec send(session(), iodata()) -> ok | {error, term()}.
send(Socket, Data) when is_port(Socket) -> gen_tcp:send(Socket, Data);
send(Socket, Data) ->
    case ets:lookup(?TABLE, Socket) of
        [#session{timeout = Timeout}] ->
            _ = ets:update_counter(?TABLE, Socket, {#session.written, iolist_size(Data)}),
            case socket:send(Socket, Data, Timeout) of
                ok -> ok;
                Error -> failed(Error)
            end;
        [] -> {error, closed}
    end.

?DOC("""
In place of `file:sendfile/5`, whose bytes nobody else counts: sends `Bytes` bytes of a raw file from `Offset` on, 0 being all.
Behind it nobody else can go on, until you tell the next point. After an error there is no point any more.
""").
-spec sendfile(session(), file:fd(), non_neg_integer(), non_neg_integer(), [{chunk_size, non_neg_integer()}]) ->
    {ok, non_neg_integer()} | {error, term()}.
sendfile(Socket, File, Offset, Bytes, Opts) ->
    Result = try file:sendfile(File, Socket, Offset, Bytes, Opts)
    catch error:{badmatch, {error, enotconn}} -> {error, closed} % of prim_file
    end,
    Field = case is_port(Socket) of true -> #session.files; false -> #session.written end,
    _ = ets:member(?TABLE, Socket) andalso case Result of
        {ok, Sent} -> ets:update_counter(?TABLE, Socket, {Field, Sent});
        _ -> ets:update_element(?TABLE, Socket, {Field, ?UNKNOWN})
    end,
    ?STEP(answered),
    Result.

?DOC("""
In place of `gen_tcp:unrecv/2`: puts back what was read, so that it is read again. The driver counts such bytes twice, so that
after its own `unrecv` a session stands at no point. For sessions with `adopt => gen_tcp`.
""").
-spec unrecv(gen_tcp:socket(), binary()) -> ok | {error, term()}.
unrecv(Socket, Data) ->
    case {ets:lookup(?TABLE, Socket), inet:getstat(Socket, [recv_oct])} of
        {[#session{back = Back, again = Again}], {ok, [{recv_oct, Received}]}} ->
            Size = byte_size(Data),
            _ = ets:update_element(?TABLE, Socket, [{#session.back, Back + Size}, {#session.again, max(Received, Again) + Size}]),
            gen_tcp:unrecv(Socket, Data);
        _ -> gen_tcp:unrecv(Socket, Data)
    end.

?DOC("""
In place of `gen_tcp:shutdown/2`. While the server retires it does nothing and returns `{error, enotconn}`: the goodbye of a
web server to its idle clients must not reach those that go on elsewhere.
""").
-spec shutdown(session(), read | write | read_write) -> ok | {error, term()}.
shutdown(Socket, How) ->
    case ets:lookup(?TABLE, Socket) of
        [#session{} = Session] ->
            case retiring(Session) of
                true ->
                    _ = gives_back(Session),
                    {error, enotconn};
                false -> shut(Socket, How)
            end;
        _ -> shut(Socket, How)
    end.

retiring(#session{link = #link{flags = Flags}} = Session) ->
    cnode_sessions_guard:retiring(Session) andalso atomics:get(Flags, ?ENDED) =:= 0;
retiring(_) -> false.

shut(Socket, How) when is_port(Socket) -> gen_tcp:shutdown(Socket, How);
shut(Socket, How) -> socket:shutdown(Socket, How).

?DOC("""
Closes a session; so does `gen_tcp:close/1`, and the end of its owner. The client sees the end when the front has closed its
copy, at once, or, after `retire/1`, another process may go on with the session.
""").
-spec close(session()) -> ok.
close(Socket) ->
    _ = [ets:update_element(?TABLE, Socket, {#session.outgoing, O#{closed => true}}) || #session{outgoing = #{} = O} <- ets:lookup(?TABLE, Socket)],
    shuts(Socket).

shuts(Socket) when is_port(Socket) ->
    _ = [gives_back(Session) || Session <- ets:lookup(?TABLE, Socket), retiring(Session)],
    gen_tcp:close(Socket);
shuts(Socket) ->
    _ = socket:close(Socket),
    ok.

%%% The server

?DOC(false).
init(Options) ->
    process_flag(trap_exit, true),
    Handle = maps:get(handle, Options, none),
    name(Handle, self()),
    Opener = case Options of
        #{opener := Pid} ->
            ets:insert(?TABLE, #opened{server = self(), by = Pid}),
            erlang:monitor(process, Pid);
        _ -> none
    end,
    begins(#state{options = Options, handle = Handle, opener = Opener}).

name(none, _) -> true;
name({_, Ref}, Server) -> ets:insert(?TABLE, #named{name = {name, Ref}, server = Server}).

check(Options) ->
    Known = [front, plain, listen, adopt, socket_opts, name, uids, points, local, handle, opener],
    case {[K || K <- [front, plain, listen], is_map_key(K, Options)], maps:keys(maps:without(Known, Options))} of
        {[_], []} ->
            case {maps:get(adopt, Options, gen_tcp), maps:get(points, Options, none)} of
                {A, P} when (A =:= gen_tcp orelse A =:= socket) andalso (P =:= none orelse P =:= idle) -> lengths(Options);
                {A, P} -> {error, {badarg, #{adopt => A, points => P}}}
            end;
        {_, []} -> {error, {badarg, one_of([front, plain, listen])}};
        {_, Unknown} -> {error, {badarg, Unknown}}
    end.

one_of(Keys) -> {one_of, Keys}.

%% The driver writes and takes off lengths that no point would count.
lengths(#{front := _, socket_opts := SocketOpts}) ->
    case [O || {packet, N} = O <- SocketOpts, is_integer(N), N > 0] of
        [] -> ok;
        [Option | _] -> {error, {badarg, Option}}
    end;
lengths(_) -> ok.

begins(#state{options = #{listen := Path}} = State) ->
    case cnode_sessions_wire:listen(Path) of
        {ok, Listener} ->
            self() ! {senders, Listener},
            {ok, State#state{listener = Listener}};
        {error, Reason} -> {stop, {listen, Path, Reason}}
    end;
begins(State) ->
    self() ! connect,
    {ok, State}.

?DOC(false).
handle_call({accept, _}, _From, #state{retiring = true} = State) -> {reply, {error, closed}, State};
handle_call({accept, Timeout}, From, State) ->
    Timer = case Timeout of
        infinity -> none;
        _ -> erlang:start_timer(Timeout, self(), accept)
    end,
    {noreply, serve(State#state{waiting = queue:in({From, Timer}, State#state.waiting)})};
handle_call({ask, _, _, _}, _From, #state{retiring = true} = State) -> {reply, {error, closed}, State};
handle_call({ask, _, _, _}, _From, #state{dials = false} = State) -> {reply, {error, unsupported}, State};
handle_call({ask, Name, Packet, Options}, From, State0) ->
    #state{asks = Asks} = State = again(Name, Packet(0), State0),
    Number = erlang:unique_integer([positive]),
    Timer = case maps:get(timeout, Options, infinity) of
        infinity -> none;
        Timeout -> erlang:start_timer(Timeout, self(), {ask, Number})
    end,
    Ask = #ask{from = From, timer = Timer, tell = maps:get(tell, Options, none), name = Name, packet = Packet(Number)},
    ok = cnode_sessions_guard:tell(State#state.link, Ask#ask.packet),
    {noreply, State#state{asks = Asks#{Number => Ask}}};
handle_call(status, _From, #state{ready = Ready, streams = Streams, link = Link, retiring = Retiring, options = Options} = State) ->
    {Sessions, _} = cnode_sessions_guard:sessions(self()),
    Connected = lists:any(fun(#stream{link = L}) -> L =:= Link end, maps:values(Streams)),
    {reply, #{connected => Connected, sessions => Sessions, ready => queue:len(Ready), retiring => Retiring,
        local => maps:get(local, Options, {{0, 0, 0, 0}, 0})}, State};
handle_call(retire, _From, State) -> {reply, ok, retires(State)};
handle_call(_, _From, State) -> {reply, {error, badarg}, State}.

?DOC(false).
handle_cast(_, State) -> {noreply, State}.

?DOC(false).
handle_info(connect, State) -> {noreply, connects(State)};
handle_info({read, Stream}, State) -> done(reads(Stream, State));
handle_info({'$socket', Socket, select, _}, #state{listener = Socket} = State) -> {noreply, senders(State)};
handle_info({'$socket', Socket, select, _}, #state{streams = Streams} = State) when is_map_key(Socket, Streams) ->
    done(reads(Socket, State));
handle_info({'$socket', Socket, select, _}, State) -> done(hears(Socket, State));
handle_info({'$socket', Control, abort, _}, #state{link = #link{control = Control}} = State) -> {noreply, stops(closed, State)};
handle_info({'$socket', Control, abort, _}, #state{hello = {#link{control = Control}, _}} = State) -> {noreply, refused(closed, State)};
handle_info({senders, _}, State) -> {noreply, senders(State)};
handle_info({timeout, Timer, accept}, #state{waiting = Waiting} = State) ->
    {Late, Others} = lists:partition(fun({_, T}) -> T =:= Timer end, queue:to_list(Waiting)),
    _ = [gen_server:reply(From, {error, timeout}) || {From, _} <- Late],
    {noreply, State#state{waiting = queue:from_list(Others)}};
handle_info({timeout, _, {ask, Number}}, State) -> {noreply, gives_up(Number, {error, timeout}, State)};
handle_info({timeout, Timer, hello}, #state{hello = {_, Timer}} = State) -> {noreply, refused(no_answer, State)};
handle_info({'DOWN', Monitor, process, _, _}, #state{opener = Monitor} = State) -> done(retires(State));
handle_info(done, State) -> done(State);
handle_info({'EXIT', From, Reason}, State) when is_pid(From) ->
    case Reason of
        normal -> {noreply, State};
        _ -> {stop, Reason, State}
    end;
handle_info(_, State) -> {noreply, State}.

%% A transport's server ends with its last session.
done(#state{retiring = true, opener = Opener} = State) when Opener =/= none ->
    case cnode_sessions_guard:sessions(self()) of
        {0, _} -> {stop, normal, State};
        _ ->
            _ = erlang:send_after(200, self(), done),
            {noreply, State}
    end;
done(State) -> {noreply, State}.

?DOC(false).
terminate(Reason, #state{handle = Handle, options = Options, listener = Listener, link = Link} = State) ->
    _ = case Reason of
        normal -> retires(State);
        shutdown -> retires(State);
        {shutdown, _} -> retires(State);
        _ -> cnode_sessions_guard:tell(Link, <<$r>>) % the sessions that are served are served on, and closed when they are closed
    end,
    _ = case Listener of
        none -> ok;
        _ ->
            _ = socket:close(Listener),
            file:delete(maps:get(listen, Options))
    end,
    case {Handle, Reason} of
        {{_, Ref}, normal} -> ets:delete(?TABLE, {name, Ref});
        {{_, Ref}, shutdown} -> ets:delete(?TABLE, {name, Ref});
        _ -> ok
    end.

retires(#state{retiring = true} = State) -> State;
retires(#state{asks = Asks} = State) when map_size(Asks) > 0 ->
    retires(lists:foldl(fun(Number, S) -> answers(Number, {error, closed}, S) end, State, maps:keys(Asks)));
retires(#state{link = Link, hello = Hello, waiting = Waiting, ready = Ready} = State) ->
    ?STEP(retires),
    _ = [begin
        ok = atomics:put(L#link.flags, ?RETIRING, 1),
        cnode_sessions_guard:tell(L, <<$r>>)
    end || L <- [Link | [L || {L, _} <- [Hello]]], L =/= none],
    _ = [gen_server:reply(From, {error, closed}) || {From, _} <- queue:to_list(Waiting)],
    _ = [close(Socket) || Socket <- queue:to_list(Ready)], % nobody has read from them
    ?STEP(retired),
    State#state{retiring = true, waiting = queue:new(), ready = queue:new()}.

%%% Connections

connects(#state{retiring = true} = State) -> State;
connects(#state{options = #{plain := Path}} = State) ->
    case cnode_sessions_wire:connect(stream, Path) of
        {ok, Stream} ->
            case allowed(Stream, State) of
                ok -> follows(Stream, none, State);
                {error, Reason} ->
                    _ = socket:close(Stream),
                    later(Reason, State)
            end;
        {error, Reason} -> later(Reason, State)
    end;
connects(#state{options = #{front := Path} = Options} = State) ->
    case cnode_sessions_wire:connect(seqpacket, [Path, ".control"]) of
        {ok, Control} ->
            _ = socket:setopt(Control, {socket, sndbuf}, ?BUFFER),
            Name = unicode:characters_to_binary(maps:get(name, Options, atom_to_list(node()))),
            Mode = case Options of #{adopt := socket} -> ?LOOKS; _ -> ?TAKES end,
            Sent = case allowed(Control, State) of
                ok -> socket:send(Control, <<$h, ?VERSION, Mode, Name/binary>>, [], ?HELLO);
                Refused -> Refused
            end,
            case Sent of
                ok ->
                    Link = #link{control = Control, flags = atomics:new(4, [])},
                    ok = cnode_sessions_guard:link(Link, self()),
                    hears(Control, State#state{hello = {Link, erlang:start_timer(?HELLO, self(), hello)}});
                {error, Reason} ->
                    _ = socket:close(Control),
                    later(Reason, State)
            end;
        {error, Reason} -> later(Reason, State)
    end.

%% Whoever can write to the socket could give this system any connection: only those who may.
allowed(Socket, #state{options = Options}) ->
    case cnode_sessions_wire:peer_uid(Socket) of
        {ok, Uid} ->
            case lists:member(Uid, [0, cnode_sessions_wire:own_uid() | maps:get(uids, Options, [])]) of
                true -> ok;
                false -> {error, {not_allowed, Uid}}
            end;
        Error -> Error
    end.

later(_, #state{retiring = true} = State) -> State;
later(Reason, #state{pause = Pause, said = Said, options = Options} = State) ->
    _ = Said orelse ?LOG_WARNING("no connection to ~ts: ~tp; tried again", [where(Options), Reason]),
    _ = erlang:send_after(Pause + rand:uniform(Pause), self(), connect),
    State#state{pause = min(2 * Pause, ?LONGEST_PAUSE), said = true}.

where(#{front := Path}) -> ["the front at ", path(Path)];
where(#{plain := Path}) -> ["the sender at ", path(Path)];
where(#{listen := Path}) -> ["a sender at ", path(Path)].

path(Path) -> unicode:characters_to_list(Path).

%% Packets of the front: the answer to hello, with the stream; later only the end.
hears(Control, #state{hello = {#link{control = Control} = Link, Timer}} = State) ->
    case cnode_sessions_wire:receive_fds(Control) of
        {select, _} -> State;
        {ok, <<$w, ?VERSION, _Window:16, More/binary>>, [Fd], false} ->
            ok = takes_parts(Link, More),
            Dials = case More of <<_:32, 1, _/binary>> -> true; _ -> false end,
            Opened = socket:open(Fd, #{dup => true}),
            ok = cnode_sessions_wire:close_descriptor(Fd),
            case Opened of
                {ok, Stream} ->
                    _ = erlang:cancel_timer(Timer),
                    Asking = asks_again(State#state{hello = none, link = Link, dials = Dials}),
                    follows(Stream, Link, hears(Control, Asking));
                {error, Reason} -> refused(Reason, State)
            end;
        {ok, <<$e, Text/binary>>, Fds, _} -> refused({refused, Text}, drop(Fds, State));
        {ok, <<>>, Fds, _} -> refused(closed, drop(Fds, State));
        {ok, _, Fds, _} -> refused(not_a_front, drop(Fds, State));
        {error, Reason} -> refused(Reason, State)
    end;
hears(Control, #state{link = #link{control = Control}} = State) ->
    case cnode_sessions_wire:receive_fds(Control) of
        {select, _} -> State;
        {ok, <<$g, Number:64, Reason, Text/binary>>, [], _} ->
            Error = case Reason of 1 -> not_allowed; 2 -> taken; 4 -> certificate; 5 -> tls; _ -> unreachable end,
            hears(Control, answers(Number, {error, {Error, Text}}, State));
        {ok, <<$v, Number:64, Tls/binary>>, [], _} -> hears(Control, answers(Number, {ok, Tls}, State));
        {ok, <<$y, Number:64, Ms:32, Text/binary>>, [], _} ->
            _ = case State#state.asks of
                #{Number := #ask{tell = Pid, name = Name}} when is_pid(Pid) -> Pid ! {?MODULE, Name, {redial, Ms, Text}};
                _ -> ok
            end,
            hears(Control, State);
        {ok, <<$c, _/binary>>, Fds, _} -> stops(ended, drop(Fds, State));
        {ok, <<>>, Fds, _} -> stops(closed, drop(Fds, State));
        {ok, _, Fds, _} -> hears(Control, drop(Fds, State));
        {error, Reason} -> stops(Reason, State)
    end;
hears(_, State) -> State.

%% What was asked for and has not come is asked for again at each front.
asks_again(#state{dials = false, asks = Asks} = State) ->
    lists:foldl(fun(Number, S) -> answers(Number, {error, unsupported}, S) end, State, maps:keys(Asks));
asks_again(#state{link = Link, asks = Asks} = State) ->
    maps:fold(fun
        (Number, #ask{packet = <<$s, _/binary>>}, S) -> answers(Number, {error, closed}, S); % of a front that is gone
        (_, #ask{packet = Packet}, S) -> ok = cnode_sessions_guard:tell(Link, Packet), S
    end, State, Asks).

%% Who asks for a name again does it in place of who has asked before: that process may be gone.
again(Name, <<$o, _:64, _:7, 0:1, _/binary>>, #state{asks = Asks} = State) ->
    Before = [Number || {Number, #ask{name = N, packet = <<$o, _:64, _:7, Wait:1, _/binary>>, from = {Pid, _}}} <- maps:to_list(Asks),
        N =:= Name, Wait =:= 0 orelse not is_process_alive(Pid)],
    lists:foldl(fun(Number, S) -> gives_up(Number, {error, {taken, <<"it is asked for again">>}}, S) end, State, Before);
again(_, _, State) -> State.

gives_up(Number, Result, #state{link = Link} = State) ->
    ok = cnode_sessions_guard:tell(Link, <<$q, Number:64>>),
    answers(Number, Result, State).

answers(Number, Result, #state{asks = Asks} = State) ->
    case maps:take(Number, Asks) of
        {#ask{from = From, timer = Timer}, Others} ->
            _ = is_reference(Timer) andalso erlang:cancel_timer(Timer),
            gen_server:reply(From, Result),
            State#state{asks = Others};
        error -> State
    end.

%% A front that takes them says so, and is told that this system reads as much.
takes_parts(#link{flags = Flags} = Link, <<Longest:32, _/binary>>) ->
    ok = atomics:put(Flags, ?POINTS_TO, Longest),
    cnode_sessions_guard:tell(Link, <<$l>>);
takes_parts(_, _) -> ok.

refused(Reason, #state{hello = {Link, Timer}} = State) ->
    _ = erlang:cancel_timer(Timer),
    ok = cnode_sessions_guard:ended(Link),
    later(Reason, State#state{hello = none}).

drop(Fds, State) ->
    _ = [cnode_sessions_wire:close_descriptor(Fd) || Fd <- Fds],
    State.

follows(Stream, Link, #state{streams = Streams, said = Said, options = Options} = State) ->
    _ = Said andalso ?LOG_NOTICE("connected to ~ts", [where(Options)]),
    self() ! {read, Stream},
    State#state{streams = Streams#{Stream => #stream{link = Link}}, pause = ?FIRST_PAUSE, said = false}.

%% The front stops, or is gone: its sessions are this system's own, and go on. So are those that are on their way: its stream is
%% read to the end. A new front is looked for at once.
stops(Reason, #state{link = #link{flags = Flags}} = State) ->
    ok = atomics:put(Flags, ?ENDED, 1),
    later(Reason, State#state{link = none}).

ends(Stream, #state{streams = Streams} = State) ->
    {#stream{fds = Fds}, Others} = maps:take(Stream, Streams),
    _ = [cnode_sessions_guard:no_session(Fd) || Fd <- queue:to_list(Fds), is_integer(Fd)],
    _ = socket:close(Stream),
    State#state{streams = Others}.

%% Senders that connect here.
senders(#state{listener = Listener, retiring = false} = State) ->
    case socket:accept(Listener, nowait) of
        {ok, Stream} ->
            case allowed(Stream, State) of
                ok -> senders(follows(Stream, none, State));
                {error, Reason} ->
                    ?LOG_WARNING("refused ~ts: ~tp", [where(State#state.options), Reason]),
                    _ = socket:close(Stream),
                    senders(State)
            end;
        {select, _} -> State;
        {error, Reason} ->
            ?LOG_WARNING("no connection accepted: ~tp", [Reason]),
            _ = erlang:send_after(?FIRST_PAUSE, self(), {senders, Listener}),
            State
    end;
senders(State) -> State.

%%% Sessions

reads(Stream, State) -> reads(Stream, ?AT_ONCE, State).

reads(Stream, 0, State) ->
    self() ! {read, Stream},
    State;
reads(Stream, N, #state{streams = Streams} = State) when is_map_key(Stream, Streams) ->
    true = erlang:yield(), % with a whole turn before it, a kill does not come between a descriptor and its note in the table
    case cnode_sessions_wire:receive_fds(Stream) of
        {ok, <<>>, Fds, _} -> broken(Stream, closed, drop(Fds, State));
        {ok, Data, Fds, Lost} ->
            ?STEP(came),
            _ = [ok = cnode_sessions_guard:in_hand(Fd) || Fd <- Fds],
            ?STEP(noted),
            #{Stream := #stream{buffer = Buffer, fds = Queue} = S} = Streams,
            Came = Fds ++ [lost || Lost, Fds =:= []],
            Read = S#stream{buffer = <<Buffer/binary, Data/binary>>, fds = lists:foldl(fun queue:in/2, Queue, Came)},
            Kept = State#state{streams = Streams#{Stream := Read}},
            case length(Came) > 1 of
                true -> broken(Stream, descriptors, Kept);
                false ->
                    case sessions(Stream, Read, Kept) of
                        {ok, Next} -> reads(Stream, N - 1, Next);
                        {error, Reason, Next} -> broken(Stream, Reason, Next)
                    end
            end;
        {select, _} -> State;
        {error, Reason} -> broken(Stream, Reason, State)
    end;
reads(_, _, State) -> State.

broken(Stream, Reason, #state{streams = Streams, options = Options} = State) ->
    _ = Reason =:= closed orelse ?LOG_WARNING("bad sessions from ~ts: ~tp", [where(Options), Reason]),
    #{Stream := #stream{link = Link}} = Streams,
    _ = Link =/= none andalso cnode_sessions_guard:ended(Link),
    case {ends(Stream, State), Options} of
        {Left, #{plain := _}} -> later(Reason, Left);
        {#state{link = Link} = Left, #{front := _}} -> later(Reason, Left#state{link = none});
        {Left, _} -> Left % of a front that has said that it stops, or of one of many senders
    end.

sessions(Stream, #stream{buffer = Buffer, fds = Fds, link = Link} = S, #state{streams = Streams} = State) ->
    case cnode_sessions_wire:decode(Buffer) of
        {ok, Header, Data, Rest} ->
            case {queue:out(Fds), said(Link, Data)} of
                {{{value, Fd}, Others}, {ok, Id, Asked, Left, First}} ->
                    Next = S#stream{buffer = Rest, fds = Others},
                    Session = #session{socket = '_', kind = maps:get(adopt, State#state.options, gen_tcp), server = self(), link = Link,
                        id = Id, points = maps:get(points, State#state.options, none), local = maps:get(local, Header),
                        remote = maps:get(remote, Header), outgoing = outgoing(Asked, State), state = Left, first = First, back = byte_size(First), again = byte_size(First),
                        timeout = proplists:get_value(send_timeout, maps:get(socket_opts, State#state.options, []), infinity)},
                    Kept = State#state{streams = Streams#{Stream := Next}},
                    sessions(Stream, Next, adopt(Fd, maps:get(family, Header), Session, Kept));
                {{empty, _}, _} -> {error, no_descriptor, State};
                {_, error} -> {error, envelope, State}
            end;
        more -> {ok, State};
        {error, Reason} -> {error, Reason, State}
    end.

said(none, Data) -> {ok, 0, none, <<>>, Data};
said(_, Data) -> cnode_sessions_wire:envelope(Data).

outgoing(none, _) -> none;
outgoing({Number, How, Tls}, #state{asks = Asks}) ->
    Name = case Asks of #{Number := #ask{name = N}} -> N; _ -> <<>> end, % nobody waits for it any more
    tls(Tls, #{number => Number, name => Name, connection => case How of 1 -> new; 3 -> ended; _ -> kept end}).

adopt(lost, _, Session, State) -> refuse(Session, State);
adopt(Fd, _, Session, #state{retiring = true} = State) ->
    ok = cnode_sessions_guard:no_session(Fd),
    refuse(Session, State);
adopt(Fd, Family, #session{first = First} = Session, #state{options = Options} = State) ->
    case opens(Fd, Family, Session, maps:get(socket_opts, Options, [])) of
        {ok, #session{kind = gen_tcp, socket = Socket} = Adopted} ->
            ?STEP(opened),
            ok = cnode_sessions_guard:watch(Adopted),
            _ = First =/= <<>> andalso gen_tcp:unrecv(Socket, First),
            ?STEP(adopted),
            offers(Adopted, State);
        {ok, Adopted} ->
            ?STEP(opened),
            ok = cnode_sessions_guard:watch(Adopted#session{buffer = First}),
            ?STEP(adopted),
            offers(Adopted, State);
        {error, Reason} ->
            ?LOG_WARNING("a session was refused: ~tp", [Reason]),
            ok = cnode_sessions_guard:no_session(Fd),
            refuse(Session, State)
    end.

%% A connection goes to who has asked for it. If nobody waits for it any more, it waits at the front.
offers(#session{socket = Socket, outgoing = #{number := Number}}, #state{asks = Asks} = State) ->
    case maps:take(Number, Asks) of
        {#ask{from = From, timer = Timer}, Others} ->
            _ = is_reference(Timer) andalso erlang:cancel_timer(Timer),
            _ = give(Socket, From) =:= nobody andalso shuts(Socket),
            State#state{asks = Others};
        error ->
            _ = shuts(Socket),
            State
    end;
offers(#session{socket = Socket}, #state{ready = Ready} = State) -> serve(State#state{ready = queue:in(Socket, Ready)}).

%% Another worker may have room for it.
refuse(#session{link = Link, id = Id}, State) ->
    ok = cnode_sessions_guard:tell(Link, <<$f, Id:64>>),
    State.

%% Neither a port nor a socket closes a descriptor that it was given. A socket that closes its own makes the file a blocking
%% one before, for all who have it: the next process would stand still in a read.
opens(Fd, Family, #session{kind = gen_tcp} = Session, Options) ->
    try gen_tcp:fdopen(Fd, [{inet_backend, inet}, Family, binary, {active, false} | Options]) of
        {ok, Socket} -> {ok, Session#session{socket = Socket, fd = Fd}};
        {error, Reason} -> {error, Reason}
    catch
        _:Reason -> {error, Reason}
    end;
opens(Fd, _, #session{kind = socket} = Session, _) ->
    case socket:open(Fd, #{dup => false}) of
        {ok, Socket} -> {ok, Session#session{socket = Socket, fd = Fd}};
        {error, Reason} -> {error, Reason}
    end.

%% Gives sessions to those who wait for them.
serve(#state{ready = Ready, waiting = Waiting} = State) ->
    case {queue:out(Ready), queue:out(Waiting)} of
        {{{value, Socket}, Sessions}, {{value, {From, Timer}}, Others}} ->
            case give(Socket, From) of
                ok ->
                    _ = is_reference(Timer) andalso erlang:cancel_timer(Timer),
                    serve(State#state{ready = Sessions, waiting = Others});
                gone -> serve(State#state{ready = Sessions});
                nobody -> serve(State#state{waiting = Others})
            end;
        _ -> State
    end.

give(Socket, {Pid, _} = From) ->
    case is_process_alive(Pid) of
        false -> nobody;
        true ->
            case owner(Socket, Pid) of
                ok ->
                    _ = ets:update_element(?TABLE, Socket, {#session.taken, true}),
                    ?STEP(given),
                    _ = [taken(Link, Id) || #session{link = #link{} = Link, id = Id} <- ets:lookup(?TABLE, Socket)],
                    ?STEP(taken),
                    gen_server:reply(From, {ok, Socket}),
                    ok;
                {error, _} -> % closed, or the acceptor has ended just now
                    _ = close(Socket),
                    gone
            end
    end.

owner(Socket, Pid) when is_port(Socket) -> gen_tcp:controlling_process(Socket, Pid);
owner(Socket, Pid) -> socket:setopt(Socket, {otp, controlling_process}, Pid).

taken(Link, Id) ->
    Packet = <<$t, Id:64>>,
    case cnode_sessions_wire:tell(Link, Packet) of
        ok -> ok;
        {error, _} -> cnode_sessions_guard:tell(Link, Packet) % a front that stops waits for it
    end.
