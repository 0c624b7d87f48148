package nodes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

const (
	// moveMark begins the WorkerVariable of a process that takes another worker's place; a descriptor follows, of the channel to that one.
	moveMark = "upgrade,"
	// workerFeature is the form of what a worker hands over. Whoever does not know it refuses, or is refused, before anything stops.
	workerFeature = "cnode-worker-state-2"
	// earlierWorker is the same without a roll of names, which can be read still.
	earlierWorker = "cnode-worker-state-1"
	// moveLimit bounds each step of that in which the worker's peers wait.
	moveLimit = 5 * time.Second
)

// pauseWork stops what is done of the worker's work; resume ends that, and pauseLine.
func (w *Worker) pauseWork(ctx context.Context) (resume func(), err error) {
	resume = func() {
		w.mu.Lock()
		w.doing.resume()
		w.mu.Unlock()
		w.wake()
		w.p.line.unpause()
	}
	if err := w.doing.pause(ctx, &w.mu); err != nil {
		resume()
		return nil, err
	}
	return resume, nil
}

// pauseLine stops the reader of the line to the front. Before that it has the readers of the connections to other workers halted, for one
// of them may be waiting for an answer of the front. The readers of conns have halted, so no new connection to another worker begins here;
// the front may still bring one.
func (w *Worker) pauseLine(ctx context.Context, conns []*Conn, halt func([]*Conn) error) error {
	known := map[*Conn]bool{}
	for deaf := false; ; deaf = true {
		fresh := slices.DeleteFunc(w.p.local(conns), func(c *Conn) bool { return known[c] })
		if deaf && len(fresh) == 0 {
			return nil
		}
		for _, c := range fresh {
			known[c] = true
		}
		w.p.line.unpause()
		if err := halt(fresh); err != nil {
			return err
		}
		if err := w.p.line.pause(ctx); err != nil {
			return err
		}
	}
}

// local lists the ways to the other workers: those of the worker, and those of connections.
func (p *part) local(conns []*Conn) []*Conn {
	var list []*Conn
	p.mu.Lock()
	for _, c := range p.siblings {
		list = append(list, c)
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.branching.Lock()
		for _, b := range c.branches {
			list = append(list, b)
		}
		c.branching.Unlock()
	}
	return list
}

// give hands the worker over to the process at the other end of a channel, and tells the front where that has failed.
func (w *Worker) give(fd int, id uint64) {
	file := fileOf(fd)
	ch, err := handoff.FileChannel(file)
	if err != nil {
		w.stayed(id, errors.Join(err, file.Close()))
		return
	}
	defer ch.Close()
	d := moveDeadlines(w.n.cfg.DrainTimeout + moveLimit)
	d.Hello = DefaultWorkerStart // an earlier front has not waited for the new process
	o := &handoff.Offer{
		Terms:     handoff.Terms{What: w.n.name, Plugins: w.plugins(), Require: []string{workerFeature}, Know: []string{workerFeature}},
		Needs:     w.needs,
		Freeze:    w.freeze,
		Deadlines: d,
		Reached:   w.n.cfg.moveReached,
	}
	h, err := o.Give(context.Background(), ch)
	switch {
	case !h.Moved:
		w.stayed(id, err)
	case err != nil:
		w.n.log.Warn("worker handed over, with trouble", "silence", h.Silence, "error", err)
	default:
		w.n.log.Info("worker handed over", "silence", h.Silence)
	}
}

// moveDeadlines are those of a worker that moves, on either side.
func moveDeadlines(freeze time.Duration) handoff.Deadlines {
	const d = moveLimit
	return handoff.Deadlines{Hello: d, Static: d, Freeze: freeze, Offer: d, Stage: d, Take: d, Goodbye: d}
}

func (w *Worker) stayed(id uint64, err error) {
	w.n.log.Warn("worker not handed over", "error", err)
	w.p.line.say(word{Topic: sayStayed, ID: id, Name: err.Error()})
}

