package pubsub

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// ErrAlreadyTracked is the error of Track for a process that is tracked under the key of the topic
// already: {error, {already_tracked, Pid, Topic, Key}}.
var ErrAlreadyTracked = errors.New("pubsub: already tracked")

// ErrNoPresence is the error of Update for a process that is not tracked under the key of the
// topic: {error, nopresence}.
var ErrNoPresence = errors.New("pubsub: no presence")

// Track tracks a process of this node on a topic: all nodes see that it is there, a broadcast
// period later at most, under a key, with a meta, a Go value or an ei.Term that is a map (see
// ei.Append): a struct has atoms as keys, as metas in Phoenix mostly do, a map[string]any has
// binaries. It is seen until it is untracked, or ends, or the Presence does. A
// process may be tracked on many topics, and under many keys of one; under the same key of a topic
// once only: ErrAlreadyTracked. As in Phoenix the meta gets a phx_ref, a text that tells it from
// others.
//
// It waits for the Presence's process, until ctx ends; then nothing has happened. The error is that
// of PubSub.Err if that has ended, of Mailbox.Err if the process has, and of ei.Append for the
// meta. It is Phoenix.Presence.track/4.
//
// In Config.Setup of a process that takes over from another one (nodes.Restore), what was tracked
// is tracked. So that Setup may be the same in both, Track there leaves what is as it is. That is
// for processes with names: a mailbox without one is another process there, and the old one stays
// tracked until it is closed (Staged.Mailboxes).
func (p *Presence) Track(ctx context.Context, b *nodes.Mailbox, topic, key string, meta any) error {
	raw, err := ei.Append(nil, meta)
	if err == nil {
		raw, err = withRefs(raw, nil)
	}
	return p.change(ctx, "track", b, topic, key, err, func(s *shard, i id) error {
		if s.tracked(i) != nil {
			if s.process.Inherits() {
				return nil
			}
			return ErrAlreadyTracked
		}
		s.monitor(s.process.Mailbox(), i.pid)
		s.set(i, raw)
		return nil
	})
}

// Update puts another meta in the place of the one with which a process is tracked; if it is not,
// ErrNoPresence. As in Phoenix the meta gets a phx_ref, and as phx_ref_prev that of the one before.
// Else it is as Track. It is Phoenix.Presence.update/4.
func (p *Presence) Update(ctx context.Context, b *nodes.Mailbox, topic, key string, meta any) error {
	raw, err := ei.Append(nil, meta)
	return p.update(ctx, b, topic, key, err, func(*entry) (ei.Raw, error) { return raw, nil })
}

// UpdateFunc is Update with what a function makes of the meta that there is. If that is updated at
// the same time, the function is called again. It is Phoenix.Presence.update/4 with a function.
func UpdateFunc[M any](ctx context.Context, p *Presence, b *nodes.Mailbox, topic, key string, f func(meta M) M) error {
	for {
		var was *entry
		err := p.change(ctx, "update", b, topic, key, nil, func(s *shard, i id) error {
			if was = s.tracked(i); was == nil {
				return ErrNoPresence
			}
			return nil
		})
		if err != nil {
			return err
		}
		var meta M
		var raw ei.Raw
		if err = was.meta.Unmarshal(&meta); err == nil {
			raw, err = ei.Append(nil, f(meta))
		}
		err = p.update(ctx, b, topic, key, err, func(e *entry) (ei.Raw, error) {
			if e != was {
				return nil, errOther
			}
			return raw, nil
		})
		if !errors.Is(err, errOther) {
			return err
		}
	}
}

// errOther: the meta is another one by now.
var errOther = errors.New("another meta")

func (p *Presence) update(ctx context.Context, b *nodes.Mailbox, topic, key string, err error, next func(e *entry) (ei.Raw, error)) error {
	return p.change(ctx, "update", b, topic, key, err, func(s *shard, i id) error {
		e := s.tracked(i)
		if e == nil {
			return ErrNoPresence
		}
		raw, err := next(e)
		if err == nil {
			raw, err = withRefs(raw, e.meta)
		}
		if err == nil {
			s.set(i, raw)
		}
		return err
	})
}

// Untrack ends that a process is tracked under a key of a topic; that it is not is no error. It
// waits as Track does. It is Phoenix.Presence.untrack/3.
func (p *Presence) Untrack(ctx context.Context, b *nodes.Mailbox, topic, key string) error {
	return p.change(ctx, "untrack", b, topic, key, nil, func(s *shard, i id) error {
		s.p.mu.Lock()
		if s.leave(i) {
			s.p.tell([]id{i})
		}
		s.p.mu.Unlock()
		s.changed(i)
		s.demonitor(i.pid)
		return nil
	})
}

// UntrackAll does so under all keys of all topics. It is Phoenix.Tracker.untrack/2.
func (p *Presence) UntrackAll(ctx context.Context, b *nodes.Mailbox) error {
	err := p.check(b)
	for _, s := range p.shards {
		if err == nil {
			err = s.do(ctx, func() { s.leaveNow(b.Pid()) })
		}
	}
	if err != nil {
		return &nodes.Error{Op: "untrack a process", Err: err}
	}
	return nil
}

