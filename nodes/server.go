package nodes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/otp"
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
// {error, badarg}. A panic ends the process with reason {go_panic, Text}, and its stack goes to
// Config.Logger.
//
// When the process ends, so does the context of the running function,
// and what is unread is dropped: callers hear of the end. Nothing restarts a Server: to do so, wait
// for Mailbox.Done and call Serve again. A Server that tells many processes something sends under
// transport.NoWait (Mailbox.Send), so that one whose node does not read does not hold up the
// others.
type Server struct {
	// On has a function for each kind of request, as a rule made by FuncOf or MethodsOf, in calls,
	// casts and other messages alike: that of the name add gets A and B of {add, A, B}, that of
	// stop gets nothing of the atom stop, and the one with the empty name gets any other request,
	// whole. What no function takes, by its name and its number of arguments, goes to Call, Cast or
	// Info.
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
	// sys) do not come here: gen_server:stop ends the process, the others are answered with {error,
	// {unknown_system_msg, Request}}.
	Info func(ctx context.Context, self *Mailbox, m *Message)

	handler Handler // takes all messages, in place of the others
	encoded bool    // Call and Cast get their requests as an ei.Raw, which is good while they run
	// it answers the node that has asked, at once: without waiting for a peer that does not read
	prompt bool
}

// NoReply, returned by Server.Call or by a function of Server.On, says that Call.Reply comes later.
var NoReply any = noReply{}

type noReply struct{}

// AppendTerm refuses: the result of an exposed function, say, would be the map of an empty struct.
func (noReply) AppendTerm([]byte) ([]byte, error) {
	return nil, errors.New("NoReply is no term: it is for a function of a Server that answers a call")
}

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
	b, err := n.register(name, nil, o, func(b *Mailbox) { b.serves, b.handles = true, s.handler != nil })
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(n.ctx)
	b.atEnd(cancel)
	if !n.background(func() { defer cancel(); s.run(ctx, n, b) }) {
		cancel()
		b.retire()
		b.Close()
		return nil, wrap("serve", "", ErrClosed)
	}
	return b, nil
}

// run receives and handles until the process ends.
func (s *Server) run(ctx context.Context, n *Node, b *Mailbox) {
	regular := false
	defer b.retire()
	defer func() {
		var p any = "runtime.Goexit"
		if r := recover(); r != nil {
			p = r
		} else if regular {
			return
		}
		what := "server panicked"
		if s.handler != nil {
			what = "handler panicked"
		}
		n.log.Error(what, "pid", b.pid, "panic", p, "stack", string(debug.Stack()))
		b.Exit(ei.Tuple{ei.Atom("go_panic"), ei.Binary(fmt.Sprint(p))})
	}()
	for b.awaitMessage() {
		// before the message is taken: a node that is handed over must not lose it
		begun := b.begin()
		m := b.takeServed()
		switch {
		case m != nil && !begun: // the node shuts down
			b.refuse(m)
			b.markServed()
			continue
		case begun:
			func() {
				defer n.life.Work.Leave()
				if m != nil {
					b.runs.Add(1)
					defer b.runs.Add(-1)
					s.handle(ctx, n, b, m)
				}
			}()
		}
	}
	regular = true
}

func (s *Server) handle(ctx context.Context, n *Node, b *Mailbox, m *Message) {
	t := turnOf(ctx)
	if t == nil { // else work has made it, for rex
		t = &turn{conn: m.conn}
		ctx = t.within(ctx)
	}
	t.from = m.From
	if b.hook == nil { // the node's own servers wait for no process
		t.self = b
	}
	defer t.over.Store(true)
	if s.handler != nil {
		s.handler(b, m)
		b.markServed()
		return
	}
	if s.On != nil && s.takeOn(ctx, b, m) {
		return
	}
	if s.Call != nil || s.On != nil || s.Info == nil {
		if c, request, ok := s.callOf(b, m); ok {
			s.takeCall(ctx, c, request, m)
			b.markServed()
			return
		}
	}
	b.markServed() // no caller waits for an answer to what comes here
	if s.Cast != nil && m.Payload != nil {
		if request, ok := otp.GenCast(m.Payload); ok {
			if s.encoded {
				s.Cast(ctx, request)
			} else if t, err := request.Decode(); err == nil {
				m.Release()
				s.Cast(ctx, t)
			} else {
				n.undecodable(m.conn, "cast", err)
			}
			return
		}
	}
	if b.hook == nil && s.system(n, b, m) {
		return
	}
	if s.Info == nil {
		n.unwanted(b, m)
		return
	}
	s.Info(ctx, b, m)
}

