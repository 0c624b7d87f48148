package nodes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/gofunc"
	"github.com/cnode-go/cnode/nodes/internal/meter"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/nodes/metrics"
)

// A Server is a registered process made of Go functions, like a gen_server: those of On get Go
// values, and Call, Cast and Info get terms. They run one at a time on one goroutine, in the order
// in which the messages came; MailboxOf(ctx) is the process itself, whose Exit ends it (to answer
// and end, Call.Reply first, then Exit, and return NoReply: a result returned after Exit is
// dropped).
//
// Any of them may be nil. Casts without a function for them go to Info unchanged, and what is left
// is dropped, except calls. By a Server that has On these are answered with {error,
// {unknown_request, Request}}; else they go to Info unchanged, or are answered with {error, Text}
// if there is none. A call whose request cannot be decoded, or is over ei.Limits, is answered with
// {error, badarg}. A panic ends the process with reason {go_panic, Text}, unless Recover says
// otherwise, and its stack goes to Config.Logger.
//
// When the process ends, so does the context of the running function, and what is unread is
// dropped: callers hear of the end. Package nodes/supervisor starts it again;
// docs/how-to/supervise-from-elixir.md has how a supervisor of an Erlang or Elixir node does so. A
// Server that tells many processes something uses Mailbox.SendAll, so that one whose node does not
// read does not hold up the others.
//
// The functions of module sys, with which gen_server:stop, Erlang's tools and Elixir's :sys look
// after a process, have their answers: terminate, get_state, replace_state and get_status, suspend
// and resume (while suspended, the process keeps its messages, takes those of sys and the end of
// its Parent; a suspension does not move with the node), log, statistics and trace, whose lines go
// to Config.Logger at the level Info. For what is not among these (change_code, install) it is
// {error, {unknown_system_msg, Request}}, or unknown_debug.
type Server struct {
	// On has a function for each kind of request, as a rule made by FuncOf or MethodsOf, in calls,
	// casts and other messages alike: that of the name add gets A and B of {add, A, B}, that of stop
	// gets nothing of the atom stop, and the one with the empty name gets any other request, whole.
	// What no function takes, by its name and its number of arguments, goes to Call, Cast or Info.
	//
	// In a call, the result is the reply, and an error as from Call. An argument of a wrong type is
	// the reply {error, {badarg, Text}}. CallOf(ctx) is the call, for a reply that comes later. In
	// a cast or another message, the result is dropped, and an error is logged.
	On map[string]Func
	// Call answers gen_server:call. Its result (an ei.Term or a Go value, and nil is neither) is
	// the reply; NoReply leaves that to Call.Reply. An error is replied as {error, Text}, or as
	// {error, Reason} for a *Raise or an *ei.ReasonError (see Func).
	Call func(ctx context.Context, c *Call) (any, error)
	// Cast takes gen_server:cast.
	Cast func(ctx context.Context, request ei.Term)
	// Info takes every other message; self is the process, to send from. System messages (module
	// sys) do not come here.
	Info func(ctx context.Context, self *Mailbox, m *Message)

	// State is what sys:get_state and get_status show: anything that ei.Append takes. Without it
	// there is no state to get, and get_status has the atom undefined in its place. Releases before
	// OTP 26.1 show {ok, State}, as they do of processes of later ones.
	State func() any
	// SetState takes what sys:replace_state makes of the state. Its argument there, a fun, cannot
	// run here: it is called on the node that asks, with what State gives, within 5 s, during which
	// the server waits. If SetState has an error, sys:replace_state fails with it.
	SetState func(state ei.Term) error
	// Terminate is called last and once, however the process ends, except that it goes on in
	// another program (ErrMoved): as gen_server's terminate/2 before anybody hears of the end,
	// after sys:terminate, a panic, and for the end of the Parent of a process that traps exits
	// (see MailboxOptions); otherwise after the end: an exit signal, kill too, Mailbox.Exit and
	// Close, or the end of the node, which waits for it. Then ctx has ended already. MailboxOf(ctx)
	// is the process.
	Terminate func(ctx context.Context, reason ei.Term)
	// Absent is what nil pointers in replies are, and an ei.Optional that is not there: see
	// FuncOptions.
	Absent ei.Atom
	// Recover makes a panic in one of the functions end the request only: a caller that has no
	// reply yet gets {error, {go_panic, Text}}, and the server goes on with what the panic has left
	// of its state.
	Recover bool

	handler    Handler // takes all messages, in place of the others
	full       *Server // of one of the node's own: see takeOwn
	terminated bool    // Terminate was called
}

