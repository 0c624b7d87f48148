package nodes

import (
	"context"
	"errors"
	"os"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/transport"
)

// Answers to a third node: a peer has passed on a request of a process there, or says so. What such
// a process gets must not make its node end the connection with this one, and no wait for its node
// may hold up this one, whatever the peer made up.

// How many answers wait at once for connections to nodes that are not connected: in all, for one
// peer, and in bytes. Further answers are dropped.
const (
	maxStrangers     = 64
	maxStrangersEach = 16
	maxStrangerBytes = 16 << 20
)

// strangers counts the answers that wait for a connection, which may take Config.HandshakeTimeout
// for each name that a peer makes up, or for the way to another worker. (In OTP, too, only the
// message waits, and not the process that sends it.)
type strangers struct {
	count, bytes atomic.Int64
}

// enter counts an answer that a peer has asked for (nil: a process of this node); false: there is
// no room.
func (s *strangers) enter(by *Conn, bytes int) bool {
	ok := s.count.Add(1) <= maxStrangers
	ok = s.bytes.Add(int64(bytes)) <= maxStrangerBytes && ok
	if by != nil {
		ok = by.strangers.Add(1) <= maxStrangersEach && ok
	}
	if !ok {
		s.leave(by, bytes)
	}
	return ok
}

func (s *strangers) leave(by *Conn, bytes int) {
	s.count.Add(-1)
	s.bytes.Add(int64(-bytes))
	if by != nil {
		by.strangers.Add(-1)
	}
}

// answerThird sends an answer that a peer has asked for to a process of a third node: now, or,
// unless prompt, once there is a connection. A prompt answer does not wait for room either.
func (n *Node) answerThird(ctx context.Context, by *Conn, to otp.Addressee, prompt bool, answer ei.Term) error {
	payload, err := ei.AppendTerm(nil, answer)
	if err != nil {
		return err
	}
	conn := n.Conn(string(to.Pid.Node))
	switch {
	case conn == nil && !prompt:
		return n.answerStranger(by, to, payload)
	case conn == nil:
		return ErrNoConnection
	case prompt:
		ctx = transport.NoWait()
	}
	return conn.answerThird(ctx, to, payload)
}

func (n *Node) answerStranger(by *Conn, to otp.Addressee, payload ei.Raw) error {
	node := to.Pid.Node
	payload, err := otp.Acceptable(payload, node, true)
	if err != nil {
		return err
	}
	return n.answerLater(by, to.Pid, len(payload), func() error {
		conn, err := n.connection(n.ctx, string(node))
		if err == nil {
			err = conn.answerThird(n.ctx, to, payload)
		}
		return err
	})
}

// answerLater sends an answer of that many bytes on a goroutine of its own, if not too many do so
// already.
func (n *Node) answerLater(by *Conn, to ei.Pid, bytes int, send func() error) error {
	if !n.strangers.enter(by, bytes) {
		return ErrNoConnection
	}
	n.goroutines.Run(func() {
		defer n.strangers.leave(by, bytes)
		if err := send(); err != nil {
			n.log.Debug("answer lost", "to", to, "error", err)
		}
	})
	return nil
}

func (c *Conn) answerThird(ctx context.Context, to otp.Addressee, payload ei.Raw) error {
	node := ei.Atom(c.peer.Name)
	if !otp.Possible(to.Pid, node) || !otp.Possible(to.Alias, node) {
		return otp.ErrImpossible
	}
	payload, err := otp.Acceptable(payload, node, c.peer.Flags.Has(dist.FlagNativeRecords))
	if err != nil {
		return err
	}
	ctl, err := c.answerTo(to)
	if err != nil {
		return err
	}
	return c.send(ctx, ctl, payload)
}

// answerWorker sends an answer that a peer has asked for to a process of another worker of this
// node: now, or, unless prompt, once there is a way to it, and room. The peer may have made up the
// worker's number, and news of a number may take a while.
func (n *Node) answerWorker(ctx context.Context, by *Conn, at int, ctl *dist.Control, prompt bool, answer ei.Term) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := ErrNoConnection
	if c := n.router.workerLink(at); c != nil {
		err = c.send(transport.NoWait(), ctl, answer)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	if prompt {
		return err
	}
	payload, err := ei.AppendTerm(nil, answer)
	if err != nil {
		return err
	}
	return n.answerLater(by, ctl.To, len(payload), func() error {
		c, err := n.router.reach(n.ctx, at)
		switch {
		case err != nil:
			return err
		case c == nil: // there is no such worker
			n.stats.undeliverable.Add(1)
			return nil
		}
		return c.sendControl(n.ctx, ctl, payload)
	})
}
