defmodule Cnode.Sessions do
  @moduledoc """
  Serves TCP sessions that a front written in Go accepts and keeps.

  A front (package `contrib/front` of [cnode](https://github.com/cnode-go/cnode)) accepts the connections. Your
  processes serve them as ordinary sockets. If your system is killed, or restarted, the next one goes on with the same
  connections.

  For Bandit and Phoenix see `Cnode.Sessions.ThousandIsland`, for their WebSockets `Cnode.Sessions.Bandit`, for Cowboy
  `:cnode_sessions_ranch`.

  ## What moves, and what cannot

  A session moves when it stands at a *point*: a place that you have told, from which another process can go on with the
  state that you have told with it. `answer/4` tells one with each answer. A session that nobody has told a point of moves
  as long as nothing was read from it or written to it. Every other session is reset when its process is killed.

  TLS that ends in this system cannot move, because its keys go with the system: let the front end TLS. HTTP/2 and WebSocket
  cannot move unless your program tells the points.

  ## A protocol of your own

      children = [
        {Cnode.Sessions, name: MyApp.Sessions, front: "/run/app/front.sock", adopt: :socket},
        ...
      ]

      {:ok, socket} = Cnode.Sessions.accept(MyApp.Sessions)
      {:ok, %{state: state}} = Cnode.Sessions.info(socket)
      {:ok, request} = Cnode.Sessions.peek(socket)
      :ok = Cnode.Sessions.answer(socket, "fine\\n", "", new_state)

  Linux only, OTP 25 or newer.
  """

  @typedoc "A session: a socket of `:gen_tcp`, or of `:socket` with the option `adopt: :socket`."
  @type session :: :cnode_sessions.session()

  @typedoc "See `start_link/1`."
  @type option ::
          {:name, GenServer.name()}
          | {:front | :plain | :listen, Path.t()}
          | {:adopt, :gen_tcp | :socket}
          | {:socket_opts, [:gen_tcp.option()]}
          | {:worker, String.t()}
          | {:uids, [non_neg_integer()]}
          | {:points, :none | :idle}

  @doc """
  Starts a server of sessions. It never waits for the front, and connects again whenever the connection ends.

  Exactly one option says where sessions come from:

    * `:front` - the path of a front whose sessions can go on elsewhere.
    * `:plain` - the path of a sender without states and points.
    * `:listen` - a path at which senders connect.

  The others are optional:

    * `:name` - the name of the process.
    * `:adopt` - the kind of socket, `:gen_tcp` or `:socket`. With `:socket` you `peek/2` at the input before you take it, and a
      kill loses no session.
    * `:socket_opts` - options for `:gen_tcp`, but not `packet: 1`, `2` or `4`, whose lengths no point counts. With
      `adopt: :socket` only `:send_timeout` counts: close the session after `{:error, :timeout}`.
    * `:worker` - what the front calls this system in its statistics.
    * `:uids` - users that may send sessions, beside root and the one that this system runs as.
    * `:points` - see `:cnode_sessions.idle/1`.
  """
  @spec start_link([option]) :: {:ok, pid} | {:error, term}
  def start_link(options) do
    {name, options} = Keyword.pop(options, :name)

    with {:ok, pid} <- :cnode_sessions.start_link(server_options(options)) do
      register(pid, name)
    end
  end

  defp server_options(options) do
    {worker, options} = Keyword.pop(options, :worker)
    options = Map.new(options)
    if worker, do: Map.put(options, :name, worker), else: options
  end

  defp register(pid, nil), do: {:ok, pid}

  defp register(pid, name) when is_atom(name) do
    Process.register(pid, name)
    {:ok, pid}
  rescue
    ArgumentError -> taken(pid, Process.whereis(name))
  end

  defp register(pid, {:global, name}),
    do: registered(:global.register_name(name, pid), pid, {:global, name})

  defp register(pid, {:via, module, name}),
    do: registered(module.register_name(name, pid), pid, {:via, module, name})

  defp registered(:yes, pid, _), do: {:ok, pid}
  defp registered(_, pid, name), do: taken(pid, GenServer.whereis(name))

  defp taken(pid, other) do
    Process.unlink(pid)
    GenServer.stop(pid)
    {:error, {:already_started, other}}
  end

  @doc """
  A child for a supervisor.

  Put it behind the supervisor of those that serve its sessions: it ends before them then, and retires, so that their sessions
  can go on elsewhere. Put those that call `accept/2` behind it.
  """
  @spec child_spec([option]) :: Supervisor.child_spec()
  def child_spec(options) do
    %{
      id: Keyword.get(options, :name, __MODULE__),
      start: {__MODULE__, :start_link, [options]},
      shutdown: 10_000
    }
  end

  @doc """
  The next session, whose owner the caller becomes.

  `{:error, :closed}` after `retire/1`, `{:error, :timeout}` after `timeout` milliseconds.
  """
  @spec accept(GenServer.server(), timeout) :: {:ok, session} | {:error, :closed | :timeout}
  def accept(server, timeout \\ :infinity), do: :cnode_sessions.accept(server, timeout)

  @doc """
  The connection of a name, whose owner the caller becomes: that which a process before has had, or a new one to `address`,
  `"HOST:PORT"`, that the front makes. The front's list of addresses must have it.

      {:ok, socket} = Cnode.Sessions.connect(MyApp.Sessions, "irc/alice", "irc.libera.chat:6667")
      {:ok, %{state: state}} = Cnode.Sessions.info(socket)
      if state == "", do: Cnode.Sessions.answer(socket, "NICK alice\\r\\nUSER alice 0 * :Alice\\r\\n", "in")
      serve(socket)

  It is a session as those of `accept/2` are: with points it outlives this system. Its `state` is empty as long as no point was
  told. `info/1` also has its `:name`, and `:connection`: `:new`, `:kept`, or `:ended` if the peer has ended it while nobody had
  it. What the peer had sent is read first then, and the end comes behind it.

  `close/1` ends the connection. If its owner ends without that, the connection waits for who asks for its name next. When it has
  ended, or cannot be made, ask for its name again: the front pauses before it dials, longer each time.

    * `:tls` - `true` for TLS, which the front does and verifies, or `:later` for a connection in which it begins with `begin_tls/2`.
      `info/1` then has `:tls`, with the peer's `:certificate`.
    * `:server_name` - whose certificate it must be, else that of the address's host.
    * `:wait` - `true` waits while another process has the connection. Otherwise the error is `:taken`, unless that process is
      about to end.
    * `:timeout` - milliseconds, or `:infinity`, which is the default.
    * `:tell` - a process that gets `{:cnode_sessions, name, {:redial, ms, why}}` when the front pauses before it dials.

  The errors, and who may ask for a name, are those of `:cnode_sessions.connect/4`.
  """
  @spec connect(GenServer.server(), String.t(), String.t(), keyword) ::
          {:ok, session} | {:error, :cnode_sessions.connect_error()}
  def connect(server, name, address, options \\ []),
    do: :cnode_sessions.connect(server, name, address, Map.new(options))

  @doc """
  Begins TLS in a connection that was made with `tls: :later`, as in STARTTLS. All that has come must have been taken, by
  `answer/4` or `point/3`. After an error close it: see `:cnode_sessions.begin_tls/2`.
  """
  @spec begin_tls(session, timeout) :: :ok | {:error, :cnode_sessions.connect_error()}
  def begin_tls(session, timeout \\ 20_000), do: :cnode_sessions.begin_tls(session, timeout)

  @doc "What a server does: see `:cnode_sessions.status/1`."
  @spec status(GenServer.server()) :: map
  def status(server), do: :cnode_sessions.status(server)

  @doc """
  No more sessions. From now on a session that is closed goes on in another process, if it stands at a point.

  Call it before you stop, as early as you can.
  """
  @spec retire(GenServer.server()) :: :ok
  def retire(server), do: :cnode_sessions.retire(server)

  @doc """
  What the front has said of a session: its `:id`, its endpoints `:local` and `:remote`, the `:state` that the process before
  has left, and the bytes that were `:read` before. These are read again: `:gen_tcp.recv/2` and `peek/2` give them first, so do
  not deal with both.
  """
  @spec info(session) :: {:ok, :cnode_sessions.info()} | {:error, :closed}
  defdelegate info(session), to: :cnode_sessions

  @doc """
  Sends an answer, behind which another process can go on with `state`, if all of it gets out.

  `rest` is what was read behind the request that is answered: the other process reads it first.
  """
  @spec answer(session, iodata, binary, binary) :: :ok | {:error, term}
  defdelegate answer(session, data, rest \\ "", state), to: :cnode_sessions

  @doc """
  Says that `rest` was read and is not dealt with. Call it as soon as you have read what is not a whole request.
  """
  @spec received(session, binary) :: :ok | {:error, term}
  defdelegate received(session, rest), to: :cnode_sessions

  @doc "Says that another process can go on here: see `:cnode_sessions.point/3`."
  @spec point(session, binary, binary) :: :ok | {:error, term}
  defdelegate point(session, rest \\ "", state), to: :cnode_sessions

  @doc "Says that nobody else can go on, until the next point."
  @spec no_point(session) :: :ok | {:error, term}
  defdelegate no_point(session), to: :cnode_sessions

  @doc "What has come and is not dealt with, and stays where it is. It waits if there is nothing. For `adopt: :socket`."
  @spec peek(session, timeout) :: {:ok, binary} | {:error, term}
  def peek(session, timeout \\ :infinity), do: :cnode_sessions.peek(session, timeout)

  @doc "`peek/2` where that was not enough: waits until more has come, and returns all of it."
  @spec more(session, timeout) :: {:ok, binary} | {:error, term}
  def more(session, timeout \\ :infinity), do: :cnode_sessions.more(session, timeout)

  @doc """
  Sends something behind which nobody else can go on, until you tell the next point. The last answer before `close/1` is one.
  """
  @spec send(session, iodata) :: :ok | {:error, term}
  defdelegate send(session, data), to: :cnode_sessions

  @doc """
  In place of `:file.sendfile/5`, whose bytes nobody else counts. Behind it nobody else can go on, until you tell the next
  point.
  """
  @spec sendfile(session, :file.fd(), non_neg_integer, non_neg_integer, keyword) ::
          {:ok, non_neg_integer} | {:error, term}
  defdelegate sendfile(session, file, offset, bytes, options \\ []), to: :cnode_sessions

  @doc "In place of `:gen_tcp.unrecv/2`, after which a session stands at no point."
  @spec unrecv(session, binary) :: :ok | {:error, term}
  defdelegate unrecv(session, data), to: :cnode_sessions

  @doc "In place of `:gen_tcp.shutdown/2`: while the server retires it does nothing, and returns `{:error, :enotconn}`."
  @spec shutdown(session, :read | :write | :read_write) :: :ok | {:error, term}
  defdelegate shutdown(session, how), to: :cnode_sessions

  @doc "Closes a session; so do `:gen_tcp.close/1` and the end of its owner."
  @spec close(session) :: :ok
  defdelegate close(session), to: :cnode_sessions
end
