%% What a node outside may try through a gate whose rules are
%%
%%   {allow, "*", call, "shop:quote/1"}, {allow, "*", request, "till"}
%%
%% Each attempt is a process of its own. It gives a line "name result detail". The results are
%%
%%   ok       what is allowed does what it should
%%   refused  an answer has come that says so: noproc or eacces
%%   silent   nothing has come back, and the connection stands
%%   ran      something else has come back
%%   cut      the connection was lost
%%   hangs    nothing has come back, though the caller waits for it
%%
%% All attempts of allowed/2 should be ok, those of asks/2 refused, those of tells/2, whose names get a
%% tell_ before them, silent.
-module(attacker).
-export([all/3, hit/2]).

%% Makes all attempts at once, then one of what is allowed, and writes the lines to a file.
all(B, Secrets, File) ->
    Known = known(Secrets),
    pong = net_adm:ping(B),
    After = [{ok_after_all, fun() -> {gen_server:call({till, B}, x), rpc:call(B, shop, quote, [1])} end}],
    Told = [{list_to_atom("tell_" ++ atom_to_list(Name)), F} || {Name, F} <- tells(B, Known)],
    Lines = run(B, allowed(B, Known), fun ok/1) ++ run(B, asks(B, Known), fun judge/1) ++ run(B, Told, fun judge/1) ++
        run(B, After, fun ok/1),
    ok = file:write_file(File, Lines).

%% Makes attempts of which a node without a gate has a note each, and gives their names.
hit(B, Secrets) ->
    Known = known(Secrets),
    Names = hits(),
    pong = net_adm:ping(B),
    _ = run(B, [A || {Name, _} = A <- asks(B, Known) ++ tells(B, Known), lists:member(Name, Names)], fun judge/1),
    Names.

hits() ->
    [rpc, erpc, erpc_fun, spawn, spawn_fun, spawn_link, spawn_monitor, spawn_opt, spawn_request, proc_lib,
     rpc_cast, erpc_cast, erpc_send_request, rpc_block, rpc_async, rpc_multi, erpc_multicast, eval_everywhere,
     rex_call, rex_raw, rex_block, rex_cast, apply, apply_fun, execute_call, execute_call_3, execute_nested, user_mfa,
     user_pid_mfa, standard_error_mfa, kernel_sup, sys_replace, deputy, deputy_name, deputy_alias, till_info, send_name,
     send_pid, send_alias, send_big, sbcast, abcast, nk_spawn, nk_spawn_raw].

run(B, Attempts, Judge) ->
    Self = self(),
    Runs = [{Name, spawn_monitor(fun() -> Self ! {self(), attempt(B, F)} end)} || {Name, F} <- Attempts],
    [begin
         Value = receive
                     {Pid, V} -> V;
                     {'DOWN', Ref, process, Pid, Reason} -> {died, Reason}
                 after 20000 -> exit(Pid, kill), hangs
                 end,
         demonitor(Ref, [flush]),
         Detail = string:slice(lists:flatten(io_lib:format("~0p", [Value])), 0, 160),
         io_lib:format("~s ~s ~ts~n", [Name, Judge(Value), Detail])
     end || {Name, {Pid, Ref}} <- Runs].

%% When the answer to a request is there, what came before it has been dealt with.
attempt(B, F) ->
    Value = try F() catch Class:Reason -> {Class, Reason} end,
    case Value of
        told ->
            Fence = try gen_server:call({till, B}, fence, 20000) catch exit:Why -> {exit, Why} end,
            {told, Fence, received()};
        _ -> Value
    end.

received() -> receive Message -> [Message | received()] after 0 -> [] end.

ok({ok, _}) -> ok;
ok({price, _}) -> ok;
ok(ok) -> ok;
ok(pong) -> ok;
ok({{ok, _}, {price, _}}) -> ok;
ok(Value) -> judge(Value).

