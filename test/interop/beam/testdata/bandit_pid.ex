defmodule BanditPid do
  @moduledoc "A web server that says which process of the system has answered."
  @behaviour Plug
  @behaviour Application
  import Plug.Conn

  def init(options), do: options

  # the server's own code: a file that the client's next requests come behind
  def call(%{request_path: "/file"} = conn, _),
    do: send_file(conn, 200, URI.decode_www_form(conn.query_string))

  # stands still when it has written so often
  def call(%{request_path: "/arm/" <> number} = conn, _) do
    :cnode_steps.arm(:answered, String.to_integer(number), URI.decode_www_form(conn.query_string))
    send_resp(conn, 200, "armed")
  end

  # until a file is deleted
  def call(%{request_path: "/wait"} = conn, _) do
    :ok = :cnode_steps.stands(URI.decode_www_form(conn.query_string))
    send_resp(conn, 200, "waited")
  end

  def call(%{request_path: "/chunks"} = conn, _) do
    {:ok, conn} = conn |> send_chunked(200) |> chunk("chunk")
    conn
  end

  def call(conn, _) do
    {:ok, body, conn} = read_body(conn)
    ip = conn.remote_ip |> :inet.ntoa()
    send_resp(conn, 200, "#{System.pid()} #{ip} #{byte_size(body)} #{conn.query_string}\n")
  end

  @doc "Runs as an application, which the system stops in order."
  def run(path) do
    :ok =
      :application.load(
        {:application, :bandit_pid,
         [
           vsn: ~c"1",
           modules: [],
           registered: [],
           applications: [:kernel, :stdlib, :elixir, :cnode, :bandit],
           mod: {__MODULE__, path}
         ]}
      )

    {:ok, _} = Application.ensure_all_started(:bandit_pid)
    Process.sleep(:infinity)
  end

  def start(_type, path) do
    Supervisor.start_link(
      [
        {Bandit,
         plug: __MODULE__,
         startup_log: false,
         thousand_island_options: [
           read_timeout: :infinity,
           transport_module: Cnode.Sessions.ThousandIsland,
           transport_options: [front: path, points: :idle]
         ]}
      ],
      strategy: :one_for_one
    )
  end

  def stop(_), do: :ok
end
