//go:build unix

package handoff

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/patience"
)

// rooms makes n packets to receive into.
func rooms(n, size, descriptors int) []Packet {
	packets := make([]Packet, n)
	for i := range packets {
		packets[i] = Packet{P: make([]byte, size), Set: new(FDSet), Room: descriptors}
	}
	return packets
}

// numbered makes n packets of two bytes.
func numbered(n int) []Packet {
	packets := make([]Packet, n)
	for i := range packets {
		packets[i].P = []byte{'a' + byte(i/26), 'a' + byte(i%26)}
	}
	return packets
}

// texts returns the payloads received, and closes the descriptors.
func texts(t testing.TB, packets []Packet) (all []string) {
	t.Helper()
	for _, p := range packets {
		require.NoError(t, p.Err)
		require.NoError(t, p.Set.Close())
		all = append(all, string(p.P[:p.N]))
	}
	return all
}

// Packets arrive in order and whole, each with its own descriptors, however many there are.
func TestBatch(t *testing.T) {
	for name, kind := range packetKinds {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			a, b := connPair(t, kind)
			ctx := fdtest.Soon(t)
			files := []int{fdtest.File(t, "zero"), fdtest.File(t, "one"), fdtest.File(t, "two")}
			sent := numbered(40)
			for i := range sent {
				sent[i].FDs = files[:i%4]
			}
			over := make(chan error, 1)
			go func() {
				n, err := a.SendBatch(ctx, sent)
				if err == nil && n != len(sent) {
					err = fmt.Errorf("%d of %d", n, len(sent))
				}
				over <- err
			}()
			got := rooms(50, 5, 3)
			n := 0
			for n < len(sent) {
				k, err := b.ReceiveBatch(ctx, got[n:])
				require.NoError(t, err)
				require.Positive(t, k)
				n += k
			}
			require.NoError(t, <-over)
			require.Equal(t, len(sent), n)
			for i, p := range got[:n] {
				require.NoError(t, p.Err)
				require.Equal(t, string(sent[i].P), string(p.P[:p.N]))
				fds := p.Set.FDs()
				require.Len(t, fds, i%4, "packet %d", i)
				for j, fd := range fds {
					require.Equal(t, []string{"zero", "one", "two"}[j], fdtest.Content(t, fd))
					flags, err := fcntl(fd, unix.F_GETFD)
					require.NoError(t, err)
					require.Equal(t, unix.FD_CLOEXEC, flags, "close-on-exec")
				}
				require.NoError(t, p.Set.Close())
			}
		})
	}
}

// A batch receives the packets that are there, without waiting for more.
func TestReceiveBatchTakesWhatIsThere(t *testing.T) {
	for name, kind := range packetKinds {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			a, b := connPair(t, kind)
			got := rooms(8, 5, 0)
			for _, many := range []int{1, 2, 3, 8} {
				n, err := a.SendBatch(fdtest.Soon(t), numbered(many))
				require.NoError(t, err)
				require.Equal(t, many, n)
				var all []string
				for len(all) < many { // on other systems than Linux they come one by one
					n, err := b.ReceiveBatch(fdtest.Soon(t), got)
					require.NoError(t, err)
					all = append(all, texts(t, got[:n])...)
				}
				require.Equal(t, []string{"aa", "ab", "ac", "ad", "ae", "af", "ag", "ah"}[:many], all)
			}
			_, err := b.ReceiveBatch(transport.NoWait(), got)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		})
	}
}

// A batch that waits for a first packet gets it, and the others that are there by then.
func TestReceiveBatchWaits(t *testing.T) {
	for name, kind := range packetKinds {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			a, b := connPair(t, kind)
			type outcome struct {
				all []string
				err error
			}
			over := make(chan outcome, 1)
			go func() {
				var o outcome
				for len(o.all) < 3 && o.err == nil {
					var n int
					got := rooms(8, 5, 0)
					n, o.err = b.ReceiveBatch(fdtest.Soon(t), got)
					for _, p := range got[:n] {
						o.all = append(o.all, string(p.P[:p.N]))
					}
				}
				over <- o
			}()
			require.Eventually(t, func() bool { return b.receiving.Callers() > 0 }, expect.Limit, time.Millisecond)
			_, err := a.SendBatch(fdtest.Soon(t), numbered(3))
			require.NoError(t, err)
			require.Equal(t, outcome{all: []string{"aa", "ab", "ac"}}, <-over)
		})
	}
}

