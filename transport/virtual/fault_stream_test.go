package virtual

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
)

// A connection that is reset at a byte gives all bytes before it, and then the fault's own error,
// in both directions.
func TestFaultReset(t *testing.T) {
	for _, tt := range []struct {
		name string
		tr   func() transport.Transport
		at   transport.Addr
		peer error // what a peer with nothing unread gets; nil: the end of the stream
	}{
		{"tcp", transport.TCP, loopback(), syscall.ECONNRESET},
		{"memory", transport.NewMemory, transport.MemoryAddr(""), nil},
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
					beside = expect.Aside(func() error { return expect.Err(c.Read(context.Background(), make([]byte, 1))) })
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
				fault := expect.As[*FaultError](t, err)
				require.ErrorIs(t, err, syscall.ECONNRESET)
				require.Equal(t, offset, fault.Event.Offset)
				require.ErrorContains(t, err, "injected reset at byte")
				if write {
					require.ErrorAs(t, expect.Returns(t, beside), &fault)
				}
				require.ErrorAs(t, expect.Err(c.Read(soon(t), make([]byte, 1))), &fault)
				_, err = c.Writev(soon(t), []byte("x"))
				if write && offset > 0 {
					require.ErrorIs(t, err, transport.ErrPoisoned, "it was cut off half-way")
				} else {
					require.ErrorAs(t, err, &fault)
				}
				require.ErrorAs(t, expect.Err(c.PendingBytes()), &fault)
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

// readsAt returns a function that expects what one read gives, and when: so long after the call of
// readsAt.
func readsAt(t *testing.T, s *transport.Stream) func(want string, at time.Duration) {
	begin := time.Now()
	return func(want string, at time.Duration) {
		t.Helper()
		b := make([]byte, 100)
		n := expect.NoError(s.Read(context.Background(), b)).In(t)
		require.Equal(t, want, string(b[:n]))
		require.Equal(t, at, time.Since(begin))
	}
}

// Delays and joins take the time that the options say.
func TestFaultTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pair(t, Fault(transport.NewMemory(), FaultOptions{
			At: []FaultAt{
				{Kind: FaultDelay, Side: FaultConnected, Write: true, Offset: 3, For: 2 * time.Second},
				{Kind: FaultDelay, Side: FaultAccepted, Offset: 6},
				{Kind: FaultJoin, Side: FaultAccepted, Offset: 9, Bytes: 4, For: time.Hour},
				{Kind: FaultJoin, Side: FaultAccepted, Offset: 13, Bytes: 4, For: time.Minute},
			},
			Read: Faults{MaxDelay: 5 * time.Second},
		}), transport.MemoryAddr(""))
		begin := time.Now()
		read := readsAt(t, s)
		write := func(text string) {
			require.NoError(t, expect.Err(c.Writev(context.Background(), []byte(text))))
		}
		written := expect.Aside(func() error { return expect.Err(c.Writev(context.Background(), []byte("012345678"))) })
		read("012", 0)
		read("345", 2*time.Second)
		require.NoError(t, <-written)
		read("678", 7*time.Second)

		time.AfterFunc(time.Second, func() { write("9a") })
		time.AfterFunc(10*time.Second, func() { write("bcde") })
		read("9abc", 17*time.Second) // 'd' came at the same time
		read("de", 17*time.Second+time.Minute)
		write("f")
		read("f", time.Since(begin))
	})
}

