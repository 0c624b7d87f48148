package protocol

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// Limits bound what a Reader takes of a peer. A zero field stands for the default.
type Limits struct {
	// Message is the largest payload, in bytes: one that comes in fragments, and one in its whole
	// form. Default 128 MiB.
	Message int
	// Sequences is how many messages may be incomplete at a time. An Erlang node has at most one for
	// each process that sends. Default 65,536.
	Sequences int
	// Incomplete is what incomplete messages may take together, in bytes of memory. Default 1 GiB.
	Incomplete int
}

// The defaults of Limits.
const (
	defaultMessage    = 128 << 20
	defaultSequences  = 1 << 16
	defaultIncomplete = 1 << 30
)

func (l Limits) filled() Limits {
	fill := func(v *int, with int) {
		if *v <= 0 {
			*v = with
		}
	}
	fill(&l.Message, defaultMessage)
	fill(&l.Sequences, defaultSequences)
	fill(&l.Incomplete, defaultIncomplete)
	return l
}

// A Reader reads the frames that a peer sends after the handshake, one after the other and none
// left out: it keeps the peer's atom cache, and the messages of which fragments are still to come.
// It is not safe for concurrent use.
type Reader struct {
	flags  dist.Flags
	limits Limits
	atoms  *ei.AtomTable
	leaves bool // references in fields of control messages

	cache atomCache
	open  map[uint64]*sequence
	held  int // bytes of memory that open takes
	alloc func(n int) []byte
}

// NewReader gives a Reader for a connection that has just been made. flags are the negotiated ones.
// atoms may be nil, see ParseControl; it is used for the atoms of headers, too.
func NewReader(flags dist.Flags, limits Limits, atoms *ei.AtomTable) *Reader {
	alloc := func(n int) []byte { return make([]byte, n) }
	return &Reader{flags: flags, limits: limits.filled(), atoms: atoms, open: map[uint64]*sequence{}, alloc: alloc}
}

// SetAlloc makes the Reader take memory for messages in fragments from alloc: n bytes, of any
// contents. It comes back as Arrival.Memory.
func (r *Reader) SetAlloc(alloc func(n int) []byte) { r.alloc = alloc }

// LeaveRefs makes the Reader leave references in the Raw fields of control messages, too, until
// Arrival.WholeFields is called: for a caller that first looks whether anybody wants a message,
// which may take several hundred times the memory when it is whole. Restore what is Incomplete in a
// Reader that does the same.
func (r *Reader) LeaveRefs() { r.leaves = true }

// An Arrival is what a frame has brought.
type Arrival struct {
	Kind FrameKind
	// Complete: there is a control message now. A tick brings none, nor does a fragment before the
	// last.
	Complete bool
	// Payload is a term without version byte, unchecked; nil if the operation has none. Bytes after
	// the term are to be ignored.
	Payload ei.Raw
	// Refs are what the ATOM_CACHE_REFs in Payload stand for (ei.Cursor.CacheRefs): valid until the
	// next frame is read, if Memory is nil. Payload holds none if Refs is empty. See Whole. After
	// LeaveRefs they are also those of the control message.
	Refs []ei.Atom
	// Memory: Payload came in fragments, and this is its memory, the caller's from now on; nil: it is
	// part of the frame.
	Memory []byte
	// Sequence is the id of the message that a fragment belongs to.
	Sequence uint64
}

// ReadFrame reads a frame, its bytes after the 4-byte length; ctl is undefined unless the message
// is complete. What ctl and the Arrival hold may be part of the frame. Raw fields of ctl are in
// their whole form (but see LeaveRefs), only Arrival.Payload is not. atoms of ctl are allocated
// only if they are not in the cache.
//
// Errors are *FrameError, or *ControlError with offsets counted in frame, and after all but one the
// connection cannot be used. That one wraps ErrUnknownOp: the next frame can be read all the same,
// and further fragments of that message are dropped.
func (r *Reader) ReadFrame(frame []byte, ctl *dist.Control) (Arrival, error) {
	kind, err := classify(frame, r.flags)
	a := Arrival{Kind: kind}
	switch {
	case err != nil:
	case kind == KindPassThrough:
		a.Payload, err = passedThrough(frame, r.atoms, ctl)
		a.Complete = true
	case kind == KindHeader:
		a.Payload, a.Refs, err = r.headed(frame, 2, ctl)
		if a.Complete = err == nil; a.Complete && ctl.Op.HasPayload() == (len(a.Payload) == 0) {
			err = fmt.Errorf("%w: no payload behind %v", dist.ErrFrame, ctl.Op)
		}
	case kind == KindFirstFragment:
		err = r.first(frame, ctl, &a)
	case kind == KindNextFragment:
		var piece []byte
		if len(frame) > FragmentHeadSize {
			piece = frame[FragmentHeadSize:]
		}
		err = r.next(frame, piece, ctl, &a)
	}
	if err == nil {
		return a, nil
	}
	var control *dist.ControlError
	var located *dist.FrameError
	if !errors.As(err, &control) && !errors.As(err, &located) {
		err = &dist.FrameError{Kind: kind.String(), Err: err}
	}
	return Arrival{Kind: kind, Sequence: a.Sequence}, err
}

