package pubsub

import (
	"cmp"
	"context"
	"iter"
	"strings"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/behalf"
	"github.com/cnode-go/cnode/nodes/internal/kept"
)

// Messages yields the messages on a topic that a T can be, as ei.Unmarshal stores them; it drops
// others, as nodes.Messages does. Subscribed from the call on, it is so until the loop ends, or ctx
// does, or the PubSub, by Close or with the node: none of that is an error. What goes wrong is one,
// in the last pair: a loop that lags behind by more than Options.Limit ends with an
// *nodes.ExitError, reason mailbox_full, and what it has not got by then is lost. The result is for
// one loop; another one gets nodes.ErrClosed.
func Messages[T any](ctx context.Context, ps *PubSub, topic string) iter.Seq2[T, error] {
	b, err := ps.n.NewMailbox(&nodes.MailboxOptions{Limit: ps.opts.Limit, Full: nodes.FullExit})
	if err == nil {
		if err = ps.subscribe(b, topic); err != nil {
			b.Close()
		}
	}
	if err != nil {
		return func(yield func(T, error) bool) { yield(*new(T), &nodes.Error{Op: "subscribe to " + topic, Err: err}) }
	}
	end := func() {
		ps.unsubscribe(b, topic)
		b.Close()
	}
	withPubSub := context.AfterFunc(ps.ctx, end)
	isFirst := context.AfterFunc(ctx, end) // the loop may never begin
	return func(yield func(T, error) bool) {
		if !isFirst() {
			if ctx.Err() == nil {
				yield(*new(T), &nodes.Error{Op: "receive on " + topic, Err: nodes.ErrClosed})
			}
			return
		}
		defer withPubSub()
		defer end()
		for v, err := range nodes.Messages[T](ctx, b) {
			if !yield(v, err) {
				return
			}
		}
	}
}

// Subscribe sends the messages on a topic to a mailbox, of a Server for example, whose functions
// get them; also several topics to one mailbox, until it ends. At the mailbox's limit its options
// hold. A second subscription to the topic changes nothing. It waits for nothing. It is
// Phoenix.PubSub.subscribe/2.
func (ps *PubSub) Subscribe(b *nodes.Mailbox, topic string) error {
	if err := ps.subscribe(b, topic); err != nil {
		return &nodes.Error{Op: "subscribe to " + topic, Err: err}
	}
	return nil
}

// subscribe makes b a subscriber until it ends.
func (ps *PubSub) subscribe(b *nodes.Mailbox, topic string) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if err := cmp.Or(ps.Err(), b.Err()); err != nil {
		return err
	}
	if ps.subscribers[b] == nil {
		ps.backgroundLocked(func() {
			select {
			case <-b.Done():
				ps.unsubscribeAll(b)
			case <-ps.ctx.Done():
			}
		})
	}
	put(ps.subscribers, b, topic, struct{}{})
	put(ps.topics, topic, b, struct{}{})
	return nil
}

// Unsubscribe ends a subscription; that there is none is no error. What is in the mailbox already
// stays there. The error is that of a PubSub that has ended, as Subscribe's. It waits for nothing.
// It is Phoenix.PubSub.unsubscribe/2.
func (ps *PubSub) Unsubscribe(b *nodes.Mailbox, topic string) error {
	ps.unsubscribe(b, topic)
	if err := ps.Err(); err != nil {
		return &nodes.Error{Op: "unsubscribe from " + topic, Err: err}
	}
	return nil
}

func (ps *PubSub) unsubscribe(b *nodes.Mailbox, topic string) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.subscribers[b], topic)
	drop(ps.topics, topic, b)
}

func (ps *PubSub) unsubscribeAll(b *nodes.Mailbox) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for topic := range ps.subscribers[b] {
		drop(ps.topics, topic, b)
	}
	delete(ps.subscribers, b)
}

// take is what a process of the pool does with a message.
func (ps *PubSub) take(ctx context.Context, self *nodes.Mailbox, m *nodes.Message) {
	defer m.Release()
	topic, message, ok := parseForward(m.Payload)
	if !ok && kept.RefuseCall(self, m) {
		return
	}
	if !ok {
		ps.log.Debug("not a broadcast", "from", m.From, "message", ei.Brief(m.Payload, 100))
		return
	}
	// This node's own processes pass on what they have checked.
	if c := m.Conn(); c != nil && strings.HasPrefix(string(topic), presencePrefix) && !speaksFor(message, c.Name()) {
		ps.log.Debug("presence", "topic", string(topic), "error", errNotItself, "from", c.Name())
		return
	}
	// the peer chooses what subscribers get, who may answer it
	ctx = behalf.With(ctx, m.Conn())
	if m.ToName != "" { // direct_broadcast, to one worker of this node
		for pid := range ps.opts.Scope.Members(m.ToName) {
			if pid != self.Pid() && pid.Node == self.Pid().Node {
				_ = self.Send(ctx, pid, m.Payload)
			}
		}
	}
	for _, b := range ps.subscribersOf(string(topic)) {
		if b.Pid() != m.From { // broadcast_from
			// its own options say what happens when it is full
			_ = self.Send(ctx, b.Pid(), message)
		}
	}
}

func (ps *PubSub) subscribersOf(topic string) []*nodes.Mailbox {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	list := make([]*nodes.Mailbox, 0, len(ps.topics[topic]))
	for b := range ps.topics[topic] {
		list = append(list, b)
	}
	return list
}
