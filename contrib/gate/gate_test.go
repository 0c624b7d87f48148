package gate_test

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/gate"
	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/transport/handoff"
)

// shop is what the node inside runs: what may be asked for, and what may not.
const shop = `
-module(shop).
-export([start/0, quote/1, refund/1, till/0, echo/0, hits/0, hit/1]).
start() ->
    [register(N, spawn(?MODULE, F, [])) || {N, F} <- [{till, till}, {echo, echo}, {hits, hits}]],
    ok.
quote(Item) -> {price, Item}.
refund(Item) -> hit({refund, Item}).
hit(What) -> hits ! {hit, What}, ok.
hits() -> hits([]).
hits(L) -> receive {hit, W} -> hits([W | L]); {ask, P} -> P ! {hits, L}, hits(L) end.
till() -> receive
    {'$gen_call', {P, [alias | A]} = _From, Request} when is_pid(P) -> A ! {[alias | A], {rang, Request}};
    {'$gen_call', {P, Tag}, Request} -> P ! {Tag, {rang, Request}};
    Other -> hit(Other) end, till().
echo() -> receive {P, M} -> P ! {echo, M} end, echo().
`

// A world is a node outside, one inside, and what the gate between them is made of.
type world struct {
	outer, inner *otp.Node
	cfg          *gate.Config
	reached      func(handoffpoint.Point) // hears of a move of the gate; nil: nobody does
}

func newWorld(t *testing.T, out, in otp.Release) *world {
	w := bareWorld(t, out, in)
	w.inner.Load(t, shop)
	w.inner.Do(t, "shop:start()")
	return w
}

// bareWorld is a world in which the node inside runs nothing. Both nodes have these arguments.
func bareWorld(t *testing.T, out, in otp.Release, args ...string) *world {
	w := &world{}
	w.outer = out.Start(t, otp.Options{Cookie: "outer", EpmdPort: out.Epmd(t), ExtraArgs: args})
	w.inner = in.Start(t, otp.Options{Cookie: "inner", EpmdPort: in.Epmd(t), ExtraArgs: args})
	mapper := func(n *otp.Node) string { return fmt.Sprintf("127.0.0.1:%d", n.EpmdPort()) }
	w.cfg = &gate.Config{
		Outside: gate.Side{Listen: "127.0.0.1", PortMapper: mapper(w.outer), Cookie: "outer", Names: []string{w.outer.Name()},
			Nodes: []gate.Node{{Name: w.outer.Name()}}},
		Inside: gate.Side{Listen: "127.0.0.1", PortMapper: mapper(w.inner), Cookie: "inner", Nodes: []gate.Node{{Name: w.inner.Name()}}},
		Rules: []gate.Rule{
			{Op: gate.MayCall, Target: "shop:quote/1", Allow: true},
			{Op: gate.MayRequest, Target: "till", Allow: true},
		},
	}
	return w
}

func (w *world) start(t *testing.T, opts *gate.Options) *gate.Gate {
	if opts == nil {
		opts = &gate.Options{Logger: otp.Log(t, "gate")}
	}
	g, err := gate.New(w.cfg, opts.Patient())
	require.NoError(t, err)
	require.NoError(t, g.Start(t.Context()))
	return g
}

// in fills in the names: OUT and IN are atoms.
func (w *world) in(expr string) string {
	return strings.NewReplacer("OUT", "'"+w.outer.Name()+"'", "IN", "'"+w.inner.Name()+"'").Replace(expr)
}

func (w *world) ask(t *testing.T, expr string) string { return w.outer.Eval(t, w.in(expr)) }

// pairs runs f with releases outside and inside: the oldest with the newest, in both directions,
// or, with CNODE_TEST_GATE_PAIRS=all, all with all.
func pairs(t *testing.T, f func(t *testing.T, out, in otp.Release)) {
	releases := otp.Releases(t)
	last := len(releases) - 1
	for i, out := range releases {
		for j, in := range releases {
			opposite := i == 0 && j == last || i == last && j == 0
			if testing.Short() && !(i == last && j == last) || !testing.Short() && !opposite && os.Getenv("CNODE_TEST_GATE_PAIRS") != "all" {
				continue
			}
			t.Run(fmt.Sprintf("%v to %v", out, in), func(t *testing.T) { f(t, out, in) })
		}
	}
}

