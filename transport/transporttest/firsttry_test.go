//go:build unix

package transporttest

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// systemCalls is the TCP plug-in with the shortest callbacks there are: a count of -1 comes beside
// every error.
func systemCalls() transport.Callbacks[int] {
	cb := transport.TCPCallbacks()
	cb.Read = func(fd int, p []byte, _ time.Duration) (int, error) { return unix.Read(fd, p) }
	cb.Write = func(fd int, p []byte, _ time.Duration) (int, error) { return unix.Write(fd, p) }
	cb.Writev = func(fd int, v [][]byte, tmo time.Duration) (int64, error) {
		n, err := cb.Write(fd, v[0], tmo)
		return int64(n), err
	}
	return cb
}

// ownTimeouts makes a plug-in that waits in poll(2) say late where its time is over.
func ownTimeouts(late error, interruptible bool) transport.Callbacks[*pollSocket] {
	cb := polling(interruptible)
	say := func(err error) error {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return late
		}
		return err
	}
	accept, connect, read, write := cb.Accept, cb.Connect, cb.Read, cb.Write
	cb.Accept = func(s *pollSocket, tmo time.Duration) (*pollSocket, transport.Addr, error) {
		n, a, err := accept(s, tmo)
		return n, a, say(err)
	}
	cb.Connect = func(s *pollSocket, a transport.Addr, tmo time.Duration) error {
		return say(connect(s, a, tmo))
	}
	cb.Read = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
		n, err := read(s, p, tmo)
		return n, say(err)
	}
	cb.Write = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
		n, err := write(s, p, tmo)
		return n, say(err)
	}
	return cb
}

// firstTry are good plug-ins as people write them first.
func firstTry() []good {
	return []good{
		{"bare system calls", func(t testing.TB) Factory { return always(must(t, systemCalls()), loopback()) }},
		{"full, with a context's time-outs", func(t testing.TB) Factory {
			return always(must(t, ownTimeouts(context.DeadlineExceeded, true)), loopback())
		}},
	}
}

// Without Interrupt, an operation without a limit ends with the first slice whose time-out has a
// name that nobody knows: LongWaits says which names are known.
func TestLongWaitsNamesTimeouts(t *testing.T) {
	s := newSuite(always(must(t, ownTimeouts(errors.New("nothing came"), false)), loopback()), generous())
	for _, r := range rules() {
		if r.name == "LongWaits" {
			s.rules = []rule{r}
		}
	}
	err := s.check()
	require.ErrorContains(t, err, "nothing came")
	require.ErrorContains(t, err, "context.DeadlineExceeded")
}
