%% The connection to a front: a socket of packets, and flags that every process reads without asking anybody.
-record(link, {control :: socket:socket(), flags :: atomics:atomics_ref()}).

-define(STUCK, 1).      % a packet found no room: those after it do not wait
-define(RETIRING, 2).   % a socket that is closed may go on in another process
-define(ENDED, 3).      % the front is gone, or has ended its service: the sessions are this system's own
-define(POINTS_TO, 4).      % the most bytes of a point, of a front that takes parts of them; else 0

%% A session in the table that is named cnode_sessions.
-record(session, {
    socket :: gen_tcp:socket() | socket:socket() | '_' | '$1',
    kind :: gen_tcp | socket | '_',
    server :: pid() | '_',
    link :: #link{} | none | '_',
    id = 0 :: non_neg_integer() | '_',
    fd = none :: non_neg_integer() | none | '_', % which nobody but the guard closes
    taken = false :: boolean() | '_',            % by an acceptor
    head = none :: binary() | none | '_',        % what the front knows that states begin with
    points = none :: none | idle | '_',
    stays = false :: boolean() | '_',
    void = false :: boolean() | '_',  % the last no_point has not been told, and no point since
    local :: cnode_sessions:endpoint() | '_',
    remote :: cnode_sessions:endpoint() | '_',
    state = <<>> :: binary() | '_',
    first = <<>> :: binary() | '_',   % what was read before this system had the session
    back = 0 :: non_neg_integer() | '_',  % bytes that were put back, first included: the driver counts them again
    again = 0 :: non_neg_integer() | '_', % what it has counted when all of them are read
    seen = none :: non_neg_integer() | none | '_', % what it had counted when the mailbox had no data
    told = false :: boolean() | '_',  % the counts below are those of the front
    files = 0 :: non_neg_integer() | '_', % bytes of files, which it does not count; of kind socket: what was written at `seen`
    outgoing = none :: #{atom() => term()} | none | '_', % of a connection that was asked for by its name: what info/1 has of it
    timeout = infinity :: timeout() | '_', % of sends, of kind socket
    %% of kind socket, whose counts nobody else keeps; of kind gen_tcp, as the last point has them:
    buffer = <<>> :: binary() | '_',  % taken, not dealt with
    peeked = 0 :: non_neg_integer() | '_',
    consumed = 0 :: non_neg_integer() | '_',
    written = 0 :: non_neg_integer() | '_'
}).

-define(TABLE, cnode_sessions).

%% A place at which a test ends this system, or the front. Nothing is left of it in a system that is no test's.
-ifdef(CNODE_STEPS).
-define(STEP(Name), _ = cnode_steps:passed(Name)).
-else.
-define(STEP(_Name), _ = ok).
-endif.


%% Other entries of the table.
-record(hand, {fd :: {fd, non_neg_integer()} | '$1', server :: pid()}).      % a descriptor that is not a session's yet
-record(named, {name :: {name, reference()}, server :: pid()}). % a transport's server
-record(opened, {server :: pid(), by :: pid()}).            % who called listen, for a transport: its end means retire
