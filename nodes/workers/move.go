package workers

import (
	"context"
	"errors"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/transport/handoff"
)

const (
	// moveLimit bounds each step of the move in which the worker's peers wait: less than the 5 s of
	// most callers.
	moveLimit = 4 * time.Second
)

// give hands the worker over to the process at the other end of a channel, and tells the front if
// that has failed.
func (w *Worker) give(fd int, id uint64) {
	file := descriptor.File(fd)
	ch, err := handoff.FileChannel(file)
	if err != nil {
		w.stayed(id, errors.Join(err, file.Close()))
		return
	}
	defer ch.Close()
	o := &handoff.Offer{
		Terms:     handoff.Terms{What: w.n.Name(), Require: []string{states.FeatureWorker}, Know: []string{states.FeatureWorker}},
		Plugins:   w.n.Plugins,
		Freeze:    w.freeze,
		Deadlines: moveDeadlines(w.n.Setting().DrainTimeout + moveLimit),
	}
	h, err := o.Give(handoffpoint.With(context.Background(), w.reached), ch)
	switch {
	case !h.Moved:
		w.stayed(id, err)
	case err != nil:
		w.n.Log.Warn("worker handed over, with trouble", "silence", h.Silence, "error", err)
	default:
		w.n.Log.Info("worker handed over", "silence", h.Silence)
	}
}

// moveDeadlines are the deadlines of a worker's move, on either side.
func moveDeadlines(freeze time.Duration) handoff.Deadlines {
	const d = moveLimit
	return handoff.Deadlines{Hello: d, Static: d, Freeze: freeze, Offer: d, Stage: d, Take: d, Goodbye: d}
}

func (w *Worker) stayed(id uint64, err error) {
	w.n.Log.Warn("worker not handed over", "error", err)
	w.p.line.Say(&talk.Stayed{Move: id, Why: err.Error()})
}

// A workerEstate is a worker that is frozen.
type workerEstate struct {
	*nodes.Frozen
	w     *Worker
	state []byte
	table *descriptor.Table
	moves map[inside.Claim]bool // the claims of the connections that move
}

// freeze stops the worker. The front sends it no sessions meanwhile.
func (w *Worker) freeze(ctx context.Context) (handoff.Frozen, error) {
	f, err := w.n.Still(ctx)
	if err != nil {
		return nil, err
	}
	e := &workerEstate{Frozen: f, w: w, table: w.n.TableOf(f), moves: w.n.ClaimsOf(f)}
	if err := e.snapshot(ctx); err != nil {
		f.Thaw()
		return nil, err
	}
	return e, nil
}

// snapshot writes the state of the frozen worker. The descriptors are in the table in the order of
// the state.
func (e *workerEstate) snapshot(ctx context.Context) (err error) {
	p := e.w.p
	s := states.Worker{Node: e.Frozen.State(), Descriptors: len(e.table.FDs), Part: p.id}
	if s.Line, err = e.table.AddOf(p.line.Descriptor); err != nil {
		return err
	}
	if p.nameTable != nil {
		s.NameTable = states.At(e.table.Add(p.nameTable.Descriptor()))
	}
	if s.Work, err = p.remoteLinks.Describe(e.table); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ways.mu.Lock()
	defer p.ways.mu.Unlock()
	if err := e.snapshotMessages(&s); err != nil {
		return err
	}
	p.snapshotKnown(&s)
	e.snapshotOver(&s)
	e.state, err = form.Write(ctx.Err, states.KindWorker, &s)
	return err
}

// snapshotMessages puts into the state what the worker has to say to the front, has heard for
// later, and has asked; the locks of p are held.
func (e *workerEstate) snapshotMessages(s *states.Worker) (err error) {
	p := e.w.p
	if s.Unsent, err = talk.Describe(e.table, p.line.Waiting()); err != nil {
		return err
	}
	var seeking, coming []*talk.WorkerLink
	for id := range p.seeking {
		seeking = append(seeking, &talk.WorkerLink{Part: id})
	}
	more, err := talk.Describe(e.table, seeking)
	if err != nil {
		return err
	}
	s.Unsent = append(s.Unsent, more...)
	for _, list := range p.coming {
		coming = append(coming, list...)
	}
	if s.Coming, err = talk.Describe(e.table, coming); err != nil {
		return err
	}
	var asked []talk.Question
	for _, q := range p.asked {
		asked = append(asked, q.Question)
	}
	s.Questions, err = talk.Describe(e.table, asked)
	return err
}

// snapshotKnown puts into the state what the worker knows of the others, and of names; the locks of
// p are held.
func (p *part) snapshotKnown(s *states.Worker) {
	s.Latest, s.Last = p.latest, p.last
	for id := range p.crew {
		s.Crew = append(s.Crew, states.Mate{Part: id})
	}
	for name := range p.fixed {
		s.Fixed = append(s.Fixed, states.Name{Name: name})
	}
	for name := range p.claimed {
		s.Claimed = append(s.Claimed, states.Name{Name: name})
	}
	for m := range p.linkRequests {
		s.Meets = append(s.Meets, states.Meeting{Peer: m.peer, To: m.to})
	}
}

// snapshotOver puts into the state the claims that end with this process, so that the new one says
// so to the front: handshakes that are cut off, and connections that have just broken. p.mu is
// held.
func (e *workerEstate) snapshotOver(s *states.Worker) {
	for h := range e.w.p.frontClaims {
		if !e.moves[h] {
			s.Over = append(s.Over, states.Name{Name: ei.Atom(h.name)})
		}
	}
}

func (e *workerEstate) State() []byte { return e.state }

// Thaw lets the worker go on here.
func (e *workerEstate) Thaw() {
	e.Frozen.Thaw()
	e.w.n.ClearKeys(e.state)
}

// Release ends the worker in this process.
func (e *workerEstate) Release() error {
	defer e.w.n.ClearKeys(e.state)
	e.w.moved.Store(true)
	err := e.Frozen.Release()
	e.w.p.line.Close()
	e.w.finished()
	return err
}
