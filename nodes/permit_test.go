package nodes

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/introspect"
)

// A guarded node has what a web node may use, and what it may not.
type guarded struct {
	w      *world
	n      *Node
	secret *Mailbox // registered, traps exits: it hears of whatever gets in
	alias  ei.Ref   // of secret
	plain  *Mailbox // without a name
	ran    atomic.Int32
	log    *record
}

func guard(t *testing.T, rules ...Rule) *guarded {
	g := &guarded{w: newWorld(t, "memory"), log: new(record)}
	g.n = g.w.started("alice", func(cfg *Config) {
		cfg.Rules, cfg.Logger = rules, slog.New(slog.NewTextHandler(g.log, nil))
	})
	g.n.Expose("shop", "quote", func(_ context.Context, args []ei.Term) (any, error) { return ei.List(args), nil })
	g.n.Expose("shop", "refund", func(context.Context, []ei.Term) (any, error) { g.ran.Add(1); return ei.Atom("ok"), nil })
	serve(t, g.n, "till", Server{Call: func(_ context.Context, c *Call) (any, error) { return c.Request, nil }})
	g.secret, g.plain = trapping(t, g.n), trapping(t, g.n)
	require.NoError(t, g.n.Register(t.Context(), "secret", g.secret))
	g.alias = aliasOf(t, g.secret)
	return g
}

func (g *guarded) peer(name string) *wire {
	return g.w.peer(g.n.Listeners()[0], role(name))
}

// webRules let web nodes have quotes, and talk to the till.
var webRules = []Rule{
	{Peer: "admin@*", Allow: true},
	{Peer: "web*@*", Permission: MayCall, Target: "shop:quote/1", Allow: true},
	{Peer: "web*@*", Permission: MaySend, Target: "till", Allow: true},
	{},
}

func refOf(p *wire, id uint32) ei.Ref {
	return ei.Ref{Node: p.Self.Node, Creation: p.Self.Creation, Len: 3, ID: [5]uint32{id, 2, 3}}
}

// settled waits until all that the peer has sent has been dealt with.
func (p *wire) settled() {
	p.T.Helper()
	ref := refOf(p, 4242)
	p.Say("net_kernel", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, ref}, ei.Tuple{ei.Atom("is_auth"), p.Self.Node}})
	_, reply := p.Next()
	require.Equal(p.T, ei.Tuple{ref, ei.Atom("yes")}, reply)
}

var eacces = func(m, f ei.Atom, arity int) ei.Tuple {
	return ei.Tuple{ei.Atom("eacces"), ei.List{ei.Tuple{m, f, ei.Int(arity), ei.List{}}}}
}

