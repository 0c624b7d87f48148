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
	"github.com/cnode-go/cnode/ei/elixir"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/kept"
)

// The defaults of Phoenix.Tracker.
const (
	defaultBroadcastPeriod = 1500 * time.Millisecond
	defaultDownPeriod      = 30 * time.Second
	defaultPermdownPeriod  = 20 * time.Minute
)

// ErrIncomplete is what the errors of Presence.Incomplete, and of List for that reason, wrap.
var ErrIncomplete = errors.New("pubsub: more than PresenceOptions.Limit allows: some are left out")

// PresenceOptions are those of the Phoenix.Presence, or Phoenix.Tracker. The zero value, and nil,
// fit one without options.
type PresenceOptions struct {
	PoolSize        int           // :pool_size, the number of shards; 0 is 1
	BroadcastPeriod time.Duration // :broadcast_period; 0 is Phoenix's
	// DownPeriod is :down_period: for how long a node may say nothing before those that it tracks
	// are no longer listed; this one says at least three times in it that it is there. 0 is
	// Phoenix's.
	DownPeriod time.Duration
	// PermdownPeriod is :permdown_period, after which they are forgotten: a node that comes back
	// later gives them anew. 0 is Phoenix's.
	PermdownPeriod time.Duration
	// Limit is how many bytes of memory what one other node tracks may take, in each shard: 512,
	// the topic, the key and the meta for each process, and 64 for each change that came out of
	// order. Of a node that tracks more, the rest is left out: List and Presence.Incomplete tell so,
	// and the log has an error. Those stay who were tracked first; when others have left so that
	// there may be room, the node is asked for all again. 0: a sixteenth of the memory that this
	// process may use, by the machine, its control group and GOMEMLIMIT, but 512 MB at most; divided
	// by the shards, but 64 MB at least.
	Limit int
}

// A Presence is this node's part of a Phoenix.Presence, or a Phoenix.Tracker: it knows who is
// tracked on any node of the cluster, and tracks processes of this one. Its methods are safe for
// concurrent use.
type Presence struct {
	ps     *PubSub
	name   string
	opts   PresenceOptions
	shards []*shard

	mu       sync.Mutex // guards the shards' trackers
	watchers map[string]map[*watcher]struct{}
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
	o.BroadcastPeriod = cmp.Or(o.BroadcastPeriod, defaultBroadcastPeriod)
	// as there: twice the time for which an idle shard is silent, max_silent_periods of 10
	o.DownPeriod = cmp.Or(o.DownPeriod, max(defaultDownPeriod, 20*o.BroadcastPeriod))
	o.PermdownPeriod = cmp.Or(o.PermdownPeriod, max(defaultPermdownPeriod, 2*o.DownPeriod))
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
	o.Limit = cmp.Or(o.Limit, kept.DefaultLimit(o.PoolSize))
	for i := range o.PoolSize {
		name := string(moduleOr(p.name)) + "_shard" + strconv.Itoa(i)
		s := newShard(p, name)
		s.process = p.ps.process(kept.Options{
			Name: name, Make: func(_ context.Context, isFirst bool) (*nodes.Mailbox, error) { return s.make(isFirst) },
			Begin: s.begin, Lost: s.lost,
		})
		if err := p.ps.start(ctx, s.process); err != nil {
			for _, started := range p.shards {
				started.process.Close()
			}
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
// be an M, as ei.Unmarshal stores it, the error names the first, and the list has the others. The
// list is as good as it can be, too, with an error that wraps ErrIncomplete: the shard of the topic
// has left out some whom other nodes track (PresenceOptions.Limit), perhaps on this topic. It does
// not wait.
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
		return cmp.Or(cmp.Compare(a.Key, b.Key), a.Pid.Compare(b.Pid))
	})
	return list, errors.Join(failed, p.shardOf(topic).limit.Err("list "+topic+" as tracked on", ErrIncomplete))
}

// Incomplete is nil if everybody is here whom other nodes have told of. If some are left out, since
// they would take more than PresenceOptions.Limit, it joins a *nodes.Error for each such node, with
// its name as Peer, that wraps ErrIncomplete; what List and Watch show is the rest. It does not
// wait.
func (p *Presence) Incomplete() error {
	var all []error
	for _, s := range p.shards {
		all = append(all, s.limit.Err("know whom "+s.name+" tracks on", ErrIncomplete))
	}
	return errors.Join(all...)
}

// PresenceStats are figures of a Presence.
type PresenceStats struct {
	// LeftOut is how many that other nodes track were left out, since they would have taken more than
	// PresenceOptions.Limit; who was left out again, after the node was asked again, counts again.
	LeftOut int64
	// Incomplete is of how many shards of other nodes somebody is left out now.
	Incomplete int
}

// Stats takes a snapshot. It does not wait.
func (p *Presence) Stats() (stats PresenceStats) {
	for _, s := range p.shards {
		leftOut, lacking := s.limit.Count()
		stats.LeftOut += leftOut
		stats.Incomplete += lacking
	}
	return stats
}

// shardOf is the one of a topic.
func (p *Presence) shardOf(topic string) *shard { return p.shards[phash2(topic, len(p.shards))] }

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
	return string(elixir.AppendText(nil, t))
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