// plugins are those that the connections need.
func (w *Worker) plugins() (names []string) {
	w.n.mu.Lock()
	defer w.n.mu.Unlock()
	for c := range w.n.conns {
		if name := c.tr.Name(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// A workerEstate is a worker that is frozen.
type workerEstate struct {
	*Frozen
	w     *Worker
	state []byte
}

// freeze stops the worker. The front sends it no sessions meanwhile.
func (w *Worker) freeze(ctx context.Context) (handoff.Frozen, error) {
	f, err := w.n.freeze(ctx, w)
	if err != nil {
		return nil, err
	}
	e := &workerEstate{Frozen: f, w: w}
	if err := e.describe(); err != nil {
		f.Thaw()
		return nil, err
	}
	return e, nil
}

func (e *workerEstate) describe() error {
	p := e.w.p
	s := workerState{node: e.Frozen.state, descriptors: len(e.table.fds), part: p.id}
	var err error
	if s.line, err = e.table.addOf(p.line.descriptor); err != nil {
		return err
	}
	if p.roll != nil {
		s.roll = placeOf(e.table.add(p.roll.descriptor()))
	}
	e.w.mu.Lock()
	s.work, err = e.table.words(e.w.work)
	e.w.mu.Unlock()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.words, err = e.table.words(p.line.waiting()); err != nil {
		return err
	}
	for id := range p.seeking {
		more, err := e.table.words([]word{{Topic: saySibling, Part: id}})
		if err != nil {
			return err
		}
		s.words = append(s.words, more...)
	}
	for _, list := range p.coming {
		more, err := e.table.words(list)
		if err != nil {
			return err
		}
		s.coming = append(s.coming, more...)
	}
	s.latest, s.last = p.latest, p.last
	for id := range p.crew {
		s.crew = append(s.crew, mateState{id})
	}
	for name := range p.fixed {
		s.fixed = append(s.fixed, nameState{name})
	}
	for name := range p.claimed {
		s.claimed = append(s.claimed, nameState{name})
	}
	for m := range p.meets {
		s.meets = append(s.meets, meetState(m))
	}
	moves := map[*stake]bool{}
	for _, c := range e.Frozen.conns {
		moves[c.stake] = true
	}
	for h := range p.stakes { // handshakes that are cut off, and connections that have just broken: nobody else says so
		if !moves[h] {
			s.over = append(s.over, nameState{ei.Atom(h.name)})
		}
	}
	var asked []word
	for _, q := range p.asked {
		asked = append(asked, q.w)
	}
	if s.questions, err = e.table.words(asked); err != nil {
		return err
	}
	e.state, err = writeState(kindWorker, &s)
	return err
}

func (e *workerEstate) State() []byte { return e.state }

// Thaw lets the worker go on here.
func (e *workerEstate) Thaw() {
	e.Frozen.Thaw()
	clearKeys(e.state)
}

// Release ends the worker in this process.
func (e *workerEstate) Release() error {
	defer clearKeys(e.state)
	e.w.moved.Store(true)
	err := e.Frozen.Release()
	e.w.p.line.close()
	e.w.finished()
	return err
}

// succeedWorker makes this process the worker that another one is.
func succeedWorker(ctx context.Context, cfg Config, channel string) (*Worker, error) {
	fd, err := strconv.Atoi(channel)
	if err != nil || fd < 3 {
		return nil, ErrNotWorker
	}
	file := fileOf(fd)
	if file == nil {
		return nil, errors.ErrUnsupported
	}
	ch, err := handoff.FileChannel(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	defer ch.Close()
	// The old process says nothing while it drains.
	d := moveDeadlines(cmp.Or(cfg.DrainTimeout, DefaultDrainTimeout) + 3*moveLimit)
	d.Hello = DefaultWorkerStart // the front waits for this process, and then for the old one to have taken its sessions
	h := &workerHeir{cfg: cfg}
	taken, err := (&handoff.Acceptance{
		Terms: handoff.Terms{What: cfg.Name, Plugins: carriers(cfg), Know: workerKnows()},
		Stage: h.stage, Deadlines: d, Reached: cfg.moveReached,
	}).Take(ctx, ch)
	if !taken.Owns {
		return nil, err
	}
	if err != nil { // this process is the worker, and runs
		h.w.n.log.Warn("worker taken over, with trouble", "error", err)
	}
	return h.w, nil
}

// carriers are the plug-ins that a node finds: see Node.carrier.
func carriers(cfg Config) []string {
	names := []string{transport.TCP().Name(), transport.Unix().Name()}
	all := append([]transport.Transport{cfg.Transport}, cfg.Transports...)
	for _, at := range cfg.Also {
		all = append(all, at.Transport)
	}
	for _, tr := range all {
		if tr != nil {
			names = append(names, tr.Name())
		}
	}
	return names
}

// A workerHeir makes a worker of what another process has.
type workerHeir struct {
	cfg    Config
	w      *Worker
	state  workerState
	staged *Staged
}

func (h *workerHeir) stage(_ context.Context, state []byte, fds []int) (handoff.Staged, error) {
	list := &descriptorList{fds: fds}
	if err := h.restore(state, list); err != nil {
		return nil, errors.Join(err, list.close())
	}
	return h, nil
}

func (h *workerHeir) restore(state []byte, list *descriptorList) error {
	s := &h.state
	if err := readState(kindWorker, state, s); err != nil {
		return err
	}
	if s.part < 1 || s.part > maxPart {
		return &StateError{"worker", fmt.Errorf("%w: number %d", ErrState, s.part)}
	}
	node, err := list.takeFirst(s.descriptors)
	if err != nil {
		return err
	}
	w := newWorker()
	h.w = w
	first := func(n *Node) error {
		l, err := takeLine(list, s.line, s.words)
		if err != nil {
			return err
		}
		w.join(n, newPart(n, s.part, l))
		return h.fill(list)
	}
	setup := func(n *Node) error {
		err := n.setup()
		w.p.endSetup()
		return err
	}
	h.staged, err = restore(h.cfg, s.node, node, successor{first: first, setup: setup, parts: true})
	if err == nil {
		err = list.allTaken()
	}
	if err == nil && len(s.crew) == 0 {
		for id := range w.p.siblings {
			w.p.crew[id] = true
		}
	}
	if err != nil {
		return errors.Join(err, node.close(), h.Discard())
	}
	return nil
}

// takeLine makes a line of its description, which stands still.
func takeLine(list *descriptorList, at int, words []wordState) (*line, error) {
	fd, err := list.takeOne(at)
	if err != nil {
		return nil, err
	}
	socket, err := inheritedSocket(fd)
	if err != nil {
		return nil, err
	}
	waiting, err := list.takeWords(words)
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	l, err := stagedLine(socket, waiting)
	if err != nil {
		for i := range waiting {
			waiting[i].drop()
		}
		return nil, errors.Join(err, socket.Close())
	}
	return l, nil
}

// fill makes what the worker has beside the node.
func (h *workerHeir) fill(list *descriptorList) (err error) {
	s, p := &h.state, h.w.p
	if h.w.work, err = list.takeWords(s.work); err != nil {
		return err
	}
	coming, err := list.takeWords(s.coming)
	if err != nil {
		return err
	}
	for _, m := range coming {
		p.coming[m.Part] = append(p.coming[m.Part], m)
	}
	if p.roll, err = list.takeRoll(s.roll); err != nil {
		return err
	}
	if p.last = s.last; isNewer(s.latest, p.id) {
		p.latest = s.latest
	}
	for _, x := range s.crew {
		p.crew[x.part] = true
	}
	for _, x := range s.fixed {
		p.fixed[x.name] = true
	}
	for _, x := range s.claimed {
		p.claimed[x.name] = true
	}
	for i := range s.questions {
		q := &question{}
		if err := json.Unmarshal(s.questions[i].json, &q.w); err != nil {
			return &StateError{"question", fmt.Errorf("%w: %w", ErrState, err)}
		}
		p.asked[q.w.ID] = q
	}
	return nil
}

// Start is the moment from which on this process is the worker.
func (h *workerHeir) Start(ctx context.Context) error {
	w, s := h.w, &h.state
	for _, x := range s.over {
		w.p.line.say(word{Topic: sayOver, Name: string(x.name)})
	}
	for _, x := range s.claimed {
		if w.n.procs.named(x.name) == nil { // somebody was about to register it
			w.p.releaseName(x.name)
		}
	}
	h.staged.running = h.listen
	return h.staged.Start(ctx)
}

// listen begins what the worker has to do with the front: who hears of something as the node goes on may have to ask it.
func (h *workerHeir) listen() {
	w, s := h.w, &h.state
	for _, m := range s.meets {
		w.p.beginMeet(meeting(m))
	}
	for _, id := range w.p.awaitsNext() {
		w.p.advance(id)
	}
	w.p.line.say(word{Topic: sayMoved, Number: uint64(os.Getpid())})
	w.listen(nil)
	w.run()
	w.wake()
	w.p.line.resume()
}

// Discard gives the worker up: it is the other process's.
func (h *workerHeir) Discard() (err error) {
	if h.staged != nil {
		err = h.staged.Discard()
	}
	if w := h.w; w != nil && w.p != nil {
		w.p.line.close()
		<-w.p.line.wrote
		w.p.roll.close()
		for i := range w.work {
			w.work[i].drop()
		}
		w.work = nil
		w.p.mu.Lock()
		defer w.p.mu.Unlock()
		w.p.dropComing()
	}
	return err
}

// Mailboxes lists, in a process that has taken the place of another worker's, the mailboxes that no registered name has found a successor
// for: see Staged.Mailboxes.
func (w *Worker) Mailboxes() []*Mailbox { return w.n.procs.heirless() }
