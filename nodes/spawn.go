package nodes

import (
	"bytes"
	"cmp"
	"context"
	"fmt"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/nodes/internal/seqtrace"
)

// spawnCost is how many bytes a process takes besides its request, while it waits for a place and
// while it runs.
const spawnCost = 8 << 10

// A process is one that a node is asked to make.
type process struct {
	module, function ei.Atom
	arity            int
	args             any // a list
	options          otp.SpawnOptions
}

// spawn asks for a process in a call, whose mailbox gets the answer. If that fails the call is
// over.
func (c *calling) spawn(ctx context.Context, node string, p process) error {
	sent := false
	defer func() { // also when an argument's AppendTerm panics
		if !sent {
			c.end()
		}
	}()
	if err := c.box.awaitSpawn(ctx, c.ref, node, c.over); err != nil {
		return c.notBegun(err)
	}
	err := c.request(ctx, node, p)
	sent = err == nil
	return c.failed(err)
}

// request sends a SPAWN_REQUEST.
func (c *calling) request(ctx context.Context, node string, p process) error {
	if c.over != nil && !c.over.l.Peer().Flags.Has(dist.FlagSpawn) {
		return &SpawnError{notsup}
	}
	leader, ok := leaderFor(ctx, node)
	if !ok {
		var err error
		if leader, err = c.n.kernel.mute(); err != nil {
			return err
		}
	}
	ctl := &dist.Control{
		Op: dist.OpSpawnRequest, Ref: c.ref, From: c.from, GroupLeader: leader,
		Module: p.module, Function: p.function, Arity: uint8(min(p.arity, otp.MaxArity)), Options: p.options.Append(nil),
	}
	seqtrace.Of(ctx).Mark(ctl)
	if c.over != nil {
		return c.over.send(ctx, ctl, p.args)
	}
	return c.spawnHere(ctx, ctl, p.args)
}

// spawnHere makes a process of this node. A freeze waits until that is done.
func (c *calling) spawnHere(ctx context.Context, ctl *dist.Control, args any) error {
	payload, err := c.n.encode().Append(nil, args)
	if err = cmp.Or(err, ctx.Err()); err != nil {
		return err
	}
	l := &c.n.life
	for {
		if err := l.Before(ctx, c.until(ctx)); err != nil {
			return err
		}
		if !l.Begin(true) {
			return c.n.gone()
		}
		if l.Phase() < c.until(ctx) {
			break
		}
		l.Work.Leave() // whoever freezes may not have seen it
	}
	defer l.Work.Leave()
	c.n.spawn(nil, &Message{Control: *ctl, Payload: payload})
	return nil
}

// Spawn makes a process on a node, connecting to it if need be, that runs Mod:Fun(Args):
// spawn(Node, Mod, Fun, Args). It waits for the node's answer until ctx ends; there may be a
// process then all the same. A node that makes none is a *SpawnError, one that cannot be connected
// to, or is lost, ErrNoConnection, and a C node errors.ErrUnsupported. (In Erlang one gets the pid
// of a process that never was.) A function that does not exist is no error: it is how the process
// ends. If the node is this one, the function is one of those that are exposed. What the function
// prints goes to ctx's group leader (GroupLeaderOf); without one it is dropped.
func (b *Mailbox) Spawn(ctx context.Context, node, mod, fun string, args ...any) (ei.Pid, error) {
	pid, _, err := b.spawn(ctx, node, otp.SpawnOptions{}, mod, fun, args)
	return pid, err
}

// SpawnLink is Spawn of a process that is linked with the mailbox from its beginning: spawn_link/4.
// If ctx ends during the wait, a process that is made all the same gets an exit signal, with reason
// abandoned.
func (b *Mailbox) SpawnLink(ctx context.Context, node, mod, fun string, args ...any) (ei.Pid, error) {
	pid, _, err := b.spawn(ctx, node, otp.SpawnOptions{Link: true}, mod, fun, args)
	return pid, err
}

// SpawnMonitor is Spawn of a process that the mailbox monitors from its beginning: its end is an
// OpMonitorPExit message with the reference, as with Monitor. It is spawn_monitor/4.
func (b *Mailbox) SpawnMonitor(ctx context.Context, node, mod, fun string, args ...any) (ei.Pid, ei.Ref, error) {
	return b.spawn(ctx, node, otp.SpawnOptions{Monitor: true}, mod, fun, args)
}

