package await

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// A line is one end of a connection that is waited for with a Pair. It reads ahead, as a stream
// does.
type line struct {
	*Pair
	fd       int
	ahead    []byte
	tried    func(err error) // is called after each try
	closes   sync.Once
	tryRead  func() (int, bool)
	tryWrite func() bool
	into     []byte
	out      []byte
	got, put outcome // of the reader's last try, and of the writer's
}

type outcome struct {
	n   int
	err error
}

func newLine(t testing.TB, fd int, p *Policy, mayPoll bool) *line {
	t.Helper()
	require.NoError(t, unix.SetNonblock(fd, true))
	pair := expect.NoError(New(fd, p, mayPoll, true)).In(t)
	l := &line{Pair: pair, fd: fd}
	l.tryRead = func() (int, bool) {
		l.got = l.try(sys.Read(fd, l.into))
		return max(l.got.n, 0), l.got.err != unix.EAGAIN
	}
	l.tryWrite = func() bool {
		l.put = l.try(sys.Write(fd, l.out))
		return l.put.err != unix.EAGAIN
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func (l *line) try(n int, err error) outcome {
	if l.tried != nil {
		l.tried(err)
	}
	return outcome{n, err}
}

// Close closes the descriptor, too.
func (l *line) Close() (err error) {
	l.closes.Do(func() {
		l.Pair.Close()
		err = sys.Close(l.fd)
	})
	return err
}

// Readv fills p.
func (l *line) Readv(ctx context.Context, p []byte) (n int, err error) {
	for n < len(p) {
		k, err := l.read(ctx, p[n:], n > 0)
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Read reads what is there.
func (l *line) Read(p []byte) (int, error) { return l.read(context.Background(), p, false) }

func (l *line) read(ctx context.Context, p []byte, mid bool) (int, error) {
	if len(l.ahead) == 0 {
		l.into, l.got = make([]byte, 1<<10), outcome{}
		if len(p) >= largeRead {
			l.into = p
		}
		l.In.RestOfPacket(mid)
		err := l.In.Do(ctx, l.tryRead)
		switch {
		case err != nil:
			return 0, err
		case l.got.err != nil:
			return 0, l.got.err
		case l.got.n == 0:
			return 0, io.EOF
		case len(p) >= largeRead:
			return l.got.n, nil
		}
		l.ahead = l.into[:l.got.n]
	}
	k := copy(p, l.ahead)
	l.ahead = l.ahead[k:]
	return k, nil
}

// Writev writes all of p.
func (l *line) Writev(ctx context.Context, p []byte) (n int, err error) {
	for n < len(p) {
		l.out = p[n:]
		if err := errors.Join(l.Out.Do(ctx, l.tryWrite), l.put.err); err != nil {
			return n, err
		}
		n += l.put.n
		l.In.Wrote()
	}
	return n, nil
}

// connected are the two ends of a UNIX connection.
func connected(t testing.TB) (a, b int) {
	t.Helper()
	fds := expect.NoError(sys.SocketPair(unix.SOCK_STREAM)).In(t)
	return fds[0], fds[1]
}

// lines are the two ends of a UNIX connection; the second one always sleeps.
func lines(t testing.TB, p *Policy) (here, there *line) {
	t.Helper()
	a, b := connected(t)
	return newLine(t, a, p, true), newLine(t, b, NewPolicy(0), false)
}
