package global

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/nodes"
)

// limit is for what takes milliseconds, or some seconds of OTP's pauses, unless something is
// broken.
const limit = 2 * time.Minute

// A world is a cluster in this process, in memory.
type world struct{ *cluster.Cluster }

func newWorld(t testing.TB) *world { return &world{cluster.New(t)} }

// A member is a node that takes part in global.
type member struct {
	*Global
	n *nodes.Node
}

func (w *world) member(t testing.TB, name string, o *Options, rules ...nodes.Rule) member {
	t.Helper()
	m := member{}
	cfg := w.Config(name)
	cfg.Rules = rules
	cfg.Visible, cfg.Logger = true, logger(t)
	cfg.Setup = func(n *nodes.Node) (err error) {
		m.Global, err = Start(t.Context(), n, o)
		return err
	}
	m.n = w.Start(cfg)
	return m
}

// meeting starts two nodes that have their names in common.
func (w *world) meeting(t testing.TB) (one, other member) {
	t.Helper()
	return w.meetingOf(t, nil)
}

func (w *world) meetingOf(t testing.TB, o *Options) (one, other member) {
	t.Helper()
	one, other = w.member(t, "a@test", o), w.member(t, "b@test", o)
	one.connect(t, "b@test")
	require.NoError(t, one.Sync(within(t)))
	require.NoError(t, other.Sync(within(t)))
	return one, other
}

func (m member) connect(t testing.TB, other string) {
	t.Helper()
	_, err := m.n.Connect(within(t), other)
	require.NoError(t, err)
}

func (m member) process(t testing.TB) *nodes.Mailbox {
	t.Helper()
	b := cluster.Mailbox(t, m.n, nil)
	return b
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until f is true.
func eventually(t testing.TB, f func() bool) {
	t.Helper()
	for begun := time.Now(); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Since(begun) > limit {
			require.FailNow(t, "it does not happen")
		}
	}
}

// logger shows what nodes have logged if the test fails.
func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
