package pubsub

import (
	"time"

	"github.com/cnode-go/cnode/ei"
)

// What a shard hands over to that of the process which goes on as this node: all that it knows, and
// the replica that it is. So others see neither leaves nor joins. Its monitors, and the messages
// that it has not taken, move with its process.
type (
	savedShard struct {
		Me          replica
		Said, Floor uint64
		Removed     []savedRemoval
		Monitors    []savedMonitor
		Peers       []savedPeer
		Leads       bool
		Leader      *savedMonitor // nil: none is known
		Clients     []savedClient
		State       ei.Raw // as of another replica: see delta
	}
	savedRemoval struct {
		_       struct{} `ei:"tuple"`
		At, Tag uint64
	}
	savedMonitor struct {
		_   struct{} `ei:"tuple"`
		Pid ei.Pid
		Ref *ei.Ref // nil: the next process monitors it
	}
	savedClient struct {
		_     struct{} `ei:"tuple"`
		Shard savedMonitor
		IDs   []workerEntry
	}
	savedPeer struct {
		_          struct{} `ei:"tuple"`
		Replica    replica
		Heard      int64 // in ns since 1970
		Down, Over bool  // Over: some that it tracks were left out
	}
)

// handover gives the state, while nothing runs.
func (s *shard) handover() ([]byte, error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	state, err := ei.Append(nil, s.state())
	if err != nil {
		return nil, err
	}
	saved := savedShard{Me: s.me, Said: s.said, Floor: s.floor, State: state}
	for _, r := range s.removed {
		saved.Removed = append(saved.Removed, savedRemoval{At: r.at, Tag: r.tag})
	}
	for pid, ref := range s.refs {
		saved.Monitors = append(saved.Monitors, monitorOf(pid, ref))
	}
	if saved.Leads = s.leads; s.leader != (ei.Pid{}) {
		leader := monitorOf(s.leader, s.ref)
		saved.Leader = &leader
	}
	for pid, c := range s.clients {
		one := savedClient{Shard: monitorOf(pid, c.ref)}
		for i := range c.ids {
			one.IDs = append(one.IDs, workerEntry{Topic: i.topic, Pid: i.pid, Key: ei.Raw(i.key), Meta: left})
		}
		saved.Clients = append(saved.Clients, one)
	}
	for node, p := range s.replicas {
		r := replica{Node: node, Vsn: p.vsn}
		saved.Peers = append(saved.Peers, savedPeer{Replica: r, Heard: p.heard.UnixNano(), Down: p.isDown, Over: s.limit.Lacks(r)})
	}
	return ei.Marshal(saved)
}

func monitorOf(pid ei.Pid, ref ei.Ref) savedMonitor {
	if ref.Len == 0 {
		return savedMonitor{Pid: pid}
	}
	return savedMonitor{Pid: pid, Ref: &ref}
}

func (m savedMonitor) ref() ei.Ref {
	if m.Ref == nil {
		return ei.Ref{}
	}
	return *m.Ref
}

// inherit takes the state of the shard before; Running is held.
func (s *shard) inherit(state []byte) error {
	var saved savedShard
	if err := ei.Unmarshal(state, &saved); err != nil {
		return err
	}
	c := ei.NewCursor(saved.State)
	d, err := readDelta(&c, true)
	if err != nil {
		return err
	}
	s.process.Inherit()
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.me, s.said, s.floor = saved.Me, saved.Said, saved.Floor
	for _, r := range saved.Removed {
		s.removed = append(s.removed, removal{r.At, r.Tag})
	}
	for _, m := range saved.Monitors {
		if s.refs[m.Pid] = m.ref(); m.Ref != nil {
			s.byRef[*m.Ref] = m.Pid
		}
	}
	if s.leads = saved.Leads; saved.Leader != nil {
		s.leader, s.role.ref, s.late = saved.Leader.Pid, saved.Leader.ref(), true
	}
	for _, one := range saved.Clients {
		c := &client{one.Shard.ref(), map[id]struct{}{}}
		for _, e := range one.IDs {
			c.ids[id{e.Topic, e.Pid, string(e.Key)}] = struct{}{}
		}
		s.clients[one.Shard.Pid] = c
	}
	s.context = d.context
	for r, clocks := range d.clouds {
		s.know(r, clocks)
	}
	for _, p := range saved.Peers {
		s.replicas[p.Replica.Node] = &peer{vsn: p.Replica.Vsn, heard: time.Unix(0, p.Heard), isDown: p.Down}
		if p.Down {
			s.down[p.Replica] = true
		}
		if p.Over {
			s.unlearn(p.Replica)
			s.limit.Inherit(p.Replica, string(p.Replica.Node))
		}
	}
	for _, e := range d.values {
		s.insert(e)
		if e.tag.Replica == s.me {
			put(s.pids, e.pid, e.id, struct{}{})
		}
	}
	if s.clock() > 0 {
		s.process.AtDrain(s.leaveCluster)
	}
	return nil
}
