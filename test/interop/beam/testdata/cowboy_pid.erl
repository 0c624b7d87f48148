%% A web server that says which process of the system has answered.
-module(cowboy_pid).
-export([start/2, init/2]).

start(Path, Applications) ->
    _ = [{ok, _} = application:ensure_all_started(A) || A <- Applications],
    Dispatch = cowboy_router:compile([{'_', [{"/[...]", ?MODULE, []}]}]),
    {ok, _} = ranch:start_listener(web, cnode_sessions_ranch, #{socket_opts => [{front, Path}, {port, 8080}]}, cowboy_clear,
        #{env => #{dispatch => Dispatch}, request_timeout => infinity, max_keepalive => infinity, connection_type => supervisor,
            stream_handlers => [cnode_sessions_cowboy_h, cowboy_stream_h]}),
    ok.

init(#{path := <<"/arm/", Number/binary>>} = Req, State) -> % stands still when it has written so often
    ok = cnode_steps:arm(answered, binary_to_integer(Number), uri_string:percent_decode(cowboy_req:qs(Req))),
    {ok, cowboy_req:reply(200, #{}, <<"armed">>, Req), State};
init(#{path := <<"/wait">>} = Req, State) -> % until a file is deleted
    At = uri_string:percent_decode(cowboy_req:qs(Req)),
    ok = cnode_steps:stands(At),
    {ok, cowboy_req:reply(200, #{}, <<"waited">>, Req), State};
init(#{path := <<"/chunks">>} = Req0, State) ->
    Req = cowboy_req:stream_reply(200, Req0),
    ok = cowboy_req:stream_body(<<"chunk">>, nofin, Req),
    ok = cowboy_req:stream_body(<<>>, fin, Req),
    {ok, Req, State};
init(#{path := <<"/file">>} = Req, State) ->
    File = uri_string:percent_decode(cowboy_req:qs(Req)),
    {ok, cowboy_req:reply(200, #{}, {sendfile, 0, filelib:file_size(File), File}, Req), State};
init(Req0, State) ->
    {ok, Body, Req} = case cowboy_req:path(Req0) of
        <<"/body">> -> cowboy_req:read_body(Req0);
        _ -> {ok, <<>>, Req0} % a body is left unread
    end,
    {{A, B, C, D}, _} = cowboy_req:peer(Req),
    {ok, cowboy_req:reply(200, #{}, io_lib:format("~s ~b.~b.~b.~b ~b ~s\n", [os:getpid(), A, B, C, D, byte_size(Body), cowboy_req:qs(Req)]), Req), State}.
