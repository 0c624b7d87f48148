package nodes

import (
	"context"
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/meter"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/nodes/internal/seqtrace"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/nodes/metrics"
)

// A call goes in five steps:
//
//	newCalling   a mailbox of the call's own, with an alias: what answers too late finds nobody
//	monitor      the server's end, or its absence, comes as a DOWN (monitor.go); it goes out ahead of
//	             the queue, but only once there is room in that, so the request cannot pass it
//	sendRequest  {'$gen_call', {From, Tag}, Request}
//	awaitReply   the reader delivers {Tag, Reply} to the mailbox (deliver.go), or the DOWN
//	end          the mailbox ends, and its monitor with it (exit.go)

// RPC calls a function of the peer: mod:fun(args...), whose arguments are ei.Terms or Go values
// (see ei.Append). It waits for the result until ctx ends or the connection does. {badrpc, Reason}
// is an *RPCError. Messages that arrive meanwhile wait for Receive; several calls may run
// concurrently, also with a Receive. If the connection is lost, the error is ErrNoConnection. It is
// ei_rpc, and rpc:call.
func (c *Conn) RPC(ctx context.Context, mod, fun string, args ...any) (ei.Term, error) {
	op := callOp(mod, fun, args)
	t, err := termOf(c.n.call(ctx, bonds.Target{Node: c.Name(), Name: "rex"}, newRexCall(ctx, c.Name(), mod, fun, args), c, nil))
	return rpcResult(op, c.Name(), t, err)
}

// RPC calls a function on a node, connecting to it if need be: rpc:call(Node, Mod, Fun, Args). It
// waits for the result until ctx ends or the connection does; if the connection is lost or cannot
// be made, the error is ErrNoConnection. {badrpc, Reason} is an *RPCError; what a function throws
// is its result, as with rpc:call. What the function prints goes to ctx's group leader
// (GroupLeaderOf); without one to that node's process user. If you start the node, do so before the
// first call: a call fixes the creation (ErrTooLate).
func (n *Node) RPC(ctx context.Context, node, mod, fun string, args ...any) (ei.Term, error) {
	op := callOp(mod, fun, args)
	t, err := termOf(n.callTo(ctx, bonds.Target{Node: node, Name: "rex"}, newRexCall(ctx, node, mod, fun, args)))
	if errors.Is(err, ErrNoProc) && node == n.Name() && !n.started.Load() {
		err = fmt.Errorf("%w: this is the name of the calling node itself, which has not been started", err)
	}
	return rpcResult(op, node, t, err)
}

// A rexCall is the request of rpc:call.
type rexCall struct {
	_                struct{} `ei:"tuple=call"`
	Module, Function ei.Atom
	Args             any // a list
	Leader           any
}

// newRexCall makes the request. What the function prints goes to the group leader of ctx, or else
// to the other node's own user.
func newRexCall(ctx context.Context, node, mod, fun string, args any) rexCall {
	leader := any(ei.Atom("user"))
	if pid, ok := leaderFor(ctx, node); ok {
		leader = pid
	}
	return rexCall{Module: ei.Atom(mod), Function: ei.Atom(fun), Args: args, Leader: leader}
}

// GroupLeaderOf is the group leader of what runs with ctx: that of WithGroupLeader, or, in a Func,
// the one that the caller has named, an ei.Pid, or an ei.Atom for the process that has that name
// here (user, as a rule). It is where the function is to print (package groupleader), and calls
// made with ctx pass it on. It is nil if there is none, as for the functions of a Server, or if
// Config.Rules do not let the caller send there (see Node.AllowsProcess).
func GroupLeaderOf(ctx context.Context) ei.Term {
	if leader, ok := ctx.Value(leaderKey{}).(ei.Pid); ok {
		return leader
	}
	t := runOf(ctx)
	leader, c := t.namedLeader(), t.caller().toOthers()
	if leader == nil || c == nil {
		return leader
	}
	if t.muted.Load() || !c.n.AllowsProcess(c.Name(), MaySend, leader) {
		t.muted.Store(true) // counted once
		return nil
	}
	return leader
}