judge(hangs) -> hangs;
judge({told, {ok, fence}, []}) -> silent;
judge(Value) ->
    case {mentions(noconnection, Value) orelse mentions(nodedown, Value), 
          lists:any(fun(Atom) -> mentions(Atom, Value) end, [noproc, eacces, terminated])} of
        {true, _} -> cut;
        {_, true} -> refused;
        _ -> ran
    end.

mentions(Atom, Atom) -> true;
mentions(Atom, [H | T]) -> mentions(Atom, H) orelse mentions(Atom, T);
mentions(Atom, Tuple) when is_tuple(Tuple) -> mentions(Atom, tuple_to_list(Tuple));
mentions(_, _) -> false.

known(Secrets) ->
    Terms = binary_to_term(base64:decode(Secrets)),
    fun(Name) -> proplists:get_value(Name, Terms) end.

%% What has come for a process that waits.
got() -> receive Message -> Message end.

big() -> binary:copy(<<7>>, 3000000).

allowed(B, _) ->
    [{ok_ping, fun() -> net_adm:ping(B) end},
     {ok_rpc, fun() -> rpc:call(B, shop, quote, [1]) end},
     {ok_erpc, fun() -> erpc:call(B, shop, quote, [1]) end},
     {ok_erpc_big, fun() -> {price, Big} = erpc:call(B, shop, quote, [big()]), {ok, size(Big)} end},
     {ok_erpc_request, fun() -> erpc:receive_response(erpc:send_request(B, shop, quote, [1])) end},
     {ok_erpc_cast, fun() -> erpc:cast(B, shop, quote, [1]) end},
     {ok_rpc_multi, fun() -> {[Price], []} = rpc:multicall([B], shop, quote, [1]), Price end},
     {ok_rpc_async, fun() -> rpc:yield(rpc:async_call(B, shop, quote, [1])) end},
     {ok_rpc_string, fun() -> {price, _} = rpc:call(B, shop, quote, ["text"]) end},
     {ok_rex_call, fun() -> gen_server:call({rex, B}, {call, shop, quote, [1], group_leader()}) end},
     {ok_rex_cast, fun() -> gen_server:cast({rex, B}, {cast, shop, quote, [1], group_leader()}) end},
     {ok_request, fun() -> gen_server:call({till, B}, x) end},
     {ok_request_big, fun() -> {ok, Big} = gen_server:call({till, B}, big()), {ok, size(Big)} end},
     {ok_request_sent, fun() -> {reply, R} = gen_server:wait_response(gen_server:send_request({till, B}, x), 20000), R end},
     {ok_multi_call, fun() -> {[{_, Reply}], []} = gen_server:multi_call([B], till, x, 20000), Reply end},
     {ok_cast, fun() -> gen_server:cast({till, B}, x) end},
     {ok_statem_call, fun() -> gen_statem:call({till, B}, x) end},
     {ok_monitor, fun() -> Ref = monitor(process, {till, B}), {ok, _} = gen_server:call({till, B}, x),
                           {demonitor(Ref, [info]), {ok, x}} =:= {true, {ok, x}} andalso ok end}].