// What a shell asks before it begins is answered, whatever the rules say, and tells nothing.
func TestRulesOfShells(t *testing.T) {
	g := guard(t, append([]Rule{{Peer: "web*@*", Permission: MayCall, Target: "shell:start", Allow: true}}, webRules...)...)
	g.n.Expose("shell", "start", func(context.Context, []ei.Term) (any, error) { return ei.Atom("ok"), nil })
	g.n.Expose("erlang", "system_info", func(context.Context, []ei.Term) (any, error) { return ei.Atom("all"), nil })
	atom := func(s string) ei.Term { return ei.Atom(s) }
	eacces := func(m, f ei.Atom, n int) ei.Term {
		return ei.Tuple{atom("badrpc"), ei.Tuple{atom("EXIT"), eacces(m, f, n)}}
	}
	nofile := ei.Tuple{atom("error"), atom("nofile")}
	for name, want := range map[string][]ei.Term{
		"web1@test": {ei.Tuple{atom("module"), atom("shell")}, nofile, ei.String("0"), ei.String("Go"), ei.Int(60), atom("hello"),
			eacces("erlang", "system_info", 1), eacces("application", "get_env", 3)},
		"db1@test": {nofile, nofile, ei.String("0"), eacces("erlang", "system_info", 1), eacces("net_kernel", "get_net_ticktime", 0),
			eacces("application", "get_env", 3), eacces("erlang", "system_info", 1), eacces("application", "get_env", 3)},
		"admin@test": {ei.Tuple{atom("module"), atom("shell")}, nofile, atom("all"), atom("all"), ei.Int(60), atom("hello"), atom("all"), nil},
	} {
		p := g.peer(name)
		for i, tt := range []struct {
			m, f string
			args ei.List
		}{
			{"code", "ensure_loaded", ei.List{atom("shell")}},
			{"code", "ensure_loaded", ei.List{atom("nobody")}},
			{"erlang", "system_info", ei.List{atom("otp_release")}},
			{"erlang", "system_info", ei.List{atom("system_version")}},
			{"net_kernel", "get_net_ticktime", ei.List{}},
			{"application", "get_env", ei.List{atom("stdlib"), atom("shell_slogan"), atom("hello")}},
			{"erlang", "system_info", ei.List{atom("process_count")}},
			{"application", "get_env", ei.List{atom("shop"), atom("key"), atom("hello")}},
		} {
			p.Say("rex", ei.Tuple{p.Self, ei.Tuple{atom("call"), atom(tt.m), atom(tt.f), tt.args, atom("user")}})
			if _, reply := p.Next(); want[i] != nil {
				require.Equal(t, ei.Tuple{atom("rex"), want[i]}.String(), reply.String(), "%s asks %s:%s(%v)", name, tt.m, tt.f, tt.args)
			}
		}
	}
}

