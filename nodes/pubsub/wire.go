package pubsub

import (
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
	"github.com/cnode-go/cnode/nodes/internal/otp"
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
	clocks contextOf // of a heartbeat, or a request
	ref    ei.Ref    // of a request, and of its answer
}

// errSaying: a message that no replica sends.
var errSaying = errors.New("not a message of Phoenix.Tracker")

// errImpossible: what is tracked is passed on to other nodes, and not each would take that.
var errImpossible = errors.New("an entry that not every node would take")

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
		if err = c.Skip(); err == nil { // the reference of the request
			err = s.readAck(&c)
		}
	case s.kind == transferReq && n == 5:
		err = s.readRequest(&c)
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

// speaksFor tells whether a message on a shard's topic is one of a replica of a node.
func speaksFor(raw ei.Raw, node string) bool {
	c := ei.NewCursor(raw)
	if n, err := c.Tuple(); err != nil || n < 3 || !c.AtomIs("pub") {
		return false
	}
	what, err := c.Atom()
	if err == nil && (kind(what) == transferAck || kind(what) == transferReq) {
		err = c.Skip()
	}
	var from replica
	return err == nil && c.Unmarshal(&from) == nil && string(from.Node) == node
}

func (s *saying) readHeartbeat(c *ei.Cursor) (err error) {
	if err = c.Unmarshal(&s.from); err != nil {
		return err
	}
	if !c.AtomIs("empty") {
		if s.delta, err = readDelta(c, false); err != nil {
			return err
		}
	}
	return s.readClocks(c)
}

// A clocksOf is what a replica knows.
type clocksOf struct {
	_       struct{} `ei:"tuple"`
	Replica replica
	Clocks  map[replica]uint64
}

func (s *saying) readClocks(c *ei.Cursor) error {
	var at clocksOf
	err := c.Unmarshal(&at)
	s.clocks = at.Clocks
	return err
}

func (s *saying) readRequest(c *ei.Cursor) (err error) {
	if s.ref, err = c.Ref(); err != nil {
		return err
	}
	if err = c.Unmarshal(&s.from); err != nil {
		return err
	}
	return s.readClocks(c)
}

func (s *saying) readAck(c *ei.Cursor) (err error) {
	if err = c.Unmarshal(&s.from); err != nil {
		return err
	}
	s.delta, err = readDelta(c, true)
	return err
}

// A wireState is %Phoenix.Tracker.State{}, as far as others need it.
type wireState struct {
	_       struct{} `ei:"struct=Elixir.Phoenix.Tracker.State"`
	Mode    ei.Atom
	Context ei.Raw // map[replica]uint64
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

// readDelta reads a delta, or a state and its values. Only answers have a context: changes are told
// one by one, and a heartbeat that had one could say in a few bytes that all entries are to be
// looked at.
func readDelta(c *ei.Cursor, isAnswer bool) (*delta, error) {
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
	d := &delta{context: contextOf{}, clouds: make(map[replica]cloud, len(state.Clouds))}
	if isAnswer {
		if err := state.Context.Unmarshal((*map[replica]uint64)(&d.context)); err != nil {
			return nil, err
		}
	}
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
		switch {
		case t.Clock == 0 || t.Clock > maxClock:
			return nil, ei.ErrRange
		case !otp.Possible(v.Pid, v.Pid.Node) || !otp.AcceptableEverywhere(v.Key) || !otp.AcceptableEverywhere(v.Meta):
			return nil, errImpossible
		}
		d.values = append(d.values, &entry{id{v.Topic, v.Pid, string(v.Key)}, v.Meta, t})
	}
	return d, nil
}

// AppendTerm encodes a message as Phoenix.Tracker.Shard does.
func (s *saying) AppendTerm(b []byte) ([]byte, error) {
	what := []any{ei.Atom("pub"), ei.Atom(s.kind)}
	switch at := (clocksOf{Replica: s.from, Clocks: s.clocks}); s.kind {
	case heartbeat:
		var d any = ei.Atom("empty")
		if s.delta != nil {
			d = s.delta
		}
		what = append(what, s.from, d, at)
	case transferReq:
		what = append(what, s.ref, s.from, at)
	case transferAck:
		what = append(what, s.ref, s.from, s.delta)
	default:
		what = append(what, s.from)
	}
	b = ei.AppendTupleHeader(b, len(what))
	var err error
	for _, v := range what {
		if b, err = ei.Append(b, v); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// A wholeState is %Phoenix.Tracker.State{} as others take it.
type wholeState struct {
	_        struct{} `ei:"struct=Elixir.Phoenix.Tracker.State"`
	Replica  replica
	Context  map[replica]uint64
	Clouds   map[replica]elixir.MapSet[tag]
	Values   any
	Pids     ei.Atom
	Mode     ei.Atom
	Delta    ei.Atom
	Replicas map[replica]ei.Atom
	Range    clockRange
}

// A clockRange says which changes a delta has: those after From, up to To.
type clockRange struct {
	_        struct{} `ei:"tuple"`
	From, To map[replica]uint64
}

// AppendTerm encodes a delta, or a state and its values.
func (d *delta) AppendTerm(b []byte) ([]byte, error) {
	values := make(map[tag]wireValue, len(d.values))
	for _, e := range d.values {
		values[e.tag] = wireValue{Pid: e.pid, Topic: e.topic, Key: ei.Raw(e.key), Meta: e.meta}
	}
	clouds := make(map[replica]elixir.MapSet[tag], len(d.clouds))
	for r, clocks := range d.clouds {
		set := elixir.MapSet[tag]{Members: make(map[tag]elixir.Member, len(clocks))}
		for c := range clocks {
			set.Add(tag{Replica: r, Clock: c})
		}
		clouds[r] = set
	}
	state := wholeState{
		Replica: d.of, Context: d.context, Clouds: clouds, Values: values, Pids: "nil", Mode: "delta", Delta: "unset",
		Replicas: map[replica]ei.Atom{}, Range: clockRange{From: map[replica]uint64{}, To: map[replica]uint64{}},
	}
	if !d.isState {
		state.Range.From[d.of], state.Range.To[d.of] = d.from, d.to
		return ei.Append(b, state)
	}
	state.Mode, state.Values = "normal", ei.Atom("nil")
	for r := range d.context {
		state.Replicas[r] = "up"
	}
	b, err := ei.Append(ei.AppendTupleHeader(b, 2), state)
	if err != nil {
		return nil, err
	}
	return ei.Append(b, values)
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
