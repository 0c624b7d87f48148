package pubsub

import (
	"context"
	"errors"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/kept"
	"github.com/cnode-go/cnode/transport"
)

// A shard is the counterpart of one shard of the others. What it tracks changes in its process.
type shard struct {
	p        *Presence
	name     string
	topic    string
	isWorker bool
	process  *kept.Process // whose Running guards what it tracks itself, and what is marked so
	*tracker

	// guarded by p.mu
	errands map[errand]bool     // what is being sent; true: and then once more
	asked   map[ei.Atom]*saying // the last request of a node, until it is answered

	// guarded by Running
	role
	refs   map[ei.Pid]ei.Ref // monitors of the processes that it tracks; zero: begin makes it
	byRef  map[ei.Ref]ei.Pid
	silent bool // it has told the others that it has ended
}

// An errand is a message to the shard of another node.
type errand struct {
	to   ei.Atom
	what kind
}

func newShard(p *Presence, name string) *shard {
	topic := presencePrefix + name
	limit := kept.NewLimit[replica](p.opts.Limit, "PresenceOptions.Limit", p.ps.log.With("topic", topic))
	return &shard{
		p: p, name: name, topic: topic, isWorker: inside.IsWorker(), tracker: newTracker(limit),
		errands: map[errand]bool{}, asked: map[ei.Atom]*saying{},
		role: newRole(), refs: map[ei.Pid]ei.Ref{}, byRef: map[ei.Ref]ei.Pid{},
	}
}

// make makes the shard's process. Another one in its place goes on as the same replica.
func (s *shard) make(isFirst bool) (*nodes.Mailbox, error) {
	handler := s.process.Handler(s.take)
	b, err := s.p.ps.n.Serve(s.name, nodes.Server{Info: func(_ context.Context, b *nodes.Mailbox, m *nodes.Message) { handler(b, m) }},
		&nodes.MailboxOptions{TrapExit: true, Handover: s.handover, Full: nodes.FullWait}) // a peer's flood holds up that peer only
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

// run does what a shard does every broadcast period.
func (s *shard) run() {
	t := time.NewTicker(s.p.opts.BroadcastPeriod)
	defer t.Stop()
	for {
		select {
		case <-s.process.Context().Done():
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
func (s *shard) take(b *nodes.Mailbox, m *nodes.Message) {
	if m.Op == dist.OpMonitorPExit {
		s.ended(m.Ref)
		return
	}
	var says workerSays
	if s.isWorker && m.Conn() == nil && m.Payload.Unmarshal(&says) == nil {
		s.hearWorker(&says)
		return
	}
	said, err := parseSaying(m.Payload)
	if err != nil && kept.RefuseCall(b, m) {
		return
	}
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

// hears tells whether what a replica says counts: it is of another node that takes part, or ends;
// or of another worker, which leads or asks the one that does.
func (s *shard) hears(said *saying) bool {
	if said.from.Node == s.me.Node {
		return s.isWorker && s.speaks() == (said.kind == transferReq)
	}
	return said.kind == gracefulPermdown || s.p.ps.hasMember(said.from.Node)
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
				s.p.ps.log.Debug("a replica was not told", "topic", s.topic, "peer", to, "what", what, "error", err)
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
	if !s.isWorker { // a node that has gone meanwhile is asked, and answered, when it comes back
		ctx = nodes.NoConnect(ctx)
	}
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
