package pubsub

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
)

// standIns are what the page of examples/phoenix needs of Phoenix, and the page's own process,
// which subscribes in place of the page, since the PubSub has another name here.
const standIns = `
defmodule MyAppWeb do
  defmacro __using__(_), do: quote(do: import(MyAppWeb.StandIns))
end
defmodule MyAppWeb.StandIns do
  def connected?(_), do: false
  def assign(socket, values), do: Enum.into(values, socket)
  def update(socket, key, f), do: Map.update!(socket, key, f)
  defmacro sigil_H(text, _), do: text
end
defmodule MyApp.Page do
  def open(pubsub, to) do
    spawn(fn ->
      {:ok, socket} = MyAppWeb.PriceLive.mount(%{}, %{}, %{})
      :ok = Phoenix.PubSub.subscribe(pubsub, "prices")
      show(socket, to)
    end)
  end
  defp show(socket, to) do
    receive do
      message ->
        {:noreply, socket} = MyAppWeb.PriceLive.handle_info(message, socket)
        send(to, {:shown, socket.prices})
        show(socket, to)
    end
  end
end
`

// The Go program of examples/phoenix pushes to the page and to the browsers of that example.
func TestExamplePhoenix(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "phoenix")
	out, err := exec.Command("go", "build", "-o", path, "github.com/cnode-go/cnode/examples/phoenix").CombinedOutput()
	require.NoError(t, err, "%s", out)
	page := standIns
	for _, name := range []string{"price_live.ex", "price_channel.ex"} {
		text, err := os.ReadFile("../../../examples/phoenix/" + name)
		require.NoError(t, err)
		page += string(text)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".erlang.cookie"), []byte(otp.DefaultCookie), 0o400))
	each(t, func(w *world) {
		w.start(1)
		x := w.lab.peers[0]
		_, err := w.n.RPC(w.ctx(), x.name, "Elixir.Code", "eval_string",
			`Code.compiler_options(ignore_module_conflict: true)`)
		require.NoError(w.t, err)
		_, err = w.n.RPC(w.ctx(), x.name, "Elixir.Code", "compile_string", page)
		require.NoError(w.t, err)
		browser := w.call(x, "subscribe", elixirName(w.pubsub), "prices:all")
		box, err := w.n.NewMailbox(nil)
		require.NoError(w.t, err)
		_, err = w.n.RPC(w.ctx(), x.name, "Elixir.MyApp.Page", "open", elixirName(w.pubsub), box.Pid())
		require.NoError(t, err)

		cmd := exec.Command(path, "--name", goName(), "--app", x.name, "--pubsub", w.pubsub, "--every", "20ms")
		cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "ERL_EPMD_PORT=" + strconv.Itoa(w.lab.port), "ERL_EPMD_ADDRESS=127.0.0.1"}
		otp.Serve(w.t, cmd)
		m, err := box.Receive(w.ctx())
		require.NoError(w.t, err)
		shown, err := m.Term()
		require.NoError(w.t, err)
		require.Regexp(w.t, `^\{shown,#\{<<"pear">> => 4\d\}\}$`, shown.String())
		require.Regexp(w.t, `^\{to_browser,<<"prices:all">>,<<"price">>,#\{.*item => <<"pear">>.*\}\}$`, w.next(x, browser))
	})
}
