package nodes

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A spawned process, its link and its monitor, here and elsewhere.
func TestMailboxSpawn(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		release, began, ended := make(chan struct{}), make(chan struct{}, 4), make(chan struct{}, 4)
		there.Expose("m", "wait", func(ctx context.Context, args []ei.Term) (any, error) {
			release := release
			began <- struct{}{}
			select {
			case <-release:
			case <-ctx.Done():
			}
			ended <- struct{}{}
			return nil, &Raise{Class: ClassExit, Reason: args[0]}
		})
		b := trapping(t, here)
		pid := of(b.Spawn(w.ctx(), there.Name(), "m", "wait", ei.Atom("x"))).must(t)
		require.Equal(t, there.Name(), string(pid.Node))
		require.NotNil(t, there.procs.local(pid))
		require.Empty(t, linksOf(b))
		require.Empty(t, watchingOf(b))

		linked := of(b.SpawnLink(w.ctx(), there.Name(), "m", "wait", ei.Atom("l"))).must(t)
		require.Contains(t, linksOf(b), linked)
		monitored, ref, err := b.SpawnMonitor(w.ctx(), there.Name(), "m", "wait", ei.Atom("m"))
		require.NoError(t, err)
		require.Contains(t, watchingOf(b), ref)
		for range 3 {
			arrives(t, began, "the beginning")
		}
		close(release)
		reasons := map[ei.Pid]ei.Term{}
		for range 2 {
			m := receive(t, b)
			if m.Op == dist.OpMonitorPExit {
				require.Equal(t, ref, m.Ref)
			}
			reasons[m.From] = decode(t, m.Reason)
		}
		require.Equal(t, map[ei.Pid]ei.Term{linked: ei.Atom("l"), monitored: ei.Atom("m")}, reasons)
		for range 3 {
			arrives(t, ended, "the end")
		}
		require.Empty(t, linksOf(b))

		// A link works the other way, too.
		release = make(chan struct{})
		other := box(t, here)
		of(other.SpawnLink(w.ctx(), there.Name(), "m", "wait", ei.Atom("l"))).must(t)
		arrives(t, began, "the beginning")
		other.Exit(ei.Atom("enough"))
		arrives(t, ended, "the end with the parent")

		// A function that does not exist is how the process ends.
		_, ref, err = b.SpawnMonitor(w.ctx(), there.Name(), "m", "missing")
		require.NoError(t, err)
		m, why := reason(t, b, dist.OpMonitorPExit)
		require.Equal(t, ref, m.Ref)
		require.Equal(t, "{undef,[{m,missing,[],[]}]}", why.String())
		_, err = b.Spawn(w.ctx(), "nobody@test", "m", "wait")
		require.ErrorIs(t, err, ErrNoConnection)
		_, err = b.Spawn(w.ctx(), there.Name(), "m", "wait", make(chan int))
		require.ErrorContains(t, err, "spawn m:wait/1 at "+there.Name()+": ")
		require.NoError(t, b.Close())
		_, err = b.Spawn(w.ctx(), there.Name(), "m", "wait")
		require.ErrorAs(t, err, new(*ExitError))
		nothingLeft(t, here, there)
	})
}

// The answer to a request is a message.
func TestMailboxSpawnRequest(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		exposeAll(there)
		b := trapping(t, here)
		ref := of(b.SpawnRequest(w.ctx(), there.Name(), &SpawnOptions{Monitor: true, Link: true}, "m", "exit")).must(t)
		m := receive(t, b)
		require.Equal(t, dist.OpSpawnReply, m.Op)
		require.Equal(t, ref, m.Ref)
		pid := of(m.Spawned()).must(t)
		ops := map[dist.Op]ei.Pid{}
		for range 2 {
			m := receive(t, b)
			ops[m.Op] = m.From
		}
		require.Equal(t, map[dist.Op]ei.Pid{dist.OpExit: pid, dist.OpMonitorPExit: pid}, ops)
		_, err := b.SpawnRequest(w.ctx(), there.Name(), nil, "m", "exit", make(chan int))
		require.Error(t, err)
		require.Empty(t, watchingOf(b))
		nothingLeft(t, here, there)
	})
}

