package handoff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/internal/test/leak"
)

// A posted is a packet of a peer that follows no rules, and its expected result.
type posted struct {
	text    string
	control []byte
	lost    error
	fds     int // expected in the set
}

// post sends packets as they are, malformed ones too. All are sent before any
// is received.
func post(t *testing.T, to *net.UnixConn, packets []posted) {
	t.Helper()
	for _, p := range packets {
		postRaw(t, to, p.text, p.control)
	}
}

// postRaw sends a packet without the byte that x/sys puts into an empty one that has control data.
func postRaw(t *testing.T, to *net.UnixConn, text string, control []byte) {
	t.Helper()
	raw, err := to.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		var h unix.Msghdr
		if len(text) > 0 {
			h.Iov = &unix.Iovec{Base: unsafe.StringData(text)}
			h.Iov.SetLen(len(text))
			h.SetIovlen(1)
		}
		if len(control) > 0 {
			h.Control = &control[0]
			h.SetControllen(len(control))
		}
		_, err = messageCall(unix.SYS_SENDMSG, int(fd), &h, unix.MSG_DONTWAIT, len(text))
	}))
	require.NoError(t, err)
}

// A received is a packet that has come, and what there was room for.
type received struct {
	P    []byte
	Set  *FDSet
	Room int
	N    int
	Err  error // why it is lost
}

// rooms makes n packets to receive into.
func rooms(n, size, descriptors int) []received {
	packets := make([]received, n)
	for i := range packets {
		packets[i] = received{P: make([]byte, size), Set: new(FDSet), Room: descriptors}
	}
	return packets
}

func (p *received) by(ctx context.Context, c *Conn) { p.N, p.Err = c.Receive(ctx, p.P, p.Set, p.Room) }

// receiveAll receives packets, lost ones too.
func receiveAll(t *testing.T, c *Conn, got []received) {
	t.Helper()
	for i := range got {
		got[i].by(fdtest.Soon(t), c)
	}
}

// requireUsable checks that descriptors refer to the file f, are close-on-exec, and above 2.
func requireUsable(t *testing.T, set *FDSet) {
	t.Helper()
	for _, fd := range set.FDs() {
		require.Greater(t, fd, 2)
		flags := expect.NoError(fcntl(fd, unix.F_GETFD)).In(t)
		require.Equal(t, unix.FD_CLOEXEC, flags)
		require.Equal(t, "f", fdtest.Content(t, fd))
	}
}

// claim is control data with this process's own credentials.
func claim() []byte {
	return unix.UnixCredentials(&unix.Ucred{Pid: int32(os.Getpid()), Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())})
}

