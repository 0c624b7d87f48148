package handoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
)

const (
	// descriptorsAMessage is how many descriptors go in one message: fewer than any system, or a
	// program linked with musl, allows.
	descriptorsAMessage = 200
	// chunkSize is how many bytes of state go in one message. A socket's buffer must have room for
	// the whole message.
	chunkSize = 48 << 10
	// chunkHead bounds the length of the fields before the state's bytes.
	chunkHead = 64
	// longState is the length above which a state goes in a memory file, if the system has memory
	// files.
	longState = 256 << 10
	// packetLimit is the length of the longest message.
	packetLimit = chunkSize + 4<<10
	// defaultMaxState is the longest state that a new owner takes, in bytes.
	defaultMaxState = 1 << 30

	stateName = "cnode/state"
)

// exchange is what both sides of a hand-off share: it exchanges messages with the other end of a
// channel.
type exchange struct {
	ch      *Channel
	side    string
	owns    bool
	reached func(handoffpoint.Point)
	d       Deadlines
}

func (x *exchange) pass(p handoffpoint.Point) {
	if x.reached != nil {
		x.reached(p)
	}
}

// fail makes the error of a step that has failed.
func (x *exchange) fail(step string, err error) error {
	return &Error{Side: x.side, Step: step, Peer: x.ch.peer, Owns: x.owns, Err: err}
}

// refuse tells the other side of a hand-off why it has failed.
func (x *exchange) refuse(err error) {
	var refused *RefusedError
	if errors.As(err, &refused) { // the other side knows
		return
	}
	step := stepHello
	var h *Error
	if errors.As(err, &h) {
		step, err = h.Step, h.Err
	}
	x.deny(step, err)
}

// deny sends a refusal to the other side. It tries once, without waiting, and ignores errors.
func (x *exchange) deny(step string, why error) {
	_, _ = x.ch.conn.TrySend(appendRefusal([]byte{kindRefuse}, step, why))
}

func (x *exchange) send(ctx context.Context, kind byte, body []byte, fds ...int) error {
	if len(body) >= packetLimit {
		return fmt.Errorf("a message of %d bytes, more than %d: %w", 1+len(body), packetLimit, syscall.EMSGSIZE)
	}
	err := fault.Cause(x.ch.conn.send(ctx, nil, []byte{kind}, body, fds))
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		if why := x.lastWord(); why != nil { // the other side may have said why it left
			return why
		}
		return fmt.Errorf("%w: %w", ErrLeft, err)
	}
	return err
}

// lastWord reads on to a refusal that the other side may have sent, and returns nil if there is
// none.
func (x *exchange) lastWord() error {
	set := &FDSet{wary: true}
	defer set.Close()
	ctx, cancel := context.WithTimeout(context.Background(), lastWordLimit)
	defer cancel()
	for {
		_, err := x.receiveAny(ctx, set, MaxDescriptors)
		var refused *RefusedError
		if errors.As(err, &refused) {
			return err
		}
		if err != nil {
			return nil
		}
	}
}

// A packet is a received message: its kind and the bytes behind it.
type packet struct {
	kind byte
	body []byte
}

// receiveAny receives the next message, whatever it is; a refusal is an error.
func (x *exchange) receiveAny(ctx context.Context, set *FDSet, room int) (packet, error) {
	p, err := x.ch.next(ctx, set, room)
	switch {
	case err == io.EOF || errors.Is(err, syscall.ECONNRESET):
		return packet{}, fmt.Errorf("%w: %w", ErrLeft, io.ErrUnexpectedEOF)
	case err != nil:
		return packet{}, fault.Cause(err)
	case len(p) == 0:
		return packet{}, fault.Malformed("an empty message")
	}
	m := packet{p[0], p[1:]}
	if m.kind == kindRefuse {
		return packet{}, parseRefusal(m.body)
	}
	return m, nil
}

// receive receives a message of one kind, without descriptors.
func (x *exchange) receive(ctx context.Context, kind byte) (packet, error) {
	m, err := x.receiveAny(ctx, nil, 0)
	if err == nil && m.kind != kind {
		err = fault.Malformed("message %d, and %d is due", m.kind, kind)
	}
	return m, err
}

// chunks sends p in pieces, at least one. It clears its copies of them, because there may be keys
// in p.
func (x *exchange) chunks(ctx context.Context, kind byte, p []byte, half handoffpoint.Point) error {
	body := make([]byte, 0, min(len(p), chunkSize)+chunkHead)
	defer func() { clear(body[:cap(body)]) }()
	for at := 0; ; {
		part := p[at:min(at+chunkSize, len(p))]
		if err := x.send(ctx, kind, appendChunk(body, at, len(p), part)); err != nil {
			return err
		}
		if at == 0 && len(part) < len(p) {
			x.pass(half)
		}
		if at += len(part); at >= len(p) {
			return nil
		}
	}
}

// gather receives what chunks sends.
func (x *exchange) gather(ctx context.Context, kind byte, limit int, half handoffpoint.Point) ([]byte, error) {
	m, err := x.receive(ctx, kind)
	if err != nil {
		return nil, err
	}
	o, err := parseOffer(m)
	if err != nil {
		return nil, err
	}
	return x.gatherFrom(ctx, o, kind, limit, half)
}

// gatherFrom is gather once the first piece is there. It allocates memory for what has come, not
// for what is announced. The result is the only copy; all others are cleared, because there may be
// keys in it.
func (x *exchange) gatherFrom(
	ctx context.Context, first offerMessage, kind byte, limit int, half handoffpoint.Point,
) (p []byte, err error) {
	if first.total > limit {
		return nil, fmt.Errorf("%w: %d bytes announced, of %d that are taken", ErrLimit, first.total, limit)
	}
	defer func() {
		if err != nil {
			clear(p)
			p = nil
		}
	}()
	for o := first; ; {
		switch {
		case o.total != first.total || o.first != len(p) || len(o.data) > o.total-len(p):
			return p, fault.Malformed("a piece of %d bytes at %d of %d, where %d of %d are there", len(o.data), o.first, o.total,
				len(p), first.total)
		case len(o.data) == 0 && o.total > 0:
			return p, fault.Malformed("a piece of the state without a byte")
		}
		p = appendOnly(p, o.data, first.total)
		clear(o.data)
		if len(p) == first.total {
			return p, nil
		}
		if o.first == 0 {
			x.pass(half)
		}
		m, err := x.receive(ctx, kind)
		if err == nil {
			o, err = parseOffer(m)
		}
		if err != nil {
			return p, err
		}
	}
}

// appendOnly appends data to p, which becomes no longer than most bytes, and clears the old array
// when p moves to a larger one.
func appendOnly(p, data []byte, most int) []byte {
	if n := len(p) + len(data); n > cap(p) {
		bigger := make([]byte, len(p), min(max(n, 2*cap(p)), most))
		copy(bigger, p)
		clear(p)
		p = bigger
	}
	return append(p, data...)
}
