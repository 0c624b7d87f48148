package nodes

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/hush"
	"github.com/cnode-go/cnode/nodes/internal/link"
)

// The kinds of complaint: faults of a peer that the connection survives, and reasons why the peer
// has to wait. Each kind is logged as a warning once per connection.
const (
	faultTerm   = link.FaultAbove << iota // a term that cannot be decoded
	faultOp                               // a control message that is not known
	faultSpawn                            // a spawn request with an option that is not known
	faultFrom                             // a signal in the name of another node's process
	slowCalls                             // its calls wait long for a place of Config.MaxCalls
	fullCalls                             // its calls are refused, because too many of them wait
	faultDenied                           // what Config.Rules refuse it
)

// faults is where a node logs what functions of the application, their callers, and peers do wrong.
type faults struct {
	log     *slog.Logger
	mishaps hush.Hush // errors in functions of the application
	each    hush.Each // what functions and their callers do wrong
}

// mishap logs an error in a function of the application, at a limited rate: peers and strangers may
// provoke any number of them.
func (l *faults) mishap(text string, args ...any) {
	l.mishaps.Log(l.log, slog.LevelError, text, args...)
}

// guarded calls a function of the application's that strangers can reach: a panic in it is an
// error, and the log has its stack.
func (l *faults) guarded(what string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			l.mishap(what+" panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("%s panicked: %v", what, p)
		}
	}()
	return f()
}

// noTerm logs that the result of a function or server of the application cannot be encoded: the
// caller hears of it, too, but may be far away, and the fault is here.
func (l *faults) noTerm(c *Conn, what, name string, err error) {
	l.tell(c, "the result of a "+what+" is no term", what, name, err)
}

// nameOf gives a name of a process, or its pid if it has none.
func (n *Node) nameOf(b *Mailbox) string {
	n.procs.mu.RLock()
	defer n.procs.mu.RUnlock()
	if len(b.names) > 0 {
		return string(b.names[0])
	}
	return b.pid.String()
}

// undecodable logs that a term which the upper level has to understand cannot be decoded. c is nil
// for a term of this node.
func (l *faults) undecodable(c *Conn, what string, err error) {
	if c == nil {
		l.log.Warn("undecodable "+what, "peer", "", "error", err)
		return
	}
	c.l.Complain(faultTerm, "undecodable "+what, err)
}

// nobodyHears logs how a function failed that was called without a wish for its result.
func (l *faults) nobodyHears(c *Conn, function string, err error) {
	l.tell(c, "exception in a function, and nobody to hear of it", "function", function, err)
}

// misused logs that a function was called with what it cannot take.
func (l *faults) misused(c *Conn, function string, err error) {
	l.tell(c, "called with what it cannot take", "function", function, err)
}

// missing logs that a function was called that is not exposed: tools of OTP look in that way which
// functions a node has.
func (l *faults) missing(c *Conn, function, hint string) {
	var more []any
	if hint != "" {
		more = []any{"hint", hint}
	}
	l.note(c, slog.LevelInfo, "called what is not exposed", "function", function, more...)
}

// tell logs a fault in what a peer, or this node if c is nil, and a function, or a server, have
// to do with each other: the first as a warning, and then at most one a minute, with a count.
func (l *faults) tell(c *Conn, text, what, name string, err error) {
	l.note(c, slog.LevelWarn, text, what, name, "error", err)
}

// note is tell at a level, with what there is to say beside it.
func (l *faults) note(c *Conn, level slog.Level, text, what, name string, more ...any) {
	peer := ""
	if c != nil {
		peer = c.Name()
	}
	l.each.Log(l.log, level, text+" "+name+" "+peer, text, append([]any{what, name, "peer", peer}, more...)...)
}

// unwanted logs a message that nobody wants, at the level Debug; if its term is malformed, as
// undecodable does.
func (l *faults) unwanted(b *Mailbox, m *Message) {
	if err := wellFormed(m.Payload); err != nil {
		l.undecodable(m.conn, "message", err)
		return
	}
	if m.conn != nil {
		l.log.Debug("message that nobody wants", "peer", m.conn.Name(), "to", b.pid, "op", m.Op)
	}
}

// wellFormed tells what is wrong with an encoded term; nil if nothing is, or raw is empty.
func wellFormed(raw ei.Raw) error {
	if len(raw) == 0 {
		return nil
	}
	_, err := link.FirstTerm(raw)
	return err
}