// Attachments in odd places harm their own packet only: those before and behind it come
// whole.
func TestHostilePackets(t *testing.T) {
	f := fdtest.File(t, "f")
	rights := func(n int) []byte { return unix.UnixRights(fdtest.Repeat(f, n)...) }
	plain := posted{text: "plain"}
	one := posted{text: "one", control: rights(1), fds: 1}
	for _, tt := range []struct {
		name        string
		room        int
		credentials bool
		packets     []posted
	}{
		{"one more than there is room for", 1, false, []posted{one, {"two", rights(2), ErrDescriptorsLost, 0}, plain, one}},
		// With CMSG_SPACE the padding behind an odd number of descriptors would take one more.
		{"in the padding", 3, false, []posted{{"four", rights(4), ErrDescriptorsLost, 0}, {"three", rights(3), nil, 3}, one}},
		{"no room at all", 0, false, []posted{{"one", rights(1), ErrDescriptorsLost, 0}, plain, {"most", rights(253), ErrDescriptorsLost, 0},
			plain}},
		{"as many as go, in each", 253, false, slices.Repeat([]posted{{"most", rights(253), nil, 253}}, 3)},
		{"more than fit, in each", 252, false, slices.Repeat([]posted{{"most", rights(253), ErrDescriptorsLost, 0}}, 3)},
		{"too long, with descriptors", 1, false, []posted{one, {"longer than that", rights(1), ErrTruncated, 0}, one}},
		{"too long and too many", 1, false, []posted{{"longer than that", rights(9), ErrDescriptorsLost, 0}, one, plain}},
		{"empty, with a descriptor", 1, false, []posted{{"", rights(1), nil, 1}, one, {"", rights(1), nil, 1}}},
		{"empty, with a descriptor too many", 0, false,
			[]posted{{"", rights(1), ErrDescriptorsLost, 0}, plain, {"", rights(1), ErrDescriptorsLost, 0}}},
		{"empty, in the middle", 1, true, []posted{one, {}, {}, one}},
		{"in two control messages", 2, false, []posted{{"two", append(rights(1), rights(1)...), nil, 2}, plain}},
		{"credentials that nobody asked for", 1, false, []posted{{"who", claim(), nil, 0}, {"both", append(claim(), rights(1)...), nil, 1}, one}},
		{"credentials beside descriptors", 1, true, []posted{
			{"both", append(rights(1), claim()...), nil, 1}, {"two", append(claim(), rights(2)...), ErrDescriptorsLost, 0}, one,
		}},
		{"credentials and no room", 0, true, []posted{{"one", rights(1), ErrDescriptorsLost, 0}, plain, {}, {}}},
		{"credentials and the most", 253, true, slices.Repeat([]posted{{"most", append(claim(), rights(253)...), nil, 253}}, 3)},
	} {
		for kindName, kind := range packetKinds {
			t.Run(kindName+", "+tt.name, func(t *testing.T) {
				if tt.room > 200 {
					need.Descriptors(t, 20*MaxDescriptors) // as many as are in flight, for a while
				}
				fdtest.NoLeak(t)
				peer, ours := fdtest.Pair(t, kind)
				b := conn(t, ours)
				require.NoError(t, b.ReceiveCredentials(tt.credentials))
				post(t, peer, tt.packets)
				got := rooms(len(tt.packets), 5, tt.room)
				receiveAll(t, b, got)
				for i, want := range tt.packets {
					p := got[i]
					require.ErrorIs(t, p.Err, want.lost, "packet %d", i)
					require.Equal(t, want.text[:min(5, len(want.text))], string(p.P[:p.N]), "packet %d", i)
					require.Equal(t, want.fds, p.Set.Len(), "packet %d", i)
					requireUsable(t, p.Set)
					require.NoError(t, p.Set.Close())
				}
			})
		}
	}
}

// A Conn carries descriptors of any kind, even of the socket that they come over, in whose own
// queue they then are.
func TestOddFiles(t *testing.T) {
	fdtest.NoLeak(t)
	x, y := fdtest.RawPair(t, unix.SOCK_SEQPACKET)
	peer, b := fdtest.UnixConn(t, x), conn(t, fdtest.UnixConn(t, y))
	var pipe [2]int
	require.NoError(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	epoll := expect.NoError(unix.EpollCreate1(unix.EPOLL_CLOEXEC)).In(t)
	path := expect.NoError(unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)).In(t)
	zero := expect.NoError(unix.Open("/dev/zero", unix.O_RDONLY|unix.O_CLOEXEC, 0)).In(t)
	odd := []int{pipe[0], pipe[1], epoll, path, zero}
	raw, err := peer.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { err = unix.Sendmsg(int(fd), []byte("self"), unix.UnixRights(int(fd)), nil, 0) }))
	require.NoError(t, err)
	require.NoError(t, b.raw.Control(func(fd uintptr) {
		control := unix.UnixRights(int(fd))
		fdtest.SendRaw(t, peer, []byte("yours"), control)
	}))
	for _, fd := range odd {
		fdtest.SendRaw(t, peer, []byte("odd"), unix.UnixRights(fd))
		require.NoError(t, unix.Close(fd))
	}
	got := rooms(len(odd)+2, 5, 1)
	receiveAll(t, b, got)
	for _, p := range got {
		require.NoError(t, p.Err)
		require.Equal(t, 1, p.Set.Len())
		require.NoError(t, p.Set.Close())
	}
}

