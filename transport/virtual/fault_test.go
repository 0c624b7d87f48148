package virtual

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
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
		Piece: 512, Split: 0.2, Join: 0.2, ShortWrite: 0.2, Delay: 0.1,
		JoinFor: 100 * time.Microsecond, MaxDelay: 100 * time.Microsecond,
	}
}

// Streams and listeners of a faulty transport cannot be handed off, and nothing changes when that
// is tried.
func TestFaultNotMovable(t *testing.T) {
	tr := Fault(transport.TCP(), FaultOptions{})
	require.False(t, tr.Movable())
	c, s := pair(t, tr, loopback())
	_, _, err := c.Export()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "fault cannot be handed off")
	require.ErrorContains(t, expect.Err(tr.Import(-1, nil)), "fault cannot be handed off")
	require.ErrorContains(t, expect.Err(tr.ImportListener(-1)), "fault cannot be handed off")
	requireWrites(t, c, "still here")
	require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 10))))
}

func TestFaultLog(t *testing.T) {
	var out bytes.Buffer
	tr := Fault(transport.NewMemory(), FaultOptions{
		Log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})),
		At:  []FaultAt{{Kind: FaultSplit, Side: FaultConnected, Write: true, Offset: 2}},
	})
	c, _ := pair(t, tr, transport.MemoryAddr("a"))
	requireWrites(t, c, "abc")
	require.Contains(t, out.String(), "level=DEBUG msg=fault kind=split accepted=false conn=1 write=true offset=2 for=0s remote=memory:a\n")
	require.Equal(t, "FaultKind(200)", FaultKind(200).String())
	require.Equal(t, "FaultKind(0)", FaultKind(0).String())
	require.Equal(t, "FaultKind(6)", (FaultReset + 1).String())
}

// Connections have numbers of their own, although several listeners wait for them at once.
func TestFaultAcceptNumbers(t *testing.T) {
	d := &diary{}
	tr := Fault(transport.NewMemory(), FaultOptions{Done: d.write, At: []FaultAt{{Kind: FaultSplit, Side: FaultAccepted}}})
	type result struct {
		s   *transport.Stream
		err error
	}
	results := make(chan result, 2)
	var at []transport.Addr
	for i := range 2 {
		l := expect.Open(tr.Listen(transport.MemoryAddr(""), 0)).In(t)
		at = append(at, l.Addr())
		go func() { s, err := l.Accept(soon(t)); results <- result{s, err} }()
		buf := make([]byte, 1<<20)
		require.Eventually(t, func() bool {
			return strings.Count(string(buf[:runtime.Stack(buf, true)]), "(*memorySocket).accept(") == i+1
		}, tooLong, time.Millisecond)
	}
	var numbers []int
	for _, a := range at {
		c := open(t)(tr.Connect(soon(t), a))
		r := expect.Returns(t, results)
		s := open(t)(r.s, r.err)
		requireWrites(t, c, "x")
		requireReads(t, s, "x")
		numbers = append(numbers, d.events[len(d.events)-1].Conn)
	}
	require.Equal(t, []int{1, 2}, numbers)
}

// What becomes of a caller's slice of places does not change the faults.
func TestFaultKeepsPlaces(t *testing.T) {
	at := []FaultAt{{Kind: FaultReset, Side: FaultConnected, Write: true}}
	c, _ := pair(t, Fault(transport.NewMemory(), FaultOptions{At: at}), transport.MemoryAddr(""))
	at[0].Kind = FaultSplit
	require.ErrorContains(t, expect.Err(c.Writev(soon(t), []byte("x"))), "injected")
}
