package nodes

import (
	"context"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// Answers to a third node: a peer has passed on a request of a process there, or says so. What such a process gets must not make its node end
// the connection with this one, and no wait for its node may hold up this one, whatever the peer made up.

// maxStrangers is how many answers wait at once for connections to nodes that are not connected. Further answers are dropped.
const maxStrangers = 64

// strangers counts the answers that wait for a connection, which may take Config.HandshakeTimeout for each name that a peer makes up. (In
// OTP, too, only the message waits, and not the process that sends it.)
type strangers struct{ count atomic.Int32 }

// sayThird sends an answer over the connection to the third node.
type sayThird func(ctx context.Context, c *Conn, answer ei.Raw) error

// answerThird sends an answer to a process of a third node by say: now, or, unless prompt, once there is a connection.
func (n *Node) answerThird(ctx context.Context, to ei.Pid, prompt bool, answer ei.Term, say sayThird) error {
	payload, err := ei.AppendTerm(nil, answer)
	if err != nil {
		return err
	}
	conn := n.Conn(string(to.Node))
	switch {
	case conn == nil && !prompt:
		return n.answerStranger(to, payload, say)
	case conn == nil:
		return ErrNoConnection
	case prompt && conn.isFull(): // the request of one peer must not end another one's connection
		return transport.ErrQueueFull
	}
	return conn.answerThird(ctx, payload, say)
}

func (n *Node) answerStranger(to ei.Pid, payload ei.Raw, say sayThird) error {
	if n.strangers.count.Add(1) > maxStrangers {
		n.strangers.count.Add(-1)
		return ErrNoConnection
	}
	n.goroutines.Run(func() {
		defer n.strangers.count.Add(-1)
		conn, err := n.connection(n.ctx, string(to.Node))
		if err == nil {
			err = conn.answerThird(n.ctx, payload, say)
		}
		if err != nil {
			n.log.Debug("answer lost", "to", to, "error", err)
		}
	})
	return nil
}

func (c *Conn) answerThird(ctx context.Context, payload ei.Raw, say sayThird) error {
	payload, err := acceptable(payload, c.peer.Flags.Has(dist.FlagNativeRecords))
	if err != nil {
		return err
	}
	return say(ctx, c, payload)
}

// acceptable gives a term in a form that any runtime system accepts; records: even one with native records.
func acceptable(raw ei.Raw, records bool) (ei.Raw, error) {
	t, err := raw.DecodeWith(&ei.DecodeOptions{Strict: true, Records: records, Alias: true})
	if err != nil {
		return nil, err
	}
	return ei.AppendTerm(nil, t)
}
