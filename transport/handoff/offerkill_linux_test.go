package handoff

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/party"
)

// ownerPoints and heirPoints are the points, in order, at which a side is killed or stopped. Those
// in onlyOfMany are passed only if there is much to hand over.
var (
	ownerPoints = []handoffpoint.Point{
		handoffpoint.OwnerConnected, handoffpoint.OwnerGreeted, handoffpoint.OwnerStaticHalf,
		handoffpoint.OwnerFreezes, inFreeze, handoffpoint.OwnerFrozen, handoffpoint.OwnerDescriptorsHalf,
		handoffpoint.OwnerDescriptorsSent,
		handoffpoint.OwnerStateHalf, handoffpoint.OwnerStateSent,
		handoffpoint.OwnerOffered, handoffpoint.OwnerAccepted, handoffpoint.OwnerCommitted,
		handoffpoint.OwnerHeard, halfReleased, handoffpoint.OwnerReleased, handoffpoint.OwnerLeaves,
	}
	heirPoints = []handoffpoint.Point{
		handoffpoint.HeirConnected, handoffpoint.HeirGreeted, handoffpoint.HeirStaticHalf,
		handoffpoint.HeirPrepared, handoffpoint.HeirDescriptorsHalf, handoffpoint.HeirDescriptorsAll,
		handoffpoint.HeirStateHalf, handoffpoint.HeirStateAll,
		handoffpoint.HeirOffered, halfImported, allImported,
		handoffpoint.HeirStaged, handoffpoint.HeirWaits, handoffpoint.HeirOwns, halfThawed,
		handoffpoint.HeirStarted, handoffpoint.HeirSaid, handoffpoint.HeirParted,
	}
	onlyOfMany = []handoffpoint.Point{
		handoffpoint.OwnerStaticHalf, handoffpoint.OwnerStateHalf, handoffpoint.HeirStaticHalf, handoffpoint.HeirStateHalf,
	}
	// otherOfMany are the points at which the amount to hand over makes a difference. As stopping a
	// side takes long, the other points are tried with many sessions only in long runs.
	otherOfMany = append([]handoffpoint.Point{
		inFreeze, handoffpoint.OwnerDescriptorsHalf, handoffpoint.OwnerCommitted, halfReleased,
		handoffpoint.HeirDescriptorsHalf, halfImported, handoffpoint.HeirStaged, handoffpoint.HeirOwns,
		halfThawed,
	}, onlyOfMany...)
)

// Sizes that are more than a session's peer has room for.
const (
	smallBuffer  = 4 << 10
	overRoom     = 100       // bytes beyond what a UNIX stream takes
	longGreeting = 192 << 10 // more than TCP takes
)

// sizesVariable is the environment variable with other numbers of sessions, for long runs, which
// try all points.
const sizesVariable = "HANDOFF_KILL_SESSIONS"

func startParty(t *testing.T, side string, o order, files ...*os.File) *party.Party {
	t.Helper()
	text := expect.NoError(json.Marshal(o)).In(t)
	return party.Start(t, []string{sideVariable + "=" + side, orderVariable + "=" + string(text)}, files...)
}

// A farEnd is the peer's end of a session. It sends questions, and checks each byte that comes.
type farEnd struct {
	fd       int
	number   int
	greeting int  // length of the greeting
	seen     int  // bytes of the greeting that have come
	asked    bool // the first question, of which half was sent before, has been sent
}

type farEnds []*farEnd

// ask asks on every session, and returns the process that answers, which must be the same on all,
// or 0 if every session is closed.
func (s farEnds) ask(t *testing.T, question uint64) (owner int) {
	t.Helper()
	for i, f := range s {
		who := f.ask(t, question)
		if i > 0 {
			require.Equal(t, owner, who, "session %d: two owners", i)
		}
		owner = who
	}
	return owner
}

// frame is a question.
func (f *farEnd) frame(question uint64) (word uint64, frame []byte) {
	word = question<<20 | uint64(f.number)
	return word, binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, questionLength), word)
}

