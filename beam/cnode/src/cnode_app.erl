-module(cnode_app).
-include("cnode_doc.hrl").
?MODULEDOC(false).
-behaviour(application).
-behaviour(supervisor).
-include("cnode_sessions.hrl").

-export([start/2, prep_stop/1, stop/1, init/1]).

start(_Type, _Args) -> supervisor:start_link({local, cnode_sup}, ?MODULE, all).

%% Nothing orders this application and Ranch. If Ranch is to stop later, its listeners would lose their connections here, in
%% the middle of their work: they end first.
prep_stop(State) ->
    case whereis(ranch_sup) of
        undefined -> ok;
        _ ->
            _ = [ranch:stop_listener(Ref) || Info <- [ranch:info()], is_map(Info), % of Ranch 2
                {Ref, #{transport := cnode_sessions_ranch}} <- maps:to_list(Info)],
            ok
    end,
    State.

stop(_State) -> ok.

%% This process does nothing, so it does not fail: it owns the tables, which say what descriptors and what links there are.
init(all) ->
    ok = cnode_link:table(),
    _ = ets:new(?TABLE, [named_table, public, {keypos, #session.socket}, {read_concurrency, true}, {write_concurrency, true}]),
    {ok, {#{strategy => one_for_one, intensity => 10, period => 10}, [
        #{id => guard, start => {cnode_sessions_guard, start_link, []}, shutdown => 10000},
        #{id => sessions, start => {supervisor, start_link, [{local, cnode_sessions_sup}, ?MODULE, sessions]}, type => supervisor}
    ]}};
init(sessions) ->
    {ok, {#{strategy => simple_one_for_one, intensity => 100, period => 10}, [
        #{id => server, start => {cnode_sessions, start_link, []}, restart => transient}
    ]}}.