// An error that ends a join comes after the bytes that were joined, and once, as the connection
// gives it.
func TestFaultErrorAfterJoin(t *testing.T) {
	calls := 0
	s, _ := pair(t, hooked(func(_ through, _ context.Context, p []byte) (int, error) {
		switch calls++; calls {
		case 1:
			return copy(p, "abc"), nil
		case 2:
			return 0, syscall.ENOMEM
		}
		return copy(p, "def"), nil
	}, nil), transport.MemoryAddr(""))
	s = open(t)(FaultStream(s, FaultOptions{At: []FaultAt{{Kind: FaultJoin, Bytes: 6, For: time.Minute}}}))
	p := make([]byte, 10)
	n := expect.NoError(s.Read(soon(t), p)).In(t)
	require.Equal(t, "abc", string(p[:n]))
	require.ErrorIs(t, expect.Err(s.Read(soon(t), p)), syscall.ENOMEM)
	n = expect.NoError(s.Read(soon(t), p)).In(t)
	require.Equal(t, "def", string(p[:n]))
}

// A single try takes what is there of a join, as much as it wants; the rest need not wait for the
// join either.
func TestFaultJoinSingleTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pair(t, transport.NewMemory(), transport.MemoryAddr(""))
		s = open(t)(FaultStream(s, FaultOptions{At: []FaultAt{{Kind: FaultJoin, Bytes: 6, For: time.Hour}}}))
		require.NoError(t, expect.Err(c.Writev(context.Background(), []byte("abc"))))
		p := make([]byte, 1)
		n := expect.NoError(s.Read(transport.NoWait(), p)).In(t)
		require.Equal(t, "a", string(p[:n]))
		readsAt(t, s)("bc", 0)
	})
}

// A read that gives up while it waits for the bytes of a join loses nothing, and the next one waits
// on.
func TestFaultJoinGivenUp(t *testing.T) {
	for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
		synctest.Test(t, func(t *testing.T) {
			c, s := pair(t, transport.NewMemory(), transport.MemoryAddr(""))
			s = open(t)(FaultStream(s, FaultOptions{At: []FaultAt{{Kind: FaultJoin, Bytes: 6, For: time.Hour}}}))
			require.NoError(t, expect.Err(c.Writev(context.Background(), []byte("abc"))))
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if end == context.Canceled {
				time.AfterFunc(time.Second, cancel)
			}
			n, err := s.Read(ctx, make([]byte, 10))
			require.ErrorIs(t, err, end)
			require.Zero(t, n)
			read := readsAt(t, s)
			time.AfterFunc(time.Second, func() { _, _ = c.Writev(context.Background(), []byte("def")) })
			read("abcdef", time.Second)
		})
	}
}

// What a read in progress holds back is pending.
func TestFaultPendingDuringRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pair(t, transport.NewMemory(), transport.MemoryAddr(""))
		s = open(t)(FaultStream(s, FaultOptions{At: []FaultAt{
			{Kind: FaultJoin, Bytes: 6, For: time.Minute}, {Kind: FaultDelay, For: time.Hour},
		}}))
		read := expect.Aside(func() error { return expect.Err(s.Readv(context.Background(), make([]byte, 6))) })
		for _, want := range []int{3, 6} {
			require.NoError(t, expect.Err(c.Writev(context.Background(), []byte("abc"))))
			synctest.Wait()
			require.Equal(t, want, expect.NoError(s.PendingBytes()).In(t))
		}
		require.NoError(t, <-read)
		require.Zero(t, expect.NoError(s.PendingBytes()).In(t))
	})
}

// A delay ends with the context, and the byte comes later; Close ends it at once.
func TestFaultDelayEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hour := FaultAt{Kind: FaultDelay, For: time.Hour}
		write := hour
		write.Write = true
		c, s := pair(t, Fault(transport.NewMemory(), FaultOptions{At: []FaultAt{hour, write}}), transport.MemoryAddr(""))
		begin := time.Now()
		short, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		n, err := c.Writev(short, []byte("abc"))
		require.Zero(t, n)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, expect.Err(c.Writev(transport.NoWait(), []byte("abc"))), os.ErrDeadlineExceeded)
		require.NoError(t, expect.Err(c.Writev(context.Background(), []byte("abc"))))
		require.Equal(t, time.Hour, time.Since(begin))

		require.ErrorIs(t, expect.Err(s.Read(transport.NoWait(), make([]byte, 3))), os.ErrDeadlineExceeded)
		require.Equal(t, 3, expect.NoError(s.PendingBytes()).In(t))
		short, cancel = context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.ErrorIs(t, expect.Err(s.Read(short, make([]byte, 3))), context.DeadlineExceeded)
		closed := expect.Aside(func() error { return expect.Err(s.Read(context.Background(), make([]byte, 3))) })
		synctest.Wait()
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-closed, net.ErrClosed)
		require.Equal(t, time.Hour+time.Minute, time.Since(begin))
	})
}

