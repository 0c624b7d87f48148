package pubsub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/kept"
	"github.com/cnode-go/cnode/transport"
)

// The defaults of Phoenix.Tracker.
const (
	DefaultBroadcastPeriod = 1500 * time.Millisecond
	DefaultDownPeriod      = 30 * time.Second
	DefaultPermdownPeriod  = 20 * time.Minute
)

// DefaultPresenceLimit is PresenceOptions.Limit if that is 0.
const DefaultPresenceLimit = 64 << 20

// PresenceOptions are those of the Phoenix.Presence, or Phoenix.Tracker. The zero value, and nil,
// fit one without options.
type PresenceOptions struct {
	PoolSize        int           // :pool_size, the number of shards; 0 is 1
	BroadcastPeriod time.Duration // :broadcast_period; 0 is DefaultBroadcastPeriod
	// DownPeriod is :down_period: for how long a node may say nothing before those that it tracks
	// are no longer listed. 0 is DefaultDownPeriod.
	DownPeriod time.Duration
	// PermdownPeriod is :permdown_period, after which they are forgotten: a node that comes back
	// later gives them anew. 0 is DefaultPermdownPeriod.
	PermdownPeriod time.Duration
	// Limit is how many bytes of memory what one other node tracks may take, in each shard: 512,
	// the topic, the key and the meta for each process, and 64 for each change that came out of
	// order. A node that tells of more has nobody here until its Phoenix.Presence starts anew; the
	// log has an error. 0: DefaultPresenceLimit.
	Limit int
}

// A Presence is this node's part of a Phoenix.Presence, or a Phoenix.Tracker: it knows who is tracked
// on any node of the cluster, and tracks processes of this one. Its methods are safe for concurrent
// use.
type Presence struct {
	ps     *PubSub
	name   string
	opts   PresenceOptions
	shards []*shard

	mu       sync.Mutex // guards the shards' trackers
	watchers map[string]map[*watcher]struct{}
}

// A shard is the counterpart of one shard of the others. What it tracks changes in its process.
type shard struct {
	p       *Presence
	name    string
	topic   string
	process *kept.Process // whose Running guards what it tracks itself, and what is marked so
	*tracker

	// guarded by p.mu
	errands map[errand]bool     // what is being sent; true: and then once more
	asked   map[ei.Atom]*saying // the last request of a node, until it is answered

	// guarded by Running
	role
	refs    map[ei.Pid]ei.Ref // monitors of the processes that it tracks; zero: begin makes it
	byRef   map[ei.Ref]ei.Pid
	silent  bool   // it has told the others that it has ended
	undrain func() // takes back what has the node's Drain call leaveCluster; nil: it has tracked nothing yet
	// The state of the shard before has been taken, and the node goes on only later.
	inheriting atomic.Bool // set while Running is held
}

// An errand is a message to the shard of another node.
type errand struct {
	to   ei.Atom
	what kind
}

// StartPresence makes the node a member of the Phoenix.Presence of that name: "MyAppWeb.Presence"
// for its module's name, or "my_tracker" for the atom that names a Phoenix.Tracker. What the others
// know is here as soon as they have answered, a moment after they are connected. They hear of this
// node only when it tracks something, so one that does not costs them nothing. Call it where Start
// is called: in Config.Setup, if the node moves or has workers. If it was called for the name
// before, the error is nodes.ErrNameTaken; options that cannot be are an error, too, and so is the
// end of ctx, which bounds the start alone: the Presence ends with the PubSub. It does not wait for
// other nodes. It is Phoenix.Presence's child_spec, started.
func (ps *PubSub) StartPresence(ctx context.Context, name string, o *PresenceOptions) (*Presence, error) {
	p := &Presence{ps: ps, name: name, watchers: map[string]map[*watcher]struct{}{}}
	if o != nil {
		p.opts = *o
	}
	if err := p.start(ctx); err != nil {
		return nil, &nodes.Error{Op: "start the Presence " + name, Err: err}
	}
	return p, nil
}

