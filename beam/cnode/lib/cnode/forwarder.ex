defmodule Cnode.Forwarder do
  @moduledoc """
  Gives TCP sessions of this system to another process of this machine: another BEAM with `{Cnode.Sessions, listen: path}`, a
  Go program with package `transport/handoff/bind10`, or a program of BIND 10.

      {:ok, forwarder} = Cnode.Forwarder.start_link(path: "/run/app/worker.sock")
      {:ok, request} = :gen_tcp.recv(socket, 0)
      :ok = Cnode.Forwarder.push(forwarder, socket, request)
      :ok = :gen_tcp.close(socket)

  The session goes with its endpoints and with what you have read from it, and nobody gets it back if the receiver dies.
  """

  @doc "Starts a forwarder to the receiver at `:path`. It connects when a session is pushed."
  @spec start_link(path: Path.t()) :: {:ok, pid} | {:error, term}
  def start_link(options), do: :cnode_forwarder.start_link(Map.new(options))

  @doc "A child for a supervisor."
  @spec child_spec(path: Path.t()) :: Supervisor.child_spec()
  def child_spec(options), do: %{id: __MODULE__, start: {__MODULE__, :start_link, [options]}}

  @doc """
  Sends a session: a connected socket, passive, and 1 to 65,535 bytes that were read from it. The socket stays the caller's,
  who closes it next. After an error it is still the caller's to serve. See `:cnode_forwarder.push/3`.
  """
  @spec push(GenServer.server(), Cnode.Sessions.session(), binary) :: :ok | {:error, term}
  defdelegate push(forwarder, socket, data), to: :cnode_forwarder
end