// A packet that cannot be sent ends the batch: the packets before it are sent, those behind it are
// not.
func TestSendBatchStopsAtBadPacket(t *testing.T) {
	for kindName, kind := range packetKinds {
		many := make([]int, 10*MaxDescriptors)
		for name, tt := range map[string]struct {
			bad  Packet
			want error
		}{
			"negative descriptor":  {Packet{P: []byte("x"), FDs: []int{-1}}, syscall.EBADF},
			"closed descriptor":    {Packet{P: []byte("x"), FDs: []int{1 << 20}}, syscall.EBADF},
			"too many descriptors": {Packet{P: []byte("x"), FDs: many}, syscall.EINVAL},
			"too long":             {Packet{P: make([]byte, 8<<20)}, syscall.EMSGSIZE},
		} {
			for _, at := range []int{0, 1, 5, 20} {
				t.Run(fmt.Sprintf("%s, %s at %d", kindName, name, at), func(t *testing.T) {
					fdtest.NoLeak(t)
					a, b := connPair(t, kind)
					ctx := fdtest.Soon(t)
					var all []string
					over := make(chan struct{})
					go func() {
						defer close(over)
						for len(all) < at+1 {
							got := rooms(30, 5, 0)
							n, err := b.ReceiveBatch(ctx, got)
							if err != nil {
								return
							}
							all = append(all, texts(t, got[:n])...)
						}
					}()
					packets := numbered(at + 3)
					packets[at] = tt.bad
					n, err := a.SendBatch(ctx, packets)
					require.ErrorIs(t, err, tt.want)
					var op *transport.OpError
					require.ErrorAs(t, err, &op)
					require.Equal(t, at, n)
					require.NoError(t, a.Send(ctx, []byte("later")))
					<-over
					want := []string{}
					for _, p := range numbered(at) {
						want = append(want, string(p.P))
					}
					require.Equal(t, append(want, "later"), all)
				})
			}
		}
	}
}

// A lost packet is reported in its place, and the others are received.
func TestReceiveBatchLosesSinglePackets(t *testing.T) {
	for name, kind := range packetKinds {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			one, other := fdtest.Pair(t, kind)
			b := conn(t, other)
			ctx := fdtest.Soon(t)
			f := fdtest.File(t, "f")
			rights := unix.UnixRights
			fdtest.SendRaw(t, one, []byte("first"), rights(f))
			fdtest.SendRaw(t, one, []byte("too long"), rights(f))
			fdtest.SendRaw(t, one, []byte("many"), rights(f, f, f))
			fdtest.SendRaw(t, one, []byte("none"), nil)
			fdtest.SendRaw(t, one, []byte("last"), rights(f))
			got := rooms(5, 5, 1)
			for n := 0; n < 5; {
				k, err := b.ReceiveBatch(ctx, got[n:])
				require.NoError(t, err)
				n += k
			}
			for i, want := range []struct {
				text string
				fds  int
				err  error
			}{{"first", 1, nil}, {"too l", 0, ErrTruncated}, {"many", 0, ErrDescriptorsLost}, {"none", 0, nil}, {"last", 1, nil}} {
				p := got[i]
				require.ErrorIs(t, p.Err, want.err)
				require.Equal(t, want.text, string(p.P[:p.N]))
				require.Equal(t, want.fds, p.Set.Len())
				require.NoError(t, p.Set.Close())
			}
		})
	}
}

// The same for a packet that the batch had to wait for.
func TestReceiveBatchLosesFirstPacket(t *testing.T) {
	fdtest.NoLeak(t)
	a, b := connPair(t, unix.SOCK_SEQPACKET)
	ctx := fdtest.Soon(t)
	over := make(chan error, 1)
	got := rooms(1, 3, 0)
	got[0].Err = io.ErrNoProgress // left over from an earlier use
	go func() {
		n, err := b.ReceiveBatch(ctx, got)
		if err == nil && n != 1 {
			err = fmt.Errorf("%d packets", n)
		}
		over <- err
	}()
	require.NoError(t, a.Send(ctx, []byte("long"), fdtest.File(t, "f")))
	require.NoError(t, <-over)
	require.ErrorIs(t, got[0].Err, ErrDescriptorsLost)
	require.NoError(t, a.Send(ctx, []byte("abc")))
	n, err := b.ReceiveBatch(ctx, got)
	require.NoError(t, err)
	require.Equal(t, []string{"abc"}, texts(t, got[:n]))
}

