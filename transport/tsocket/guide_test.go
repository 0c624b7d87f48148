//go:build unix

package tsocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/await"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// The rules of the tsocket guide, in our words and with our names, a line each, under the heading
// of the section that states them: a test for each section, and two for the section about addresses
// and sockets.

// A guideRule is one of these rules.
type guideRule struct {
	says  string
	holds func(t *testing.T)
}

func guideSection(t *testing.T, heading string, rules []guideRule) {
	for _, rule := range rules {
		t.Run(heading+"/"+rule.says, rule.holds)
	}
}

func TestGuideAddresses(t *testing.T) {
	guideSection(t, "The tsocket_address abstraction", []guideRule{
		{"an endpoint has a string for people", func(t *testing.T) {
			for _, a := range []transport.Addr{loopback(), transport.UnixAddr("/x"), transport.MemoryAddr("x"),
				transport.WithPeerName(loopback(), "n@h")} {
				require.NotEmpty(t, a.String())
			}
		}},
		{"its parts come from the getters of its kind", func(t *testing.T) {
			host, err := transport.Host(loopback())
			require.NoError(t, err)
			require.Equal(t, "127.0.0.1", host)
			path, err := transport.UnixPath(transport.UnixAddr("/x"))
			require.NoError(t, err)
			require.Equal(t, "/x", path)
		}},
		{"a copy can be changed without the original", func(t *testing.T) {
			a := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}
			c := transport.CopyAddr(a)
			a.Port = 2
			require.Equal(t, "10.0.0.1:1", c.String())
		}},
	})
}

// A slowCarrier sends to a mailroom.
type slowCarrier struct {
	datagramCarrier
	room *mailroom
}

func (c slowCarrier) send(ctx context.Context, _ *Datagram, p []byte, to transport.Addr) error {
	return second(c.room.SendTo(ctx, p, to))
}

func TestGuideDatagrams(t *testing.T) {
	guideSection(t, "The tdgram_context abstraction", []guideRule{
		{"a receive gives the next datagram, its length and its sender", guideUDP(func(t *testing.T, open, connected *Datagram) {
			requireSends(t, connected, "datagram", nil)
			requireReceives(t, open, "datagram", connected.LocalAddr())
		})},
		{"its buffer is as long as the datagram, whatever that is", guideUDP(func(t *testing.T, open, connected *Datagram) {
			sent := strings.Repeat("long", 10_000)
			require.NoError(t, second(connected.SendTo(soon(t), []byte(sent), nil)))
			got, from, err := open.Receive(soon(t))
			require.NoError(t, err)
			require.Equal(t, sent, string(got))
			require.Equal(t, connected.LocalAddr(), from)
		})},
		{"or it fails", guideUDP(func(t *testing.T, open, connected *Datagram) {
			require.NoError(t, open.Close())
			requireSends(t, connected, "nobody is there", nil)
			_, _, err := connected.RecvFrom(soon(t), make([]byte, 1))
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
		})},
		{"its length is never 0", guideUDP(func(t *testing.T, open, connected *Datagram) {
			raw, err := net.Dial("udp", open.LocalAddr().String())
			require.NoError(t, err)
			defer raw.Close()
			_, err = raw.Write(nil)
			require.NoError(t, err)
			_, _, err = open.RecvFrom(within(t, 20*time.Millisecond), make([]byte, 10))
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})},
		{"a second receive is busy", guideUDP(func(t *testing.T, open, _ *Datagram) {
			first := outstanding(t, open, context.Background())
			_, _, err := open.RecvFrom(soon(t), make([]byte, 1))
			require.ErrorIs(t, err, transport.ErrBusy)
			require.NoError(t, open.Close())
			require.ErrorIs(t, returns(t, first), net.ErrClosed)
		})},
		{"to send nothing is not allowed", guideUDP(func(t *testing.T, _, connected *Datagram) {
			_, err := connected.SendTo(soon(t), nil, nil)
			require.ErrorIs(t, err, syscall.EINVAL)
		})},
		{"a send gives the datagram's length", guideUDP(func(t *testing.T, open, connected *Datagram) {
			n, err := open.SendTo(soon(t), []byte("12345"), connected.LocalAddr())
			require.NoError(t, err)
			require.Equal(t, 5, n)
		})},
		{"or it fails, too", guideUDP(func(t *testing.T, open, _ *Datagram) {
			n, err := open.SendTo(soon(t), []byte("to nobody"), nil)
			require.ErrorIs(t, err, syscall.EDESTADDRREQ)
			require.Zero(t, n)
		})},
		{"a second send is busy", guideUDP(func(t *testing.T, _, connected *Datagram) {
			slow := &mailroom{gate: make(chan struct{})} // no send of the system's lasts for sure
			d := newDatagram(slowCarrier{connected.sock, slow}, connected.local, connected.remote)
			first := aside(func() error { return second(d.SendTo(soon(t), []byte("first"), nil)) })
			require.Eventually(t, d.sending.Load, tooLong, time.Millisecond)
			_, err := d.SendTo(soon(t), []byte("second"), nil)
			require.ErrorIs(t, err, transport.ErrBusy)
			require.ErrorIs(t, d.Disconnect(), transport.ErrBusy)
			close(slow.gate)
			require.NoError(t, returns(t, first))
			require.Equal(t, []string{"first"}, slow.sent)
			require.NoError(t, d.Disconnect())
		})},
		{"to disconnect closes the socket", guideUDP(func(t *testing.T, open, _ *Datagram) {
			require.NoError(t, open.Disconnect())
			require.ErrorIs(t, second(open.SendTo(soon(t), []byte("x"), loopback())), syscall.ENOTCONN)
			again, err := OpenUDP(open.LocalAddr(), nil)
			require.NoError(t, err)
			require.NoError(t, again.Close())
		})},
		{"to disconnect with an operation outstanding is busy", guideUDP(func(t *testing.T, open, connected *Datagram) {
			first := outstanding(t, open, context.Background())
			require.ErrorIs(t, open.Disconnect(), transport.ErrBusy)
			requireSends(t, connected, "x", nil)
			require.NoError(t, returns(t, first))
			require.NoError(t, open.Disconnect())
		})},
		{"the resources can be freed at any time", guideUDP(func(t *testing.T, open, _ *Datagram) {
			first := outstanding(t, open, context.Background())
			require.NoError(t, open.Close())
			require.ErrorIs(t, returns(t, first), net.ErrClosed)
		})},
	})
}

