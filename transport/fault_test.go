package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A diary keeps what has gone wrong.
type diary struct {
	mu     sync.Mutex
	events []FaultEvent
}

func (d *diary) write(e FaultEvent) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e.Remote = nil
	d.events = append(d.events, e)
}

// of gives what has happened in one direction, as text.
func (d *diary) of(side FaultSide, write bool) (lines []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.events {
		if e.Side == side && e.Write == write {
			lines = append(lines, e.String())
		}
	}
	return lines
}

// noise is n bytes that are the same every time.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// everything are probabilities under which each fault happens, none of them for long.
func everything() Faults {
	return Faults{
		Piece: 512, Split: 0.2, Join: 0.2, ShortWrite: 0.2, Delay: 0.1, Stall: 0.02, Corrupt: 0.1,
		JoinFor: 100 * time.Microsecond, MaxDelay: 100 * time.Microsecond, StallFor: time.Millisecond,
	}
}

func TestFaultPlanHasNoGaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chance := rapid.SampledFrom([]float64{0, 0, 0.01, 0.3, 1})
		f := Faults{
			Piece: rapid.IntRange(1, 10000).Draw(t, "piece"), Split: chance.Draw(t, "split"), Join: chance.Draw(t,
				"join"), ShortWrite: chance.Draw(t, "short"),
			Delay: chance.Draw(t, "delay"), Corrupt: chance.Draw(t, "corrupt"), Reset: chance.Draw(t, "reset"),
		}.filled()
		write := rapid.Bool().Draw(t, "write")
		at := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) FaultAt {
			return FaultAt{
				Kind: FaultKind(rapid.IntRange(1, 7).Draw(t, "kind")), Offset: rapid.Int64Range(0, 5000).Draw(t, "offset"),
				Bytes: rapid.IntRange(0, 100).Draw(t, "bytes"),
			}
		}), 0, 4).Draw(t, "at")
		seed := rapid.Uint64().Draw(t, "seed")
		make := func() *plan { return newPlan(rand.New(rand.NewPCG(seed, 1)), &f, write, slices.Clone(at)) }
		one, two := make(), make()
		want := map[FaultEvent]int{}
		for _, a := range at {
			if !(write && a.Kind == FaultJoin) && !(!write && a.Kind == FaultShortWrite) {
				want[FaultEvent{Kind: a.Kind, Offset: a.Offset}]++
			}
		}
		var end int64
		for range 100 {
			a, b := one.next(), two.next()
			require.Equal(t, a, b, "the same seed gives the same plan")
			require.Equal(t, end, a.start, "no gap, no overlap")
			require.Greater(t, a.end, a.start)
			require.LessOrEqual(t, a.joined, a.end)
			require.Greater(t, a.joined, a.start)
			require.LessOrEqual(t, a.joined-a.start, int64(maxJoin))
			for _, e := range a.does {
				require.Equal(t, a.start, e.Offset)
				require.False(t, write && e.Kind == FaultJoin || !write && e.Kind == FaultShortWrite)
				want[FaultEvent{Kind: e.Kind, Offset: e.Offset}]--
			}
			if end = a.end; end == math.MaxInt64 {
				break
			}
		}
		for e, n := range want {
			if e.Offset < end {
				require.LessOrEqual(t, n, 0, "missing: %v", e)
			}
		}
	})
}

// A change of one probability leaves the other faults where they are.
func TestPlanProbabilitiesAreIndependent(t *testing.T) {
	offsets := func(f Faults, kind FaultKind) (all []int64) {
		f = f.filled()
		p := newPlan(rand.New(rand.NewPCG(1, 1)), &f, false, nil)
		for c := p.next(); c.start < 1<<20; c = p.next() {
			for _, e := range c.does {
				if e.Kind == kind {
					all = append(all, e.Offset)
				}
			}
		}
		return all
	}
	f := Faults{Corrupt: 0.1}
	want := offsets(f, FaultCorrupt)
	require.Greater(t, len(want), 100)
	f.Split, f.Delay = 0.5, 0.5
	require.Equal(t, want, offsets(f, FaultCorrupt))
}