// What follows bytes that are held back is not lost: neither the end of the stream nor an error.
func TestFaultJoinedEnd(t *testing.T) {
	c, s := pair(t, Fault(transport.NewMemory(), FaultOptions{At: []FaultAt{{Kind: FaultJoin, Bytes: 100, For: time.Hour}}}),
		transport.MemoryAddr(""))
	requireWrites(t, c, "abc")
	require.NoError(t, c.Close())
	b := make([]byte, 2)
	require.NoError(t, expect.Err(s.Readv(soon(t), b)))
	require.Equal(t, 1, expect.NoError(s.Read(soon(t), b)).In(t))
	for range 2 {
		require.Equal(t, io.EOF, expect.Err(s.Read(soon(t), b)))
	}
}

// A hand-off does not wait for the end of a delay, in either direction; afterwards the delay goes
// on, and no byte is lost.
func TestFaultDelayPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := Fault(transport.NewMemory(), FaultOptions{At: []FaultAt{
			{Kind: FaultDelay, Side: FaultConnected, Offset: 0, For: time.Minute},
			{Kind: FaultDelay, Side: FaultConnected, Offset: 0, For: time.Minute, Write: true},
		}})
		client, server := pair(t, tr, transport.MemoryAddr(""))
		defer client.Close()
		defer server.Close()
		requireWrites(t, server, "x")
		read := expect.Aside(func() error { _, err := client.Readv(context.Background(), make([]byte, 1)); return err })
		q := client.Posts(nil)
		write := func() error { return expect.Err(q.Deliver(context.Background(), []byte("y"))) }
		written := expect.Aside(write)
		synctest.Wait()
		begin := time.Now()
		require.NoError(t, client.PauseRead(soon(t)))
		require.NoError(t, q.Hold(soon(t)))
		require.ErrorIs(t, <-read, transport.ErrPaused)
		require.ErrorIs(t, <-written, transport.ErrPaused)
		require.Less(t, time.Since(begin), time.Second)
		client.Resume()
		q.Unhold()
		require.NoError(t, expect.Err(client.Readv(context.Background(), make([]byte, 1))))
		require.NoError(t, write())
		require.GreaterOrEqual(t, time.Since(begin), 50*time.Second)
		require.NoError(t, expect.Err(server.Readv(soon(t), make([]byte, 1))))
	})
}

// A reset in one direction ends what is held back in the other one.
func TestFaultResetEndsDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pair(t, Fault(transport.NewMemory(), FaultOptions{At: []FaultAt{
			{Kind: FaultDelay, Side: FaultConnected, For: time.Hour},
			{Kind: FaultReset, Side: FaultConnected, Write: true},
		}}), transport.MemoryAddr(""))
		require.NoError(t, expect.Err(s.Writev(context.Background(), []byte("held"))))
		read := expect.Aside(func() error { _, err := c.Read(context.Background(), make([]byte, 4)); return err })
		synctest.Wait()
		require.ErrorIs(t, expect.Err(c.Writev(context.Background(), []byte("x"))), syscall.ECONNRESET)
		require.ErrorIs(t, expect.Returns(t, read), syscall.ECONNRESET)
	})
}

