package console

import (
	"context"
	"log/slog"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/console"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/test/expect"
	"github.com/cnode-go/cnode/test/otp"
	"github.com/cnode-go/cnode/test/pty"
)

func start(t testing.TB, name string, port int, o console.Options, rules ...nodes.Rule) *nodes.Node {
	t.Helper()
	o.Level = new(slog.LevelVar)
	o.Log = console.NewLog(otp.Log(t, name).Handler())
	n, err := nodes.New(nodes.Config{
		Name: name, Cookie: otp.DefaultCookie, HandshakeTimeout: otp.HandshakeTime, Logger: slog.New(o.Log), Visible: true, Rules: rules,
		Resolver: &nodes.PortMapper{Client: epmd.Client{Addr: "127.0.0.1:" + strconv.Itoa(port)}},
		Setup:    func(n *nodes.Node) error { return console.Start(n, &o) },
	})
	require.NoError(t, err)
	t.Cleanup(func() { n.Close() })
	require.NoError(t, n.Start(expect.Context(t)))
	_, err = n.Serve("till", nodes.Server{Call: func(_ context.Context, c *nodes.Call) (any, error) { return c.Request, nil }}, nil)
	require.NoError(t, err)
	return n
}

// remsh runs erl -remsh.
func remsh(t testing.TB, r otp.Release, port int, node string) *pty.Terminal {
	cmd := exec.Command(r.Erl, "-name", "ops"+r.String()+"@127.0.0.1", "-setcookie", otp.DefaultCookie, "-hidden", "-start_epmd", "false",
		"-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-remsh", node)
	cmd.Env = append(pty.Environment(t), "ERL_EPMD_PORT="+strconv.Itoa(port), "HOME="+t.TempDir(), "LANG=C.UTF-8", "PATH=/usr/bin:/bin:/usr/sbin:/sbin")
	return pty.Start(t, cmd)
}

func TestRemsh(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		n := start(t, "go"+r.String()+"@127.0.0.1", port, console.Options{Commands: []console.Command{
			{Name: "quote", Args: "SKU QUANTITY", Help: "the price of an order", Func: func(sku string, qty int) (map[string]any, error) {
				return map[string]any{"sku": sku, "price": 2 * qty}, nil
			}},
		}})
		term := remsh(t, r, port, n.Name())
		term.Expect(t, n.Name()+"> ")
		term.Type(t, "help\r")
		term.Expect(t, "connections", "quote SKU QUANTITY", "the price", n.Name()+"> ")
		term.Type(t, "quo\t")
		term.Expect(t, "quote ")
		term.Type(t, "\"a 1\" 3\r")
		term.Expect(t, `#{`, n.Name()+"> ")
		term.Type(t, "processes\r")
		term.Expect(t, "till", n.Name()+"> ")
		term.Type(t, "process t\t\r")
		term.Expect(t, "server", n.Name()+"> ")
		term.Type(t, "pro\t")
		t.Logf("%q", term.Expect(t, "processes"))
		term.Type(t, "\x7f\x7f\x7fquit\r")
		t.Logf("%q", term.Expect(t, ""))
		<-term.Done()
	})
}