// However the bytes happen to be cut into reads and writes, the same seed does the same to the same bytes.
func TestFaultRepeats(t *testing.T) {
	type outcome struct {
		written, read []string
		got           []byte
	}
	run := func(t *testing.T, seed uint64, sizes uint64, tr Transport, at Addr) (o outcome) {
		d := &diary{}
		c, s := pair(t, Fault(tr, FaultOptions{Seed: seed, Read: everything(), Write: everything(), Done: d.write}), at)
		data := noise(100_000)
		rng := rand.New(rand.NewPCG(sizes, 0))
		done := aside(func() error {
			for left := data; len(left) > 0; {
				a := left[:min(len(left), 1+rng.IntN(3000))]
				k := rng.IntN(len(a))
				if _, err := c.Writev(soon(t), a[:k], a[k:]); err != nil {
					return err
				}
				left = left[len(a):]
			}
			return c.Close()
		})
		for b := make([]byte, 1+sizes*700); ; {
			n, err := s.Read(soon(t), b)
			o.got = append(o.got, b[:n]...)
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
		}
		require.NoError(t, returns(t, done))
		require.NoError(t, s.Close())
		require.Len(t, o.got, len(data))
		o.written, o.read = d.of(FaultConnected, true), d.of(FaultAccepted, false)
		corrupted := 0
		for i := range data {
			if data[i] != o.got[i] {
				corrupted++
			}
		}
		told := strings.Count(strings.Join(append(o.written, o.read...), "\n"), "corrupt")
		require.Positive(t, corrupted)
		require.LessOrEqual(t, corrupted, told)
		return o
	}
	first := run(t, 7, 1, NewMemory(), MemoryAddr(""))
	for _, kind := range []string{"split", "join", "delay", "stall", "corrupt"} {
		require.Contains(t, strings.Join(first.read, "\n"), kind)
	}
	require.Contains(t, strings.Join(first.written, "\n"), "short write")
	require.Equal(t, first, run(t, 7, 1, NewMemory(), MemoryAddr("")))
	require.Equal(t, first, run(t, 7, 5, NewMemory(), MemoryAddr("")), "other sizes")
	require.Equal(t, first, run(t, 7, 3, TCP(), loopback()), "another carrier")
	other := run(t, 8, 1, NewMemory(), MemoryAddr(""))
	require.NotEqual(t, first.read, other.read)
	require.NotEqual(t, first.written, other.written)
}

// Connections have faults of their own.
func TestFaultConnectionsDiffer(t *testing.T) {
	d := &diary{}
	tr := Fault(NewMemory(), FaultOptions{Write: Faults{Split: 0.5}, Done: d.write})
	for range 2 {
		c, s := pair(t, tr, MemoryAddr(""))
		_, err := c.Writev(soon(t), noise(30_000))
		require.NoError(t, err)
		require.NoError(t, c.Close())
		require.NoError(t, s.Close())
	}
	var offsets [3][]int64
	for _, e := range d.events {
		offsets[e.Conn] = append(offsets[e.Conn], e.Offset)
	}
	require.NotEmpty(t, offsets[1])
	require.NotEmpty(t, offsets[2])
	require.NotEqual(t, offsets[1], offsets[2])
}