%% Somebody waits for an answer.
asks(B, Known) ->
    GL = group_leader(),
    Spawned = fun(F) -> process_flag(trap_exit, true), _ = F(), got() end,
    Call = fun(Name, Request) -> gen_server:call({Name, B}, Request, 20000) end,
    functions(B, Spawned) ++
    [{rex_call, fun() -> Call(rex, {call, note, w, [rex_call], GL}) end},
     {rex_block, fun() -> Call(rex, {block_call, note, w, [rex_block], GL}) end},
     {rex_arity, fun() -> Call(rex, {call, shop, quote, [1, 2], GL}) end},
     {rex_improper, fun() -> Call(rex, {call, shop, quote, [1 | 2], GL}) end},
     {rex_tag, fun() -> Call(rex, {other_call, shop, quote, [1], GL}) end},
     {rex_call_6, fun() -> Call(rex, {call, shop, quote, [1], GL, x}) end},
     {nk_spawn, fun() -> Call(net_kernel, {spawn, note, w, [nk_spawn], GL}) end},
     {nk_connect, fun() -> Call(net_kernel, {connect, normal, x@y, make_ref()}) end},
     {nk_longnames, fun() -> Call(net_kernel, longnames) end},
     {global, fun() -> Call(global_name_server, {register, a, self(), x}) end},
     {global_lock, fun() -> Call(global_name_server, {set_lock, {x, self()}}) end},
     {code_server, fun() -> Call(code_server, which) end},
     {application, fun() -> Call(application_controller, which_applications) end},
     {application_load, fun() -> Call(application_controller, {load_application, {application, evil, []}}) end},
     {logger, fun() -> Call(logger, {add_handler, x, logger_std_h, #{}}) end},
     {file_server, fun() -> Call(file_server_2, {list_dir, "/"}) end},
     {kernel_sup, fun() -> supervisor:start_child({kernel_sup, B}, #{id => kernel_sup, start => {note, w, [kernel_sup]}}) end},
     {sup_children, fun() -> supervisor:which_children({kernel_safe_sup, B}) end},
     {auth_cookie, fun() -> Call(auth, get_cookie) end},
     {auth_set, fun() -> Call(auth, {set_cookie, x}) end},
     {inet_db, fun() -> Call(inet_db, {add_host, {1, 2, 3, 4}, ["of.an.attacker"]}) end},
     {kernel_refc, fun() -> Call(kernel_refc, {scheduler_wall_time, true}) end},
     {timer_server, fun() -> Call(timer_server, {apply_once, {system_time, 0, {note, w, [timer]}}}) end},
     {sig_call, fun() -> gen_event:call({erl_signal_server, B}, erl_signal_handler, x) end},
     {sig_add, fun() -> gen_event:add_handler({erl_signal_server, B}, note, x) end},
     {no_such_name, fun() -> Call(nobody_of_this_name, x) end},
     {request_pid, fun() -> gen_server:call(Known(till), x, 20000) end},
     {sys_terminate, fun() -> sys:terminate({till, B}, x, 20000) end},
     {sys_stop, fun() -> gen_server:stop({till, B}, x, 20000) end},
     {sys_replace, fun() -> sys:replace_state({till, B}, fun(S) -> note:w(sys_replace), S end, 20000) end},
     {sys_get, fun() -> sys:get_state({till, B}, 20000) end},
     {sys_status, fun() -> sys:get_status({till, B}, 20000) end},
     {sys_suspend, fun() -> sys:suspend({till, B}, 20000) end},
     {sys_debug, fun() -> sys:install({till, B}, {fun(_, _, _) -> note:w(sys_debug) end, x}, 20000) end},
     {sys_change_code, fun() -> sys:change_code({till, B}, till, x, x, 20000) end},
     {group_leader_io, fun() -> io:format(Known(user), "HIT group_leader_io~n", []) end},
     {file_write, fun() -> ok = file:write(Known(file), "HIT") end},
     {link, fun() -> Spawned(fun() -> link(Known(till)) end) end},
     {link_plain, fun() -> Spawned(fun() -> link(Known(plain)) end) end},
     {link_die, fun() -> {_, M} = spawn_monitor(fun() -> link(Known(plain)), receive after infinity -> x end end),
                         receive {'DOWN', M, _, _, Why} -> Why end end},
     {monitor_name, fun() -> monitor(process, {note, B}), got() end},
     {monitor_pid, fun() -> monitor(process, Known(note)), got() end},
     {monitor_alias, fun() -> monitor(process, {aliased, B}, [{alias, reply_demonitor}]), got() end}].

%% Functions, by all ways there are.
functions(B, Spawned) ->
    [{rpc, fun() -> rpc:call(B, note, w, [rpc]) end},
     {rpc_timeout, fun() -> rpc:call(B, note, w, [rpc_timeout], 15000) end},
     {rpc_block, fun() -> rpc:block_call(B, note, w, [rpc_block]) end},
     {rpc_async, fun() -> rpc:yield(rpc:async_call(B, note, w, [rpc_async])) end},
     {rpc_multi, fun() -> rpc:multicall([B], note, w, [rpc_multi]) end},
     {rpc_pid_info, fun() -> rpc:call(B, erlang, registered, []) end},
     {remote_shell, fun() -> rpc:call(B, shell, whereis, []) end},
     {disconnect, fun() -> rpc:call(B, net_kernel, disconnect, [node()]) end},
     {code_load, fun() -> rpc:call(B, code, load_binary, [x, "x", <<>>]) end},
     {os_cmd, fun() -> rpc:call(B, os, cmd, ["true"]) end},
     {halt, fun() -> rpc:call(B, erlang, halt, []) end},
     {apply, fun() -> rpc:call(B, erlang, apply, [note, w, [apply]]) end},
     {apply_fun, fun() -> rpc:call(B, erlang, apply, [fun note:w/1, [apply_fun]]) end},
     {arity, fun() -> rpc:call(B, shop, quote, [1, 2]) end},
     {no_arguments, fun() -> rpc:call(B, shop, quote, []) end},
     {other_function, fun() -> rpc:call(B, shop, loop, []) end},
     {erpc, fun() -> erpc:call(B, note, w, [erpc]) end},
     {erpc_fun, fun() -> erpc:call(B, fun() -> note:w(erpc_fun) end) end},
     {erpc_external_fun, fun() -> erpc:call(B, fun erlang:node/0) end},
     {erpc_send_request, fun() -> erpc:receive_response(erpc:send_request(B, note, w, [erpc_send_request])) end},
     {erpc_multicall, fun() -> erpc:multicall([B], note, w, [erpc_multicall]) end},
     {spawn, fun() -> spawn(B, note, w, [spawn]) end},
     {spawn_fun, fun() -> spawn(B, fun() -> note:w(spawn_fun) end) end},
     {spawn_link, fun() -> Spawned(fun() -> spawn_link(B, note, w, [spawn_link]) end) end},
     {spawn_monitor, fun() -> Spawned(fun() -> spawn_monitor(B, note, w, [spawn_monitor]) end) end},
     {spawn_opt, fun() -> Spawned(fun() -> spawn_opt(B, note, w, [spawn_opt], [{priority, high}, link]) end) end},
     {spawn_request, fun() -> Spawned(fun() -> spawn_request(B, note, w, [spawn_request], [monitor]) end) end},
     {spawn_of_allowed_call, fun() -> Spawned(fun() -> spawn_request(B, shop, quote, [1], [monitor]) end) end},
     {spawn_sys, fun() -> Spawned(fun() -> spawn_request(B, erts_internal, crasher, [node(), note, w, [x], [], x], [monitor]) end) end},
     {proc_lib, fun() -> Spawned(fun() -> proc_lib:spawn_link(B, note, w, [proc_lib]) end) end},
     {execute_call, fun() -> Spawned(fun() ->
         spawn_request(B, erpc, execute_call, [make_ref(), note, w, [execute_call]], [monitor]) end) end},
     {execute_call_3, fun() -> Spawned(fun() ->
         spawn_request(B, erpc, execute_call, [note, w, [execute_call_3]], [monitor]) end) end},
     {execute_nested, fun() -> Spawned(fun() ->
         spawn_request(B, erpc, execute_call, [make_ref(), erpc, execute_cast, [note, w, [execute_nested]]], [monitor]) end) end},
     {execute_no_ref, fun() -> Spawned(fun() ->
         spawn_request(B, erpc, execute_call, [x, note, w, [execute_no_ref]], [monitor]) end) end},
     {execute_atom, fun() -> Spawned(fun() ->
         spawn_request(B, erpc, execute_call, [make_ref(), shop, quote, x], [monitor]) end) end},
     {execute_5, fun() -> Spawned(fun() ->
         spawn_request(B, erpc, execute_call, [make_ref(), shop, quote, [1], x], [monitor]) end) end}].

%% Nobody waits for an answer, and none may come.
tells(B, Known) ->
    GL = group_leader(),
    Tell = fun(Name, Message) -> fun() -> {Name, B} ! Message, told end end,
    Pid = fun(Name, Message) -> fun() -> Known(Name) ! Message, told end end,
    Do = fun(F) -> fun() -> _ = F(), told end end,
    Mfa = fun(Name) -> {io_request, self(), r, {put_chars, unicode, note, w, [Name]}} end,
    Call = fun(Request) -> {'$gen_call', {self(), make_ref()}, Request} end,
    [{rpc_cast, Do(fun() -> rpc:cast(B, note, w, [rpc_cast]) end)},
     {erpc_cast, Do(fun() -> erpc:cast(B, note, w, [erpc_cast]) end)},
     {erpc_multicast, Do(fun() -> erpc:multicast([B], note, w, [erpc_multicast]) end)},
     {eval_everywhere, Do(fun() -> rpc:eval_everywhere([B], note, w, [eval_everywhere]) end)},
     {sbcast, Do(fun() -> {rex, B} ! {sbcast, {note, self(), make_ref()}, {note, sbcast}}, {note, B} ! sbcast end)},
     {abcast, Do(fun() -> rpc:abcast([B], note, abcast) end)},
     {rex_raw, fun() -> {rex, B} ! {'$gen_call', {self(), make_ref()}, {call, note, w, [rex_raw], GL}}, told end},
     {rex_cast, Do(fun() -> gen_server:cast({rex, B}, {cast, note, w, [rex_cast], GL}) end)},
     {rex_cast_block, Do(fun() -> gen_server:cast({rex, B}, {block_cast, note, w, [rex_cast_block], GL}) end)},
     {rex_info, fun() -> {rex, B} ! {self(), {call, note, w, [rex_info], GL}}, told end},
     {rex_features, fun() -> {rex, B} ! {features_request, self()}, told end},
     {rex_forged, fun() -> {rex, B} ! {'$gen_call', {Known(note), x}, {call, shop, quote, [1], GL}}, told end},
     {nk_spawn_raw, fun() -> {net_kernel, B} ! Call({spawn, note, w, [nk_spawn_raw], GL}), told end},
     {nk_cast, fun() -> {net_kernel, B} ! {'$gen_cast', {spawn_link, self(), note, w, [nk_cast], GL}}, told end},
     {nk_auth_forged, fun() -> {net_kernel, B} ! {'$gen_call', {Known(note), x}, {is_auth, note}}, told end},
     {nk_auth_alias, fun() -> {net_kernel, B} ! {'$gen_call', {self(), [alias | Known(alias)]}, {is_auth, note}}, told end},
     {nk_auth_no_atom, fun() -> {net_kernel, B} ! Call({is_auth, {x, y}}), told end},
     {nk_nodeup, Tell(net_kernel, {nodedown, node()})},
     {nk_registered_send, Tell(net_kernel, {accept, x, x, inet, tcp})},
     {global_raw, Do(fun() -> {global_name_server, B} ! {async_del_name, a, self()} end)},
     {global_nodeup, Tell(global_name_server, {nodeup, node()})},
     {global_init, Tell(global_name_server, {'$gen_cast', {init_connect, {8, x}, node(), {x, y}}})},
     {code_raw, fun() -> {code_server, B} ! {code_call, self(), get_path}, told end},
     {init, fun() -> {init, B} ! {self(), get_arguments}, told end},
     {init_stop, Tell(init, {stop, stop})},
     {application_raw, Tell(application_controller, {'$gen_cast', {load_application, x}})},
     {error_logger, Do(fun() -> {error_logger, B} ! {notify, {error, GL, {self(), "HIT error_logger", []}}} end)},
     {logger_raw, Tell(logger, {log, error, "HIT logger", [], #{}})},
     {logger_proxy, Tell(logger_proxy, {log, error, "HIT logger_proxy", [], #{}})},
     {user_io, fun() -> {user, B} ! {io_request, self(), r, {put_chars, unicode, "HIT user_io\n"}}, told end},
     {user_mfa, fun() -> {user, B} ! Mfa(user_mfa), told end},
     {user_pid_mfa, fun() -> Known(user) ! Mfa(user_pid_mfa), told end},
     {standard_error_mfa, fun() -> {standard_error, B} ! Mfa(standard_error_mfa), told end},
     {file_raw, fun() -> Known(file) ! {file_request, self(), Known(file), {pwrite, 0, "HIT"}}, told end},
     {prim_loader, fun() -> {erl_prim_loader, B} ! {self(), {get_file, "/etc/passwd"}}, told end},
     {user_drv, Do(fun() -> {user_drv, B} ! {self(), {data, "HIT user_drv"}} end)},
     {purger, fun() -> {erts_code_purger, B} ! {purge, shop, self(), make_ref()}, told end},
     {pg, fun() -> {pg, B} ! {discover, self()}, told end},
     {pg_join, fun() -> {pg, B} ! {join, self(), x, self()}, told end},
     {signal, Do(fun() -> gen_event:notify({erl_signal_server, B}, sigusr1) end)},
     {signal_stop, Tell(erl_signal_server, {notify, sigterm})},
     {exit_pid, Do(fun() -> exit(Known(plain), kill) end)},
     {exit_till, Do(fun() -> exit(Known(till), kill) end)},
     {exit_kernel, Do(fun() -> exit(Known(kernel_sup), kill) end)},
     {exit_normal, Do(fun() -> exit(Known(till), normal) end)},
     {group_leader, Do(fun() -> group_leader(self(), Known(till)) end)},
     {send_pid, Pid(note, send_pid)},
     {send_till_pid, Pid(till, till_pid)},
     {send_name, Tell(note, send_name)},
     {send_big, Do(fun() -> {note, B} ! {send_big, big()} end)},
     {send_alias, Pid(alias, send_alias)},
     {send_traced, Do(fun() -> seq_trace:set_token(label, 1), {note, B} ! traced, seq_trace:set_token([]) end)},
     {send_nosuspend, Do(fun() -> erlang:send({note, B}, nosuspend, [nosuspend, noconnect]) end)},
     {sys_raw, fun() -> {till, B} ! {system, {self(), make_ref()}, {terminate, x}}, told end},
     {sys_raw_shutdown, fun() -> {till, B} ! {system, {self(), [alias | make_ref()]}, suspend}, told end},
     {till_exit, Pid(till, {'EXIT', Known(till), kill})},
     {till_exit_name, Do(fun() -> {till, B} ! {'EXIT', self(), kill} end)},
     {till_down, fun() -> {till, B} ! {'DOWN', make_ref(), process, self(), x}, told end},
     {till_info, Tell(till, till_info)},
     {till_timeout, Tell(till, timeout)},
     {till_notify, Tell(till, {notify, hit})},
     {till_cast_3, Tell(till, {'$gen_cast', x, y})},
     {till_call_4, fun() -> {till, B} ! {'$gen_call', {self(), make_ref()}, x, y}, told end},
     {till_from_3, fun() -> {till, B} ! {'$gen_call', {self(), make_ref(), x}, y}, told end},
     {till_from_atom, Tell(till, {'$gen_call', {note, x}, y})},
     {till_tag_atom, fun() -> {till, B} ! {'$gen_call', {self(), x}, y}, told end},
     {till_tag_improper, fun() -> {till, B} ! {'$gen_call', {self(), [x | make_ref()]}, y}, told end},
     {deputy, Tell(till, {'$gen_call', {Known(note), deputy}, x})},
     {deputy_ref, fun() -> {till, B} ! {'$gen_call', {Known(note), make_ref()}, x}, told end},
     {deputy_alias, fun() -> {till, B} ! {'$gen_call', {self(), [alias | Known(alias)]}, deputy_alias}, told end},
     {deputy_name, Tell(till, {'$gen_call', {{note, B}, x}, deputy_name})}].
