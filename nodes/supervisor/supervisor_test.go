package supervisor_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/supervisor"
)

// With one restart too many the supervisor terminates the children in reverse order and ends.
func TestIntensity(t *testing.T) {
	s := newScene(t)
	watch := cluster.Mailbox(t, s.n, &nodes.MailboxOptions{TrapExit: true})
	s.start(&supervisor.Options{Intensity: 2, Period: time.Hour, Parent: watch.Pid()}, s.child("a"), s.child("b"), s.child("c"))
	s.exit("a", ei.Atom("x"))
	s.exit("b", ei.Atom("x"))
	require.Equal(t, "+a +b +c -a +a -b +b", s.did())
	s.exit("a", ei.Atom("x"))
	m, err := watch.Receive(s.ctx)
	require.NoError(t, err)
	reason, err := m.Reason.Decode()
	require.NoError(t, err)
	require.Equal(t, ei.Atom("shutdown"), reason)
	require.Equal(t, "-a -c -b", s.did())
	require.Equal(t, "", s.running("a b c sup"))

	s = newScene(t)
	s.start(&supervisor.Options{Intensity: supervisor.NoRestarts}, s.child("a"), s.child("b", restart(supervisor.Temporary)))
	s.exit("b", ei.Atom("x"))
	require.NoError(t, s.sup.Mailbox().Err())
	s.exit("a", ei.Atom("x"))
	<-s.sup.Mailbox().Done()

	s = newScene(t) // restarts that are long ago do not count
	s.start(&supervisor.Options{Intensity: 1, Period: time.Nanosecond}, s.child("a"))
	for range 20 {
		s.exit("a", ei.Atom("x"))
	}
	require.Equal(t, "a sup", s.running("a sup"))
}

// A supervisor that cannot start a child starts none.
func TestStartFails(t *testing.T) {
	s := newScene(t)
	s.fail["c"] = errors.New("no luck")
	_, err := supervisor.Start(s.ctx, s.n, "sup", &supervisor.Options{}, s.child("a"), s.child("b"), s.child("c"), s.child("d"))
	require.ErrorContains(t, err, "no luck")
	var failed *supervisor.StartError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, "c", failed.Child)
	require.Equal(t, "+a +b !c -b -a", s.did())
	require.Equal(t, "", s.running("a b c d sup"))
	for _, wrong := range [][]supervisor.Child{
		{s.child("a"), s.child("a")}, {s.child("")}, {{ID: "a"}},
		{s.child("a", func(c *supervisor.Child) { c.Significant = true })},
	} {
		_, err = supervisor.Start(s.ctx, s.n, "sup", nil, wrong...)
		require.ErrorAs(t, err, &failed)
	}
	_, err = supervisor.Start(s.ctx, s.n, "sup", nil, supervisor.Child{ID: "a",
		Start: func(context.Context, *supervisor.Supervisor) (ei.Pid, error) { panic("a bug") }})
	require.ErrorContains(t, err, "a bug")
	require.Equal(t, "", s.running("sup"))
	_ = cluster.Mailbox(t, s.n, nil)
	b, err := s.n.Serve("sup", nodes.Server{}, nil)
	require.NoError(t, err)
	_, err = supervisor.Start(s.ctx, s.n, "sup", nil, s.child("a"))
	require.ErrorIs(t, err, nodes.ErrNameTaken)
	b.Close()
}