// A connection that is reset at a byte gives all bytes before it, and then the fault's own error, in both directions.
func TestFaultReset(t *testing.T) {
	for _, tt := range []struct {
		name string
		tr   func() Transport
		at   Addr
		peer error // what a peer with nothing unread gets; nil: the end of the stream
	}{
		{"tcp", TCP, loopback(), syscall.ECONNRESET},
		{"memory", NewMemory, MemoryAddr(""), nil},
	} {
		for _, write := range []bool{false, true} {
			for _, offset := range []int64{0, 1, 10} {
				d := &diary{}
				c, s := pair(t, Fault(tt.tr(), FaultOptions{
					At: []FaultAt{{Kind: FaultReset, Side: FaultConnected, Write: write, Offset: offset}}, Done: d.write,
				}), tt.at)
				from, to := s, c
				if write {
					from, to = c, s
				}
				var beside <-chan error
				if write { // the reset ends a read that waits, too
					beside = aside(func() error {
						_, err := c.Read(context.Background(), make([]byte, 1))
						return err
					})
				}
				n, err := from.Writev(soon(t), []byte("0123456789")[:5], []byte("56789abcdef"))
				if write {
					require.Equal(t, offset, n)
				} else {
					require.NoError(t, err)
					var got []byte
					for {
						b := make([]byte, 100)
						var n int
						n, err = to.Read(soon(t), b)
						if got = append(got, b[:n]...); err != nil {
							break
						}
					}
					require.Equal(t, "0123456789abcdef"[:offset], string(got))
				}
				var fault *FaultError
				require.ErrorAs(t, err, &fault)
				require.ErrorIs(t, err, syscall.ECONNRESET)
				require.Equal(t, offset, fault.Event.Offset)
				require.ErrorContains(t, err, "injected reset at byte")
				if write {
					require.ErrorAs(t, returns(t, beside), &fault)
				}
				_, err = c.Read(soon(t), make([]byte, 1))
				require.ErrorAs(t, err, &fault)
				_, err = c.Writev(soon(t), []byte("x"))
				if write && offset > 0 {
					require.ErrorIs(t, err, ErrPoisoned, "it was cut off half-way")
				} else {
					require.ErrorAs(t, err, &fault)
				}
				_, err = c.PendingBytes()
				require.ErrorAs(t, err, &fault)
				require.ErrorAs(t, c.CloseWrite(), &fault)
				if write {
					b := make([]byte, offset+1)
					n, err := s.Readv(soon(t), b)
					switch {
					case tt.peer != nil:
						require.ErrorIs(t, err, tt.peer)
					case offset == 0:
						require.Equal(t, io.EOF, err)
					default:
						require.ErrorIs(t, err, io.ErrUnexpectedEOF)
						require.Equal(t, "0123456789"[:offset], string(b[:n]))
					}
				}
				require.NoError(t, c.Close())
				require.Len(t, d.events, 1)
			}
		}
	}
}

func TestFaultConnectAndAccept(t *testing.T) {
	d := &diary{}
	tr := Fault(NewMemory(), FaultOptions{Done: d.write, At: []FaultAt{
		{Kind: FaultRefuse, Conn: 2}, {Kind: FaultAbort, Conn: 1}, {Kind: FaultExhaust, Conn: 2},
	}})
	l, err := tr.Listen(MemoryAddr("a"), 0)
	require.NoError(t, err)
	defer l.Close()
	accepted := make(chan *Stream, 1)
	done := aside(func() error {
		s, err := l.Accept(soon(t))
		accepted <- s
		return err
	})
	first, err := tr.Connect(soon(t), l.Addr())
	require.NoError(t, err)
	_, err = first.Read(soon(t), make([]byte, 1))
	require.Equal(t, io.EOF, err, "what was accepted is lost")
	_, err = tr.Connect(soon(t), l.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	var fault *FaultError
	require.ErrorAs(t, err, &fault)
	require.ErrorContains(t, err, "connect memory:a: injected refuse of connection 2")
	third, err := tr.Connect(soon(t), l.Addr())
	require.NoError(t, err)
	require.NoError(t, returns(t, done), "Accept goes on")
	s := <-accepted
	_, err = third.Writev(soon(t), []byte("x"))
	require.NoError(t, err)
	_, err = s.Read(soon(t), make([]byte, 1))
	require.NoError(t, err)
	for _, c := range []*Stream{first, third, s} {
		require.NoError(t, c.Close())
	}
	var kinds []string
	for _, e := range d.events {
		kinds = append(kinds, e.String())
	}
	require.ElementsMatch(t, []string{"refuse of connection 2", "abort of accepted connection 1", "exhaust of accepted connection 2"}, kinds)

	// By chance.
	tr = Fault(NewMemory(), FaultOptions{Refuse: 0.5})
	l2, err := tr.Listen(MemoryAddr(""), 100)
	require.NoError(t, err)
	defer l2.Close()
	refused := 0
	for range 100 {
		s, err := tr.Connect(soon(t), l2.Addr())
		if errors.Is(err, syscall.ECONNREFUSED) {
			refused++
			continue
		}
		require.NoError(t, err)
		require.NoError(t, s.Close())
	}
	require.InDelta(t, 50, refused, 25)
}

// However long a piece may be, there is a next one.
func TestFaultLongPieces(t *testing.T) {
	for _, piece := range []int{1 << 30, 1<<30 + 1, math.MaxInt32, math.MaxInt} {
		f := newFault(FaultOptions{Read: Faults{Piece: piece, Split: 1}})
		p := newPlan(f.chance(forRead, FaultConnected, 1), &f.o.Read, false, nil)
		for range 1000 {
			got := p.next()
			require.Less(t, got.start, got.end, "%d", piece)
		}
	}
}

// Delays, stalls and joins take the time that the options say.
func TestFaultTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pair(t, Fault(NewMemory(), FaultOptions{
			At: []FaultAt{
				{Kind: FaultDelay, Side: FaultConnected, Write: true, Offset: 3, For: 2 * time.Second},
				{Kind: FaultStall, Side: FaultAccepted, Offset: 6},
				{Kind: FaultJoin, Side: FaultAccepted, Offset: 9, Bytes: 4, For: time.Hour},
				{Kind: FaultJoin, Side: FaultAccepted, Offset: 13, Bytes: 4, For: time.Minute},
			},
			Read: Faults{StallFor: 5 * time.Second},
		}), MemoryAddr(""))
		begin := time.Now()
		passed := func() time.Duration { return time.Since(begin).Round(time.Millisecond) }
		read := func(want string, at time.Duration) {
			t.Helper()
			b := make([]byte, 100)
			n, err := s.Read(context.Background(), b)
			require.NoError(t, err)
			require.Equal(t, want, string(b[:n]))
			require.Equal(t, at, passed())
		}
		write := func(text string) {
			_, err := c.Writev(context.Background(), []byte(text))
			require.NoError(t, err)
		}
		written := aside(func() error {
			_, err := c.Writev(context.Background(), []byte("012345678"))
			return err
		})
		read("012", 0)
		read("345", 2*time.Second)
		require.NoError(t, <-written)
		read("678", 7*time.Second)

		time.AfterFunc(time.Second, func() { write("9a") })
		time.AfterFunc(10*time.Second, func() { write("bcde") })
		read("9abc", 17*time.Second) // 'd' came at the same time
		read("de", 17*time.Second+time.Minute)

		// A single try takes what is there of a join; a delay it does not wait for.
		write("f")
		read("f", passed())
	})
}