func TestGuideStreams(t *testing.T) {
	guideSection(t, "The tstream_context abstraction", []guideRule{
		{"pending bytes are those received and not consumed, or none", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			n, err := s.PendingBytes()
			require.NoError(t, err)
			require.Zero(t, n)
			_, err = c.Writev(soon(t), make([]byte, 10))
			require.NoError(t, err)
			require.Eventually(t, func() bool { n, err := s.PendingBytes(); return n == 10 && err == nil }, tooLong, time.Millisecond)
		})},
		{"pending bytes may be asked for inside a packet", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			_, err := c.Writev(soon(t), make([]byte, 100))
			require.NoError(t, err)
			require.Eventually(t, func() bool { n, err := s.PendingBytes(); return n == 100 && err == nil }, tooLong, time.Millisecond)
			_, err = s.Readv(soon(t), make([]byte, 10))
			require.NoError(t, err)
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
			_, err = c.Writev(soon(t), make([]byte, 5))
			require.NoError(t, err)
			read := aside(func() error { _, err := s.Readv(context.Background(), make([]byte, 1), make([]byte, 9)); return err })
			expect.WaitsIn(t, "", "(*Stream).Readv(")
			require.Eventually(t, func() bool { n, err := s.PendingBytes(); return n == 0 && err == nil },
				tooLong, time.Millisecond, "none while the rest is waited for")
			_, err = c.Writev(soon(t), make([]byte, 5))
			require.NoError(t, err)
			require.NoError(t, returns(t, read))
		})},
		{"pending bytes of a stream that has ended are an error", guideTCP(func(t *testing.T, c, _ *transport.Stream) {
			require.NoError(t, c.Disconnect())
			_, err := c.PendingBytes()
			require.ErrorIs(t, err, syscall.ENOTCONN)
		})},
		{"so is the plug-in's own", func(t *testing.T) {
			cb, failed := transport.TCPCallbacks(), errors.New("it cannot tell")
			cb.Pending = func(int) (int, error) { return 0, failed }
			tr, err := transport.New(cb, nil)
			require.NoError(t, err)
			c, _ := pair(t, tr, loopback())
			require.ErrorIs(t, second(c.PendingBytes()), failed)
		}},
		{"a read ends when every buffer is full", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			a, b := make([]byte, 2), make([]byte, 3)
			read := aside(func() error { _, err := s.Readv(context.Background(), a, b); return err })
			for _, p := range []string{"1", "23", "4"} {
				_, err := c.Writev(soon(t), []byte(p))
				require.NoError(t, err)
			}
			select {
			case err := <-read:
				require.FailNow(t, "it ended early", "%v", err)
			case <-time.After(5 * time.Millisecond):
			}
			_, err := c.Writev(soon(t), []byte("5"))
			require.NoError(t, err)
			require.NoError(t, returns(t, read))
			require.Equal(t, "12345", string(a)+string(b))
		})},
		{"or when it fails", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			require.NoError(t, c.Close())
			_, err := s.Readv(soon(t), make([]byte, 1))
			require.Equal(t, io.EOF, err)
		})},
		{"a read gives the total length, never 0", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			_, err := c.Writev(soon(t), []byte("12345"))
			require.NoError(t, err)
			n, err := s.Readv(soon(t), make([]byte, 2), make([]byte, 3))
			require.NoError(t, err)
			require.EqualValues(t, 5, n)
			_, err = s.Readv(soon(t))
			require.ErrorIs(t, err, syscall.EINVAL)
		})},
		{"a second read is busy", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			first := aside(func() error { _, err := s.Readv(context.Background(), make([]byte, 1)); return err })
			expect.WaitsIn(t, "", "(*Stream).Readv(")
			_, err := s.Readv(soon(t), make([]byte, 1))
			require.ErrorIs(t, err, transport.ErrBusy)
			_, err = c.Writev(soon(t), []byte("x"))
			require.NoError(t, err)
			require.NoError(t, returns(t, first))
		})},
		{"to write an empty vector is invalid", guideTCP(func(t *testing.T, c, _ *transport.Stream) {
			for _, v := range [][][]byte{nil, {nil, {}}} {
				_, err := c.Writev(soon(t), v...)
				require.ErrorIs(t, err, syscall.EINVAL)
			}
		})},
		{"a write ends when every buffer has been delivered, and gives the total length", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			n, err := c.Writev(soon(t), []byte("12"), []byte("345"))
			require.NoError(t, err)
			require.EqualValues(t, 5, n)
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
			first := aside(func() error { _, err := c.Writev(context.Background(), big); return err })
			_, err := s.Readv(soon(t), make([]byte, 1))
			require.NoError(t, err)
			_, err = c.Writev(soon(t), []byte("x"))
			require.ErrorIs(t, err, transport.ErrBusy)
			require.ErrorIs(t, c.Disconnect(), transport.ErrBusy)
			_, err = s.Readv(soon(t), big[1:])
			require.NoError(t, err)
			require.NoError(t, returns(t, first))
		})},
		{"to disconnect with an operation outstanding is busy", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			first := aside(func() error { _, err := s.Readv(context.Background(), make([]byte, 1)); return err })
			expect.WaitsIn(t, "", "(*Stream).Readv(")
			require.ErrorIs(t, s.Disconnect(), transport.ErrBusy)
			require.NoError(t, c.Disconnect())
			require.ErrorIs(t, returns(t, first), io.EOF)
			require.NoError(t, s.Disconnect())
		})},
		{"the resources can be freed at any time", guideTCP(func(t *testing.T, c, _ *transport.Stream) {
			first := aside(func() error { _, err := c.Readv(context.Background(), make([]byte, 1)); return err })
			expect.WaitsIn(t, "", "(*Stream).Readv(")
			require.NoError(t, c.Close())
			require.ErrorIs(t, returns(t, first), net.ErrClosed)
		})},
	})
}