// change has the process of the topic's shard change what it tracks of a process.
func (p *Presence) change(ctx context.Context, op string, b *nodes.Mailbox, topic, key string, err error,
	f func(s *shard, i id) error,
) error {
	if err == nil {
		err = p.check(b)
	}
	if err == nil {
		s := p.shardOf(topic)
		i := id{topic, b.Pid(), string(ei.AppendBinary(nil, []byte(key)))}
		if failed := s.do(ctx, func() {
			if err = b.Err(); err == nil || op == "untrack" {
				err = f(s, i)
			}
		}); failed != nil {
			err = failed
		}
	}
	if err != nil {
		return &nodes.Error{Op: fmt.Sprintf("%s %s on %s", op, key, topic), Err: err}
	}
	return nil
}

func (p *Presence) check(b *nodes.Mailbox) error {
	if b == nil {
		return errors.New("the mailbox is nil")
	}
	if b.Node() != p.ps.n {
		return fmt.Errorf("%v is not of this node", b.Pid())
	}
	return nil
}

// do has the shard's process run f, or runs it at once while that waits for the node to go on.
func (s *shard) do(ctx context.Context, f func()) error {
	if s.process.Early(f) {
		return nil
	}
	return s.process.Do(ctx, f)
}

// set makes, or changes, an entry; Running is held.
func (s *shard) set(i id, meta ei.Raw) {
	s.process.AtDrain(s.leaveCluster)
	s.p.mu.Lock()
	s.join(i, meta)
	s.p.tell([]id{i})
	s.p.mu.Unlock()
	s.changed(i)
}

// monitor monitors a process that is tracked: its end is that, too.
func (s *shard) monitor(b *nodes.Mailbox, pid ei.Pid) {
	if s.refs[pid].Len > 0 {
		return
	}
	s.refs[pid] = ei.Ref{}
	if s.process.Inherits() {
		return
	}
	ref, err := b.Monitor(s.process.Context(), pid)
	if err != nil { // the shard's process has ended: the next one monitors it
		return
	}
	s.refs[pid], s.byRef[ref] = ref, pid
}

// demonitor ends the monitor of a process that is not tracked any more.
func (s *shard) demonitor(pid ei.Pid) {
	if ref, ok := s.refs[pid]; ok && s.pids[pid] == nil {
		if ref.Len > 0 {
			s.process.Mailbox().Demonitor(context.Background(), ref)
		}
		delete(s.refs, pid)
		delete(s.byRef, ref)
	}
}

// ended deals with the end of a process.
func (s *shard) ended(ref ei.Ref) {
	if pid, ok := s.byRef[ref]; ok {
		delete(s.byRef, ref)
		delete(s.refs, pid)
		s.leaveNow(pid)
		return
	}
	s.workerDown(ref)
}

// leaveNow removes what a process is tracked as.
func (s *shard) leaveNow(pid ei.Pid) {
	s.p.mu.Lock()
	ids := s.leaveAll(pid)
	s.p.tell(ids)
	s.p.mu.Unlock()
	s.changed(ids...)
	s.demonitor(pid)
}

// leaveCluster tells the others that this replica will not come back. Here everything stays.
func (s *shard) leaveCluster(ctx context.Context) error {
	err := s.process.Do(ctx, func() {
		if s.clock() > 0 && s.speaks() && !s.silent {
			_ = s.say(&saying{kind: gracefulPermdown, from: s.me})
		}
		s.silent = true
	})
	if s.process.Err() != nil { // nor is there a replica
		return nil
	}
	return err
}

const (
	phxRef     = ei.Atom("phx_ref")
	phxRefPrev = ei.Atom("phx_ref_prev")
)

// withRefs gives a meta with a new phx_ref and, if there was a meta before, that one's as
// phx_ref_prev.
func withRefs(meta, before ei.Raw) (ei.Raw, error) {
	m, err := mapOf(meta)
	if err != nil {
		return nil, err
	}
	if before != nil {
		was, err := mapOf(before)
		if err != nil {
			return nil, err
		}
		prev, _ := was.Get(phxRef)
		m = putTerm(m, phxRefPrev, prev)
	}
	raw, err := ei.AppendTerm(nil, putTerm(m, phxRef, ei.Binary(newRef())))
	if err == nil && !otp.AcceptableEverywhere(raw) {
		err = errImpossible
	}
	return raw, err
}

func mapOf(meta ei.Raw) (ei.Map, error) {
	t, err := meta.Decode()
	m, ok := t.(ei.Map)
	if err == nil && !ok {
		err = errors.New("a meta is a map, or a struct")
	}
	return m, err
}

// putTerm is Map.put: value, in the place of what is under key.
func putTerm(m ei.Map, key ei.Atom, value ei.Term) ei.Map {
	m = slices.DeleteFunc(m, func(p ei.Pair) bool { return p.Key == ei.Term(key) })
	return append(m, ei.Pair{Key: key, Value: value})
}

// newRef is a text that no meta has had, in any node: of the time and a number, as in Phoenix.
func newRef() string {
	b := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))
	b = append(b, make([]byte, 4)...)
	_, _ = rand.Read(b[8:]) // it does not fail
	return base64.URLEncoding.EncodeToString(b)
}
