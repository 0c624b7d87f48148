package genstage

import (
	"errors"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// The messages of stages, as the documentation of GenStage has them under "Message protocol". What
// comes may be anything.

const (
	toProducer ei.Atom = "$gen_producer" // {ToProducer, {Consumer, Tag}, Order}
	toConsumer ei.Atom = "$gen_consumer" // {ToConsumer, {Producer, Tag}, Events | {cancel, Reason}}

	subscribeOrder ei.Atom = "subscribe" // {subscribe, nil | {Tag, Reason}, Options}
	askOrder       ei.Atom = "ask"       // {ask, Demand}
	cancelOrder    ei.Atom = "cancel"    // {cancel, Reason}
	elixirNil      ei.Atom = "nil"
	normal         ei.Atom = "normal"

	// what a producer answers over a subscription that it does not have, or has
	unknownSubscription    ei.Atom = "unknown_subscription"
	duplicatedSubscription ei.Atom = "duplicated_subscription"
	alreadySubscribed      ei.Atom = "already_subscribed"
)

// errNoStage: a message that is none between stages.
var errNoStage = errors.New("not a message of a stage")

// A message is one between stages. Its parts share the memory of what it was read from.
type message struct {
	conn   *nodes.Conn // over which it has come
	from   ei.Pid
	tag    ei.Raw
	what   ei.Atom // of the orders above; "": events
	ask    int64
	reason ei.Raw // of a cancel, or of the subscription that is to be replaced
	old    ei.Raw // the tag of that; nil: none
	opts   ei.Raw
	events ei.Raw
}

// parse reads a message to a producer, or to a consumer.
func parse(raw ei.Raw, to ei.Atom) (m message, err error) {
	c := ei.NewCursor(raw)
	if n, err := c.Tuple(); err != nil || n != 3 || !c.AtomIs(to) {
		return m, errNoStage
	}
	if n, err := c.Tuple(); err != nil || n != 2 {
		return m, errNoStage
	}
	if m.from, err = c.Pid(); err != nil {
		return m, err
	}
	if m.tag, err = c.Raw(); err != nil {
		return m, err
	}
	if tag, err := c.Peek(); to == toConsumer && err == nil && (tag == ei.TagListExt || tag == ei.TagStringExt || tag == ei.TagNilExt) {
		m.events, err = c.Raw()
		return m, err
	}
	n, err := c.Tuple()
	if err != nil {
		return m, err
	}
	switch m.what, err = c.Atom(); {
	case err != nil:
	case m.what == cancelOrder && n == 2:
		m.reason, err = c.Raw()
	case m.what == askOrder && n == 2 && to == toProducer:
		m.ask, err = c.Int()
	case m.what == subscribeOrder && n == 3 && to == toProducer:
		err = m.readSubscribe(&c)
	default:
		err = errNoStage
	}
	return m, err
}

func (m *message) readSubscribe(c *ei.Cursor) (err error) {
	if !c.AtomIs(elixirNil) {
		if n, err := c.Tuple(); err != nil || n != 2 {
			return errNoStage
		}
		if m.old, err = c.Raw(); err != nil {
			return err
		}
		if m.reason, err = c.Raw(); err != nil {
			return err
		}
	}
	m.opts, err = c.Raw()
	return err
}

// hasOption tells whether the options of a subscription, a keyword list, have one of that name.
func (m *message) hasOption(name ei.Atom) bool {
	c := ei.NewCursor(m.opts)
	n, err := c.List()
	for ; err == nil && n > 0; n-- {
		if k, err := c.Tuple(); err != nil || k != 2 {
			return false
		}
		if c.AtomIs(name) {
			return !c.AtomIs(elixirNil)
		}
		for range 2 { // name and value
			if c.Skip() != nil {
				return false
			}
		}
	}
	return false
}

// appendHead appends what messages begin with: {To, {Self, Tag}, …
func appendHead(b []byte, to ei.Atom, self ei.Pid, tag ei.Raw) ([]byte, error) {
	b, err := ei.AppendAtom(ei.AppendTupleHeader(b, 3), to)
	if err == nil {
		b, err = ei.AppendPid(ei.AppendTupleHeader(b, 2), self)
	}
	return append(b, tag...), err
}

// order is a message with a term, or a Go value, behind its head.
func order(to ei.Atom, self ei.Pid, tag ei.Raw, what any) (ei.Raw, error) {
	b, err := appendHead(nil, to, self, tag)
	if err == nil {
		b, err = ei.Append(b, what)
	}
	return b, err
}

// encode makes events terms, one after the other in one piece of memory, for which size is an
// estimate.
func encode[T any](events []T, size int) (list []ei.Raw, bytes int, err error) {
	all := make([]byte, 0, size)
	list = make([]ei.Raw, 0, len(events))
	for i := range events {
		from := len(all)
		if all, err = ei.Append(all, events[i]); err != nil {
			return nil, 0, err
		}
		list = append(list, all[from:len(all):len(all)]) // stays, though all may be moved
	}
	return list, len(all), nil
}

// batchSize is how many bytes of events a message has: in one up to 16 KiB a connection refers to
// the atoms that the peer has (nodes/internal/atoms), and a BEAM looks up all others by their
// texts, for which it takes longer than for all else of an event.
const batchSize = 15 << 10

// batch is how many of the events, at most most, go into one message.
func batch(events []ei.Raw, most int64) int {
	n, size := 0, 0
	for n < len(events) && int64(n) < most && (n == 0 || size+len(events[n]) <= batchSize) {
		size += len(events[n])
		n++
	}
	return n
}

// eventsMessage is the message with events.
func eventsMessage(self ei.Pid, tag ei.Raw, events []ei.Raw) (ei.Raw, error) {
	size := 0
	for _, e := range events {
		size += len(e)
	}
	b, err := appendHead(make([]byte, 0, size+256), toConsumer, self, tag)
	b = ei.AppendListHeader(b, len(events))
	for _, e := range events {
		b = append(b, e...)
	}
	return ei.AppendNil(b), err
}

// acceptable is a term in the form that a node, which need not be the one that has sent it, takes.
func acceptable(raw ei.Raw, node ei.Atom) ei.Raw {
	if ok, err := otp.Acceptable(raw, node, false); err == nil {
		return ok
	}
	return undecodable
}

// undecodable stands for a term that cannot be passed on.
var undecodable, _ = ei.AppendAtom(nil, "undecodable_reason")