// The end comes when all has been received, and stays.
func TestReceiveBatchEnd(t *testing.T) {
	for _, reset := range []bool{false, true} {
		for _, many := range []int{0, 1, 3, 16, 20} {
			for _, at := range []int{1, 4, 30} {
				t.Run(fmt.Sprintf("reset %v, %d packets, %d at a time", reset, many, at), func(t *testing.T) {
					fdtest.NoLeak(t)
					a, b := connPair(t, unix.SOCK_SEQPACKET)
					want := error(io.EOF)
					if reset {
						want = syscall.ECONNRESET
						require.NoError(t, b.Send(fdtest.Soon(t), []byte("unread")))
					}
					n, err := a.SendBatch(fdtest.Soon(t), numbered(many))
					require.NoError(t, err)
					require.Equal(t, many, n)
					require.NoError(t, a.Close())
					var all []string
					for err == nil {
						got := rooms(at, 5, 1)
						n, err = b.ReceiveBatch(fdtest.Soon(t), got)
						all = append(all, texts(t, got[:n])...)
					}
					require.Len(t, all, many)
					for range 2 {
						require.ErrorIs(t, err, want)
						n, err = b.ReceiveBatch(fdtest.Soon(t), rooms(at, 5, 1))
						require.Zero(t, n)
					}
				})
			}
		}
	}
}

// Empty packets are packets where the sender's credentials tell them from the end.
func TestBatchOfEmptyPackets(t *testing.T) {
	fdtest.NoLeak(t)
	a, b := connPair(t, unix.SOCK_SEQPACKET)
	if err := b.ReceiveCredentials(true); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("no credentials with packets on this system")
	}
	n, err := a.SendBatch(fdtest.Soon(t), make([]Packet, 5))
	require.NoError(t, err)
	require.Equal(t, 5, n)
	require.NoError(t, a.Close())
	for n := 0; n < 5; {
		k, err := b.ReceiveBatch(fdtest.Soon(t), rooms(8, 5, 1))
		require.NoError(t, err)
		n += k
		require.LessOrEqual(t, n, 5)
	}
	_, err = b.ReceiveBatch(fdtest.Soon(t), rooms(8, 5, 1))
	require.Equal(t, io.EOF, err)
}

// SendBatch waits while the peer has no room, in the middle of a batch too, and reports how many
// packets have been sent.
func TestSendBatchToFullPeer(t *testing.T) {
	for name, kind := range packetKinds {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			a, b := connPair(t, kind)
			packets := make([]Packet, 3000)
			for i := range packets {
				packets[i].P = fmt.Appendf(nil, "%04d", i)
			}
			out := 0
			for name, impatience := range fdtest.Impatient(t) {
				ctx, want := impatience()
				n, err := a.SendBatch(ctx, packets[out:])
				require.ErrorIs(t, err, want, name)
				out += n
			}
			require.NotZero(t, out)
			require.Less(t, out, len(packets))
			over := make(chan error, 1)
			go func() {
				n, err := a.SendBatch(fdtest.Soon(t), packets[out:])
				if err == nil && out+n != len(packets) {
					err = fmt.Errorf("%d and %d of %d", out, n, len(packets))
				}
				over <- err
			}()
			n := 0
			for n < len(packets) {
				got := rooms(20, 5, 0)
				k, err := b.ReceiveBatch(fdtest.Soon(t), got)
				require.NoError(t, err)
				for _, text := range texts(t, got[:k]) {
					require.Equal(t, string(packets[n].P), text)
					n++
				}
			}
			require.NoError(t, <-over)
		})
	}
}

// A fleeting is a context that has ended once Err has been called twice.
type fleeting struct {
	context.Context
	asked int
}

func (c *fleeting) Err() error {
	if c.asked++; c.asked > 2 {
		return context.Canceled
	}
	return nil
}

