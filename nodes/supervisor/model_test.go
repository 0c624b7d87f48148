package supervisor_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/nodestest"
	"github.com/cnode-go/cnode/nodes/supervisor"
)

// A model is a supervisor as OTP's manual describes it, without processes.
type model struct {
	strategy supervisor.Strategy
	left     int // restarts that there may still be
	children []modelChild
	did      []string
	over     bool
}

type modelChild struct {
	id      string
	restart supervisor.Restart
	runs    bool
}

func (m *model) at(id string) int {
	return slices.IndexFunc(m.children, func(c modelChild) bool { return c.id == id })
}

// down ends the children from i to j in reverse order, and drops temporary ones.
func (m *model) down(i, j int) {
	for k := j - 1; k >= i; k-- {
		if m.children[k].runs {
			m.did = append(m.did, "-"+m.children[k].id)
		}
		if m.children[k].runs = false; m.children[k].restart == supervisor.Temporary {
			m.children = slices.Delete(m.children, k, k+1)
		}
	}
}

func (m *model) up(i, j int) {
	for k := i; k < min(j, len(m.children)); k++ {
		m.children[k].runs = true
		m.did = append(m.did, "+"+m.children[k].id)
	}
}

func (m *model) exit(id string, regular bool) {
	i := m.at(id)
	m.did = append(m.did, "-"+id)
	m.children[i].runs = false
	switch c := m.children[i]; {
	case c.restart == supervisor.Temporary:
		m.down(i, i+1)
		return
	case c.restart == supervisor.Transient && regular:
		return
	case m.left == 0:
		m.down(0, len(m.children))
		m.over = true
		return
	}
	m.left--
	switch m.strategy {
	case supervisor.OneForOne:
		m.up(i, i+1)
	case supervisor.OneForAll:
		m.down(0, len(m.children))
		m.up(0, len(m.children))
	case supervisor.RestForOne:
		m.down(i, len(m.children))
		m.up(i, len(m.children))
	}
}

func (m *model) String() string {
	var parts []string
	for _, c := range slices.Backward(m.children) {
		parts = append(parts, fmt.Sprintf("%s %v", c.id, c.runs))
	}
	return strings.Join(parts, ", ")
}

// Whatever ends, and is asked for, the supervisor does what the model does.
func TestAgainstModel(t *testing.T) {
	for _, strategy := range []supervisor.Strategy{supervisor.OneForOne, supervisor.OneForAll, supervisor.RestForOne} {
		rapid.Check(t, func(rt *rapid.T) {
			s := newScene(t)
			defer s.n.Close()
			intensity := rapid.IntRange(1, 6).Draw(rt, "intensity")
			m := &model{strategy: strategy, left: intensity}
			var children []supervisor.Child
			for i := range rapid.IntRange(1, 5).Draw(rt, "children") {
				id, r := string(rune('a'+i)), supervisor.Restart(rapid.IntRange(0, 2).Draw(rt, "restart"))
				children = append(children, s.child(id, restart(r)))
				m.children = append(m.children, modelChild{id: id, restart: r})
			}
			s.start(&supervisor.Options{Strategy: strategy, Intensity: intensity, Period: time.Hour}, children...)
			m.up(0, len(m.children))
			for range 20 {
				if len(m.children) == 0 || m.over {
					break
				}
				c := rapid.SampledFrom(m.children).Draw(rt, "child")
				i := m.at(c.id)
				switch op := rapid.SampledFrom([]ei.Atom{"exit", "exit", "exit", "terminate_child", "restart_child", "delete_child"}).Draw(rt, "op"); {
				case op == "exit" && c.runs:
					reason := rapid.SampledFrom([]string{"normal", "shutdown", "{shutdown,idle}", "bug", "killed"}).Draw(rt, "reason")
					s.exit(c.id, nodestest.Term(reason))
					m.exit(c.id, reason == "normal" || strings.Contains(reason, "shutdown"))
				case op == "terminate_child":
					require.Equal(t, "ok", s.ask(request(op, c.id)))
					m.down(i, i+1)
				case op == "restart_child" && !c.runs:
					require.Contains(t, s.ask(request(op, c.id)), "{ok,")
					m.up(i, i+1)
				case op == "delete_child" && !c.runs:
					require.Equal(t, "ok", s.ask(request(op, c.id)))
					m.children = slices.Delete(m.children, i, i+1)
				}
				if m.over {
					<-s.sup.Mailbox().Done()
				} else {
					require.Equal(t, m.String(), s.shown())
				}
				require.Equal(t, strings.Join(m.did, " "), s.did())
				m.did = nil
			}
		})
	}
}