// leaderFor is the group leader of ctx; false if there is none that is a pid, or the node would
// refuse it: the caller of a function may have made it up.
func leaderFor(ctx context.Context, node string) (ei.Pid, bool) {
	leader, ok := GroupLeaderOf(ctx).(ei.Pid)
	return leader, ok && otp.Possible(leader, ei.Atom(node))
}

func rpcResult(op, node string, t ei.Term, err error) (ei.Term, error) {
	if err != nil {
		return nil, wrap(op, node, err)
	}
	if bad, ok := t.(ei.Tuple); ok && len(bad) == 2 && bad[0] == ei.Atom("badrpc") {
		return nil, wrap(op, node, &RPCError{bad[1]})
	}
	return t, nil
}

// Call makes a request to a process, like gen_server:call, and returns its reply. A request that is
// a tuple is made by ei.T: a slice is a list (see CallAs). It waits until ctx ends. The error is an
// *ExitError if the process ends or does not exist, ErrNoConnection if the connection is lost, and
// ErrCallingSelf if a Server's function calls its own process with the context that it was given.
// If you start the node, do so before the first call: a call fixes the creation (ErrTooLate).
func (n *Node) Call(ctx context.Context, to ei.Pid, request any) (ei.Term, error) {
	t, err := termOf(n.callTo(ctx, bonds.Target{Node: string(to.Node), Pid: to}, request))
	return t, wrap("call", string(to.Node), err)
}

// CallName is Call to the process that has a registered name on a node: gen_server:call({Name,
// Node}, Request). It waits as Call does and returns the same errors: a name that no process has is
// an *ExitError that is ErrNoProc.
func (n *Node) CallName(ctx context.Context, node, name string, request any) (ei.Term, error) {
	t, err := termOf(n.callTo(ctx, bonds.Target{Node: node, Name: ei.Atom(name)}, request))
	return t, wrap("call "+name+" at", node, err)
}

// termOf decodes the reply of a call.
func termOf(reply ei.Cursor, err error) (ei.Term, error) {
	if err != nil {
		return nil, err
	}
	return reply.Term()
}

// call is a gen call: a monitor, {'$gen_call', {Pid, Tag}, Request}, and {Tag, Reply} or the
// monitor's message. over is the connection to use; if nobody is receiving from it, call does so
// itself. a is the pending call of the mailbox that calls; without one the call's own Pid asks. The
// cursor that it returns is at the reply.
func (n *Node) call(ctx context.Context, to bonds.Target, request any, over *Conn, a *pendingCall) (reply ei.Cursor, err error) {
	t := runOf(ctx)
	t.beginWait()
	defer t.endWait()
	ctx, r := n.measureCall(ctx, to, request)
	defer func() { endCall(r, reply, err) }()
	c, err := n.beginCall(ctx, to, request, over, a)
	if err != nil {
		return reply, err
	}
	defer c.end()
	return c.awaitReply(ctx)
}

// measureCall begins a call to a process, or to rex, that this node makes.
func (n *Node) measureCall(ctx context.Context, to bonds.Target, request any) (context.Context, *meter.Run) {
	if r, ok := request.(rexCall); ok {
		return n.meters.measureMade(ctx, metrics.KindFunction, to.Node, string(r.Module), string(r.Function))
	}
	return n.meters.measureMade(ctx, metrics.KindServer, to.Node, string(to.Name), "call")
}

// endCall ends the measurement of a call with its reply: that of rex may be an error.
func endCall(r *meter.Run, reply ei.Cursor, err error) {
	if err == nil && r.IsFunction() {
		err = badRPC(reply)
	}
	endMade(r, err)
}

