package virtual

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/tsocket"
)

// A diary remembers faults.
type diary struct {
	mu     sync.Mutex
	events []FaultEvent
}

func (d *diary) write(e FaultEvent) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, e)
}

// of returns the lines of a direction.
func (d *diary) of(write bool) (lines []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.events {
		if e.Write == write {
			lines = append(lines, e.String())
		}
	}
	return lines
}

// faultyLetterbox returns an end with faults, and the other end.
func faultyLetterbox(t testing.TB, o FaultOptions) (faulty *tsocket.Datagram, other *letterbox) {
	t.Helper()
	one, other := letterboxes()
	faulty = Fault(one, o)
	t.Cleanup(func() { faulty.Close() })
	return faulty, other
}

// Faults at certain datagrams, in either direction.
func TestFaultDatagram(t *testing.T) {
	d := &diary{}
	v, other := faultyLetterbox(t, FaultOptions{Done: d.write, At: []FaultAt{
		{Kind: FaultCorrupt, Write: true, Offset: 1}, {Kind: FaultRefuse, Write: true, Offset: 2}, {Kind: FaultRefuse, Write: true, Offset: 2},
		{Kind: FaultCorrupt}, {Kind: FaultRefuse, Offset: 1}, {Kind: FaultDelay, Offset: 2, For: time.Millisecond},
	}})
	sent := []byte("Erlang")
	for i := range 3 {
		_, err := v.SendTo(soon(t), sent, nil)
		if i == 2 {
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			require.EqualError(t, err, "send memory:other: injected refuse of datagram 2 of what was written: connection refused")
			fault := expect.As[*FaultError](t, err)
			require.Equal(t, v.RemoteAddr(), fault.Event.Remote)
			continue
		}
		require.NoError(t, err)
	}
	posts(t, v, "third")
	require.Equal(t, "Erlang", string(sent))
	differ := func(text string) (n int) {
		require.Len(t, text, len(sent))
		for i := range sent {
			if text[i] != sent[i] {
				n++
			}
		}
		return n
	}
	gets(t, other, "Erlang")
	require.Equal(t, 1, differ((<-other.come).text))
	gets(t, other, "third")
	require.Empty(t, other.come)

	posts(t, other, "Erlang", "second", "third", "fourth")
	p := make([]byte, 100)
	n, _, err := v.RecvFrom(soon(t), p)
	require.NoError(t, err)
	require.Equal(t, 1, differ(string(p[:n])))
	require.ErrorIs(t, expect.Err2(v.RecvFrom(soon(t), p)), syscall.ECONNREFUSED)
	gets(t, v, "second", "third", "fourth")
	require.Equal(t, []string{"corrupt of datagram 1 of what was written", "refuse of datagram 2 of what was written"}, d.of(true))
	require.Equal(t, []string{"corrupt of datagram 0 of what was read", "refuse of datagram 1 of what was read",
		"delay for 1ms of datagram 2 of what was read"}, d.of(false))
}

// With the same seed, chance gives the same faults to the same datagrams.
func TestFaultDatagramSeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := func(seed uint64) (events []string) {
			d := &diary{}
			f := Faults{Corrupt: 0.2, Delay: 0.2, Refuse: 0.2}
			v, other := faultyLetterbox(t, FaultOptions{Seed: seed, Read: f, Write: f, Done: d.write})
			p := make([]byte, 100)
			for range 200 {
				for errors.Is(errOf(v.SendTo(context.Background(), []byte("some words"), nil)), syscall.ECONNREFUSED) {
				}
				posts(t, other, "others")
				for {
					if _, _, err := v.RecvFrom(context.Background(), p); err == nil {
						break
					}
				}
			}
			return append(d.of(true), d.of(false)...)
		}
		events := run(1)
		require.Equal(t, events, run(1))
		require.NotEqual(t, events, run(2))
		for kind, chance := range map[FaultKind]float64{FaultCorrupt: 0.2, FaultDelay: 0.2, FaultRefuse: 0.2} {
			require.InDelta(t, 400*chance, strings.Count(strings.Join(events, "\n"), kind.String()+" "), 400*chance/2, kind)
		}
	})
}

func errOf(_ int, err error) error { return err }

