package interop

import (
	"context"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/stretchr/testify/require"
)

// By whatever way a peer makes our node send something to a process of an Erlang node, that node's
// connection with ours lives on.
func TestWaysToThirdNodes(t *testing.T) {
	need.Long(t, 10*time.Second)
	// FUN_EXT
	oldFun := ei.Raw{117, 0, 0, 0, 0, 88, 119, 3, 'a', '@', 'b', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 119, 1, 'm', 97, 1, 97, 1}
	closure := ei.Fun{Arity: 1, Module: "m", OldIndex: 1 << 59, Pid: ei.Pid{Node: "a@b", ID: 1, Creation: 1}}
	record := ei.Record{Module: "m", Name: "r"}
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		m := &meeting{erl: start(t, r, otp.Options{EpmdPort: port}), n: startNode(t, config(port))}
		ctx := background(t)
		watched := make(chan struct{})
		m.n.Expose("m", "wait", func(context.Context, []ei.Term) (any, error) { <-watched; return 1, nil })
		victim := m.pid(t, `spawn(fun() -> register(victim, self()), (fun F() -> receive
			{do, P, Fun} -> Fun(), P ! done;
			{next, P} -> receive Got when element(1, Got) =/= do, element(1, Got) =/= next -> P ! {got, Got} end
			end, F() end)() end)`)
		vn, creation := victim.Node, victim.Creation
		liar := newNode(t, config(port))
		lc, err := liar.Connect(ctx, m.n.Name())
		require.NoError(t, err)
		me := lc.Self()
		say := func(name string, term ei.Term) { require.NoError(t, lc.SendName(ctx, name, term)) }
		send := func(ctl *dist.Control, payload ei.Term) {
			var raw ei.Raw
			if payload != nil {
				raw, err = ei.AppendTerm(nil, payload)
				require.NoError(t, err)
			}
			require.NoError(t, lc.SendControl(ctx, ctl, raw))
		}
		monitor := func(p ei.Pid) { // the victim does
			m.tell(t, "Who", p)
			// and the monitor has arrived
			m.erl.Do(t, m.about("victim ! {do, self(), fun() -> erlang:monitor(process, Who) end}, receive done -> ok end, net_adm:ping(N)"))
		}
		call := func(from ei.Pid, tag ei.Term) ei.Term {
			return ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{from, tag}, ei.Atom("x")}
		}
		good := call(victim, ei.Atom("good")) // comes in any case
		ask := func(from ei.Pid, tag ei.Term) func(*nodes.Mailbox) {
			return func(*nodes.Mailbox) { say("srv", call(from, tag)); say("srv", good) }
		}
		sbcast := func(name string, message, good ei.Term) func(*nodes.Mailbox) {
			return func(*nodes.Mailbox) {
				for _, message := range []ei.Term{message, good} {
					say("rex", ei.Tuple{me, ei.Tuple{ei.Atom("sbcast"), ei.Atom(name), message}})
				}
			}
		}
		exit := func(reason ei.Term) func(*nodes.Mailbox) {
			return func(b *nodes.Mailbox) {
				monitor(b.Pid())
				send(&dist.Control{Op: dist.OpLink, From: me, To: b.Pid()}, nil)
				send(&dist.Control{Op: dist.OpPayloadExit, From: me, To: b.Pid()}, reason)
			}
		}
		ownRef := ei.Ref{Node: vn, Creation: creation, Len: 3, ID: [5]uint32{1 << 31, 1, 1}}
		ownPid := ei.Pid{Node: vn, ID: 1 << 31, Creation: creation}
		for name, attack := range map[string]func(srv *nodes.Mailbox){
			"call, closure":       ask(victim, closure),
			"call, old fun":       ask(victim, oldFun),
			"call, too long":      ask(victim, append(ei.Raw{111, 0, 128, 0, 0, 0}, make(ei.Raw, 1<<23)...)), // for every release
			"call, old reference": ask(victim, ei.Raw{114, 0, 1, 119, 3, 'a', '@', 'b', 77, 0, 0, 0, 1}),     // with a large creation
			"call, no bits":       ask(victim, ei.Raw{77, 0, 0, 0, 0, 0}),
			"call, equal keys":    ask(victim, ei.Raw{116, 0, 0, 0, 2, 97, 1, 97, 1, 97, 1, 97, 2}),
			"call, pid":           ask(ownPid, ei.Int(1)),
			"call, tag of victim": ask(victim, ownRef),
			"call, alias":         ask(victim, ei.ImproperList{Elems: []ei.Term{ei.Atom("alias")}, Tail: ownRef}),
			"call by sbcast":      sbcast("srv", call(victim, oldFun), good),
			"rex call by sbcast":  sbcast("rex", call(victim, oldFun), good),
			"system by sbcast":    sbcast("srv", ei.Tuple{ei.Atom("system"), ei.Tuple{victim, oldFun}, ei.Atom("x")}, good),
			"rex, pid": func(*nodes.Mailbox) {
				for _, from := range []ei.Pid{ownPid, victim} {
					say("rex", ei.Tuple{from, ei.Tuple{ei.Atom("sbcast"), ei.Atom("none"), ei.Int(1)}})
				}
			},
			"terminate": func(b *nodes.Mailbox) {
				monitor(b.Pid())
				say("srv", ei.Tuple{ei.Atom("system"), ei.Tuple{me, ei.Int(1)}, ei.Tuple{ei.Atom("terminate"), oldFun}})
			},
			"exit of a link, record":        exit(record), // not OTP 29
			"exit of a link, closure":       exit(closure),
			"exit of a link, ref of victim": exit(ownRef),
			"result of a spawned process": func(*nodes.Mailbox) {
				ref, err := liar.NewRef()
				require.NoError(t, err)
				monitors, _ := ei.AppendTerm(nil, ei.List{ei.Atom("monitor")})
				send(&dist.Control{Op: dist.OpSpawnRequest, Ref: ref, From: me, GroupLeader: me, Module: "erpc", Function: "execute_call",
					Arity: 4, Options: monitors},
					ei.List{oldFun, ei.Atom("m"), ei.Atom("wait"), ei.List{}})
				for {
					msg, err := lc.Receive(ctx)
					require.NoError(t, err)
					if msg.Op == dist.OpSpawnReply {
						p, err := msg.Result.Decode()
						require.NoError(t, err)
						monitor(p.(ei.Pid))
						close(watched)
						return
					}
				}
			},
		} {
			require.Equal(t, "pong", m.eval(t, "net_adm:ping(N)"))
			var c *nodes.Conn
			require.Eventually(t, func() bool { c = m.n.Conn(m.erl.Name()); return c != nil && c.Err() == nil }, limit, time.Millisecond)
			srv, err := m.n.Serve("srv", nodes.Server{}, nil)
			require.NoError(t, err)
			attack(srv)
			require.Equal(t, "ok", m.eval(t, "victim ! {next, self()}, receive {got, _} -> ok end"), name)
			require.Equal(t, "pong", m.eval(t, "net_adm:ping(N)"), name)
			require.NoError(t, c.Err(), name)
			require.Same(t, c, m.n.Conn(m.erl.Name()), name)
			srv.Close()
		}
	})
}
