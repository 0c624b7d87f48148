package transport_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/packets"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
)

// packetPair connects two streams that keep packets, after the handshake too if frameHeader is 0.
func packetPair(t *testing.T, tr transport.Transport) (client, server *transport.Stream) {
	t.Helper()
	l := expect.NoError(tr.Listen(transport.MemoryAddr(""), 0)).In(t)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	connected := make(chan error, 1)
	go func() {
		var err error
		client, err = tr.Connect(expect.Context(t), l.Addr())
		connected <- err
	}()
	server = expect.NoError(l.Accept(expect.Context(t))).In(t)
	require.NoError(t, expect.Returns(t, connected))
	for _, s := range []*transport.Stream{client, server} {
		t.Cleanup(func() { _ = s.Close() })
		require.False(t, s.KeepsPackets(), "not known yet")
		require.Zero(t, expect.NoError(s.HandshakePacketHeaderSize(expect.Context(t))).In(t))
		require.True(t, s.KeepsPackets())
	}
	return client, server
}

func completes(t *testing.T, client, server *transport.Stream) {
	t.Helper()
	require.NoError(t, client.HandshakeComplete(expect.Context(t), true))
	require.NoError(t, server.HandshakeComplete(expect.Context(t), false))
}

// packet reads a packet whole.
func packet(t *testing.T, s *transport.Stream) []byte {
	t.Helper()
	var got []byte
	n, err := s.ReadPDU(expect.Context(t), func() ([][]byte, error) {
		n := len(got)
		got = append(got, make([]byte, 1000)...)
		return [][]byte{got[n:]}, nil
	})
	require.NoError(t, err)
	return got[:n]
}

func readPDU(t *testing.T, s *transport.Stream) string {
	t.Helper()
	var buf [64]byte
	n, err := s.ReadPDU(expect.Context(t), func() ([][]byte, error) { return [][]byte{buf[:3], nil, buf[3:]}, nil })
	require.NoError(t, err)
	return string(buf[:n])
}

func writes(t *testing.T, s *transport.Stream, v ...string) {
	t.Helper()
	var b [][]byte
	size := 0
	for _, p := range v {
		b, size = append(b, []byte(p)), size+len(p)
	}
	require.EqualValues(t, size, expect.NoError(s.Writev(expect.Context(t), b...)).In(t))
}

func TestPacketsOfAStream(t *testing.T) {
	client, server := packetPair(t, packets.Over(transport.NewMemory(), 0))
	completes(t, client, server)
	require.True(t, client.KeepsPackets())
	ctx := expect.Context(t)

	writes(t, client, "ab", "", "cde")
	writes(t, client)
	writes(t, client, "", "")
	writes(t, client, "f")
	require.EqualValues(t, 3, expect.NoError(client.WriteSome(ctx, []byte("gh"), []byte("i"))).In(t))
	require.NoError(t, expect.Err(client.WriteSome(ctx)))
	for _, want := range []string{"abcde", "", "", "f", "ghi", ""} {
		require.Equal(t, want, readPDU(t, server))
	}

	writes(t, server, "jkl")
	p := make([]byte, 2)
	k := expect.NoError(client.Read(ctx, p)).In(t)
	require.Equal(t, "jk", string(p[:k]))
	k, err := client.Read(ctx, p)
	require.Equal(t, transport.ErrEndOfPacket, err)
	require.Equal(t, "l", string(p[:k]))
	writes(t, server)
	k, err = client.Read(ctx, p)
	require.Equal(t, transport.ErrEndOfPacket, err)
	require.Zero(t, k)

	writes(t, server, "mn")
	m, err := client.Readv(ctx, p, make([]byte, 5))
	require.Equal(t, transport.ErrEndOfPacket, err)
	require.EqualValues(t, 2, m)

	// the rest of a packet that is not wanted
	writes(t, server, "opq")
	once := false
	m, err = client.ReadPDU(ctx, func() ([][]byte, error) {
		if once {
			return nil, nil
		}
		once = true
		return [][]byte{p[:1]}, nil
	})
	require.NoError(t, err)
	require.EqualValues(t, 1, m)
	require.Equal(t, "pq", readPDU(t, client))

	require.NoError(t, client.Close())
	require.Equal(t, io.EOF, expect.Err(server.ReadPDU(ctx, func() ([][]byte, error) { return [][]byte{p}, nil })))
}