// Calls of every form reach the functions that the rules name, and no others.
func TestRulesOfCalls(t *testing.T) {
	g := guard(t, webRules...)
	p := g.peer("web1@test")
	atom := func(s string) ei.Term { return ei.Atom(s) }
	one := ei.List{ei.Int(1)}
	refused := ei.Tuple{ei.Atom("badrpc"), ei.Tuple{ei.Atom("EXIT"), eacces("shop", "refund", 1)}}
	ref := refOf(p, 9)
	apply3 := ei.List{atom("shop"), atom("refund"), one}
	fun := ei.Export{Module: "shop", Function: "refund", Arity: 1}
	for _, tt := range []struct {
		m, f string
		args ei.Term
		want ei.Term
	}{
		{"shop", "quote", one, one},
		{"erlang", "apply", ei.List{atom("shop"), atom("quote"), one}, one},
		{"shop", "refund", one, refused},
		{"erlang", "apply", apply3, refused},
		{"erlang", "apply", ei.List{fun, one}, refused},
		{"erlang", "apply", ei.List{atom("erlang"), atom("apply"), apply3}, refused},
	} {
		for _, kind := range []string{"call", "block_call"} {
			request := ei.Tuple{atom(kind), atom(tt.m), atom(tt.f), tt.args, atom("user")}
			p.Say("rex", ei.Tuple{atom("$gen_call"), ei.Tuple{p.Self, ref}, request})
			_, reply := p.Next()
			require.Equal(t, ei.Tuple{ref, tt.want}, reply)
		}
		request := ei.Tuple{atom("call"), atom(tt.m), atom(tt.f), tt.args, atom("user")}
		p.Say("rex", ei.Tuple{p.Self, request}) // the C library
		_, reply := p.Next()
		require.Equal(t, ei.Tuple{atom("rex"), tt.want}, reply)
		p.Say("rex", ei.Tuple{atom("$gen_cast"), ei.Tuple{atom("cast"), atom(tt.m), atom(tt.f), tt.args, atom("user")}})

		// erpc
		monitor := ei.List{ei.Tuple{atom("reply"), atom("error_only")}, atom("monitor")}
		why := p.down(p.request(1, "erpc", "execute_call", monitor, ref, atom(tt.m), atom(tt.f), tt.args))
		if tt.want.String() == refused.String() {
			e := eacces("shop", "refund", 1)
			require.Equal(t, ei.Tuple{ref, atom("error"), e[0], e[1]}, why)
		} else {
			require.Equal(t, ei.Tuple{ref, atom("return"), tt.want}, why)
		}
		why = p.down(p.request(2, "erpc", "execute_cast", monitor, atom(tt.m), atom(tt.f), tt.args))
		if tt.want.String() == refused.String() {
			require.Equal(t, eacces("shop", "refund", 1), why)
		} else {
			require.Equal(t, atom("normal"), why)
		}
	}

	// What does not exist, and an execute_call within a call.
	for _, mfa := range [][]ei.Term{
		{atom("shop"), atom("missing"), ei.List{}}, {atom("shop"), atom("quote"), ei.List{}},
		{atom("erpc"), atom("execute_call"), ei.List{ref, atom("shop"), atom("refund"), one}},
	} {
		p.Say("rex", ei.Tuple{p.Self, append(append(ei.Tuple{atom("call")}, mfa...), atom("user"))})
		_, reply := p.Next()
		require.Contains(t, reply.String(), "eacces")
	}

	// A process of one's own is another matter, also that of a function that may be called.
	for i, f := range []string{"quote", "refund"} {
		monitor := ei.List{ei.Tuple{atom("reply"), atom("no")}, atom("monitor")}
		require.Equal(t, eacces("shop", ei.Atom(f), 1), p.down(p.request(uint32(i+3), "shop", f, monitor, ei.Int(1))))
		require.Equal(t, eacces("shop", ei.Atom(f), 1),
			p.down(p.request(uint32(i+5), "erlang", "apply", monitor, atom("shop"), atom(f), one)))
	}
	link := ei.List{ei.Tuple{atom("reply"), atom("no")}, atom("link")}
	p.request(10, "shop", "refund", link, ei.Int(1))
	ctl, why := p.Next()
	require.Equal(t, dist.OpPayloadExit, ctl.Op)
	require.Equal(t, eacces("shop", "refund", 1), why)
	p.settled()
	require.Zero(t, g.ran.Load())
	require.Len(t, g.log.Lines(`msg="refused by Config.Rules"`, "peer=web1@test", "call of shop:refund/1"), 1)
	require.Len(t, g.log.Lines("refused by"), 1)
	require.Positive(t, g.n.Stats().Denied)

	a := g.peer("admin@test")
	a.Say("rex", ei.Tuple{a.Self, ei.Tuple{atom("call"), atom("shop"), atom("refund"), one, atom("user")}})
	_, reply := a.Next()
	require.Equal(t, ei.Tuple{atom("rex"), atom("ok")}, reply)
}