// What a read in progress holds back is pending.
func TestFaultPendingDuringRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pair(t, NewMemory(), MemoryAddr(""))
		s = open(t)(FaultStream(s, FaultOptions{At: []FaultAt{
			{Kind: FaultJoin, Bytes: 6, For: time.Minute}, {Kind: FaultStall, For: time.Hour},
		}}))
		read := aside(func() error { return second(s.Readv(context.Background(), make([]byte, 6))) })
		for _, want := range []int{3, 6} {
			require.NoError(t, second(c.Writev(context.Background(), []byte("abc"))))
			synctest.Wait()
			pending, err := s.PendingBytes()
			require.NoError(t, err)
			require.Equal(t, want, pending)
		}
		require.NoError(t, <-read)
		pending, err := s.PendingBytes()
		require.NoError(t, err)
		require.Zero(t, pending)
	})
}

// A delay ends with the context, and the byte comes later; Close ends it at once.
func TestFaultDelayEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hour := FaultAt{Kind: FaultDelay, For: time.Hour}
		write := hour
		write.Write = true
		c, s := pair(t, Fault(NewMemory(), FaultOptions{At: []FaultAt{hour, write}}), MemoryAddr(""))
		begin := time.Now()
		short, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		n, err := c.Writev(short, []byte("abc"))
		require.Zero(t, n)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = c.Writev(NoWait(), []byte("abc"))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		_, err = c.Writev(context.Background(), []byte("abc"))
		require.NoError(t, err)
		require.Equal(t, time.Hour, time.Since(begin))

		_, err = s.Read(NoWait(), make([]byte, 3))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		pending, err := s.PendingBytes()
		require.NoError(t, err)
		require.Equal(t, 3, pending)
		short, cancel = context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err = s.Read(short, make([]byte, 3))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		closed := aside(func() error {
			_, err := s.Read(context.Background(), make([]byte, 3))
			return err
		})
		synctest.Wait()
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-closed, net.ErrClosed)
		require.Equal(t, time.Hour+time.Minute, time.Since(begin))
	})
}

// What follows bytes that are held back is not lost: neither the end of the stream nor an error.
func TestFaultJoinedEnd(t *testing.T) {
	c, s := pair(t, Fault(NewMemory(), FaultOptions{At: []FaultAt{{Kind: FaultJoin, Bytes: 100, For: time.Hour}}}), MemoryAddr(""))
	_, err := c.Writev(soon(t), []byte("abc"))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	b := make([]byte, 2)
	_, err = s.Readv(soon(t), b)
	require.NoError(t, err)
	n, err := s.Read(soon(t), b)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	for range 2 {
		_, err = s.Read(soon(t), b)
		require.Equal(t, io.EOF, err)
	}
}

