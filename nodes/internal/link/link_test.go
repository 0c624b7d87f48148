package link

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/places"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/nodes/metrics"
	"github.com/cnode-go/cnode/transport"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

const tooLong = 20 * time.Second

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), tooLong)
	t.Cleanup(cancel)
	return ctx
}

// told counts what a connection has told above.
type told struct{ up, ends, ended atomic.Int32 }

func (a *told) Up()    { a.up.Add(1) }
func (a *told) Ends()  { a.ends.Add(1) }
func (a *told) Ended() { a.ended.Add(1) }

const interval = 15 * time.Second

// environment is that of a node without anything else.
func environment(t testing.TB) *Env {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	v := &Env{
		Log: slog.New(slog.DiscardHandler), Ctx: ctx, MaxFrame: 16 << 20, QueueLimit: 1 << 20, TickInterval: interval, Published: true,
		Goroutines: new(wait.Tally), Malformed: new(atomic.Int64), Incomplete: places.NewMemory(64<<20, places.Quarter),
	}
	v.Init()
	return v
}

var (
	here  = ei.Pid{Node: "here@test", ID: 1, Creation: 1}
	there = ei.Pid{Node: "there@test", ID: 1, Creation: 1}
)

const flags = dist.FlagsDefault | dist.FlagPublished

// streams are the two ends of a connection in memory.
func streams(t testing.TB) (a, b *transport.Stream) {
	tr := transport.NewMemory()
	l, err := tr.Listen(transport.MemoryAddr("there"), 0)
	require.NoError(t, err)
	a, err = tr.Connect(soon(t), l.Addr())
	require.NoError(t, err)
	b, err = l.Accept(soon(t))
	require.NoError(t, err)
	require.NoError(t, l.Close())
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func of(t testing.TB, v *Env, s *transport.Stream, self, peer ei.Pid, o Options) (*Conn, *told) {
	c, above := new(Conn), new(told)
	o.Self = self
	o.Record = metrics.Conn{Peer: string(peer.Node)}
	c.Init(v, above, s, dist.Peer{Name: string(peer.Node), Flags: flags, Announced: flags}, o)
	return c, above
}

// pair is a connection that is up, and its peer's end, which does nothing by itself.
func pair(t testing.TB) (c *Conn, peer *transport.Stream) {
	s, peer := streams(t)
	c, above := of(t, environment(t), s, here, there, Options{})
	c.Begin()
	require.EqualValues(t, 1, above.up.Load())
	t.Cleanup(func() { _ = c.Close() })
	return c, peer
}

// frameOf is the next frame that comes.
func frameOf(ctx context.Context, s *transport.Stream) ([]byte, error) {
	var head [4]byte
	if _, err := s.Readv(ctx, head[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	if len(body) == 0 {
		return body, nil
	}
	_, err := s.Readv(ctx, body)
	return body, err
}

// A reader that waits for what it needs to pass a message on is let go when it is to stop.
func TestPassing(t *testing.T) {
	c, _ := pair(t)
	stopped := make(chan error, 1)
	c.Turn() <- struct{}{}
	passing := c.Pass()
	go func() { stopped <- c.StopReading(context.Background()) }()
	<-passing.Done()
	require.Equal(t, ErrStopped, c.Passed(passing.Err()))
	c.GiveTurn()
	require.NoError(t, <-stopped)
	c.ResumeReading()
	require.NoError(t, c.Pass().Err(), "a new one")
}

// A fault of the connection is reported even if the caller's context has ended meanwhile; the end
// of the context is no fault.
func TestFaultBesideEndedContext(t *testing.T) {
	c, _ := pair(t)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name   string
		ctx    context.Context
		err    error
		want   error
		broken bool
	}{
		{"a fault", t.Context(), io.EOF, io.EOF, true},
		{"a fault beside the end of the context", cancelled, io.EOF, io.EOF, true},
		{"the end of the context", cancelled, fmt.Errorf("read: %w", context.Canceled), context.Canceled, false},
		{"that of another one", t.Context(), context.Canceled, context.Canceled, true},
		{"a single try", transport.NoWait(), os.ErrDeadlineExceeded, os.ErrDeadlineExceeded, false},
	} {
		err, broken := c.reason(tt.ctx, tt.err)
		require.Equal(t, tt.want, err, tt.name)
		require.Equal(t, tt.broken, broken, tt.name)
	}
}
