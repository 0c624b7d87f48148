package kept

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// A scene is a node with a Process that has the name p, and what has happened to it.
type scene struct {
	t     *testing.T
	n     *nodes.Node
	p     *Process
	did   chan string
	fails atomic.Pointer[error] // what the next Make returns
	until context.CancelFunc
	errs  atomic.Int32 // in the log
}

// An errorCount counts what is logged as an error.
type errorCount struct {
	slog.Handler
	n *atomic.Int32
}

func (c errorCount) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError
}

func (c errorCount) Handle(context.Context, slog.Record) error { c.n.Add(1); return nil }

var errFull = errors.New("full")

func newScene(t *testing.T) *scene {
	s := &scene{t: t, did: make(chan string, 100)}
	table := nodes.Static{"a@test": {Addr: transport.UnixAddr(filepath.Join(sockdir.New(t), "a"))}}
	var err error
	s.n, err = nodes.New(nodes.Config{
		Name: "a@test", Cookie: "secret", Transport: transport.Unix(), Listen: table["a@test"].Addr, Resolver: table,
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { s.n.Close() })
	require.NoError(t, s.n.Start(expect.Context(t)))
	var until context.Context
	until, s.until = context.WithCancel(t.Context())
	s.p = New(Options{
		Node: s.n, Log: slog.New(errorCount{slog.DiscardHandler, &s.errs}), Name: "p", Until: until,
		Make: func(_ context.Context, isFirst bool) (*nodes.Mailbox, error) {
			if err := s.fails.Load(); err != nil {
				return nil, *err
			}
			if isFirst {
				s.did <- "first"
			} else {
				s.did <- "another"
			}
			return s.n.Handle("p", s.p.Handler(s.take), nil)
		},
		Begin: func(b *nodes.Mailbox, isFirst bool) {
			require.Same(t, s.p.Mailbox(), b)
			if isFirst {
				s.did <- "begin"
			} else {
				s.did <- "begin again"
			}
		},
		Lost: func() { s.did <- "lost" },
		Over: func(why error) {
			if HasFailed(why) {
				s.did <- "failed: " + why.Error()
			} else {
				s.did <- "over"
			}
		},
	})
	return s
}

func (s *scene) take(_ *nodes.Mailbox, m *nodes.Message) {
	t, err := m.Term()
	require.NoError(s.t, err)
	s.did <- ei.Brief(t, 100)
}

// does waits until exactly that happens.
func (s *scene) does(want ...string) {
	s.t.Helper()
	for _, w := range want {
		require.Equal(s.t, w, expect.Returns(s.t, s.did))
	}
}

func (s *scene) kill() {
	s.t.Helper()
	box := s.p.Mailbox()
	require.NoError(s.t, box.Err())
	box.Exit(ei.Atom("killed"))
}

func started(t *testing.T) *scene {
	s := newScene(t)
	require.NoError(t, s.p.Start(t.Context()))
	t.Cleanup(s.p.Close)
	s.does("first", "begin")
	return s
}

// However it ends, it says why, once; then it does nothing.
func TestEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(s *scene)
		does []string
		err  error
	}{
		"close": {func(s *scene) { s.p.Close() }, []string{"over"}, nodes.ErrClosed},
		"node":  {func(s *scene) { s.n.Close() }, []string{"over"}, nodes.ErrClosed},
		"until": {func(s *scene) { s.until() }, []string{"over"}, nodes.ErrClosed},
		"no other": {func(s *scene) {
			s.fails.Store(&errFull)
			s.kill()
		}, []string{"lost", "failed: full"}, errFull},
		"between two": {func(s *scene) {
			s.p.Running.Lock()
			s.p.deaths, s.p.made = 1000, time.Now()
			s.p.Running.Unlock()
			s.kill()
			s.does("lost")
			s.p.Close()
		}, []string{"over"}, nodes.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(t)
			require.NoError(t, s.p.Err())
			tt.end(s)
			s.does(tt.does...)
			<-s.p.Done()
			require.ErrorIs(t, s.p.Err(), tt.err)
			require.Error(t, s.p.Context().Err())
			require.ErrorIs(t, s.p.Do(t.Context(), func() { s.did <- "done" }), tt.err)
			s.p.Go(func() { s.did <- "gone" })
			s.p.Close()
			require.ErrorIs(t, s.p.Err(), tt.err)
			require.Empty(t, s.did)
		})
	}
}