// If a packet has more descriptors than there are free numbers, those that did arrive are closed,
// and their numbers are free for later packets.
func TestPartOfDescriptors(t *testing.T) {
	fdtest.NoLeak(t)
	peer, ours := fdtest.Pair(t, unix.SOCK_SEQPACKET)
	b, f := conn(t, ours), fdtest.File(t, "f")
	for _, n := range []int{3, 3, 0, 1} {
		var control []byte
		if n > 0 {
			control = unix.UnixRights(fdtest.Repeat(f, n)...)
		}
		fdtest.SendRaw(t, peer, []byte("x"), control)
	}
	got := rooms(4, 5, 3)
	enough := few(t, f, 4) // three for the first, one for the second
	receiveAll(t, b, got)
	enough()
	for i, want := range []error{nil, ErrDescriptorsLost, nil, nil} {
		require.ErrorIs(t, got[i].Err, want, "packet %d", i)
	}
	require.Equal(t, 3, got[0].Set.Len())
	require.NoError(t, got[0].Set.Close())
	require.NoError(t, got[3].Set.Close())
	fdtest.SendRaw(t, peer, []byte("later"), unix.UnixRights(f))
	receiveAll(t, b, got[:1])
	require.NoError(t, got[0].Err, "and the connection lives on")
	require.Equal(t, "later", string(got[0].P[:got[0].N]))
	require.NoError(t, got[0].Set.Close())
}

// Another process that shares a socket may turn on SO_PASSPIDFD. Packets with data that was not
// asked for are refused, and the descriptors of processes that come with them are closed.
func TestProcessesAttached(t *testing.T) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) { processesAttached(t, kind) })
	}
}

func processesAttached(t *testing.T, kind int) {
	fdtest.NoLeak(t)
	peer, ours := fdtest.Pair(t, kind)
	b, f := conn(t, ours), fdtest.File(t, "f")
	require.NoError(t, b.raw.Control(func(fd uintptr) {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSPIDFD, 1); err != nil {
			t.Skipf("SO_PASSPIDFD: %v", err)
		}
	}))
	for _, control := range [][]byte{nil, unix.UnixRights(f), unix.UnixRights(f, f)} {
		fdtest.SendRaw(t, peer, []byte("x"), control)
	}
	before := leak.Descriptors()
	got := rooms(3, 1, 0)
	for i, room := range []int{9, 2, 0} {
		got[i].Room = room
	}
	receiveAll(t, b, got)
	for i, p := range got {
		// there was no room for the pidfd beside the others
		if !errors.Is(p.Err, ErrDescriptorsLost) {
			require.ErrorIs(t, p.Err, ErrAncillary, "packet %d", i)
		}
		require.Zero(t, p.Set.Len())
	}
	// leftOver does not count descriptors without a file
	for fd, target := range leak.Descriptors() {
		require.Equal(t, before[fd], target)
	}
}

// If a peer closes with packets in flight and ours unread, nothing is lost: everything that it has
// sent comes, then the end, again and again.
func TestHostilePeerGone(t *testing.T) {
	f := fdtest.File(t, "f")
	for _, unread := range []bool{false, true} {
		t.Run(fmt.Sprintf("unread %v", unread), func(t *testing.T) {
			fdtest.NoLeak(t)
			peer, ours := fdtest.Pair(t, unix.SOCK_SEQPACKET)
			b := conn(t, ours)
			if unread {
				require.NoError(t, b.Send(fdtest.Soon(t), []byte("unread")))
			}
			for i := range 33 {
				fdtest.SendRaw(t, peer, []byte{'x'}, unix.UnixRights(fdtest.Repeat(f, 1+i%3)...))
			}
			require.NoError(t, peer.Close())
			want := error(io.EOF)
			if unread {
				want = syscall.ECONNRESET
			}
			for i := range 33 {
				p := rooms(1, 5, 2)[0]
				p.by(fdtest.Soon(t), b)
				lost, fds := error(nil), 1+i%3
				if fds > 2 {
					lost, fds = ErrDescriptorsLost, 0
				}
				require.ErrorIs(t, p.Err, lost)
				require.Equal(t, fds, p.Set.Len())
				require.NoError(t, p.Set.Close())
			}
			for range 2 {
				require.ErrorIs(t, expect.Err(b.Receive(fdtest.Soon(t), make([]byte, 5), nil, 0)), want)
			}
		})
	}
}