func TestGuidePDUs(t *testing.T) {
	guideSection(t, "PDU receive helper functions", []guideRule{
		{"each vector is asked for in its turn, filled, and an empty one ends the packet", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			_, err := c.Writev(soon(t), []byte("\x03abcNEXT"))
			require.NoError(t, err)
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
			require.NoError(t, second(c.Writev(soon(t), []byte("\xffNEXT"))))
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
			require.NoError(t, second(c.Writev(soon(t), packet[:len(packet)-1])))
			require.NoError(t, c.Disconnect())
			var f framer
			n, err := s.ReadPDU(soon(t), f.next)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.EqualValues(t, len(packet)-1, n)
			_, err = s.ReadPDU(soon(t), new(framer).next)
			require.Equal(t, io.EOF, err)
		})},
	})
}

func TestGuideQueues(t *testing.T) {
	guideSection(t, "Async 'tevent_queue' based helper functions", []guideRule{
		{"queued sends of datagrams are made one after the other", func(t *testing.T) {
			slow := &mailroom{gate: make(chan struct{})}
			var q transport.Queue
			var calls []<-chan error
			for i := range 10 {
				send := func() error { return second(SendToQueue(soon(t), &q, slow, []byte{byte('0' + i)}, nil)) }
				calls = append(calls, inLine(t, i, send))
				slow.begun(t)
			}
			close(slow.gate)
			for _, call := range calls {
				require.NoError(t, returns(t, call), "never busy")
			}
			require.Equal(t, "0123456789", strings.Join(slow.sent, ""))
			require.False(t, slow.overlap, "two at once")
		}},
		{"queued reads of packets are made one after the other", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			var q transport.Queue
			var fs [3]framer
			var calls []<-chan error
			for i := range fs {
				calls = append(calls, aside(func() error { return second(q.ReadPDU(soon(t), s, fs[i].next)) }))
				expect.WaitIn(t, i+1, "", "(*Queue).ReadPDU(")
			}
			_, err := c.Writev(soon(t), frames("0", "1", "2"))
			require.NoError(t, err)
			for i, call := range calls {
				require.NoError(t, returns(t, call))
				require.Equal(t, fmt.Sprint(i), string(fs[i].body))
			}
		})},
		{"queued writes are made one after the other", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			var q transport.Queue
			big := make([]byte, 32<<20)
			first := aside(func() error { return second(q.Writev(soon(t), c, big)) })
			requireReads(t, s, "\x00") // it is on its way
			var calls []<-chan error
			for i := range 10 {
				calls = append(calls, inLine(t, i+1, func() error { return second(q.Writev(soon(t), c, []byte{byte('0' + i)}, []byte("ab"))) }))
			}
			require.NoError(t, second(s.Readv(soon(t), big[1:])))
			requireReads(t, s, "0ab1ab2ab3ab4ab5ab6ab7ab8ab9ab")
			require.NoError(t, returns(t, first))
			for _, call := range calls {
				require.NoError(t, returns(t, call), "never busy")
			}
		})},
		{"the queue is an argument: several sockets may share one", TestQueueOfSeveralSockets},
	})
}

