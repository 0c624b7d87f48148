%% What is in the tables of the system.
-module(tables).
-export([all/0, brief/0]).

%% Exports, closures, incarnations of nodes, and the longest chain of the table of atoms. OTP 29 has
%% other names than OTP 25 and 27.
brief() ->
    T = all(),
    #{{hash, "atom_tab"} := {_, Chain}, {hash, "node_table"} := {Nodes, _}} = T,
    {first(T, [{index, "export_list"}, {index, "export_staged_index"}]), first(T, [{hash, "fun_table"}, {index, "fun_staged_index"}]),
     Nodes, Chain}.

first(T, [Name | Names]) ->
    case T of
        #{Name := {Entries, _}} -> Entries;
        _ -> first(T, Names)
    end.

%% {Kind, Name} => {Entries, the longest chain}.
all() ->
    {_, Tables} = lists:foldl(fun line/2, {none, #{}}, string:split(binary_to_list(erlang:system_info(info)), "\n", all)),
    Tables.

line("=hash_table:" ++ Name, {_, Tables}) -> {{hash, Name}, Tables};
line("=index_table:" ++ Name, {_, Tables}) -> {{index, Name}, Tables};
line("=" ++ _, {_, Tables}) -> {none, Tables};
line("objs: " ++ N, {{hash, _} = Key, Tables}) -> {Key, Tables#{Key => {list_to_integer(N), 0}}};
line("entries: " ++ N, {{index, _} = Key, Tables}) -> {Key, Tables#{Key => {list_to_integer(N), 0}}};
line("depth: " ++ N, {{hash, _} = Key, Tables}) ->
    #{Key := {Entries, _}} = Tables,
    {Key, Tables#{Key := {Entries, list_to_integer(N)}}};
line(_, Acc) -> Acc.