func (p *Presence) start(ctx context.Context) error {
	o := &p.opts
	o.PoolSize = cmp.Or(o.PoolSize, 1)
	o.BroadcastPeriod = cmp.Or(o.BroadcastPeriod, DefaultBroadcastPeriod)
	o.DownPeriod = cmp.Or(o.DownPeriod, DefaultDownPeriod)
	o.PermdownPeriod = cmp.Or(o.PermdownPeriod, DefaultPermdownPeriod)
	o.Limit = cmp.Or(o.Limit, DefaultPresenceLimit)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case o.Limit < 0:
		return fmt.Errorf("PresenceOptions.Limit is %d", o.Limit)
	case p.name == "":
		return errors.New("the name is empty")
	case o.PoolSize < 0 || o.PoolSize > maxPool:
		return fmt.Errorf("PresenceOptions.PoolSize is %d", o.PoolSize)
	case o.BroadcastPeriod < 0 || o.DownPeriod < 2*o.BroadcastPeriod || o.PermdownPeriod <= o.DownPeriod:
		return fmt.Errorf("PresenceOptions: periods of %v, %v and %v", o.BroadcastPeriod, o.DownPeriod, o.PermdownPeriod)
	}
	for i := range o.PoolSize {
		name := string(moduleOr(p.name)) + "_shard" + strconv.Itoa(i)
		s := newShard(p, name)
		s.process = p.ps.process(kept.Options{
			Name: name, Make: func(_ context.Context, isFirst bool) (*nodes.Mailbox, error) { return s.make(isFirst) },
			Begin: s.begin, Lost: s.lost, Over: s.over,
		})
		if err := p.ps.start(ctx, s.process); err != nil {
			return err
		}
		p.shards = append(p.shards, s)
		p.ps.background(s.run)
	}
	p.ps.mu.Lock()
	p.ps.presences = append(p.ps.presences, p)
	p.ps.mu.Unlock()
	p.ps.background(p.meet)
	return nil
}

func newShard(p *Presence, name string) *shard {
	s := &shard{
		p: p, name: name, topic: presencePrefix + name, tracker: newTracker(), errands: map[errand]bool{}, asked: map[ei.Atom]*saying{},
		refs: map[ei.Pid]ei.Ref{}, byRef: map[ei.Ref]ei.Pid{},
	}
	s.limit, s.exceeded = p.opts.Limit, s.complain
	return s
}

