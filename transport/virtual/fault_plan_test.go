package virtual

import (
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
)

func TestFaultPlanHasNoGaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chance := rapid.SampledFrom([]float64{0, 0, 0.01, 0.3, 1})
		f := Faults{
			Piece: rapid.IntRange(1, 10000).Draw(t, "piece"), Split: chance.Draw(t, "split"), Join: chance.Draw(t,
				"join"), ShortWrite: chance.Draw(t, "short"),
			Delay: chance.Draw(t, "delay"),
		}.filled()
		write := rapid.Bool().Draw(t, "write")
		at := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) FaultAt {
			return FaultAt{
				Kind: FaultKind(rapid.IntRange(1, 5).Draw(t, "kind")), Offset: rapid.Int64Range(0, 5000).Draw(t, "offset"),
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
	f := Faults{Join: 0.1}
	want := offsets(f, FaultJoin)
	require.Greater(t, len(want), 100)
	f.Split, f.Delay = 0.5, 0.5
	require.Equal(t, want, offsets(f, FaultJoin))
}

// However the bytes happen to be cut into reads and writes, the same seed does the same to the same
// bytes.
func TestFaultRepeats(t *testing.T) {
	type outcome struct {
		written, read []string
		got           []byte
	}
	run := func(t *testing.T, seed uint64, sizes uint64, tr transport.Transport, at transport.Addr) (o outcome) {
		d := &diary{}
		c, s := pair(t, Fault(tr, FaultOptions{Seed: seed, Read: everything(), Write: everything(), Done: d.write}), at)
		data := noise(100_000)
		rng := rand.New(rand.NewPCG(sizes, 0))
		done := expect.Aside(func() error {
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
		require.NoError(t, expect.Returns(t, done))
		require.NoError(t, s.Close())
		require.Len(t, o.got, len(data))
		o.written, o.read = d.of(FaultConnected, true), d.of(FaultAccepted, false)
		require.Equal(t, data, o.got)
		return o
	}
	first := run(t, 7, 1, transport.NewMemory(), transport.MemoryAddr(""))
	for _, kind := range []string{"split", "join", "delay"} {
		require.Contains(t, strings.Join(first.read, "\n"), kind)
	}
	require.Contains(t, strings.Join(first.written, "\n"), "short write")
	require.Equal(t, first, run(t, 7, 1, transport.NewMemory(), transport.MemoryAddr("")))
	require.Equal(t, first, run(t, 7, 5, transport.NewMemory(), transport.MemoryAddr("")), "other sizes")
	require.Equal(t, first, run(t, 7, 3, transport.TCP(), loopback()), "another carrier")
	other := run(t, 8, 1, transport.NewMemory(), transport.MemoryAddr(""))
	require.NotEqual(t, first.read, other.read)
	require.NotEqual(t, first.written, other.written)
}

// Connections have faults of their own.
func TestFaultConnectionsDiffer(t *testing.T) {
	d := &diary{}
	tr := Fault(transport.NewMemory(), FaultOptions{Write: Faults{Split: 0.5}, Done: d.write})
	for range 2 {
		c, s := pair(t, tr, transport.MemoryAddr(""))
		require.NoError(t, expect.Err(c.Writev(soon(t), noise(30_000))))
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

// No piece is longer than Piece, which need not be a power of two.
func TestPlanPieceLengths(t *testing.T) {
	f := Faults{Piece: 5, Split: 1}.filled()
	p := newPlan(rand.New(rand.NewPCG(1, 1)), &f, false, nil)
	seen := map[int64]bool{}
	for range 1000 {
		c := p.next()
		seen[c.end-c.start] = true
	}
	require.Equal(t, map[int64]bool{1: true, 2: true, 3: true, 4: true, 5: true}, seen)
}

// Of several joins at one place the longest counts.
func TestPlanLongestJoin(t *testing.T) {
	f := Faults{}.filled()
	p := newPlan(nil, &f, false, []FaultAt{{Kind: FaultJoin, For: time.Hour}, {Kind: FaultJoin, For: time.Minute}})
	require.Equal(t, time.Hour, p.next().join)
}

// A fault without a time of its own takes the default that the options' comments name.
func TestFaultDefaultTimes(t *testing.T) {
	own := Faults{JoinFor: time.Second, MaxDelay: time.Minute}
	for kind, want := range map[FaultKind][2]time.Duration{
		FaultJoin:  {5 * time.Millisecond, time.Second},
		FaultDelay: {10 * time.Millisecond, time.Minute},
	} {
		for i, f := range []Faults{{}, own} {
			f = f.filled()
			p := newPlan(nil, &f, false, []FaultAt{{Kind: kind}})
			require.Equal(t, []FaultEvent{{Kind: kind, For: want[i]}}, p.next().does)
		}
	}
}

// The directions of a connection, and its ends, have faults of their own.
func TestFaultDirectionsDiffer(t *testing.T) {
	f := newFault(FaultOptions{Seed: 1})
	seen := map[uint64]bool{}
	for _, purpose := range []int{forRead, forWrite} {
		for _, side := range []FaultSide{0, FaultConnected, FaultAccepted} {
			for conn := range int64(10) {
				n := f.chance(purpose, side, conn).Uint64()
				require.False(t, seen[n], "purpose %d, side %d, connection %d", purpose, side, conn)
				seen[n] = true
			}
		}
	}
}

// Reads and writes do not end at pieces without a fault.
func TestPlanJoinsQuietPieces(t *testing.T) {
	f := Faults{Piece: 16, Split: 0.1}.filled()
	p := newPlan(rand.New(rand.NewPCG(1, 1)), &f, false, nil)
	p.next() // the first may begin without one
	for range 1000 {
		require.NotEmpty(t, p.next().does)
	}
}
