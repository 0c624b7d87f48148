//go:build unix

package sequences

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

const (
	tooLong = 20 * time.Second
	flags   = dist.FlagsDefault
	limit   = 300 << 10
)

var errGone, errElsewhere = errors.New("gone"), errors.New("elsewhere")

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), tooLong)
	t.Cleanup(cancel)
	return ctx
}

// pair connects two streams.
func pair(t testing.TB, tr transport.Transport, at transport.Addr) (client, server *transport.Stream) {
	l, err := tr.Listen(at, 0)
	require.NoError(t, err)
	defer l.Close()
	accepted := make(chan *transport.Stream, 1)
	go func() {
		s, _ := l.Accept(context.Background())
		accepted <- s
	}()
	client, err = tr.Connect(soon(t), l.Addr())
	require.NoError(t, err)
	server = <-accepted
	require.NotNil(t, server)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func memoryPair(t testing.TB) (client, server *transport.Stream) {
	return pair(t, transport.NewMemory(), transport.MemoryAddr(""))
}

// A fixture is a Sender in front of a queue, and the stream's other end.
type fixture struct {
	s    *Sender
	q    queue.Queue
	c    *transport.Stream
	peer *transport.Stream
	wg   *sync.WaitGroup // the Sender's goroutines
}

func newFixture(t testing.TB, c, peer *transport.Stream) *fixture {
	f := &fixture{c: c, peer: peer, wg: new(sync.WaitGroup)}
	f.q = c.Posts(nil)
	f.s = New(f.q, limit, func(run func()) { f.wg.Go(run) })
	t.Cleanup(func() {
		f.s.End(errGone, false)
		c.Close()
		peer.Close()
		f.wg.Wait()
	})
	return f
}

// A piece is a message of a test: its sender, its number among the sender's, and bytes that belong
// to no other.
func payload(sender, number, size int) ei.Raw {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, max(size, 12)), uint32(sender))
	b = binary.BigEndian.AppendUint32(b, uint32(number))
	b = binary.BigEndian.AppendUint32(b, uint32(max(size, 12)))
	for i := len(b); i < size; i++ {
		b = append(b, byte(sender*37+number*101+i*7+i>>8))
	}
	return b
}

func pid(sender int) ei.Pid { return ei.Pid{Node: "a@test", ID: uint32(sender), Creation: 1} }

var receiver = ei.Pid{Node: "b@test", ID: 9, Creation: 1}

func control(t testing.TB, sender int) []byte {
	b, err := protocol.AppendControl(nil, &dist.Control{Op: dist.OpSendSender, From: pid(sender), To: receiver})
	require.NoError(t, err)
	return b
}

// small is a message in one frame.
func small(t testing.TB, sender, number, size int) (head []byte, body ei.Raw) {
	body = payload(sender, number, size)
	head, err := protocol.AppendFrameHead(nil, flags, &dist.Control{Op: dist.OpSendSender, From: pid(sender), To: receiver}, len(body))
	require.NoError(t, err)
	return head, body
}

// An output is what a peer makes of the bytes that it reads.
type output struct {
	r       *protocol.Reader
	rest    []byte
	read    int64
	frames  []int       // where frames end
	arrived [][3]int    // sender, number, size
	at      map[int]int // where the frame of a message without fragments begins, by its number
	err     error
}

func newOutput() *output {
	return &output{r: protocol.NewReader(flags, protocol.Limits{}, nil), at: map[int]int{}}
}

