package nodes

import (
	"github.com/cnode-go/cnode/ei"
)

// A hook takes the messages of one of the node's own processes, on the goroutine that brings them,
// a connection's reader for instance: so it does not wait.
type hook func(self *Mailbox, m *Message)

// register makes a process under a name, if there is one. h may be nil.
func (n *Node) register(name string, h hook, o *MailboxOptions, edit ...func(b *Mailbox)) (*Mailbox, error) {
	b, err := n.newMailbox(h, o, edit...)
	if err != nil {
		return nil, err
	}
	if name != "" {
		if err := n.Register(name, b); err != nil {
			b.Close()
			return nil, err
		}
	}
	return b, nil
}

// callHook gives a message to the hook, unless the process is held, or the node drains.
func (b *Mailbox) callHook(m *Message) fate {
	if b.ended() {
		return refused
	}
	if !b.n.procs.busy(m.conn == nil) { // the node drains
		b.refuse(m)
		return refused
	}
	defer b.n.procs.running.Leave()
	// looked at after entering the tally, for which a freeze waits once it has set this
	if b.held.Load() {
		return notYet
	}
	b.hook(b, m)
	return delivered
}

// exitBy is Exit because of something that has come over a connection. It may run on the reader's
// goroutine, so it does not wait for other nodes.
func (b *Mailbox) exitBy(reason ei.Term) { b.depart(b.end(reason), scope{}) }