// A join waits for as many bytes as FaultAt.Bytes says, and no more.
func TestFaultJoinBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pair(t, Fault(transport.NewMemory(), FaultOptions{
			At: []FaultAt{{Kind: FaultJoin, Side: FaultAccepted, Offset: 2, Bytes: 3, For: time.Hour}},
		}), transport.MemoryAddr(""))
		read := readsAt(t, s)
		require.NoError(t, expect.Err(c.Writev(context.Background(), []byte("012"))))
		read("01", 0)
		time.AfterFunc(time.Second, func() { _, _ = c.Writev(context.Background(), []byte("345")) })
		read("234", time.Second)
		read("5", time.Second)
	})
}

// A join waits for all of its bytes, however many pieces they come in.
func TestFaultJoinManyPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := pair(t, Fault(transport.NewMemory(), FaultOptions{
			At: []FaultAt{{Kind: FaultJoin, Side: FaultAccepted, Bytes: 5, For: time.Hour}},
		}), transport.MemoryAddr(""))
		go func() {
			for i := range 5 {
				time.Sleep(time.Second)
				_, _ = c.Writev(context.Background(), []byte{byte('0' + i)})
			}
		}()
		b := make([]byte, 10)
		n := expect.NoError(s.Read(context.Background(), b)).In(t)
		require.Equal(t, "01234", string(b[:n]))
	})
}

// CloseWrite ends a delay of what is written: a write, also a single try, says what the carrier
// below does.
func TestFaultDelayLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := pair(t, Fault(transport.NewMemory(), FaultOptions{At: []FaultAt{{Kind: FaultDelay, Write: true, For: time.Hour}}}),
			transport.MemoryAddr(""))
		begin := time.Now()
		write := expect.Aside(func() error { return expect.Err(c.Writev(context.Background(), []byte("x"))) })
		synctest.Wait()
		require.NoError(t, c.CloseWrite())
		require.ErrorIs(t, <-write, syscall.EPIPE)
		require.ErrorIs(t, expect.Err(c.Writev(transport.NoWait(), []byte("x"))), syscall.EPIPE)
		require.Zero(t, time.Since(begin))
	})
}

// A delay for ever lasts, whatever else holds back the same byte.
func TestFaultDelayForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := pair(t, Fault(transport.NewMemory(), FaultOptions{At: []FaultAt{
			{Kind: FaultDelay, Write: true, For: transport.Infinite}, {Kind: FaultDelay, Write: true, For: time.Hour},
		}}), transport.MemoryAddr(""))
		ctx, cancel := context.WithTimeout(context.Background(), 1000*time.Hour)
		defer cancel()
		require.ErrorIs(t, expect.Err(c.Writev(ctx, []byte("late"))), context.DeadlineExceeded)
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

// After a split the call still writes everything; after a short write it does not.
func TestFaultSplitIsNoShortWrite(t *testing.T) {
	for kind, want := range map[FaultKind]int64{FaultSplit: 9, FaultShortWrite: 3} {
		c, s := pair(t, Fault(transport.NewMemory(), FaultOptions{At: []FaultAt{{Kind: kind, Side: FaultConnected, Write: true, Offset: 3}}}),
			transport.MemoryAddr(""))
		n := expect.NoError(c.WriteSome(soon(t), []byte("012345678"))).In(t)
		require.Equal(t, want, n, "%v", kind)
		requireReads(t, s, "012345678"[:n])
	}

	// A write that begins at a short one goes out, and ends where the carrier below ends it.
	c, s := pair(t, transport.NewMemory(), transport.MemoryAddr(""))
	c = open(t)(FaultStream(c, FaultOptions{At: []FaultAt{
		{Kind: FaultShortWrite, Write: true}, {Kind: FaultShortWrite, Write: true, Offset: 3},
	}}))
	c = open(t)(FaultStream(c, FaultOptions{}))
	for _, text := range []string{"012", "3456"} {
		require.EqualValues(t, len(text), expect.NoError(c.WriteSome(soon(t), []byte("0123456"[text[0]-'0':]))).In(t))
		requireReads(t, s, text)
	}
}
