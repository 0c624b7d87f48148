//go:build unix

package tsocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
)

// The rules of the tsocket guide, in our words and with our names, a line each, under the heading
// of the section that states them: a test for each section, and two for the section about addresses
// and sockets.

func TestGuideStreams(t *testing.T) {
	guideSection(t, "The tstream_context abstraction", []guideRule{
		{"pending bytes are those received and not consumed, or none", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			require.Zero(t, expect.NoError(s.PendingBytes()).In(t))
			require.NoError(t, expect.Err(c.Writev(soon(t), make([]byte, 10))))
			require.Eventually(t, func() bool { n, err := s.PendingBytes(); return n == 10 && err == nil }, tooLong, time.Millisecond)
		})},
		{"pending bytes may be asked for inside a packet", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			require.NoError(t, expect.Err(c.Writev(soon(t), make([]byte, 100))))
			require.Eventually(t, func() bool { n, err := s.PendingBytes(); return n == 100 && err == nil }, tooLong, time.Millisecond)
			require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 10))))
			for left := 90; left > 0; {
				parts := 3 // vectors of each packet
				_, err := s.ReadPDU(soon(t), func() ([][]byte, error) {
					if n, err := s.PendingBytes(); n != left || err != nil {
						return nil, fmt.Errorf("%d bytes pending, not %d: %w", n, left, err)
					}
					if parts--; parts < 0 {
						return nil, nil
					}
					left -= 15
					return [][]byte{make([]byte, 15)}, nil
				})
				require.NoError(t, err)
			}
			require.NoError(t, expect.Err(c.Writev(soon(t), make([]byte, 5))))
			read := expect.Aside(func() error { _, err := s.Readv(context.Background(), make([]byte, 1), make([]byte, 9)); return err })
			expect.WaitsIn(t, "", "(*Stream).Readv(")
			require.Eventually(t, func() bool { n, err := s.PendingBytes(); return n == 0 && err == nil },
				tooLong, time.Millisecond, "none while the rest is waited for")
			require.NoError(t, expect.Err(c.Writev(soon(t), make([]byte, 5))))
			require.NoError(t, expect.Returns(t, read))
		})},
		{"pending bytes of a stream that has ended are an error", guideTCP(func(t *testing.T, c, _ *transport.Stream) {
			require.NoError(t, c.Disconnect())
			require.ErrorIs(t, expect.Err(c.PendingBytes()), syscall.ENOTCONN)
		})},
		{"so is the plug-in's own", func(t *testing.T) {
			cb, failed := transport.TCPCallbacks(), errors.New("it cannot tell")
			cb.Pending = func(int) (int, error) { return 0, failed }
			tr := expect.NoError(transport.New(cb, nil)).In(t)
			c, _ := pair(t, tr, loopback())
			require.ErrorIs(t, expect.Err(c.PendingBytes()), failed)
		}},
		{"a read ends when every buffer is full", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			a, b := make([]byte, 2), make([]byte, 3)
			read := expect.Aside(func() error { _, err := s.Readv(context.Background(), a, b); return err })
			for _, p := range []string{"1", "23", "4"} {
				requireWrites(t, c, p)
			}
			select {
			case err := <-read:
				require.FailNow(t, "it ended early", "%v", err)
			case <-time.After(5 * time.Millisecond):
			}
			requireWrites(t, c, "5")
			require.NoError(t, expect.Returns(t, read))
			require.Equal(t, "12345", string(a)+string(b))
		})},
		{"or when it fails", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			require.NoError(t, c.Close())
			require.Equal(t, io.EOF, expect.Err(s.Readv(soon(t), make([]byte, 1))))
		})},
		{"a read gives the total length, never 0", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			requireWrites(t, c, "12345")
			require.EqualValues(t, 5, expect.NoError(s.Readv(soon(t), make([]byte, 2), make([]byte, 3))).In(t))
			require.ErrorIs(t, expect.Err(s.Readv(soon(t))), syscall.EINVAL)
		})},
		{"a second read is busy", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			first := expect.Aside(func() error { _, err := s.Readv(context.Background(), make([]byte, 1)); return err })
			expect.WaitsIn(t, "", "(*Stream).Readv(")
			require.ErrorIs(t, expect.Err(s.Readv(soon(t), make([]byte, 1))), transport.ErrBusy)
			requireWrites(t, c, "x")
			require.NoError(t, expect.Returns(t, first))
		})},
		{"to write an empty vector is invalid", guideTCP(func(t *testing.T, c, _ *transport.Stream) {
			for _, v := range [][][]byte{nil, {nil, {}}} {
				require.ErrorIs(t, expect.Err(c.Writev(soon(t), v...)), syscall.EINVAL)
			}
		})},
		{"a write ends when every buffer has been delivered, and gives the total length", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			require.EqualValues(t, 5, expect.NoError(c.Writev(soon(t), []byte("12"), []byte("345"))).In(t))
			requireReads(t, s, "12345")
		})},
		{"or a write fails", guideTCP(func(t *testing.T, c, _ *transport.Stream) {
			require.NoError(t, c.CloseWrite())
			n, err := c.Writev(soon(t), []byte("12"), []byte("345"))
			require.ErrorIs(t, err, syscall.EPIPE)
			require.Zero(t, n)
		})},
		{"a second write is busy", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			big := make([]byte, 32<<20)
			first := expect.Aside(func() error { _, err := c.Writev(context.Background(), big); return err })
			require.NoError(t, expect.Err(s.Readv(soon(t), make([]byte, 1))))
			require.ErrorIs(t, expect.Err(c.Writev(soon(t), []byte("x"))), transport.ErrBusy)
			require.ErrorIs(t, c.Disconnect(), transport.ErrBusy)
			require.NoError(t, expect.Err(s.Readv(soon(t), big[1:])))
			require.NoError(t, expect.Returns(t, first))
		})},
		{"to disconnect with an operation outstanding is busy", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			first := expect.Aside(func() error { _, err := s.Readv(context.Background(), make([]byte, 1)); return err })
			expect.WaitsIn(t, "", "(*Stream).Readv(")
			require.ErrorIs(t, s.Disconnect(), transport.ErrBusy)
			require.NoError(t, c.Disconnect())
			require.ErrorIs(t, expect.Returns(t, first), io.EOF)
			require.NoError(t, s.Disconnect())
		})},
		{"the resources can be freed at any time", guideTCP(func(t *testing.T, c, _ *transport.Stream) {
			first := expect.Aside(func() error { _, err := c.Readv(context.Background(), make([]byte, 1)); return err })
			expect.WaitsIn(t, "", "(*Stream).Readv(")
			require.NoError(t, c.Close())
			require.ErrorIs(t, expect.Returns(t, first), net.ErrClosed)
		})},
	})
}