// A peer that the rules keep from a process gets nothing to it in any way, does not keep it alive
// or end it, and sees what it would see if there were no such process.
func TestRulesOfProcesses(t *testing.T) {
	g := guard(t, webRules...)
	p := g.peer("web1@test")
	hello := ei.Tuple{ei.Atom("hello")}
	for _, to := range []*Mailbox{g.secret, g.plain} {
		p.Send(dist.Control{Op: dist.OpSend, To: to.Pid()}, hello)
		p.Send(dist.Control{Op: dist.OpSendSender, From: p.Self, To: to.Pid()}, hello)
		p.Send(dist.Control{Op: dist.OpSend.Traced(), To: to.Pid(), Token: encode(t, ei.List{})}, hello)
		p.Send(dist.Control{Op: dist.OpExit2, From: p.Self, To: to.Pid(), Reason: encode(t, ei.Atom("kill"))}, nil)
		p.Send(dist.Control{Op: dist.OpPayloadExit2, From: p.Self, To: to.Pid()}, ei.Atom("kill"))
		p.Send(dist.Control{Op: dist.OpExit, From: p.Self, To: to.Pid(), Reason: encode(t, ei.Atom("kill"))}, nil)

		p.Send(dist.Control{Op: dist.OpMonitorP, From: p.Self, To: to.Pid(), Ref: refOf(p, 1)}, nil)
		require.Equal(t, ei.Atom("noproc"), p.down(refOf(p, 1)))
		p.Send(dist.Control{Op: dist.OpLink, From: p.Self, To: to.Pid()}, nil)
		ctl, why := p.Next()
		require.Equal(t, dist.OpPayloadExit, ctl.Op)
		require.Equal(t, ei.Atom("noproc"), why)
		p.Send(dist.Control{Op: dist.OpExit, From: p.Self, To: to.Pid(), Reason: encode(t, ei.Atom("kill"))}, nil)

		// a link that the process would have asked for
		child := ei.Pid{Node: "web1@test", ID: 7, Creation: 77}
		p.Send(dist.Control{Op: dist.OpSpawnReply, Ref: refOf(p, 3), To: to.Pid(), Flags: dist.SpawnLinked, Result: encode(t, child)}, nil)
		ctl, why = p.Next()
		require.Equal(t, dist.OpPayloadExit, ctl.Op)
		require.Equal(t, child, ctl.To)
		require.Equal(t, ei.Atom("noproc"), why)
		p.Send(dist.Control{Op: dist.OpExit, From: child, To: to.Pid(), Reason: encode(t, ei.Atom("kill"))}, nil)
		p.Send(dist.Control{Op: dist.OpSpawnReply, Ref: refOf(p, 3), To: to.Pid(), Result: encode(t, child)}, nil)
	}
	p.Say("secret", hello)
	p.Send(dist.Control{Op: dist.OpRegSend.Traced(), From: p.Self, ToName: "secret", Token: encode(t, ei.List{})}, hello)
	p.Send(dist.Control{Op: dist.OpAliasSend, From: p.Self, Ref: g.alias}, hello)
	p.Send(dist.Control{Op: dist.OpAltactSigSend, Flags: dist.AltactName, From: p.Self, ToName: "secret"}, hello)
	p.Send(dist.Control{Op: dist.OpAltactSigSend, Flags: dist.AltactAlias | dist.AltactPrio, From: p.Self, Ref: g.alias}, hello)
	p.Send(dist.Control{Op: dist.OpAltactSigSend, Flags: dist.AltactAlias | dist.AltactExit, From: p.Self, Ref: g.alias}, ei.Atom("kill"))
	p.Send(dist.Control{Op: dist.OpMonitorP, From: p.Self, ToName: "secret", Ref: refOf(p, 2)}, nil)
	require.Equal(t, ei.Atom("noproc"), p.down(refOf(p, 2)))
	for _, kind := range []string{"sbcast", "send"} {
		p.Say("rex", ei.Tuple{p.Self, ei.Tuple{ei.Atom(kind), ei.Atom("secret"), hello}})
		_, reply := p.Next()
		require.Equal(t, ei.Tuple{ei.Atom("rex"), ei.Atom("alice@test"), ei.Tuple{ei.Atom("nonexisting_name"), ei.Atom("secret")}}, reply)
	}
	p.settled()
	require.Zero(t, unread(g.secret))
	require.Zero(t, unread(g.plain))
	require.NoError(t, g.secret.Err())
	require.NoError(t, g.plain.Err())

	// the till may be called, monitored and told, by name and by pid, but not linked or ended
	till := g.n.Whereis("till")
	ref := refOf(p, 5)
	request := ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, ref}, hello}
	p.Send(dist.Control{Op: dist.OpMonitorP, From: p.Self, ToName: "till", Ref: ref}, nil)
	p.Say("till", request)
	_, reply := p.Next()
	require.Equal(t, ei.Tuple{ref, hello}, reply)
	p.Send(dist.Control{Op: dist.OpSend, To: till.Pid()}, request)
	_, reply = p.Next()
	require.Equal(t, ei.Tuple{ref, hello}, reply)
	p.Send(dist.Control{Op: dist.OpExit2, From: p.Self, To: till.Pid(), Reason: encode(t, ei.Atom("kill"))}, nil)
	p.Send(dist.Control{Op: dist.OpLink, From: p.Self, To: till.Pid()}, nil)
	_, why := p.Next()
	require.Equal(t, ei.Atom("noproc"), why)
	require.NoError(t, till.Err())

	// one without any of these rules' names gets nothing but the answer to a ping
	other := g.peer("other@test")
	other.Say("till", request)
	other.settled()
	require.Positive(t, g.n.Stats().Denied)
}