// A net.Conn over packets has no boundaries.
func TestPacketsOfANetConn(t *testing.T) {
	client, server := packetPair(t, packets.Over(transport.NewMemory(), 0))
	writes(t, client, "abc")
	writes(t, client)
	writes(t, client, "de")
	got := make([]byte, 5)
	require.NoError(t, expect.Err(io.ReadFull(transport.NetConn(server), got)))
	require.Equal(t, "abcde", string(got))
	require.NoError(t, expect.Err(transport.NetConn(server).Write([]byte("fgh"))))
	require.Equal(t, "fgh", readPDU(t, client))
}

// A carrier may keep packets in the handshake only.
func TestPacketsUpToTheHandshake(t *testing.T) {
	client, server := packetPair(t, packets.Over(transport.NewMemory(), 4))
	writes(t, client, "name")
	writes(t, client, "more")
	require.Equal(t, "name", readPDU(t, server))
	require.Equal(t, "more", readPDU(t, server))
	completes(t, client, server)
	require.False(t, client.KeepsPackets())
	require.ErrorIs(t, expect.Err(client.Writev(expect.Context(t), nil)), syscall.EINVAL)
	writes(t, client, "ab")
	writes(t, client, "cd")
	got := make([]byte, 4)
	require.NoError(t, expect.Err(server.Readv(expect.Context(t), got)))
	require.Equal(t, "abcd", string(got))
}

// A read that ends in the middle of a packet leaves its beginning for the next one, and so does a
// pause.
func TestPacketCutOff(t *testing.T) {
	cb := packets.Callbacks(transport.NewMemory(), 0)
	wait := make(chan struct{})
	read := cb.Read
	var late sync.Once
	begun := make(chan struct{})
	cb.Read = func(c *packets.Socket, p []byte, tmo time.Duration) (int, error) {
		n, err := read(c, p[:min(len(p), 4)], tmo)
		if n == 4 {
			late.Do(func() { close(begun); <-wait })
		}
		return n, err
	}
	tr := expect.NoError(transport.New(cb, nil)).In(t)
	client, server := packetPair(t, tr)
	writes(t, client, "a packet of some length")
	ctx, cancel := context.WithCancel(context.Background())
	var buf [64]byte
	next := func() ([][]byte, error) { return [][]byte{buf[:7], buf[7:]}, nil }
	failed := expect.Aside(func() error { return expect.Err(server.ReadPDU(ctx, next)) })
	<-begun
	cancel()
	close(wait)
	require.ErrorIs(t, expect.Returns(t, failed), context.Canceled)
	require.NoError(t, server.PauseRead(expect.Context(t)))
	server.Resume()
	require.Equal(t, "a packet of some length", readPDU(t, server))
}