// A restart that fails is tried again, which counts.
func TestRestartFails(t *testing.T) {
	for strategy, want := range map[supervisor.Strategy]string{
		supervisor.OneForOne:  "-b !b +b",
		supervisor.OneForAll:  "-b -c -a +a !b -a +a +b +c",
		supervisor.RestForOne: "-b -c !b +b +c",
	} {
		s := newScene(t)
		s.start(&supervisor.Options{Strategy: strategy, Intensity: 2, Period: time.Hour}, s.child("a"), s.child("b"), s.child("c"))
		s.did()
		s.fail["b"] = errors.New("not yet")
		s.exit("b", ei.Atom("x"))
		s.ask(ei.Atom("count_children")) // after the message that the supervisor has sent to itself
		require.Equal(t, want, s.did())
		require.Equal(t, "a b c sup", s.running("a b c sup"))
		s.fail["b"] = errors.New("not yet")
		s.exit("b", ei.Atom("x"))
		<-s.sup.Mailbox().Done()
	}
	s := newScene(t) // not before its time
	s.start(&supervisor.Options{Delay: time.Hour}, s.child("a"))
	s.fail["a"] = errors.New("not yet")
	s.exit("a", ei.Atom("x"))
	require.Equal(t, "[{a,restarting,worker,[]}]", s.ask(ei.Atom("which_children")))
	require.Equal(t, "{error,restarting}", s.ask(request("restart_child", "a")))
	require.Equal(t, "{error,restarting}", s.ask(request("delete_child", "a")))
	require.Equal(t, "ok", s.ask(request("terminate_child", "a")))
	require.Equal(t, "[{a,undefined,worker,[]}]", s.ask(ei.Atom("which_children")))
	s = newScene(t)
	s.start(&supervisor.Options{Delay: time.Millisecond, Intensity: 5}, s.child("a"))
	s.did()
	s.fail["a"] = errors.New("not yet")
	s.exit("a", ei.Atom("x"))
	require.Eventually(t, func() bool { return s.running("a") == "a" }, expect.Limit, time.Millisecond, "the second try")
	require.Equal(t, "-a !a +a", s.did())
}

// What other nodes ask for.
func TestRequests(t *testing.T) {
	s := newScene(t)
	sub := supervisor.Sub("sub", &supervisor.Options{})
	s.start(nil, s.child("a"), sub, s.child("t", restart(supervisor.Temporary)), supervisor.Child{
		ID: "none", Start: func(context.Context, *supervisor.Supervisor) (ei.Pid, error) { return ei.Pid{}, nil },
	})
	a, tpid, subpid := s.n.Whereis("a").Pid(), s.n.Whereis("t").Pid(), s.n.Whereis("sub").Pid()
	require.Equal(t, printed("[{none,undefined,worker,[]},{t,%v,worker,[]},{sub,%v,supervisor,[]},{a,%v,worker,[]}]", tpid, subpid, a),
		s.ask(ei.Atom("which_children")))
	for _, tt := range []struct {
		request ei.Term
		want    string
	}{
		{ei.Atom("count_children"), "[{specs,4},{active,3},{supervisors,1},{workers,3}]"},
		{request("restart_child", "a"), "{error,running}"},
		{request("delete_child", "a"), "{error,running}"},
		{request("restart_child", "x"), "{error,not_found}"},
		{request("terminate_child", "x"), "{error,not_found}"},
		{ei.Tuple{ei.Atom("delete_child"), ei.Int(7)}, "{error,not_found}"},
		{request("terminate_child", "t"), "ok"},
		{request("terminate_child", "t"), "{error,not_found}"},
		{request("terminate_child", "a"), "ok"},
		{request("terminate_child", "a"), "ok"},
		{ei.Atom("count_children"), "[{specs,3},{active,1},{supervisors,1},{workers,2}]"},
		{request("delete_child", "none"), "ok"},
		{request("delete_child", "none"), "{error,not_found}"},
		{ei.Atom("what"), "{error,{unknown_request,what}}"},
		{ei.Tuple{ei.Atom("what"), ei.Int(1)}, "{error,{unknown_request,{what,1}}}"},
	} {
		require.Equal(t, tt.want, s.ask(tt.request), "%v", tt.request)
	}
	require.Contains(t, s.ask(ei.Tuple{ei.Atom("start_child"), ei.Map{}}), "{error,{not_supported,")
	require.Equal(t, "+a +t -t -a", s.did())
	again := s.ask(request("restart_child", "a"))
	require.Equal(t, printed("{ok,%v}", s.n.Whereis("a").Pid()), again)
	require.NoError(t, s.sup.Mailbox().Send(s.ctx, s.sup.Pid(), ei.Tuple{ei.Atom("$start_again"), ei.Atom("a")})) // by nobody
	s.fail["a"] = &ei.ReasonError{Reason: ei.Atom("busy")}
	require.Equal(t, "ok", s.ask(request("terminate_child", "a")))
	require.Equal(t, "{error,busy}", s.ask(request("restart_child", "a")))
	s.fail["a"] = errors.New("no luck")
	require.Equal(t, `{error,<<"no luck">>}`, s.ask(request("restart_child", "a")))
	spec := s.ask(request("get_childspec", "sub"))
	for _, want := range []string{"id => sub", "shutdown => infinity", "type => supervisor", "restart => permanent", "significant => false"} {
		require.Contains(t, spec, want)
	}
	require.Contains(t, s.ask(request("get_childspec", "a")), "shutdown => 5000")
}

