package nodes

import (
	"context"
	"log/slog"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// What is said once a connection: faults of a peer that the connection survives, and what keeps it from being read.
const (
	faultTerm   uint32 = 1 << iota // a term that cannot be decoded
	faultOp                        // a control message that is not known
	faultSpawn                     // a spawn request with an option that is not known
	faultFrom                      // a signal in the name of another node's process
	faultFunc                      // not the peer's: an exception in what it called, of which it wants to hear nothing
	faultAnswer                    // what a signal of its asks for cannot be said
	fullMailbox                    // there is no room for the peer's messages
)

// complain logs one of these. The first one of its kind on a connection is a warning; those behind it show at the level Debug
// only, so that no peer fills the log.
func (c *Conn) complain(fault uint32, text string, err error) {
	level := slog.LevelWarn
	if c.faults.Or(fault)&fault != 0 {
		level = slog.LevelDebug
	}
	c.n.log.Log(context.Background(), level, text, "peer", c.peer.Name, "error", err)
}

// mishap logs an error in a function of the application: peers, and strangers, may provoke any number of them.
func (n *Node) mishap(text string, args ...any) {
	n.mishaps.Log(n.log, slog.LevelError, text, args...)
}

// undecodable logs that a term, which the upper level was to understand, cannot be decoded. c is nil for a term of this node.
func (n *Node) undecodable(c *Conn, what string, err error) {
	if c == nil {
		n.log.Warn("undecodable "+what, "peer", "", "error", err)
		return
	}
	c.complain(faultTerm, "undecodable "+what, err)
}

// unwanted logs that nobody wants a message: for debugging, unless its term is malformed.
func (n *Node) unwanted(b *Mailbox, m *Message) {
	if err := wellFormed(m.Payload); err != nil {
		n.undecodable(m.conn, "message", err)
		return
	}
	if m.conn != nil {
		n.log.Debug("message that nobody wants", "peer", m.conn.peer.Name, "to", b.pid, "op", m.Op)
	}
}

// recipientOf is whom a message is for, as a person would say it.
func recipientOf(m *Message) string {
	switch {
	case m.ToName != "":
		return m.ToName.String()
	case m.Op == dist.OpAliasSend:
		return m.Ref.String()
	}
	return m.To.String()
}

// wellFormed tells what is wrong with an encoded term; nil also where there is none.
func wellFormed(raw ei.Raw) error {
	if len(raw) == 0 {
		return nil
	}
	_, err := firstTerm(raw)
	return err
}