// beginCall is call up to the reply: the request is out.
func (n *Node) beginCall(ctx context.Context, to bonds.Target, request any, over *Conn, a *pendingCall) (c calling, err error) {
	switch {
	case to.Name == "" && to.Pid.Node == "" && to.Node != "":
		return c, errors.New("the name is empty")
	case callsSelf(ctx, to):
		return c, ErrCallingSelf
	}
	if c, err = n.newCalling(ctx, to.Node, over, a, true); err != nil {
		return c, err
	}
	sent := false
	defer func() { // also when the request's AppendTerm panics
		if !sent {
			c.end()
		}
	}()
	tag := ei.Term(c.ref)
	if c.box.origin.ref.Len > 0 {
		tag = otp.AliasTag(c.ref)
	}
	if err = c.box.monitor(ctx, c.ref, to, c.over, 0); err != nil {
		return c, c.notBegun(err)
	}
	err = n.sendRequest(ctx, to, c.over, c.from, ei.T("$gen_call", ei.Tuple{c.from, tag}, request))
	sent = err == nil
	return c, c.failed(err)
}

// A calling is a call that is in progress.
type calling struct {
	n    *Node
	over *Conn // nil: the call is to this node
	ref  ei.Ref
	from ei.Pid   // who calls, for the other side
	box  *Mailbox // the call's own, where the answer comes
}

// newCalling prepares a call to a node: what is to be sent goes over its connection. If the answer
// is a message (replies), and the node knows aliases, it comes to an alias. An answer that comes
// too late then finds no alias, and is dropped.
func (n *Node) newCalling(ctx context.Context, node string, over *Conn, a *pendingCall, replies bool) (c calling, err error) {
	c = calling{n: n, over: over}
	defer func() { err = c.failed(err) }()
	if err = wait.TakesTime(ctx); err != nil {
		return c, err
	}
	if over == nil && node != n.Name() {
		if c.over, err = n.connection(ctx, node); err != nil {
			return c, err
		}
	}
	if err = n.life.Before(ctx, c.until(ctx)); err != nil {
		return c, err
	}
	if a != nil {
		c.ref = a.ref
	} else if c.ref, err = n.newCallRef(); err != nil {
		return c, err
	}
	alias := ei.Ref{}
	if replies && c.over != nil && c.over.takesAliases() {
		alias = c.ref
	}
	if c.box, err = n.newPrivate(c.over, alias); err != nil {
		return c, err
	}
	if c.over != nil {
		c.over.calls.Add(1)
	}
	c.from = c.box.pid
	if a != nil {
		c.from = a.by.pid
		a.repliesTo(c.box)
	}
	return c, nil
}

// until is the phase of the node from which on the call may not begin.
func (c *calling) until(ctx context.Context) life.Phase {
	if c.over == nil && runOf(ctx) != nil { // what runs needs the answer in order to end
		return life.Frozen
	}
	return life.Draining
}

// awaitReply waits for the reply of a gen call.
func (c *calling) awaitReply(ctx context.Context) (ei.Cursor, error) {
	reply, err := c.box.awaitReply(ctx, c.ref, c.over)
	return reply, c.failed(err)
}

// end ends the call, with or without an answer.
func (c *calling) end() {
	if c.over != nil {
		c.over.calls.Add(-1)
	}
	c.box.leave(c.over)
}

// failed is the error of a call; one of the end of the connection is ErrNoConnection, too.
func (c *calling) failed(err error) error {
	over := c.over
	if err != nil && over != nil && over.lost() && errors.Is(err, over.Err()) && !errors.Is(err, ErrNoConnection) {
		return fmt.Errorf("%w: %w", ErrNoConnection, err)
	}
	return err
}

// notBegun is failed for a call whose mailbox may have ended because the node did.
func (c *calling) notBegun(err error) error {
	if end := new(ExitError); errors.As(err, &end) && end.Pid == c.box.pid {
		err = c.n.gone()
	}
	return c.failed(err)
}

