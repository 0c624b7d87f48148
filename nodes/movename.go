package nodes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/move"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A movablePublication is a Publication that can go on in another process. Any other one is left as
// it is when its node moves, and made anew by the Publisher there.
type movablePublication interface {
	Publication
	// freeze stops the publication, within ctx; if that fails the publication goes on.
	freeze(ctx context.Context) (handoff.Frozen, error)
}

// A stagingPublisher is a Publisher that can go on with a movablePublication of its kind from
// another process.
type stagingPublisher interface {
	Publisher
	// stage makes a publication that does nothing yet. It owns the descriptors from the call on: if
	// it fails it closes them.
	stage(p Registration, state []byte, descriptors []int) (stagedPublication, error)
}

// A stagedPublication goes on with Start, or is given up with Discard; until Start it sends
// nothing.
type stagedPublication interface {
	// Start makes the publication go on in this process.
	Start() Publication
	// Discard gives the publication up.
	Discard() error
}

// entryState is the state of a mapperEntry, as JSON: unknown fields are skipped.
type entryState struct {
	Registration int // the version of the form: 1
	Keeper       []byte
	Held         int    // how many descriptors, the first ones, are the Keeper's
	Server       []byte // of the embedded port mapper; empty: none
}

// freeze stops the Keeper and the embedded port mapper.
func (r *mapperEntry) freeze(ctx context.Context) (handoff.Frozen, error) {
	keeper, err := r.keeper.Freeze(ctx)
	if err != nil {
		return nil, err
	}
	s := entryState{Registration: 1, Keeper: keeper.State(), Held: len(keeper.Descriptors())}
	f := &move.Frozen{FDs: keeper.Descriptors(), GoOn: keeper.Thaw, GiveUp: keeper.Release}
	r.mu.Lock()
	server := r.server
	r.mu.Unlock()
	var mapper handoff.Frozen
	if server != nil {
		mapper, err = server.Freeze(ctx)
	}
	switch {
	case errors.Is(err, epmd.ErrServerClosed): // a kill command has ended it
		err = nil
	case mapper != nil:
		s.Server, f.FDs = mapper.State(), append(f.FDs, mapper.Descriptors()...)
		f.GoOn = func() { mapper.Thaw(); keeper.Thaw() }
		f.GiveUp = func() error {
			err := errors.Join(keeper.Release(), mapper.Release())
			<-r.served
			return err
		}
	}
	if err == nil {
		f.Bytes, err = json.Marshal(s)
	}
	if err != nil {
		f.Thaw()
		return nil, err
	}
	return f, nil
}

// A stagedEntry is a mapperEntry from another process that is about to go on in this one.
type stagedEntry struct {
	r      *mapperEntry
	keeper *epmd.StagedKeeper
	server *epmd.StagedServer
	mapper *epmd.Server
}

// stage stages a registration that another process has frozen, and the port mapper that was
// embedded there, if any.
func (p *PortMapper) stage(who Registration, state []byte, descriptors []int) (stagedPublication, error) {
	var s entryState
	err := json.Unmarshal(state, &s)
	if err == nil && (s.Registration != 1 || s.Held < 0 || s.Held > len(descriptors) || len(s.Server) == 0 && s.Held < len(descriptors)) {
		err = fmt.Errorf("%w: registration of version %d with %d descriptors", ErrState, s.Registration, len(descriptors))
	}
	if err != nil {
		return nil, errors.Join(err, descriptor.Own(descriptors).Close())
	}
	g := &stagedEntry{r: &mapperEntry{}}
	if g.keeper, err = p.Client.Stage(s.Keeper, descriptors[:s.Held], p.keep(g.r, who)); err != nil {
		return nil, errors.Join(err, descriptor.Own(descriptors[s.Held:]).Close())
	}
	if len(s.Server) > 0 {
		g.mapper = &epmd.Server{Logger: who.Logger}
		if g.server, err = g.mapper.Stage(s.Server, descriptors[s.Held:]); err != nil {
			return nil, errors.Join(err, g.keeper.Discard())
		}
	}
	return g, nil
}

func (g *stagedEntry) Start() Publication {
	if g.server != nil {
		g.r.serve(g.mapper, g.server.Start())
	}
	g.r.keeper = g.keeper.Start()
	return g.r
}

func (g *stagedEntry) Discard() error {
	err := g.keeper.Discard()
	if g.server != nil {
		err = errors.Join(err, g.server.Discard())
	}
	return err
}
