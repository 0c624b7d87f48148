package nodes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// Functions as processes: what MailboxOf(ctx) gives in a Func, however it was called.

// start spawns a function, and returns its process.
func (p *wire) start(id uint32, function string, options ei.Term, args ...ei.Term) (ei.Ref, ei.Pid) {
	p.T.Helper()
	ref := p.request(id, "m", function, options, args...)
	ctl, _ := p.Next()
	require.Equal(p.T, dist.OpSpawnReply, ctl.Op)
	pid := of(ctl.Result.Decode()).must(p.T)
	return ref, pid.(ei.Pid)
}

func (p *wire) tell(to ei.Pid, term ei.Term) {
	p.Send(dist.Control{Op: dist.OpSendSender, From: p.Self, To: to}, term)
}

// conversation answers {From, T} with {Pid, T}, until it gets an atom, with which it ends.
func conversation(ctx context.Context) error {
	self := MailboxOf(ctx)
	for {
		m, err := self.Receive(ctx)
		if err != nil {
			return err
		}
		switch t, _ := m.Term(); t := t.(type) {
		case ei.Tuple:
			if err := self.Send(ctx, t[0].(ei.Pid), ei.Tuple{self.Pid(), t[1]}); err != nil {
				return err
			}
		case ei.Atom:
			return &Raise{Class: ClassExit, Reason: t}
		}
	}
}

func TestSpawnedFunctionConverses(t *testing.T) {
	n, p := newWorld(t, "memory").met("alice")
	n.Expose("m", "converse", FuncOf(conversation))
	ref, pid := p.start(1, "converse", ei.List{ei.Atom("monitor"), ei.Atom("link")})
	for i := range 3 { // also what comes before the function has asked for its mailbox
		p.tell(pid, ei.Tuple{p.Self, ei.Int(i)})
	}
	for i := range 3 {
		ctl, got := p.Next()
		require.Equal(t, dist.OpSendSender, ctl.Op)
		require.Equal(t, pid, ctl.From)
		require.Equal(t, ei.Tuple{pid, ei.Int(i)}, got)
	}
	p.tell(pid, ei.Atom("enough"))
	for range 2 { // the link's and the monitor's
		_, why := p.Next()
		require.Equal(t, ei.Atom("enough"), why)
	}
	_ = ref
	require.Eventually(t, func() bool { return n.Stats().Mailboxes == 2 }, tooLong, tick, "net_kernel, rex")
	require.Zero(t, n.Stats().Overflow)
}