// A batch ends with its context, though there is room.
func TestSendBatchEndsWithContext(t *testing.T) {
	fdtest.NoLeak(t)
	a, b := connPair(t, unix.SOCK_SEQPACKET)
	n, err := a.SendBatch(&fleeting{Context: context.Background()}, numbered(100))
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, n, 100)
	for received := 0; received < n; {
		k, err := b.ReceiveBatch(fdtest.Soon(t), rooms(100, 5, 0))
		require.NoError(t, err)
		received += k
		require.LessOrEqual(t, received, n, "no more is out than was told")
	}
	_, err = b.ReceiveBatch(transport.NoWait(), rooms(1, 5, 0))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// A packet that another call sends while a batch waits for room goes out behind the whole batch.
func TestBatchStaysTogether(t *testing.T) {
	fdtest.NoLeak(t)
	a, b := connPair(t, unix.SOCK_SEQPACKET)
	packets := numbered(700)
	for range packets {
		packets = append(packets, Packet{P: []byte("xy")})
	}
	over := make(chan error, 2)
	go func() { _, err := a.SendBatch(fdtest.Soon(t), packets); over <- err }()
	require.Eventually(t, func() bool { return a.sending.Callers() > 0 }, expect.Limit, time.Millisecond)
	go func() { over <- a.Send(fdtest.Soon(t), []byte("other")) }()
	require.Eventually(t, func() bool { return a.sending.Callers() > 1 }, expect.Limit, time.Millisecond)
	var all []string
	for len(all) <= len(packets) {
		got := rooms(20, 5, 0)
		n, err := b.ReceiveBatch(fdtest.Soon(t), got)
		require.NoError(t, err)
		all = append(all, texts(t, got[:n])...)
	}
	require.Equal(t, len(packets), slices.Index(all, "other"))
	require.NoError(t, <-over)
	require.NoError(t, <-over)
}

// Batches with too many bytes for one quick system call are sent in parts.
func TestBatchOfLongPackets(t *testing.T) {
	fdtest.NoLeak(t)
	a, b := connPair(t, unix.SOCK_SEQPACKET)
	packets := make([]Packet, 12)
	for i := range packets {
		packets[i].P = bytes.Repeat([]byte{byte(i)}, 90_000)
	}
	over := make(chan error, 1)
	go func() { _, err := a.SendBatch(fdtest.Soon(t), packets); over <- err }()
	got := rooms(len(packets), rawMax/2+1, 0)
	got[3].P = make([]byte, rawMax+1)
	for n := 0; n < len(packets); {
		k, err := b.ReceiveBatch(fdtest.Soon(t), got[n:])
		require.NoError(t, err)
		n += k
	}
	require.NoError(t, <-over)
	for i, text := range texts(t, got) {
		require.Equal(t, string(packets[i].P), text)
	}
}

// Calls that wait return when the Conn is closed.
func TestCloseEndsBatches(t *testing.T) {
	for name, kind := range packetKinds {
		t.Run(name, func(t *testing.T) {
			fdtest.NoLeak(t)
			a, _ := connPair(t, kind)
			sent, received := make(chan error, 1), make(chan error, 1)
			go func() {
				var err error
				for err == nil {
					_, err = a.SendBatch(context.Background(), numbered(100))
				}
				sent <- err
			}()
			go func() { _, err := a.ReceiveBatch(context.Background(), rooms(3, 5, 0)); received <- err }()
			for _, turns := range []*patience.Turns{&a.sending, &a.receiving} {
				require.Eventually(t, func() bool { return turns.Callers() > 0 }, expect.Limit, time.Millisecond)
			}
			require.NoError(t, a.Close())
			require.ErrorIs(t, <-sent, net.ErrClosed)
			require.ErrorIs(t, <-received, net.ErrClosed)
			_, err := a.SendBatch(context.Background(), numbered(2))
			require.ErrorIs(t, err, net.ErrClosed)
			_, err = a.ReceiveBatch(context.Background(), rooms(2, 5, 0))
			require.ErrorIs(t, err, net.ErrClosed)
		})
	}
}

