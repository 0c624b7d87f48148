defmodule Rooms.Presence do
  @moduledoc "Who is in a room, where WATCHER names another node that is to see it."
  use Phoenix.Presence, otp_app: :rooms, pubsub_server: Rooms.PubSub
end

defmodule Rooms.Channel do
  @moduledoc "Says who has answered what."
  use Phoenix.Channel

  @impl true
  def join("room:" <> room, params, socket) do
    if System.get_env("WATCHER"), do: send(self(), {:here, params["user"]})
    if params["token"] == "bad", do: {:error, %{reason: "token"}}, else: {:ok, %{room: room, pid: System.pid()}, socket}
  end

  @impl true
  def handle_info({:here, user}, socket) do
    {:ok, _} = Rooms.Presence.track(socket, user, %{})
    {:noreply, socket}
  end

  @impl true
  def handle_in("say", %{"n" => n} = message, socket) do
    Process.sleep(message["ms"] || 0)
    {:reply, {:ok, %{n: n}}, socket}
  end

  def handle_in("leave", _, socket), do: {:stop, :normal, {:ok, %{}}, socket}
end

for {name, options} <- [Client: [], Server: [server: ["room:"]], Today: nil] do
  defmodule Module.concat(Rooms, name) do
    use Phoenix.Socket, log: false
    if options, do: use(Cnode.Sessions.Phoenix, options)
    channel "room:*", Rooms.Channel

    @impl true
    def connect(%{"expires" => at}, socket, _), do: if(String.to_integer(at) > System.os_time(:second), do: {:ok, socket}, else: :error)
    def connect(_, socket, _), do: {:ok, socket}
    @impl true
    def id(_), do: nil
  end
end

defmodule Rooms.LiveSocket do
  use Phoenix.LiveView.Socket
  use Cnode.Sessions.Phoenix
end

defmodule Rooms.Nested do
  use Phoenix.LiveView, layout: false

  @impl true
  def mount(_, _, socket), do: {:ok, assign(socket, pid: System.pid(), n: 0)}

  @impl true
  def handle_event("inc", _, socket), do: {:noreply, update(socket, :n, &(&1 + 1))}

  @impl true
  def render(assigns) do
    ~H"""
    <b id="nested-pid">{@pid}</b>
    <b id="nested-n">{@n}</b>
    <button id="nested-inc" phx-click="inc">click</button>
    """
  end
end

defmodule Rooms.Page do
  use Phoenix.LiveView, layout: false

  @impl true
  def mount(_, _, socket) do
    {:ok,
     socket
     |> assign(pid: System.pid(), form: to_form(%{"text" => ""}, as: :note), n: 0, size: 0)
     |> allow_upload(:file, accept: :any, max_file_size: 100_000_000, auto_upload: true, progress: &uploads/3)}
  end

  defp uploads(:file, %{done?: true} = entry, socket),
    do: {:noreply, assign(socket, size: consume_uploaded_entry(socket, entry, fn %{path: path} -> {:ok, File.stat!(path).size} end))}

  defp uploads(:file, entry, socket), do: {:noreply, assign(socket, size: -entry.progress)}

  @impl true
  def handle_event("change", %{"note" => note}, socket), do: {:noreply, assign(socket, form: to_form(note, as: :note))}
  def handle_event("inc", _, socket), do: {:noreply, update(socket, :n, &(&1 + 1))}
  def handle_event("file", _, socket), do: {:noreply, socket}

  @impl true
  def render(assigns) do
    ~H"""
    <div
      id="lost"
      hidden
      phx-disconnected={Phoenix.LiveView.JS.show(to: "#lost")}
      phx-connected={Phoenix.LiveView.JS.hide(to: "#lost")}
    >
      Something went wrong
    </div>
    <b id="pid">{@pid}</b>
    <b id="n">{@n}</b>
    <.form for={@form} id="note" phx-change="change">
      <input id="text" name="note[text]" value={@form[:text].value} />
    </.form>
    <p id="echo">{@form[:text].value}</p>
    <button id="inc" phx-click="inc">click</button>
    <.form for={%{}} id="files" phx-change="file"><.live_file_input upload={@uploads.file} /></.form>
    <b id="size">{@size}</b>
    {live_render(@socket, Rooms.Nested, id: "nested")}
    """
  end
