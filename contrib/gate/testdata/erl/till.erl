%% A gen_server that answers. Whatever else reaches it is noted.
-module(till).
-behaviour(gen_server).
-export([start/0, init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

start() -> {ok, _} = gen_server:start({local, till}, ?MODULE, [], []).

init([]) -> {ok, 0}.

handle_call(stop, _, Casts) -> {stop, asked, Casts};
handle_call(casts, _, Casts) -> {reply, Casts, Casts};
handle_call(Request, _, Casts) -> {reply, {ok, Request}, Casts}.

handle_cast(_, Casts) -> {noreply, Casts + 1}.

handle_info(Message, Casts) -> note:w({till, Message}), {noreply, Casts}.

terminate(Reason, _) -> note:w({till_ended, Reason}).