func (o *output) take(b []byte) {
	o.read += int64(len(b))
	o.rest = append(o.rest, b...)
	for len(o.rest) >= 4 && o.err == nil {
		n := 4 + int(binary.BigEndian.Uint32(o.rest))
		if len(o.rest) < n {
			return
		}
		var ctl dist.Control
		a, err := o.r.ReadFrame(slices.Clone(o.rest[4:n]), &ctl)
		if err != nil {
			o.err = err
			return
		}
		begin := int(o.read) - len(o.rest)
		o.rest = o.rest[n:]
		o.frames = append(o.frames, begin+n)
		if !a.Complete {
			continue
		}
		if len(a.Payload) < 12 {
			o.err = fmt.Errorf("a message of %d bytes", len(a.Payload))
			return
		}
		sender, number := int(binary.BigEndian.Uint32(a.Payload)), int(binary.BigEndian.Uint32(a.Payload[4:]))
		size := int(binary.BigEndian.Uint32(a.Payload[8:]))
		if !bytes.Equal(a.Payload, payload(sender, number, size)) || ctl.From != pid(sender) {
			o.err = fmt.Errorf("message %d of %d (%d bytes) is not whole", number, sender, size)
			return
		}
		o.arrived = append(o.arrived, [3]int{sender, number, size})
		if a.Kind == protocol.KindHeader {
			o.at[number] = begin
		}
	}
}

// readUntil reads until the peer has seen so many messages.
func (o *output) readUntil(t testing.TB, s *transport.Stream, messages int) {
	t.Helper()
	b := make([]byte, 32<<10)
	for len(o.arrived) < messages {
		n, err := s.Read(soon(t), b)
		o.take(b[:n])
		require.NoError(t, o.err)
		require.NoError(t, err, "%d messages have arrived", len(o.arrived))
	}
	require.Empty(t, o.rest)
}

func (o *output) numbers() (list []int) {
	for _, a := range o.arrived {
		list = append(list, a[1])
	}
	return list
}

func sending(f *fixture, ctx context.Context, t testing.TB, sender, number, size int) chan error {
	done, begun := make(chan error, 1), f.last()
	p, ctl := payload(sender, number, size), control(t, sender)
	go func() {
		err := f.s.Send(ctx, pid(sender), ctl, p, false)
		clear(p) // it is this goroutine's again
		done <- err
	}()
	eventually(t, func() bool { return f.last() > begun || len(done) > 0 })
	return done
}

func (f *fixture) last() uint64 {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return f.s.last
}

func eventually(t testing.TB, is func() bool) {
	t.Helper()
	for end := time.Now().Add(tooLong); !is(); runtime.Gosched() {
		require.True(t, time.Now().Before(end), "never")
	}
}

// stalled waits until the queue has a fragment that does not go out, since the peer does not read.
// out is how many bytes have.
func (f *fixture) stalled(t testing.TB) (out int) {
	t.Helper()
	eventually(t, func() bool {
		waits, _ := f.q.Buffered()
		n, err := f.peer.PendingBytes()
		require.NoError(t, err)
		out = n
		return waits > 0 && out >= 64<<10 // what memory takes
	})
	return out
}

// What others post waits behind one fragment at most, however many large messages are under way.
func TestSmallWaitsForOneFragment(t *testing.T) {
	c, peer := memoryPair(t)
	f := newFixture(t, c, peer)
	var all []chan error
	for i := range 5 {
		all = append(all, sending(f, soon(t), t, i, i, 500<<10))
	}
	out := f.stalled(t)
	head, body := small(t, 7, 7, 100)
	require.NoError(t, f.q.Post(soon(t), head, body, 0))
	o := newOutput()
	o.readUntil(t, peer, 6)
	require.LessOrEqual(t, o.at[7], out+protocol.FragmentSize+100)
	require.Equal(t, 7, o.numbers()[0])
	for _, done := range all {
		require.NoError(t, <-done)
	}
	require.NoError(t, f.s.Flush(transport.NoWait()))
	require.Zero(t, f.s.Bytes())
}

