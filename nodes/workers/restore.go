package workers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/nametable"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/transport/handoff"
)

// succeedWorker makes this process the worker that another process is.
func succeedWorker(ctx context.Context, cfg nodes.Config, channel string) (*Worker, error) {
	fd, err := strconv.Atoi(channel)
	if err != nil || fd < 3 {
		return nil, ErrNotWorker
	}
	file := descriptor.File(fd)
	if file == nil {
		return nil, errors.ErrUnsupported
	}
	ch, err := handoff.FileChannel(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	defer ch.Close()
	// The old process says nothing while it drains.
	d := moveDeadlines(cmp.Or(cfg.DrainTimeout, inside.DrainTimeout) + 3*moveLimit)
	// the front waits for this process, and then for the old one to have taken its sessions
	d.Hello = defaultWorkerStart
	h := &workerHeir{cfg: cfg, reached: handoffpoint.Of(ctx)}
	taken, err := (&handoff.Acceptance{
		Terms: handoff.Terms{What: cfg.Name, Plugins: cfg.Terms().Plugins, Know: []string{states.FeatureWorker}},
		Stage: h.stage, Deadlines: d,
	}).Take(ctx, ch)
	if !taken.Owns {
		return nil, err
	}
	if err != nil { // this process is the worker, and runs
		h.w.n.Log.Warn("worker taken over, with trouble", "error", err)
	}
	return h.w, nil
}

// A workerHeir makes a worker from the state and the descriptors of another process.
type workerHeir struct {
	cfg    nodes.Config
	w      *Worker
	state  states.Worker
	staged *nodes.Staged
	// for tests: see handoffpoint.With
	reached func(handoffpoint.Point)
}

func (h *workerHeir) stage(_ context.Context, state []byte, fds []int) (handoff.Staged, error) {
	list := descriptor.Own(fds)
	if err := h.restore(state, list); err != nil {
		return nil, errors.Join(err, list.Close())
	}
	return h, nil
}

func (h *workerHeir) restore(state []byte, list *descriptor.List) error {
	s := &h.state
	if err := form.Read(states.KindWorker, state, s); err != nil {
		return err
	}
	if s.Part < 1 || s.Part > states.MaxPart {
		return form.At("worker", fmt.Errorf("%w: number %d", nodes.ErrState, s.Part))
	}
	node, err := list.TakeFirst(s.Descriptors)
	if err != nil {
		return err
	}
	if err := h.restoreNode(list, node); err != nil {
		return errors.Join(err, node.Close(), h.Discard())
	}
	return nil
}

// restoreNode makes the node, of the descriptors in fds, and the worker, of those in list.
func (h *workerHeir) restoreNode(list, fds *descriptor.List) error {
	s := &h.state
	g, node, err := stageNode(h.cfg, s.Node)
	if err != nil {
		return err
	}
	h.staged, h.w = g, newWorker(h.reached)
	l, err := talk.TakeLine(list, s.Line, s.Unsent)
	if err != nil {
		return err
	}
	n := insideOf(g.Node())
	h.w.join(n, newPart(n, s.Part, l))
	p := h.w.p
	if err := h.fill(list); err != nil {
		return err
	}
	if err := n.Fill(g, node, fds); err != nil {
		return err
	}
	if node.Started {
		err := n.SetUp()
		if p.endSetup(); err != nil {
			return err
		}
	}
	return list.AllTaken()
}

// fill makes what the worker has besides the node.
func (h *workerHeir) fill(list *descriptor.List) (err error) {
	s, p := &h.state, h.w.p
	if err = p.remoteLinks.Restore(list, s.Work); err != nil {
		return err
	}
	coming, err := talk.Take[*talk.WorkerLink](list, s.Coming)
	if err != nil {
		return err
	}
	for _, m := range coming {
		p.coming[m.Part] = append(p.coming[m.Part], m)
	}
	if p.nameTable, err = nametable.Take(list, s.NameTable.Index()); err != nil {
		return err
	}
	if s.Latest < 1 || s.Latest > states.MaxPart {
		return form.At("newest worker", fmt.Errorf("%w: %d", nodes.ErrState, s.Latest))
	}
	p.last, p.latest = s.Last, s.Latest
	for _, x := range s.Crew {
		p.crew[x.Part] = true
	}
	for _, x := range s.Fixed {
		p.fixed[x.Name] = true
	}
	for _, x := range s.Claimed {
		p.claimed[x.Name] = true
	}
	questions, err := talk.Take[talk.Question](list, s.Questions)
	for _, q := range questions {
		p.asked[*q.Number()] = &question{Question: q}
	}
	return err
}

// Start is the moment from which on this process is the worker.
func (h *workerHeir) Start(ctx context.Context) error {
	w, s := h.w, &h.state
	for _, x := range s.Over {
		w.p.line.Say(&talk.Over{Peer: string(x.Name)})
	}
	for _, x := range s.Claimed {
		if !w.n.HasName(x.Name) { // the old process was about to register it
			w.p.ReleaseName(x.Name)
		}
	}
	clearMessages(s.Unsent)
	clearMessages(s.Work)
	goOn, err := w.n.Open(h.staged)
	if err != nil {
		return err
	}
	h.listen()
	return goOn(ctx)
}

// listen begins the exchange with the front, before processes are told anything: a process that is
// told something may have to ask the front.
func (h *workerHeir) listen() {
	w, s := h.w, &h.state
	for _, m := range s.Meets {
		w.p.beginLinkRequest(linkRequest{m.Peer, m.To})
	}
	for _, id := range w.p.awaitsNext() {
		w.p.advance(id)
	}
	w.p.line.Say(&talk.Moved{PID: os.Getpid()})
	w.listen(nil)
	w.run()
	w.p.remoteLinks.Resume()
	w.p.line.Resume()
}

// Discard gives the worker up: it is the other process's.
func (h *workerHeir) Discard() (err error) {
	if h.staged != nil {
		err = h.staged.Discard()
	}
	if w := h.w; w != nil && w.p != nil {
		w.p.line.Close()
		<-w.p.line.Wrote()
		w.p.nameTable.Close()
		w.p.remoteLinks.Drop()
		w.p.ways.mu.Lock()
		defer w.p.ways.mu.Unlock()
		w.p.dropComing()
	}
	return err
}

// Mailboxes lists, in a process that has replaced another as this worker, the mailboxes that no
// registration has taken over: see nodes.Staged.Mailboxes.
func (w *Worker) Mailboxes() []*nodes.Mailbox { return w.n.Heirless() }
