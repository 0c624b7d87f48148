package pubsub

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// A node is one replica, by its name. In a node with workers one of the shards is it, the leader:
// that which has the name …_leader, which is unique in the node. The others tell it what they
// track, and hear of it, as of other nodes, what it says. When it ends another one takes its place,
// which is another replica: so the others see leaves and joins.
//
// A worker says {'$cnode_presence', Shard, IsAll, [{Topic, Process, Key, Meta}]} to the leader:
// what has changed or, first, all that it tracks. The meta of what has left is the atom left.

// A role is what a shard is among those of the node's workers.
type role struct {
	leads    bool
	electing bool
	leader   ei.Pid // the other one that leads; zero: none is known
	ref      ei.Ref // its monitor
	late     bool   // it has to be told everything
	clients  map[ei.Pid]*client
}

func newRole() role { return role{clients: map[ei.Pid]*client{}} }

// A client is another worker's shard, to the leader.
type client struct {
	ref ei.Ref
	ids map[id]struct{}
}

type workerSays struct {
	_       struct{} `ei:"tuple=$cnode_presence"`
	Shard   ei.Pid
	IsAll   bool
	Entries []workerEntry
}

type workerEntry struct {
	_     struct{} `ei:"tuple"`
	Topic string
	Pid   ei.Pid
	Key   ei.Raw
	Meta  ei.Raw
}

// lookupTime is how long the front may take to say which worker leads.
const lookupTime = 5 * time.Second

var left, _ = ei.AppendAtom(nil, "left")

// speaks tells whether the shard is the node's replica.
func (s *shard) speaks() bool { return s.leads || !s.isWorker }

// changed tells the leader of changes to what this shard tracks.
func (s *shard) changed(ids ...id) {
	if !s.speaks() && len(ids) > 0 {
		s.tellLeader(false, ids)
	}
}

func (s *shard) tellLeader(isAll bool, ids []id) {
	if s.leader == (ei.Pid{}) {
		s.elect()
		return
	}
	b := s.process.Mailbox()
	says := workerSays{Shard: b.Pid(), IsAll: isAll}
	for _, i := range ids {
		one := workerEntry{Topic: i.topic, Pid: i.pid, Key: ei.Raw(i.key), Meta: left}
		if e := s.tracked(i); e != nil {
			one.Meta = e.meta
		}
		says.Entries = append(says.Entries, one)
	}
	s.late = b.Send(transport.NoWait(), s.leader, says) != nil || s.late && !isAll
}

// catchUp does every period what could not be done before.
func (s *shard) catchUp() {
	if s.speaks() || s.clock() == 0 {
		return
	}
	s.p.mu.Lock()
	s.news() // is the leader's to tell
	s.p.mu.Unlock()
	if s.late || s.leader == (ei.Pid{}) {
		var ids []id
		for _, of := range s.pids {
			for i := range of {
				ids = append(ids, i)
			}
		}
		s.tellLeader(true, ids)
	}
}

// elect makes this shard the leader, or finds the one that is.
func (s *shard) elect() {
	n := s.p.ps.n
	if s.electing || n.State() != nodes.StateRunning { // before, each worker would have the name
		return
	}
	s.electing = true
	b, name := s.process.Mailbox(), s.name+"_leader"
	s.process.Go(func() {
		ctx, cancel := context.WithTimeout(s.process.Context(), lookupTime)
		defer cancel()
		var other ei.Pid
		err := n.Register(ctx, name, b)
		leads := err == nil
		if errors.Is(err, nodes.ErrNameTaken) {
			other, err = n.Lookup(ctx, name)
			if err == nil {
				var ref ei.Ref
				if ref, err = b.Monitor(ctx, other); err == nil { // so there is a way to it
					b.Demonitor(context.Background(), ref)
				}
			}
		}
		s.process.Post(func() {
			s.electing = false
			switch {
			case b != s.process.Mailbox(): // it has ended, and the name with it
			case leads || other == b.Pid():
				s.lead()
			case err == nil:
				s.follow(b, other)
			default:
				s.p.ps.log.Debug("no worker leads", "topic", s.topic, "error", err)
			}
		})
	})
}

// lead makes this shard the node's replica.
func (s *shard) lead() {
	s.leads, s.leader = true, ei.Pid{}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if p := s.replicas[s.me.Node]; p != nil { // the leader before
		s.p.tell(s.permdown(replica{Node: s.me.Node, Vsn: p.vsn}))
	}
	s.spoke = time.Time{}
}

func (s *shard) follow(b *nodes.Mailbox, leader ei.Pid) {
	ref, err := b.Monitor(transport.NoWait(), leader)
	if err == nil {
		s.leader, s.ref, s.late = leader, ref, true
		s.catchUp()
	}
}

// hearWorker takes what another worker tracks. It knows that this one leads, perhaps before this
// one does.
func (s *shard) hearWorker(says *workerSays) {
	c := s.clients[says.Shard]
	if c == nil {
		ctx, cancel := context.WithTimeout(s.process.Context(), time.Second)
		defer cancel()
		ref, err := s.process.Mailbox().Monitor(ctx, says.Shard)
		if err != nil {
			s.p.ps.log.Warn("another worker cannot be watched: what it tracks is not told", "topic", s.topic, "error", err)
			return
		}
		c = &client{ref, map[id]struct{}{}}
		s.clients[says.Shard] = c
	}
	gone := map[id]struct{}{}
	if says.IsAll {
		gone, c.ids = c.ids, gone
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	for _, one := range says.Entries {
		i := id{one.Topic, one.Pid, string(one.Key)}
		if delete(gone, i); bytes.Equal(one.Meta, left) {
			delete(c.ids, i)
			gone[i] = struct{}{}
			continue
		}
		c.ids[i] = struct{}{}
		if e := s.tracked(i); e == nil || !bytes.Equal(e.meta, one.Meta) {
			s.join(i, one.Meta)
			s.p.tell([]id{i})
		}
	}
	s.dropAll(gone)
}

// dropAll removes what a worker tracks no more; p.mu is held.
func (s *shard) dropAll(ids map[id]struct{}) {
	for i := range ids {
		if s.leave(i) {
			s.p.tell([]id{i})
		}
	}
}

// workerDown tells whether a monitor was that of another worker's shard, and deals with its end.
func (s *shard) workerDown(ref ei.Ref) bool {
	if ref == s.ref {
		s.leader, s.ref = ei.Pid{}, ei.Ref{}
		s.catchUp()
		return true
	}
	for pid, c := range s.clients {
		if c.ref == ref {
			delete(s.clients, pid)
			s.p.mu.Lock()
			defer s.p.mu.Unlock()
			s.dropAll(c.ids)
			return true
		}
	}
	return false
}

// lostRole forgets what the process that somebody has ended was; p.mu is held.
func (s *shard) lostRole() {
	for _, c := range s.clients {
		s.dropAll(c.ids)
	}
	s.role = newRole()
}

// siblings are the members of the PubSub in the other workers.
func (ps *PubSub) siblings(yield func(ei.Pid) bool) {
	own := ps.members[0].Mailbox().Pid()
	for pid := range ps.opts.Scope.Members(ps.groups[0]) {
		if pid.Node == own.Node && pid != own && !yield(pid) {
			return
		}
	}
}