// A Process that cannot be started leaves nothing behind.
func TestNotStarted(t *testing.T) {
	s := newScene(t)
	s.fails.Store(&errFull)
	require.ErrorIs(t, s.p.Start(t.Context()), errFull)
	<-s.p.Done()
	s.p.Close()
	require.ErrorIs(t, s.p.Err(), errFull)
	require.Empty(t, s.did)
}

// One that is ended is made anew; what there was to do is done, once, and after Begin.
func TestMadeAnew(t *testing.T) {
	s := started(t)
	s.p.Running.Lock() // it is in the middle of something
	old := s.p.Mailbox()
	s.kill()
	<-old.Done()
	s.p.Post(func() { s.did <- "posted" })
	s.p.Post(func() { s.did <- "and later" })
	s.p.Running.Unlock()
	s.does("lost", "another", "begin again", "posted", "and later")
	s.kill()
	s.does("lost", "another", "begin again")
	require.NoError(t, s.p.Do(expect.Context(t), func() { s.did <- "done" }))
	s.does("done")
	require.NoError(t, s.n.Whereis("p").Err())
	require.Empty(t, s.did)
}

// A function that ends its process takes nothing with it: not those behind it, which run in their
// order in the next one, and Do says what has become of it.
func TestFunctionEndsProcess(t *testing.T) {
	for name, tt := range map[string]struct {
		f    func()
		text string
	}{
		"panic":  {func() { panic("a bug") }, "a bug"},
		"nil":    {func() { panic(nil) }, new(runtime.PanicNilError).Error()},
		"goexit": {runtime.Goexit, "runtime.Goexit"},
	} {
		t.Run(name, func(t *testing.T) {
			s := started(t)
			for range 2 {
				s.p.Running.Lock() // so that all of it is there when it begins
				pid := s.p.Mailbox().Pid()
				ended := make(chan error, 1)
				posted := func(n int) bool {
					s.p.asking.Lock()
					defer s.p.asking.Unlock()
					return len(s.p.commands) == n
				}
				s.p.Post(func() { s.did <- "before" })
				go func() { ended <- s.p.Do(expect.Context(t), tt.f) }()
				require.Eventually(t, func() bool { return posted(2) }, expect.Limit, time.Millisecond)
				s.p.Post(func() { s.did <- "behind" })
				after := make(chan error, 1)
				go func() { after <- s.p.Do(expect.Context(t), func() { s.did <- "awaited" }) }()
				require.Eventually(t, func() bool { return posted(4) }, expect.Limit, time.Millisecond)
				s.p.Running.Unlock()
				var exit *nodes.ExitError
				require.ErrorAs(t, expect.Returns(t, ended), &exit)
				require.Equal(t, &nodes.ExitError{Pid: pid, Reason: ei.Tuple{ei.Atom("go_panic"), ei.Binary(tt.text)}}, exit)
				s.does("before", "lost", "another", "begin again", "behind", "awaited")
				require.NoError(t, expect.Returns(t, after))
			}
			require.Empty(t, s.did)
		})
	}
}

// Functions and messages take turns; what wakes the process is no message.
func TestMessages(t *testing.T) {
	s := started(t)
	ctx := expect.Context(t)
	b, err := s.n.NewMailbox(nil)
	require.NoError(t, err)
	for _, message := range []ei.Term{
		ei.Atom("one"), ei.Tuple{ei.Atom("two"), ei.Int(2)}, ei.Tuple{ei.Atom("$cnode_kept"), ei.Atom("other")},
	} {
		require.NoError(t, b.Send(ctx, s.p.Mailbox().Pid(), message))
		s.does(ei.Brief(message, 100))
		require.NoError(t, s.p.Do(ctx, func() { s.did <- "done" }))
		s.does("done")
	}
	require.Empty(t, s.did)
}

