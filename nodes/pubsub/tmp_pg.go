package pubsub

// Stand-in until nodes/pg is there.

import (
	"context"
	"iter"
	"slices"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

type pgScope struct {
	n    *nodes.Node
	b    *nodes.Mailbox
	name string
	mu   sync.Mutex
	own  map[ei.Atom][]ei.Pid
	all  map[ei.Pid]map[ei.Atom][]ei.Pid
	subs map[chan struct{}]bool
}

func pgStart(n *nodes.Node, name string, _ any) (*pgScope, error) {
	s := &pgScope{n: n, name: name, own: map[ei.Atom][]ei.Pid{}, all: map[ei.Pid]map[ei.Atom][]ei.Pid{}}
	b, err := n.Serve(name, nodes.Server{Cast: s.cast, Info: s.info}, nil)
	if err != nil {
		return nil, err
	}
	s.b = b
	up, err := b.MonitorNodes(nodes.AllNodes)
	for _, node := range up {
		_ = b.SendName(context.Background(), node, name, ei.Tuple{ei.Atom("discover"), b.Pid()})
	}
	return s, err
}

func (s *pgScope) Close() error { return s.b.Close() }

func (s *pgScope) cast(ctx context.Context, t ei.Term) {
	if t, ok := t.(ei.Tuple); ok && len(t) == 3 && t[0] == ei.Atom("sync") {
		s.meet(ctx, t[1].(ei.Pid))
		s.mu.Lock()
		defer s.mu.Unlock()
		m := map[ei.Atom][]ei.Pid{}
		if l, ok := t[2].(ei.List); ok {
			for _, g := range l {
				g := g.(ei.Tuple)
				for _, p := range g[1].(ei.List) {
					m[g[0].(ei.Atom)] = append(m[g[0].(ei.Atom)], p.(ei.Pid))
				}
			}
		}
		s.all[t[1].(ei.Pid)] = m
	}
}

func (s *pgScope) meet(ctx context.Context, p ei.Pid) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[p] == nil {
		s.all[p] = map[ei.Atom][]ei.Pid{}
		go s.b.Monitor(context.Background(), p)
		go s.b.Send(context.Background(), p, ei.Tuple{ei.Atom("discover"), s.b.Pid()})
	}
}

func (s *pgScope) info(ctx context.Context, self *nodes.Mailbox, m *nodes.Message) {
	t, err := m.Term()
	if err != nil {
		s.mu.Lock()
		delete(s.all, m.From)
		for p := range s.all {
			if m.Ref.Node == p.Node || m.From == p {
				delete(s.all, p)
			}
		}
		s.mu.Unlock()
		return
	}
	tt, ok := t.(ei.Tuple)
	if !ok {
		return
	}
	switch tt[0] {
	case ei.Atom("nodeup"):
		_ = self.SendName(ctx, string(tt[1].(ei.Atom)), s.name, ei.Tuple{ei.Atom("discover"), self.Pid()})
	case ei.Atom("nodedown"):
		s.mu.Lock()
		for p := range s.all {
			if p.Node == tt[1].(ei.Atom) {
				delete(s.all, p)
			}
		}
		s.mu.Unlock()
	case ei.Atom("discover"):
		s.mu.Lock()
		l := ei.List{}
		for g, ps := range s.own {
			pl := ei.List{}
			for _, p := range ps {
				pl = append(pl, p)
			}
			l = append(l, ei.Tuple{g, pl})
		}
		s.mu.Unlock()
		_ = self.Send(ctx, tt[1].(ei.Pid), ei.Tuple{ei.Atom("$gen_cast"), ei.Tuple{ei.Atom("sync"), self.Pid(), l}})
		s.meet(ctx, tt[1].(ei.Pid))
	case ei.Atom("join"):
		s.mu.Lock()
		if m := s.all[tt[1].(ei.Pid)]; m != nil {
			g := tt[2].(ei.Atom)
			if p, ok := tt[3].(ei.Pid); ok {
				m[g] = append(m[g], p)
			} else {
				for _, p := range tt[3].(ei.List) {
					m[g] = append(m[g], p.(ei.Pid))
				}
			}
		}
		s.mu.Unlock()
	}
}

func (s *pgScope) Join(ctx context.Context, group any, members ...*nodes.Mailbox) error {
	s.mu.Lock()
	g := group.(ei.Atom)
	for _, m := range members {
		s.own[g] = append(s.own[g], m.Pid())
	}
	others := s.others()
	s.mu.Unlock()
	for _, o := range others {
		for _, m := range members {
			_ = s.b.Send(ctx, o, ei.Tuple{ei.Atom("join"), s.b.Pid(), g, m.Pid()})
		}
	}
	return nil
}

func (s *pgScope) others() (l []ei.Pid) {
	for p := range s.all {
		l = append(l, p)
	}
	return l
}

func (s *pgScope) LocalMembers(group any) iter.Seq[ei.Pid] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Values(slices.Clone(s.own[group.(ei.Atom)]))
}

func (s *pgScope) Members(group any) iter.Seq[ei.Pid] {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := slices.Clone(s.own[group.(ei.Atom)])
	for _, m := range s.all {
		l = append(l, m[group.(ei.Atom)]...)
	}
	return slices.Values(l)
}

func (s *pgScope) Broadcast(ctx context.Context, from *nodes.Mailbox, group any, term any) (err error) {
	for p := range s.Members(group) {
		if e := from.Send(ctx, p, term); e != nil {
			err = e
		}
	}
	return err
}
