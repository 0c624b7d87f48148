//go:build unix

package nodes

import (
	"context"
	"os"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/rawpeer"
)

// setUpWitness registers a process that answers {From, Question} with {Question, Process}, and
// {From, greet, I, N} with {Process, Pid}, followed by N greetings for peer I.
func setUpWitness(n *Node) error {
	_, err := n.Handle("witness", func(self *Mailbox, m *Message) {
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
			_ = rawpeer.Greet(context.Background(), c, int(said[2].(ei.Int)), int(said[3].(ei.Int)))
		}
	}, nil)
	return err
}