func (b *Mailbox) spawn(
	ctx context.Context, node string, o otp.SpawnOptions, mod, fun string, args []any,
) (pid ei.Pid, ref ei.Ref, err error) {
	err = b.inItsName(ctx, true, func(ctx context.Context, a *pendingCall) error {
		ref = a.ref
		pid, err = b.n.spawnFor(ctx, node, newProcess(o, mod, fun, args), a)
		return err
	})
	return pid, ref, wrap(spawnOp(mod, fun, args), node, err)
}

func newProcess(o otp.SpawnOptions, mod, fun string, args []any) process {
	return process{ei.Atom(mod), ei.Atom(fun), len(args), args, o}
}

func spawnOp(mod, fun string, args []any) string {
	return "spawn " + mfa(mod, fun, len(args)) + " at"
}

// spawnFor makes a process for a mailbox, and waits for the answer.
func (n *Node) spawnFor(ctx context.Context, node string, p process, a *pendingCall) (pid ei.Pid, err error) {
	t := runOf(ctx)
	t.beginWait()
	defer t.endWait()
	c, err := n.newCalling(ctx, node, nil, a, false)
	if err != nil {
		return pid, err
	}
	if err = c.spawn(ctx, node, p); err != nil {
		a.settle(c.over)
		return pid, err
	}
	m, err := c.awaitSpawned(ctx)
	c.end()
	if err != nil { // the answer may have come until just now
		if m = c.box.take(); m == nil || m.Ref != c.ref {
			return pid, c.failed(err)
		}
	}
	a.settle(c.over)
	return m.Spawned()
}

// awaitSpawned waits for a SPAWN_REPLY.
func (c *calling) awaitSpawned(ctx context.Context) (*Message, error) {
	for {
		m, err := c.box.receiveOver(ctx, c.over)
		if err != nil || m.Op == dist.OpSpawnReply && m.Ref == c.ref {
			return m, err
		}
		c.n.faults.unwanted(c.box, m)
	}
}

// SpawnOptions say what a process of SpawnRequest has with the mailbox. Nil is the zero value.
type SpawnOptions struct {
	Link    bool // a link
	Monitor bool // a monitor, with the request's reference
}

// SpawnRequest asks for a process, as Spawn does, and does not wait for the answer: that is an
// OpSpawnReply message with the returned reference in Ref, of which Message.Spawned gives the pid,
// or says why there is none; noconnection if the connection ends first. Link and monitor begin with
// that answer; if the mailbox ends before it, its exit reason goes to the linked process, as
// through any link. SpawnRequest waits as Send does, and has its errors; a node that makes no
// processes for others is errors.ErrUnsupported. The request moves with the node. It is
// spawn_request/5.
func (b *Mailbox) SpawnRequest(ctx context.Context, node string, o *SpawnOptions, mod, fun string, args ...any) (ei.Ref, error) {
	if o == nil {
		o = &SpawnOptions{}
	}
	ref, err := b.spawnRequest(ctx, node, newProcess(otp.SpawnOptions{Link: o.Link, Monitor: o.Monitor}, mod, fun, args))
	return ref, wrap(spawnOp(mod, fun, args), node, err)
}

func (b *Mailbox) spawnRequest(ctx context.Context, node string, p process) (ref ei.Ref, err error) {
	n := b.n
	c := calling{n: n, from: b.pid}
	if node != n.Name() {
		if c.over, err = n.connection(ctx, node); err != nil {
			return ref, err
		}
	}
	if c.ref, err = n.newCallRef(); err != nil {
		return ref, err
	}
	if err = b.awaitSpawn(ctx, c.ref, node, c.over); err != nil {
		return ref, c.failed(err)
	}
	if err = c.request(ctx, node, p); err != nil {
		b.lock()
		defer b.mu.Unlock()
		b.bonds.Unwatch(bonds.Target{Node: node}, c.ref)
		n.orphansOf(c.over).take(c.ref)
		return ref, c.failed(err)
	}
	return c.ref, nil
}

// Spawned reads the answer to a Mailbox.SpawnRequest, an OpSpawnReply message: the process, or a
// *SpawnError.
func (m *Message) Spawned() (ei.Pid, error) {
	pid, reason, err := otp.SpawnResult(m.Result)
	if reason != nil {
		err = &SpawnError{reason}
	}
	return pid, err
}

