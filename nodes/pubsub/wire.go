package pubsub

import (
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
)

// What replicas say to each other, of Phoenix.Tracker.Shard. Whatever comes from a peer is read
// here, and may be anything.

// A kind says what a message of a replica is.
type kind ei.Atom

const (
	heartbeat        kind = "heartbeat"    // {pub, heartbeat, Replica, empty | Delta, {Replica, Clocks}}
	transferReq      kind = "transfer_req" // {pub, transfer_req, Ref, Replica, {Replica, Clocks}}
	transferAck      kind = "transfer_ack" // {pub, transfer_ack, Ref, Replica, Delta | {State, Values}}
	gracefulPermdown kind = "graceful_permdown"
)

// A saying is a message of a replica.
type saying struct {
	kind   kind
	from   replica
	delta  *delta    // nil: none
	clocks contextOf // of a heartbeat
}

// errSaying: a message that no replica sends.
var errSaying = errors.New("not a message of Phoenix.Tracker")

// maxClock bounds clocks: each is a join or a leave, so there are no more.
const maxClock = 1 << 62

// parseSaying reads a message. Nothing in the result shares its memory.
func parseSaying(raw ei.Raw) (*saying, error) {
	c := ei.NewCursor(raw)
	n, err := c.Tuple()
	if err != nil || n < 3 || !c.AtomIs("pub") {
		return nil, errSaying
	}
	what, err := c.Atom()
	s := &saying{kind: kind(what)}
	switch {
	case err != nil:
		return nil, errSaying
	case s.kind == gracefulPermdown && n == 3:
		err = c.Unmarshal(&s.from)
	case s.kind == heartbeat && n == 5:
		err = s.readHeartbeat(&c)
	case s.kind == transferAck && n == 5:
		if err = c.Skip(); err == nil {
			err = s.readAck(&c)
		}
	case s.kind == transferReq && n == 5: // only who sends heartbeats is asked
	default:
		return nil, errSaying
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errSaying, what, err)
	}
	return s, nil
}

// presencePrefix begins the topics of the shards.
const presencePrefix = "phx_presence:"

// errNotItself: a node says something in the name of another one.
var errNotItself = errors.New("it speaks for a replica of another node")

// speaksFor tells whether a message is one of a replica of a node, or of none.
func speaksFor(raw ei.Raw, node string) bool {
	c := ei.NewCursor(raw)
	if n, err := c.Tuple(); err != nil || n < 3 || !c.AtomIs("pub") {
		return true
	}
	what, err := c.Atom()
	if err == nil && (kind(what) == transferAck || kind(what) == transferReq) {
		err = c.Skip()
	}
	var from replica
	return err != nil || c.Unmarshal(&from) != nil || string(from.Node) == node
}

func (s *saying) readHeartbeat(c *ei.Cursor) (err error) {
	if err = c.Unmarshal(&s.from); err != nil {
		return err
	}
	if !c.AtomIs("empty") {
		if s.delta, err = readDelta(c); err != nil {
			return err
		}
	}
	var at struct {
		_       struct{} `ei:"tuple"`
		Replica replica
		Clocks  map[replica]uint64
	}
	err = c.Unmarshal(&at)
	s.clocks = at.Clocks
	return err
}

func (s *saying) readAck(c *ei.Cursor) (err error) {
	if err = c.Unmarshal(&s.from); err != nil {
		return err
	}
	s.delta, err = readDelta(c)
	return err
}

// A wireState is %Phoenix.Tracker.State{}, as far as others need it.
type wireState struct {
	_       struct{} `ei:"struct=Elixir.Phoenix.Tracker.State"`
	Mode    ei.Atom
	Context map[replica]uint64
	Clouds  map[replica]elixir.MapSet[tag]
	Values  ei.Raw
}

// A wireValue is what the values of a state have for each tag.
type wireValue struct {
	_     struct{} `ei:"tuple"`
	Pid   ei.Pid
	Topic string
	Key   ei.Raw
	Meta  ei.Raw
}

// readDelta reads a delta, or a state and its values.
func readDelta(c *ei.Cursor) (*delta, error) {
	var state wireState
	if n, err := c.Tuple(); err == nil {
		if n != 2 {
			return nil, errSaying
		}
		if err = c.Unmarshal(&state); err == nil {
			state.Values, err = c.Raw()
		}
		if err != nil {
			return nil, err
		}
	} else if err := c.Unmarshal(&state); err != nil {
		return nil, err
	}
	var values map[tag]wireValue
	if err := state.Values.Unmarshal(&values); err != nil {
		return nil, err
	}
	d := &delta{context: state.Context, clouds: make(map[replica]cloud, len(state.Clouds))}
	for _, clock := range d.context {
		if clock > maxClock {
			return nil, ei.ErrRange
		}
	}
	for r, tags := range state.Clouds {
		d.clouds[r] = make(cloud, len(tags.Members))
		for t := range tags.Members {
			if t.Replica != r || t.Clock == 0 || t.Clock > maxClock {
				return nil, ei.ErrRange
			}
			d.clouds[r][t.Clock] = struct{}{}
		}
	}
	for t, v := range values {
		if t.Clock == 0 || t.Clock > maxClock {
			return nil, ei.ErrRange
		}
		d.values = append(d.values, &entry{id{v.Topic, v.Pid, string(v.Key)}, v.Meta, t})
	}
	return d, nil
}

// request asks a replica for what it knows beyond clocks, in the name of me.
func request(ref ei.Ref, me replica, clocks contextOf) any {
	type at struct {
		_       struct{} `ei:"tuple"`
		Replica replica
		Clocks  map[replica]uint64
	}
	return struct {
		_    struct{} `ei:"tuple=pub"`
		What ei.Atom
		Ref  ei.Ref
		From replica
		At   at
	}{What: ei.Atom(transferReq), Ref: ref, From: me, At: at{Replica: me, Clocks: clocks}}
}

// The message of a PubSub to the processes of its pool: {forward_to_local, Topic, Message,
// Dispatcher}.

// appendForward encodes it.
func appendForward(topic string, message any, dispatcher ei.Atom) (ei.Raw, error) {
	b := ei.AppendTupleHeader(nil, 4)
	b, err := ei.AppendAtom(b, "forward_to_local")
	if err == nil {
		b, err = ei.Append(ei.AppendBinary(b, []byte(topic)), message)
	}
	if err == nil {
		b, err = ei.AppendAtom(b, dispatcher)
	}
	return b, err
}

// parseForward reads it. Both results share the memory of raw. The subscribers here are plain
// processes, which every dispatcher gives the message as it is.
func parseForward(raw ei.Raw) (topic []byte, message ei.Raw, ok bool) {
	c := ei.NewCursor(raw)
	if n, err := c.Tuple(); err != nil || n != 4 || !c.AtomIs("forward_to_local") {
		return nil, nil, false
	}
	topic, err := c.Binary()
	if err == nil {
		message, err = c.Raw()
	}
	if err == nil {
		_, err = c.Atom()
	}
	return topic, message, err == nil
}