// Do does what it has been asked for, or says that it has not.
func TestDoEnds(t *testing.T) {
	s := started(t)
	over, cancel := context.WithCancel(t.Context())
	s.p.Running.Lock()
	answers := make(chan error)
	go func() { answers <- s.p.Do(over, func() { s.did <- "done" }) }()
	expect.WaitsIn(t, "select", "kept.(*Process).Do(")
	cancel()
	require.ErrorIs(t, expect.Returns(t, answers), context.Canceled)
	s.p.Running.Unlock()
	require.NoError(t, s.p.Do(expect.Context(t), func() {}))
	require.Empty(t, s.did)

	over, cancel = context.WithCancel(t.Context())
	begun, release := make(chan bool), make(chan bool)
	go func() { answers <- s.p.Do(over, func() { begun <- true; <-release; s.did <- "done" }) }()
	<-begun
	cancel() // it has begun
	close(release)
	require.NoError(t, expect.Returns(t, answers))
	s.does("done")
}

// Close waits for what was begun.
func TestCloseWaits(t *testing.T) {
	s := started(t)
	s.p.Go(func() {
		<-s.p.Context().Done()
		<-s.p.Done()
		s.did <- "gone"
	})
	s.p.Close()
	s.does("over", "gone")
}

// The pause grows as long as somebody goes on.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{})
		defer p.cancel()
		for _, tt := range []struct{ after, want time.Duration }{
			{time.Hour, 0},
			{0, deathPause},
			{time.Second, 2 * deathPause},
			{calm, 3 * deathPause},
			{calm + 1, 0},
			{calm, deathPause},
		} {
			time.Sleep(tt.after)
			require.Equal(t, tt.want, p.died(), tt)
		}
		for range 1000 {
			p.died()
		}
		require.Equal(t, calm, p.died())
	})
}

// betweenTwo is a scene whose process has been ended so often that the next one takes its time.
func betweenTwo(t *testing.T) *scene {
	s := started(t)
	s.p.Running.Lock()
	s.p.deaths, s.p.made = 1000, time.Now()
	s.p.Running.Unlock()
	s.kill()
	s.does("lost")
	return s
}

// While there is no process, the node does not move without what it knew.
func TestFreezeBetweenTwo(t *testing.T) {
	s := betweenTwo(t)
	_, err := s.n.Freeze(expect.Context(t))
	require.ErrorIs(t, err, errNone)
	require.NoError(t, s.p.Err())
}

// The end of the node, in order, is no failure of the process.
func TestShutdownIsNoFailure(t *testing.T) {
	s := newScene(t)
	require.NoError(t, s.p.Start(t.Context()))
	s.does("first", "begin")
	require.NoError(t, s.n.Shutdown(expect.Context(t)))
	<-s.p.Done()
	require.Zero(t, s.errs.Load())
	require.ErrorIs(t, s.p.Err(), nodes.ErrClosed)
}

// A mailbox that is ended before it is in its place is made anew like any other.
func TestEndedWhileMade(t *testing.T) {
	s := newScene(t)
	require.NoError(t, s.p.Start(t.Context()))
	s.does("first", "begin")
	var killed error = &nodes.ExitError{Reason: ei.Atom("killed")}
	s.fails.Store(&killed)
	s.p.Mailbox().Exit(ei.Atom("killed"))
	s.does("lost")
	s.fails.Store(nil)
	s.does("another", "begin again")
	require.Zero(t, s.errs.Load())
}

// A Process answers module sys, a Handler of a program does not.
func TestAnswersSys(t *testing.T) {
	s := newScene(t)
	require.NoError(t, s.p.Start(t.Context()))
	defer s.p.Close()
	plain, err := s.n.Handle("plain", func(_ *nodes.Mailbox, m *nodes.Message) { m.Release() }, nil)
	require.NoError(t, err)
	server, err := s.n.Serve("server", nodes.Server{}, nil)
	require.NoError(t, err)
	for pid, want := range map[ei.Pid]bool{
		s.p.Mailbox().Pid(): true, server.Pid(): true, s.n.Whereis("rex").Pid(): true, plain.Pid(): false,
	} {
		d, ok := s.n.Process(pid)
		require.True(t, ok)
		require.Equal(t, want, AnswersSys(d.Process), d.Names)
	}
}
