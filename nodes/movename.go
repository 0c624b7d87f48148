package nodes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A MovablePublication is a Publication that can go on in another process. Any other Publication is
// left as it is when its node moves, and made anew by the Publisher there.
type MovablePublication interface {
	Publication
	// Freeze stops the publication, within ctx; if that fails the publication goes on.
	Freeze(ctx context.Context) (handoff.Frozen, error)
}

// A StagingPublisher is a Publisher that can go on with a MovablePublication of its kind from
// another process.
type StagingPublisher interface {
	Publisher
	// Stage makes a publication that does nothing yet. It owns the descriptors from the call on: if
	// it fails it closes them.
	Stage(p Registration, state []byte, descriptors []int) (StagedPublication, error)
}

// A StagedPublication goes on with Start, or is given up with Discard; until Start it sends
// nothing.
type StagedPublication interface {
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

// A frozenEntry is a name at a port mapper and, if that is embedded, the port mapper itself.
type frozenEntry struct {
	r      *mapperEntry
	keeper *epmd.FrozenKeeper
	server *epmd.FrozenServer
	state  []byte
	fds    []int
}

// Freeze stops the Keeper and the embedded port mapper.
func (r *mapperEntry) Freeze(ctx context.Context) (_ handoff.Frozen, err error) {
	f := &frozenEntry{r: r}
	if f.keeper, err = r.keeper.Freeze(ctx); err != nil {
		return nil, err
	}
	s := entryState{Registration: 1, Keeper: f.keeper.State(), Held: len(f.keeper.Descriptors())}
	f.fds = f.keeper.Descriptors()
	r.mu.Lock()
	server := r.server
	r.mu.Unlock()
	if server != nil {
		f.server, err = server.Freeze(ctx)
		switch {
		case errors.Is(err, epmd.ErrServerClosed): // a kill command has ended it
			err = nil
		case err == nil:
			s.Server = f.server.State()
			f.fds = append(f.fds[:len(f.fds):len(f.fds)], f.server.Descriptors()...)
		}
	}
	if err == nil {
		f.state, err = json.Marshal(s)
	}
	if err != nil {
		f.Thaw()
		return nil, err
	}
	return f, nil
}

func (f *frozenEntry) State() []byte      { return f.state }
func (f *frozenEntry) Descriptors() []int { return f.fds }

func (f *frozenEntry) Thaw() {
	if f.server != nil {
		f.server.Thaw()
	}
	f.keeper.Thaw()
}

func (f *frozenEntry) Release() error {
	err := f.keeper.Release()
	if f.server != nil {
		err = errors.Join(err, f.server.Release())
		<-f.r.served
	}
	return err
}

// A stagedEntry is a mapperEntry from another process that is about to go on in this one.
type stagedEntry struct {
	r      *mapperEntry
	keeper *epmd.StagedKeeper
	server *epmd.StagedServer
	mapper *epmd.Server
}

// Stage stages a registration that another process has frozen, and the port mapper that was
// embedded there, if any.
func (p *PortMapper) Stage(who Registration, state []byte, descriptors []int) (StagedPublication, error) {
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