// spawned answers a request for a process.
func (p *wire) spawned(q dist.Control, flags uint64, result ei.Term) {
	p.T.Helper()
	p.Send(dist.Control{Op: dist.OpSpawnReply, Ref: q.Ref, To: q.From, Flags: flags, Result: exitReason(result)}, nil)
}

// What a peer may answer when it is asked for a process, and when.
func TestMailboxSpawnAnswers(t *testing.T) {
	w := newWorld(t, "memory")
	a, p := w.met("alice")
	child := ei.Pid{Node: "wire@test", ID: 5, Creation: 77}
	b := trapping(t, a)
	spawn := func(ctx context.Context) (<-chan result[ei.Pid], dist.Control) {
		called := async(func() (ei.Pid, error) { return b.SpawnLink(ctx, "wire@test", "m", "f") })
		q, _ := p.Next()
		require.Equal(t, dist.OpSpawnRequest, q.Op)
		require.Equal(t, b.Pid(), q.From)
		require.Equal(t, "[link]", q.Options.String())
		return called, q
	}
	for _, why := range []ei.Atom{"badopt", "system_limit", "notsup"} {
		called, q := spawn(w.ctx())
		p.spawned(q, 0, why)
		err := arrives(t, called, "the refusal").err
		e := new(SpawnError)
		require.ErrorAs(t, err, &e)
		require.Equal(t, why, e.Reason)
		require.Equal(t, why == "notsup", errors.Is(err, errors.ErrUnsupported))
	}
	called, q := spawn(w.ctx())
	p.spawned(q, dist.SpawnLinked, ei.Pid{Node: "other@test", ID: 5, Creation: 77})
	require.ErrorIs(t, arrives(t, called, "another node's process").err, errors.ErrUnsupported)
	require.Empty(t, linksOf(b))
	// Too late: the process is told.
	ctx, cancel := context.WithCancel(w.ctx())
	called, q = spawn(ctx)
	cancel()
	require.ErrorIs(t, arrives(t, called, "the end of the wait").err, context.Canceled)
	p.spawned(q, dist.SpawnLinked, child)
	ctl, why := p.nextSignal()
	require.Equal(t, dist.OpPayloadExit, ctl.Op)
	require.Equal(t, child, ctl.To)
	require.Equal(t, ei.Atom("abandoned"), why)
	require.Empty(t, linksOf(b))
	// Twice: nobody has asked for the second one.
	called, q = spawn(w.ctx())
	p.spawned(q, dist.SpawnLinked, child)
	require.Equal(t, child, arrives(t, called, "the process").must(t))
	require.Contains(t, linksOf(b), child)
	other := child
	other.ID++
	p.spawned(q, dist.SpawnLinked|dist.SpawnMonitored, other)
	for range 2 {
		ctl, _ = p.nextSignal()
		require.Equal(t, other, ctl.To)
	}
	require.NotContains(t, linksOf(b), other)
	require.Empty(t, watchingOf(b))
	require.Zero(t, b.queued())

	// Another node's answer counts for nothing; the end of the connection is one.
	p2 := w.peer(a.Listeners()[0], role("other@test"))
	ref := of(b.SpawnRequest(w.ctx(), "wire@test", &SpawnOptions{Monitor: true}, "m", "f")).must(t)
	q, _ = p.Next()
	require.Equal(t, "[monitor]", q.Options.String())
	p2.spawned(q, dist.SpawnMonitored, ei.Pid{Node: "other@test", ID: 1, Creation: 77})
	p2.Send(dist.Control{Op: dist.OpSend, To: b.Pid()}, ei.Atom("behind"))
	require.Equal(t, ei.Atom("behind"), term(t, b))
	b.Demonitor(context.Background(), ref)
	called, _ = spawn(w.ctx())
	p.Close()
	require.ErrorIs(t, arrives(t, called, "the loss").err, ErrNoConnection)
	seen := map[dist.Op]error{}
	for range 2 {
		m := receive(t, b)
		if _, seen[m.Op] = m.Spawned(); m.Op == dist.OpSpawnReply {
			require.Equal(t, ref, m.Ref)
		}
	}
	require.Contains(t, seen, dist.OpExit, "of the linked child")
	require.ErrorIs(t, seen[dist.OpSpawnReply], ErrNoConnection)
	nothingLeft(t, a)
}