func TestGuideBSDAddresses(t *testing.T) {
	guideSection(t, "BSD sockets: ipv4, ipv6 and unix", []guideRule{
		{"the family is ipv4, ipv6 or ip, which finds out", func(t *testing.T) {
			for _, tt := range [][3]string{{"ipv4", "127.0.0.1", "127.0.0.1:7"}, {"ipv6", "::1", "[::1]:7"},
				{"ip", "127.0.0.1", "127.0.0.1:7"}, {"ip", "::1", "[::1]:7"}} {
				a, err := transport.ParseInet(tt[0], tt[1], 7)
				require.NoError(t, err)
				require.Equal(t, tt[2], a.String())
			}
		}},
		{"any other family is an error", func(t *testing.T) {
			for _, family := range []string{"", "inet", "unix", "ipv5"} {
				require.ErrorIs(t, second(transport.ParseInet(family, "127.0.0.1", 7)), syscall.EAFNOSUPPORT)
			}
		}},
		{"an address text must be one of the family; names are not allowed", func(t *testing.T) {
			for _, tt := range [][2]string{{"ipv4", "::1"}, {"ipv6", "127.0.0.1"}, {"ip", "localhost"}, {"ipv4", "localhost"}} {
				_, err := transport.ParseInet(tt[0], tt[1], 7)
				require.ErrorIs(t, err, syscall.EINVAL)
			}
		}},
		{"no address text is the wildcard", func(t *testing.T) {
			for family, want := range map[string]string{"ipv4": "0.0.0.0:7", "ipv6": "[::]:7", "ip": "[::]:7"} {
				a, err := transport.ParseInet(family, "", 7)
				require.NoError(t, err)
				require.Equal(t, want, a.String())
			}
		}},
		{"the address text of what is not inet is EINVAL", func(t *testing.T) {
			require.ErrorIs(t, second(transport.Host(transport.UnixAddr("/x"))),
				syscall.EINVAL)
		}},
		{"an inet address has a port; that of another kind is EINVAL and 0", func(t *testing.T) {
			port, err := transport.Port(transport.FromAddrPort(netip.MustParseAddrPort("[::1]:7")))
			require.NoError(t, err)
			require.EqualValues(t, 7, port)
			port, err = transport.Port(transport.UnixAddr("/x"))
			require.ErrorIs(t, err, syscall.EINVAL)
			require.Zero(t, port)
		}},
		{"a port can be set; on what is not inet it is EINVAL", func(t *testing.T) {
			a, err := transport.WithPort(loopback(), 7)
			require.NoError(t, err)
			require.Equal(t, "127.0.0.1:7", a.String())
			require.ErrorIs(t, second(transport.WithPort(transport.UnixAddr("/x"), 7)), syscall.EINVAL)
		}},
		{"a path may be empty", func(t *testing.T) {
			a, err := transport.FromUnixPath("")
			require.NoError(t, err)
			require.Equal(t, transport.UnixAddr(""), a)
		}},
		{"a path longer than the kernel's limit is ENAMETOOLONG", func(t *testing.T) {
			require.NoError(t, second(transport.FromUnixPath(strings.Repeat("p", sys.MaxUnixPath))))
			require.ErrorIs(t, second(transport.FromUnixPath(strings.Repeat("p", sys.MaxUnixPath+1))), syscall.ENAMETOOLONG)
		}},
		{"the path of what is no UNIX address is EINVAL", func(t *testing.T) {
			require.ErrorIs(t, second(transport.UnixPath(loopback())),
				syscall.EINVAL)
		}},
	})
}