// Post waits for room, and what waits for none is bounded by what others of its kind take.
func TestRoom(t *testing.T) {
	c, peer := memoryPair(t)
	f := newFixture(t, c, peer)
	require.NoError(t, f.s.Send(transport.NoWait(), pid(0), control(t, 0), payload(0, 0, limit), false))
	f.stalled(t)
	require.ErrorIs(t, f.s.Post(transport.NoWait(), pid(1), control(t, 1), payload(1, 1, 10), false, false), os.ErrDeadlineExceeded)
	ctx, cancel := context.WithCancel(context.Background())
	posted := make(chan error, 1)
	go func() { posted <- f.s.Post(ctx, pid(1), control(t, 1), payload(1, 1, 10), false, false) }()
	cancel()
	require.ErrorIs(t, <-posted, context.Canceled)
	forced := 0
	for ; ; forced++ {
		err := f.s.Post(context.Background(), pid(1), control(t, 1), payload(1, 2+forced, 200<<10), false, true)
		if err != nil {
			require.ErrorIs(t, err, transport.ErrQueueFull)
			break
		}
	}
	require.Greater(t, forced, 1)
	require.Less(t, forced, 6)
	o := newOutput()
	o.readUntil(t, peer, 1+forced)
	require.NoError(t, f.s.Post(transport.NoWait(), pid(1), control(t, 1), payload(1, 1, 10), false, false))
}

// A message whose sender has given up takes the room of no signal, however large it is: its
// sender's last words would end the connection.
func TestLargeLooseLeavesRoomForSignals(t *testing.T) {
	c, peer := memoryPair(t)
	f := newFixture(t, c, peer)
	ctx, cancel := context.WithCancel(context.Background())
	done := sending(f, ctx, t, 1, 1, 10*limit)
	f.stalled(t)
	cancel()
	require.NoError(t, <-done)
	head, body := small(t, 1, 2, 50)
	follows, err := f.s.AfterLoose(context.Background(), pid(1), head, body, true)
	require.True(t, follows)
	require.NoError(t, err)
	require.NoError(t, f.s.Post(context.Background(), pid(2), control(t, 2), payload(2, 3, 200<<10), false, true))
	o := newOutput()
	o.readUntil(t, peer, 3)
	require.Equal(t, []int{3, 1, 2}, o.numbers())
}