// A process without a name goes by its pid, as the log shows it.
func TestRulesOfNamelessProcesses(t *testing.T) {
	g := guard(t, Rule{Permission: MaySend, Target: "net_kernel", Allow: true},
		Rule{Permission: MaySend, Target: "#Pid<*>", Allow: true}, Rule{})
	p := g.peer("web1@test")
	p.tell(g.plain.Pid(), ei.Atom("hello"))
	p.tell(g.secret.Pid(), ei.Atom("hello"))
	m := receive(t, g.plain)
	m.Release()
	p.settled()
	require.EqualValues(t, 1, g.n.Stats().Denied, "of the one with a name")
}

// A server that a peer may call is not made to say to others what the peer may not say to them, not
// to rex above all.
func TestRulesOfAnswers(t *testing.T) {
	g := guard(t, append([]Rule{{Permission: MayCall, Target: "shop:refund"}, {Permission: MaySend, Target: "secret"}}, Rule{Allow: true})...)
	p := g.peer("web1@test")
	rex := g.n.Whereis("rex").Pid()
	call := ei.Tuple{ei.Atom("call"), ei.Atom("shop"), ei.Atom("refund"), ei.List{ei.Int(1)}, ei.Atom("user")}
	cast := ei.Tuple{ei.Atom("cast"), ei.Atom("shop"), ei.Atom("refund"), ei.List{ei.Int(1)}, ei.Atom("user")}
	for _, to := range []string{"till", "rex"} {
		for _, request := range []ei.Tuple{
			{ei.Atom("$gen_call"), ei.Tuple{rex, ei.Atom("$gen_cast")}, cast},
			{ei.Atom("$gen_call"), ei.Tuple{rex, p.Self}, call},
			{ei.Atom("$gen_call"), ei.Tuple{g.secret.Pid(), ei.Atom("$gen_cast")}, cast},
			{ei.Atom("$gen_call"), ei.Tuple{g.secret.Pid(), refOf(p, 1)}, cast},
			{ei.Atom("$gen_call"), ei.Tuple{g.secret.Pid(), ei.ImproperList{Elems: []ei.Term{ei.Atom("alias")}, Tail: g.alias}}, cast},
			{ei.Atom("system"), ei.Tuple{g.secret.Pid(), ei.Atom("$gen_cast")}, ei.Atom("get_state")},
		} {
			p.Say(to, request)
			p.Say("rex", ei.Tuple{p.Self, ei.Tuple{ei.Atom("sbcast"), ei.Atom(to), request}})
			_, reply := p.Next()
			require.Contains(t, reply.String(), "nonexisting_name")
		}
	}
	p.Say("rex", ei.Tuple{g.secret.Pid(), ei.Tuple{ei.Atom("call"), ei.Atom("shop"), ei.Atom("quote"), ei.List{}, ei.Atom("user")}})
	p.Say("net_kernel", ei.Tuple{ei.Atom("io_request"), g.secret.Pid(), ei.Atom("tag"),
		ei.Tuple{ei.Atom("put_chars"), ei.Atom("unicode"), ei.Binary("x")}})
	p.settled()
	// whoever is asked now answers last
	for _, name := range []string{"till", "rex"} {
		ref := refOf(p, 6)
		p.Say(name, ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, ref},
			ei.Tuple{ei.Atom("call"), ei.Atom("shop"), ei.Atom("quote"), ei.List{}, ei.Atom("user")}})
		p.Next()
	}
	require.Eventually(t, func() bool { return g.n.Stats().Calls == 0 }, tooLong, tick)
	require.Zero(t, unread(g.secret))
	require.Zero(t, g.ran.Load())
	// without a name it is no secret
	p.Say("till", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{g.plain.Pid(), refOf(p, 1)}, ei.Atom("hello")})
	require.Equal(t, ei.Tuple{refOf(p, 1), ei.Atom("hello")}, term(t, g.plain))
}