// sendRequest sends a call's message.
func (n *Node) sendRequest(ctx context.Context, to bonds.Target, over *Conn, from ei.Pid, message any) error {
	ctl := &dist.Control{Op: dist.OpSend, From: from, To: to.Pid}
	if to.Name != "" {
		ctl = &dist.Control{Op: dist.OpRegSend, From: from, ToName: to.Name}
	}
	if over != nil {
		seqtrace.Of(ctx).Mark(ctl)
		return over.send(ctx, ctl, message)
	}
	return n.send(ctx, ctl, to.Node, message)
}

// awaitReply waits for {Tag, Reply}, or for the end of the process that was to reply: an
// *ExitError. The cursor is at Reply.
func (b *Mailbox) awaitReply(ctx context.Context, ref ei.Ref, over *Conn) (reply ei.Cursor, err error) {
	for {
		m, err := b.receiveOver(ctx, over)
		if err != nil {
			return reply, err
		}
		if m.Op == dist.OpMonitorPExit && m.Ref == ref {
			return reply, &ExitError{m.From, b.exitTerm(m.Reason, m.conn)}
		}
		tag, reply, ok := otp.ReplyTag(m.Payload)
		if !ok || tag != ref {
			b.n.faults.unwanted(b, m)
			continue
		}
		return reply, nil
	}
}

// leave closes the mailbox of a call. The caller does not wait for the end of a freeze: then a
// goroutine does it.
func (b *Mailbox) leave(over *Conn) {
	frozen := b.isHeld() || over != nil && over.l.Life().IsFrozen()
	if !frozen || !b.n.background(func() { b.Close() }) {
		b.Close()
	}
}

// receiveOver is Receive for a mailbox whose messages come over a connection that perhaps nobody is
// receiving from. In that case it reads the connection itself, and keeps messages that are not for
// the mailbox for their receivers.
func (b *Mailbox) receiveOver(ctx context.Context, over *Conn) (*Message, error) {
	if over == nil || b.n.started.Load() {
		return b.Receive(ctx)
	}
	for {
		if m := b.take(); m != nil {
			return m, nil
		}
		select {
		case <-b.comes():
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-over.l.Left(): // closed after the connection's end has reached the mailbox
			if m := b.take(); m != nil {
				return m, nil
			}
			return nil, fmt.Errorf("%w: %w", ErrNoConnection, over.Err())
		case over.l.Turn() <- struct{}{}:
			if m := b.take(); m != nil { // the goroutine that received until now has left it here
				over.l.GiveTurn()
				return m, nil
			}
			err := b.receiveFor(ctx, over)
			switch {
			case err == nil:
			case err == link.ErrStopped:
				if err := over.l.Life().Pass(ctx); err != nil {
					return nil, err
				}
			case ctx.Err() != nil || errors.Is(err, ErrTooManyUnread):
				return nil, err
			default:
				<-over.l.Left()
			}
		}
	}
}

// receiveFor reads from a connection until a message has come for the mailbox, or for a goroutine
// that waits in Receive. The caller has the reader's turn; receiveFor gives it back.
func (b *Mailbox) receiveFor(ctx context.Context, c *Conn) error {
	defer c.l.GiveTurn()
	for {
		if c.unread.isFull() {
			return ErrTooManyUnread
		}
		m := new(Message)
		if err := c.receive(ctx, m); err != nil {
			if errors.Is(err, dist.ErrUnknownOp) {
				continue
			}
			return err
		}
		if c.n.isLocal(m) || c.n.answersCall(m) {
			c.n.route(c, m)
			if b.hasMessage() { // it may have come to the pid of the mailbox that calls
				return nil
			}
			c.l.Stream().Yield()
			continue
		}
		c.unread.add(m)
		if c.receiving.Load() {
			return nil
		}
	}
}

