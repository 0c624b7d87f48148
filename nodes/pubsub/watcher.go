package pubsub

import (
	"context"
	"maps"
	"slices"

	"github.com/cnode-go/cnode/nodes/internal/kept"
)

// A watcher is a loop over Watch: what it was told, and what is to be told.
type watcher struct {
	told    map[id]*entry
	pending map[id]struct{} // what is now other than what was told
	order   []id            // of pending, the oldest first, and some that are not pending any more
	ready   chan struct{}   // holds a token while something is pending
}

// entry is what is visible under an id, in whichever shard; p.mu is held.
func (p *Presence) entry(i id) *entry {
	for _, s := range p.shards {
		if e := s.visible(i); e != nil {
			return e
		}
	}
	return nil
}

// tell notes for the watchers of the topics what has changed; p.mu is held.
func (p *Presence) tell(changed []id) {
	for _, i := range changed {
		for w := range p.watchers[i.topic] {
			w.note(i, p.entry(i))
		}
	}
}

// note notes what is now under an id.
func (w *watcher) note(i id, now *entry) {
	_, isPending := w.pending[i]
	switch {
	case w.told[i].is(now):
		delete(w.pending, i)
		return
	case !isPending:
		if len(w.order) > 2*len(w.pending)+64 {
			w.order = slices.DeleteFunc(w.order, func(i id) bool { _, ok := w.pending[i]; return !ok })
		}
		w.pending[i] = struct{}{}
		w.order = append(w.order, i)
	}
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// watch makes a watcher, to which everybody on the topic is news.
func (p *Presence) watch(topic string) *watcher {
	w := &watcher{told: map[id]*entry{}, pending: map[id]struct{}{}, ready: make(chan struct{}, 1)}
	p.mu.Lock()
	defer p.mu.Unlock()
	put(p.watchers, topic, w, struct{}{})
	for _, s := range p.shards {
		p.tell(slices.Collect(maps.Keys(s.topics[topic])))
	}
	return w
}

func (p *Presence) unwatch(topic string, w *watcher) {
	p.mu.Lock()
	defer p.mu.Unlock()
	drop(p.watchers, topic, w)
}

// next waits for the next change. Of one that has left, the entry is the last; nil: the loop is
// over, perhaps because of an error.
func (p *Presence) next(ctx context.Context, w *watcher) (Kind, *entry, error) {
	for {
		if kind, e := p.take(w); e != nil {
			return kind, e, nil
		}
		select {
		case <-w.ready:
		case <-ctx.Done():
			return 0, nil, nil
		case <-p.ps.done:
			if err := p.ps.Err(); kept.HasFailed(err) {
				return 0, nil, err
			}
			return 0, nil, nil
		}
	}
}

// take takes the oldest change; nil if there is none.
func (p *Presence) take(w *watcher) (Kind, *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(w.order) > 0 {
		i := w.order[0]
		w.order = w.order[1:]
		if _, ok := w.pending[i]; !ok {
			continue
		}
		delete(w.pending, i)
		was, now := w.told[i], p.entry(i)
		switch {
		case now == nil:
			delete(w.told, i)
			return Left, was
		case was == nil:
			w.told[i] = now
			return Joined, now
		default:
			w.told[i] = now
			return Updated, now
		}
	}
	return 0, nil
}