// A child that does not end in its time is killed; one that is to be killed is not asked.
func TestShutdown(t *testing.T) {
	s := newScene(t)
	stuck := make(chan struct{})
	child := func(id string, d time.Duration) supervisor.Child {
		c := supervisor.Server(id, func() nodes.Server {
			return nodes.Server{Terminate: func(ctx context.Context, _ ei.Term) {
				s.note("-" + id)
				select {
				case <-stuck:
				case <-ctx.Done():
				}
			}}
		}, nil)
		c.Shutdown = d
		return c
	}
	s.start(nil, child("brutal", supervisor.BrutalKill), child("short", time.Millisecond),
		child("patient", supervisor.Infinity))
	stopped := make(chan error)
	go func() { stopped <- s.sup.Shutdown(s.ctx) }()
	require.Eventually(t, func() bool { return s.did() == "-patient" }, expect.Limit, time.Millisecond, "the last child")
	require.Equal(t, "brutal short", s.running("brutal short"))
	close(stuck)
	require.NoError(t, <-stopped)
	require.Equal(t, "", s.running("brutal short patient sup"))
}

// A supervisor ends with its significant children.
func TestAutoShutdown(t *testing.T) {
	significant := func(c *supervisor.Child) { c.Significant, c.Restart = true, supervisor.Transient }
	for auto, ends := range map[supervisor.AutoShutdown]int{supervisor.AnySignificant: 1, supervisor.AllSignificant: 2} {
		s := newScene(t)
		s.start(&supervisor.Options{AutoShutdown: auto, Intensity: 5}, s.child("a", significant), s.child("b", significant), s.child("c"))
		s.exit("c", ei.Atom("normal"))
		s.exit("a", ei.Atom("bug")) // is started again
		require.NoError(t, s.sup.Mailbox().Err())
		for _, id := range []string{"a", "b"}[:ends] {
			require.NoError(t, s.sup.Mailbox().Err())
			s.exit(id, ei.Atom("normal"))
		}
		<-s.sup.Mailbox().Done()
		require.Equal(t, "", s.running("a b c"))
	}
}

// Whatever ends a supervisor ends its children, and what ends a tree the whole of it.
func TestTreeEnds(t *testing.T) {
	for name, end := range map[string]func(s *scene){
		"stop":  func(s *scene) { require.NoError(t, s.sup.Shutdown(s.ctx)) },
		"close": func(s *scene) { require.NoError(t, s.sup.Close()) },
		"kill":  func(s *scene) { s.sup.Mailbox().Exit(ei.Atom("killed")) },
		"node":  func(s *scene) { require.NoError(t, s.n.Shutdown(s.ctx)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.start(nil, s.child("a"), supervisor.Sub("sub", nil, s.child("b"), s.child("c")), s.child("d"))
			s.did()
			require.NoError(t, s.sup.Err())
			end(s)
			require.Eventually(t, func() bool { return s.running("a b c d sub sup") == "" }, expect.Limit, time.Millisecond, "all ends")
			if name == "stop" || name == "close" {
				require.Equal(t, "-d -c -b -a", s.did())
			}
			<-s.sup.Done()
			require.Error(t, s.sup.Err())
			require.NoError(t, s.sup.Shutdown(s.ctx), "it has ended")
		})
	}
}

// Shutdown does not wait longer than its context.
func TestStopWaits(t *testing.T) {
	s := newScene(t)
	c := s.child("a", func(c *supervisor.Child) { c.Shutdown = supervisor.Infinity })
	released := make(chan struct{})
	c.Start = func(ctx context.Context, sup *supervisor.Supervisor) (ei.Pid, error) {
		b, err := sup.Node().Serve("a", nodes.Server{Terminate: func(context.Context, ei.Term) { <-released }},
			&nodes.MailboxOptions{Parent: sup.Pid(), TrapExit: true})
		return b.Pid(), err
	}
	s.start(nil, c)
	ctx, cancel := context.WithTimeout(s.ctx, time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.sup.Shutdown(ctx), context.DeadlineExceeded)
	close(released)
	require.NoError(t, s.sup.Shutdown(s.ctx))
}