// Packets with room and packets of any size are received by turns from the same queue, with
// the same memory: no call sees what another has left there.
func TestReceiveByTurns(t *testing.T) {
	fdtest.NoLeak(t)
	peer, ours := fdtest.Pair(t, unix.SOCK_SEQPACKET)
	b, f := conn(t, ours), fdtest.File(t, "f")
	require.NoError(t, b.ReceiveCredentials(true)) // so that empty packets do not look like the end
	by := rand.New(rand.NewSource(1))
	for range 300 {
		packets := make([]posted, 1+by.Intn(20))
		for i := range packets {
			p := &packets[i]
			p.text = "0123456789"[:by.Intn(10)]
			if n := by.Intn(4); n > 0 {
				p.control, p.fds = unix.UnixRights(fdtest.Repeat(f, n)...), n
			}
			switch {
			case p.fds > 2:
				p.lost, p.fds = ErrDescriptorsLost, 0
			case len(p.text) > 5:
				p.lost, p.fds = ErrTruncated, 0
			}
			if by.Intn(2) == 0 {
				p.control = append(p.control, claim()...)
			}
		}
		post(t, peer, packets)
		for _, want := range packets {
			p := rooms(1, 5, 2)[0]
			if by.Intn(2) == 0 {
				p.by(fdtest.Soon(t), b)
			} else {
				var text []byte
				var cred Cred
				text, _, cred, p.Err = b.ReceivePacket(fdtest.Soon(t), nil, 5, p.Set, p.Room)
				if p.N = copy(p.P, text); p.Err == nil {
					require.Equal(t, self, cred)
				} else {
					// the packet is thrown away, and nothing of it is returned
					p.N = min(5, len(want.text))
				}
			}
			require.ErrorIs(t, p.Err, want.lost)
			require.Equal(t, want.fds, p.Set.Len())
			require.Equal(t, min(5, len(want.text)), p.N)
			require.NoError(t, p.Set.Close())
		}
	}
	require.ErrorIs(t, expect.Err(b.Receive(transport.NoWait(), make([]byte, 5), nil, 0)), os.ErrDeadlineExceeded)
}

// Many goroutines receive while a peer floods them with descriptors, and the Conn is
// closed meanwhile: each descriptor that came has an owner, and the rest is closed with the socket.
func TestFloodAndClose(t *testing.T) {
	fdtest.NoLeak(t)
	f := fdtest.File(t, "f")
	for range 20 {
		x, y := fdtest.RawPair(t, unix.SOCK_SEQPACKET)
		b := conn(t, fdtest.UnixConn(t, y))
		var all sync.WaitGroup
		all.Go(func() {
			for i := 0; ; i++ {
				rights := unix.UnixRights(fdtest.Repeat(f, 1+i%5)...)
				err := unix.Sendmsg(x, []byte("x"), rights, nil, unix.MSG_NOSIGNAL)
				// Users other than root may have no more in flight just now.
				if err != nil && err != unix.ETOOMANYREFS {
					return // the other end is gone
				}
			}
		})
		enough := make(chan struct{})
		came := sync.OnceFunc(func() { close(enough) })
		wrong := make(chan error, 4)
		for range cap(wrong) {
			all.Go(func() {
				for got := 0; ; got++ {
					p := rooms(1, 1, 3)[0]
					p.by(context.Background(), b)
					_ = p.Set.Close()
					if got == 30 {
						came()
					}
					switch {
					case errors.Is(p.Err, net.ErrClosed):
						return
					case p.Err != nil && !errors.Is(p.Err, ErrDescriptorsLost):
						wrong <- p.Err
						return
					}
				}
			})
		}
		<-enough
		require.NoError(t, b.Close())
		all.Wait()
		require.NoError(t, unix.Close(x))
		require.Empty(t, wrong)
	}
}
