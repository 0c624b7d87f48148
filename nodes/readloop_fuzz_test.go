package nodes

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// The processes that a fuzzed connection finds, so that seeds can name them: a mailbox that traps
// exits, called box, another one that does not, and a Server of typed functions, called shop.
const (
	fuzzCreation = 9
	fuzzBox      = 101
	fuzzPlain    = 102
)

// FuzzConn feeds any bytes to a connection after a real handshake. Nothing panics, nothing hangs,
// nothing is left when it is over, and the node goes on.
func FuzzConn(f *testing.F) {
	for _, b := range fuzzSeeds(f) {
		f.Add(b)
	}
	typed := FuncOf(func(a item, b ...map[string]any) (any, error) { return b, nil })
	w := newWorld(f, "memory")
	n := w.node("bob", func(cfg *Config) {
		cfg.MaxFrame = 1 << 20
		cfg.Setup = func(n *Node) error {
			n.Expose("m", "f", func(_ context.Context, args []ei.Term) (any, error) { return args, nil })
			n.Expose("m", "t", typed)
			return nil
		}
	})
	n.creation = fuzzCreation
	require.NoError(f, n.Start(w.ctx()))
	l := n.Listeners()[0]
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			t.Skip("longer input shows nothing more, and takes its time")
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		n.ids.Pids.Store(fuzzBox - 1)
		large := registered(t, n, "box", &MailboxOptions{TrapExit: true, Limit: 1 << 20, Full: FullExit})
		plain := box(t, n)
		require.EqualValues(t, fuzzPlain, plain.Pid().ID)
		shop := serve(t, n, "shop", Server{On: map[string]Func{"t": typed, "": typed}})
		received := make(chan struct{})
		go func() {
			defer close(received)
			for m, err := range large.All(ctx) {
				if err != nil {
					return
				}
				_, _ = m.Term()
				m.Release()
			}
		}()

		s := of(w.tr.Connect(ctx, l.Addr())).must(t)
		p := newWire(t, s)
		require.NoError(t, p.Initiate(role("wire@test")))
		written := make(chan struct{})
		go func() {
			defer close(written)
			if len(b) > 0 {
				_, _ = s.Writev(ctx, b) // the node may have had enough
			}
			_ = s.CloseWrite()
		}()
		for buf := make([]byte, 4<<10); ; {
			if _, err := s.Read(ctx, buf); err != nil {
				require.NotErrorIs(t, err, context.DeadlineExceeded, "the connection does not end")
				break
			}
		}
		<-written
		require.NoError(t, s.Close())
		require.NoError(t, large.Close())
		require.NoError(t, plain.Close())
		require.NoError(t, shop.Close()) // a peer may have ended it: a new one is for the next
		<-received
		require.Eventually(t, func() bool { return tableSize(n) == 0 && n.Stats().Mailboxes == 2 }, tooLong, tick)
		require.NoError(t, n.Err())
	})
}

