package virtual

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
		Piece: 512, Split: 0.2, Join: 0.2, ShortWrite: 0.2, Delay: 0.1, Stall: 0.02, Corrupt: 0.1,
		JoinFor: 100 * time.Microsecond, MaxDelay: 100 * time.Microsecond, StallFor: time.Millisecond,
	}
}

func TestFaultConnectAndAccept(t *testing.T) {
	d := &diary{}
	tr := Fault(transport.NewMemory(), FaultOptions{Done: d.write, At: []FaultAt{
		{Kind: FaultRefuse, Conn: 2}, {Kind: FaultAbort, Conn: 1}, {Kind: FaultExhaust, Conn: 2},
	}})
	l, err := tr.Listen(transport.MemoryAddr("a"), 0)
	require.NoError(t, err)
	defer l.Close()
	accepted := make(chan *transport.Stream, 1)
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
	for _, c := range []*transport.Stream{first, third, s} {
		require.NoError(t, c.Close())
	}
	var kinds []string
	for _, e := range d.events {
		kinds = append(kinds, e.String())
	}
	require.ElementsMatch(t, []string{"refuse of connection 2", "abort of accepted connection 1", "exhaust of accepted connection 2"}, kinds)

	// By chance.
	tr = Fault(transport.NewMemory(), FaultOptions{Refuse: 0.5})
	l2, err := tr.Listen(transport.MemoryAddr(""), 100)
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

// Streams and listeners of a faulty transport cannot be handed off, and nothing changes when that
// is tried.
func TestFaultNotMovable(t *testing.T) {
	tr := Fault(transport.TCP(), FaultOptions{})
	require.False(t, tr.Movable())
	c, s := pair(t, tr, loopback())
	_, _, err := c.Export()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "fault cannot be handed off")
	_, err = tr.Import(-1, nil)
	require.ErrorContains(t, err, "fault cannot be handed off")
	_, err = tr.ImportListener(-1)
	require.ErrorContains(t, err, "fault cannot be handed off")
	_, err = c.Writev(soon(t), []byte("still here"))
	require.NoError(t, err)
	_, err = s.Readv(soon(t), make([]byte, 10))
	require.NoError(t, err)
}

func TestFaultLog(t *testing.T) {
	var out bytes.Buffer
	tr := Fault(transport.NewMemory(), FaultOptions{
		Log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})),
		At:  []FaultAt{{Kind: FaultSplit, Side: FaultConnected, Write: true, Offset: 2}},
	})
	c, _ := pair(t, tr, transport.MemoryAddr("a"))
	_, err := c.Writev(soon(t), []byte("abc"))
	require.NoError(t, err)
	require.Contains(t, out.String(), "level=DEBUG msg=fault kind=split accepted=false conn=1 write=true offset=2 for=0s remote=memory:a\n")
	require.Equal(t, "FaultKind(200)", FaultKind(200).String())
	require.Equal(t, "FaultKind(0)", FaultKind(0).String())
	require.Equal(t, "FaultKind(11)", (FaultExhaust + 1).String())
}

// A connect whose context has ended takes no number, and nothing is refused.
func TestFaultConnectEnded(t *testing.T) {
	d := &diary{}
	tr := Fault(transport.NewMemory(), FaultOptions{Done: d.write, At: []FaultAt{{Kind: FaultRefuse, Conn: 1}}})
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, second(tr.Connect(ended, transport.MemoryAddr("x"))), context.Canceled)
	require.Empty(t, d.events)
	require.ErrorContains(t, second(tr.Connect(soon(t), transport.MemoryAddr("x"))), "injected refuse of connection 1")
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
		l, err := tr.Listen(transport.MemoryAddr(""), 0)
		require.NoError(t, err)
		defer l.Close()
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
		r := returns(t, results)
		s := open(t)(r.s, r.err)
		require.NoError(t, second(c.Writev(soon(t), []byte("x"))))
		requireReads(t, s, "x")
		numbers = append(numbers, d.events[len(d.events)-1].Conn)
	}
	require.Equal(t, []int{1, 2}, numbers)
}

// What becomes of a caller's slice of places does not change the faults.
func TestFaultKeepsPlaces(t *testing.T) {
	at := []FaultAt{{Kind: FaultRefuse, Conn: 1}}
	tr := Fault(transport.NewMemory(), FaultOptions{At: at})
	at[0].Kind = FaultSplit
	require.ErrorContains(t, second(tr.Connect(soon(t), transport.MemoryAddr("x"))), "injected")
}