// A datagram that is held back comes in its time, its order and its length; a receiver that gives
// up waiting loses nothing.
func TestFaultDatagramTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, other := faultyLetterbox(t, FaultOptions{
			At: []FaultAt{
				{Kind: FaultDelay, Write: true, Offset: 1, For: time.Minute}, {Kind: FaultCorrupt, Write: true, Offset: 1},
				{Kind: FaultDelay, Offset: 1}, {Kind: FaultDelay, Offset: 3, For: time.Minute}, {Kind: FaultDelay, Offset: 4, For: time.Hour},
			},
			Read: Faults{MaxDelay: 5 * time.Second},
		})
		begin := time.Now()
		passed := func() time.Duration { return time.Since(begin).Round(time.Millisecond) }
		posts(t, v, "first")
		require.Zero(t, passed())
		short, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		for want, ctx := range map[error]context.Context{context.DeadlineExceeded: short, os.ErrDeadlineExceeded: transport.NoWait()} {
			require.ErrorIs(t, expect.Err(v.SendTo(ctx, []byte("second"), nil)), want)
		}
		require.NoError(t, expect.Err(v.SendTo(context.Background(), []byte("second"), nil)))
		require.Equal(t, time.Minute, passed())
		gets(t, other, "first")
		require.NotEqual(t, "second", (<-other.come).text, "it is corrupted, though it was given up once")

		begin = time.Now()
		posts(t, other, "first", "a second one", "third", "a fourth one", "fifth")
		gets(t, v, "first")
		require.Zero(t, passed())
		p := make([]byte, 5)
		require.ErrorIs(t, expect.Err2(v.RecvFrom(transport.NoWait(), p)), os.ErrDeadlineExceeded)
		short, cancel = context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.ErrorIs(t, expect.Err2(v.RecvFrom(short, p)), context.DeadlineExceeded)
		gets(t, v, "a second one", "third") // now into a longer buffer
		require.Equal(t, 5*time.Second, passed())
		n, from, err := v.RecvFrom(context.Background(), p)
		require.ErrorIs(t, err, io.ErrShortBuffer)
		require.ErrorIs(t, err, syscall.EMSGSIZE)
		require.ErrorContains(t, err, "a datagram of 12 bytes for a buffer of 5")
		require.Equal(t, "a fou", string(p[:n]))
		require.Equal(t, other.LocalAddr(), from)
		require.Equal(t, 5*time.Second+time.Minute, passed())

		waits := expect.Aside(func() error { _, _, err := v.RecvFrom(context.Background(), p); return err })
		synctest.Wait()
		require.ErrorIs(t, v.Disconnect(), transport.ErrBusy)
		require.NoError(t, v.Close())
		require.ErrorIs(t, <-waits, net.ErrClosed)
		require.Equal(t, 5*time.Second+time.Minute, passed())
	})
}

// A datagram of which only a part was held back is never taken for a whole one.
func TestFaultDatagramHeldCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, other := faultyLetterbox(t, FaultOptions{At: []FaultAt{{Kind: FaultDelay, For: time.Millisecond}}})
		posts(t, other, strings.Repeat("x", 2*heldSize), "next")
		require.ErrorIs(t, expect.Err2(v.RecvFrom(transport.NoWait(), make([]byte, 10))), os.ErrDeadlineExceeded)
		n, _, err := v.RecvFrom(soon(t), make([]byte, 4*heldSize))
		require.ErrorIs(t, err, io.ErrShortBuffer)
		require.Equal(t, heldSize, n)
		gets(t, v, "next")
	})
}

// A receiver with a longer buffer than all before it gets a datagram that fills it, although that
// is held back.
func TestFaultDatagramHeldLong(t *testing.T) {
	hold := FaultAt{Kind: FaultDelay, For: time.Microsecond}
	later := hold
	later.Offset = 1
	v, other := faultyLetterbox(t, FaultOptions{At: []FaultAt{hold, later}})
	long := strings.Repeat("x", 2*heldSize)
	posts(t, other, "short", long)
	gets(t, v, "short")
	p := make([]byte, 2*heldSize)
	n, _, err := v.RecvFrom(soon(t), p)
	require.NoError(t, err)
	require.Equal(t, long, string(p[:n]))
}

// An offset counts the datagrams that have passed: no empty ones, which are skipped, and none that
// could not be sent.
func TestFaultDatagramOffsets(t *testing.T) {
	d := &diary{}
	one, other := letterboxes()
	v := Fault(&deaf{letterbox: one, times: 1}, FaultOptions{Done: d.write, At: []FaultAt{
		{Kind: FaultCorrupt}, {Kind: FaultCorrupt, Offset: 2}, {Kind: FaultCorrupt, Write: true, Offset: 1},
	}})
	defer v.Close()
	posts(t, other, "", "a", "", "b", "", "c", "d")
	p := make([]byte, 1)
	for i, sent := range "abcd" {
		n, _, err := v.RecvFrom(soon(t), p)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Equal(t, i == 0 || i == 2, p[0] != byte(sent), "%c", sent)
	}
	require.ErrorIs(t, expect.Err(v.SendTo(soon(t), []byte("e"), nil)), syscall.ECONNREFUSED)
	posts(t, v, "e", "f", "g")
	gets(t, other, "e")
	require.NotEqual(t, "f", (<-other.come).text)
	gets(t, other, "g")
	require.Len(t, d.events, 3)
}
