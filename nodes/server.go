package nodes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// A Server is a registered process made of Go functions, like a gen_server. They run one at a time on one goroutine, in the order in which
// the messages came; MailboxOf(ctx) is the process itself, whose Exit ends it. Any of them may be nil: then calls and casts go to Info
// unchanged, and what no function takes is dropped, except calls, which are answered with {error, Text}. A panic ends the process with
// reason {go_panic, Text}, and its stack goes to Config.Logger. When the process ends, so does the context of the running function, and
// what is unread is dropped: callers hear of the end. Nothing restarts a Server: to do so, wait for Mailbox.Done and call Serve again.
type Server struct {
	// Call answers gen_server:call. Its result (an ei.Term or a Go value, and nil is neither) is the reply; NoReply leaves that to
	// Call.Reply. An error is replied as {error, Text}, or as {error, Reason} for a *Raise.
	Call func(ctx context.Context, c *Call) (any, error)
	// Cast takes gen_server:cast.
	Cast func(ctx context.Context, request ei.Term)
	// Info takes every other message; self is the process, to send from. System messages (module sys) do not come here: gen_server:stop
	// ends the process, the others are answered with {error, {unknown_system_msg, Request}}.
	Info func(ctx context.Context, self *Mailbox, m *Message)

	prompt bool // it answers the node that has asked, at once: nobody waits for a peer that does not read
}

// NoReply, returned by Server.Call, says that Call.Reply comes later.
var NoReply any = noReply{}

type noReply struct{}

// A Call is a request of gen_server:call.
type Call struct {
	From    ei.Pid  // the process that waits for the reply
	Request ei.Term // from Mailbox.CallOf, an ei.Raw if it is over one of ei.Limits

	n      *Node
	conn   *Conn
	tag    ei.Raw
	prompt bool // the reply does not wait

	replied atomic.Bool
}

// CallOf reads the message as a gen_server:call request, for Call.Reply; false if it is none. The message may then be released. The request
// is decoded, unless it is over one of ei.Limits: then it is an ei.Raw, so that the caller can still get an answer.
func (b *Mailbox) CallOf(m *Message) (*Call, bool) {
	if m.Payload == nil {
		return nil, false
	}
	from, tag, request, ok := genCall(m.Payload)
	if !ok {
		return nil, false
	}
	t, err := request.Decode()
	if err != nil {
		t = ei.Raw(bytes.Clone(request))
	}
	return &Call{From: from, Request: t, n: b.n, conn: m.conn, tag: bytes.Clone(tag)}, true
}

// ErrReplied is returned by a second Reply to one Call.
var ErrReplied = errors.New("the call has its reply already")

// errUnencodable: a Go value that cannot be encoded.
var errUnencodable = errors.New("the result is no term")

// Reply answers the call, from any goroutine. It waits as Conn.Send does, but for a caller that another node has named neither for room in
// a mailbox of this node nor for a connection: the reply is sent when the connection is up, if that is soon. What cannot be encoded is an
// error, and the caller gets {error, Text}. After any other error nothing was sent, and Reply may be called again.
func (c *Call) Reply(ctx context.Context, v any) error {
	if !c.replied.CompareAndSwap(false, true) {
		return wrap("reply", string(c.From.Node), ErrReplied)
	}
	value, unencodable := ei.Append(nil, v)
	if unencodable != nil { // the caller must not wait for ever
		unencodable = wrap("reply", string(c.From.Node), fmt.Errorf("%w: %w", errUnencodable, unencodable))
		value, _ = ei.Append(nil, tuple(ei.Atom("error"), unencodable.Error()))
	}
	err := c.reply(ctx, value)
	c.replied.Store(err == nil)
	return errors.Join(unencodable, err)
}

