package console

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

func node(t *testing.T, o *Options, rules ...nodes.Rule) (*nodes.Node, *console) {
	t.Helper()
	w := cluster.New(t)
	cfg := w.Config("shop@host")
	cfg.Rules = rules
	n := w.Start(cfg)
	require.NoError(t, Serve(n, o))
	c := &console{n: n, opts: *o}
	c.commands = append(o.Commands, c.builtin()...)
	return n, c
}

func TestParse(t *testing.T) {
	n, c := node(t, &Options{})
	pid := ei.Pid{Node: "shop@host", ID: 12, Creation: n.Creation()}
	for _, tt := range []struct {
		line string
		want string // in Erlang's syntax; "!": an error
	}{
		{"", ""},
		{"  help ", "help"},
		{"help.", "help"},
		{"help().", "help"},
		{"quote a, 3", "quote|a|3"},
		{"quote a 3.", "quote|a|3"},
		{`quote({a, "x y"}, <<"é, b"/utf8>>, 3).`, `quote|{a,"x y"}|<<"é, b"/utf8>>|3`},
		{`e #{a => 1, b => [x | y]} [1, 2]`, `e|#{a => 1,b => [x|y]}|[1,2]`},
		{`e $a $\s $, $" "\"," 'a b' ok`, `e|97|32|44|34|"\","|'a b'|ok`},
		{"e <<1,2:4>> 1.5 -3", "e|<<1,2:4>>|1.5|-3"},
		{"e Name x@host 10.0.0.1 Elixir.Shop", "e|'Name'|x@host|'10.0.0.1'|'Elixir.Shop'"},
		{"e <0.12.0> #Pid<x@host.1.2.3>", "e|" + pid.String() + "|#Pid<x@host.1.2.3>"},
		{"e <0.99999999999.0>", "!"},
		{"e {a", "!"},
		{`e "x`, "!"},
		{"e a)", "!"},
		{"é x", "é|x"},
		{"!x", "!x"},
		{"?", "?"},
		{`shop:quote(<<"A">>, 2).`, `shop:quote|<<"A">>|2`},
		{`'Elixir.Shop' : 'quote it' ( "A" ) .`, `Elixir.Shop:quote it|"A"`},
		{"erlang:memory().", "erlang:memory"},
		{"shop:quote a 2", "shop:quote|a|2"},
		{"shop:quote({a", "!"},
	} {
		is(t, &session{c: c}, tt.line, tt.want)
	}
	for _, tt := range []struct{ line, want string }{
		{`quote "a b", 3`, `quote|<<"a b">>|3`},
		{`quote(%{"b" => 'x y', a: 1}, :ok)`, `quote|#{<<"b">> => "x y",a => 1}|ok`},
		{"e ?a ?, :alive? Shop.Order [a: 1, b: 2] nil", "e|97|44|'alive?'|'Elixir.Shop.Order'|[{a,1},{b,2}]|nil"},
		{"e orders #PID<0.12.0> 1..3", "e|orders|" + pid.String() + "|#{'__struct__' => 'Elixir.Range',first => 1,last => 3,step => 1}"},
		{"e %{a: ", "!"},
		{`Shop.quote("A", 2)`, `Elixir.Shop:quote|<<"A">>|2`},
		{`Shop.Orders.open?`, `Elixir.Shop.Orders:open?`},
		{`:shop.quote "A", 2`, `shop:quote|<<"A">>|2`},
		{`:"a shop".quote!(:x)`, `a shop:quote!|x`},
	} {
		is(t, &session{c: c, elixir: true}, tt.line, tt.want)
	}
}

func is(t *testing.T, s *session, line, want string) {
	t.Helper()
	typed, err := s.parse(line)
	if strings.HasSuffix(want, "!") {
		require.Error(t, err, line)
		return
	}
	require.NoError(t, err, line)
	name := typed.name
	if typed.module != "" {
		name = typed.module + ":" + name
	}
	for _, arg := range typed.args {
		name += "|" + string(ei.AppendText(nil, arg))
	}
	require.Equal(t, want, name, line)
}

func TestComplete(t *testing.T) {
	n, c := node(t, &Options{Commands: []Command{
		{Name: "ship", Func: func(string, string) {}, Complete: among("air", "sea", "seaweed", "süd", "süß")},
	}}, nodes.Rule{Peer: "dev@*", Permission: nodes.MayCall, Target: "console:drain"})
	for _, name := range []string{"till", "tills", "Elixir.Shop"} {
		b := cluster.Mailbox(t, n, nil)
		require.NoError(t, n.Register(t.Context(), name, b))
	}
	s := &session{c: c, leader: ei.Pid{Node: "dev@host"}}
	for _, tt := range []struct{ line, insert, matches string }{
		{"hel", "p ", ""},
		{"dr", "", ""}, // refused
		{"pro", "cess", ""},
		{"process", "", "process processes"},
		{"processes m", "emory ", ""},
		{"processes queue m", "", ""},
		{"process(ti", "ll", ""},
		{"process till", "", "till tills"},
		{"process El", "ixir.Shop ", ""},
		{"ship ", "", "air sea seaweed süd süß"},
		{"ship s", "", "sea seaweed süd süß"},
		{"ship sü", "", "süd süß"},
		{"ship a", "ir ", ""},
		{"ship air x", "", ""},
		{"help conn", "ections ", ""},
		{"nothing x", "", ""},
	} {
		insert, matches := s.complete(t.Context(), tt.line)
		require.Equal(t, tt.insert, insert, tt.line)
		require.Equal(t, tt.matches, strings.Join(matches, " "), tt.line)
	}
}

// What a user's node is answered, for the line reversed; an exception would end the user's shell.
func TestExpand(t *testing.T) {
	_, c := node(t, &Options{Commands: []Command{
		{Name: "ship", Func: func(string) {}, Complete: func(context.Context, []string, string) []string { panic("ouch") }},
	}})
	c.sessions = map[ei.Pid]*session{{}: {c: c, leader: ei.Pid{Node: "ops@host"}}} // of a caller that is not known
	for line, want := range map[string]ei.Tuple{
		"leh":     {ei.Atom("yes"), otp.Charlist("p "), ei.List{}},
		"ssecorp": {ei.Atom("yes"), otp.Charlist(""), ei.List{otp.Charlist("process"), otp.Charlist("processes")}},
		"x":       {ei.Atom("no"), otp.Charlist(""), ei.List{}},
		" pihs":   {ei.Atom("no"), ei.List{}, ei.List{}}, // panics
	} {
		require.Equal(t, want, c.expand(t.Context(), line), line)
	}
}