func TestGuideBSDSockets(t *testing.T) {
	guideSection(t, "BSD sockets: ipv4, ipv6 and unix", []guideRule{
		{"a UDP socket's addresses are inet ones, the remote one may be missing", func(t *testing.T) {
			require.ErrorIs(t, second(OpenUDP(transport.UnixAddr("/x"), nil)), syscall.EINVAL)
			require.ErrorIs(t, second(OpenUDP(loopback(), transport.UnixAddr("/x"))), syscall.EINVAL)
			d, err := OpenUDP(loopback(), nil)
			require.NoError(t, err)
			defer d.Close()
			require.Nil(t, d.RemoteAddr())
			require.ErrorIs(t, second(OpenUDP(d.LocalAddr(), nil)), syscall.EADDRINUSE, "or it fails")
		}},
		{"a UNIX datagram socket's addresses are UNIX ones, the remote one may be missing", func(t *testing.T) {
			require.ErrorIs(t, second(OpenUnixgram(loopback(), nil)), syscall.EINVAL)
			require.ErrorIs(t, second(OpenUnixgram(nil, loopback())), syscall.EINVAL)
			open, connected := unixgrams(t)
			require.Nil(t, open.RemoteAddr())
			require.NotNil(t, connected.RemoteAddr())
			require.ErrorIs(t, second(OpenUnixgram(open.LocalAddr(), nil)), syscall.EADDRINUSE, "or it fails")
		}},
		{"a TCP connection's addresses are inet ones", func(t *testing.T) {
			require.ErrorIs(t, second(transport.ConnectTCP(soon(t), transport.UnixAddr("/x"), loopback())), syscall.EINVAL)
			require.ErrorIs(t, second(transport.ConnectTCP(soon(t), loopback(), transport.UnixAddr("/x"))), syscall.EINVAL)
		}},
		{"a TCP connection goes from the local address, and is ready when connecting ends", func(t *testing.T) {
			l, err := transport.ListenTCP(loopback(), 0)
			require.NoError(t, err)
			defer l.Close()
			local, err := transport.ParseAddr(port.Vacant(t))
			require.NoError(t, err)
			c, s := acceptOne(t, l, func() (*transport.Stream, error) { return transport.ConnectTCP(soon(t), local, l.Addr()) })
			require.Equal(t, local, c.LocalAddr())
			require.Equal(t, local, s.RemoteAddr())
			requireSpeak(t, c, s)
		}},
		{"or it failed", func(t *testing.T) {
			nobody, err := transport.ParseAddr(port.Vacant(t))
			require.NoError(t, err)
			require.Error(t, second(transport.ConnectTCP(soon(t), nil, nobody)))
		}},
		{"a UNIX connection's addresses are UNIX ones", func(t *testing.T) {
			require.ErrorIs(t, second(transport.ConnectUnix(soon(t), loopback(), transport.UnixAddr("/x"))), syscall.EINVAL)
			require.ErrorIs(t, second(transport.ConnectUnix(soon(t), nil, loopback())), syscall.EINVAL)
		}},
		{"a UNIX connection goes from the local address, and is ready when connecting ends", func(t *testing.T) {
			dir := sockdir.New(t)
			l, err := transport.ListenUnix(transport.UnixAddr(filepath.Join(dir, "a")), 0)
			require.NoError(t, err)
			defer l.Close()
			local := transport.UnixAddr(filepath.Join(dir, "b"))
			c, s := acceptOne(t, l, func() (*transport.Stream, error) { return transport.ConnectUnix(soon(t), local, l.Addr()) })
			require.Equal(t, local, c.LocalAddr())
			require.Equal(t, local, s.RemoteAddr())
			requireSpeak(t, c, s)
		}},
		{"or it failed, too", func(t *testing.T) {
			nobody := transport.UnixAddr(filepath.Join(sockdir.New(t), "a"))
			require.ErrorIs(t, second(transport.ConnectUnix(soon(t), nil, nobody)), syscall.ENOENT)
		}},
		{"a socket pair is connected", func(t *testing.T) {
			if !await.CanWait {
				t.Skip("no socket pairs here")
			}
			a, b, err := transport.UnixPair()
			require.NoError(t, err)
			defer a.Close()
			defer b.Close()
			requireSpeak(t, a, b)
		}},
		{"a sockaddr is of inet, inet6 or unix, and no other family", func(t *testing.T) {
			for _, a := range []transport.Addr{loopback(), transport.FromAddrPort(netip.MustParseAddrPort("[::1]:7")), transport.UnixAddr("/x")} {
				b, err := transport.AppendSockaddr(nil, a)
				require.NoError(t, err)
				again, err := transport.ParseSockaddr(b)
				require.NoError(t, err)
				require.Equal(t, a, again)
				if _, err := transport.UnixPath(a); err != nil {
					require.ErrorIs(t, second(transport.ParseSockaddr(b[:len(b)-1])), syscall.EINVAL)
				}
			}
			require.ErrorIs(t, second(transport.ParseSockaddr(nil)), syscall.EINVAL)
			require.ErrorIs(t, second(transport.ParseSockaddr(otherFamily())), syscall.EAFNOSUPPORT)
			require.ErrorIs(t, second(transport.AppendSockaddr(nil, transport.MemoryAddr("x"))), syscall.EAFNOSUPPORT)
		}},
		{"an existing descriptor becomes a stream, or an error", func(t *testing.T) {
			fds, err := sys.SocketPair()
			require.NoError(t, err)
			var ends [2]*transport.Stream
			for i, fd := range fds {
				ends[i], err = AdoptStream(fd)
				require.NoError(t, err)
				defer ends[i].Close()
			}
			requireSpeak(t, ends[0], ends[1])
			require.Error(t, second(AdoptStream(-1)))
			require.Error(t, second(AdoptListener(-1)))
			require.Error(t, second(AdoptDatagram(-1)))
		}},
	})
}