// What a called function prints goes to the group leader of the context; without one to a process
// that answers, so that the function does not wait.
func TestGroupLeader(t *testing.T) {
	a, p := newWorld(t, "memory").met("alice")
	b := box(t, a)
	leader := box(t, a).Pid()
	ctx := WithGroupLeader(soon(t), leader)
	made := ei.Pid{Node: "wire@test", ID: 1 << 28, Creation: 77} // that node cannot have made it
	kernel := a.Whereis("net_kernel").Pid()
	for _, tt := range []struct {
		ctx  context.Context
		want ei.Pid
	}{{ctx, leader}, {soon(t), kernel}, {WithGroupLeader(ctx, made), kernel}} {
		require.NoError(t, a.ERPCCast(tt.ctx, "wire@test", "m", "f"))
		q, _ := p.Next()
		require.Equal(t, tt.want, q.GroupLeader)
		of(b.SpawnRequest(tt.ctx, "wire@test", nil, "m", "f")).must(t)
		q, _ = p.Next()
		require.Equal(t, tt.want, q.GroupLeader)
	}
	short, cancel := context.WithCancel(ctx)
	called := async(func() (ei.Term, error) { return a.RPC(short, "wire@test", "m", "f") })
	for {
		ctl, request := p.Next()
		if ctl.Op == dist.OpRegSend {
			require.Equal(t, leader, request.(ei.Tuple)[2].(ei.Tuple)[4])
			break
		}
	}
	cancel()
	arrives(t, called, "the end of the call")
	ctl, _ := p.nextSignal()
	require.Equal(t, dist.OpDemonitorP, ctl.Op)

	for request, want := range map[string]string{
		"{put_chars, unicode, <<\"x\">>}":                      "ok",
		"{put_chars, unicode, io_lib, format, []}":             "ok",
		"{requests, [{put_chars, unicode, []}, getopts]}":      "[]",
		"{requests, [{put_chars, latin1, []}, {setopts, []}]}": "ok",
		"{requests, []}":                                  "ok",
		"{requests, [{requests, []}]}":                    "{error,request}",
		"{get_line, unicode, prompt}":                     "eof",
		"{get_until, unicode, prompt, io_lib, fread, []}": "eof",
		"{get_geometry, columns}":                         "{error,enotsup}",
		"getopts":                                         "[]",
		"{what, ever}":                                    "{error,request}",
		"17":                                              "{error,request}",
	} {
		p.Send(dist.Control{Op: dist.OpSend, To: kernel}, ei.Tuple{ei.Atom("io_request"), p.Self, ei.Int(7), parse(t, request)})
		ctl, reply := p.Next()
		require.Equal(t, p.Self, ctl.To)
		require.Equal(t, "{io_reply,7,"+want+"}", reply.String(), request)
	}
	request := ei.Tuple{ei.Atom("io_request"), b.Pid(), ei.Int(7), parse(t, "{put_chars, unicode, []}")}
	require.NoError(t, b.Send(soon(t), kernel, request))
	require.Equal(t, "{io_reply,7,ok}", term(t, b).String())
	for _, odd := range []string{"{io_request, x, 1, getopts}", "{io_request, 1, 2}", "{io_request}"} { // nobody to answer
		p.Send(dist.Control{Op: dist.OpSend, To: kernel}, parse(t, odd))
	}
	require.Eventually(t, func() bool { return a.Conn("wire@test") != nil }, tooLong, tick)
}

