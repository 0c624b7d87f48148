package nodes

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// The processes that every node expects of another outlive processes that link to them.
func TestKernelOutlivesLinks(t *testing.T) {
	w := newWorld(t, "memory")
	a, b := w.started("alice"), w.started("bob")
	m := trapping(t, b)
	for _, name := range []string{"net_kernel", "rex"} {
		require.NoError(t, m.Link(w.ctx(), a.Whereis(name).Pid()))
	}
	require.NoError(t, b.Conn(a.Name()).Close())
	require.Eventually(t, func() bool { return a.Conn(b.Name()) == nil }, tooLong, tick)
	v := of(m.CallName(w.ctx(), a.Name(), "net_kernel", ei.Tuple{ei.Atom("is_auth"), ei.Atom(b.Name())})).must(t)
	require.Equal(t, ei.Atom("yes"), v)
	require.NotNil(t, a.Whereis("rex"))
}

// A message that a peer has rex send to a full mailbox waits there, and no function waits for room.
func TestSbcastToFullMailbox(t *testing.T) {
	n, p := newWorld(t, "tcp").met("alice")
	b := registered(t, n, "full", &MailboxOptions{Limit: 1})
	require.NoError(t, b.Send(soon(t), b.Pid(), ei.Atom("first")))
	p.sbcast("full", ei.Atom("second"))
	_, answer := p.Next()
	require.Equal(t, ei.Tuple{ei.Atom("rex"), ei.Atom(n.Name()), ei.Atom(n.Name())}, answer)
	require.NotZero(t, n.Stats().Overflow)
	require.Equal(t, ei.Atom("first"), term(t, b))
	require.Equal(t, ei.Atom("second"), term(t, b))
}

// A message that only looks like a request does the kernel processes no harm.
func TestKernelOddRequests(t *testing.T) {
	n, p := newWorld(t, "memory").met("alice")
	b := registered(t, n, "box")
	own := map[string]*Mailbox{"rex": n.Whereis("rex"), "net_kernel": n.Whereis("net_kernel")}
	ref := ei.Ref{Node: "wire@test", Creation: 77, Len: 3}
	for _, tt := range []struct {
		name          string
		request, want ei.Term
	}{
		{"net_kernel", ei.Tuple{ei.Atom("is_auth")}, ei.Tuple{ei.Atom("error"), ei.Atom("badarg")}},
		{"net_kernel", ei.Tuple{}, ei.Tuple{ei.Atom("error"), ei.Atom("badarg")}},
		{"rex", ei.Tuple{ei.Atom("call"), ei.Atom("m"), ei.Atom("f")}, otp.BadRPC(ei.Tuple{ei.Atom("EXIT"), ei.Atom("badarg")})},
		{"rex", ei.Tuple{}, otp.BadRPC(ei.Tuple{ei.Atom("EXIT"), ei.Atom("badarg")})},
	} {
		p.Say(tt.name, ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, ref}, tt.request})
		_, reply := p.Next()
		require.Equal(t, ei.Tuple{ref, tt.want}, reply)
	}
	for _, odd := range []ei.Term{
		ei.Tuple{p.Self}, ei.Tuple{p.Self, ei.Tuple{}}, ei.Tuple{p.Self, ei.Tuple{ei.Atom("sbcast"), ei.Atom("box")}},
		ei.Tuple{p.Self, ei.Tuple{ei.Atom("what"), ei.Atom("box"), ei.Atom("message")}},
	} {
		p.Say("rex", odd)
	}
	call := ei.Tuple{ei.Atom("call"), ei.Atom("m"), ei.Atom("f"), ei.List{}, ei.Atom("user")}
	// the C library's form, but of this node
	require.NoError(t, b.SendName(soon(t), n.Name(), "rex", ei.Tuple{b.Pid(), call}))
	// a supervisor would stop it in this way
	unknown := func(order ei.Term) ei.Term {
		return ei.Tuple{ei.Atom("error"), ei.Tuple{ei.Atom("unknown_system_msg"), order}}
	}
	for name := range own {
		for _, tt := range []struct{ order, want ei.Term }{
			{ei.Tuple{ei.Atom("terminate"), ei.Atom("shutdown")}, unknown(ei.Tuple{ei.Atom("terminate"), ei.Atom("...")})},
			{ei.Atom("suspend"), unknown(ei.Atom("suspend"))}, {ei.Int(1), unknown(ei.Atom("undecodable"))},
			{ei.Tuple{ei.Atom("debug"), ei.Atom("get")}, ei.Atom("unknown_debug")},
		} {
			p.Say(name, ei.Tuple{ei.Atom("system"), ei.Tuple{p.Self, ref}, tt.order})
			_, reply := p.Next()
			require.Equal(t, ei.Tuple{ref, tt.want}, reply)
		}
	}

	// These are answered: rpc:sbcast always, rpc:multi_server_call by the process that gets the
	// message.
	p.Say("rex", ei.Tuple{p.Self, ei.Tuple{ei.Atom("send"), ei.Atom("box"), ei.Atom("message")}})
	require.Equal(t, ei.Tuple{p.Self, ei.Atom("message")}, term(t, b))
	for _, tt := range []struct{ to, want ei.Term }{
		{ei.Atom("nobody"), ei.Tuple{ei.Atom("nonexisting_name"), ei.Atom("nobody")}},
		{ei.Int(1), ei.Tuple{ei.Atom("nonexisting_name"), ei.Int(1)}},
		{ei.Atom("box"), ei.Atom("alice@test")},
	} {
		p.Say("rex", ei.Tuple{p.Self, ei.Tuple{ei.Atom("sbcast"), tt.to, ei.Atom("message")}})
		ctl, reply := p.Next()
		require.Equal(t, p.Self, ctl.To)
		require.Equal(t, ei.Tuple{ei.Atom("rex"), ei.Atom("alice@test"), tt.want}, reply)
	}
	require.Equal(t, ei.Atom("message"), term(t, b))
	require.Zero(t, unread(b))
	for name, kernel := range own {
		require.Same(t, kernel, n.Whereis(name))
	}
}