// A corrupted byte is the receiver's affair: the writer's buffer stays as it is.
func TestFaultCorrupt(t *testing.T) {
	for _, write := range []bool{false, true} {
		side := FaultAccepted
		if write {
			side = FaultConnected
		}
		c, s := pair(t, Fault(NewMemory(), FaultOptions{At: []FaultAt{
			{Kind: FaultCorrupt, Side: side, Write: write, Offset: 0}, {Kind: FaultCorrupt, Side: side, Write: write, Offset: 5},
			{Kind: FaultCorrupt, Side: side, Write: write, Offset: 6},
		}}), MemoryAddr(""))
		sent := []byte("0123456789")
		for range 2 {
			_, err := c.Writev(soon(t), sent[:6], sent[6:])
			require.NoError(t, err)
		}
		require.Equal(t, "0123456789", string(sent))
		got := make([]byte, 20)
		_, err := s.Readv(soon(t), got)
		require.NoError(t, err)
		for i, b := range got {
			require.Equal(t, i == 0 || i == 5 || i == 6, b != sent[i%10], i)
		}
		require.NoError(t, c.Close())
		require.NoError(t, s.Close())
	}
}

// Streams and listeners of a faulty transport cannot be handed off, and nothing changes when that is tried.
func TestFaultNotMovable(t *testing.T) {
	tr := Fault(TCP(), FaultOptions{})
	require.False(t, tr.Movable())
	c, s := pair(t, tr, loopback())
	_, _, err := c.Export()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "fault cannot be handed off")
	fd, err := c.Descriptor()
	require.NoError(t, err)
	_, err = tr.Import(fd, nil)
	require.ErrorContains(t, err, "fault cannot be handed off")
	_, err = tr.ImportListener(fd)
	require.ErrorContains(t, err, "fault cannot be handed off")
	_, err = c.Writev(soon(t), []byte("still here"))
	require.NoError(t, err)
	_, err = s.Readv(soon(t), make([]byte, 10))
	require.NoError(t, err)
}

func TestFaultLog(t *testing.T) {
	var out bytes.Buffer
	tr := Fault(NewMemory(), FaultOptions{
		Log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})),
		At:  []FaultAt{{Kind: FaultSplit, Side: FaultConnected, Write: true, Offset: 2}},
	})
	c, _ := pair(t, tr, MemoryAddr("a"))
	_, err := c.Writev(soon(t), []byte("abc"))
	require.NoError(t, err)
	require.Contains(t, out.String(), "level=DEBUG msg=fault kind=split accepted=false conn=1 write=true offset=2 for=0s remote=memory:a\n")
	require.Equal(t, "FaultKind(200)", FaultKind(200).String())
	require.Equal(t, "FaultKind(0)", FaultKind(0).String())
}

// A hand-off does not wait for the end of a stall, in either direction; afterwards the stall goes on, and no byte is lost.
func TestFaultStallPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := Fault(NewMemory(), FaultOptions{At: []FaultAt{
			{Kind: FaultStall, Side: FaultConnected, Offset: 0, For: time.Minute},
			{Kind: FaultStall, Side: FaultConnected, Offset: 0, For: time.Minute, Write: true},
		}})
		client, server := pair(t, tr, MemoryAddr(""))
		defer client.Close()
		defer server.Close()
		_, err := server.Writev(soon(t), []byte("x"))
		require.NoError(t, err)
		read := aside(func() error { _, err := client.Readv(context.Background(), make([]byte, 1)); return err })
		written := aside(func() error { _, err := client.Writev(context.Background(), []byte("y")); return err })
		synctest.Wait()
		begin := time.Now()
		require.NoError(t, client.PauseRead(soon(t)))
		require.NoError(t, client.pauseWrite(soon(t)))
		require.ErrorIs(t, <-read, ErrPaused)
		require.ErrorIs(t, <-written, ErrPaused)
		require.Less(t, time.Since(begin), time.Second)
		client.Resume()
		client.resumeWrite()
		_, err = client.Readv(context.Background(), make([]byte, 1))
		require.NoError(t, err)
		_, err = client.Writev(context.Background(), []byte("y"))
		require.NoError(t, err)
		require.GreaterOrEqual(t, time.Since(begin), 50*time.Second)
		_, err = server.Readv(soon(t), make([]byte, 1))
		require.NoError(t, err)
	})
}