// make makes the shard's process. Another one in its place goes on as the same replica.
func (s *shard) make(isFirst bool) (*nodes.Mailbox, error) {
	handler := s.process.Handler(s.take)
	b, err := s.p.ps.n.Serve(s.name, nodes.Server{Info: func(_ context.Context, b *nodes.Mailbox, m *nodes.Message) { handler(b, m) }},
		&nodes.MailboxOptions{TrapExit: true, Handover: s.handover})
	if err != nil {
		return nil, err
	}
	if isFirst {
		s.me = replica{Node: b.Pid().Node, Vsn: time.Now().UnixMicro()}
		if state, _ := b.Inherited(); len(state) > 0 {
			err = s.inherit(state)
		}
	}
	if err == nil {
		err = s.p.ps.subscribe(b, s.topic)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// begin is the first thing that the shard's process does.
func (s *shard) begin(b *nodes.Mailbox, _ bool) {
	s.inheriting.Store(false)
	for pid := range s.refs {
		s.monitor(b, pid)
	}
	s.p.mu.Lock()
	s.spoke = time.Time{}
	s.p.mu.Unlock()
}

// lost forgets the monitors of the process that somebody has ended.
func (s *shard) lost() {
	for pid := range s.refs {
		s.refs[pid] = ei.Ref{}
	}
	clear(s.byRef)
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.lostRole()
}

func (s *shard) over(error) {
	s.process.Running.Lock()
	undrain := s.undrain
	s.process.Running.Unlock()
	if undrain != nil {
		undrain()
	}
}

// complain logs that a node tells of more than Limit allows.
func (s *shard) complain(of, told replica) {
	if of != told {
		s.p.ps.log.Debug("presence", "topic", s.topic, "error", "more than PresenceOptions.Limit allows", "of", of.Node, "from", told.Node)
		return
	}
	s.p.ps.log.Error("a node tracks more than PresenceOptions.Limit allows: it has nobody here", "topic", s.topic, "node", of.Node)
}

// run does what a shard does every broadcast period.
func (s *shard) run() {
	t := time.NewTicker(s.p.opts.BroadcastPeriod)
	defer t.Stop()
	for {
		select {
		case <-s.p.ps.ctx.Done():
			return
		case <-s.p.ps.n.Draining(): // others say nothing to it any more, and are still there
			return
		case <-t.C:
			_ = s.process.Do(s.p.ps.ctx, s.beat)
		}
	}
}

func (s *shard) beat() {
	o := &s.p.opts
	s.catchUp()
	now := time.Now()
	s.p.mu.Lock()
	changed, ask := s.tick(now, o.DownPeriod, o.PermdownPeriod)
	s.p.tell(changed)
	var said *saying
	if s.speaks() && !s.silent {
		said = s.speak(now, o.DownPeriod/3)
	}
	s.p.mu.Unlock()
	if said != nil && s.say(said) != nil { // who has not heard it hears that it has missed something
		s.p.mu.Lock()
		s.spoke = time.Time{}
		s.p.mu.Unlock()
	}
	for _, r := range ask {
		s.send(r.Node, transferReq)
	}
}

// say says something to all others that read.
func (s *shard) say(said *saying) error {
	err := s.p.ps.broadcast(transport.NoWait(), s.process.Mailbox(), s.topic, said, plain)
	if err != nil {
		s.p.ps.log.Debug("not every replica was told", "topic", s.topic, "what", said.kind, "error", err)
	}
	return err
}

// take is what the shard does with a message.
func (s *shard) take(_ *nodes.Mailbox, m *nodes.Message) {
	if m.Op == dist.OpMonitorPExit {
		s.ended(m.Ref)
		return
	}
	var says workerSays
	if m.Conn() == nil && m.Payload.Unmarshal(&says) == nil {
		s.hearWorker(&says)
		return
	}
	said, err := parseSaying(m.Payload)
	if c := m.Conn(); err == nil && c != nil && string(said.from.Node) != c.Name() { // past the PubSub
		err = errNotItself
	}
	if err == nil && !s.hears(said) {
		err = errStranger
	}
	if err != nil {
		s.p.ps.log.Debug("presence", "topic", s.topic, "error", err, "message", ei.Brief(m.Payload, 100))
		return
	}
	s.p.mu.Lock()
	if said.kind == transferReq {
		if !s.speaks() || s.silent {
			s.p.mu.Unlock()
			return
		}
		s.asked[said.from.Node] = said
		s.p.mu.Unlock()
		s.send(said.from.Node, transferAck)
		return
	}
	changed, ask := s.hear(said, time.Now())
	s.p.tell(changed)
	s.p.mu.Unlock()
	if ask {
		s.send(said.from.Node, transferReq)
	}
}

// hears tells whether what a replica says counts: it is of another node that takes part, or ends; or
// of another worker, which leads or asks the one that does.
func (s *shard) hears(said *saying) bool {
	if said.from.Node == s.me.Node {
		return nodes.IsWorker() && s.speaks() == (said.kind == transferReq)
	}
	return said.kind == gracefulPermdown || s.p.ps.hasMember(said.from.Node)
}

// meet asks the nodes that join the PubSub who they are, and what they know, and tells them that
// this one is there.
func (p *Presence) meet() {
	for change, err := range p.ps.opts.Scope.Monitor(p.ps.ctx, p.ps.groups[0]) {
		if err != nil {
			return
		}
		for _, pid := range change.Joined {
			for _, s := range p.shards {
				p.mu.Lock()
				s.spoke = time.Time{}
				p.mu.Unlock()
				s.send(pid.Node, transferReq)
			}
		}
	}
}

// errStranger: a message in the name of a node that is no member of the PubSub, or not yet; when it
// becomes one it is asked for all that it knows.
var errStranger = errors.New("a replica of a node that has no such PubSub")

// send asks the shard of a node for what is not known here, or answers what it has asked. One that
// does not answer is asked again when it shows that it is ahead.
func (s *shard) send(to ei.Atom, what kind) {
	e := errand{to, what}
	s.p.mu.Lock()
	_, isUnderWay := s.errands[e]
	s.errands[e] = isUnderWay
	s.p.mu.Unlock()
	if isUnderWay {
		return
	}
	s.p.ps.background(func() { // the way to the node may be another worker's, or full
		for again := true; again; {
			if err := s.sendNow(e); err != nil {
				s.p.ps.log.Debug("a replica was not told", "topic", s.topic, "node", to, "what", what, "error", err)
			}
			s.p.mu.Lock()
			if again = s.errands[e]; again {
				s.errands[e] = false
			} else {
				delete(s.errands, e)
			}
			s.p.mu.Unlock()
		}
	})
}

func (s *shard) sendNow(e errand) error {
	ps := s.p.ps
	if ps.ctx.Err() != nil {
		return nil
	}
	said := s.request()
	if e.what == transferAck {
		said = s.answer(e.to)
	}
	if said == nil {
		return nil
	}
	raw, err := appendForward(s.topic, said, plain)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ps.ctx, s.p.opts.DownPeriod)
	defer cancel()
	b := s.process.Mailbox()
	if e.to == b.Pid().Node {
		return b.SendAll(ctx, ps.siblings, raw)
	}
	return b.SendName(ctx, string(e.to), string(ps.groupOf(b)), raw)
}

func (s *shard) request() *saying {
	ref, err := s.p.ps.n.NewRef()
	if err != nil { // the node has no name yet, nor a connection
		return nil
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	return &saying{kind: transferReq, from: s.me, clocks: s.clocks(), ref: ref}
}

// answer is that to the last request of a node; nil: it has been answered, or nothing is tracked
// here.
func (s *shard) answer(to ei.Atom) *saying {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	asked := s.asked[to]
	delete(s.asked, to)
	if asked == nil || s.clock() == 0 {
		return nil
	}
	return &saying{kind: transferAck, from: s.me, ref: asked.ref, delta: s.missed(asked.from, asked.clocks)}
}

// A Present is a process that is tracked on a topic.
type Present[M any] struct {
	// Key is the key under which it is tracked, as text: to_string(key).
	Key string
	// Pid is the process: that of a channel, as a rule.
	Pid ei.Pid
	// Meta is what it was tracked with: a map, in which Phoenix has put phx_ref, a new one after
	// each update.
	Meta M
}

// List gives who is on a topic now, sorted by key; those of nodes that are down are left out. It
// has an element for each process, so that a user with two tabs may be there twice, one after the
// other: MyAppWeb.Presence.list/1 groups the metas by key. If there is somebody whose meta cannot
// be an M, as ei.Unmarshal stores it, the error names the first, and the list has the others. It
// does not wait.
func List[M any](p *Presence, topic string) ([]Present[M], error) {
	p.mu.Lock()
	var es []*entry
	for _, s := range p.shards {
		for i := range s.topics[topic] {
			if e := s.visible(i); e != nil {
				es = append(es, e)
			}
		}
	}
	p.mu.Unlock()
	list := make([]Present[M], 0, len(es))
	var failed error
	for _, e := range es {
		one, err := present[M](e)
		switch {
		case err == nil:
			list = append(list, one)
		case failed == nil:
			failed = &nodes.Error{Op: "list " + topic, Err: fmt.Errorf("the meta of %s: %w", one.Key, err)}
		}
	}
	slices.SortFunc(list, func(a, b Present[M]) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), ei.ComparePids(a.Pid, b.Pid))
	})
	return list, failed
}