// shown is supervisor:which_children as the model prints itself.
func (s *scene) shown() string {
	v, err := s.n.Call(s.ctx, s.sup.Pid(), ei.Atom("which_children"))
	require.NoError(s.t, err)
	var parts []string
	for _, t := range v.(ei.List) {
		c := t.(ei.Tuple)
		_, runs := c[1].(ei.Pid)
		parts = append(parts, fmt.Sprintf("%s %v", string(c[0].(ei.Atom)), runs))
	}
	return strings.Join(parts, ", ")
}

// Children, supervisors among them, are killed at random, by many at once, for a while: the tree
// stays whole, and leaves nothing behind.
func TestRandomKills(t *testing.T) {
	s := newScene(t)
	o := &supervisor.Options{Intensity: 1 << 20}
	all, rest := o, o
	all.Strategy, rest.Strategy = supervisor.OneForAll, supervisor.RestForOne
	empty := s.n.Stats().Mailboxes
	s.start(o, s.child("a"), supervisor.Sub("all", all, s.child("b"), s.child("c")),
		supervisor.Sub("rest", rest, s.child("d"), supervisor.Sub("low", o, s.child("e")), s.child("f")))
	whole := s.n.Stats().Mailboxes
	names := strings.Fields("a all b c rest d low e f")
	var killers sync.WaitGroup
	for range 4 {
		killers.Go(func() {
			b, err := s.n.NewMailbox(nil)
			if err != nil {
				return
			}
			defer b.Close()
			for range 100 {
				if victim := s.n.Whereis(names[rand.IntN(len(names))]); victim != nil {
					_ = b.SendExit(s.ctx, victim.Pid(), []ei.Atom{"kill", "shutdown", "bug"}[rand.IntN(3)])
				}
				_, _ = b.CallName(s.ctx, "shop@host", "rest", ei.Atom("which_children"))
			}
		})
	}
	killers.Wait()
	require.Eventually(t, func() bool {
		return s.running("a all b c rest d low e f") == "a all b c d e f low rest" && s.n.Stats().Mailboxes == whole
	}, expect.Limit, time.Millisecond, "all run again, and nothing else")
	require.NoError(t, s.sup.Shutdown(s.ctx))
	require.Eventually(t, func() bool { return s.n.Stats().Mailboxes == empty }, expect.Limit, time.Millisecond)
}

// A child that nobody has named is reached by its pid, and one that does not link from the
// beginning is linked all the same.
func TestPlainMailbox(t *testing.T) {
	s := newScene(t)
	made := make(chan *nodes.Mailbox, 10)
	s.start(&supervisor.Options{}, supervisor.Child{ID: "plain", Start: func(_ context.Context, sup *supervisor.Supervisor) (ei.Pid, error) {
		b, err := sup.Node().NewMailbox(nil)
		if err != nil {
			return ei.Pid{}, err
		}
		made <- b
		return b.Pid(), nil
	}})
	first := <-made
	first.Exit(ei.Atom("bug"))
	second := expect.Returns(t, made)
	require.NotEqual(t, first.Pid(), second.Pid())
	s.shown() // it is linked when the supervisor answers
	s.sup.Mailbox().Exit(ei.Atom("killed"))
	<-second.Done()
	var ended *nodes.ExitError
	require.ErrorAs(t, second.Err(), &ended)
	require.Equal(t, ei.Atom("killed"), ended.Reason)
}