// What a function knows of its caller, by every way of calling.
func TestFunctionKnowsItsCaller(t *testing.T) {
	type seen struct {
		self, caller ei.Pid
		leader       ei.Term
	}
	known := make(chan seen, 1)
	w := newWorld(t, "memory")
	n, p := w.met("alice")
	n.Expose("m", "look", FuncOf(func(ctx context.Context) {
		if self := MailboxOf(ctx); self != MailboxOf(ctx) || !self.runsWith(ctx) {
			panic("two processes")
		}
		known <- seen{MailboxOf(ctx).Pid(), CallerOf(ctx), GroupLeaderOf(ctx)}
	}))
	leader := p.Self
	leader.ID++
	mfa := func(op string, leader ei.Term) ei.Tuple {
		return ei.Tuple{ei.Atom(op), ei.Atom("m"), ei.Atom("look"), ei.List{}, leader}
	}
	tag := ei.Ref{Node: p.Self.Node, Creation: p.Self.Creation, Len: 3, ID: [5]uint32{1, 2, 3}}
	for name, tt := range map[string]struct {
		do     func()
		caller ei.Pid
		leader ei.Term
	}{
		"spawn": {func() { p.request(1, "m", "look", ei.List{}) }, p.Self, p.Self},
		"erpc":  {func() { p.request(1, "erpc", "execute_cast", ei.List{}, ei.Atom("m"), ei.Atom("look"), ei.List{}) }, p.Self, p.Self},
		"call":  {func() { p.Say("rex", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{leader, tag}, mfa("call", leader)}) }, leader, leader},
		"block_call": {func() {
			p.Say("rex", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, tag}, mfa("block_call", ei.Atom("user"))})
		}, p.Self, ei.Atom("user")},
		"cast":      {func() { p.Say("rex", ei.Tuple{ei.Atom("$gen_cast"), mfa("cast", leader)}) }, p.Self, leader},
		"ei_rpc":    {func() { p.Say("rex", ei.Tuple{leader, mfa("call", ei.Atom("user"))}) }, leader, ei.Atom("user")},
		"no leader": {func() { p.Say("rex", ei.Tuple{p.Self, mfa("call", ei.Int(5))}) }, p.Self, nil},
	} {
		tt.do()
		got := arrives(t, known, name)
		require.Equal(t, tt.caller, got.caller, name)
		require.Equal(t, tt.leader, got.leader, name)
		require.Equal(t, n.Name(), string(got.self.Node), name)
	}
	require.Eventually(t, func() bool { return n.Stats().Mailboxes == 2 }, tooLong, tick, "net_kernel, rex")

	// From this node, and from one of ours; a function passes its group leader on.
	other := w.started("bob")
	other.Expose("m", "pass", FuncOf(func(ctx context.Context) error {
		_, err := other.RPC(ctx, n.Name(), "m", "look")
		return err
	}))
	box := box(t, other)
	of(n.RPC(w.ctx(), n.Name(), "m", "look")).must(t)
	require.Equal(t, ei.Atom("user"), arrives(t, known, "a call from here").leader)
	of(n.RPC(WithGroupLeader(w.ctx(), leader), other.Name(), "m", "pass")).must(t)
	require.Equal(t, leader, arrives(t, known, "a call that was passed on").leader)
	of(RPCAs[ei.Term](w.ctx(), box, n.Name(), "m", "look")).must(t)
	require.Equal(t, box.Pid(), arrives(t, known, "a mailbox's call").caller)
}

// In a Server's function, CallerOf is what Call.From is, or the sender.
func TestServerKnowsItsCaller(t *testing.T) {
	w := newWorld(t, "memory")
	a, b := w.started("alice"), w.started("bob")
	callers := make(chan ei.Pid, 1)
	note := func(ctx context.Context) { callers <- CallerOf(ctx) }
	serve(t, a, "s", Server{
		On: map[string]Func{"on": FuncOf(note)},
		Call: func(ctx context.Context, c *Call) (any, error) {
			require.Equal(t, c.From, CallerOf(ctx))
			note(ctx)
			return ei.Atom("ok"), nil
		},
		Cast: func(ctx context.Context, _ ei.Term) { note(ctx) },
		Info: func(ctx context.Context, _ *Mailbox, _ *Message) { note(ctx) },
	})
	for _, n := range []*Node{a, b} {
		box := box(t, n)
		for _, request := range []ei.Term{ei.Atom("on"), ei.Atom("call")} {
			of(box.CallName(w.ctx(), a.Name(), "s", request)).must(t)
			require.Equal(t, box.Pid(), arrives(t, callers, "the caller"))
		}
		for _, message := range []ei.Term{ei.Tuple{ei.Atom("$gen_cast"), ei.Int(1)}, ei.Tuple{ei.Atom("$gen_cast"), ei.Atom("on")}, ei.Int(1)} {
			require.NoError(t, box.SendName(w.ctx(), a.Name(), "s", message))
			require.Equal(t, box.Pid(), arrives(t, callers, "the sender"))
		}
	}
	require.Zero(t, CallerOf(w.ctx()))
	require.Nil(t, GroupLeaderOf(w.ctx()))
}

