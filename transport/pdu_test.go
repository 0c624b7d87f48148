//go:build unix

package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A chunks is a carrier that gives out its bytes in prepared portions; a nil one is a read that ctx
// ended.
type chunks struct {
	carrier
	left [][]byte
	end  error
}

func (c *chunks) midPacket(bool)     {}
func (c *chunks) keepsPackets() bool { return false }

func (c *chunks) read(_ context.Context, p []byte) (int, error) {
	if len(c.left) == 0 {
		return 0, c.end
	}
	if c.left[0] == nil {
		c.left = c.left[1:]
		return 0, context.Canceled
	}
	n := copy(p, c.left[0])
	if c.left[0] = c.left[0][n:]; len(c.left[0]) == 0 {
		c.left = c.left[1:]
	}
	return n, nil
}

// A framer reads packets with a length of four bytes before them.
type framer struct {
	header [4]byte
	body   []byte
	calls  int
	vec    [2][]byte
}

func (f *framer) next() ([][]byte, error) {
	f.calls++
	switch f.calls {
	case 1:
		f.vec[0] = f.header[:]
		return f.vec[:1], nil
	case 2:
		size := binary.BigEndian.Uint32(f.header[:])
		if size > 1<<20 {
			return nil, errors.New("too long")
		}
		n := int(size)
		if n == 0 {
			return nil, nil
		}
		f.body = slices.Grow(f.body[:0], n)[:n]
		half := n / 2
		f.vec[0], f.vec[1] = f.body[:half], f.body[half:]
		return f.vec[:], nil
	}
	return nil, nil
}

// packets reads frames until the stream ends, and goes on after every cancelled read.
func packets(s *Stream) (all [][]byte, err error) {
	for {
		var f framer
		n, err := s.ReadPDU(context.Background(), f.next)
		switch {
		case err == nil:
			if int(n) != 4+len(f.body) {
				return all, errors.New("ReadPDU counted wrong")
			}
			all = append(all, f.body)
		case errors.Is(err, context.Canceled):
			if n != 0 {
				return all, errors.New("a cancelled ReadPDU gave bytes away")
			}
		default:
			return all, err
		}
	}
}

func frames(bodies [][]byte) (b []byte) {
	for _, p := range bodies {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

// Any split of the bytes, and any cancelled reads between them, give the same packets.
func TestReadPDUSplits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 20), rapid.IntRange(0, 2*readAheadMin),
			rapid.IntRange(readAheadMax-10, readAheadMax+5000)), 1, 8).Draw(t, "sizes")
		var bodies [][]byte
		for i, n := range sizes {
			body := make([]byte, n)
			for j := range body {
				body[j] = byte(i + j)
			}
			bodies = append(bodies, body)
		}
		stream := frames(bodies)
		var parts [][]byte
		for rest := stream; len(rest) > 0; {
			if rapid.IntRange(0, 3).Draw(t, "cancel") == 0 {
				parts = append(parts, nil)
			}
			n := min(len(rest), rapid.OneOf(rapid.IntRange(1, 10), rapid.IntRange(1, len(stream))).Draw(t, "part"))
			parts = append(parts, rest[:n])
			rest = rest[n:]
		}
		got, err := packets(newStream(&chunks{left: parts, end: io.EOF}, nil, connected))
		require.Equal(t, io.EOF, err)
		require.Len(t, got, len(bodies))
		for i := range bodies {
			require.True(t, bytes.Equal(bodies[i], got[i]), i)
		}
	})
}

// FuzzReadPDU splits arbitrary bytes in two ways; both must give the same packets and the same end.
func FuzzReadPDU(f *testing.F) {
	f.Add(frames([][]byte{[]byte("one"), nil, []byte("three")}), []byte{1, 2, 3})
	f.Add([]byte{0, 0, 0, 9, 1}, []byte{0})
	f.Add([]byte{255, 255, 255, 255, 1, 2}, []byte{7, 0, 7})
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, stream, splits []byte) {
		var parts [][]byte
		rest := stream
		for _, n := range splits {
			if n == 0 {
				parts = append(parts, nil)
			}
			if k := min(int(n), len(rest)); k > 0 {
				parts = append(parts, rest[:k])
				rest = rest[k:]
			}
		}
		var whole [][]byte
		if len(stream) > 0 {
			whole = [][]byte{stream}
		}
		if len(rest) > 0 {
			parts = append(parts, rest)
		}
		a, aerr := packets(newStream(&chunks{left: whole, end: io.EOF}, nil, connected))
		b, berr := packets(newStream(&chunks{left: parts, end: io.EOF}, nil, connected))
		require.Equal(t, len(a), len(b))
		for i := range a {
			require.True(t, bytes.Equal(a[i], b[i]))
		}
		require.Equal(t, aerr.Error(), berr.Error())
	})
}

func TestReadPDUEnds(t *testing.T) {
	whole := frames([][]byte{[]byte("packet")})
	for cut := range len(whole) + 1 {
		var left [][]byte
		if cut > 0 {
			left = [][]byte{whole[:cut]}
		}
		got, err := packets(newStream(&chunks{left: left, end: io.EOF}, nil, connected))
		switch cut {
		case len(whole):
			require.Equal(t, io.EOF, err)
			require.Equal(t, [][]byte{[]byte("packet")}, got)
		case 0:
			require.Equal(t, io.EOF, err)
		default:
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, cut)
			require.Empty(t, got)
		}
		_, err = packets(newStream(&chunks{left: left, end: syscall.ECONNRESET}, nil, connected))
		require.ErrorIs(t, err, syscall.ECONNRESET, cut)
	}
}

