package nodes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// What one sends over a connection keeps its order, with a name or without one, although a large
// message for whose end nobody has waited is still under way.
func TestFragmentsKeepOrder(t *testing.T) {
	w := newWorld(t, "memory")
	p, c := w.ambush("wire@test").meet(w.node("alice"))
	to := ei.Pid{Node: "wire@test", ID: 1, Creation: 4711}
	large := ei.Binary(make([]byte, 1<<20))
	require.NoError(t, c.Send(transport.NoWait(), to, large))
	require.NoError(t, c.SendName(w.ctx(), "name", ei.Int(1)))
	require.NoError(t, c.SendName(transport.NoWait(), "name", large))
	require.NoError(t, c.Send(w.ctx(), to, ei.Int(2)))
	for i, want := range []ei.Term{large, ei.Int(1), large, ei.Int(2)} {
		_, got := p.next()
		require.Equal(t, want, got, "message %d", i)
	}
}

// The end of a server does not overtake its reply.
func TestDownFollowsReply(t *testing.T) {
	watcher := ei.Pid{Node: "wire@test", ID: 1, Creation: 4711}
	ref := ei.Ref{Node: "wire@test", Creation: 4711, Len: 3, ID: [5]uint32{1, 2, 3}}
	for name, tag := range map[string]ei.Term{"ref": ref, "alias": ei.ImproperList{Elems: []ei.Term{ei.Atom("alias")}, Tail: ref}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "memory")
			n := w.started("alice")
			p, _ := w.ambush("wire@test").meet(n)
			b := box(t, n)
			require.NoError(t, n.Register("server", b))
			p.send(dist.Control{Op: dist.OpMonitorP, From: watcher, To: b.Pid(), Ref: ref}, nil)
			p.say("server", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{watcher, tag}, ei.Atom("request")})
			m, err := b.Receive(w.ctx())
			require.NoError(t, err)
			call, ok := b.CallOf(m)
			require.True(t, ok)
			require.NoError(t, call.Reply(transport.NoWait(), ei.Binary(make([]byte, 1<<20))))
			b.Close()
			reply, _ := p.next()
			require.NotEqual(t, dist.OpPayloadMonitorPExit, reply.Op)
			require.Equal(t, b.Pid(), reply.From)
			down, _ := p.next()
			require.Equal(t, dist.OpPayloadMonitorPExit, down.Op)
		})
	}
}

// The end of a process does not overtake what it has sent, whether its watcher knows it by its pid
// or by its name.
func TestDownFollowsFragments(t *testing.T) {
	for name, by := range map[string]func(ctl *dist.Control, b *Mailbox){
		"pid":  func(ctl *dist.Control, b *Mailbox) { ctl.To = b.Pid() },
		"name": func(ctl *dist.Control, _ *Mailbox) { ctl.ToName = "server" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "memory")
			n := w.started("alice")
			p, _ := w.ambush("wire@test").meet(n)
			b := box(t, n)
			require.NoError(t, n.Register("server", b))
			watcher := ei.Pid{Node: "wire@test", ID: 1, Creation: 4711}
			ctl := dist.Control{Op: dist.OpMonitorP, From: watcher, Ref: ei.Ref{Node: "wire@test", Creation: 4711, Len: 3, ID: [5]uint32{1, 2, 3}}}
			by(&ctl, b)
			p.send(ctl, nil)
			p.say("server", ei.Atom("hello"))
			_, err := b.Receive(w.ctx())
			require.NoError(t, err)

			large := ei.Binary(make([]byte, 1<<20))
			require.NoError(t, b.Send(transport.NoWait(), watcher, large))
			b.Close()
			_, got := p.next()
			require.Equal(t, large, got)
			down, _ := p.next()
			require.Equal(t, ctl.ToName, down.FromName)
			require.Equal(t, ctl.To, down.From)
			require.Equal(t, ctl.Ref, down.Ref)
		})
	}
}