// spawn handles a SPAWN_REQUEST, of this node if c is nil: an exposed function runs as a process,
// which its parent may link and monitor. The function is looked up when the process runs: one that
// does not exist ends the process with undef, as in Erlang.
func (n *Node) spawn(c *Conn, m *Message) {
	reply := func(flags uint64, result any) {
		raw, err := ei.Append(nil, result)
		ctl := &dist.Control{Op: dist.OpSpawnReply, Ref: m.Ref, To: m.From, Flags: flags, Result: raw}
		switch {
		case err != nil:
		case c == nil:
			n.localSignal(ctl)
		default: // with the result, if that is soon
			_ = c.l.Send(n.ctx, link.Now|link.More, ctl, nil)
		}
	}
	o, err := otp.ParseSpawnOptions(m.Options)
	if err != nil {
		c.l.Complain(faultSpawn, "spawn request refused", err)
		reply(0, ei.Atom("badopt"))
		return
	}
	payload, err := link.FirstTerm(m.Payload)
	if err != nil {
		n.faults.undecodable(c, "spawn request", err)
		reply(0, ei.Atom("badarg"))
		return
	}
	p := &spawnedProcess{m: m, options: o, module: m.Module, name: m.Function, args: payload, parent: n.scopeOf(m.From)}
	t, k, b := &p.run, &p.work, &p.box
	if !k.admit(n, t, c, cost(m)+spawnCost) {
		reply(0, ei.Atom("system_limit"))
		return
	}
	k.does, t.from, t.leader, t.trace = p, m.From, m.GroupLeader, m.trace()
	if err = b.initSpawned(k); err != nil {
		t.settle(n)
		reply(0, ei.Atom("system_limit"))
		return
	}
	t.self = b
	var flags uint64
	if o.Monitor {
		flags |= dist.SpawnMonitored
		b.watched(m.Ref, bonds.Watcher{Pid: m.From})
	}
	if o.Link {
		flags |= dist.SpawnLinked
		b.linked(m.From)
	}
	if !o.Quiet {
		reply(flags, b.pid)
	}
	// else it is a process with a life of its own
	if o.Monitor && !o.Link && m.Module == "erpc" && m.Function == "execute_call" {
		k.asked, k.waits = true, bonds.MonitorID{Ref: m.Ref, Node: m.From.Node}
	}
	if !k.start() {
		b.exitBy(ei.Atom("shutdown"))
	}
}

// A spawnedProcess is a process that somebody has asked for, from its SPAWN_REPLY to its end.
type spawnedProcess struct {
	run
	work         task
	box          Mailbox
	m            *Message // the request, of which args is a part
	options      otp.SpawnOptions
	module, name ei.Atom
	args         ei.Raw
	parent       bonds.Scope
}

// do is called when there is a place for the process.
func (p *spawnedProcess) do() {
	b, t, n := &p.box, &p.run, p.work.n
	if b.ended() { // while the process waited for a place
		return
	}
	if p.work.gone.Load() { // its result is for nobody, and others wait for the place
		b.Exit(ei.Atom("normal"))
		return
	}
	defer b.Exit(ei.Atom("killed")) // for a function that leaves by runtime.Goexit
	reason := n.funcs.spawned(t, p.module, p.name, p.args)
	if !p.options.Link && !p.options.Monitor {
		n.funcs.unheard(&p.work, reason)
	}
	t.over.Store(true)
	if told := b.exit(reason, p.parent); told != nil { // the parent itself has been waited for
		told.Wait()
	}
	p.m.Release()
	p.m, p.args = nil, nil
}

// MailboxOf is the process whose function runs with ctx, a Server's or that of a Func: to send
// from, to link, to monitor, to Exit. That of a Func receives, too (a Server's functions get its
// messages), may trap exits, and ends when the function returns. It is nil for any other context.
func MailboxOf(ctx context.Context) *Mailbox { return runOf(ctx).process() }