// A vector that has only empty buffers is skipped, as empty buffers are: a field of a packet may
// have no bytes.
func TestReadPDUEmptyBuffers(t *testing.T) {
	s := &Stream{car: &chunks{left: [][]byte{[]byte("\x00T")}, end: io.EOF}}
	vectors := [][][]byte{{make([]byte, 1)}, {{}}, {{}, {}}, {make([]byte, 1)}, {}}
	i := -1
	n := expect.NoError(s.ReadPDU(t.Context(), func() ([][]byte, error) { i++; return vectors[i], nil })).In(t)
	require.EqualValues(t, 2, n)
	require.Equal(t, "T", string(vectors[3][0]))
	require.Equal(t, len(vectors)-1, i)

	asked := 0
	_, err := s.ReadPDU(t.Context(), func() ([][]byte, error) { asked++; return [][]byte{{}}, nil })
	require.ErrorIs(t, err, syscall.EINVAL)
	require.Equal(t, mostEmpty+1, asked)
	require.ErrorContains(t, err, "next does not come to an end")
}

// An error of next is returned as it is.
func TestReadPDURefused(t *testing.T) {
	c, s := pair(t, TCP(), loopback())
	require.NoError(t, expect.Err(c.Writev(soon(t), []byte{255, 255, 255, 255})))
	var f framer
	n, err := s.ReadPDU(soon(t), f.next)
	require.EqualError(t, err, "too long")
	require.EqualValues(t, 4, n)

	// What was refused is consumed, and is not put back with the beginning of the next packet.
	requireWrites(t, c, "be")
	_, err = s.ReadPDU(within(t, 20*time.Millisecond), new(framer).next)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	requireWrites(t, c, "hind")
	requireReads(t, s, "behind")

	n, err = s.ReadPDU(soon(t), func() ([][]byte, error) { return nil, nil })
	require.NoError(t, err, "a packet of nothing")
	require.Zero(t, n)
}

// Many small packets that have come together are one read.
func TestReadPDUReadsAhead(t *testing.T) {
	cb := TCPCallbacks()
	reads := 0
	first(&cb.Read, func() { reads++ })
	c, s := pairOf(t, cb)
	large := make([]byte, 8*directMin)
	sent := expect.Aside(func() error { return expect.Err(c.Writev(soon(t), frames([][]byte{large}))) })
	require.NoError(t, expect.Err(s.ReadPDU(soon(t), new(framer).next)))
	require.NoError(t, expect.Returns(t, sent))
	reads = 0
	const n = 1000
	all := frames(slices.Repeat([][]byte{[]byte("small")}, n))
	require.NoError(t, expect.Err(c.Writev(soon(t), all)))
	require.Eventually(t, func() bool { k, err := s.PendingBytes(); return err == nil && k == len(all) }, tooLong, time.Millisecond)
	left := len(all)
	for range n {
		var f framer
		_, err := s.ReadPDU(soon(t), func() ([][]byte, error) {
			require.Equal(t, left, expect.NoError(s.PendingBytes()).In(t), "pending inside a packet")
			v, err := f.next()
			left -= int(length(v))
			return v, err
		})
		require.NoError(t, err)
		require.Equal(t, "small", string(f.body))
	}
	require.LessOrEqual(t, reads, 4, "of 1 KiB, and then more at a time")
}

// The buffer for a large packet that is cut off is made once, and given up when the packet has been
// read.
func TestReadPDUCancelledLarge(t *testing.T) {
	streamPairs(t, func(t *testing.T, c, s *Stream) {
		for _, behind := range []int{0, 10} { // packets
			body := bytes.Repeat([]byte("x"), 1<<20)
			all := frames(append([][]byte{body}, slices.Repeat([][]byte{[]byte("small")}, behind)...))
			half := len(body) / 2
			sent := expect.Aside(func() error { _, err := c.Writev(soon(t), all[:half]); return err })
			for all := soon(t); len(s.buf[s.r:s.w]) < half; {
				ctx, cancel := context.WithCancel(all)
				read := expect.Aside(func() error { _, err := s.ReadPDU(ctx, new(framer).next); return err })
				expect.WaitsIn(t, "", "(*Stream).ReadPDU(") // it has read what was there
				cancel()
				require.ErrorIs(t, expect.Returns(t, read), context.Canceled)
				require.NoError(t, all.Err())
			}
			require.NoError(t, expect.Returns(t, sent))
			kept := &s.buf[0]
			for range 3 {
				_, err := s.ReadPDU(within(t, 5*time.Millisecond), new(framer).next)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Same(t, kept, &s.buf[0])
			}
			sent = expect.Aside(func() error { _, err := c.Writev(soon(t), all[half:]); return err })
			for i := range 1 + behind {
				var f framer
				require.NoError(t, expect.Err(s.ReadPDU(soon(t), f.next)))
				require.LessOrEqual(t, len(s.buf), readAheadMax)
				if i == 0 {
					require.True(t, bytes.Equal(body, f.body))
				}
			}
			require.NoError(t, expect.Returns(t, sent))
		}
	})
}