func (c *Call) reply(ctx context.Context, value ei.Raw) (err error) {
	answer := ei.Tuple{c.tag, value}
	if c.conn != nil && c.conn.Err() == ErrMoved { // away, and perhaps back again
		if back := c.n.Conn(c.conn.peer.Name); back != nil {
			c.conn = back
		}
	}
	node := string(c.From.Node)
	if c.conn != nil && node == c.conn.peer.Name {
		return c.replyOver(ctx, c.conn, answer)
	}
	// It is for a process of this node, or was passed on by another node than the caller's.
	if c.conn != nil {
		if _, err := c.tag.Decode(); err != nil { // the caller's node would end its connection with this one for it
			return wrap("reply", node, err)
		}
	}
	if node == c.n.Name() {
		ctl := &dist.Control{Op: dist.OpSend, To: c.From}
		if b := c.n.procs.local(c.From); b != nil && c.conn != nil && !b.held.Load() {
			return c.n.sendHereNow(ctl, answer)
		}
		return c.n.send(ctx, ctl, node, answer)
	}
	conn := c.n.Conn(node)
	switch {
	case conn != nil && c.prompt && conn.isFull(): // what a peer asks in another one's name ends no connection of that one
		return wrap("reply", node, transport.ErrQueueFull)
	case conn != nil:
		return c.replyOver(ctx, conn, answer)
	case c.prompt:
		return wrap("reply", node, ErrNoConnection)
	case c.conn == nil:
		if conn, err = c.n.connection(ctx, node); err != nil {
			return wrap("reply", node, err)
		}
		return c.replyOver(ctx, conn, answer)
	}
	c.tag = bytes.Clone(c.tag) // the message is over before the answer is out
	return wrap("reply", node, c.n.strangers.reply(c, ei.Tuple{c.tag, value}))
}

// replyOver sends the answer over a connection.
func (c *Call) replyOver(ctx context.Context, conn *Conn, answer ei.Tuple) error {
	ctl := &dist.Control{Op: dist.OpSend, To: c.From}
	if alias, ok := aliasOf(c.tag); ok && conn.peer.Flags.Has(dist.FlagAlias) {
		ctl = &dist.Control{Op: dist.OpAliasSend, From: conn.self, Ref: alias}
	}
	if !c.prompt {
		return conn.send(ctx, ctl, answer)
	}
	payload, err := ei.AppendTerm(nil, answer)
	if err == nil {
		conn.signal(ctl, payload)
	}
	return err
}

// strangers are nodes that are not connected, and that a peer has asked something for. Whoever answers does not wait until they are, which
// may take Config.HandshakeTimeout for each name that a peer makes up. (In OTP, too, only the message waits.)
type strangers struct{ count atomic.Int32 }

// maxStrangers is how many answers wait for such connections at once. Further ones are dropped.
const maxStrangers = 64

func (s *strangers) reply(c *Call, answer ei.Tuple) error {
	if s.count.Add(1) > maxStrangers {
		s.count.Add(-1)
		return ErrNoConnection
	}
	c.n.goroutines.Run(func() {
		defer s.count.Add(-1)
		conn, err := c.n.connection(c.n.ctx, string(c.From.Node))
		if err == nil {
			err = c.replyOver(c.n.ctx, conn, answer)
		}
		if err != nil {
			c.n.log.Debug("reply lost", "to", c.From, "error", err)
		}
	})
	return nil
}

// aliasOf reads the tags [alias | Ref] and [[alias | Ref] | _], with which gen (OTP 24 and later) asks for the reply at an alias; the
// latter is gen_server:multi_call's.
func aliasOf(tag ei.Raw) (ei.Ref, bool) {
	c := ei.NewCursor(tag)
	for depth := 0; ; depth++ {
		if n, err := c.List(); err != nil || n != 1 || depth > 1 {
			return ei.Ref{}, false
		}
		if c.AtomIs("alias") {
			break
		}
	}
	ref, err := c.Ref()
	return ref, err == nil
}

// genCall reads {'$gen_call', {Pid, Tag}, Request}.
func genCall(payload ei.Raw) (from ei.Pid, tag, request ei.Raw, ok bool) {
	return genRequest("$gen_call", payload)
}

// genRequest reads {Kind, {Pid, Tag}, Request}.
func genRequest(kind ei.Atom, payload ei.Raw) (from ei.Pid, tag, request ei.Raw, ok bool) {
	c := ei.NewCursor(payload)
	if n, err := c.Tuple(); err != nil || n != 3 || !c.AtomIs(kind) {
		return
	}
	if n, err := c.Tuple(); err != nil || n != 2 {
		return
	}
	var err error
	if from, err = c.Pid(); err != nil {
		return
	}
	if tag, err = c.Raw(); err != nil {
		return
	}
	request, err = c.Raw()
	return from, tag, request, err == nil
}

// refuse tells the caller of a request, which monitors us, that there will be no reply; those whose calls are being handled hear nothing.
func (b *Mailbox) refuse(m *Message) {
	_, tag, _, ok := genCall(m.Payload)
	if !ok {
		return
	}
	ref, ok := aliasOf(tag)
	if c := ei.NewCursor(tag); !ok {
		ref, _ = c.Ref()
	}
	b.mu.Lock()
	w, ok := b.watchers[ref]
	if ok = ok && (m.conn == nil || string(w.pid.Node) == m.conn.peer.Name); ok { // else a peer speaks of another one's
		delete(b.watchers, ref)
	}
	b.mu.Unlock()
	if ok {
		sendDown(b.n.tell, b.pid, w, ref, exitReason(ei.Atom("shutdown")))
	}
}