func (f *farEnd) ask(t *testing.T, question uint64) (owner int) {
	word, out := f.frame(question)
	if !f.asked {
		word, out = f.frame(0)
		out = out[halfLength:]
	}
	f.asked = true
	if _, err := unix.SendmsgN(f.fd, out, nil, nil, unix.MSG_NOSIGNAL); err != nil {
		require.True(t, gone(err), "session %d: %v", f.number, err)
	}
	b := make([]byte, f.greeting-f.seen+2*questionLength)
	got := 0
	for got < len(b) {
		n, err := unix.Read(f.fd, b[got:])
		if err == unix.EINTR { // a signal to this process interrupts a timed read
			continue
		}
		if n <= 0 {
			require.True(t, err == nil || gone(err), "session %d: no answer (%d bytes of %d): %v", f.number, got, len(b), err)
			break
		}
		got += n
	}
	hello := min(got, f.greeting-f.seen)
	require.True(t, bytes.Equal(greetingOf(f.number, f.seen, hello), b[:hello]),
		"session %d: bytes lost, repeated or out of order from %d on", f.number, f.seen)
	f.seen += hello
	b, got = b[hello:], got-hello
	if got < 2*questionLength {
		require.Zero(t, got, "session %d: a part of an answer", f.number)
		return 0
	}
	require.Equal(t, word, binary.BigEndian.Uint64(b), "session %d: the answer to another question", f.number)
	return int(binary.BigEndian.Uint64(b[questionLength:]))
}

func gone(err error) bool { return errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) }

// A line is the two ends of a session: TCP, or a UNIX stream. Its window is small.
func newLine(t *testing.T, tcp bool) (near *os.File, far int) {
	t.Helper()
	if !tcp {
		fds := expect.NoError(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)).In(t)
		require.NoError(t, unix.SetsockoptInt(fds[1], unix.SOL_SOCKET, unix.SO_SNDBUF, smallBuffer))
		return os.NewFile(uintptr(fds[1]), "near"), fds[0]
	}
	l := expect.NoError(net.Listen("tcp", "127.0.0.1:0")).In(t)
	defer l.Close()
	a := expect.NoError(net.Dial("tcp", l.Addr().String())).In(t)
	defer a.Close()
	b := expect.NoError(l.Accept()).In(t)
	defer b.Close()
	require.NoError(t, a.(*net.TCPConn).SetWriteBuffer(smallBuffer))
	require.NoError(t, b.(*net.TCPConn).SetReadBuffer(8*smallBuffer))
	near = expect.NoError(a.(*net.TCPConn).File()).In(t)
	file := expect.NoError(b.(*net.TCPConn).File()).In(t)
	defer file.Close()
	far = expect.NoError(unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 3)).In(t)
	return near, far
}

// room is how many bytes a line has room for.
func room(t *testing.T) int {
	near, far := newLine(t, false)
	defer unix.Close(far)
	defer near.Close()
	return expect.NoError(unix.SendmsgN(int(near.Fd()), make([]byte, 1<<20), nil, nil, unix.MSG_DONTWAIT)).In(t)
}

// startBoth starts both sides. The peer of every session has sent half a question, and has no room
// for all of the greeting.
func startBoth(t *testing.T, count int, orders [2]order) (farEnds, [2]*party.Party) {
	t.Helper()
	atOnce := runtime.GOMAXPROCS(0) // such tests run at the same time
	need.Descriptors(t, uint64(200+4*count*atOnce))
	var near []*os.File
	var far farEnds
	tcp := count == 1
	greeting := longGreeting
	if !tcp {
		greeting = room(t) + overRoom
	}
	for i := range count {
		file, fd := newLine(t, tcp)
		f := &farEnd{fd: fd, number: i, greeting: greeting}
		near, far = append(near, file), append(far, f)
		limit := unix.NsecToTimeval(int64(serveDeadline))
		require.NoError(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit))
		t.Cleanup(func() { unix.Close(fd) })
		_, half := f.frame(0)
		require.NoError(t, expect.Err(unix.Write(fd, half[:halfLength])))
	}
	one, other, err := PacketPair()
	require.NoError(t, err)
	for i := range orders {
		o := &orders[i]
		o.Sessions, o.TCP, o.Greeting = count, tcp, greeting
		if count > descriptorsAMessage {
			o.Padding = testPadding
		}
	}
	sides := [2]*party.Party{startParty(t, "owner", orders[0], append([]*os.File{one}, near...)...), startParty(t, "heir", orders[1], other)}
	party.Begin(t, sides)
	for _, f := range append(near, one, other) {
		require.NoError(t, f.Close())
	}
	return far, sides
}

