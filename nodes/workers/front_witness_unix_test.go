//go:build unix

package workers

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// What a witness sends to fill a peer's window: more than narrow windows hold, which is up to 150
// KB.
const (
	greetings     = 32
	greetingBytes = 8 << 10
	narrowWindow  = 32 << 10
)

// setUpWitness registers a process that answers {From, Question} with {Question, Process}, and
// {From, greet, I, N} with {Process, Pid}, followed by N greetings for peer I.
func setUpWitness(n *nodes.Node) error {
	_, err := n.Handle("witness", func(self *nodes.Mailbox, m *nodes.Message) {
		t, err := m.Term()
		said, ok := t.(ei.Tuple)
		if err != nil || !ok {
			return
		}
		from := said[0].(ei.Pid)
		if len(said) == 2 {
			_ = self.Send(context.Background(), from, ei.Tuple{said[1], ei.Int(os.Getpid())})
			return
		}
		_ = self.Send(context.Background(), from, ei.Tuple{ei.Int(os.Getpid()), self.Pid()})
		if c := n.Conn(string(from.Node)); c != nil {
			_ = greet(context.Background(), c, int(said[2].(ei.Int)), int(said[3].(ei.Int)))
		}
	}, nil)
	return err
}

// greet sends count greetings to a peer over a narrowed stream, so that the peer's window fills.
func greet(ctx context.Context, c *nodes.Conn, peer, count int) error {
	if err := narrow(c.Stream(), unix.SO_SNDBUF); err != nil {
		return err
	}
	for k := range count {
		if err := c.SendName(ctx, "sink", ei.Tuple{ei.Int(k), greetingOf(peer, k)}); err != nil {
			return err
		}
	}
	return nil
}

// narrow gives a stream a small buffer.
func narrow(s *transport.Stream, buffer int) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, buffer, narrowWindow) })
	return errors.Join(e, err)
}

func greetingOf(peer, k int) ei.Binary {
	b := make(ei.Binary, greetingBytes)
	for i := range b {
		b[i] = byte(i + k + peer)
	}
	return b
}
