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
	"github.com/cnode-go/cnode/nodes/internal/states"
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

// two are both ends of a connection.
func two(t testing.TB) (a, b *Conn) {
	s1, s2 := streams(t)
	a, _ = of(t, environment(t), s1, here, there, Options{})
	b, _ = of(t, environment(t), s2, there, here, Options{})
	for _, c := range []*Conn{a, b} {
		c.Begin()
		t.Cleanup(func() { _ = c.Close() })
	}
	return a, b
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

// A message is what a test receives.
type message struct {
	dist.Control
	Payload ei.Raw
	memory  Memory
}

func (m *message) in() In { return In{&m.Control, &m.Payload, &m.memory} }

// receive is one Receive of whoever takes the reader's turn for it.
func receive(ctx context.Context, c *Conn) (*message, error) {
	c.Turn() <- struct{}{}
	defer c.GiveTurn()
	m := new(message)
	err := c.Receive(ctx, m.in())
	if err == nil {
		err = c.Resolve(m.in())
	}
	return m, err
}

// What is sent, in any way, comes out of Receive at the other end in its order, and is counted.
func TestSendReceive(t *testing.T) {
	a, b := two(t)
	atom, err := ei.AppendAtom(nil, "hello")
	require.NoError(t, err)
	message := dist.Control{Op: dist.OpSend, To: there}
	exit := dist.Control{Op: dist.OpExit, From: here, To: there, Reason: atom}
	for i, send := range []func() error{
		func() error { return a.SendTerm(soon(t), &message, ei.Atom("hello")) },
		func() error { return a.SendControl(soon(t), &message, atom) },
		func() error { return a.Send(soon(t), InTurn, &message, atom) },
		func() error { return a.Send(soon(t), Owned, &message, atom) },
		func() error { return a.Send(soon(t), Copied, &message, atom) },
		func() error { return a.Send(soon(t), Now, &message, atom) },
		func() error { return a.Send(transport.NoWait(), Lazily, &message, atom) },
		func() error {
			rest, err := a.SendMany(soon(t), &dist.Control{Op: dist.OpSendSender, From: here}, []ei.Pid{there}, atom)
			require.Empty(t, rest)
			return err
		},
		func() error { return a.Send(soon(t), InTurn, &exit, nil) },
		func() error { return a.Send(soon(t), Now, &exit, nil) },
	} {
		require.NoError(t, send(), i)
		m, err := receive(soon(t), b)
		require.NoError(t, err, i)
		require.Equal(t, there, m.To, i)
		if m.Op == dist.OpExit {
			require.Equal(t, atom, []byte(m.Reason), i)
			require.Empty(t, m.Payload, i)
			continue
		}
		require.Equal(t, dist.OpSend, m.Op, i)
		require.Equal(t, atom, []byte(m.Payload), i)
	}
	require.NoError(t, a.Flush(soon(t)))
	sent, got := a.Traffic(), b.Traffic()
	require.EqualValues(t, 10, got.MessagesReceived)
	require.EqualValues(t, 7, sent.MessagesSent, "those in turn")
	require.Equal(t, sent.BytesSent, got.BytesReceived)
	require.Zero(t, sent.BytesQueued)
}

// A signal that the peer does not take is not sent, in no way, and is no error.
func TestSignalNotTaken(t *testing.T) {
	a, b := two(t)
	a.peer.Flags &^= dist.FlagDistMonitorName
	for _, how := range []How{InTurn, Now, Lazily, Copied} {
		monitor := dist.Control{Op: dist.OpMonitorP, From: here, To: there, Ref: ei.Ref{Node: here.Node, Creation: 1, Len: 3}}
		require.NoError(t, a.Send(soon(t), how, &monitor, nil))
	}
	require.NoError(t, a.Send(soon(t), Now, &dist.Control{Op: dist.OpSend, To: there}, ei.AppendInt(nil, 7)))
	m, err := receive(soon(t), b)
	require.NoError(t, err)
	require.Equal(t, dist.OpSend, m.Op, "the first that has come")
}

// A peer that does not read: who waits is said by the How.
func TestWhoWaits(t *testing.T) {
	c, _ := pair(t)
	c.env.SendWhole = true
	payload := ei.Raw(binaryOf(1 << 20))
	ctl := &dist.Control{Op: dist.OpSend, To: there}
	var err error
	for err == nil {
		err = c.Send(transport.NoWait(), InTurn, ctl, payload)
	}
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, c.Send(transport.NoWait(), Lazily, ctl, payload), "it has room of its own")
	require.NoError(t, c.Send(context.Background(), Now, ctl, payload))
	require.True(t, c.isFull())
	short, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, c.AwaitRoom(short), context.Canceled)
	for err = nil; err == nil; {
		err = c.Send(transport.NoWait(), Lazily, ctl, payload)
	}
	require.Equal(t, ErrNoRoom, err)
	require.NoError(t, c.Err())
	for c.Err() == nil {
		_ = c.Send(context.Background(), Now, ctl, payload)
	}
	require.Error(t, c.Send(transport.NoWait(), Lazily, ctl, payload))
	require.NotEqual(t, ErrNoRoom, c.Send(transport.NoWait(), Lazily, ctl, payload), "the end of the connection is another matter")
}