// A reset in one direction ends what is held back in the other one.
func TestFaultResetEndsStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pair(t, Fault(NewMemory(), FaultOptions{At: []FaultAt{
			{Kind: FaultStall, Side: FaultConnected, For: time.Hour},
			{Kind: FaultReset, Side: FaultConnected, Write: true},
		}}), MemoryAddr(""))
		_, err := s.Writev(context.Background(), []byte("held"))
		require.NoError(t, err)
		read := aside(func() error { _, err := c.Read(context.Background(), make([]byte, 4)); return err })
		synctest.Wait()
		_, err = c.Writev(context.Background(), []byte("x"))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.ErrorIs(t, returns(t, read), syscall.ECONNRESET)
	})
}

// A corruption that is reported has changed the byte.
func TestPlanCorrupts(t *testing.T) {
	f := Faults{Corrupt: 1, Piece: 1}.filled()
	p := newPlan(rand.New(rand.NewPCG(1, 2)), &f, false, nil)
	for range 10_000 {
		require.NotZero(t, p.next().mask)
	}
}

// A fault without a time of its own takes the default that the options' comments name.
func TestFaultDefaultTimes(t *testing.T) {
	own := Faults{JoinFor: time.Second, MaxDelay: time.Minute, StallFor: time.Hour}
	for kind, want := range map[FaultKind][2]time.Duration{
		FaultJoin:  {5 * time.Millisecond, time.Second},
		FaultDelay: {10 * time.Millisecond, time.Minute},
		FaultStall: {time.Second, time.Hour},
	} {
		for i, f := range []Faults{{}, own} {
			f = f.filled()
			p := newPlan(nil, &f, false, []FaultAt{{Kind: kind}})
			require.Equal(t, []FaultEvent{{Kind: kind, For: want[i]}}, p.next().does)
		}
	}
}

// A join waits for as many bytes as FaultAt.Bytes says, and no more.
func TestFaultJoinBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pair(t, Fault(NewMemory(), FaultOptions{
			At: []FaultAt{{Kind: FaultJoin, Side: FaultAccepted, Offset: 2, Bytes: 3, For: time.Hour}},
		}), MemoryAddr(""))
		begin := time.Now()
		read := func(want string, at time.Duration) {
			t.Helper()
			b := make([]byte, 100)
			n, err := s.Read(context.Background(), b)
			require.NoError(t, err)
			require.Equal(t, want, string(b[:n]))
			require.Equal(t, at, time.Since(begin))
		}
		require.NoError(t, second(c.Writev(context.Background(), []byte("012"))))
		read("01", 0)
		time.AfterFunc(time.Second, func() { _, _ = c.Writev(context.Background(), []byte("345")) })
		read("234", time.Second)
		read("5", time.Second)
	})
}

// A join waits for all of its bytes, however many pieces they come in.
func TestFaultJoinManyPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pair(t, Fault(NewMemory(), FaultOptions{
			At: []FaultAt{{Kind: FaultJoin, Side: FaultAccepted, Bytes: 5, For: time.Hour}},
		}), MemoryAddr(""))
		go func() {
			for i := range 5 {
				time.Sleep(time.Second)
				_, _ = c.Writev(context.Background(), []byte{byte('0' + i)})
			}
		}()
		b := make([]byte, 10)
		n, err := s.Read(context.Background(), b)
		require.NoError(t, err)
		require.Equal(t, "01234", string(b[:n]))
	})
}

// The length of a delay is drawn, up to MaxDelay.
func TestFaultDelaysDiffer(t *testing.T) {
	f := Faults{Delay: 1, MaxDelay: time.Second}.filled()
	p := newPlan(rand.New(rand.NewPCG(1, 1)), &f, false, nil)
	var sum time.Duration
	seen := map[time.Duration]bool{}
	for range 1000 {
		during := p.next().hold
		require.LessOrEqual(t, during, time.Second)
		seen[during] = true
		sum += during
	}
	require.Greater(t, len(seen), 900)
	require.InDelta(t, 0.5, (sum / 1000).Seconds(), 0.05)
}

