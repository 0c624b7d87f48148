%% Runs a program of the operating system. What it writes goes to the log, line by line. One process reads the lines, so that a
%% program that writes a lot holds up nobody else, and another one logs them, since a handler of the log may take its time.
-module(cnode_program).
-include("cnode_doc.hrl").
?MODULEDOC(false).

-export([start/3, watch/2, signal/2, os_pid/1]).
-export_type([log/0]).

-include_lib("kernel/include/logger.hrl").

-define(LONGEST, 16384). % bytes of a line
-define(QUEUE, 1000). % lines that wait to be logged
-define(BEHIND, 16). % messages of 64 KiB that wait to be taken apart
-define(TELL, 1000). % ms between reports of lines that were dropped
-define(LOOK, 200). % ms between looks for the process
-define(FLUSH, 500). % ms that the last lines may take to be logged
-define(LAST, 5). % lines that an end tells; if the program has panicked,
-define(FIRST, 10). % those from there on, before the stacks of its goroutines
-define(TAIL, 1024). % bytes of what is dropped in which the last lines are looked for

-type log() :: false | {Title :: binary(), logger:level(), logger:metadata()}.

-record(reader, {
    owner :: pid(),
    port :: port(),
    log :: false | {pid(), counters:counters_ref()}, % which counts the lines that wait
    ready = false :: boolean(),
    begun = <<>> :: binary(), % a line
    partial = false :: boolean(), % whose beginning was a line already
    kept = {last, []} :: {last | 0..?FIRST, [binary()]}, % the latest first
    dropped = 0 :: non_neg_integer(), % bytes
    watched = false :: false | reference(), % the timer of the next look
    missing = false :: boolean() % the process was not there
}).

