package protocol

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// FragmentHeadSize is how many bytes of a fragment come before its piece of the message: 131, the
// kind, the sequence id and the fragment's number.
const FragmentHeadSize = 2 + 8 + 8

const (
	trustedPayload = 4 << 10  // bytes of memory for a message of which little has come
	fastGrowth     = 32       // times what has come is room for a message, while others take less …
	fewIncomplete  = 32 << 20 // … than these bytes; else twice
	sequenceCost   = 512      // bytes of memory that an incomplete message takes besides its parts
	// up to so many bytes a field of the control message of an incomplete message is whole, even for
	// LeaveRefs: those of Erlang nodes take less
	smallFields = 4 << 10
	// room before a payload, in bytes, so that a large one with few atoms is made whole where it is
	roomForAtoms = 2 << 10
)

// An Incomplete is a message of which fragments are still to come.
type Incomplete struct {
	Sequence  uint64       // its id
	Next      uint64       // the number of the fragment that is due: 1 is the last
	Discarded bool         // nobody wants it: what comes of it is dropped, and it never becomes complete
	Control   dist.Control // nothing, if it is discarded
	Refs      []ei.Atom    // as in Arrival
	Payload   ei.Raw       // what has come of it
}

// A sequence is an incomplete message in a Reader.
type sequence struct {
	Incomplete
	memory []byte // of Payload, which begins at roomForAtoms
	cost   int    // its part of Reader.held
}

// fragmentHead reads the ids of a fragment.
func fragmentHead(frame []byte) (sequence, fragment uint64, err error) {
	if len(frame) < FragmentHeadSize {
		return 0, 0, fmt.Errorf("%w: %d bytes", dist.ErrFrame, len(frame))
	}
	return binary.BigEndian.Uint64(frame[2:]), binary.BigEndian.Uint64(frame[10:]), nil
}

// first reads the first fragment of a message. It has all of the control message.
func (r *Reader) first(frame []byte, ctl *dist.Control, a *Arrival) error {
	id, number, err := fragmentHead(frame)
	if err != nil {
		return err
	}
	a.Sequence = id
	payload, refs, err := r.headed(frame, FragmentHeadSize, ctl)
	unknown := errors.Is(err, dist.ErrUnknownOp)
	if err != nil && !unknown {
		return err
	}
	s := &sequence{Incomplete: Incomplete{Sequence: id, Next: number - 1, Discarded: unknown}}
	fault := func(reason error) error { return &FragmentError{Sequence: id, Fragment: number, Err: reason} }
	switch {
	case r.open[id] != nil, number == 0:
		return fault(ErrFragmentOrder)
	case number == 1:
		if !unknown && ctl.Op.HasPayload() == (len(payload) == 0) {
			return fmt.Errorf("%w: no payload behind %v", dist.ErrFrame, ctl.Op)
		}
		a.Complete, a.Payload, a.Refs = !unknown, payload, refs
		return err
	case unknown:
		if broken := r.begin(s); broken != nil {
			return broken
		}
		return err
	case !ctl.Op.HasPayload():
		return fmt.Errorf("%w: %d fragments of %v, which has no payload", dist.ErrFrame, number, ctl.Op)
	}
	s.Control, s.Refs = *ctl, slices.Clone(refs)
	_ = wholeFields(&s.Control, refs, min(smallFields, r.limits.Message)) // larger ones are still for WholeFields
	for _, raw := range rawFields(&s.Control) {
		*raw = slices.Clone(*raw)
	}
	if err := r.begin(s); err != nil {
		return err
	}
	return r.take(s, payload)
}

// Place gives the place for the n bytes of a frame that come behind head, its first
// FragmentHeadSize bytes: the end of the message that they are a piece of. nil: there is none, the
// frame is to be read with ReadFrame. The frame has come when ReadPlaced is called; until then the
// Reader is as before.
func (r *Reader) Place(head []byte, n int) []byte {
	if kind, err := classify(head, r.flags); err != nil || kind != KindNextFragment {
		return nil
	}
	id, number, err := fragmentHead(head)
	if err != nil {
		return nil
	}
	s, err := r.due(id, number)
	if err != nil || s.Discarded || n > cap(s.Payload)-len(s.Payload) || len(s.Payload)+n > r.limits.Message {
		return nil
	}
	return s.Payload[len(s.Payload):][:n:n]
}

// ReadPlaced is ReadFrame for a frame of which all behind head is where Place has said.
func (r *Reader) ReadPlaced(head, placed []byte, ctl *dist.Control) (Arrival, error) {
	a := Arrival{Kind: KindNextFragment}
	if err := r.next(head, placed, ctl, &a); err != nil {
		return Arrival{Kind: a.Kind, Sequence: a.Sequence}, &dist.FrameError{Kind: a.Kind.String(), Err: err}
	}
	return a, nil
}

// due is the message of which this fragment is the next.
func (r *Reader) due(id, number uint64) (*sequence, error) {
	s := r.open[id]
	switch {
	case s == nil:
		return nil, &FragmentError{Sequence: id, Fragment: number, Err: ErrFragmentOrder}
	case number != s.Next:
		return nil, &FragmentError{Sequence: id, Fragment: number, Want: s.Next, Err: ErrFragmentOrder}
	}
	return s, nil
}

