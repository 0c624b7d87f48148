defmodule Cnode.Node do
  @moduledoc """
  Runs a Go program as a node beside this one, below a supervisor.

      children = [
        {Cnode.Node, program: "pricing"}
      ]

  The program is the one that the compiler `:cnode` has built for this build
  (`Mix.Tasks.Compile.Cnode`), or `priv/cnode/pricing` of your application, as in a release. The child
  waits until its node is connected, so the children after it find it there.

  If your BEAM has a name, the program is a node of your cluster, `:"pricing@HOST"`. If it has none, the
  program gets a private link: a connection that no other node knows of. Your code is the same for both:

      Cnode.Node.call(:pricing, :pricing, :total, [1.5, 3])
      GenServer.call(Cnode.Node.to(:pricing, :counter), {:add, 5})

  When the program ends, so does the child: with reason `:normal` for exit status 0, else with
  `{:exit_status, status, lines}`. A signal counts as 128 plus its number. The status is `:unknown` if
  another process, which the program has started, still holds its output. The lines are the program's
  last, or the first ones of a Go panic; they are logged as an error, too. Your supervisor starts the
  program again by its own rules.

  What the program writes goes to `Logger`, line by line. If it writes faster than the log takes it,
  lines are dropped, and the log says how many bytes they had. When your application stops, the program
  gets SIGTERM, answers what it works on, and ends. When your BEAM is killed, the program sees the
  end of its standard input, and ends as well.

  ## What a link is

  A link is the protocol of the distribution over a UNIX socket, in a folder that only your user can enter,
  with a secret of its own for each start. Calls, casts, exceptions, monitors, links, group leaders and
  upgrades are those of a node. A process of Go is a local pid here, which stands for it. But:

    * `{name, node}`, `:erpc` and `Node.monitor/2` do not reach a node behind a link: use `to/2`, `call/5`, and a monitor of
      the child.
    * pg, global, PubSub and discovery need a node, and Go reaches no pids of other nodes.
    * What you send or cast waits here while Go stands still, without a bound. A call waits for no longer than its time-out.
    * What `to/2` gives for a name is another process than the one that stands for the same process's pid. A link to it, or an
      exit signal, does not reach Go, and between the two there is no order.
    * A reference of Go can be compared, and sent back to Go. A message sent to it is lost.
    * Links need UNIX sockets: on Windows start your BEAM with a name.

  If your BEAM gets a name while it runs, the child ends, and your supervisor starts it again, then as a node, or with `link: true`
  with a link.

  ## A unit of systemd

      {Cnode.Node, unit: "pricing.service", node: :"pricing@127.0.0.1"}

  systemd starts and stops the program. The child connects to its node, connects again when the unit
  is back, and logs why it went down.

  ## Other programs

  A Go program with package `nodes/child` knows what `:cnode_node` says about its environment. So can
  any other program.
  """

  @typedoc "See `start_link/1`."
  @type option ::
          {:program, atom | String.t()}
          | {:path, Path.t()}
          | {:unit, String.t()}
          | {:app, atom}
          | {:node, node}
          | {:link, boolean}
          | {:name, atom}
          | {:args, [String.t()]}
          | {:env, [{String.t(), String.t()}]}
          | {:cd, Path.t()}
          | {:ready_timeout, pos_integer}
          | {:stop_timeout, pos_integer}
          | {:log, Logger.level() | false}
          | {:systemctl, [String.t()]}
          | {:id, term}

  @doc """
  Starts a child, and returns once its node is connected.

  Exactly one option says what it is about:

    * `:program` - the name of a program that the compiler `:cnode` has built, or that is in `priv/cnode`.
    * `:path` - the path of a program.
    * `:unit` - a unit of systemd.

  The others are optional:

    * `:app` - the application that has the program. The default is the one that the caller is part of.
    * `:node` - the name of the node. The default is the program, at the host of this node, or at `nohost` for a link.
    * `:link` - `true` for a link although this BEAM has a name, `false` for an error if it has none. The default is a link if it
      has none.
    * `:name` - the name that the child is registered by. The default is the name of its node.
    * `:args`, `:env`, `:cd` - arguments, variables and folder of the program.
    * `:ready_timeout` - milliseconds until the node has to be connected, 15,000. A unit that is late is waited for in the
      background.
    * `:stop_timeout` - milliseconds after which a program that has to stop is killed, 12,000.
    * `:log` - the level of lines without one of their own, `:info`, or `false` for no lines.
    * `:systemctl` - the command that is asked about a unit, with its arguments: `["systemctl", "--user"]`.

  The errors are `{:not_distributed, why}` if this node has no name and there can be no link, `{:no_folder, folder, reason}`
  and `{:name_too_long, node}` if a link cannot have a socket, `{:no_program, path}`, `{:exit_status, status, lines}`,
  `:not_ready` and `:not_connected`.
  """
  @spec start_link([option]) :: {:ok, pid} | {:error, term}
  def start_link(options), do: options |> Map.new() |> built() |> :cnode_node.start_link()

  # In a project each build has its own programs; priv may have those of another one.
  defp built(%{program: name} = options) when not is_map_key(options, :path) do
    with {:ok, app} <- with(:error <- Map.fetch(options, :app), do: :application.get_application()),
         dir when is_list(dir) <- :code.lib_dir(app),
         files = for(suffix <- ["", ".exe"], do: Path.join([dir, "cnode", "#{name}#{suffix}"])),
         file when file != nil <- Enum.find(files, &File.regular?/1) do
      options |> Map.delete(:program) |> Map.put(:path, file)
    else
      _ -> options
    end
  end

  defp built(options), do: options

  @doc """
  A child for a supervisor. Its id is `{Cnode.Node, id}` with the option `:id`, or the first of `:node`, `:program`, `:path` and
  `:unit` that there is.
  """
  @spec child_spec([option]) :: Supervisor.child_spec()
  def child_spec(options) do
    %{id: {:cnode_node, id}} = spec = :cnode_node.child_spec(Map.new(options))
    %{spec | id: {__MODULE__, id}, start: {__MODULE__, :start_link, [options]}}
  end

  @doc """
  What the child does: its `:node`, whether it has a `:link`, whether it is `:connected`, the number of the operating
  system's process as `:os_pid`, and the `:path` of the program, or the `:unit` and its `:state`.
  """
  @spec info(GenServer.server()) :: :cnode_node.info()
  defdelegate info(server), to: :cnode_node

  @doc """
  Calls a function of the child's node: `:erpc.call/5`, with its errors, over a link, too.

  The child is named by its program, its node, or its `:name`. Two children of one program need names of their own.
  """
  @spec call(atom, module, atom, [term], timeout) :: term
  def call(child, module, function, args, timeout \\ 5_000),
    do: :cnode_node.call(child, module, function, args, timeout)

  @doc """
  The process that has this name in the child's node, for `GenServer.call/3`, `GenServer.cast/2`, `Process.monitor/1` and so on.

  It is `{name, node}`, or over a link a local process that stands for the one in Go until that ends. Ask each time. The child is
  named as for `call/5`.
  """
  @spec to(atom, atom) :: {atom, node} | pid
  defdelegate to(child, name), to: :cnode_node

  @doc """
  Has the node go on in a new process of the program, as the file is now. No node sees it go down.

  It returns when the new process is the node, or `:unchanged` if the file is the one that runs. After `{:error, reason}` the old
  process serves on. For a unit it is `systemctl reload`. See `:cnode_node.upgrade/1`.
  """
  @spec upgrade(GenServer.server()) :: :ok | :unchanged | {:error, term}
  defdelegate upgrade(server), to: :cnode_node
end