// Whichever side dies or stops, and at any point: there are never two owners, neither side waits
// for ever, and nothing is left behind.
func TestKillDuringOffer(t *testing.T) {
	for i, count := range matrixSizes() {
		decided := [2]handoffpoint.Point{handoffpoint.OwnerCommitted, handoffpoint.HeirOwns}
		cells := party.Cells([2][]handoffpoint.Point{ownerPoints, heirPoints}, decided)
		if testing.Short() && os.Getenv(sizesVariable) == "" {
			cells = party.Alternate(cells, decided, i%2 == 1)
		}
		for _, c := range cells {
			if count <= descriptorsAMessage && slices.Contains(onlyOfMany, c.At) {
				continue
			}
			if count > 1 && c.Signal == syscall.SIGSTOP && os.Getenv(sizesVariable) == "" && !slices.Contains(otherOfMany, c.At) {
				continue
			}
			t.Run(fmt.Sprintf("%d/%v", count, c), func(t *testing.T) {
				t.Parallel()
				var orders [2]order
				for i := range orders {
					orders[i].Short = c.Signal == syscall.SIGSTOP
				}
				orders[c.Victim].At, orders[c.Victim].Signal = c.At, c.Signal
				far, sides := startBoth(t, count, orders)
				question := uint64(0)
				c.Play(t, sides, func(owner *party.Party, why string) {
					want := 0
					if owner != nil {
						want = owner.PID()
					}
					question++
					require.Equal(t, want, far.ask(t, question), why)
				})
				for _, p := range sides {
					p.Leave(t)
				}
				require.Zero(t, far.ask(t, question+1), "somebody still has a session")
			})
		}
	}
}

// A new owner that runs out of descriptor numbers owns nothing, and says why.
func TestOfferWithoutDescriptorNumbers(t *testing.T) {
	for _, count := range matrixSizes() {
		for _, at := range []handoffpoint.Point{
			handoffpoint.HeirConnected, handoffpoint.HeirGreeted, handoffpoint.HeirPrepared, handoffpoint.HeirOffered,
		} {
			t.Run(fmt.Sprintf("%d/%s", count, at), func(t *testing.T) {
				t.Parallel()
				far, sides := startBoth(t, count, [2]order{{}, {At: at, NoFile: true}})
				ra, rb := sides[0].Report(t), sides[1].Report(t)
				require.True(t, ra.Owner, ra.Err)
				require.False(t, rb.Owner)
				switch at {
				case handoffpoint.HeirConnected: // the heir knows its limit, and tells it at hello
					require.Contains(t, ra.Err, ErrLimit.Error())
				case handoffpoint.HeirOffered: // all descriptors have come, and none can be imported
					require.Contains(t, ra.Err, syscall.EMFILE.Error())
				default:
					require.Contains(t, ra.Err, ErrDescriptorsLost.Error())
				}
				require.Equal(t, ra.PID, far.ask(t, 1))
				for _, p := range sides {
					p.Leave(t)
				}
			})
		}
	}
}

// Nothing goes wrong.
func TestOfferBetweenProcesses(t *testing.T) {
	for _, count := range []int{0, 1, 450} {
		t.Run(strconv.Itoa(count), func(t *testing.T) {
			t.Parallel()
			far, sides := startBoth(t, count, [2]order{})
			ra, rb := sides[0].Report(t), sides[1].Report(t)
			require.False(t, ra.Owner, ra.Err)
			require.True(t, rb.Owner, rb.Err)
			require.Equal(t, "<nil>", ra.Err)
			require.Equal(t, "<nil>", rb.Err)
			if count > 0 {
				require.Equal(t, rb.PID, far.ask(t, 1))
			}
			for _, p := range sides {
				p.Leave(t)
			}
		})
	}
}

// matrixSizes are the numbers of sessions: one, and as many as take two messages.
func matrixSizes() (sizes []int) {
	for word := range strings.FieldsSeq(os.Getenv(sizesVariable)) {
		if n, err := strconv.Atoi(word); err == nil {
			sizes = append(sizes, n)
		}
	}
	if len(sizes) == 0 {
		sizes = []int{1, 250}
	}
	return sizes
}