func TestAllowedAndRefused(t *testing.T) {
	t.Parallel()
	pairs(t, func(t *testing.T, out, in otp.Release) {
		w := newWorld(t, out, in)
		g := w.start(t, nil)
		defer func() { require.NoError(t, g.Close()) }()
		for _, tt := range []struct{ ask, want string }{
			{"net_adm:ping(IN)", "pong"},
			{"rpc:call(IN, shop, quote, [1])", "{price,1}"},
			{"erpc:call(IN, shop, quote, [2])", "{price,2}"},
			{"gen_server:call({till, IN}, beer)", "{rang,beer}"},
			{"{rang, B} = gen_server:call({till, IN}, binary:copy(<<7>>, 3000000)), size(B)", "3000000"},
			{"{nodes(), nodes(hidden) =:= [IN]}", "{[],true}"},
			{"rpc:call(IN, shop, refund, [1])", "{badrpc,{'EXIT',"},
			{"catch erpc:call(IN, shop, refund, [1])", "{'EXIT',"},
			{"rpc:call(IN, shop, quote, [1, 2])", "{badrpc,{'EXIT',"},
			{"catch gen_server:call({echo, IN}, x)", "{'EXIT',{noproc"},
			{"{echo, IN} ! {self(), x}, receive A -> A after 300 -> none end", "none"},
			{"R = monitor(process, {echo, IN}), receive {'DOWN', R, _, _, Why} -> Why after 60000 -> none end", "noproc"},
			{"catch sys:terminate({till, IN}, x, 500)", "{'EXIT',"},
			{"{till, IN} ! {system, {self(), make_ref()}, {terminate, x}}, ok", "ok"},
			{"{till, IN} ! {'$gen_call', {{hits, IN}, x}, x}, ok", "ok"},
			{"spawn_monitor(IN, shop, hit, [spawned])", "error:eacces"},
			{"gen_server:call({till, IN}, again)", "{rang,again}"},
		} {
			got := w.ask(t, tt.ask)
			require.True(t, strings.HasPrefix(got, tt.want), "%s: %s, want %s", tt.ask, got, tt.want)
		}
		require.Equal(t, "[]", w.inner.Do(t, "hits ! {ask, self()}, receive {hits, L} -> L end"), "nothing ran")
		require.Equal(t, "true", w.inner.Do(t, w.in("{echo, OUT} ! x, rpc:call(OUT, erlang, node, []) =:= OUT")), "the node inside may ask")
		s := g.Sessions()
		require.Len(t, s, 1)
		require.Equal(t, []string{w.outer.Name(), w.inner.Name()}, []string{s[0].Outside, s[0].Inside})
		require.Positive(t, s[0].Refused)
	})
}

// A gate moves under load: no message is lost, none comes twice, and no node goes down.
func TestMoveUnderLoad(t *testing.T) {
	t.Parallel()
	r := otp.Releases(t)
	w := newWorld(t, r[0], r[len(r)-1])
	w.cfg.Rules = []gate.Rule{{Op: gate.MaySend, Target: "echo", Allow: true}, {Op: gate.MaySend, Target: gate.Talked, Allow: true}}
	g := w.start(t, nil)
	require.Equal(t, "pong", w.ask(t, "net_adm:ping(IN)"))
	w.outer.Do(t, w.in(`register(down, spawn(fun() -> monitor_node(IN, true), receive {nodedown, _} -> exit(down) end end))`))
	load := w.outer.Async(t, w.in(`
		Big = binary:copy(<<1>>, 200000),
		lists:foreach(fun(I) ->
			M = case I rem 50 of 0 -> {I, Big}; _ -> I end,
			{echo, IN} ! {self(), M},
			receive {echo, M} -> ok after 20000 -> exit({lost, I}) end
		end, lists:seq(1, 20000)),
		Self = self(),
		[{echo, IN} ! {Self, I} || I <- lists:seq(1, 100000)],
		[receive {echo, I} -> ok after 20000 -> exit({lost, I}) end || I <- lists:seq(1, 100000)],
		done`))
	for range 5 {
		var h handoff.Handed
		g, h = w.moves(t, g)
		t.Log("silence", h.Silence)
	}
	require.Equal(t, "done", load())
	require.NotEqual(t, "undefined", w.outer.Do(t, "whereis(down)"), "no nodedown")
	require.NoError(t, g.Close())
}

// moves hands a gate to another one with the configuration of the world.
func (w *world) moves(t *testing.T, g *gate.Gate) (*gate.Gate, handoff.Handed) {
	t.Helper()
	next, given := w.takes(t, g, otp.Log(t, "next gate"))
	return next, given()
}

