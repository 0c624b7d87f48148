%% The node that is protected.
-module(inside).
-export([start/0, secrets/0, state/0, echo/0, sink/2, aliased/0]).

start() ->
    note:start(),
    till:start(),
    register(plain, spawn(shop, loop, [])),
    register(echo, spawn(?MODULE, echo, [])),
    register(sink, spawn(?MODULE, sink, [0, 0])),
    register(aliased, spawn(?MODULE, aliased, [])),
    Watched = [Name || Name <- registered(), is_pid(whereis(Name))],
    spawn(fun() -> [monitor(process, Name) || Name <- Watched], watch() end),
    ok.

%% No process that an attacker may want to end does.
watch() ->
    receive {'DOWN', _, process, {Name, _}, Reason} -> note:w({died, Name, Reason}) end,
    watch().

%% All that an attacker may guess, as text: pids by their names, an open file, an alias.
secrets() ->
    aliased ! {alias, self()},
    Alias = receive {alias, A} -> A end,
    {ok, File} = file:open(filename:join(os:getenv("HOME"), "file"), [write]),
    Pids = [{Name, whereis(Name)} || Name <- registered(), is_pid(whereis(Name))],
    binary_to_list(base64:encode(term_to_binary([{file, File}, {alias, Alias} | Pids]))).

%% What attacks may have changed beside what note has.
state() ->
    {ok, File} = file:read_file_info(filename:join(os:getenv("HOME"), "file")),
    {lists:sort(global:registered_names()), lists:sort(logger:get_handler_ids()), erlang:get_cookie(),
     lists:sort([A || {A, _, _} <- application:which_applications()]), supervisor:count_children(kernel_sup),
     process_info(whereis(till), group_leader) =:= process_info(whereis(note), group_leader),
     sys:get_state(till) >= 0, inet:gethostbyname("of.an.attacker") =:= {ok, x}, element(2, File)}.

echo() ->
    receive {From, Message} -> From ! {echo, Message} end,
    echo().

%% Counts numbers that have to come in order.
sink(N, Wrong) ->
    receive
        {n, N} -> sink(N + 1, Wrong);
        {n, _} -> sink(N + 1, Wrong + 1);
        {last, From} -> From ! {sunk, N, Wrong}, sink(0, 0)
    end.

aliased() -> aliased(alias()).

aliased(Alias) ->
    receive
        {alias, From} -> From ! {alias, Alias};
        Message -> note:w({aliased, Message})
    end,
    aliased(Alias).