// callOf reads the message as a gen_server:call; false if it is none.
func (s *Server) callOf(b *Mailbox, m *Message) (c *Call, request ei.Raw, ok bool) {
	from, tag, request, ok := otp.GenCall(m.Payload)
	if !ok {
		return nil, nil, false
	}
	return &Call{
		From: from.Pid, alias: from.Alias, n: b.n, by: b.pid, conn: m.asker(), tag: tag, prompt: s.prompt, server: b,
	}, request, true
}

// takeCall answers a request by s.Call, and releases the message.
func (s *Server) takeCall(ctx context.Context, c *Call, request ei.Raw, m *Message) {
	if s.encoded {
		c.Request = request
		s.call(ctx, c)
		m.Release()
		return
	}
	if s.Call == nil && s.On == nil {
		c.answer(ei.Tuple{ei.Atom("error"), ei.Binary("the server takes no calls")})
		return
	}
	var err error
	if c.Request, err = request.Decode(); err != nil {
		c.n.undecodable(m.conn, "request", err)
		_ = c.Reply(ctx, ei.Tuple{ei.Atom("error"), ei.Atom("badarg")})
		return
	}
	c.tag = bytes.Clone(c.tag)
	m.Release()
	if s.Call == nil {
		c.answer(ei.Tuple{ei.Atom("error"), ei.Tuple{ei.Atom("unknown_request"), c.Request}})
		return
	}
	s.call(ctx, c)
}

// system handles a message of module sys, {system, {Pid, Tag}, Request}; false if m is none.
func (s *Server) system(n *Node, b *Mailbox, m *Message) bool {
	from, tag, raw, ok := otp.GenRequest("system", m.Payload)
	if !ok {
		return false
	}
	request, err := raw.Decode()
	if err != nil {
		n.undecodable(m.conn, "system message", err)
		request = ei.Atom("undecodable")
	}
	c := &Call{From: from.Pid, alias: from.Alias, n: n, by: b.pid, conn: m.asker(), tag: tag}
	stop, ok := request.(ei.Tuple)
	ok = ok && len(stop) == 2 && stop[0] == ei.Atom("terminate")
	reply := ei.Term(ei.Atom("ok"))
	if !ok {
		reply = ei.Tuple{ei.Atom("error"), ei.Tuple{ei.Atom("unknown_system_msg"), request}}
	}
	c.answer(reply)
	if ok {
		b.Exit(stop[1])
	}
	return true
}

func (s *Server) call(ctx context.Context, c *Call) {
	t := turnOf(ctx)
	if t.from = c.From; c.server.hook == nil { // the node's own servers have no call of the program
		t.call = c
	}
	v, err := s.Call(ctx, c)
	c.answerWith(ctx, v, err)
}

// answerWith answers with what a function has returned.
func (c *Call) answerWith(ctx context.Context, v any, err error) {
	// before the answer: after it, goroutines that the function has started may call the server
	turnOf(ctx).over.Store(true)
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
		return
	}
	c.answer(v)
}

// answer replies unless that has been done, though the process may have ended meanwhile; a reply
// that is lost is logged.
func (c *Call) answer(v any) {
	err := c.Reply(c.n.ctx, v)
	switch {
	case err == nil || errors.Is(err, ErrReplied):
	case errors.Is(err, errUnencodable): // the caller hears of it
		if c.server != nil {
			c.n.noTerm("server", c.n.nameOf(c.server), err)
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
