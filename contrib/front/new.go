package front

import (
	"context"
	"errors"

	"github.com/cnode-go/cnode/transport/handoff"
)

// New makes a Keeper; nil options are the default. errors.ErrUnsupported on systems other than
// Linux.
func New(o *Options) (*Keeper, error) {
	if !supported {
		return nil, failed("keep sessions", nil, errors.ErrUnsupported)
	}
	k := &Keeper{sessions: map[uint64]*session{}, beginning: map[*beginning]struct{}{}, pumps: map[*pump]struct{}{},
		doors: map[*door]struct{}{}, names: map[string]*name{}, lookAgain: lookAgain}
	if o != nil {
		k.o = *o
	}
	if k.o.Dial != nil && k.o.Dial.Allow == nil {
		return nil, failed("keep sessions", nil, errors.New("Options.Dial has no Allow, which says where connections may go"))
	}
	k.o = k.o.complete()
	k.kicked, k.kick = context.WithCancel(context.Background())
	k.offer = handoff.Offer{Terms: handoff.Terms{What: terms}, Count: k.descriptors, Freeze: k.freeze}
	return k, nil
}
