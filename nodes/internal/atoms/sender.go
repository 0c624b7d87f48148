// Package atoms sends messages with references to the atoms that the peer has in its cache. A BEAM
// looks up every other atom by its text, which takes it most of its time with messages of many.
//
// See erl_ext_dist, "Distribution Header".
package atoms

import (
	"context"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/transport"
)

// most is the size, in bytes, up to which a payload is searched for atoms: it is copied for that.
const most = 16 << 10

// A Sender keeps what the peer of one connection has in its cache. Its methods are safe for
// concurrent use.
type Sender struct {
	turn  chan struct{}       // taken from the making of a header until it is in the queue
	sent  *protocol.SentAtoms // made with the first header that names atoms
	packs *sync.Pool          // of *pack
}

// A Pool has the buffers of all Senders of a node.
type Pool struct{ packs sync.Pool }

// A pack is a message on its way into a header and a body with references.
type pack struct {
	refs       protocol.AtomRefs
	head, body []byte
}

// NewSender makes a Sender for a connection on which no header has named atoms yet.
func (p *Pool) NewSender() *Sender {
	return &Sender{turn: make(chan struct{}, 1), packs: &p.packs}
}

// MayHave tells whether it is worth a look whether a term has atoms.
func MayHave(payload ei.Raw) bool {
	if len(payload) < 2 || len(payload) > most {
		return false
	}
	switch ei.Tag(payload[0]) {
	case ei.TagSmallTupleExt, ei.TagLargeTupleExt, ei.TagListExt, ei.TagMapExt:
		return true
	}
	return ei.Tag(payload[0]).IsAtom()
}

// Send posts a message with references in place of its atoms: control and payload are encoded
// terms. It is not posted if there are no atoms. Headers are posted in the order in which they are
// made, so Send waits for its turn: when ctx ends before, the error is ctx's; under
// transport.NoWait it is not posted. Any other error is post's. sound tells whether the payload is
// one term.
func (s *Sender) Send(
	ctx context.Context, control []byte, payload ei.Raw, post func(head, body []byte) error,
) (posted, sound bool, err error) {
	p, ok := s.packs.Get().(*pack)
	if !ok {
		p = new(pack)
	}
	defer s.packs.Put(p)
	p.refs.Reset()
	if p.body, err = p.refs.Pack(p.body[:0], control); err == nil {
		p.body, err = p.refs.Pack(p.body, payload)
	}
	sound = err == nil && len(p.body)+p.refs.Saved() == len(control)+len(payload)
	if err != nil || p.refs.Len() == 0 { // what is no term goes out as it is
		return false, sound, nil
	}
	select {
	case s.turn <- struct{}{}:
	default:
		if transport.IsNoWait(ctx) {
			return false, sound, nil
		}
		select {
		case s.turn <- struct{}{}:
		case <-ctx.Done():
			return true, sound, ctx.Err()
		}
	}
	defer func() { <-s.turn }()
	if s.sent == nil {
		s.sent = new(protocol.SentAtoms)
	}
	if p.head, err = s.sent.AppendFrameHead(p.head[:0], &p.refs, len(p.body)); err == nil {
		err = post(p.head, p.body)
	}
	if err != nil { // the peer may not get to know the atoms: they are sent anew
		*s.sent = protocol.SentAtoms{}
	}
	return true, sound, err
}