// A function that traps exits hears of its parent's end, and one that does not ends with it.
func TestFunctionTrapsExits(t *testing.T) {
	w := newWorld(t, "memory")
	n := w.started("alice")
	heard := make(chan string, 1)
	n.Expose("m", "trap", FuncOf(func(ctx context.Context) error {
		self := MailboxOf(ctx)
		if self.TrapExit(true) || !self.TrapExit(true) {
			return errors.New("it has trapped exits before")
		}
		if err := self.Send(ctx, CallerOf(ctx), ei.Atom("ready")); err != nil {
			return err
		}
		m, err := self.Receive(ctx)
		if err != nil {
			return err
		}
		self.TrapExit(false)
		heard <- fmt.Sprintf("%v %v %v", m.Op, m.From == CallerOf(ctx), m.Reason)
		<-ctx.Done()
		<-self.Done() // which comes after it
		heard <- fmt.Sprint(self.Err())
		return nil
	}))
	p := w.peer(n.Listeners()[0], role("wire@test"))
	_, pid := p.start(1, "trap", ei.List{ei.Atom("link")})
	_, got := p.Next()
	require.Equal(t, ei.Atom("ready"), got)
	exit := func(op dist.Op, reason ei.Atom) { p.Send(dist.Control{Op: op, From: p.Self, To: pid}, reason) }
	exit(dist.OpPayloadExit, "bye")
	require.Equal(t, "EXIT true bye", arrives(t, heard, "the exit signal"))
	exit(dist.OpPayloadExit2, "now")
	require.Contains(t, arrives(t, heard, "the end"), "now")
}

// The process of an rpc:call exists once the function asks for it, and ends with it, whatever the
// function has made of it.
func TestCalledFunctionIsAProcess(t *testing.T) {
	w := newWorld(t, "memory")
	n, other := w.started("alice"), w.started("bob")
	boxes := make(chan *Mailbox, 1)
	n.Expose("m", "f", FuncOf(func(ctx context.Context, how ei.Atom) (ei.Atom, error) {
		self := MailboxOf(ctx)
		boxes <- self
		switch how {
		case "exit":
			self.Exit(ei.Atom("enough"))
			<-ctx.Done()
		case "goexit":
			runtime.Goexit()
		case "serve":
			if err := n.Register(ctx, "worker", self); err != nil {
				return "", err
			}
			return "ok", conversation(ctx)
		case "call":
			v, err := self.CallName(ctx, "bob@test", "echo", ei.Int(1))
			if err != nil || v != ei.Int(1) {
				return "", fmt.Errorf("%v, %w", v, err)
			}
			_, err = n.Call(ctx, self.Pid(), ei.Atom("myself"))
			if !errors.Is(err, ErrCallingSelf) {
				return "", err
			}
		}
		return "ok", nil
	}))
	serve(t, other, "echo", Server{Call: func(_ context.Context, c *Call) (any, error) { return c.Request, nil }})
	for how, want := range map[ei.Atom]string{"return": "normal", "call": "normal", "exit": "enough", "goexit": "killed"} {
		v, err := other.RPC(w.ctx(), n.Name(), "m", "f", how)
		if want == "normal" {
			require.NoError(t, err)
			require.Equal(t, ei.Atom("ok"), v)
		} else {
			require.ErrorContains(t, err, want)
		}
		box := arrives(t, boxes, "the mailbox")
		require.ErrorContains(t, box.Err(), want)
		_, err = box.Receive(w.ctx())
		require.ErrorIs(t, err, ErrClosed)
	}

	done := async(func() (ei.Term, error) { return other.RPC(w.ctx(), n.Name(), "m", "f", ei.Atom("serve")) })
	self := arrives(t, boxes, "the mailbox")
	box := box(t, other)
	require.Eventually(t, func() bool { return n.Whereis("worker") == self }, tooLong, tick)
	require.NoError(t, box.SendName(w.ctx(), n.Name(), "worker", ei.Tuple{box.Pid(), ei.Int(7)}))
	require.Equal(t, ei.Tuple{self.Pid(), ei.Int(7)}, term(t, box))
	require.NoError(t, box.SendName(w.ctx(), n.Name(), "worker", ei.Atom("done")))
	require.ErrorContains(t, (<-done).err, "done")
	require.Nil(t, n.Whereis("worker"))
}

// A goroutine that outlives its function finds a process that has ended.
func TestMailboxOfAFunctionThatIsOver(t *testing.T) {
	n := newWorld(t, "memory").started("alice")
	contexts := make(chan context.Context, 1)
	n.Expose("m", "f", FuncOf(func(ctx context.Context) { contexts <- ctx }))
	of(n.RPC(soon(t), n.Name(), "m", "f")).must(t)
	box := MailboxOf(arrives(t, contexts, "the context"))
	require.ErrorContains(t, box.Err(), "normal")
	require.Equal(t, 2, n.Stats().Mailboxes)
	of(n.RPC(soon(t), n.Name(), "m", "f")).must(t)
	n.Close()
	require.ErrorContains(t, MailboxOf(arrives(t, contexts, "the context")).Err(), "shutdown")
}

