package capture

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
)

// The kinds of events.
const (
	KindName      = "name"      // Text is the name of the node at From
	KindHandshake = "handshake" // before nodes are connected
	KindMessage   = "message"
	KindFragment  = "fragment" // of a message, but the last one
	KindTick      = "tick"
	KindEnd       = "end"   // From ends the connection
	KindFault     = "fault" // what From has sent cannot be read, from here on
	KindNote      = "note"  // no part of a capture: what somebody says about it
)

// An Event is something that one end of a connection has sent to the other. The ends are addresses.
type Event struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Kind  string `json:"kind"`
	Text  string `json:"text"`
	Bytes int    `json:"bytes"` // on the connection
}

const (
	maxPayload = 16 << 20 // of a message that is shown
	maxText    = 2000     // of what is shown of one
)

// A talk is a connection. Side 0 has connected, side 1 accepted.
type talk struct {
	give      func(Event)
	ways      [2]way
	connected bool
	strange   bool // another protocol than the distribution
	ended     bool
}

type way struct {
	at      string
	next    uint32            // the number of the next byte
	early   map[uint32][]byte // what came before its turn, by the number of its first byte
	buf     []byte
	flags   dist.Flags
	reader  *protocol.Reader
	replied bool // the last of its handshake: what follows means something after the other end's ack
	failed  bool
}

func newTalk(give func(Event), from, to string, next uint32) *talk {
	return &talk{give: give, ways: [2]way{{at: from, next: next, early: map[uint32][]byte{}}, {at: to, early: map[uint32][]byte{}}}}
}

func (t *talk) say(side int, kind, text string, bytes int) {
	if r := []rune(text); len(r) > maxText {
		text = string(r[:maxText]) + "…"
	}
	t.give(Event{t.ways[side].at, t.ways[1-side].at, kind, text, bytes})
}

func (t *talk) end(side int, reset bool) {
	if t.ended || t.strange {
		return
	}
	t.ended = true
	text := "closes the connection"
	if reset {
		text = "resets the connection"
	}
	t.say(side, KindEnd, text, 0)
}

// read takes whole packets off what has come from a side.
func (t *talk) read(side int) {
	w := &t.ways[side]
	for !w.failed && !t.strange && (t.connected || !w.replied) {
		length := 2
		if t.connected {
			length = 4
		}
		if len(w.buf) < length {
			return
		}
		n := uint64(binary.BigEndian.Uint16(w.buf))
		if t.connected {
			n = uint64(binary.BigEndian.Uint32(w.buf))
		}
		if uint64(len(w.buf)-length) < n {
			return
		}
		end := length + int(n)
		p := append([]byte(nil), w.buf[length:end]...) // parts of it are kept
		w.buf = w.buf[end:]
		var kind, text string
		var err error
		if t.connected {
			kind, text, err = t.frame(w, p)
		} else {
			kind = KindHandshake
			text, err = t.handshake(side, p)
		}
		if err != nil {
			kind, text = KindFault, err.Error()
			w.failed = !errors.Is(err, dist.ErrUnknownOp)
		}
		if !t.strange {
			t.say(side, kind, text, end)
		}
	}
}

// handshake reads a message before the nodes are connected: see erl_dist_protocol, "Distribution
// Handshake".
func (t *talk) handshake(side int, p []byte) (string, error) {
	w := &t.ways[side]
	tag := byte(0)
	if len(p) > 0 {
		tag = p[0]
	}
	switch {
	case side == 0 && (tag == 'n' || tag == 'N'):
		m, err := protocol.ParseName(p)
		if err != nil {
			return "", err
		}
		w.flags = m.Flags
		t.say(side, KindName, m.Name, 0)
		return fmt.Sprintf("name %s, version %d, creation %d, %d flags", m.Name, m.Version, m.Creation, len(m.Flags.Names())), nil
	case side == 0 && w.flags == 0:
		t.strange = true
		return "", nil
	case tag == 's':
		m, err := protocol.ParseStatus(p)
		if err == nil && m.Name != "" {
			t.say(1-side, KindName, m.Name, 0)
		}
		return fmt.Sprintf("status %s %s", m.Status, m.Name), err
	case side == 1 && (tag == 'n' || tag == 'N'):
		m, err := protocol.ParseChallenge(p)
		if err != nil {
			return "", err
		}
		w.flags = m.Flags
		t.say(side, KindName, m.Name, 0)
		return fmt.Sprintf("challenge of %s, creation %d, %d flags", m.Name, m.Creation, len(m.Flags.Names())), nil
	case side == 0 && tag == 'c':
		m, err := protocol.ParseComplement(p)
		w.flags |= m.Flags
		return fmt.Sprintf("complement: creation %d", m.Creation), err
	case side == 0 && tag == 'r':
		m, err := protocol.ParseReply(p)
		w.replied = true
		return fmt.Sprintf("reply: digest %x…, and a challenge", m.Digest[:4]), err
	case side == 1 && tag == 'a':
		digest, err := protocol.ParseAck(p)
		t.connected = true
		flags := t.ways[0].flags.Negotiate(t.ways[1].flags)
		for i := range t.ways {
			t.ways[i].reader = protocol.NewReader(flags, protocol.Limits{Message: maxPayload}, nil)
		}
		return fmt.Sprintf("ack: digest %x…", digest[:4]), err
	}
	return "", fmt.Errorf("no message of a handshake: %.20x", p)
}

// frame reads what a connected node has sent.
func (t *talk) frame(w *way, p []byte) (kind, text string, err error) {
	if len(p) == 0 {
		return KindTick, "tick", nil
	}
	var ctl dist.Control
	a, err := w.reader.ReadFrame(p, &ctl)
	if err != nil {
		return "", "", err
	}
	if !a.Complete {
		return KindFragment, fmt.Sprintf("%v of message %d", a.Kind, a.Sequence), nil
	}
	text = control(&ctl)
	if a.Payload == nil {
		return KindMessage, text, nil
	}
	payload, err := a.Whole(nil, maxPayload)
	if err == nil {
		text += " " + shown(payload)
	}
	return KindMessage, text, err
}

// control says what a control message has, in the order in which one reads it.
func control(ctl *dist.Control) string {
	text := ctl.Op.String()
	add := func(name string, t ei.Term) { text += " " + name + " " + string(ei.AppendText(nil, t)) }
	if ctl.From != (ei.Pid{}) {
		add("from", ctl.From)
	}
	if ctl.FromName != "" {
		add("from", ctl.FromName)
	}
	if ctl.To != (ei.Pid{}) {
		add("to", ctl.To)
	}
	if ctl.ToName != "" {
		add("to", ctl.ToName)
	}
	if ctl.Module != "" {
		text += fmt.Sprintf(" %s/%d", string(ei.AppendText(nil, ctl.Module))+":"+string(ei.AppendText(nil, ctl.Function)), ctl.Arity)
	}
	for _, part := range []struct {
		name string
		raw  ei.Raw
	}{{"reason", ctl.Reason}, {"result", ctl.Result}} {
		if part.raw != nil {
			text += " " + part.name + " " + shown(part.raw)
		}
	}
	return text
}

func shown(raw ei.Raw) string {
	t, err := raw.Decode()
	if err != nil {
		return "(" + err.Error() + ")"
	}
	return string(ei.AppendText(nil, t))
}
