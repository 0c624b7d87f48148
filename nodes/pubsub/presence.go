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
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
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

// A Presence knows who is tracked by a Phoenix.Presence, or a Phoenix.Tracker, of the cluster. It
// tracks nobody itself.
type Presence struct {
	ps     *PubSub
	name   string
	opts   PresenceOptions
	shards []*shard

	mu       sync.Mutex // guards the shards' trackers
	watchers map[string]map[*watcher]struct{}
}

// A shard is the counterpart of one shard of the others.
type shard struct {
	p     *Presence
	topic string
	me    replica
	*tracker
	box    *nodes.Mailbox   // guarded by p.mu, as what follows
	asking map[ei.Atom]bool // which nodes are being asked; true: and then once more
}

// FollowPresence starts to follow the Phoenix.Presence of that name: "MyAppWeb.Presence" for its
// module's name, or "my_tracker" for the atom that names a Phoenix.Tracker. What the others know is
// here as soon as they have answered, a moment after they are connected. If it was called for the
// name before, the error is nodes.ErrNameTaken. The Presence ends with the PubSub.
func (ps *PubSub) FollowPresence(name string, o *PresenceOptions) (*Presence, error) {
	p := &Presence{ps: ps, name: name, watchers: map[string]map[*watcher]struct{}{}}
	if o != nil {
		p.opts = *o
	}
	if err := p.start(); err != nil {
		return nil, &nodes.Error{Op: "start the Presence " + name, Err: err}
	}
	return p, nil
}

func (p *Presence) start() error {
	o := &p.opts
	o.PoolSize = cmp.Or(o.PoolSize, 1)
	o.BroadcastPeriod = cmp.Or(o.BroadcastPeriod, DefaultBroadcastPeriod)
	o.DownPeriod = cmp.Or(o.DownPeriod, DefaultDownPeriod)
	o.PermdownPeriod = cmp.Or(o.PermdownPeriod, DefaultPermdownPeriod)
	o.Limit = cmp.Or(o.Limit, DefaultPresenceLimit)
	switch {
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
		s := &shard{p: p, topic: presencePrefix + name, tracker: newTracker(), asking: map[ei.Atom]bool{}}
		s.limit, s.exceeded = o.Limit, s.complain
		p.shards = append(p.shards, s)
		if _, err := p.ps.keep(p.ps.ctx, name, func(context.Context) (*nodes.Mailbox, error) { return s.start(name) }); err != nil {
			return err
		}
		p.ps.background(s.run)
	}
	p.ps.background(p.meet)
	return nil
}

func (s *shard) start(name string) (*nodes.Mailbox, error) {
	n := s.p.ps.n
	b, err := n.Serve(name, nodes.Server{Info: s.take}, &nodes.MailboxOptions{TrapExit: true})
	if err != nil {
		return nil, err
	}
	s.p.mu.Lock()
	s.box, s.me = b, replica{Node: b.Pid().Node, Vsn: time.Now().UnixMicro()}
	s.p.mu.Unlock()
	if err := s.p.ps.subscribe(b, s.topic); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
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
		case now := <-t.C:
			s.p.mu.Lock()
			changed, ask := s.tick(now, s.p.opts.DownPeriod, s.p.opts.PermdownPeriod)
			s.p.tell(changed)
			s.p.mu.Unlock()
			for _, r := range ask {
				s.request(r.Node)
			}
		}
	}
}

// take is what the shard does with a message.
func (s *shard) take(_ context.Context, _ *nodes.Mailbox, m *nodes.Message) {
	defer m.Release()
	said, err := parseSaying(m.Payload)
	if c := m.Conn(); err == nil && c != nil && string(said.from.Node) != c.Name() { // past the PubSub
		err = errNotItself
	}
	if err == nil && !s.p.ps.hasMember(said.from.Node) {
		err = errStranger
	}
	if err != nil {
		s.p.ps.log.Debug("presence", "topic", s.topic, "error", err, "message", ei.Brief(m.Payload, 100))
		return
	}
	s.p.mu.Lock()
	changed, ask := s.hear(said, time.Now())
	s.p.tell(changed)
	s.p.mu.Unlock()
	if ask {
		s.request(said.from.Node)
	}
}

// meet asks the nodes that join the PubSub who they are, and what they know.
func (p *Presence) meet() {
	for change, err := range p.ps.opts.Scope.Monitor(p.ps.ctx, p.ps.groups[0]) {
		if err != nil {
			return
		}
		for _, pid := range change.Joined {
			for _, s := range p.shards {
				s.request(pid.Node)
			}
		}
	}
}

// errStranger: a message in the name of a node that is no member of the PubSub, or not yet; when it
// becomes one it is asked for all that it knows.
var errStranger = errors.New("a replica of a node that has no such PubSub")

// request asks the shard of a node for what is not known here. One that does not answer is asked
// again when it shows that it is ahead.
func (s *shard) request(node ei.Atom) {
	s.p.mu.Lock()
	_, isAsked := s.asking[node]
	s.asking[node] = isAsked
	s.p.mu.Unlock()
	if isAsked {
		return
	}
	s.p.ps.background(func() { // the way to the node may be another worker's, or full
		for again := true; again; {
			if err := s.ask(node); err != nil {
				s.p.ps.log.Debug("a replica was not asked", "topic", s.topic, "node", node, "error", err)
			}
			s.p.mu.Lock()
			if again = s.asking[node]; again {
				s.asking[node] = false
			} else {
				delete(s.asking, node)
			}
			s.p.mu.Unlock()
		}
	})
}

func (s *shard) ask(node ei.Atom) error {
	ps := s.p.ps
	s.p.mu.Lock()
	b, me, clocks := s.box, s.me, s.clocks()
	s.p.mu.Unlock()
	if node == me.Node || ps.ctx.Err() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ps.ctx, s.p.opts.DownPeriod)
	defer cancel()
	ref, err := ps.n.NewRef()
	if err != nil {
		return err
	}
	raw, err := appendForward(s.topic, request(ref, me, clocks), plain)
	if err != nil {
		return err
	}
	return b.SendName(ctx, string(node), string(ps.groupOf(b)), raw)
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
