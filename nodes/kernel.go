package nodes

import (
	"context"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// The two processes that every node expects of another: net_kernel, which answers net_adm:ping, and
// rex, which answers remote calls that are not made by spawn (rpc:block_call, the C library's
// ei_rpc, nodes before OTP 23). They are Servers without a goroutine and a queue of their own,
// whose functions get requests as they came, good while they run, and belong to no process that
// they could wait for.

type kernel struct {
	n      *Node
	muting sync.Mutex // guards silent
	silent *Mailbox   // see mute
}

func (k *kernel) serve() error {
	// they outlive processes that link to them, as OTP's do
	o := &MailboxOptions{TrapExit: true, lasting: true}
	kernel := &Server{Call: netKernelCall, Info: k.takeOutput}
	if _, err := k.n.register("net_kernel", kernel.takeOwn, o); err != nil {
		return err
	}
	rex := &Server{Call: k.rexCall, Cast: k.rexCast, Info: k.rexInfo, full: &Server{Call: rexFull, Info: k.rexInfoFull}}
	_, err := k.n.register("rex", rex.takeOwn, o)
	return err
}

// takeOwn handles a message to one of the node's own processes, on the goroutine that has brought
// it, a connection's reader say, or, if the Server may be full, on one for each message: then none
// waits for another one, and the reader waits for none of them.
func (s *Server) takeOwn(b *Mailbox, m *Message) {
	n := b.n
	if s.full == nil {
		r := new(serverRun)
		r.init(s, b, m)
		r.around = n.ctx
		s.handle(r)
		return
	}
	r := new(rexRun)
	r.init(s, b, m)
	if !n.rights.mayAsk(r.conn, r.askedBy()) {
		m.Release()
		return
	}
	if !r.work.admit(n, &r.run, r.conn, cost(m)+spawnCost) {
		s.full.takeOwn(b, m)
		return
	}
	r.work.does, r.work.asked = r, r.is.Kind != otp.Cast
	if r.is.Kind == otp.Call {
		r.work.waits = bonds.MonitorID{Ref: otp.MonitorOf(r.is.Tag), Node: r.is.From.Pid.Node}
	}
	if !r.work.start() {
		b.refuse(m)
	}
}

// A rexRun is the run of a message that has a goroutine of its own.
type rexRun struct {
	serverRun
	work task
}

func (r *rexRun) do() { r.s.handle(&r.serverRun) }

// askedBy is the node of the process that the message names for the answer; if it names none, that
// which the message is from.
func (r *serverRun) askedBy() string {
	switch r.is.Kind {
	case otp.Call, otp.System:
		return string(r.is.From.Pid.Node)
	case otp.Other:
		c := ei.NewCursor(r.m.Payload)
		if size, err := c.Tuple(); err == nil && size == 2 {
			if from, err := otp.ReadAddressee(&c); err == nil {
				return string(from.Pid.Node)
			}
		}
	}
	return r.m.payer()
}

// answerOrder is the answer of one of the node's own processes to a request of module sys. It
// builds no term of that: the answer to one that is not known has its first word.
func (b *Mailbox) answerOrder(request ei.Raw) ei.Term {
	c := ei.NewCursor(request)
	_, err := c.Tuple()
	word, wrong := c.Atom()
	shown := otp.Status{Pid: b.pid, Name: b.n.nameOf(b)}
	switch {
	case wrong != nil:
		return otp.UnknownOrder(ei.Atom("undecodable"))
	case err != nil:
		return shown.Answer(word)
	}
	return shown.Answer(ei.Tuple{word, ei.Atom("...")})
}

// netKernelCall answers {is_auth, Node}, the question behind net_adm:ping, with yes.
func netKernelCall(_ context.Context, c *Call) (any, error) {
	request := ei.NewCursor(c.Request.(ei.Raw))
	if size, err := request.Tuple(); err == nil && size == 2 && request.AtomIs("is_auth") {
		return ei.Atom("yes"), nil
	}
	return ei.Tuple{ei.Atom("error"), ei.Atom("badarg")}, nil
}

// mute is the process that takeOutput is for: net_kernel, or in a node that was not started one
// that has nothing else to do.
func (k *kernel) mute() (ei.Pid, error) {
	if b := k.n.procs.named("net_kernel"); b != nil {
		return b.pid, nil
	}
	k.muting.Lock()
	defer k.muting.Unlock()
	if k.silent == nil {
		b, err := k.n.newMailbox((&Server{Info: k.takeOutput}).takeOwn, nil, func(b *Mailbox) { b.origin.private = true })
		if err != nil {
			return ei.Pid{}, err
		}
		k.silent = b
	}
	return k.silent.pid, nil
}

// takeOutput answers a request of the io protocol, and drops what is printed: so a function that
// another node runs for this one does not wait for a group leader.
func (k *kernel) takeOutput(_ context.Context, self *Mailbox, m *Message) {
	from, answer, err := otp.IOAnswer(m.Payload)
	if err != nil {
		k.n.faults.unwanted(self, m)
		return
	}
	payload, err := ei.AppendTerm(nil, answer)
	ctl, by := dist.Control{Op: dist.OpSend, From: self.pid, To: from.Pid}, m.asker()
	switch node := string(from.Pid.Node); {
	case err != nil:
	case by != nil && node == by.Name():
		if ctl, err = by.answerTo(from); err == nil {
			by.answer(&ctl, payload)
		}
	case !k.n.rights.mayTell(by, node, &ctl):
	case node == k.n.Name():
		err = k.n.sendHereNow(&ctl, ei.Raw(payload))
	default:
		err = k.n.strangers.answerThird(k.n.ctx, by, from, true, ei.Raw(payload))
	}
	if err != nil {
		k.n.log.Debug("answer lost", "to", from.Pid, "error", err)
	}
}

// rexRequest reads {Op, M, F, A, GroupLeader} where Op is one of ops. The cursor is at M; the group
// leader becomes that of the function which runs with ctx.
func rexRequest(ctx context.Context, request ei.Term, ops ...ei.Atom) (mfa ei.Cursor, ok bool) {
	r, ok := otp.ReadRex(request.(ei.Raw), ops...)
	if ok {
		t := runOf(ctx)
		t.leader, t.leaderName = r.Leader, r.LeaderName
	}
	return r.MFA, ok
}

// rexCall answers {call, M, F, A, GL} and {block_call, …}.
func (k *kernel) rexCall(ctx context.Context, c *Call) (any, error) {
	mfa, ok := rexRequest(ctx, c.Request, "call", "block_call")
	if !ok {
		if err := otp.Decode([]ei.Term{c.Request}); err != nil {
			k.n.faults.undecodable(c.conn, "request", err)
			return ei.Tuple{ei.Atom("error"), ei.Atom("badarg")}, nil
		}
		return otp.BadRPC(ei.Tuple{ei.Atom("EXIT"), ei.Atom("badarg")}), nil
	}
	k.rexResult(ctx, &mfa, func(result ei.Term) { c.answer(result) })
	return NoReply, nil
}

// rexFull answers a call that there is no room for.
func rexFull(context.Context, *Call) (any, error) {
	return rexLimit(), nil
}

// rexCast runs {cast, M, F, A, GL}.
func (k *kernel) rexCast(ctx context.Context, request ei.Term) {
	if mfa, ok := rexRequest(ctx, request, "cast"); ok {
		t, reason := runOf(ctx), ei.Term(ei.Atom("killed")) // by runtime.Goexit
		defer func() { t.endProcess(reason) }()
		_, exception := k.n.funcs.applyNext(ctx, &mfa, nil)
		reason = uncaught(exception)
		k.n.funcs.unheard(t.task, reason)
	}
}

// rexInfo handles requests that come as a plain message {Pid, Request}: {call, M, F, A, GL} of the
// C library, {sbcast, Name, Message} of rpc:sbcast, and {send, Name, Message} of
// rpc:multi_server_call. The first two are answered with {rex, Result} and {rex, Node, Result}.
func (k *kernel) rexInfo(ctx context.Context, self *Mailbox, m *Message) {
	from, asked, ok := k.rexMessage(m)
	if !ok {
		return
	}
	answer := func(ctx context.Context, t ...ei.Term) {
		var err error
		switch answer := append(ei.Tuple{ei.Atom("rex")}, t...); string(from.Pid.Node) {
		case m.conn.Name():
			var ctl dist.Control
			if ctl, err = m.conn.answerTo(from); err == nil {
				err = m.conn.send(ctx, &ctl, answer)
			}
		case k.n.Name():
			err = self.Send(ctx, from.Pid, answer)
		default: // the peer has passed the request on
			err = k.n.strangers.answerThird(ctx, m.conn, from, false, answer)
		}
		if err != nil {
			k.n.log.Debug("answer lost", "to", from.Pid, "error", err)
		}
	}
	runOf(ctx).from = from.Pid
	if mfa, ok := rexRequest(ctx, asked, "call"); ok {
		// not with ctx, which ends with the function's process
		k.rexResult(ctx, &mfa, func(result ei.Term) { answer(k.n.sendResult(false), result) })
		return
	}
	// a wait for room occupies a place of Config.MaxCalls: do not wait for a peer that has gone
	ctx, end := k.n.until(ctx, m.conn.l.Done())
	defer end()
	term, err := asked.Decode()
	if err != nil {
		k.n.faults.undecodable(m.conn, "message to rex", err)
		return
	}
	request, ok := term.(ei.Tuple)
	if !ok || len(request) != 3 || request[0] != ei.Atom("sbcast") && request[0] != ei.Atom("send") {
		return
	}
	name, ok := request[1].(ei.Atom)
	node := ei.Atom(k.n.Name())
	if ok = ok && k.n.rights.mayPass(m.conn, name, request[2]); ok {
		_, err = k.n.Lookup(ctx, string(name))
	}
	if !ok || err != nil {
		answer(ctx, node, ei.Tuple{ei.Atom("nonexisting_name"), request[1]})
		return
	}
	message := request[2]
	if request[0] == ei.Atom("send") {
		message = ei.Tuple{from.Term(), message} // the process that gets it answers
	}
	err = k.n.sendFor(ctx, m.conn, &dist.Control{Op: dist.OpRegSend, From: self.pid, ToName: name}, k.n.Name(), message)
	if err == nil && request[0] == ei.Atom("sbcast") {
		answer(ctx, node, node)
	}
}

// rexInfoFull is rexInfo without room for what is asked: only {Pid, {call, M, F, A, GL}} is
// answered.
func (k *kernel) rexInfoFull(ctx context.Context, _ *Mailbox, m *Message) {
	from, asked, ok := k.rexMessage(m)
	if !ok {
		return
	}
	if _, ok = rexRequest(ctx, asked, "call"); !ok {
		return
	}
	payload, err := ei.AppendTerm(nil, ei.Tuple{ei.Atom("rex"), rexLimit()})
	if err != nil {
		return
	}
	if ctl, err := m.conn.answerTo(from); err == nil {
		m.conn.answer(&ctl, payload)
	}
}

// rexMessage reads {Pid, Request}, which has come from another node.
func (k *kernel) rexMessage(m *Message) (from otp.Addressee, request ei.Raw, ok bool) {
	if m.Payload == nil || m.conn == nil {
		return from, nil, false
	}
	if err := wellFormed(m.Payload); err != nil {
		k.n.faults.undecodable(m.conn, "message to rex", err)
		return from, nil, false
	}
	return otp.ReadAsked(m.Payload)
}

// rexLimit is the result of a call that there is no room for.
func rexLimit() ei.Term { return otp.BadRPC(ei.Tuple{ei.Atom("EXIT"), ei.Atom("system_limit")}) }

// rexResult calls answer with the result of a call: that of the function, or the reason why its
// process has ended before it returned. A function that ends its goroutine (runtime.Goexit) counts
// as killed.
func (k *kernel) rexResult(ctx context.Context, mfa *ei.Cursor, answer func(ei.Term)) {
	t := runOf(ctx)
	if t.task.gone.Load() { // while the call waited for a place, for which others wait now
		return
	}
	buf := k.n.links.Scratch()
	defer k.n.links.Recycle(buf)
	var result ei.Term // nil: the function has not returned
	defer func() {
		reason := ei.Term(ei.Atom("normal"))
		if result == nil {
			reason = ei.Atom("killed")
			result = otp.BadRPC(ei.Tuple{ei.Atom("EXIT"), reason})
		}
		if why := t.endProcess(reason); why != nil {
			result = otp.BadRPC(ei.Tuple{ei.Atom("EXIT"), why})
		}
		answer(result)
	}()
	raw, exception := k.n.funcs.applyNext(ctx, mfa, (*buf)[:0])
	if exception == nil {
		*buf = raw
	}
	result = rexTerm(raw, exception)
}

// rexTerm is the value of a call, or its exception in the form of rpc:call.
func rexTerm(result ei.Raw, exception *Raise) ei.Term {
	switch {
	case exception == nil:
		return result
	case exception.Class == ClassThrow:
		return exception.Reason
	case exception.Class == ClassExit:
		return otp.BadRPC(ei.Tuple{ei.Atom("EXIT"), exception.Reason})
	}
	return otp.BadRPC(ei.Tuple{ei.Atom("EXIT"), ei.Tuple{exception.Reason, exception.Stack}})
}
