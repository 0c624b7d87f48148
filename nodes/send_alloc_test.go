//go:build unix

package nodes

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/race"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/nodes/metrics"
)

// SendRaw allocates nothing, nor does ReceiveInto into a message whose buffer is large enough. What
// a plug-in allocates is its own affair: TCP does not.
func TestSendReceiveAllocations(t *testing.T) {
	race.Allocates(t)
	ca, cb := newWorld(t, "tcp").pair()
	ctx := context.Background()
	var in, out int
	for _, measured := range []bool{false, true} {
		if measured {
			cb.n.Measure(&metrics.Hooks{MessageIn: func(*metrics.Conn, int) { in++ }})
			ca.n.Measure(&metrics.Hooks{MessageOut: func(*metrics.Conn, int) { out++ }})
		}
		payload, to := ei.AppendInt(nil, 7), cb.Self()
		var m Message
		require.Zero(t, testing.AllocsPerRun(500, func() {
			require.NoError(t, ca.SendRaw(ctx, to, payload))
			require.NoError(t, cb.ReceiveInto(ctx, &m))
		}), "measured: %v", measured)
	}
	require.Equal(t, []int{501, 501}, []int{in, out})
}

// A call costs no allocation for its measurement if nobody measures.
func TestUnmeasuredCallAllocations(t *testing.T) {
	race.Allocates(t)
	n := newWorld(t, "tcp").node("alice")
	b := box(t, n)
	ctx := (&run{}).within(context.Background())
	request := any(rexCall{Module: "m", Function: "f"})
	require.Zero(t, testing.AllocsPerRun(500, func() {
		ctx, r := b.measureRun(ctx, nil, "call")
		r.EndReturned(nil)
		ctx, r = n.meters.measureFunction(ctx, nil, function{"m", "f"}, nil)
		endApplied(r, metrics.OutcomeOK, nil)
		_, r = n.measureCall(ctx, bonds.Target{Name: "rex"}, request)
		endCall(r, ei.Cursor{}, nil)
	}))
}

// quoted answers an order of the price: #{sku => S, total => Pieces * Price} for #{sku => S, pieces
// => Pieces, price => Price}.
func quoted(order ei.Term) (any, error) {
	m, _ := order.(ei.Map)
	sku, _ := m.Get(ei.Atom("sku"))
	pieces, _ := m.Get(ei.Atom("pieces"))
	price, _ := m.Get(ei.Atom("price"))
	total := ei.Float(float64(pieces.(ei.Int)) * float64(price.(ei.Float)))
	return ei.MapOf(ei.Atom("sku"), sku, ei.Atom("total"), total), nil
}

// waysToServe gives the ways to have a node serve a call, each with what an Erlang node sends and
// gets for it. The calling side allocates nothing.
func waysToServe(t testing.TB) map[string]func() {
	w := newWorld(t, "tcp")
	n := w.started("alice")
	n.Expose("shop", "quote", func(_ context.Context, args []ei.Term) (any, error) { return quoted(args[0]) })
	serve(t, n, "quotes", Server{
		Call: func(_ context.Context, c *Call) (any, error) { return quoted(c.Request.(ei.Tuple)[1]) },
	})
	c := connect(t, w.node("bob"), "alice@test")
	ref := of(c.n.NewRef()).must(t)
	ctx, self := context.Background(), c.Self()
	encoded := func(t ei.Term) ei.Raw { return exitReason(t) }
	order := ei.MapOf(ei.Atom("sku"), ei.Binary("apple"), ei.Atom("pieces"), ei.Int(3), ei.Atom("price"), ei.Float(2.5))
	var m Message
	send := func(ctl dist.Control, payload ei.Raw) {
		assert.NoError(t, c.SendControl(ctx, &ctl, payload))
	}
	answered := func(by dist.Op) {
		if err := c.ReceiveInto(ctx, &m); err != nil || m.Op != by {
			t.Error(err, m.Op)
		}
	}
	call := func(name ei.Atom, request ei.Term) func() {
		payload := encoded(ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{self, otp.AliasTag(ref)}, request})
		return func() {
			send(dist.Control{Op: dist.OpMonitorP, From: self, ToName: name, Ref: ref}, nil)
			send(dist.Control{Op: dist.OpRegSend, From: self, ToName: name}, payload)
			answered(dist.OpAliasSend)
			send(dist.Control{Op: dist.OpDemonitorP, From: self, ToName: name, Ref: ref}, nil)
		}
	}
	spawn := dist.Control{
		Op: dist.OpSpawnRequest, Ref: ref, From: self, GroupLeader: self, Module: "erpc", Function: "execute_call", Arity: 4,
		Options: encoded(ei.List{ei.Atom("monitor"), ei.Tuple{ei.Atom("reply"), ei.Atom("error_only")}}),
	}
	args := encoded(ei.List{ref, ei.Atom("shop"), ei.Atom("quote"), ei.List{order}})
	return map[string]func(){
		"rpc":        call("rex", ei.Tuple{ei.Atom("call"), ei.Atom("shop"), ei.Atom("quote"), ei.List{order}, self}),
		"erpc":       func() { send(spawn, args); answered(dist.OpMonitorPExit) },
		"gen_server": call("quotes", ei.Tuple{ei.Atom("quote"), order}),
	}
}

// What a call costs that another node makes: ten of the allocations are for its argument, a map of
// three pairs, and its result.
func TestServedCallAllocations(t *testing.T) {
	race.Allocates(t)
	most := map[string]float64{"rpc": 22, "erpc": 21, "gen_server": 15}
	for name, call := range waysToServe(t) {
		got := testing.AllocsPerRun(1000, call)
		t.Logf("%s: %v", name, got)
		require.LessOrEqual(t, got, most[name], name)
	}
}