// process is the process that runs the function; t may be nil. That of a Func which no spawn has
// made is made when it is first asked for.
func (t *run) process() *Mailbox {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.self != nil || t.task == nil {
		return t.self
	}
	b := new(Mailbox)
	if err := b.initSpawned(t.task); err != nil { // the node has ended, and its processes with it
		b.init(t.task.n, ei.Pid{}, nil, nil)
		b.why = ei.Atom("shutdown")
		b.over.Shut()
		t.task.abandon()
	}
	t.self = b
	if t.over.Load() {
		b.exitBy(ei.Atom("normal"))
	}
	return b
}

// madeProcess is process, but nil if nobody has asked for it yet.
func (t *run) madeProcess() *Mailbox {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.self
}

// endProcess ends the process of a Func that no spawn has made, now that the function is over. If
// it has ended before, that was for a reason: why.
func (t *run) endProcess(reason ei.Term) (why ei.Term) {
	t.mu.Lock()
	t.over.Store(true)
	b := t.self
	t.mu.Unlock()
	switch {
	case b == nil:
		return nil
	case b.ended():
		return b.why
	}
	b.Exit(reason)
	return nil
}

// spawned runs the function of a spawned process, and returns its exit reason. erpc's two entry
// points report results and exceptions in the reason. The arity that the request names is ignored,
// as in Erlang.
func (s *functions) spawned(ctx context.Context, module, name ei.Atom, list ei.Raw) ei.Term {
	c, size := otp.ListAt(list)
	s.n.procs.runs.calls(runOf(ctx).work(), function{module, name}, size)
	if module == "erpc" {
		switch {
		case name == "execute_call" && size == 4:
			return s.executeCall(ctx, &c)
		case name == "execute_cast" && size == 3:
			_, exception := s.applyNext(ctx, &c, nil)
			return uncaught(exception)
		}
	}
	args, ok := otp.Elements(list)
	if !ok {
		args := []ei.Term{list}
		if err := otp.Decode(args); err != nil {
			s.n.faults.undecodable(runOf(ctx).caller(), "arguments", err)
			return ei.Atom("badarg")
		}
		call := ei.Tuple{ei.Atom("erlang"), ei.Atom("apply"), ei.List{module, name, args[0]}, ei.List{}}
		return ei.Tuple{ei.Atom("badarg"), ei.List{call}}
	}
	_, exception := s.apply(ctx, MaySpawn, module, name, args, nil)
	if exception != nil {
		releaseTool(ctx, function{module, name}, args)
	}
	return uncaught(exception)
}

// uncaught is the exit reason of a process that ends by an exception; normal if there is none.
func uncaught(exception *Raise) ei.Term {
	switch {
	case exception == nil:
		return ei.Atom("normal")
	case exception.Class == ClassExit:
		return exception.Reason
	case exception.Class == ClassThrow:
		return ei.Tuple{ei.Tuple{ei.Atom("nocatch"), exception.Reason}, exception.Stack}
	}
	return ei.Tuple{exception.Reason, exception.Stack}
}

// unheard logs how a function ended if no process is told of its end, as a BEAM does of a process
// that ends by an exception, unless the log has that already.
func (s *functions) unheard(k *task, reason ei.Term) {
	if !isRegular(reason) && !k.complained {
		s.n.faults.nobodyHears(k.run.conn, s.n.procs.runs.calledBy(k), fmt.Errorf("it ended with reason %s", ei.Brief(reason, 1000)))
	}
}

// executeCall is erpc:execute_call(Res, M, F, A), whose arguments are at the cursor: the exit
// reason is {Res, return, Value} or the exception.
func (s *functions) executeCall(ctx context.Context, c *ei.Cursor) ei.Term {
	res, err := c.Raw()
	if err == nil && !ei.Tag(res[0]).IsRef() { // erpc's own is one
		_, err = res.Decode()
	}
	if err != nil {
		return ei.Atom("badarg")
	}
	buf := s.n.links.Scratch()
	defer s.n.links.Recycle(buf)
	head := append(ei.AppendTupleHeader((*buf)[:0], 3), res...)
	head, _ = ei.AppendAtom(head, "return")
	result, exception := s.applyNext(ctx, c, head)
	if exception == nil {
		*buf = result
		return ei.Raw(bytes.Clone(result))
	}
	mark, _ := res.Decode()
	if exception.Class == ClassError {
		return ei.Tuple{mark, ei.Atom("error"), exception.Reason, exception.Stack}
	}
	return ei.Tuple{mark, ei.Atom(exception.Class), exception.Reason}
}