// A function that cannot know its process keeps no messages.
func TestBlindFunctionKeepsNoMessages(t *testing.T) {
	n, p := newWorld(t, "memory").met("alice")
	goOn, begun := make(chan struct{}), make(chan struct{}, 1)
	n.Expose("m", "blind", FuncOf(func() { begun <- struct{}{}; <-goOn }))
	ref, pid := p.start(1, "blind", ei.List{ei.Atom("monitor")})
	arrives(t, begun, "the function")
	for range 3 {
		p.tell(pid, ei.Binary(make([]byte, 1<<16)))
	}
	require.Eventually(t, func() bool { return n.Stats().Undeliverable == 3 }, tooLong, tick)
	require.Zero(t, n.Stats().Overflow)
	close(goOn)
	require.Equal(t, ei.Atom("normal"), p.down(ref))
}

// Whoever sends to a function that does not receive pays with its share of the memory: the process
// ends when that is used up, and other peers do not notice.
func TestStormOfMessagesForAFunction(t *testing.T) {
	const limit = 1 << 20
	w := newWorld(t, "tcp")
	n, p := w.met("alice", func(cfg *Config) { cfg.OverflowLimit = limit })
	n.Expose("m", "sleep", FuncOf(func(ctx context.Context) { <-ctx.Done() }))
	n.Expose("m", "echo", FuncOf(func(s string) string { return s }))
	const many = 20
	pids := make([]ei.Pid, many)
	for i := range pids {
		_, pids[i] = p.start(uint32(i), "sleep", ei.List{ei.Atom("link")})
	}
	fill := ei.Binary(make([]byte, 1<<15))
	go func() {
		for i := 0; ; i++ {
			b := frame(t, dist.Control{Op: dist.OpSendSender, From: p.Self, To: pids[i%many]}, fill)
			if p.Write(b) != nil {
				return
			}
		}
	}()
	other := w.started("bob")
	ended := false
	for deadline := time.Now().Add(tooLong); !ended && time.Now().Before(deadline); {
		require.Equal(t, ei.Binary("hello"), of(other.RPC(w.ctx(), n.Name(), "m", "echo", "hello")).must(t))
		require.Less(t, n.Stats().Overflow, 2*limit)
		ended = n.Stats().MailboxesFull > 0
	}
	require.True(t, ended)
	p.Close()
	require.Eventually(t, func() bool { return n.Stats().Mailboxes == 2 && n.Stats().Overflow == 0 }, tooLong, tick)
}

// A function says for itself how much may wait for it, and what then: the log names the function,
// and says what comes next.
func TestLimitOfAFunction(t *testing.T) {
	for name, full := range map[string]Full{"blocks": FullBlock, "exits": FullExit} {
		t.Run(name, func(t *testing.T) {
			w, log := newWorld(t, "memory"), new(record)
			n, p := w.met("alice", logsTo(log))
			set, done := make(chan error, 1), make(chan int, 1)
			n.Expose("m", "narrow", func(ctx context.Context, _ []ei.Term) (any, error) {
				set <- MailboxOf(ctx).SetLimit(10_000, full)
				<-ctx.Done()
				done <- unread(MailboxOf(ctx))
				return nil, nil
			})
			ref, pid := p.start(1, "narrow", ei.List{ei.Atom("monitor")})
			require.NoError(t, arrives(t, set, "the limit"))
			fill := ei.Binary(make([]byte, 1<<10))
			for range 3 {
				p.tell(pid, fill)
			}
			require.Eventually(t, func() bool { return n.Stats().Overflow > 3<<10 }, tooLong, tick, "it counts from the first byte")
			require.Empty(t, log.Lines("narrow"))
			for range 17 {
				p.tell(pid, fill)
			}
			if full == FullExit {
				require.Equal(t, mailboxFull, p.down(ref))
				require.Len(t, log.Lines("level=ERROR", "mailbox ended", "function m:narrow", "(Mailbox.SetLimit) is 10000", "Config.OverflowLimit "),
					1)
			} else {
				told := []string{"level=WARN", "over its limit", "function m:narrow", "(Mailbox.SetLimit) is 10000", "next=", "wire@test",
					"mailbox_full"}
				require.Eventually(t, func() bool { return n.Stats().Overflow > 20<<10 && len(log.Lines(told...)) == 1 }, tooLong, tick)
				p.Send(dist.Control{Op: dist.OpExit2, From: p.Self, To: pid, Reason: exitReason(ei.Atom("kill"))}, nil)
				require.Equal(t, ei.Atom("killed"), p.down(ref))
			}
			arrives(t, done, "the end of the function")
			require.Eventually(t, func() bool { return n.Stats().Overflow == 0 }, tooLong, tick)
		})
	}
}