%% The caller, to which this is linked, gets {Port, ready} after a line that begins with ready, and {Port, {exit_status, Status,
%% Lines}} at the end. Status is unknown if another process holds the output.
-spec start(file:name_all(), [term()], log()) -> {ok, port()} | {error, term()}.
start(Path, Settings, Log) ->
    Owner = self(),
    Tag = make_ref(),
    _ = spawn_opt(fun() ->
        try open_port({spawn_executable, Path}, [binary, exit_status, stderr_to_stdout | Settings]) of
            Port ->
                Owner ! {Tag, {ok, Port}},
                _ = erlang:monitor(process, Owner), % a link does not tell of a normal end
                reads(later(#reader{owner = Owner, port = Port, log = writer(Log)}))
        catch error:Reason ->
            unlink(Owner),
            Owner ! {Tag, {error, {cannot_start, Path, Reason}}}
        end
    end, [link, {message_queue_data, off_heap}]),
    receive {Tag, Result} -> Result end.

%% Whether the process is looked for. The port alone does not tell its end while a process that it has started holds its output.
%% At first it is.
-spec watch(port(), boolean()) -> ok.
watch(Port, Is) ->
    _ = [Reader ! {watch, Is} || {connected, Reader} <- [erlang:port_info(Port, connected)]],
    ok.

%% A port that has closed has no process any more.
-spec signal(string(), port()) -> ok.
signal(Name, Port) ->
    _ = [os:cmd("kill -" ++ Name ++ " " ++ integer_to_list(Pid)) || Pid <- [os_pid(Port)], Pid =/= undefined],
    ok.

-spec os_pid(port()) -> non_neg_integer() | undefined.
os_pid(Port) ->
    case erlang:port_info(Port, os_pid) of
        {os_pid, Pid} -> Pid;
        undefined -> undefined
    end.

%%% The reader

reads(#reader{port = Port, owner = Owner} = R) ->
    receive
        {Port, {data, Data}} -> reads(data(Data, R));
        {Port, {exit_status, Status}} -> over(Status, R);
        {timeout, Timer, look} when Timer =:= R#reader.watched -> look(R);
        {timeout, _, look} -> reads(R);
        {watch, true} when R#reader.watched =:= false -> look(R);
        {watch, true} -> reads(R);
        {watch, false} -> reads(R#reader{watched = false, missing = false});
        tell -> reads(tell(R));
        {'DOWN', _, process, Owner, _} -> ok
    end.

%% If this process does not keep up with the port, it takes nothing apart but the last.
data(Data, #reader{begun = Begun} = R) ->
    case process_info(self(), message_queue_len) of
        {_, Waiting} when Waiting > ?BEHIND -> dropped(byte_size(Begun) + byte_size(Data), (is_ready(Data, R))#reader{begun = <<>>, partial = true});
        _ -> lines(<<Begun/binary, Data/binary>>, room(R), R)
    end.

%% How many lines may be logged now: none for a while after there were too many.
room(#reader{log = false}) -> ?QUEUE;
room(#reader{log = {_, Queue}, dropped = Dropped}) ->
    case ?QUEUE - counters:get(Queue, 1) of
        Room when Dropped > 0, Room < ?QUEUE div 2 -> 0;
        Room -> Room
    end.

lines(Data, Room, R) when Room =< 0 -> drop(Data, R);
lines(Data, Room, R) ->
    case binary:split(Data, <<"\n">>) of
        [Line, More] when byte_size(Line) =< ?LONGEST -> lines(More, Room - 1, line(Line, false, R));
        [Begun] when byte_size(Begun) =< ?LONGEST -> R#reader{begun = Begun};
        _ ->
            <<Line:?LONGEST/binary, More/binary>> = Data,
            lines(More, Room - 1, line(Line, true, R))
    end.

line(Line, GoesOn, #reader{log = Log} = R) ->
    _ = [begin
        ok = counters:add(Queue, 1, 1),
        Writer ! {line, binary:copy(Line)}
    end || {Writer, Queue} <- [Log]],
    (heard(Line, R))#reader{partial = GoesOn}.

heard(_, #reader{partial = true} = R) -> R;
heard(Line, #reader{kept = Kept} = R) -> (is_ready(Line, R))#reader{kept = keep(Line, Kept)}.

is_ready(_, #reader{ready = true} = R) -> R;
is_ready(Data, #reader{owner = Owner, port = Port} = R) ->
    Is = from(Data, <<"ready">>) =/= [],
    _ = Is andalso (Owner ! {Port, ready}),
    R#reader{ready = Is}.

keep(_, {?FIRST, _} = Kept) -> Kept;
keep(Line, {N, Lines}) when is_integer(N) -> {N + 1, [binary:copy(Line) | Lines]};
keep(<<"panic: ", _/binary>> = Line, _) -> {1, [binary:copy(Line)]};
keep(<<"fatal error: ", _/binary>> = Line, _) -> {1, [binary:copy(Line)]};
keep(Line, {last, Lines}) -> {last, lists:sublist([Line | Lines], ?LAST)}.

%% Looks at no line but those that count.
drop(Data, R) ->
    Lines = case [Line || Beginning <- [<<"panic: ">>, <<"fatal error: ">>], Line <- from(Data, Beginning)] of
        [] -> binary:split(binary:part(Data, byte_size(Data), -min(byte_size(Data), ?TAIL)), <<"\n">>, [global]);
        [Panic | _] -> binary:split(Panic, <<"\n">>, [global])
    end,
    {Whole, [Begun]} = lists:split(length(Lines) - 1, Lines),
    Heard = lists:foldl(fun heard/2, (is_ready(Data, R))#reader{partial = false}, Whole),
    dropped(byte_size(Data), Heard#reader{begun = binary:copy(Begun)}).

dropped(Bytes, #reader{dropped = Before} = R) ->
    _ = Before =:= 0 andalso erlang:send_after(?TELL, self(), tell),
    R#reader{dropped = Before + Bytes}.

%% The data from a line on that begins so, if there is one.
from(Data, Beginning) ->
    Size = byte_size(Beginning),
    case {Data, binary:match(Data, <<"\n", Beginning/binary>>)} of
        {<<Beginning:Size/binary, _/binary>>, _} -> [Data];
        {_, {At, _}} -> [binary:part(Data, byte_size(Data), At + 1 - byte_size(Data))];
        {_, nomatch} -> []
    end.

tell(#reader{log = Log, dropped = Dropped} = R) when Log =:= false; Dropped =:= 0 -> R#reader{dropped = 0};
tell(#reader{log = {Writer, _}, dropped = Dropped} = R) ->
    Writer ! {dropped, Dropped},
    R#reader{dropped = 0}.

%% A process is over if it is not there at two looks: in between the port may tell its status.
look(#reader{port = Port, missing = Missing} = R) ->
    case {is_missing(os_pid(Port)), Missing} of
        {true, true} ->
            _ = try port_close(Port) catch error:badarg -> true end,
            over(unknown, R);
        {Is, _} -> reads(later(R#reader{missing = Is}))
    end.

later(R) -> R#reader{watched = erlang:start_timer(?LOOK, self(), look)}.

is_missing(undefined) -> false; % the port has closed, and its message is here
is_missing(Pid) -> string:find(os:cmd("LC_ALL=C; export LC_ALL; kill -0 " ++ integer_to_list(Pid)), "No such process") =/= nomatch.

over(Status, #reader{begun = <<_, _/binary>> = Begun} = R) -> over(Status, lines(<<Begun/binary, "\n">>, room(R), R#reader{begun = <<>>}));
over(Status, #reader{owner = Owner, port = Port, kept = {_, Lines}} = R) ->
    #reader{log = Log} = tell(R),
    _ = [begin
        Monitor = erlang:monitor(process, Writer),
        Writer ! over,
        receive {'DOWN', Monitor, _, _, _} -> ok after ?FLUSH -> ok end
    end || {Writer, _} <- [Log]],
    unlink(Owner),
    Owner ! {Port, {exit_status, Status, [printable(L) || L <- lists:reverse(Lines)]}}.

%%% The writer

writer(false) -> false;
writer(Log) ->
    Queue = counters:new(1, []),
    {spawn_link(fun() -> writes(Log, Queue) end), Queue}.

writes({Title, Usual, Meta} = Log, Queue) ->
    receive
        {line, Line} ->
            {Level, Text} = level(printable(Line), Usual),
            ?LOG(Level, "~ts: ~ts", [Title, Text], Meta),
            ok = counters:sub(Queue, 1, 1),
            writes(Log, Queue);
        {dropped, Bytes} ->
            ?LOG_WARNING("~ts: lines were dropped, together ~b bytes: it writes faster than they are logged", [Title, Bytes], Meta),
            writes(Log, Queue);
        over -> ok
    end.

%% As slog.TextHandler begins its lines, without the time.
level(<<"level=", Rest/binary>>, Usual) ->
    case binary:split(Rest, <<" ">>) of
        [Word, Text] ->
            case lists:keyfind(Word, 1, [{<<"DEBUG">>, debug}, {<<"INFO">>, info}, {<<"WARN">>, warning}, {<<"ERROR">>, error}]) of
                {_, Level} -> {Level, Text};
                false -> {Usual, <<"level=", Rest/binary>>}
            end;
        _ -> {Usual, <<"level=", Rest/binary>>}
    end;
level(Text, Usual) -> {Usual, Text}.

printable(Data) ->
    case unicode:characters_to_binary(Data) of
        Text when is_binary(Text) -> Text;
        _ -> unicode:characters_to_binary(Data, latin1)
    end.