func TestGuideVirtualSockets(t *testing.T) {
	guideSection(t, "Virtual Sockets", []guideRule{
		{"a datagram socket may be something else underneath", func(t *testing.T) {
			m := &mailroom{gate: make(chan struct{})}
			close(m.gate)
			require.NoError(t, second(SendToQueue(soon(t), new(transport.Queue), m, []byte("x"), nil)))
			require.Equal(t, []string{"x"}, m.sent)
		}},
		{"and so may a stream", func(t *testing.T) {
			c, s := pair(t, transport.NewMemory(), transport.MemoryAddr(""))
			requireSpeak(t, c, s)
		}},
	})
}

func guideUDP(holds func(t *testing.T, open, connected *Datagram)) func(*testing.T) {
	return func(t *testing.T) {
		open, connected := udpPair(t, "ipv4")
		holds(t, open, connected)
	}
}

func guideTCP(holds func(t *testing.T, c, s *transport.Stream)) func(*testing.T) {
	return func(t *testing.T) {
		c, s := pair(t, transport.TCP(), loopback())
		holds(t, c, s)
	}
}

// otherFamily is the sockaddr of a family that is neither an inet one nor UNIX.
func otherFamily() []byte {
	b, _ := transport.AppendSockaddr(nil, loopback())
	family := b[:2]
	if sys.SockaddrHasLen {
		family = b[1:2]
	}
	for i := range family {
		family[i] = 99
	}
	return b
}
