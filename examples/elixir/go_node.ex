defmodule GoNode do
  @moduledoc """
  Runs a Go program as a node beside this one: starts it, waits until it is ready, watches it, and ends with it, so that
  the supervisor starts both again, with the exit status as the reason. Copy this file into your application:

      children = [
        {GoNode, node: :"service@127.0.0.1", path: "/opt/shop/service"}
      ]

  The program gets `--name NODE --until-eof` and what `:args` has, and the cookie in the environment variable
  SERVICE_COOKIE, since other users see command lines. It prints a line that begins with "ready", and ends with its standard input, which is this VM's: it
  does not outlive it, unless it hangs when this VM is killed.
  """
  use GenServer, shutdown: 15_000
  require Logger

  # for the name that a program which has just ended still has, and for the connection
  @again 200
  @start_limit 15_000
  # a program has 10 s by itself (upgrade.DefaultShutdownTimeout); then it is killed
  @stop_limit 12_000

  def start_link(opts), do: GenServer.start_link(__MODULE__, opts, name: Keyword.get(opts, :name, __MODULE__))

  @doc "The number of the program's operating-system process."
  def os_pid(server \\ __MODULE__), do: GenServer.call(server, :os_pid)

  @impl true
  def init(opts) do
    Process.flag(:trap_exit, true)
    state = %{opts: opts, node: Keyword.fetch!(opts, :node), port: nil}
    run(state, now() + @start_limit)
  end

  # The children that come after this one find the node there.
  defp run(state, until) do
    port = open(state)

    case ready(port, until) do
      :ok ->
        {:ok, connect(%{state | port: port})}

      {:error, reason} ->
        if now() + @again < until do
          Process.sleep(@again)
          run(state, until)
        else
          {:stop, reason}
        end
    end
  end

  defp open(%{opts: opts, node: node}) do
    args = ["--name", Atom.to_string(node), "--until-eof" | Keyword.get(opts, :args, [])]
    env = [{~c"SERVICE_COOKIE", Atom.to_charlist(Node.get_cookie())}]
    path = Keyword.fetch!(opts, :path)
    Port.open({:spawn_executable, path}, [:binary, :exit_status, line: 4096, args: args, env: env])
  end

  defp ready(port, until) do
    receive do
      {^port, {:data, {_, "ready" <> _ = line}}} -> said(line)
      {^port, {:data, {_, line}}} -> said(line) && ready(port, until)
      {^port, {:exit_status, status}} -> {:error, {:exit_status, status}}
    after
      max(until - now(), 0) ->
        kill(port)
        {:error, :not_ready}
    end
  end

  defp connect(state) do
    if Node.connect(state.node) do
      Node.monitor(state.node, true)
    else
      Process.send_after(self(), :connect, @again)
    end

    state
  end

  @impl true
  def handle_call(:os_pid, _, state), do: {:reply, Port.info(state.port)[:os_pid], state}

  @impl true
  def handle_info({port, {:data, {_, line}}}, %{port: port} = state), do: said(line) && {:noreply, state}
  # the supervisor starts it again
  def handle_info({port, {:exit_status, status}}, %{port: port} = state), do: {:stop, {:exit_status, status}, %{state | port: nil}}
  # the program may still run: the connection alone may be lost
  def handle_info({:nodedown, node}, %{node: node} = state), do: {:noreply, connect(state)}
  def handle_info(:connect, state), do: {:noreply, connect(state)}
  def handle_info(_, state), do: {:noreply, state}

  # On SIGTERM the program answers what it works on, and ends.
  @impl true
  def terminate(_, %{port: nil}), do: :ok

  def terminate(_, %{port: port}) do
    with os_pid when os_pid != nil <- Port.info(port)[:os_pid] do
      System.cmd("/bin/sh", ["-c", "kill -TERM #{os_pid}"], stderr_to_stdout: true)

      receive do
        {^port, {:exit_status, _}} -> :ok
      after
        @stop_limit -> kill(port)
      end
    end
  end

  # One that hangs does not hear that its standard input has ended, and would keep its name.
  defp kill(port) do
    with os_pid when os_pid != nil <- Port.info(port)[:os_pid],
         do: System.cmd("/bin/sh", ["-c", "kill -KILL #{os_pid}"], stderr_to_stdout: true)

    Port.close(port)
  rescue
    # it has closed itself
    ArgumentError -> true
  end

  defp said(line), do: Logger.info("go: " <> line)
  defp now, do: System.monotonic_time(:millisecond)
end