// net_kernel answers on the goroutine that reads the connection: it builds no term of what it is
// asked.
func TestKernelDecodesNothing(t *testing.T) {
	_, p := newWorld(t, "memory").met("alice")
	ref := ei.Ref{Node: "wire@test", Creation: 77, Len: 3}
	huge := bytes.Repeat([]byte{108, 0, 0, 0, 1}, 1<<20) // a million lists within each other
	huge = append(huge, bytes.Repeat([]byte{106}, 1<<20+1)...)
	for _, tt := range []struct{ request, want ei.Term }{
		{ei.Tuple{ei.Atom("is_auth"), ei.Raw(huge)}, ei.Atom("yes")},
		{ei.Raw(huge), ei.Tuple{ei.Atom("error"), ei.Atom("badarg")}},
	} {
		p.Say("net_kernel", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, ref}, tt.request})
		_, reply := p.Next()
		require.Equal(t, ei.Tuple{ref, tt.want}, reply)
	}
}

// Nor can a peer that asks in another peer's name make that peer lose its connection, if the latter
// is slow to read.
func TestKernelBesideSlowPeer(t *testing.T) {
	besideDeaf(t, func(t *testing.T, _ *world, n *Node, slow, good *wire, _ func()) {
		tag := ei.Binary(make([]byte, 10<<10))
		for range 2 << 20 / len(tag) {
			good.Say("net_kernel", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{slow.Self, tag},
				ei.Tuple{ei.Atom("is_auth"), ei.Atom("slow@test")}})
		}
		synctest.Wait()
		require.NotNil(t, n.Conn("deaf@test"))
		require.NotNil(t, n.Conn("good@test"))
	})
}

// The node's own processes cannot be killed, since nothing would start them again.
func TestKernelIsNotKilled(t *testing.T) {
	w := newWorld(t, "tcp")
	a, b := w.started("alice"), w.started("bob")
	peer := box(t, a)
	for _, name := range []string{"net_kernel", "rex"} {
		own := b.Whereis(name)
		require.NoError(t, peer.SendExit(w.ctx(), own.Pid(), ei.Atom("kill")))
		of(peer.CallName(w.ctx(), b.Name(), name, ei.Atom("x"))).must(t)
		require.Same(t, own, b.Whereis(name))
	}
}

// A function that has made its process, to print say, is answered like any other, though its
// context has ended by then.
func TestRexAnswersOfAProcess(t *testing.T) {
	n, p := newWorld(t, "memory").met("alice")
	n.Expose("m", "pid", func(ctx context.Context, _ []ei.Term) (any, error) { return MailboxOf(ctx).Pid(), nil })
	call := ei.Tuple{ei.Atom("call"), ei.Atom("m"), ei.Atom("pid"), ei.List{}, ei.Atom("user")}
	p.Say("rex", ei.Tuple{p.Self, call}) // the C library's
	_, reply := p.Next()
	require.Equal(t, ei.Atom("rex"), reply.(ei.Tuple)[0])
	require.IsType(t, ei.Pid{}, reply.(ei.Tuple)[1])
}