end

defmodule Rooms.Letter do
  @moduledoc "A form with the banners of a new project of Phoenix, for a picture."
  use Phoenix.LiveView, layout: false
  alias Phoenix.LiveView.JS

  @impl true
  def mount(_, _, socket), do: {:ok, assign(socket, pid: System.pid(), form: to_form(%{"text" => ""}, as: :note))}

  @impl true
  def handle_event("change", %{"note" => note}, socket), do: {:noreply, assign(socket, form: to_form(note, as: :note))}

  @impl true
  def render(assigns) do
    ~H"""
    <style>
      body { font: 15px/1.5 'DejaVu Sans', sans-serif; margin: 40px 16px 0; color: #1f2328 }
      textarea { font: inherit; width: 100%; height: 96px; box-sizing: border-box; resize: none; padding: 6px 8px;
        border: 2px solid #0969da; border-radius: 6px; outline: none; caret-color: transparent }
      p { margin: 4px 0; color: #59636e; font-size: 13px }
      .flash { position: fixed; right: 12px; top: 8px; padding: 4px 14px; border-radius: 6px; background: #cf222e; color: white;
        font-size: 13px }
    </style>
    <.form for={@form} id="note" phx-change="change">
      <label for="text">Your message</label>
      <textarea id="text" name="note[text]">{Phoenix.HTML.Form.normalize_value("textarea", @form[:text].value)}</textarea>
    </.form>
    <p>The server has read {String.length(@form[:text].value)} characters, in BEAM {@pid}.</p>
    <div
      :for={{kind, title} <- [client: "We can't find the internet", server: "Something went wrong!"]}
      id={"#{kind}-error"}
      class="flash"
      hidden
      phx-disconnected={JS.show(to: ".phx-#{kind}-error ##{kind}-error") |> JS.remove_attribute("hidden", to: ".phx-#{kind}-error ##{kind}-error")}
      phx-connected={JS.hide(to: "##{kind}-error") |> JS.set_attribute({"hidden", ""})}
    >
      <b>{title}</b><br />Attempting to reconnect
    </div>
    """
  end
end

defmodule Rooms.Layout do
  use Phoenix.Component

  def root(assigns) do
    ~H"""
    <!DOCTYPE html>
    <html>
      <head>
        <meta name="csrf-token" content={Plug.CSRFProtection.get_csrf_token()} />
        <script src="/assets/phoenix.js">
        </script>
        <script src="/assets/lv/phoenix_live_view.js">
        </script>
      </head>
      <body>
        {@inner_content}
        <script>
          let csrf = document.querySelector("meta[name='csrf-token']").getAttribute("content");
          window.opens = 0; window.banner = 0;
          let today = location.pathname == "/letter-today"; // without a front
          window.live = new LiveView.LiveSocket(today ? "/live-today" : "/live", Phoenix.Socket, {
            params: {_csrf_token: csrf}, ...(today ? {} : {rejoinAfterMs: n => [50, 500, 2000][n - 1] || 5000})});
          live.connect();
          live.socket.onOpen(() => window.opens++);
          setInterval(() => {
            let lost = document.getElementById("lost");
            if (lost && lost.offsetParent !== null) window.banner++;
          }, 20);
        </script>
      </body>
    </html>
    """
  end
end

defmodule Rooms.Router do
  use Phoenix.Router, helpers: false
  import Phoenix.LiveView.Router

  pipeline :browser do
    plug :accepts, ["html"]
    plug :fetch_session
    plug :put_root_layout, html: {Rooms.Layout, :root}
    plug :protect_from_forgery
  end

  scope "/" do
    pipe_through :browser
    live "/", Rooms.Page
    live "/letter", Rooms.Letter
    live "/letter-today", Rooms.Letter
  end
end