// Answers to what this node asks come in from a peer that may do nothing; so does what the caller
// of a function has to say to its process, and nothing of that from others.
func TestRulesAndAnswersOfPeers(t *testing.T) {
	for _, aliases := range []bool{true, false} {
		g := guard(t, Rule{Peer: "web*@*", Permission: MayCall, Allow: true}, Rule{})
		self := role("web1@test")
		if !aliases {
			self.Flags &^= dist.FlagAlias | dist.FlagAltactSig
		}
		p := g.w.peer(g.n.Listeners()[0], self)
		for _, caller := range []Caller{g.n, g.plain} {
			got := async(func() (string, error) { return CallNameAs[string](soon(t), caller, "web1@test", "server", "hello") })
			var request ei.Term
			for request == nil { // past the monitor
				_, request = p.Next()
			}
			from := request.(ei.Tuple)[1].(ei.Tuple)
			reply := ei.Tuple{from[1], ei.Binary("answer")}
			if aliases {
				p.Send(dist.Control{Op: dist.OpAliasSend, From: p.Self, Ref: from[1].(ei.ImproperList).Tail.(ei.Ref)}, reply)
			} else {
				p.Send(dist.Control{Op: dist.OpSend, To: from[0].(ei.Pid)}, reply)
			}
			require.Equal(t, "answer", arrives(t, got, "the answer").must(t))
			if _, request = p.Next(); request != nil { // past the end of the monitor
				t.Fatal(request)
			}
		}

		begun := make(chan struct{})
		ended := make(chan struct{})
		g.n.Expose("shop", "wait", func(ctx context.Context, _ []ei.Term) (any, error) {
			close(begun)
			<-ctx.Done()
			close(ended)
			return nil, ctx.Err()
		})
		options := ei.List{ei.Tuple{ei.Atom("reply"), ei.Atom("yes")}, ei.Atom("monitor")}
		ref := p.request(1, "erpc", "execute_call", options, refOf(p, 8), ei.Atom("shop"), ei.Atom("wait"), ei.List{})
		ctl, _ := p.Next()
		require.Equal(t, dist.OpSpawnReply, ctl.Op)
		c := ei.NewCursor(ctl.Result)
		process := of(c.Pid()).must(t)
		arrives(t, begun, "the function")
		other := g.peer("web2@test")
		other.Send(dist.Control{Op: dist.OpExit2, From: other.Self, To: process, Reason: encode(t, ei.Atom("kill"))}, nil)
		other.settled()
		select {
		case <-ended:
			t.Fatal("by a stranger")
		default:
		}
		p.Send(dist.Control{Op: dist.OpExit2, From: p.Self, To: process, Reason: encode(t, ei.Atom("kill"))}, nil)
		require.Equal(t, ei.Atom("killed"), p.down(ref))
		arrives(t, ended, "the end")
	}
}

func TestNewRefusesRules(t *testing.T) {
	_, err := New(Config{Name: "alice@test", Cookie: "secret", Rules: []Rule{{Permission: MayCall, Target: "shop"}}})
	require.ErrorContains(t, err, "Config.Rules: rule 1: ")
	_, err = New(Config{Name: "alice@test", Cookie: "secret", Rules: []Rule{{}, {Permission: 1 << 7}}})
	require.ErrorContains(t, err, "Config.Rules: rule 2: ")
}