// takes is moves up to the moment when the other gate goes on; given waits for the end of this one.
func (w *world) takes(t *testing.T, g *gate.Gate, log *slog.Logger) (next *gate.Gate, given func() handoff.Handed) {
	t.Helper()
	ours, theirs, err := handoff.ChannelPair()
	require.NoError(t, err)
	other, err := handoff.FileChannel(theirs)
	require.NoError(t, err)
	type outcome struct {
		h   handoff.Handed
		err error
	}
	gave := make(chan outcome, 1)
	go func() {
		h, err := g.Give(handoffpoint.With(t.Context(), w.reached), ours)
		gave <- outcome{h, err}
	}()
	next, err = gate.Take(t.Context(), other, w.cfg, (&gate.Options{Logger: log}).Patient())
	require.NoError(t, err)
	return next, func() handoff.Handed {
		t.Helper()
		o := <-gave
		require.NoError(t, o.err)
		require.True(t, o.h.Moved)
		return o.h
	}
}

// A new configuration holds for connections that are there, too.
func TestMoveWithAnotherConfig(t *testing.T) {
	t.Parallel()
	r := otp.Releases(t)
	last := r[len(r)-1]
	w := newWorld(t, last, last)
	g := w.start(t, nil)
	defer func() { require.NoError(t, g.Close()) }()
	price := func() string { return w.ask(t, "catch erpc:call(IN, shop, quote, [1])") }
	require.Equal(t, "{price,1}", price())
	first := g.Addr(w.inner.Name()).String()

	names := w.cfg.Outside.Names
	w.cfg.Outside.Names = []string{"ci*@*"}
	g, _ = w.moves(t, g)
	require.Empty(t, g.Sessions(), "a name that may not come any more")
	require.Contains(t, price(), "noconnection")

	w.cfg.Outside.Names, w.cfg.Outside.Listen = names, "127.0.0.2"
	g, _ = w.moves(t, g)
	require.Contains(t, g.Addr(w.inner.Name()).String(), "127.0.0.2:", "the listener is another one than %s", first)
	w.cfg.Outside.Listen = "127.0.0.1"
	g, _ = w.moves(t, g)
	require.Equal(t, "{price,1}", price())
	require.Len(t, g.Sessions(), 1)

	w.cfg.Unfiltered = true
	g, _ = w.moves(t, g)
	require.Empty(t, g.Sessions(), "what has been judged so far is read no more")
	w.outer.Becomes(t, w.in("catch erpc:call(IN, erlang, node, []) =:= IN"), "true")
	w.cfg.Unfiltered = false
	g, _ = w.moves(t, g)
	require.Empty(t, g.Sessions(), "what nobody has read so far")
	w.outer.Becomes(t, w.in("catch erpc:call(IN, shop, quote, [1])"), "{price,1}")
	w.cfg.Inside.Nodes = []gate.Node{{Name: "another@127.0.0.1"}}
	g, _ = w.moves(t, g)
	require.Empty(t, g.Sessions(), "a node that may not be reached any more")
}

// A handshake that does not go on holds no move up.
func TestMoveBesideIdleHandshakes(t *testing.T) {
	t.Parallel()
	r := otp.Releases(t)[0]
	w := newWorld(t, r, r)
	g := w.start(t, nil)
	require.Equal(t, "pong", w.ask(t, "net_adm:ping(IN)"))
	var idle []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", g.Addr(w.inner.Name()).String())
		require.NoError(t, err)
		defer c.Close()
		idle = append(idle, c)
	}
	begun := time.Now()
	g, given := w.takes(t, g, otp.Log(t, "next gate"))
	require.Less(t, time.Since(begun), otp.HandshakeTime/2)
	require.Len(t, g.Sessions(), 1)
	require.Equal(t, "{price,1}", w.ask(t, "erpc:call(IN, shop, quote, [1])"))
	for _, c := range idle {
		require.NoError(t, c.Close())
	}
	given()
	require.NoError(t, g.Close())
}

