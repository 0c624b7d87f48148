%% A gen_server that behaves well, late, or not at all.
-module(counter).
-behaviour(gen_server).
-export([start/0, start/1, init/1, handle_call/3, handle_cast/2, handle_info/2]).

start() -> {ok, Pid} = gen_server:start(?MODULE, 0, []), Pid.
start(Name) -> {ok, Pid} = gen_server:start({local, Name}, ?MODULE, 0, []), Pid.

init(N) -> {ok, N}.

handle_call({add, I}, _, N) -> {reply, {ok, N + I}, N + I};
handle_call({later, T}, From, N) -> self() ! {reply, From, T}, {noreply, N};
handle_call(never, _, N) -> {noreply, N};
handle_call(crash, _, _) -> error(crashed);
handle_call({stop, Why}, _, N) -> {stop, Why, N};
handle_call({stop, Why, Reply}, _, N) -> {stop, Why, Reply, N};
handle_call({from, _}, From, N) -> {reply, From, N}.

handle_cast({add, I}, N) -> {noreply, N + I}.

handle_info({reply, From, T}, N) -> gen_server:reply(From, T), {noreply, N}.