// next reads a further fragment.
func (r *Reader) next(head, piece []byte, ctl *dist.Control, a *Arrival) error {
	id, number, err := fragmentHead(head)
	if err != nil {
		return err
	}
	a.Sequence = id
	s, err := r.due(id, number)
	if err != nil {
		return err
	}
	s.Next--
	if err := r.take(s, piece); err != nil || s.Next > 0 {
		return err
	}
	r.end(s)
	if s.Discarded {
		return nil
	}
	if len(s.Payload) == 0 {
		return fmt.Errorf("%w: no payload behind %v", dist.ErrFrame, s.Control.Op)
	}
	*ctl = s.Control
	a.Complete, a.Payload, a.Refs = true, s.Payload, s.Refs
	a.Memory = s.memory
	return nil
}

// begin makes s one of the incomplete messages.
func (r *Reader) begin(s *sequence) error {
	fault := func(reason error, limit int) error {
		return &FragmentError{Sequence: s.Sequence, Fragment: s.Next + 1, Limit: limit, Err: reason}
	}
	switch {
	case r.open[s.Sequence] != nil, s.Next == 0:
		return fault(ErrFragmentOrder, 0)
	case len(r.open) >= r.limits.Sequences:
		return fault(ErrTooManySequences, r.limits.Sequences)
	}
	s.cost = sequenceCost
	for _, a := range s.Refs {
		s.cost += 16 + len(a)
	}
	s.cost += cap(s.Control.Token) + cap(s.Control.Options)
	if r.held += s.cost; r.held > r.limits.Incomplete {
		r.held -= s.cost
		return fault(dist.ErrTooMuchIncomplete, r.limits.Incomplete)
	}
	r.open[s.Sequence] = s
	return nil
}

// take adds a piece to the payload of s. It makes room for what is still to come, as far as the
// peer is trusted.
func (r *Reader) take(s *sequence, piece []byte) error {
	if s.Discarded {
		return nil
	}
	fault := func(reason error, limit int) error {
		return &FragmentError{Sequence: s.Sequence, Fragment: s.Next + 1, Limit: limit, Err: reason}
	}
	n := len(s.Payload) + len(piece)
	if n > r.limits.Message {
		return fault(ErrMessageTooLong, r.limits.Message)
	}
	if n > cap(s.Payload) {
		room := n // what it becomes if all other pieces are like this one
		if size := uint64(max(len(piece), 1)); s.Next > uint64(r.limits.Message)/size {
			room = r.limits.Message
		} else {
			room += int(s.Next * size)
		}
		trusted := max(2*n, trustedPayload)
		if r.held-s.cost < fewIncomplete { // what is not written to is not there yet, and a copy would be
			trusted = max(trusted, fastGrowth*n)
		}
		buf := r.alloc(roomForAtoms + min(room, r.limits.Message, trusted))
		more := cap(buf) - cap(s.memory)
		if r.held+more > r.limits.Incomplete {
			return fault(dist.ErrTooMuchIncomplete, r.limits.Incomplete)
		}
		r.held, s.cost = r.held+more, s.cost+more
		s.memory, s.Payload = buf, append(buf[roomForAtoms:roomForAtoms], s.Payload...)
	}
	at := len(s.Payload)
	s.Payload = s.Payload[:n]
	copy(s.Payload[at:], piece) // nothing, if the piece is there already: see Place
	return nil
}

// end takes s out of the incomplete messages.
func (r *Reader) end(s *sequence) {
	delete(r.open, s.Sequence)
	r.held -= s.cost
}

// Discard gives back the memory of an incomplete message that nobody wants, one whose receiver has
// ended, say: its further fragments are read, and dropped. It is false if there is no such message.
func (r *Reader) Discard(id uint64) bool {
	s := r.open[id]
	if s == nil || s.Discarded {
		return false
	}
	r.held -= s.cost - sequenceCost
	*s = sequence{Incomplete: Incomplete{Sequence: s.Sequence, Next: s.Next, Discarded: true}, cost: sequenceCost}
	return true
}

// Begun gives the incomplete message with that id: what its first fragment has said, and what has
// come of it. It shares the Reader's memory until the next frame is read. A proxy decides by the
// control message before the rest is there.
func (r *Reader) Begun(id uint64) (m Incomplete, ok bool) {
	s := r.open[id]
	if s == nil {
		return Incomplete{}, false
	}
	return s.Incomplete, true
}

// Open gives the number of incomplete messages.
func (r *Reader) Open() int { return len(r.open) }

// Held gives the memory that incomplete messages take, in bytes.
func (r *Reader) Held() int { return r.held }

// Incomplete gives the incomplete messages, in the order of their ids. They share the Reader's
// memory.
func (r *Reader) Incomplete() iter.Seq[Incomplete] {
	return func(yield func(Incomplete) bool) {
		all := make([]*sequence, 0, len(r.open))
		for _, s := range r.open {
			all = append(all, s)
		}
		slices.SortFunc(all, func(a, b *sequence) int { return cmp.Compare(a.Sequence, b.Sequence) })
		for _, s := range all {
			if !yield(s.Incomplete) {
				return
			}
		}
	}
}
