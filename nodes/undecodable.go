package nodes

import (
	"context"
	"log/slog"

	"github.com/cnode-go/cnode/ei"
)

// undecodable logs that a term of a peer's, which the upper level was to understand, cannot be decoded. The first one of a connection is a
// warning; those behind it show at the level Debug only, so that no peer fills the log. c is nil for a term of this node.
func (n *Node) undecodable(c *Conn, what string, err error) {
	level, peer := slog.LevelWarn, ""
	if c != nil {
		peer = c.peer.Name
		if c.garbled.Swap(true) {
			level = slog.LevelDebug
		}
	}
	n.log.Log(context.Background(), level, "undecodable "+what, "peer", peer, "error", err)
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

// wellFormed tells what is wrong with an encoded term; nil also where there is none.
func wellFormed(raw ei.Raw) error {
	if len(raw) == 0 {
		return nil
	}
	c := ei.NewCursor(raw)
	if err := c.Skip(); err != nil {
		return err
	}
	if c.Len() > 0 {
		return &ei.SyntaxError{Offset: c.Offset(), Err: ei.ErrTrailing}
	}
	return nil
}