func TestGuidePDUs(t *testing.T) {
	guideSection(t, "PDU receive helper functions", []guideRule{
		{"each vector is asked for in its turn, filled, and an empty one ends the packet", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			requireWrites(t, c, "\x03abcNEXT")
			head, step := make([]byte, 1), 0
			var body []byte
			n, err := s.ReadPDU(soon(t), func() ([][]byte, error) {
				step++
				switch step {
				case 1:
					return [][]byte{head}, nil
				case 2:
					body = make([]byte, head[0]) // the allocation is the function's
					return [][]byte{body[:1], body[1:]}, nil
				}
				require.Equal(t, "abc", string(body))
				return nil, nil
			})
			require.NoError(t, err)
			require.EqualValues(t, 4, n)
			require.Equal(t, 3, step)
			requireReads(t, s, "NEXT")
		})},
		{"an error of who gives the vectors is the answer", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			requireWrites(t, c, "\xffNEXT")
			head, tooLong := make([]byte, 1), errors.New("too long")
			n, err := s.ReadPDU(soon(t), func() ([][]byte, error) {
				if head[0] == 0 {
					return [][]byte{head}, nil
				}
				return nil, tooLong
			})
			require.Equal(t, tooLong, err)
			require.EqualValues(t, 1, n)
			requireReads(t, s, "NEXT")
		})},
		{"or one of the stream", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			packet := frames("abc")
			require.NoError(t, expect.Err(c.Writev(soon(t), packet[:len(packet)-1])))
			require.NoError(t, c.Disconnect())
			var f framer
			n, err := s.ReadPDU(soon(t), f.next)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.EqualValues(t, len(packet)-1, n)
			require.Equal(t, io.EOF, expect.Err(s.ReadPDU(soon(t), new(framer).next)))
		})},
	})
}

func guideTCP(holds func(t *testing.T, c, s *transport.Stream)) func(*testing.T) {
	return func(t *testing.T) {
		c, s := pair(t, transport.TCP(), loopback())
		holds(t, c, s)
	}
}