// Allows asks the rules, for what is not a function; nothing is counted.
func TestAllows(t *testing.T) {
	rules := []Rule{{Peer: "web*@*", Permission: MayCall, Target: "console:drain/0"}, {Peer: "web*@*", Allow: true}, {}}
	n := guard(t, rules...).n
	for peer, want := range map[string][2]bool{"web1@test": {false, true}, "ops@test": {false, false}, "alice@test": {true, true}} {
		require.Equal(t, want[0], n.Allows(peer, MayCall, "console", "drain", 0), peer)
		require.Equal(t, want[1], n.Allows(peer, MayCall, "console", "drain", 1), peer)
	}
	require.Zero(t, n.Stats().Denied)
	require.Equal(t, rules, n.Rules())
	require.True(t, guard(t).n.Allows("ops@test", MaySpawn, "a", "b", 0))
}

// Every control message that a peer may send has a row here: what it does to a process of this
// node, and which permission that needs. A new one needs a row; 0 is for those that end what there
// is, or mean nothing, and functions are a matter of mayRun.
func TestRulesOfControlMessages(t *testing.T) {
	permissions := map[dist.Op]Permission{
		dist.OpSend: MaySend, dist.OpSendSender: MaySend, dist.OpRegSend: MaySend, dist.OpAliasSend: MaySend, dist.OpMonitorP: MaySend,
		dist.OpLink: MayLink, dist.OpSpawnReply: MayLink, // of a process that it has not asked for
		dist.OpExit2: MayExit, dist.OpPayloadExit2: MayExit, dist.OpAltactSigSend: MaySend, // MayExit for AltactExit
		dist.OpSpawnRequest: MaySpawn,
		dist.OpExit:         0, dist.OpPayloadExit: 0, dist.OpUnlink: 0, dist.OpUnlinkID: 0, dist.OpUnlinkIDAck: 0, // of links
		dist.OpDemonitorP: 0, dist.OpMonitorPExit: 0, dist.OpPayloadMonitorPExit: 0, // of monitors
		dist.OpNodeLink: 0, dist.OpGroupLeader: 0, // they do nothing
	}
	g := guard(t, Rule{})
	p := g.peer("web1@test")
	c := g.w.conn(g.n, "web1@test")
	for op := range dist.Op(255) {
		if !op.Known() || op.Base() != op {
			continue
		}
		needs, ok := permissions[op]
		require.True(t, ok, "%v has no row: what does it do to a process, and which permission does that need?", op)
		m := &Message{Control: dist.Control{Op: op, From: p.Self, To: g.plain.Pid(), Ref: refOf(p, 1), Reason: encode(t, ei.Atom("why")),
			ID: 1, Module: "shop", Function: "refund", Options: encode(t, ei.List{}), Result: encode(t, p.Self)}, conn: c}
		switch op {
		case dist.OpRegSend:
			m.ToName = "secret"
		case dist.OpAliasSend:
			m.Ref = g.alias
		}
		if op.HasPayload() {
			m.Payload = encode(t, ei.List{})
		}
		link.Plain(m.in())
		denied, links, queue := g.n.Stats().Denied, len(introspectOf(g).LinkedWith), introspectOf(g).Queue
		g.n.route(c, m)
		d := introspectOf(g)
		require.Equal(t, links, len(d.LinkedWith), op)
		require.Equal(t, queue, d.Queue, op)
		require.Empty(t, d.Watchers, op)
		if needs == MaySpawn { // the process runs by itself
			require.Eventually(t, func() bool { return g.n.Stats().Denied == denied+1 }, tooLong, tick, op)
			continue
		}
		if needs != 0 {
			denied++
		}
		require.Equal(t, denied, g.n.Stats().Denied, op)
	}
	require.Zero(t, unread(g.secret))
	require.Zero(t, g.ran.Load())
}

func introspectOf(g *guarded) introspect.Details {
	d, _ := g.n.Process(g.plain.Pid())
	return d
}