// What is wrong with a file is told by the line, before anything is opened.
func TestBadConfig(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"[{outside, []}", "line 1, column 15: ei: not an Erlang term"},
		{"%% a comment, with { and [\n[{outside, []}\n {inside, []}].", "line 3, column 2: ei: not an Erlang term"},
		{"[{outer, []}].", "line 1: outer is not known"},
		{"[{outside, [{listen, 7}]}].", `line 1: outside: listen: want "text", not 7`},
		{"[{outside, [{listen, \"1.1.1.1\"},\n  {names, [\"a\",\n \"b{,[\", $,, 'c\n]']}]}].", `line 3: outside: names: want "text", not 44`},
		{"[{outside, [{cookie_file, \"none\"}]}].", "no such file"},
		{"[{rules, [{allow, \"*\", call, \"a:b\"},\n{permit, \"*\", call, \"a:b\"}]}].",
			"line 2: rules: rule 2: want allow or refuse, not permit"},
		{"[{rules, [{allow, \"*\", calls, \"a:b\"}]}].", `line 1: rules: rule 1: "calls" is no operation`},
		{"[{limits, [{atoms, many}]}].", "limits: atoms: want a number of 1 or more, not many"},
		{"[].", "outside: a cookie_file is missing"},
		{"[{rules, []},\n {limits, []},\n\n {rules, []}].", "line 4: rules: it stands in line 1 as well"},
		{"[{limits, [{names, 1},\n{names, 2}]}].", "line 2: limits: names: it stands in line 1 as well"},
		{"[{outside, []},\n{inside, [{nodes, [{\"a@b\", [{port, 1},\n{port, 2}]}]}]}].", "line 3: a@b: port: it stands in line 2 as well"},
		{"[{outside, [{cookie_files, [{\"a@b\", \"a.cookie\"},\n {\"a@b\", \"a.cookie\"}]}]}].",
			"line 2: outside: cookie_files: it stands in line 1 as well"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "gate.config")
		write(t, path, tt.text, 0o600)
		write(t, filepath.Join(dir, "a.cookie"), "a", 0o600)
		_, err := gate.ReadConfig(path)
		require.ErrorContains(t, err, tt.want, tt.text)
		require.ErrorIs(t, err, gate.ErrConfig)
	}
}

// What does not fit together is refused wherever a gate is made, of a file or not.
func TestConfigThatDoesNotFit(t *testing.T) {
	fits := func() *gate.Config {
		return &gate.Config{
			Outside: gate.Side{Listen: "127.0.0.1", PortMapper: "127.0.0.1:4369", Cookie: "a", Names: []string{"*"}},
			Inside:  gate.Side{Listen: "127.0.0.1", PortMapper: ":14369", Cookie: "b", Nodes: []gate.Node{{Name: "shop@b"}}},
		}
	}
	_, err := gate.New(fits(), nil)
	require.NoError(t, err)
	for _, tt := range []struct {
		change func(out, in *gate.Side, c *gate.Config)
		want   string
	}{
		{func(out, in *gate.Side, c *gate.Config) { out.Names = nil }, "outside: names: there is none, and nobody may come to shop@b"},
		{func(out, in *gate.Side, c *gate.Config) { out.PortMapper = "127.0.0.1" }, `outside: port_mapper: "127.0.0.1": want host:port`},
		{func(out, in *gate.Side, c *gate.Config) { in.PortMapper = "127.0.0.1:epmd" }, "inside: port_mapper"},
		{func(out, in *gate.Side, c *gate.Config) { in.PortMapper = "127.0.0.1:0" }, "inside: port_mapper"},
		{func(out, in *gate.Side, c *gate.Config) { out.Listen = "localhost" }, `outside: listen: "localhost" is no IP address`},
		{func(out, in *gate.Side, c *gate.Config) { in.PortMapper = "" }, "inside: shop@b: its address is missing"},
		{func(out, in *gate.Side, c *gate.Config) { out.PortMapper = "" }, "inside: shop@b: its port is missing"},
		{func(out, in *gate.Side, c *gate.Config) { out.Listen = "" }, "inside: shop@b: those who want it are on the other side"},
		{func(out, in *gate.Side, c *gate.Config) { in.Nodes = append(in.Nodes, gate.Node{Name: "shop@c"}) },
			"inside: shop@c: shop@b wants the name shop at the port mapper 127.0.0.1:4369 as well"},
		{func(out, in *gate.Side, c *gate.Config) {
			in.Nodes[0].Port, out.Nodes = 9100, []gate.Node{{Name: "ci@a", Port: 9100}}
		}, "inside: shop@b: ci@a wants the port 9100 of 127.0.0.1 as well"},
		{func(out, in *gate.Side, c *gate.Config) {
			in.Nodes[0].Path, out.Nodes = "/s", []gate.Node{{Name: "ci@a", Path: "/s"}}
		}, "inside: shop@b: ci@a wants the path /s as well"},
		{func(out, in *gate.Side, c *gate.Config) { out.Nodes = in.Nodes }, "inside: shop@b: shop@b wants the name shop@b as well"},
		{func(out, in *gate.Side, c *gate.Config) {
			c.Rules = []gate.Rule{{}, {Op: gate.MayCall, Target: "shop"}}
		}, "rules: rule 2: target"},
	} {
		c := fits()
		tt.change(&c.Outside, &c.Inside, c)
		_, err := gate.New(c, nil)
		require.ErrorContains(t, err, tt.want)
		require.ErrorIs(t, err, gate.ErrConfig)
	}
}