// A limit that is raised makes room for what overflows, and for who waits.
func TestLimitRaised(t *testing.T) {
	n, p := newWorld(t, "memory").met("alice")
	full := registered(t, n, "full", &MailboxOptions{Limit: 1})
	for i := range 3 {
		p.Say("full", ei.Int(i))
	}
	require.Eventually(t, func() bool { return unreadOf(full) == 3 }, tooLong, tick)
	require.NotZero(t, n.Stats().Overflow)
	waits := async(func() (int, error) { return 0, box(t, n).Send(soon(t), full.Pid(), ei.Int(3)) })
	require.Eventually(t, func() bool { full.mu.Lock(); defer full.mu.Unlock(); return full.inbox.RoomAwaited() }, tooLong, tick)
	require.ErrorContains(t, full.SetLimit(-1, FullBlock), "the limit is -1")
	require.NoError(t, full.SetLimit(0, FullBlock))
	require.NoError(t, arrives(t, waits, "the Send").err)
	require.Zero(t, n.Stats().Overflow)
	for i := range 4 {
		require.Equal(t, ei.Int(i), term(t, full))
	}
}

// Labels are terms; they move with the node (see TestLabelMoves).
func TestLabel(t *testing.T) {
	n := newWorld(t, "memory").node("alice")
	box := box(t, n)
	require.Nil(t, box.Label())
	require.NoError(t, box.SetLabel([]any{"shop", 5}))
	require.Equal(t, ei.List{ei.Binary("shop"), ei.Int(5)}, box.Label())
	require.Error(t, box.SetLabel(make(chan int)))
	require.NotNil(t, box.Label())
	require.NoError(t, box.SetLabel(nil))
	require.Nil(t, box.Label())
}

// What a function keeps of its arguments stays as it is, when the request's memory is used again.
func TestFunctionKeepsArguments(t *testing.T) {
	w := newWorld(t, "memory")
	a, b := w.started("alice"), w.started("bob")
	const rounds = 200
	type all struct {
		bin  []byte
		raw  ei.Raw
		term ei.Term
	}
	kept, terms := make(chan all, 2*rounds), make(chan []ei.Term, 2*rounds)
	a.Expose("k", "keep", FuncOf(func(bin []byte, raw ei.Raw, term ei.Term) int { kept <- all{bin, raw, term}; return 0 }))
	a.Expose("k", "terms", Func(func(_ context.Context, args []ei.Term) (any, error) { terms <- args; return 1, nil }))
	for i := range rounds {
		bin := bytes.Repeat([]byte{byte(i)}, 200)
		for _, f := range []string{"keep", "terms"} {
			of(b.ERPC(w.ctx(), a.Name(), "k", f, ei.Binary(bin), ei.Binary(bin), ei.Binary(bin))).must(t)
			of(b.RPC(w.ctx(), a.Name(), "k", f, ei.Binary(bin), ei.Binary(bin), ei.Binary(bin))).must(t)
		}
	}
	for i := range 2 * rounds {
		want := bytes.Repeat([]byte{byte(i / 2)}, 200)
		k := <-kept
		require.Equal(t, want, k.bin)
		require.Equal(t, ei.Binary(want), of(k.raw.Decode()).must(t))
		require.Equal(t, ei.Binary(want), k.term)
		require.Equal(t, []ei.Term{ei.Binary(want), ei.Binary(want), ei.Binary(want)}, <-terms)
	}
}
