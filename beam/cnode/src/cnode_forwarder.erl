-module(cnode_forwarder).
-include("cnode_doc.hrl").
?MODULEDOC("""
Gives TCP sessions of this system to another process of this machine: another BEAM that listens with
`cnode_sessions:start_link(#{listen => Path})`, a Go program with package `transport/handoff/bind10`, or a program of BIND 10.

```erlang
{ok, Forwarder} = cnode_forwarder:start_link(#{path => "/run/app/worker.sock"}),
{ok, Request} = gen_tcp:recv(Socket, 0),
ok = cnode_forwarder:push(Forwarder, Socket, Request),
ok = gen_tcp:close(Socket).
```

The session goes with its endpoints and with what you have read from it. Nothing of its state goes with it, and nobody gets it
back if the receiver dies: for that, let a front keep the sessions (`m:cnode_sessions`).
""").
-behaviour(gen_server).
-include("cnode_sessions.hrl").

-export([start_link/1, child_spec/1, push/3, untaken/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export_type([options/0]).

-define(MAX_DATA, 65535).
-define(ROOM, 100). % ms that a session waits for room

-type options() :: #{path := file:name_all()}.

-record(state, {path, socket = none, pushed = 0, taken = 0}).

?DOC("Starts a forwarder to the receiver at `path`. It connects when a session is pushed.").
-spec start_link(options()) -> {ok, pid()} | {error, term()}.
start_link(#{path := _} = Options) -> gen_server:start_link(?MODULE, Options, []).

?DOC("A child for a supervisor.").
-spec child_spec(options()) -> supervisor:child_spec().
child_spec(Options) -> #{id => ?MODULE, start => {?MODULE, start_link, [Options]}}.

?DOC("""
Sends a session: a connected socket, passive, and 1 to 65,535 bytes that were read from it. The socket is one of `gen_tcp`,
or one that `cnode_sessions:accept/2` has returned. Others of module `socket` are refused with `einval`: when they are closed
they would make the receiver's copy a blocking one. A session that has come from a front has no point any more.

The socket stays the caller's, who closes it next; that does not end the connection. `{error, einval}` for data of another
size. After any other error the receiver has not got the session, and it is still the caller's to serve: `eagain` if the
receiver has no room, `econnrefused` or `enoent` if there is none.
""").
-spec push(gen_server:server_ref(), cnode_sessions:session(), binary()) -> ok | {error, term()}.
push(_, _, Data) when byte_size(Data) < 1; byte_size(Data) > ?MAX_DATA -> {error, einval};
push(Forwarder, Socket, Data) ->
    case described(Socket) of
        {ok, Fd, Local, Remote} ->
            ?STEP(gives),
            case given(Socket) of
                ok ->
                    ?STEP(given_away),
                    Bytes = cnode_sessions_wire:encode(family(Local), Local, Remote, Data),
                    Pushed = gen_server:call(Forwarder, {push, Fd, Bytes}, infinity), % the caller keeps the socket open meanwhile
                    ?STEP(pushed),
                    Pushed;
                Error -> Error
            end;
        {error, _} = Error -> Error
    end.

%% A session that has come from a front must not go on anywhere else, too.
given(Socket) ->
    case cnode_sessions:info(Socket) of
        {ok, _} -> cnode_sessions:gives(Socket);
        {error, _} -> ok
    end.

?DOC("""
How many sessions over the present connection the receiver has not taken, if it says so: a Go receiver does with
`ReceiverOptions.Acknowledge`. Any other seems to take none.
""").
-spec untaken(gen_server:server_ref()) -> non_neg_integer().
untaken(Forwarder) -> gen_server:call(Forwarder, untaken, infinity).

family({{_, _, _, _}, _}) -> inet;
family({local, _}) -> local;
family(_) -> inet6.

described(Socket) when is_port(Socket) -> all(inet:getfd(Socket), inet:sockname(Socket), inet:peername(Socket));
described(Socket) ->
    case cnode_sessions:info(Socket) of
        {ok, _} -> ours(Socket);
        {error, _} -> {error, einval}
    end.

ours(Socket) -> all(socket:getopt(Socket, {otp, fd}), endpoint(socket:sockname(Socket)), endpoint(socket:peername(Socket))).

endpoint({ok, #{addr := Address, port := Port}}) -> {ok, {Address, Port}};
endpoint({ok, #{path := Path}}) -> {ok, {local, Path}};
endpoint(Error) -> Error.

all({ok, Fd}, {ok, Local}, {ok, Remote}) -> {ok, Fd, Local, Remote};
all(Fd, Local, Remote) -> hd([Error || {error, _} = Error <- [Fd, Local, Remote]]).

?DOC(false).
init(#{path := Path}) -> {ok, #state{path = Path}}.

?DOC(false).
handle_call({push, Fd, Bytes}, _From, State) ->
    case connected(State) of
        {ok, #state{pushed = Pushed} = Connected} ->
            case send(Connected#state.socket, Fd, Bytes) of
                ok -> {reply, ok, taken(Connected#state{pushed = Pushed + 1})};
                {error, eagain} -> {reply, {error, eagain}, Connected};
                {error, Reason} -> {reply, {error, Reason}, closed(Connected)}
            end;
        {error, Reason} -> {reply, {error, Reason}, closed(State)}
    end;
handle_call(untaken, _From, State) ->
    #state{pushed = Pushed, taken = Taken} = Now = taken(State),
    {reply, max(Pushed - Taken, 0), Now};
handle_call(_, _From, State) -> {reply, {error, badarg}, State}.

?DOC(false).
handle_cast(_, State) -> {noreply, State}.

?DOC(false).
handle_info({'$socket', _, select, _}, State) -> {noreply, taken(State)};
handle_info(_, State) -> {noreply, State}.

?DOC(false).
terminate(_, State) ->
    _ = closed(State),
    ok.

connected(#state{socket = none, path = Path} = State) ->
    case cnode_sessions_wire:connect(stream, Path) of
        {ok, Socket} -> {ok, taken(State#state{socket = Socket, pushed = 0, taken = 0})};
        Error -> Error
    end;
connected(State) ->
    case taken(State) of % notices the receiver's end before a session is given to nobody
        #state{socket = none} = Ended -> connected(Ended);
        Alive -> {ok, Alive}
    end.

closed(#state{socket = none} = State) -> State;
closed(#state{socket = Socket} = State) ->
    _ = socket:close(Socket),
    State#state{socket = none, pushed = 0, taken = 0}.

%% The descriptor goes with the first byte. If that is out, the rest has to follow, or the connection is useless.
send(Socket, Fd, Bytes) ->
    Message = #{iov => [Bytes], ctrl => [#{level => socket, type => rights, data => <<Fd:32/native>>}]},
    case socket:sendmsg(Socket, Message, [], ?ROOM) of
        ok -> ok;
        {ok, Rest} -> rest(Socket, Rest);
        {error, {timeout, Rest}} -> unsent(Rest, Bytes);
        {error, timeout} -> {error, eagain};
        {error, {Reason, _}} -> {error, Reason};
        {error, Reason} -> {error, Reason}
    end.

unsent(Rest, Bytes) ->
    case iolist_size(Rest) =:= byte_size(Bytes) of
        true -> {error, eagain};
        false -> {error, timeout}
    end.

rest(Socket, Rest) ->
    case socket:send(Socket, iolist_to_binary(Rest), [], ?ROOM) of
        ok -> ok;
        {error, {Reason, _}} -> {error, Reason};
        {error, Reason} -> {error, Reason};
        {ok, _} -> {error, timeout}
    end.

%% What the receiver says: each byte is a number of sessions that it has taken.
taken(#state{socket = none} = State) -> State;
taken(#state{socket = Socket, taken = Taken} = State) ->
    case socket:recv(Socket, 0, nowait) of
        {ok, Counts} -> taken(State#state{taken = Taken + lists:sum(binary_to_list(Counts))});
        {select, _} -> State;
        {error, _} -> closed(State)
    end.