// fuzzSeeds are conversations of a peer, by name.
func fuzzSeeds(t testing.TB) map[string][]byte {
	self := ei.Pid{Node: "wire@test", ID: 1, Creation: 77}
	box := ei.Pid{Node: "bob@test", ID: fuzzBox, Creation: fuzzCreation}
	plain := ei.Pid{Node: "bob@test", ID: fuzzPlain, Creation: fuzzCreation}
	nobody := ei.Pid{Node: "bob@test", ID: 4711, Creation: fuzzCreation}
	ref := ei.Ref{Node: "wire@test", Creation: 77, Len: 3, ID: [5]uint32{1, 2, 3}}
	alias := ei.ImproperList{Elems: []ei.Term{ei.Atom("alias")}, Tail: ref}
	why := ei.Raw{119, 5, 'c', 'r', 'a', 's', 'h'}
	options := ei.Raw{108, 0, 0, 0, 1, 119, 7, 'm', 'o', 'n', 'i', 't', 'o', 'r', 106}
	list := func(ts ...ei.Term) ei.Term { return ei.List(ts) }
	call := func(tag ei.Term, request ei.Term) ei.Term {
		return ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{self, tag}, request}
	}
	rexCall := ei.Tuple{ei.Atom("call"), ei.Atom("m"), ei.Atom("f"), list(ei.Int(1000)), ei.Atom("user")}
	things := ei.Map{{Key: ei.Atom("sku"), Value: ei.Binary("A1")}, {Key: ei.Atom("price"), Value: ei.Float(1.5)}}
	typed := ei.Tuple{ei.Atom("t"), things, things}
	shop := dist.Control{Op: dist.OpRegSend, From: self, ToName: "shop"}
	type part struct {
		ctl     dist.Control
		payload ei.Term
	}
	seeds := map[string][]byte{}
	for name, parts := range map[string][]part{
		"send": {{dist.Control{Op: dist.OpSend, To: box}, ei.Atom("x")},
			{dist.Control{Op: dist.OpSendSender, From: self, To: box}, ei.Int(1)}},
		"reg_send": {{dist.Control{Op: dist.OpRegSend, From: self, ToName: "box"}, ei.Map{}},
			{dist.Control{Op: dist.OpRegSend, From: self, ToName: "nobody"}, ei.Int(1)}},
		"alias": {{dist.Control{Op: dist.OpAliasSend, From: self, Ref: ref}, ei.Int(1)}},
		"link_exit": {{dist.Control{Op: dist.OpLink, From: self, To: box}, nil},
			{dist.Control{Op: dist.OpExit, From: self, To: box, Reason: why}, nil}},
		"link_unlink": {{dist.Control{Op: dist.OpLink, From: self, To: plain}, nil},
			{dist.Control{Op: dist.OpUnlinkID, ID: 7, From: self, To: plain}, nil},
			{dist.Control{Op: dist.OpUnlinkIDAck, ID: 7, From: self, To: plain}, nil}},
		"payload_exit": {{dist.Control{Op: dist.OpLink, From: self, To: plain}, nil},
			{dist.Control{Op: dist.OpPayloadExit, From: self, To: plain}, ei.Atom("crash")}},
		"exit2": {{dist.Control{Op: dist.OpExit2, From: self, To: plain, Reason: why}, nil},
			{dist.Control{Op: dist.OpPayloadExit2, From: self, To: box}, ei.Atom("kill")}},
		"monitor": {{dist.Control{Op: dist.OpMonitorP, From: self, To: box, Ref: ref}, nil},
			{dist.Control{Op: dist.OpMonitorP, From: self, ToName: "box", Ref: ref}, nil},
			{dist.Control{Op: dist.OpDemonitorP, From: self, To: box, Ref: ref},
				nil}, {dist.Control{Op: dist.OpMonitorP, From: self, To: nobody, Ref: ref}, nil}},
		"monitor_exit": {{dist.Control{Op: dist.OpMonitorPExit, From: self, To: box, Ref: ref, Reason: why}, nil},
			{dist.Control{Op: dist.OpPayloadMonitorPExit, From: self, To: box, Ref: ref}, ei.Int(1)}},
		"ping": {{dist.Control{Op: dist.OpRegSend, From: self, ToName: "net_kernel"},
			call(alias, ei.Tuple{ei.Atom("is_auth"), ei.Atom("wire@test")})}},
		"rex": {{dist.Control{Op: dist.OpRegSend, From: self, ToName: "rex"}, call(ref, rexCall)},
			{dist.Control{Op: dist.OpRegSend, From: self, ToName: "rex"}, ei.Tuple{self, rexCall}},
			{dist.Control{Op: dist.OpRegSend, From: self, ToName: "rex"},
				ei.Tuple{ei.Atom("$gen_cast"), ei.Tuple{ei.Atom("cast"), ei.Atom("m"), ei.Atom("f"), list(), ei.Atom("user")}}}},
		"spawn": {{dist.Control{Op: dist.OpSpawnRequest, Ref: ref, From: self, GroupLeader: self, Module: "m", Function: "f", Arity: 1,
			Options: options}, list(ei.Int(1000))}},
		"erpc": {{dist.Control{Op: dist.OpSpawnRequest, Ref: ref, From: self, GroupLeader: self, Module: "erpc", Function: "execute_call",
			Arity: 4, Options: options},
			list(ref, ei.Atom("m"), ei.Atom("f"), list(ei.Int(1000)))}},
		"typed": {{shop, call(alias, typed)}, {shop, ei.Tuple{ei.Atom("$gen_cast"), typed}}, {shop, typed}, {shop, call(ref, things)},
			{dist.Control{Op: dist.OpRegSend, From: self, ToName: "rex"},
				ei.Tuple{self, ei.Tuple{ei.Atom("call"), ei.Atom("m"), ei.Atom("t"), list(things, things), ei.Atom("user")}}}},
		"spawn_reply": {{dist.Control{Op: dist.OpSpawnReply, Ref: ref, To: box, Flags: 3, Result: why}, nil}},
		"others": {{dist.Control{Op: dist.OpGroupLeader, From: self, To: box}, nil}, {dist.Control{Op: dist.OpNodeLink}, nil},
			{dist.Control{Op: dist.OpUnlink, From: self, To: box}, nil}},
		"traced": {{dist.Control{Op: dist.OpSend.Traced(), To: box, Token: why}, ei.Int(1)},
			{dist.Control{Op: dist.OpExit2.Traced(), From: self, To: plain, Token: why, Reason: why}, nil}},
		"spoofed": {{dist.Control{Op: dist.OpLink, From: plain, To: box}, nil}, {dist.Control{Op: dist.OpExit, From: plain, To: box,
			Reason: why}, nil}, {dist.Control{Op: dist.OpMonitorP, From: box, To: nobody, Ref: ref}, nil}},
	} {
		var b []byte
		for _, p := range parts {
			b = append(b, frame(t, p.ctl, p.payload)...)
		}
		seeds[name] = b
	}
	seeds["ticks"] = make([]byte, 12)
	seeds["huge"] = []byte{0, 0x0f, 0xff, 0xff, 'p', 131}
	seeds["too_long"] = []byte{255, 255, 255, 255}
	seeds["unknown"] = framed([]byte{'p', 131, 104, 2, 97, 99, 106})
	seeds["fragment"] = framed([]byte{131, 69, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 104, 1, 97, 5})
	return seeds
}