// isLocal tells whether a message is for a process of this node: a Call's, as a rule.
func (n *Node) isLocal(m *Message) bool {
	return n.procs.recipient(m) != nil
}

// callsSelf tells whether the call that is made with ctx is one of a function's process to itself.
func callsSelf(ctx context.Context, to bonds.Target) bool {
	t := runOf(ctx)
	b := t.madeProcess()
	if b == nil || t.over.Load() || to.Node != b.n.Name() {
		return false
	}
	return to.Pid == b.pid || to.Name != "" && b.n.procs.named(to.Name) == b
}

// runsWith tells whether ctx is that of a function which the process is running.
func (b *Mailbox) runsWith(ctx context.Context) bool {
	t := runOf(ctx)
	return t.madeProcess() == b && !t.over.Load()
}

// A pending call is a call that a mailbox makes. The server sees the mailbox's pid, and may link
// it, monitor it and remember it; so, from a node that knows no aliases, the reply comes to that
// pid. It is recognised by its reference.
type pendingCall struct {
	by     *Mailbox
	ref    ei.Ref
	giveUp context.CancelFunc
	// the call's own mailbox, where the reply goes; nil: the request is not out; guarded by by.mu
	box    *Mailbox
	spawns bool // it asks for a process whose link and monitor are to be the mailbox's own
}

// Call makes a request to a process, like gen_server:call, and returns its reply. It is Node.Call,
// except that the mailbox is the caller: the server sees its pid. The reply never appears among the
// mailbox's messages, even while a Receive is in progress; a reply that comes after Call has
// returned is dropped. When the mailbox ends, so does the call: the error is Err's.
func (b *Mailbox) Call(ctx context.Context, to ei.Pid, request any) (ei.Term, error) {
	t, err := termOf(b.callTo(ctx, bonds.Target{Node: string(to.Node), Pid: to}, request))
	return t, wrap("call", string(to.Node), err)
}

// CallName is Call to the process that has a registered name on a node: gen_server:call({Name,
// Node}, Request). It waits as Call does and returns the same errors: a name that no process has is
// an *ExitError that is ErrNoProc.
func (b *Mailbox) CallName(ctx context.Context, node, name string, request any) (ei.Term, error) {
	t, err := termOf(b.callTo(ctx, bonds.Target{Node: node, Name: ei.Atom(name)}, request))
	return t, wrap("call "+name+" at", node, err)
}

// Cast makes a request to a process, a gen_server as a rule, and waits for no reply: it sends
// {'$gen_cast', Request}, as gen_server:cast/2 does (gen_server(3)). A request that is a tuple is
// made by ei.T: a slice is a list (see CallAs). It waits as Send does, for room and for the
// connection, until ctx ends, and has Send's errors: where gen_server:cast says ok in any case, it
// is an error that the node cannot be reached, ErrNoConnection. A request to a process that does
// not exist is dropped.
func (b *Mailbox) Cast(ctx context.Context, to ei.Pid, request any) error {
	return b.Send(ctx, to, ei.T("$gen_cast", request))
}

// CastName is Cast to the process that has a registered name on a node: gen_server:cast({Name,
// Node}, Request). It waits as SendName does, and has its errors. A request to a name that nobody
// has is dropped.
func (b *Mailbox) CastName(ctx context.Context, node, name string, request any) error {
	return b.SendName(ctx, node, name, ei.T("$gen_cast", request))
}

// RPC calls a function on a node: rpc:call(Node, Mod, Fun, Args). It is Node.RPC, with the same
// errors, except that the mailbox is the caller. When the mailbox ends, so does the call: the error
// is Err's.
func (b *Mailbox) RPC(ctx context.Context, node, mod, fun string, args ...any) (ei.Term, error) {
	t, err := termOf(b.callTo(ctx, bonds.Target{Node: node, Name: "rex"}, newRexCall(ctx, node, mod, fun, args)))
	return rpcResult(callOp(mod, fun, args), node, t, err)
}