// Whatever is posted to a queue of frames, each is one packet.
func TestQueueOfFrames(t *testing.T) {
	for name, direct := range map[string]bool{"a goroutine for each call": false, "direct": true} {
		t.Run(name, func(t *testing.T) {
			cb := packets.Callbacks(transport.NewMemory(), 0)
			if direct {
				cb.Flags |= transport.Direct
			}
			tr := expect.NoError(transport.New(cb, nil)).In(t)
			client, server := packetPair(t, tr)
			completes(t, client, server)
			q := client.Posts(&queue.Options{Frames: true})
			const writers, frames = 3, 150
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					random := rand.New(rand.NewPCG(1, uint64(w)))
					for i := range frames {
						size := []int{0, 1, 100, 3000, 140_000}[random.IntN(5)] + random.IntN(10)*min(i, 1)
						if size > 0 {
							size += 8
						}
						body := bytes.Repeat([]byte{byte(size)}, size)
						if size > 0 {
							binary.BigEndian.PutUint32(body, uint32(w))
							binary.BigEndian.PutUint32(body[4:], uint32(i))
						}
						head := binary.BigEndian.AppendUint32(nil, uint32(size))
						k := random.IntN(size + 1)
						mode := []queue.How{0, queue.More, queue.Now}[random.IntN(3)]
						if err := q.Post(expect.Context(t), append(head, body[:k]...), body[k:], mode); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			next := map[uint32]uint32{}
			for range writers * frames {
				got := make([]byte, 0, 200_000)
				n, err := server.ReadPDU(expect.Context(t), func() ([][]byte, error) { return [][]byte{got[:200_000]}, nil })
				require.NoError(t, err)
				if got = got[:n]; n == 0 {
					continue
				}
				require.Greater(t, n, int64(8))
				w, i := binary.BigEndian.Uint32(got), binary.BigEndian.Uint32(got[4:])
				require.GreaterOrEqual(t, i, next[w], "writer %d", w)
				next[w] = i + 1
				require.Equal(t, len(got)-8, bytes.Count(got[8:], []byte{byte(n)}))
			}
			wg.Wait()
			require.NoError(t, q.Flush(expect.Context(t)))
			queued, _ := q.Buffered()
			require.Zero(t, queued)
		})
	}
}

// What is held of a queue of frames are whole frames, and a queue that is given them goes on.
func TestQueueOfFramesIsHeld(t *testing.T) {
	client, server := packetPair(t, packets.Over(transport.NewMemory(), 0))
	completes(t, client, server)
	q := client.Posts(&queue.Options{Frames: true})
	frame := binary.BigEndian.AppendUint32(nil, 60_000)
	frame = append(frame, make([]byte, 60_000)...)
	for range 20 { // more than the carrier takes
		require.NoError(t, q.Post(expect.Context(t), frame, nil, queue.Now))
	}
	require.NoError(t, q.Hold(expect.Context(t)))
	held := q.Held()
	require.NotEmpty(t, held)
	require.Zero(t, len(held)%len(frame))
	q.End(errors.New("moved"))
	q.Unhold()
	next := client.Posts(&queue.Options{Frames: true})
	require.NoError(t, next.Stage(expect.Context(t), held))
	next.Unhold()
	for range 20 {
		require.Len(t, packet(t, server), 60_000)
	}
}

// What is no frame ends the queue.
func TestQueueOfFramesRefusesBytes(t *testing.T) {
	for _, post := range []string{"ab", "\x00\x00\x00\x05abc"} {
		client, server := packetPair(t, packets.Over(transport.NewMemory(), 0))
		completes(t, client, server)
		q := client.Posts(&queue.Options{Frames: true})
		require.ErrorIs(t, expect.Err(q.Deliver(expect.Context(t), []byte(post))), syscall.EINVAL)
	}
}

// Trace and Limit let packets pass, and Fault refuses them.
func TestWrappersOverPackets(t *testing.T) {
	below := packets.Over(transport.NewMemory(), 0)
	over := virtual.Limit(virtual.Trace(below, virtual.TraceOptions{}), virtual.LimitOptions{Read: 1e8, Write: 1e8, Burst: 3})
	client, server := packetPair(t, over)
	writes(t, client, "abc", "def")
	writes(t, client)
	require.Equal(t, "abcdef", readPDU(t, server))
	require.Equal(t, "", readPDU(t, server))
	completes(t, client, server)
	require.True(t, client.KeepsPackets())
	big := string(bytes.Repeat([]byte("x"), 5000))
	writes(t, server, big)
	require.Equal(t, big, string(packet(t, client)))
	traced := expect.Open(virtual.TraceStream(client, virtual.TraceOptions{})).In(t)
	require.True(t, traced.KeepsPackets())

	tr := virtual.Fault(below, virtual.FaultOptions{})
	l := expect.Open(tr.Listen(transport.MemoryAddr(""), 0)).In(t)
	s := expect.Open(tr.Connect(expect.Context(t), l.Addr())).In(t)
	require.ErrorIs(t, expect.Err(s.HandshakePacketHeaderSize(expect.Context(t))), errors.ErrUnsupported)
	require.ErrorIs(t, expect.Err(virtual.FaultStream(server, virtual.FaultOptions{})), errors.ErrUnsupported)
}