// The directions of a connection, and its ends, have faults of their own.
func TestFaultDirectionsDiffer(t *testing.T) {
	f := newFault(FaultOptions{Seed: 1})
	seen := map[uint64]bool{}
	for _, purpose := range []int{forConnect, forAccept, forRead, forWrite} {
		for _, side := range []FaultSide{FaultBoth, FaultConnected, FaultAccepted} {
			for conn := range int64(10) {
				n := f.chance(purpose, side, conn).Uint64()
				require.False(t, seen[n], "purpose %d, side %d, connection %d", purpose, side, conn)
				seen[n] = true
			}
		}
	}
}

// After a split the call still writes everything; after a short write it does not.
func TestFaultSplitIsNoShortWrite(t *testing.T) {
	for kind, want := range map[FaultKind]int64{FaultSplit: 9, FaultShortWrite: 3} {
		c, s := pair(t, Fault(NewMemory(), FaultOptions{At: []FaultAt{{Kind: kind, Side: FaultConnected, Write: true, Offset: 3}}}),
			MemoryAddr(""))
		n, err := c.car.write(soon(t), [][]byte{[]byte("012345678")})
		require.NoError(t, err)
		require.Equal(t, want, n, "%v", kind)
		requireReads(t, s, "012345678"[:n])
	}
}

// Reads and writes do not end at pieces without a fault.
func TestPlanJoinsQuietPieces(t *testing.T) {
	f := Faults{Piece: 16, Corrupt: 0.1}.filled()
	p := newPlan(rand.New(rand.NewPCG(1, 1)), &f, false, nil)
	p.next() // the first may begin without one
	for range 1000 {
		require.NotEmpty(t, p.next().does)
	}
}

// A leaver is a carrier whose callback is left behind in each write, and keeps the vector.
type leaver struct {
	carrier
	v    [][]byte
	text string // in it
}

func (k *leaver) write(_ context.Context, v [][]byte) (int64, error) {
	if k.v == nil {
		k.v, k.text = v, string(slices.Concat(v...))
	}
	return 0, &CallbackError{"Writev", ErrUnresponsive}
}

// A callback that was left behind may still read the vector that it was given, so no wrapper uses that vector again.
func TestWrappersLeaveLostVector(t *testing.T) {
	for name, over := range map[string]func(s *Stream) carrier{
		"Fault": func(s *Stream) carrier { return newFault(FaultOptions{}).faulty(s, FaultConnected, 1) },
		"Limit": LimitOptions{Write: 1, Burst: 5}.over,
	} {
		t.Run(name, func(t *testing.T) {
			k := &leaver{}
			c := over(newStream(k, nil, connected))
			for _, v := range [][][]byte{{[]byte("one"), []byte("two")}, {[]byte("some"), []byte("more")}} {
				_, err := c.write(context.Background(), v)
				require.ErrorIs(t, err, ErrUnresponsive)
			}
			require.Equal(t, k.text, string(slices.Concat(k.v...)))
		})
	}
}

// CloseWrite ends a write that a wrapper holds back; what it has counted arrives.
func TestWrappersCloseWrite(t *testing.T) {
	for name, over := range map[string]func(s *Stream) (*Stream, error){
		"Limit": func(s *Stream) (*Stream, error) { return LimitStream(s, LimitOptions{Write: 1e-6, Burst: 4}) },
		"Fault": func(s *Stream) (*Stream, error) {
			return FaultStream(s, FaultOptions{At: []FaultAt{{Kind: FaultStall, Write: true, Offset: 4, For: time.Hour}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := pair(t, NewMemory(), MemoryAddr(""))
				c, err := over(c)
				require.NoError(t, err)
				var n int64
				sent := aside(func() (err error) { n, err = c.Writev(context.Background(), []byte("held back")); return err })
				synctest.Wait()
				began := time.Now()
				require.NoError(t, c.CloseWrite())
				require.ErrorIs(t, <-sent, syscall.EPIPE)
				require.Zero(t, time.Since(began))
				require.EqualValues(t, 4, n)
				for _, ctx := range []context.Context{context.Background(), NoWait()} {
					require.ErrorIs(t, second(c.Writev(ctx, []byte("late"))), syscall.EPIPE)
				}
				got, err := io.ReadAll(NetConn(s))
				require.NoError(t, err)
				require.Equal(t, "held", string(got))
				require.NoError(t, c.Close())
			})
		})
	}
}
