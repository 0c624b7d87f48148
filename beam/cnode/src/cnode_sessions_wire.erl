-module(cnode_sessions_wire).
-include("cnode_doc.hrl").
?MODULEDOC(false).
-include_lib("kernel/include/file.hrl").
-include("cnode_sessions.hrl").

%% What passes over UNIX sockets: sessions in BIND 10's form, packets to a front, descriptors.
-export([connect/2, listen/1, peer_uid/1, own_uid/0, sockaddr/1, encode/4, decode/1, envelope/1, close_descriptor/1, receive_fds/1, tell/2]).
-export_type([header/0]).

-define(AF_UNIX, 1).
-define(AF_INET, 2).
-define(AF_INET6, 10).
-define(SOCK_STREAM, 1).
-define(MAX_HEADER, 280).           % two struct sockaddr_storage, and six numbers
-define(MAX_DATA, 16#200000).
-define(MAX_PACKET, 131072).
-define(SHORT, 3000).               % ms that a packet waits for a front that does not read

-type header() :: #{family := inet | inet6 | local, local := cnode_sessions:endpoint(), remote := cnode_sessions:endpoint()}.

-spec connect(stream | seqpacket, file:name_all()) -> {ok, socket:socket()} | {error, term()}.
connect(Type, Path) ->
    maybe_open(Type, fun(S) -> socket:connect(S, address(Path), 1000) end).

%% Listens at a path. What a process that is gone has left there is deleted, nothing else is.
-spec listen(file:name_all()) -> {ok, socket:socket()} | {error, term()}.
listen(Path) ->
    case connect(stream, Path) of
        {ok, Other} ->
            _ = socket:close(Other),
            {error, eaddrinuse};
        {error, econnrefused} ->
            _ = file:delete(Path),
            bind(Path);
        {error, enoent} -> bind(Path);
        {error, Reason} -> {error, Reason}
    end.

bind(Path) ->
    maybe_open(stream, fun(S) ->
        case socket:bind(S, address(Path)) of
            ok ->
                case file:change_mode(Path, 8#600) of % nobody can connect before it listens
                    ok -> socket:listen(S, 128);
                    Error -> Error
                end;
            Error -> Error
        end
    end).

address(Path) -> #{family => local, path => unicode:characters_to_binary(Path)}.

maybe_open(Type, Do) ->
    case socket:open(local, Type) of
        {ok, S} ->
            case Do(S) of
                ok -> {ok, S};
                {error, Reason} ->
                    _ = socket:close(S),
                    {error, case Reason of {timeout, _} -> timeout; _ -> Reason end}
            end;
        Error -> Error
    end.

%% The user of the process at the other end: SO_PEERCRED of SOL_SOCKET, which OTP has no name for.
-spec peer_uid(socket:socket()) -> {ok, non_neg_integer()} | {error, term()}.
peer_uid(Socket) ->
    case socket:getopt_native(Socket, {1, 17}, 12) of
        {ok, <<_Pid:32/native, Uid:32/native, _Gid:32/native>>} -> {ok, Uid};
        {ok, _} -> {error, enoprotoopt};
        {error, _} = Error -> Error
    end.

-spec own_uid() -> non_neg_integer().
own_uid() ->
    {ok, #file_info{uid = Uid}} = file:read_file_info("/proc/self"),
    Uid.

%% Linux's struct sockaddr: the family in the machine's order, the rest in the network's.
-spec sockaddr(binary() | cnode_sessions:endpoint()) -> cnode_sessions:endpoint() | binary() | error.
sockaddr(<<?AF_INET:16/native, Port:16, A, B, C, D, _/binary>>) -> {{A, B, C, D}, Port};
sockaddr(<<?AF_INET6:16/native, Port:16, _Flow:32, A:16, B:16, C:16, D:16, E:16, F:16, G:16, H:16, _/binary>>) ->
    {{A, B, C, D, E, F, G, H}, Port};
sockaddr(<<?AF_UNIX:16/native, Path/binary>>) -> % as long as it is used; an abstract name begins with a 0 byte
    {local, case Path of
        <<0, _/binary>> -> Path;
        _ -> hd(binary:split(Path, <<0>>))
    end};
sockaddr({local, Path}) -> <<?AF_UNIX:16/native, Path/binary>>;
sockaddr({{A, B, C, D}, Port}) -> <<?AF_INET:16/native, Port:16, A, B, C, D, 0:64>>;
sockaddr({{A, B, C, D, E, F, G, H}, Port}) ->
    <<?AF_INET6:16/native, Port:16, 0:32, A:16, B:16, C:16, D:16, E:16, F:16, G:16, H:16, 0:32>>;
sockaddr(_) -> error.

-spec encode(inet | inet6 | local, cnode_sessions:endpoint(), cnode_sessions:endpoint(), binary()) -> binary().
encode(Family, Local, Remote, Data) ->
    L = sockaddr(Local),
    R = sockaddr(Remote),
    {Number, Protocol} = case Family of local -> {?AF_UNIX, 0}; inet -> {?AF_INET, 6}; inet6 -> {?AF_INET6, 6} end,
    Header = <<Number:32, ?SOCK_STREAM:32, Protocol:32, (byte_size(L)):32, L/binary, (byte_size(R)):32, R/binary, (byte_size(Data)):32>>,
    <<0, (byte_size(Header)):16, Header/binary, Data/binary>>.

%% The first session of what has come.
-spec decode(binary()) -> {ok, header(), Data :: binary(), Rest :: binary()} | more | {error, term()}.
decode(<<0, H:16, _/binary>>) when H > ?MAX_HEADER; H < 24 -> {error, {header_of, H}};
decode(<<0, H:16, Header:H/binary, Rest/binary>>) ->
    case Header of
        <<Family:32, ?SOCK_STREAM:32, _Protocol:32, L:32, Local:L/binary, R:32, Remote:R/binary, D:32>> when D =< ?MAX_DATA ->
            case {family(Family), sockaddr(Local), sockaddr(Remote), Rest} of
                {F, {_, _} = From, {_, _} = To, <<Data:D/binary, Next/binary>>} when F =/= error ->
                    {ok, #{family => F, local => From, remote => To}, Data, Next};
                {F, {_, _}, {_, _}, _} when F =/= error -> more;
                _ -> {error, endpoints}
            end;
        _ -> {error, header}
    end;
decode(<<0, _/binary>>) -> more;
decode(<<>>) -> more;
decode(_) -> {error, no_session}.

family(?AF_UNIX) -> local;
family(?AF_INET) -> inet;
family(?AF_INET6) -> inet6;
family(_) -> error.

%% A front's data: who the session is, and what the process before has left.
%% Of a connection that was asked for also the number by which it was, how it comes, and its TLS.
-spec envelope(binary()) ->
    {ok, non_neg_integer(), none | {non_neg_integer(), byte(), binary()}, State :: binary(), First :: binary()} | error.
envelope(<<16#C5, Id:64, N:32, State:N/binary, First/binary>>) -> {ok, Id, none, State, First};
envelope(<<16#C6, Id:64, Number:64, How, M:32, Tls:M/binary, N:32, State:N/binary, First/binary>>) ->
    {ok, Id, {Number, How, Tls}, State, First};
envelope(_) -> error.

%% OTP has no close(2), and closes no descriptor that a port or a socket has been made of: a raw file does. Exactly once, and
%% only when the port is gone: the number is in use again at once.
-spec close_descriptor(non_neg_integer()) -> ok.
close_descriptor(Fd) ->
    case prim_file:file_desc_to_ref(Fd, [read]) of
        {ok, File} ->
            _ = prim_file:close(File),
            ok;
        _ -> ok
    end.

%% One read of a stream or of packets, with the descriptors that came. lost: one came for which the system had no number.
-spec receive_fds(socket:socket()) ->
    {ok, binary(), [non_neg_integer()], Lost :: boolean()} | {select, socket:select_info()} | {error, term()}.
receive_fds(Socket) ->
    case socket:recvmsg(Socket, 262144, 256, [cmsg_cloexec], nowait) of
        {ok, #{iov := Iov, flags := Flags} = Message} ->
            Fds = [Fd || #{level := socket, type := rights, data := Data} <- maps:get(ctrl, Message, []), <<Fd:32/native>> <= Data],
            {ok, iolist_to_binary(Iov), Fds, lists:member(ctrunc, Flags)};
        {select, Info} -> {select, Info};
        {error, Reason} -> {error, Reason}
    end.

%% A packet to the front. It may be sent by any process. One that finds no room waits for a moment; while none is found,
%% those after it do not, so that a front that stands still does not hold up those who serve clients.
-spec tell(#link{} | none, iodata()) -> ok | {error, timeout | no_front | emsgsize}.
tell(none, _) -> {error, no_front};
tell(#link{control = Control, flags = Flags}, Data) ->
    Packet = iolist_to_binary(Data),
    case atomics:get(Flags, ?ENDED) of
        0 when byte_size(Packet) > ?MAX_PACKET -> {error, emsgsize};
        0 ->
            Stuck = atomics:get(Flags, ?STUCK),
            case socket:send(Control, Packet, [], (1 - Stuck) * ?SHORT) of
                ok when Stuck =:= 0 -> ok;
                ok -> atomics:put(Flags, ?STUCK, 0);
                {error, {timeout, _}} -> stuck(Flags);
                {error, timeout} -> stuck(Flags);
                _ -> {error, no_front}
            end;
        _ -> {error, no_front}
    end.

stuck(Flags) ->
    atomics:put(Flags, ?STUCK, 1),
    {error, timeout}.