func present[M any](e *entry) (one Present[M], err error) {
	one.Key, one.Pid = keyText(ei.Raw(e.key)), e.pid
	err = e.meta.Unmarshal(&one.Meta)
	return one, err
}

// keyText is to_string(key), which Phoenix.Presence demands to be possible; what is no text for it
// is written in Elixir's syntax.
func keyText(raw ei.Raw) string {
	var text string
	if raw.Unmarshal(&text) == nil {
		return text
	}
	t, err := raw.Decode()
	if err != nil {
		return ""
	}
	if a, ok := t.(ei.Atom); ok {
		return string(a)
	}
	return string(ei.AppendElixir(nil, t))
}

// A Kind of Event is what has become of who is, or was, on a topic.
type Kind int

// The kinds.
const (
	Joined  Kind = iota + 1
	Updated      // the meta is another one
	Left         // the meta is the last one
)

// String is a word for the kind.
func (k Kind) String() string {
	if k < Joined || k > Left {
		return "Kind(" + strconv.Itoa(int(k)) + ")"
	}
	return [...]string{"joined", "updated", "left"}[k-Joined]
}

// An Event is a change on a topic.
type Event[M any] struct {
	Kind Kind
	Present[M]
}

// Watch yields who is on a topic now, as joined, and from then on who joins, is updated, and
// leaves, until the loop ends, or ctx does, or the PubSub, by Close or with the node. What has
// ended that otherwise is an error, in the last pair. An event with a meta that cannot be an M
// comes with an error, an *ei.UnmarshalError, and the loop may go on.
//
// A loop that is slow misses no end: what happens to one process meanwhile becomes one event, or
// none if it has come and gone. So at most what is on the topic waits for it, whatever happens.
func Watch[M any](ctx context.Context, p *Presence, topic string) iter.Seq2[Event[M], error] {
	return func(yield func(Event[M], error) bool) {
		w := p.watch(topic)
		defer p.unwatch(topic, w)
		for {
			kind, e, err := p.next(ctx, w)
			if err != nil {
				yield(Event[M]{}, &nodes.Error{Op: "watch " + topic, Err: err})
			}
			if e == nil {
				return
			}
			one, err := present[M](e)
			if !yield(Event[M]{kind, one}, err) {
				return
			}
		}
	}
}