func (b *Mailbox) callTo(ctx context.Context, to bonds.Target, request any) (reply ei.Cursor, err error) {
	err = b.inItsName(ctx, false, func(ctx context.Context, a *pendingCall) error {
		reply, err = b.n.call(ctx, to, request, nil, a)
		return err
	})
	return reply, err
}

// inItsName makes a call of the mailbox's, which ends with the mailbox.
func (b *Mailbox) inItsName(ctx context.Context, spawns bool, call func(ctx context.Context, a *pendingCall) error) error {
	ref, err := b.n.newCallRef()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := &pendingCall{by: b, ref: ref, giveUp: cancel, spawns: spawns}
	if err := b.noteCall(a); err != nil {
		return err
	}
	defer b.forgetCall(a) // also when the request's AppendTerm panics
	if err = call(ctx, a); err != nil && b.ended() {
		err = b.Err()
	}
	return err
}

func (b *Mailbox) noteCall(a *pendingCall) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended() {
		return b.Err()
	}
	b.pendingCalls.Put(a.ref, a)
	return nil
}

func (b *Mailbox) forgetCall(a *pendingCall) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pendingCalls.Delete(a.ref)
}

// settle notes that no SPAWN_REPLY is to come any more.
func (a *pendingCall) settle(over *Conn) {
	a.by.forgetCall(a)
	a.by.n.orphansOf(over).take(a.ref)
}

// repliesTo makes b the mailbox that gets the reply.
func (a *pendingCall) repliesTo(b *Mailbox) {
	a.by.mu.Lock()
	defer a.by.mu.Unlock()
	a.box = b
}

func (n *Node) callTo(ctx context.Context, to bonds.Target, request any) (ei.Cursor, error) {
	return n.call(ctx, to, request, nil, nil)
}

// badRPC is the error that a reply of rex stands for; nil if it is none.
func badRPC(c ei.Cursor) error {
	reason, err := otp.ReadBadRPC(c)
	if reason != nil {
		err = &RPCError{reason}
	}
	return err
}

func (b *Mailbox) encode() ei.EncodeOptions { return b.n.encode() }

// replyAs reads a reply; err is that of the call.
func replyAs[R any](c ei.Cursor, op, node string, err error) (reply R, _ error) {
	if err != nil {
		return reply, wrap(op, node, err)
	}
	at := c
	if err = at.Unmarshal(&reply); err == nil {
		return reply, nil
	}
	var result ei.Result[R]
	if otp.IsResult(c) {
		if err = c.Unmarshal(&result); err == nil {
			err = result.Err
		}
	}
	return result.Value, wrap(op, node, err)
}

// A Caller is a *Node, which calls with a process made for each call, or a *Mailbox, whose pid the
// server sees.
type Caller interface {
	// Call is gen_server:call(Pid, Request): see Node.Call and Mailbox.Call.
	Call(ctx context.Context, to ei.Pid, request any) (ei.Term, error)
	// CallName is gen_server:call({Name, Node}, Request): see Node.CallName.
	CallName(ctx context.Context, node, name string, request any) (ei.Term, error)
	// RPC is rpc:call(Node, Mod, Fun, Args): see Node.RPC and Mailbox.RPC.
	RPC(ctx context.Context, node, mod, fun string, args ...any) (ei.Term, error)
	// ERPC is erpc:call(Node, Mod, Fun, Args): see Node.ERPC and Mailbox.ERPC.
	ERPC(ctx context.Context, node, mod, fun string, args ...any) (ei.Term, error)
	// callTo makes a gen call, and returns a cursor at the reply.
	callTo(ctx context.Context, to bonds.Target, request any) (ei.Cursor, error)
	// erpcTo is erpc:call, and returns a cursor at the result.
	erpcTo(ctx context.Context, node string, f remoteFunc) (ei.Cursor, error)
	encode() ei.EncodeOptions
}
