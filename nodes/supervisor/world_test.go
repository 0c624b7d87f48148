package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/supervisor"
)

// Nothing of a supervisor may outlive its node.
func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// A scene is a supervisor over children a, b, c, …, and what they have done.
type scene struct {
	t    testing.TB
	n    *nodes.Node
	ctx  context.Context
	sup  *supervisor.Supervisor
	fail map[string]error // of the next start

	mu   sync.Mutex
	done []string // "+a": a was started, "-a": it has terminated
}

func newNode(t testing.TB) *nodes.Node {
	w := cluster.New(t)
	return w.Start(w.Config("shop@host"))
}

func newScene(t testing.TB) *scene {
	return &scene{t: t, n: newNode(t), ctx: expect.Context(t), fail: map[string]error{}}
}

func (s *scene) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = append(s.done, what)
}

// did is what the children have done since the last time.
func (s *scene) did() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := strings.Join(s.done, " ")
	s.done = nil
	return all
}

// child is a Server that says what it does.
func (s *scene) child(id string, edit ...func(c *supervisor.Child)) supervisor.Child {
	c := supervisor.Server(id, func() nodes.Server {
		return nodes.Server{Terminate: func(context.Context, ei.Term) { s.note("-" + id) }}
	}, nil)
	begin := c.Start
	c.Start = func(ctx context.Context, sup *supervisor.Supervisor) (ei.Pid, error) {
		s.mu.Lock()
		err := s.fail[id]
		delete(s.fail, id)
		s.mu.Unlock()
		if err != nil {
			s.note("!" + id)
			return ei.Pid{}, err
		}
		s.note("+" + id)
		return begin(ctx, sup)
	}
	for _, f := range edit {
		f(&c)
	}
	return c
}

func (s *scene) start(o *supervisor.Options, children ...supervisor.Child) {
	s.t.Helper()
	sup, err := supervisor.Start(s.ctx, s.n, "sup", o, children...)
	require.NoError(s.t, err)
	s.sup = sup
}

// ask makes one of the calls of stdlib's supervisor, which is answered once it has done with what
// came before.
func (s *scene) ask(request any) string {
	s.t.Helper()
	v, err := s.n.Call(s.ctx, s.sup.Pid(), request)
	require.NoError(s.t, err)
	return v.String()
}

// exit ends a child, and waits until the supervisor has dealt with that.
func (s *scene) exit(id string, reason ei.Term) {
	s.t.Helper()
	b := s.n.Whereis(id)
	require.NotNil(s.t, b, id)
	order := ei.Tuple{ei.Atom("terminate"), reason}
	require.NoError(s.t, s.sup.Mailbox().Send(s.ctx, b.Pid(), ei.Tuple{ei.Atom("system"), ei.Tuple{b.Pid(), ei.Atom("t")}, order}))
	for {
		v, err := s.n.Call(s.ctx, s.sup.Pid(), ei.Atom("which_children"))
		if errors.As(err, new(*nodes.ExitError)) {
			return
		}
		require.NoError(s.t, err)
		if b.Err() != nil && !strings.Contains(v.String(), b.Pid().String()) {
			return
		}
	}
}

// running lists the children that run.
func (s *scene) running(ids string) string {
	var list []string
	for _, id := range strings.Fields(ids) {
		if s.n.Whereis(id) != nil {
			list = append(list, id)
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func request(op ei.Atom, id string) ei.Term { return ei.Tuple{op, ei.Atom(id)} }

func restart(r supervisor.Restart) func(c *supervisor.Child) {
	return func(c *supervisor.Child) { c.Restart = r }
}

func printed(format string, pids ...any) string { return fmt.Sprintf(format, pids...) }