// Rules that let a peer do nothing do not keep this node's own calls from being answered, and a
// process that was spawned there from being linked; nor are they for this node.
func TestSpawnBesideRules(t *testing.T) {
	w := newWorld(t, "memory")
	a := w.started("alice", func(cfg *Config) { cfg.Rules = []Rule{{Peer: "*", Target: "*"}} })
	b := w.started("bob")
	for _, n := range []*Node{a, b} {
		exposeAll(n)
		box := trapping(t, a)
		of(a.ERPC(w.ctx(), n.Name(), "m", "echo", 1)).must(t)
		pid := of(box.SpawnLink(w.ctx(), n.Name(), "m", "exit")).must(t)
		m, why := reason(t, box, dist.OpExit)
		require.Equal(t, pid, m.From)
		require.Equal(t, bad, why)
		ref := of(box.SpawnRequest(w.ctx(), n.Name(), &SpawnOptions{Link: true}, "m", "exit")).must(t)
		m = receive(t, box)
		require.Equal(t, ref, m.Ref)
	}
	p := w.peer(a.Listeners()[0], role("wire@test"))
	box := trapping(t, a)
	forged := of(a.newCallRef()).must(t)
	child := ei.Pid{Node: "wire@test", ID: 5, Creation: 77}
	p.Send(dist.Control{Op: dist.OpSpawnReply, Ref: forged, To: box.Pid(), Flags: dist.SpawnLinked, Result: exitReason(child)}, nil)
	ctl, _ := p.nextSignal()
	require.Equal(t, dist.OpPayloadExit, ctl.Op)
	require.Empty(t, linksOf(box))
}

// Calls that are given up at any moment leave nothing behind, on neither side: no process, link,
// monitor or message that nobody has asked for.
func TestGivenUpAtRandom(t *testing.T) {
	hereAndThere(t, func(t *testing.T, w *world, here, there *Node) {
		there.Expose("m", "nap", FuncOf(func(ctx context.Context, us int) {
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(us) * time.Microsecond):
			}
		}))
		b := trapping(t, here)
		refs := make(chan ei.Ref, 10_000)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 100 {
					ctx, cancel := context.WithTimeout(w.ctx(), time.Duration(rand.IntN(400))*time.Microsecond)
					nap := rand.IntN(300)
					switch rand.IntN(5) {
					case 0:
						_, _ = here.ERPC(ctx, there.Name(), "m", "nap", nap)
					case 1:
						_, _ = ERPCAs[ei.Term](ctx, b, there.Name(), "m", "nap", nap)
					case 2:
						_, _ = b.SpawnLink(ctx, there.Name(), "m", "nap", nap)
					case 3:
						if _, ref, err := b.SpawnMonitor(ctx, there.Name(), "m", "nap", nap); err == nil {
							refs <- ref
						}
					case 4:
						if r, err := here.ERPCRequest(ctx, there.Name(), "m", "nap", nap); err == nil {
							_, _ = r.Wait(ctx)
							r.Abandon()
						}
					}
					cancel()
				}
			})
		}
		wg.Wait()
		close(refs)
		watched := map[ei.Ref]bool{}
		for ref := range refs {
			watched[ref] = true
		}
		nothingLeft(t, here, there)
		require.Eventually(t, func() bool { return len(linksOf(b)) == 0 }, tooLong, tick)
		for m := b.take(); m != nil; m = b.take() {
			switch m.Op {
			case dist.OpMonitorPExit:
				require.True(t, watched[m.Ref], "once, and only what was answered")
				delete(watched, m.Ref)
			default:
				require.Equal(t, dist.OpExit, m.Op)
			}
		}
		require.Empty(t, watched)
	})
}