func binaryOf(n int) []byte {
	b, err := ei.AppendTerm(nil, ei.Binary(make([]byte, n)))
	if err != nil {
		panic(err)
	}
	return b
}

// A connection ends once, for the first reason, and tells of it in order; Left comes last.
func TestEnd(t *testing.T) {
	s, peer := streams(t)
	c, above := of(t, environment(t), s, here, there, Options{})
	c.Begin()
	require.NoError(t, c.Err())
	c.Turn() <- struct{}{} // a reader deals with what has come
	require.ErrorIs(t, c.Fail(io.EOF), io.EOF)
	require.ErrorIs(t, c.Fail(ErrClosed), io.EOF)
	<-c.Done()
	require.Never(t, func() bool { return above.ended.Load() > 0 }, 20*time.Millisecond, time.Millisecond)
	c.GiveTurn()
	<-c.Left()
	require.Equal(t, []int32{1, 1, 1}, []int32{above.up.Load(), above.ends.Load(), above.ended.Load()})
	require.NoError(t, c.Close(), "it is closed already")
	require.ErrorIs(t, c.Err(), io.EOF)
	_, err := frameOf(soon(t), peer)
	require.ErrorIs(t, err, io.EOF)
	require.ErrorIs(t, c.Send(soon(t), InTurn, &dist.Control{Op: dist.OpSend, To: there}, ei.AppendInt(nil, 7)), io.EOF)
}

// What the peer sends against the protocol is counted, and ends the connection.
func TestBreach(t *testing.T) {
	c, peer := pair(t)
	_, err := peer.Writev(soon(t), []byte{0, 0, 0, 1, 0})
	require.NoError(t, err)
	_, err = receive(soon(t), c)
	require.Error(t, err)
	require.Equal(t, err, c.Err())
	require.EqualValues(t, 1, c.env.Malformed.Load())
}

// A connection that stands still goes on where it was: here after Unsuspend and ResumeReading, or
// elsewhere after Snapshot, GiveUp and Stage.
func TestMove(t *testing.T) {
	c, peer := pair(t)
	ctl, seven := &dist.Control{Op: dist.OpSend, To: there}, ei.AppendInt(nil, 7)
	require.NoError(t, c.StopReading(soon(t)))
	require.Error(t, c.StopReading(soon(t)), "it is stopped already")
	require.NoError(t, c.Suspend(soon(t), nil))
	require.True(t, c.Life().Phase().IsStill())
	require.ErrorIs(t, c.Send(transport.NoWait(), InTurn, ctl, seven), os.ErrDeadlineExceeded)
	c.Unsuspend()
	c.ResumeReading()
	require.NoError(t, c.Send(soon(t), InTurn, ctl, seven))
	_, err := frameOf(soon(t), peer)
	require.NoError(t, err)

	require.NoError(t, c.StopReading(soon(t)))
	require.NoError(t, c.Suspend(soon(t), nil))
	c.Fail(io.EOF)
	require.NoError(t, c.Err(), "it is another process's, perhaps")
	c.Unsuspend()
	c.ResumeReading()
	<-c.Left()
	require.ErrorIs(t, c.Err(), io.EOF)

	s, _ := streams(t)
	next, _ := of(t, environment(t), s, here, there, Options{})
	require.NoError(t, next.Stage(soon(t), &states.Conn{Received: 5, Messages: 3, Sent: 2}))
	require.Equal(t, Traffic{MessagesReceived: 3, MessagesSent: 2, BytesReceived: 5}, next.Traffic())
	forgotten := false
	require.NoError(t, next.GiveUp(func() { forgotten = true; require.ErrorIs(t, next.Err(), ErrMoved) }))
	require.True(t, forgotten)
	<-next.Left()
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
