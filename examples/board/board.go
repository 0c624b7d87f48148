package main

import (
	"context"
	"errors"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A board is a registered process. Its functions run one at a time, so it needs no lock.
type board struct {
	posts       int
	subscribers map[ei.Pid]ei.Ref // with the monitor of each
}

func newBoard() *board { return &board{subscribers: map[ei.Pid]ei.Ref{}} }

// setup registers the board. In a process that takes over, the board gets what state gave in the
// previous one, and to all others it is still the same process: its pid, its links and monitors,
// and the unread messages in its mailbox are still there.
func (b *board) setup(n *nodes.Node) error {
	if blob, ok := n.Inherited(); ok {
		if err := b.restore(blob); err != nil {
			return err
		}
	}
	_, err := n.Serve("board", nodes.Server{Call: b.call, Cast: b.cast, Info: b.info}, nil)
	return err
}

func (b *board) call(ctx context.Context, c *nodes.Call) (any, error) {
	self := nodes.MailboxOf(ctx)
	switch request := c.Request.(type) {
	case ei.Atom:
		if request == "subscribers" {
			return len(b.subscribers), nil
		}
	case ei.Tuple:
		if len(request) != 2 {
			break
		}
		pid, ok := request[1].(ei.Pid)
		if !ok {
			break
		}
		ref, subscribed := b.subscribers[pid]
		switch request[0] {
		case ei.Atom("subscribe"):
			if subscribed {
				return ei.Atom("ok"), nil
			}
			// so that a subscriber that ends, or whose node goes down, is forgotten
			ref, err := self.Monitor(ctx, pid)
			if err != nil {
				return nil, err
			}
			b.subscribers[pid] = ref
			return ei.Atom("ok"), nil
		case ei.Atom("unsubscribe"):
			if subscribed {
				self.Demonitor(ctx, ref)
				delete(b.subscribers, pid)
			}
			return ei.Atom("ok"), nil
		}
	}
	return nil, errors.New("want {subscribe, Pid}, {unsubscribe, Pid} or subscribers")
}

func (b *board) cast(ctx context.Context, request ei.Term) {
	post, ok := request.(ei.Tuple)
	if !ok || len(post) != 2 || post[0] != ei.Atom("post") {
		return
	}
	b.posts++
	for pid := range b.subscribers {
		// An error says that the subscriber's node is gone, which is reported to info.
		_ = nodes.MailboxOf(ctx).Send(ctx, pid, ei.Tuple{ei.Atom("board"), ei.Int(b.posts), post[1]})
	}
}

func (b *board) info(_ context.Context, _ *nodes.Mailbox, m *nodes.Message) {
	if m.Op != dist.OpMonitorPExit {
		return
	}
	for pid, ref := range b.subscribers {
		if ref == m.Ref {
			delete(b.subscribers, pid)
		}
	}
}

// state is what the next process needs to know, in a form of the program's choice: here a term,
// {Posts, [{Pid, Monitor}]}.
func (b *board) state() ([]byte, error) {
	list := ei.List{}
	for pid, ref := range b.subscribers {
		list = append(list, ei.Tuple{pid, ref})
	}
	return ei.Marshal(ei.Tuple{ei.Int(b.posts), list})
}

func (b *board) restore(blob []byte) error {
	t, err := ei.Decode(blob)
	if err != nil {
		return err
	}
	wrong := errors.New("the state of another program")
	state, ok := t.(ei.Tuple)
	if !ok || len(state) != 2 {
		return wrong
	}
	posts, ok := state[0].(ei.Int)
	list, ok2 := ei.Elements(state[1])
	if !ok || !ok2 {
		return wrong
	}
	b.posts = int(posts)
	for _, t := range list {
		one, ok := t.(ei.Tuple)
		if !ok || len(one) != 2 {
			return wrong
		}
		pid, ok := one[0].(ei.Pid)
		ref, ok2 := one[1].(ei.Ref)
		if !ok || !ok2 {
			return wrong
		}
		b.subscribers[pid] = ref
	}
	return nil
}