defmodule Rooms.Endpoint do
  use Phoenix.Endpoint, otp_app: :rooms
  @session [store: :cookie, key: "_rooms", signing_salt: "signsign", same_site: "Lax"]

  socket "/client", Rooms.Client, websocket: [check_origin: false], longpoll: false
  socket "/server", Rooms.Server, websocket: [check_origin: false], longpoll: false
  socket "/today", Rooms.Today, websocket: [check_origin: false], longpoll: false
  socket "/live", Rooms.LiveSocket, websocket: [connect_info: [session: @session], check_origin: false], longpoll: false
  socket "/live-today", Phoenix.LiveView.Socket, websocket: [connect_info: [session: @session], check_origin: false], longpoll: false

  plug Plug.Static, at: "/assets", from: {:phoenix, "priv/static"}, only: ["phoenix.js"]
  plug Plug.Static, at: "/assets/lv", from: {:phoenix_live_view, "priv/static"}, only: ["phoenix_live_view.js"]
  plug Plug.Session, @session
  plug Rooms.Router
end

defmodule Rooms do
  @moduledoc "An application of Phoenix, which the system stops in order."
  @behaviour Application

  # where it listens without a front
  def run(port) when is_integer(port), do: runs(ip: {127, 0, 0, 1}, port: port)

  def run(path) do
    runs(
      thousand_island_options: [
        transport_module: Cnode.Sessions.Bandit,
        handler_module: Cnode.Sessions.Bandit.Handler,
        transport_options: [front: path]
      ]
    )
  end

  # nothing of it is to be compiled, and little to be loaded, when its clients come
  defp runs(http) do
    configures()

    :ok =
      :application.load(
        {:application, :rooms,
         [vsn: ~c"1", modules: [], registered: [], applications: [:kernel, :stdlib, :elixir, :cnode, :bandit, :phoenix_live_view], mod: {__MODULE__, []}]}
      )

    Application.put_env(:rooms, Rooms.Endpoint,
      adapter: Bandit.PhoenixAdapter,
      server: true,
      url: [host: "127.0.0.1"],
      pubsub_server: Rooms.PubSub,
      secret_key_base: String.duplicate("s", 64),
      live_view: [signing_salt: "signsign"],
      http: [startup_log: false] ++ http
    )

    for app <- [:telemetry, :plug, :bandit, :thousand_island, :websock_adapter, :phoenix_pubsub, :phoenix, :phoenix_live_view, :cnode],
        _ = Application.load(app),
        module <- Application.spec(app, :modules) || [],
        do: Code.ensure_loaded(module)

    {:ok, _} = Application.ensure_all_started(:rooms)
    Process.sleep(:infinity)
  end

  # what Phoenix's own configuration says
  defp configures, do: for({key, value} <- [logger: false, json_library: JSON], do: Application.put_env(:phoenix, key, value))

  @impl true
  def start(_, _) do
    with watcher when watcher != nil <- System.get_env("WATCHER"), do: true = Node.connect(String.to_atom(watcher))

    children = [
      {Phoenix.PubSub, name: Rooms.PubSub},
      Rooms.Presence,
      Rooms.Endpoint,
      {Task, fn ->
        with path when path != nil <- System.get_env("NOTIFY_SOCKET") do
          {:ok, socket} = :gen_udp.open(0, [:local])
          :ok = :gen_udp.send(socket, {:local, path}, 0, "READY=1")
        end
      end}
    ]

    Supervisor.start_link(children, strategy: :one_for_one)
  end
  @impl true
  def stop(_), do: :ok

  # another node, which says what it is told of a room, and whom it takes to be there
  def watch do
    configures()
    {:ok, _} = Application.ensure_all_started(:phoenix_live_view)
    {:ok, _} = Supervisor.start_link([{Phoenix.PubSub, name: Rooms.PubSub}, Rooms.Presence], strategy: :one_for_one)
    :ok = Phoenix.PubSub.subscribe(Rooms.PubSub, "room:1")
    IO.puts("watches")
    watches()
  end

  defp watches do
    receive do
      %{event: "presence_diff", payload: %{joins: joins, leaves: leaves}} ->
        here = Rooms.Presence.list("room:1")
        metas = for {_, %{metas: metas}} <- here, _ <- metas, do: 1
        IO.puts("room #{map_size(joins)} #{map_size(leaves)} #{map_size(here)} #{length(metas)}")
    end

    watches()
  end
end
