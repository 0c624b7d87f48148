%% Watches a Go node that others start, systemd say: connects to it, and again when it is back.
%%
%%     #{id => go_watch, start => {go_watch, start_link, ['cnode@127.0.0.1']}}
-module(go_watch).
-behaviour(gen_server).
-export([start_link/1, is_up/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-include_lib("kernel/include/logger.hrl").

-define(AGAIN, 500). % milliseconds

start_link(Node) -> gen_server:start_link({local, ?MODULE}, ?MODULE, Node, []).

%% Whether the node is there.
is_up() -> gen_server:call(?MODULE, is_up).

init(Node) ->
    %% all, since a Go node is hidden unless its configuration says otherwise
    ok = net_kernel:monitor_nodes(true, #{node_type => all}),
    self() ! connect,
    {ok, #{node => Node, up => false}}.

handle_call(is_up, _From, #{up := Up} = State) -> {reply, Up, State}.

handle_cast(_, State) -> {noreply, State}.

handle_info({nodeup, Node, _}, #{node := Node, up := false} = State) ->
    ?LOG_NOTICE("~ts is up", [Node]),
    {noreply, State#{up := true}};
handle_info({nodedown, Node, _}, #{node := Node} = State) ->
    ?LOG_WARNING("~ts is down", [Node]),
    {noreply, connect(State#{up := false})};
handle_info(connect, State) ->
    {noreply, connect(State)};
handle_info(_, State) ->
    {noreply, State}.

%% A node that comes back does not connect by itself, so it is asked for. The message is nodeup.
connect(#{up := false, node := Node} = State) ->
    net_kernel:connect_node(Node) =:= true orelse erlang:send_after(?AGAIN, self(), connect),
    State;
connect(State) ->
    State.
