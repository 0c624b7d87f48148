package mapper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/move"
	"github.com/cnode-go/cnode/transport/handoff"
)

// state is that of an Entry, as JSON: unknown fields are skipped.
type state struct {
	Registration int // the version of the form: 1
	Keeper       []byte
	Held         int    // how many descriptors, the first ones, are the Keeper's
	Server       []byte // of the embedded port mapper; empty: none
}

// Freeze stops the registration, and the embedded port mapper, within ctx; if that fails both go
// on.
func (e *Entry) Freeze(ctx context.Context) (handoff.Frozen, error) {
	keeper, err := e.keeper.Freeze(ctx)
	if err != nil {
		return nil, err
	}
	s := state{Registration: 1, Keeper: keeper.State(), Held: len(keeper.Descriptors())}
	f := &move.Frozen{FDs: keeper.Descriptors(), GoOn: keeper.Thaw, GiveUp: keeper.Release}
	e.mu.Lock()
	server := e.server
	e.mu.Unlock()
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
			<-e.served
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

// A Staged is an Entry from another process that is about to go on in this one. It has sent
// nothing.
type Staged struct {
	e      *Entry
	keeper *epmd.StagedKeeper
	server *epmd.StagedServer // nil: no port mapper was embedded there
	mapper *epmd.Server
}

// Stage stages a registration that another process has frozen, and the port mapper that was
// embedded there, if any. It owns the descriptors from the call on: if it fails it closes them.
func (m *Mapper) Stage(raw []byte, descriptors []int) (*Staged, error) {
	var s state
	err := json.Unmarshal(raw, &s)
	if err == nil && (s.Registration != 1 || s.Held < 0 || s.Held > len(descriptors) || len(s.Server) == 0 && s.Held < len(descriptors)) {
		err = fmt.Errorf("%w: registration of version %d with %d descriptors", form.ErrMalformed, s.Registration, len(descriptors))
	}
	if err != nil {
		return nil, errors.Join(err, descriptor.Own(descriptors).Close())
	}
	g := &Staged{e: &Entry{}}
	if g.keeper, err = m.Client.Stage(s.Keeper, descriptors[:s.Held], m.options(g.e)); err != nil {
		return nil, errors.Join(err, descriptor.Own(descriptors[s.Held:]).Close())
	}
	if len(s.Server) > 0 {
		g.mapper = &epmd.Server{Logger: m.Logger}
		if g.server, err = g.mapper.Stage(s.Server, descriptors[s.Held:]); err != nil {
			return nil, errors.Join(err, g.keeper.Discard())
		}
	}
	return g, nil
}

// Start makes the registration go on in this process.
func (g *Staged) Start() *Entry {
	if g.server != nil {
		g.e.serve(g.mapper, g.server.Start())
	}
	g.e.keeper = g.keeper.Start()
	return g.e
}

// Discard gives the registration up.
func (g *Staged) Discard() error {
	err := g.keeper.Discard()
	if g.server != nil {
		err = errors.Join(err, g.server.Discard())
	}
	return err
}