func TestBatchesThatAreRefused(t *testing.T) {
	fdtest.NoLeak(t)
	ctx := fdtest.Soon(t)
	a, b := connPair(t, unix.SOCK_STREAM)
	_, err := a.SendBatch(ctx, numbered(2))
	require.ErrorIs(t, err, syscall.EINVAL)
	_, err = b.ReceiveBatch(ctx, rooms(2, 5, 0))
	require.ErrorIs(t, err, syscall.EINVAL)
	a, b = connPair(t, unix.SOCK_SEQPACKET)
	n, err := a.SendBatch(ctx, nil)
	require.NoError(t, err)
	require.Zero(t, n)
	_, err = b.ReceiveBatch(ctx, nil)
	require.ErrorIs(t, err, syscall.EINVAL)
	_, err = a.SendBatch(ctx, numbered(2))
	require.NoError(t, err)
	for _, wrong := range []Packet{{Room: -1}, {Room: MaxDescriptors + 1, Set: new(FDSet)}, {Room: 1}} {
		got := append(rooms(1, 5, 0), wrong)
		_, err = b.ReceiveBatch(ctx, got)
		require.ErrorIs(t, err, syscall.EINVAL)
		require.ErrorContains(t, err, "packet 1")
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = a.SendBatch(cancelled, numbered(2))
	require.ErrorIs(t, err, context.Canceled)
	_, err = b.ReceiveBatch(cancelled, rooms(2, 5, 0))
	require.ErrorIs(t, err, context.Canceled)
	got := rooms(2, 5, 0)
	for n := 0; n < 2; {
		k, err := b.ReceiveBatch(ctx, got[n:])
		require.NoError(t, err)
		n += k
	}
	require.Equal(t, []string{"aa", "ab"}, texts(t, got), "none was taken before")
}

// Batches and single packets, of any sizes and with any descriptors, into buffers of any size: each
// packet arrives whole, cut, or without its descriptors, exactly as if it were received alone.
func TestBatchesByChance(t *testing.T) {
	fdtest.NoLeak(t)
	f := fdtest.File(t, "f")
	rapid.Check(t, func(r *rapid.T) {
		a, b := connPair(t, rapid.SampledFrom([]int{unix.SOCK_SEQPACKET, unix.SOCK_DGRAM}).Draw(r, "kind"))
		defer a.Close()
		defer b.Close()
		sent := make([]Packet, rapid.IntRange(1, 60).Draw(r, "packets"))
		for i := range sent {
			sent[i].P = []byte(strings.Repeat("x", rapid.IntRange(1, 9).Draw(r, "size")))
			sent[i].FDs = slices.Repeat([]int{f}, rapid.IntRange(0, 3).Draw(r, "descriptors"))
		}
		over := make(chan error, 1)
		parts := rapid.SliceOfN(rapid.IntRange(1, 40), 60, 60).Draw(r, "parts")
		go func() {
			var err error
			for out, i := 0, 0; out < len(sent) && err == nil; i++ {
				k := min(parts[i], len(sent)-out)
				if k == 1 {
					err = a.Send(fdtest.Soon(t), sent[out].P, sent[out].FDs...)
				} else {
					_, err = a.SendBatch(fdtest.Soon(t), sent[out:out+k])
				}
				out += k
			}
			over <- err
		}()
		for n := 0; n < len(sent); {
			got := make([]Packet, rapid.IntRange(1, 40).Draw(r, "at most"))
			for i := range got {
				got[i].P = make([]byte, rapid.IntRange(1, 10).Draw(r, "room"))
				got[i].Set, got[i].Room = new(FDSet), rapid.IntRange(0, 3).Draw(r, "descriptors")
			}
			k, err := b.ReceiveBatch(fdtest.Soon(t), got)
			if err != nil {
				r.Fatal(err)
			}
			for i := range got[:k] {
				p, want := &got[i], &sent[n+i]
				var lost error
				fds := len(want.FDs)
				switch {
				case len(want.FDs) > p.Room:
					lost, fds = ErrDescriptorsLost, 0
				case len(want.P) > len(p.P):
					lost, fds = ErrTruncated, 0
				}
				if !errors.Is(p.Err, lost) || p.Set.Len() != fds || p.N != min(len(want.P), len(p.P)) {
					r.Fatalf("%d bytes, %d descriptors into room for %d, %d: %d, %d, %v", len(want.P), len(want.FDs), len(p.P), p.Room, p.N,
						p.Set.Len(), p.Err)
				}
				if err := p.Set.Close(); err != nil {
					r.Fatal(err)
				}
			}
			n += k
		}
		if err := <-over; err != nil {
			r.Fatal(err)
		}
	})
}