// headed reads the atoms named from at on and the control message. It gives what follows, if the
// operation has a payload.
func (r *Reader) headed(frame []byte, at int, ctl *dist.Control) (ei.Raw, []ei.Atom, error) {
	if at < len(frame) && frame[at] > 0 && !r.flags.Has(dist.FlagDistHdrAtomCache) {
		return nil, nil, fmt.Errorf("%w: its header names %d atoms", ErrNotNegotiated, frame[at])
	}
	refs, size, err := r.cache.readRefs(frame[at:], r.atoms)
	if err != nil {
		return nil, nil, err
	}
	at += size
	c := ei.NewCursor(frame[at:])
	c.Atoms, c.CacheRefs = r.atoms, refs
	if err := ParseControl(&c, ctl); err != nil {
		var located *dist.ControlError
		if errors.As(err, &located) {
			located.Offset += at // the cursor began after the header
		}
		return nil, refs, err
	}
	if !r.leaves {
		if err := wholeFields(ctl, refs, r.limits.Message); err != nil {
			return nil, nil, err
		}
	}
	if !ctl.Op.HasPayload() {
		return nil, refs, nil
	}
	return ei.Raw(c.Rest()), refs, nil
}

// WholeFields replaces the references in the Raw fields of the control message that came with a, as
// LeaveRefs has left them. If one of them would take more than max bytes, the error wraps
// ei.ErrLimit.
func (a *Arrival) WholeFields(ctl *dist.Control, max int) error { return wholeFields(ctl, a.Refs, max) }

// rawFields are the encoded fields, of which few operations have one.
func rawFields(ctl *dist.Control) [4]*ei.Raw {
	return [...]*ei.Raw{&ctl.Reason, &ctl.Token, &ctl.Options, &ctl.Result}
}

func wholeFields(ctl *dist.Control, refs []ei.Atom, limit int) error {
	if len(refs) == 0 {
		return nil
	}
	for _, raw := range rawFields(ctl) {
		if has, err := raw.HasCacheRefs(); err != nil || !has {
			continue // well-formed, as it has been read
		}
		size, _, err := raw.ResolvedSize(refs, limit)
		var whole []byte
		if err == nil {
			whole, err = raw.AppendResolved(make([]byte, 0, size), refs, limit)
		}
		if err != nil {
			return fmt.Errorf("%w: control message %v: %w", dist.ErrFrame, ctl.Op, err)
		}
		*raw = whole
	}
	return nil
}

// Whole gives Payload in the form that needs no Refs: Payload itself, unchecked, if there is no
// reference in it, else without bytes after the term. Then it is in b, from its start on, which
// grows as needed; or, of a message that came in fragments, most often in the memory in which
// Payload was, which is then lost. Errors are those of ei.Raw.AppendResolved: a malformed term, or
// more than max bytes.
func (a *Arrival) Whole(b []byte, max int) (ei.Raw, error) {
	if has, err := a.HasRefs(); err != nil || !has {
		return a.Payload, err
	}
	return a.Resolve(b, max)
}

// HasRefs tells whether there is a reference in Payload. A malformed term is ei's error, but one
// behind a header of no atoms is not looked at.
func (a *Arrival) HasRefs() (bool, error) {
	if len(a.Refs) == 0 {
		return false, nil
	}
	return a.Payload.HasCacheRefs()
}

// Resolve is Whole for a Payload that HasRefs.
func (a *Arrival) Resolve(b []byte, max int) (ei.Raw, error) {
	if len(a.Payload) <= exactPayload {
		return a.Payload.AppendResolved(slices.Grow(b[:0], len(a.Payload)*3/2), a.Refs, max)
	}
	size, grows, err := a.Payload.ResolvedSize(a.Refs, max)
	if err != nil {
		return nil, err
	}
	if at := roomForAtoms - grows; a.Memory != nil && at >= 0 {
		b = a.Memory[at:]
	} else {
		b = slices.Grow(b[:0], size)
	}
	return a.Payload.AppendResolved(b[:0], a.Refs, max)
}

// exactPayload is the size, in bytes, of payloads that take more memory than they need rather than
// being measured.
const exactPayload = 16 << 10

// Cached gives the atoms of the peer's cache, each with its place: what a Reader elsewhere needs to
// go on (Restore).
func (r *Reader) Cached() iter.Seq2[int, ei.Atom] { return r.cache.all() }

// Restore makes a new Reader continue for one from which cached and incomplete were taken (Cached,
// Incomplete). A place outside the cache, or what a peer could not have sent under these limits, is
// an error. Payloads are copied.
func (r *Reader) Restore(cached iter.Seq2[int, ei.Atom], incomplete iter.Seq[Incomplete]) error {
	for i, a := range cached {
		if i < 0 || i >= cacheSize {
			return &dist.FrameError{Err: fmt.Errorf("%w: %d is no place in the cache", ErrHeader, i)}
		}
		r.cache.put(i, a)
	}
	for m := range incomplete {
		s := &sequence{Incomplete: m}
		s.Payload = nil
		err := r.begin(s)
		if err == nil {
			err = r.take(s, m.Payload)
		}
		if err != nil {
			return &dist.FrameError{Kind: KindFirstFragment.String(), Err: err}
		}
	}
	return nil
}