// NoReply, returned by Server.Call or by a function of Server.On, says that Call.Reply comes later:
// see Node.Freeze for a node that goes on in another process before that.
var NoReply any = gofunc.NoReply{}

// ErrReplied is returned by a second Reply to one Call.
var ErrReplied = errors.New("the call has its reply already")

// errUnencodable: a Go value that cannot be encoded.
var errUnencodable = errors.New("the result is no term")

// Serve starts a Server under a name, until its mailbox is closed or exits. With an empty name it
// is reached only by its pid. The errors for the name are those of Register. If you start the node,
// call Serve in Config.Setup or after Start: a process fixes the creation (ErrTooLate).
func (n *Node) Serve(name string, s Server, o *MailboxOptions) (*Mailbox, error) {
	s, err := s.checked()
	if err != nil {
		return nil, wrap("serve", name, err)
	}
	b, err := n.register(name, nil, o, func(b *Mailbox) {
		b.served.is, b.served.handler, b.served.code = true, s.handler != nil, s.codeIn()
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(n.ctx)
	b.served.atEnd(cancel)
	if !n.background(func() { defer cancel(); s.run(n.label(ctx, b, nil, function{}), n, b) }) {
		cancel()
		b.served.end()
		b.Close()
		return nil, wrap("serve", "", ErrClosed)
	}
	return b, nil
}

// codeIn is what tells the functions of one Server from those of another: where the first of those
// that take messages begins. 0: they are all in On.
func (s *Server) codeIn() uintptr {
	for _, f := range []any{s.handler, s.Call, s.Cast, s.Info, s.State, s.Terminate} {
		if v := reflect.ValueOf(f); !v.IsNil() {
			return v.Pointer()
		}
	}
	return 0
}

// run receives and handles until the process ends.
func (s *Server) run(ctx context.Context, n *Node, b *Mailbox) {
	defer b.served.end()
	for b.awaitMessage() {
		// before the message is taken: a node that is handed over must not lose it
		begun := b.served.begin()
		m := b.served.take()
		switch {
		case m != nil && !begun: // the node shuts down
			b.refuse(m)
			b.served.answered()
			b.served.rest()
		case m != nil:
			s.take(ctx, n, b, m)
		case begun:
			n.life.Work.Leave()
		}
	}
	if !b.hasMoved() {
		s.lastCall(ctx, b, b.why)
	}
}

// take handles a message, and what may go wrong with that; it is work that has begun.
func (s *Server) take(ctx context.Context, n *Node, b *Mailbox, m *Message) {
	defer n.life.Work.Leave()
	defer b.served.rest()
	r := new(serverRun)
	r.init(s, b, m)
	r.around, r.self, r.brought = ctx, b, cost(m)
	defer r.settle(n)
	returned := false
	defer func() {
		if !returned {
			s.failed(r, recover())
		}
	}()
	s.handle(r)
	returned = true
}

// A serverRun is the run of a Server's function for a message, and the call that the function may
// answer.
type serverRun struct {
	run
	s       *Server
	b       *Mailbox
	m       *Message
	is      otp.Request // what the message is; a Handler's is not taken apart
	request Call
}

// init makes it the run for a message.
func (r *serverRun) init(s *Server, b *Mailbox, m *Message) {
	r.s, r.b, r.m = s, b, m
	r.conn, r.trace, r.from = m.asker(), m.trace(), m.From
	if s.handler == nil {
		r.is = otp.ReadRequest(m.Payload)
	}
}

// failed is called when a function has panicked or, with nil, left by runtime.Goexit, after which
// nothing can go on.
func (s *Server) failed(r *serverRun, panicked any) {
	b := r.b
	p, stack := panicked, string(debug.Stack())
	if p == nil {
		p = "runtime.Goexit"
	}
	reason := ei.Tuple{ei.Atom("go_panic"), ei.Binary(fmt.Sprint(p))}
	r.measured.End(metrics.OutcomePanicked, &Raise{Class: ClassExit, Reason: reason})
	what := "server panicked"
	if s.handler != nil {
		what = "handler panicked"
	}
	if s.Recover && panicked != nil {
		b.n.faults.mishap(what+", and goes on", "name", b.n.nameOf(b), "panic", p, "stack", stack)
		if c := r.run.call; c != nil {
			c.answer(ei.Tuple{ei.Atom("error"), reason})
		}
		b.served.answered()
		return
	}
	b.n.log.Error(what, "pid", b.pid, "panic", p, "stack", stack)
	s.stop(r, b, reason)
}

// stop ends the process, after Terminate.
func (s *Server) stop(ctx context.Context, b *Mailbox, reason ei.Term) {
	defer b.Exit(reason) // though Terminate may leave by runtime.Goexit
	s.lastCall(ctx, b, reason)
}

// lastCall calls Terminate, unless that was done.
func (s *Server) lastCall(ctx context.Context, b *Mailbox, reason ei.Term) {
	if s.Terminate == nil || s.terminated {
		return
	}
	s.terminated = true
	t := &run{self: b}
	_ = b.n.faults.guarded("Server.Terminate of "+b.n.nameOf(b), func() error {
		s.Terminate(t.within(ctx), reason)
		return nil
	})
}

// handle handles a message.
func (s *Server) handle(r *serverRun) {
	b, m := r.b, r.m
	defer r.over.Store(true)
	switch {
	case s.handler != nil:
		s.handler(b, m)
		b.served.answered()
		return
	case r.is.Kind == otp.System:
		s.takeOrder(r)
		return
	case b.isOfParent(m):
		b.served.answered()
		s.stop(r, b, b.exitTerm(m.Reason, m.conn))
		return
	}
	b.care.Load().noteIn(b, m)
	switch {
	case s.On != nil && s.takeOn(r):
	case r.is.Kind == otp.Call && (s.Call != nil || s.On != nil || s.Info == nil):
		s.takeCall(r)
		b.served.answered()
	default:
		b.served.answered() // no caller waits for an answer to what comes here
		s.takeOther(r)
	}
}

// takeOther handles what is no call, or none that the Server takes.
func (s *Server) takeOther(r *serverRun) {
	switch {
	case r.is.Kind == otp.Cast && s.Cast != nil:
		if request, err := s.decoded(r, "cast"); err == nil {
			s.cast(r, request)
		}
	case s.Info != nil:
		s.Info(&r.run, r.b, r.m)
	default:
		r.b.n.faults.unwanted(r.b, r.m)
	}
}

// decoded is what a call or a cast asks, as a function gets it: the node's own as it came, good
// while they run, others as a term, for which the message is needed no more.
func (s *Server) decoded(r *serverRun, what string) (ei.Term, error) {
	if r.b.own != nil {
		return r.is.Body, nil
	}
	request, err := r.decodeTerm(r.is.Body)
	if err != nil {
		r.b.n.faults.undecodable(r.m.conn, what, err)
		return nil, err
	}
	r.request.tag = bytes.Clone(r.request.tag)
	r.m.Release()
	return request, nil
}

// asksFor is the call, or the request of module sys, that the message is, good while that is.
// server is the process that is to answer a call; nil: it is a request of module sys.
func (r *serverRun) asksFor(server *Mailbox) *Call {
	c := &r.request
	c.init(r.b, r.conn, r.trace, &r.is, r.s.Absent)
	c.server, c.prompt = server, r.b.own != nil && r.s.full == nil
	return c
}

// takeCall answers a call.
func (s *Server) takeCall(r *serverRun) {
	c := r.asksFor(r.b)
	if s.Call == nil && s.On == nil {
		c.answer(ei.Tuple{ei.Atom("error"), ei.Binary("the server takes no calls")})
		return
	}
	var err error
	if c.Request, err = s.decoded(r, "request"); err != nil {
		wrong := &gofunc.ArgumentError{Err: err}
		_ = c.Reply(&r.run, ei.Tuple{ei.Atom("error"), reasonOfMisuse(wrong)})
		return
	}
	if s.Call == nil {
		c.answer(ei.Tuple{ei.Atom("error"), ei.Tuple{ei.Atom("unknown_request"), c.Request}})
		return
	}
	s.call(r, c)
}

// takeOrder handles a message of module sys.
func (s *Server) takeOrder(r *serverRun) {
	b, m, c := r.b, r.m, r.asksFor(nil)
	if b.own != nil {
		c.answer(b.answerOrder(r.is.Body))
		m.Release()
		return
	}
	b.served.answered()
	c.tag = bytes.Clone(c.tag)
	request, err := r.is.Body.Decode()
	if err != nil {
		b.n.faults.undecodable(m.conn, "system message", err)
		request = ei.Atom("undecodable")
	}
	c.Request = request
	m.Release()
	if stop, ok := request.(ei.Tuple); ok && len(stop) == 2 && stop[0] == ei.Atom("terminate") {
		c.answer(ei.Atom("ok"))
		s.stop(r, b, stop[1])
		return
	}
	c.answer(s.order(r, b, c))
}

// order does what module sys asks for, and returns the answer.
func (s *Server) order(ctx context.Context, b *Mailbox, c *Call) any {
	switch c.Request {
	case ei.Atom("suspend"), ei.Atom("resume"):
		b.suspend(c.Request == ei.Atom("suspend"))
		return ei.Atom("ok")
	case ei.Atom("get_status"):
		return s.status(b)
	case ei.Atom("get_state"):
		if s.State != nil {
			state, failure := s.state()
			if failure != nil {
				return failure
			}
			// since OTP 26.1; earlier releases do not take it apart, and nothing tells them apart here
			return ei.Tuple{ei.Atom("ok"), state}
		}
	}
	if t, ok := c.Request.(ei.Tuple); ok && len(t) == 2 {
		switch {
		case t[0] == ei.Atom("debug"):
			return b.caredFor().debug(b, t[1])
		case t[0] == ei.Atom("replace_state") && s.State != nil && s.SetState != nil:
			return s.replaceState(ctx, c, t[1])
		}
	}
	return otp.UnknownOrder(c.Request)
}

// callbackFailed is what sys answers when a function of the process has failed.
func callbackFailed(callback ei.Term, err error) ei.Term {
	reason := raised(err)
	return ei.Tagged("error", ei.Tuple{ei.Atom("callback_failed"), callback, ei.Tuple{ei.Atom(reason.Class), reason.Reason}})
}

// state is the encoded state, or what sys answers if it cannot be encoded.
func (s *Server) state() (state ei.Raw, failure ei.Term) {
	raw, err := ei.Append(nil, s.State())
	if err != nil {
		return nil, callbackFailed(ei.Tuple{ei.Atom("go"), ei.Atom("State")}, err)
	}
	return raw, nil
}

// fromFun is how long a fun of the node that asks may take.
const fromFun = 5 * time.Second

// replaceState has the state changed by a fun of the caller's, at the caller's node.
func (s *Server) replaceState(ctx context.Context, c *Call, fun ei.Term) ei.Term {
	node := string(c.From.Node)
	if c.conn == nil || c.conn.Name() != node {
		return callbackFailed(fun, errors.New("the fun can be called at the node of the caller only"))
	}
	state, failure := s.state()
	if failure != nil {
		return failure
	}
	ctx, cancel := context.WithTimeout(ctx, fromFun)
	defer cancel()
	next, err := c.n.RPC(NoConnect(ctx), node, "erlang", "apply", fun, ei.List{state})
	if err == nil {
		err = s.SetState(next)
	}
	if err != nil {
		return callbackFailed(fun, err)
	}
	return ei.Tuple{ei.Atom("ok"), next}
}

// status is the answer to sys:get_status, in the form of a gen_server.
func (s *Server) status(b *Mailbox) ei.Term {
	shown := otp.Status{Pid: b.pid, Name: b.n.nameOf(b)}
	if s.State != nil {
		raw, failure := s.state()
		if shown.State = raw; failure != nil {
			shown.State = failure
		}
	}
	b.mu.Lock()
	shown.Suspended, shown.Parent = b.inbox.IsPartly(), b.opts.Parent
	b.mu.Unlock()
	shown.Debug, shown.Events = b.care.Load().shown()
	return shown.Term()
}

func (s *Server) call(r *serverRun, c *Call) {
	r.from = c.From
	if r.b.own != nil { // its request is good until the message is released
		defer r.m.Release()
		v, err := s.Call(&r.run, c)
		c.answerWith(&r.run, v, err)
		return
	}
	r.run.call = c
	ctx, measured := r.b.measureRun(&r.run, r.conn, "call")
	v, err := s.Call(ctx, c)
	measured.EndReturned(err)
	c.answerWith(ctx, v, err)
}

func (s *Server) cast(r *serverRun, request ei.Term) {
	if r.b.own != nil {
		defer r.m.Release()
		s.Cast(&r.run, request)
		return
	}
	ctx, measured := r.b.measureRun(&r.run, r.conn, "cast")
	s.Cast(ctx, request)
	measured.EndReturned(nil)
}

// measureRun begins a run of a Server's function. One that does not return is ended by failed,
// which knows why.
func (b *Mailbox) measureRun(ctx context.Context, c *Conn, function string) (context.Context, *meter.Run) {
	t := runOf(ctx)
	ctx, t.measured = b.measureServer(ctx, c, function)
	return ctx, t.measured
}

// answerWith answers with what a function has returned.
func (c *Call) answerWith(ctx context.Context, v any, err error) {
	// before the answer: after it, goroutines that the function has started may call the server
	runOf(ctx).over.Store(true)
	if err != nil {
		reason := reasonOf(err)
		if reason == nil {
			reason = raised(err).Reason
		}
		if t, ok := reason.(ei.Tuple); ok && len(t) == 2 && t[0] == ei.Atom("go_error") {
			reason = t[1]
		}
		v = ei.Tuple{ei.Atom("error"), reason}
	}
	if v == NoReply {
		c.leaveForLater(c.server)
		return
	}
	c.answer(v)
}

// isFollowed tells whether the answer to another call is likely to come soon.
func (c *Call) isFollowed() bool {
	switch b := c.server; {
	case b == nil || c.conn == nil:
		return false
	case b.own != nil:
		return c.conn.works.Count() > 1
	default:
		return b.hasMessage()
	}
}

// answer replies unless that has been done, though the process may have ended meanwhile; a reply
// that is lost is logged.
func (c *Call) answer(v any) {
	err := c.Reply(c.n.sendResult(c.isFollowed()), v)
	switch {
	case err == nil || errors.Is(err, ErrReplied):
	case errors.Is(err, errUnencodable): // the caller hears of it
		if c.server != nil {
			c.n.faults.noTerm(c.conn, "server", c.n.nameOf(c.server), err)
		}
	default:
		c.n.log.Debug("reply lost", "to", c.From, "error", err)
	}
}

// A Handler takes the messages of a process, one at a time and in the order in which they came, on
// a goroutine of the process's own. The message belongs to the Handler, which may keep it, and may
// Release it when done. Unlike a Server's, its messages are not taken apart: requests of
// gen_server:call (see Mailbox.CallOf) and of module sys come as they are.
type Handler func(self *Mailbox, m *Message)

// Handle starts a process that consists of a Handler, under a name; with an empty name it is
// reached only by its pid. A panic ends the process with reason {go_panic, Text}, and so does
// runtime.Goexit. Mailbox.Close ends it. The errors for the name are those of Register. If you
// start the node, call Handle in Config.Setup or after Start: a process fixes the creation
// (ErrTooLate).
func (n *Node) Handle(name string, h Handler, o *MailboxOptions) (*Mailbox, error) {
	if h == nil {
		return nil, wrap("handle", name, errors.New("the Handler is nil"))
	}
	return n.Serve(name, Server{handler: h}, o)
}