// genCast reads {'$gen_cast', Request}.
func genCast(payload ei.Raw) (request ei.Raw, ok bool) {
	c := ei.NewCursor(payload)
	if n, err := c.Tuple(); err != nil || n != 2 || !c.AtomIs("$gen_cast") {
		return nil, false
	}
	request, err := c.Raw()
	return request, err == nil
}

// Serve starts a Server under a name, until its mailbox is closed or exits. With an empty name it is reached only by its pid.
func (n *Node) Serve(name string, s Server, o *MailboxOptions) (*Mailbox, error) {
	b, err := n.register(name, nil, o, func(b *Mailbox) { b.serves = true })
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
		n.log.Error("server panicked", "pid", b.pid, "panic", p, "stack", string(debug.Stack()))
		b.Exit(ei.Tuple{ei.Atom("go_panic"), ei.Binary(fmt.Sprint(p))})
	}()
	for b.awaits() {
		begun := n.procs.begin(b) // before the message is taken: a node that is handed over must not lose it
		m := b.takeServed()
		switch {
		case m != nil && !begun: // the node drains
			b.refuse(m)
			b.served()
			continue
		case begun:
			func() {
				defer n.procs.running.Leave()
				if m != nil {
					s.handle(ctx, n, b, m)
				}
			}()
		}
	}
	regular = true
}

func (s *Server) handle(ctx context.Context, n *Node, b *Mailbox, m *Message) {
	t := &turn{conn: m.conn}
	if b.handler == nil { // those of the node itself wait for nobody
		t.self = b
	}
	defer t.over.Store(true)
	ctx = t.within(ctx)
	if s.Call != nil || s.Info == nil {
		if from, tag, request, ok := genCall(m.Payload); ok {
			c := &Call{From: from, n: n, conn: m.conn, tag: tag, prompt: s.prompt}
			if s.Call != nil {
				s.takeCall(ctx, c, request, m)
				b.served()
				return
			}
			c.answer(tuple(ei.Atom("error"), ei.Binary("the server takes no calls")))
		}
	}
	b.served() // nobody waits for an answer to what comes here
	if s.Cast != nil && m.Payload != nil {
		if request, ok := genCast(m.Payload); ok {
			if t, err := request.Decode(); err == nil {
				m.Release()
				s.Cast(ctx, t)
			} else {
				n.undecodable(m.conn, "cast", err)
			}
			return
		}
	}
	if b.handler == nil && s.system(n, b, m) {
		return
	}
	if s.Info == nil {
		n.unwanted(b, m)
		return
	}
	s.Info(ctx, b, m)
}

// takeCall has s.Call answer a request; the message is done with before.
func (s *Server) takeCall(ctx context.Context, c *Call, request ei.Raw, m *Message) {
	var err error
	if c.Request, err = request.Decode(); err != nil {
		c.n.undecodable(m.conn, "request", err)
		_ = c.Reply(ctx, ei.Tuple{ei.Atom("error"), ei.Atom("badarg")})
		return
	}
	c.tag = bytes.Clone(c.tag)
	m.Release()
	s.call(ctx, c)
}

// system takes a message of module sys, {system, {Pid, Tag}, Request}; false if m is none.
func (s *Server) system(n *Node, b *Mailbox, m *Message) bool {
	from, tag, raw, ok := genRequest("system", m.Payload)
	if !ok {
		return false
	}
	request, err := raw.Decode()
	if err != nil {
		n.undecodable(m.conn, "system message", err)
		request = ei.Atom("undecodable")
	}
	c := &Call{From: from, n: n, conn: m.conn, tag: tag}
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
	v, err := s.Call(ctx, c)
	if err != nil {
		r := raised(err)
		reason := r.Reason
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

// answer replies where nobody has, though the process may have ended meanwhile; the log hears of a reply that is lost.
func (c *Call) answer(v any) {
	err := c.Reply(c.n.ctx, v)
	switch {
	case err == nil || errors.Is(err, ErrReplied):
	case errors.Is(err, errUnencodable): // the caller hears of it
		c.n.log.Warn("a server's reply is no term", "to", c.From, "error", err)
	default:
		c.n.log.Debug("reply lost", "to", c.From, "error", err)
	}
}