// gated is a pair whose writes pass a function.
func gated(t testing.TB, before func()) (client, server *transport.Stream) {
	cb := transport.TCPCallbacks()
	write, writev := cb.Write, cb.Writev
	cb.Write = func(fd int, p []byte, tmo time.Duration) (int, error) { before(); return write(fd, p, tmo) }
	cb.Writev = func(fd int, v [][]byte, tmo time.Duration) (int64, error) { before(); return writev(fd, v, tmo) }
	tr, err := transport.New(cb, nil)
	require.NoError(t, err)
	return pair(t, tr, transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
}

// The end comes while a fragment is being written: its sender waits until the memory is its own
// again, and hears what became of the message.
func TestEndAmidWrite(t *testing.T) {
	for name, tt := range map[string]struct {
		size int
		post bool
		err  error
	}{
		"of the last fragment":                       {1000, false, nil},
		"of the last fragment, for which none waits": {1000, true, nil},
		"of another fragment":                        {200 << 10, false, errGone},
	} {
		t.Run(name, func(t *testing.T) {
			begun, open := make(chan struct{}), make(chan struct{})
			var once sync.Once
			c, peer := gated(t, func() { once.Do(func() { close(begun); <-open }) })
			f := newFixture(t, c, peer)
			var done chan error
			if tt.post {
				require.NoError(t, f.s.Post(soon(t), pid(1), control(t, 1), payload(1, 1, tt.size), true, false))
			} else {
				done = sending(f, soon(t), t, 1, 1, tt.size)
			}
			<-begun
			f.s.End(errGone, false)
			require.Empty(t, done, "its memory is in use")
			close(open)
			if !tt.post {
				require.ErrorIs(t, <-done, tt.err)
			}
			f.wg.Wait()
			require.Zero(t, f.s.loose.Load())
			require.ErrorIs(t, f.s.Send(soon(t), pid(1), control(t, 1), payload(1, 2, 10), true), errGone)
			require.ErrorIs(t, f.s.Flush(soon(t)), errGone)
		})
	}
}

// A callback that ends its goroutine (FailNow of a test) ends the Sender, and all who wait.
func TestWriterExits(t *testing.T) {
	var n atomic.Int32
	c, peer := gated(t, func() {
		if n.Add(1) == 1 {
			runtime.Goexit()
		}
	})
	f := newFixture(t, c, peer)
	require.Error(t, f.s.Send(soon(t), pid(1), control(t, 1), payload(1, 1, 200<<10), true))
	require.NoError(t, f.s.Hold(soon(t)))
	require.Error(t, f.s.Send(soon(t), pid(1), control(t, 1), payload(1, 1, 200<<10), true))
}

// What Held describes is not the memory of a sender who has it back before the state is written.
func TestHeldKeepsItsBytes(t *testing.T) {
	c, peer := memoryPair(t)
	f := newFixture(t, c, peer)
	ctx, cancel := context.WithCancel(context.Background())
	done := sending(f, ctx, t, 1, 1, 300<<10)
	f.stalled(t)
	fresh := sending(f, ctx, t, 2, 2, 300<<10)
	require.NoError(t, f.s.Hold(soon(t)))
	require.NoError(t, f.q.Hold(soon(t)))
	list, rest := f.s.Held(), f.q.Held()
	require.Len(t, list, 1)
	cancel()
	require.NoError(t, <-done)
	require.ErrorIs(t, <-fresh, context.Canceled)

	o, after := newOutput(), newOutput()
	_, sent := f.q.Buffered()
	for b := make([]byte, 32<<10); o.read < sent; {
		n, err := peer.Read(soon(t), b)
		require.NoError(t, err)
		o.take(b[:n])
	}
	f.s.End(errElsewhere, true)
	f.q.End(errElsewhere)
	c2, peer2 := memoryPair(t)
	g := newFixture(t, c2, peer2)
	require.NoError(t, g.s.Stage(list))
	require.NoError(t, g.q.Stage(soon(t), rest))
	g.q.Unhold()
	g.s.Unhold()
	after.r, after.rest = o.r, o.rest
	after.readUntil(t, peer2, 1)
}

// What no Sender has described is refused: fragments beyond the last would go out for ever.
func TestStageRefuses(t *testing.T) {
	good := states.Outgoing{From: pid(1), Control: []byte{1}, Sequence: 5, Next: 2, Size: 10, Rest: make([]byte, 15)}
	for name, spoil := range map[string]func(o *states.Outgoing){
		"nothing left":        func(o *states.Outgoing) { o.Next = 0 },
		"more than there is":  func(o *states.Outgoing) { o.Next = 3 },
		"less than there is":  func(o *states.Outgoing) { o.Next = 1 },
		"no size":             func(o *states.Outgoing) { o.Size = 0 },
		"no id":               func(o *states.Outgoing) { o.Sequence = 0 },
		"no control message":  func(o *states.Outgoing) { o.Control = nil },
		"no payload":          func(o *states.Outgoing) { o.Rest = nil },
		"begun, without rest": func(o *states.Outgoing) { o.Begun, o.Rest, o.Next = true, nil, 1 },
		"begun, another rest": func(o *states.Outgoing) { o.Begun, o.Next = true, 3 },
		"half a frame":        func(o *states.Outgoing) { o.Begun, o.Frame = true, []byte{1} },
	} {
		t.Run(name, func(t *testing.T) {
			bad := good
			spoil(&bad)
			s := New(nil, limit, nil)
			require.ErrorIs(t, s.Stage([]states.Outgoing{good, bad}), ErrOutgoing)
		})
	}
	require.NoError(t, New(nil, limit, nil).Stage([]states.Outgoing{good}))
}
