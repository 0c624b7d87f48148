//go:build unix

package epmd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/transport/handoff"
	"golang.org/x/sys/unix"
)

// duplicates duplicates descriptors, as if another process had received them.
func duplicates(t testing.TB, fds []int) []int {
	t.Helper()
	var dups []int
	for _, fd := range fds {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		require.NoError(t, err)
		dups = append(dups, dup)
	}
	return dups
}

// nameless counts the connections that hold no name.
func nameless(s *Server) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nameless.Len()
}

// A name is kept over moves of its Keeper, and over a restart of the port mapper after them.
func TestKeeperMoves(t *testing.T) {
	l, err := net.Listen("tcp", port.Vacant(t))
	require.NoError(t, err)
	s := &Server{}
	go s.Serve(l)
	c := &Client{Addr: l.Addr().String()}
	k := keep(t, c, Registration{Name: "abc", Port: 7}, nil)
	creation := k.Creation()
	for range 3 {
		f := freeze(t, k)
		f.Thaw()
		f = freeze(t, k)
		g, err := c.Stage(f.State(), duplicates(t, f.Descriptors()), nil)
		require.NoError(t, err)
		require.NoError(t, g.Discard())
		_, err = c.Stage(f.State(), nil, nil)
		require.ErrorIs(t, err, ErrState)
		_, err = c.Stage([]byte("{"), duplicates(t, f.Descriptors()), nil)
		require.ErrorIs(t, err, ErrState)
		g, err = c.Stage(f.State(), duplicates(t, f.Descriptors()), &KeepOptions{MinPause: time.Millisecond})
		require.NoError(t, err)
		require.NoError(t, f.Release())
		require.ErrorIs(t, (func() error { <-k.done; return k.Err() })(), net.ErrClosed)
		k = g.Start()
		require.Equal(t, creation, k.Creation())
		info := resolve(t, c, "abc")
		require.EqualValues(t, 7, info.Port)
	}
	require.NoError(t, s.Close())
	require.Eventually(t, func() bool { return k.Err() != nil }, 10*time.Second, time.Millisecond)
	f, err := k.Freeze(t.Context()) // while the name is lost
	require.NoError(t, err)
	require.Empty(t, f.Descriptors())
	again := make(chan struct{})
	g, err := c.Stage(f.State(), nil, &KeepOptions{MinPause: time.Millisecond, Notify: func(e KeepEvent) {
		if e.Err == nil {
			close(again)
		}
	}})
	require.NoError(t, err)
	require.NoError(t, f.Release())
	k = g.Start()
	l, err = net.Listen("tcp", c.Addr)
	require.NoError(t, err)
	serve(t, &Server{}, l)
	<-again
	resolve(t, c, "abc")
	require.NoError(t, k.Close())
	_, err = k.Freeze(t.Context())
	require.ErrorIs(t, err, net.ErrClosed)
}

// A Keeper that has moved waits for the port mapper as any other one. The hand-off itself leaves
// the registration alone.
func TestMovedKeeperCloseWaitsForThePortMapper(t *testing.T) {
	ended, hangs := make(chan struct{}), make(chan struct{})
	c := &Client{Addr: fakeMapper(t, func(conn net.Conn) {
		readRequest(conn)
		io.WriteString(conn, "v\x00\x00\x00\x00\x07")
		silent(conn)
		close(ended)
		<-hangs
	})}
	defer close(hangs)
	k := keep(t, c, Registration{Name: "abc", Port: 7}, nil)
	f := freeze(t, k)
	g, err := c.Stage(f.State(), duplicates(t, f.Descriptors()), nil)
	require.NoError(t, err)
	require.NoError(t, f.Release())
	k = g.Start()
	require.NoError(t, k.Err())
	select {
	case <-ended:
		t.Fatal("a hand-off has ended the registration")
	default:
	}
	begin := time.Now()
	require.NoError(t, k.Close())
	require.GreaterOrEqual(t, time.Since(begin), farewell, "it did not wait")
	<-ended
}

// A port mapper that takes connections and says nothing does not hold up a freeze. The attempt is
// made anew after it.
func TestKeeperFreezesDuringAnAttempt(t *testing.T) {
	l, err := net.Listen("tcp", port.Vacant(t))
	require.NoError(t, err)
	s := &Server{}
	go s.Serve(l)
	c := &Client{Addr: l.Addr().String(), Timeout: -1}
	k := keep(t, c, Registration{Name: "abc", Port: 7}, &KeepOptions{MinPause: time.Millisecond, MaxPause: time.Millisecond})
	require.NoError(t, s.Close())
	silent, err := net.Listen("tcp", c.Addr)
	require.NoError(t, err)
	var asked [][]byte
	ask := func() net.Conn {
		conn, err := silent.Accept()
		require.NoError(t, err)
		request := make([]byte, 2+13+3)
		_, err = io.ReadFull(conn, request)
		require.NoError(t, err)
		asked = append(asked, request)
		return conn
	}
	first := ask()
	defer first.Close()
	f := freeze(t, k)
	require.Empty(t, f.Descriptors())
	_, err = first.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "the attempt was not broken off")
	f.Thaw()
	second := ask()
	defer second.Close()
	require.Equal(t, asked[0], asked[1])
	f = freeze(t, k)
	g, err := c.Stage(f.State(), nil, &KeepOptions{MinPause: time.Millisecond})
	require.NoError(t, err)
	require.NoError(t, f.Release())
	k = g.Start()
	require.ErrorIs(t, k.Err(), ErrLost, "it is not registered yet")
	require.NoError(t, silent.Close())
	require.NoError(t, k.Close())
}

// A Freeze that gives up, or is not possible, leaves the Keeper as it is.
func TestKeeperCannotFreeze(t *testing.T) {
	restarting(t, func(t *testing.T, mapper *restartable, c *Client) {
		notified, goOn := make(chan struct{}), make(chan struct{})
		k := keep(t, c, Registration{Name: "abc", Port: 7}, &KeepOptions{Notify: func(e KeepEvent) {
			if e.Attempt == 0 {
				close(notified)
				<-goOn
			}
		}})
		for range 2 {
			_, err := k.Freeze(t.Context())
			require.ErrorIs(t, err, errors.ErrUnsupported)
		}
		mapper.stop()
		<-notified
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := k.Freeze(ctx)
		require.ErrorIs(t, err, context.Canceled)
		mapper.start()
		close(goOn)
		time.Sleep(defaultMinPause)
		synctest.Wait()
		require.NoError(t, k.Err())
		require.NoError(t, k.Close())
		mapper.stop()
	})
}

// A registration that is lost as a freeze begins moves as one that is lost.
func TestKeeperFreezesAsTheNameIsLost(t *testing.T) {
	r := register(t, &Client{Addr: fakeMapper(t, answering("v\x00\x00\x00\x00\x07"))}, Registration{Name: "abc", Port: 7})
	<-r.Done()
	p := &keeperPause{rests: make(chan *Registered, 1), goOn: make(chan bool, 1)}
	p.goOn <- true
	require.True(t, p.rest(r))
	require.Nil(t, <-p.rests)
}

// A state that is not a Keeper's is refused, and its descriptors are closed.
func TestAdoptRefuses(t *testing.T) {
	reg := `"Registration":{"Name":"abc","Port":7,"High":6,"Low":6},"Creation":9`
	for _, tt := range []struct {
		name, state string
		fds         int
		want        error
	}{
		{"another version", `{"Keeper":2,` + reg + `}`, 0, ErrState},
		{"another version, held", `{"Keeper":2,"Held":true,` + reg + `}`, 1, ErrState},
		{"not held", `{"Keeper":1,` + reg + `}`, 1, ErrState},
		{"two descriptors", `{"Keeper":1,` + reg + `}`, 2, ErrState},
		{"no name", `{"Keeper":1,"Held":true,"Registration":{"Port":7}}`, 1, ErrInvalid},
		{"no port", `{"Keeper":1,"Registration":{"Name":"abc"}}`, 0, ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fds, peers := socketPairs(t, tt.fds)
			_, err := new(Client).Stage([]byte(tt.state), fds, nil)
			require.ErrorIs(t, err, tt.want)
			require.Equal(t, 1, strings.Count(err.Error(), "epmd:"), err)
			requireEnded(t, peers)
		})
	}
}

// A keeper that was moved without a registration can be given up as well.
func TestDiscardKeeperWithoutName(t *testing.T) {
	g, err := new(Client).Stage([]byte(`{"Keeper":1,"Registration":{"Name":"abc","Port":7,"High":6,"Low":6}}`), nil, nil)
	require.NoError(t, err)
	require.NoError(t, g.Discard())
}

// socketPairs makes n pairs of connected sockets.
func socketPairs(t testing.TB, n int) (fds, peers []int) {
	t.Helper()
	for range n {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		require.NoError(t, err)
		fds, peers = append(fds, pair[0]), append(peers, pair[1])
	}
	return fds, peers
}

// requireEnded checks that the other ends of these sockets are closed, and closes them.
func requireEnded(t testing.TB, fds []int) {
	t.Helper()
	for _, fd := range fds {
		require.NoError(t, unix.SetNonblock(fd, true))
		n, err := unix.Read(fd, make([]byte, 1))
		require.NoError(t, err, "a descriptor stays open")
		require.Zero(t, n)
		require.NoError(t, unix.Close(fd))
	}
}

// A server whose listener has no descriptor cannot be frozen, and goes on.
func TestServerCannotFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := newPipeListener(), &Server{}
		serve(t, s, l)
		synctest.Wait()
		for range 2 {
			_, err := s.Freeze(t.Context())
			require.ErrorIs(t, err, errors.ErrUnsupported)
		}
		_, _, err := (&Client{Addr: "127.0.0.1:4369", Dial: l.Dial}).Names(t.Context(), "")
		require.NoError(t, err)
	})
}

// A server that is closed during a freeze ends with the freeze, by Thaw or by Release.
func TestServerClosedDuringAFreeze(t *testing.T) {
	for _, moved := range []bool{true, false} {
		l := listen(t)
		s := &Server{}
		served := serving(s, l)
		c := &Client{Addr: l.Addr().String()}
		r := register(t, c, Registration{Name: "abc", Port: 7})
		earlier := freeze(t, s)
		earlier.Thaw()
		f := freeze(t, s)
		earlier.Thaw()
		require.NoError(t, earlier.Release())
		require.True(t, s.isFrozen(), "an earlier freeze has no say any more")
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		require.Eventually(t, func() bool { return s.endedBy() != nil }, 10*time.Second, time.Millisecond)
		if moved {
			require.NoError(t, f.Release())
			require.ErrorIs(t, <-served, ErrServerMoved)
		} else {
			f.Thaw()
			require.ErrorIs(t, <-served, ErrServerClosed)
		}
		require.NoError(t, <-closed)
		_ = r.Close()
	}
}

// Names, counters and what is in the backlog: a port mapper moves with all of it.
func TestServerMoves(t *testing.T) {
	l := listen(t)
	s := &Server{}
	served := make(chan error, 10)
	go func() { served <- s.Serve(l) }()
	c := &Client{Addr: l.Addr().String()}
	held := register(t, c, Registration{Name: "held", Port: 1, Extra: []byte("x\x00y")})
	gone := register(t, c, Registration{Name: "gone", Port: 2})
	require.NoError(t, gone.Close())
	_, err := c.Resolve(t.Context(), "", "gone")
	require.ErrorIs(t, err, ErrNotRegistered)
	for range 3 {
		f := freeze(t, s)
		_, err = s.Freeze(t.Context())
		require.Error(t, err)
		f.Thaw()
		f = freeze(t, s)
		next := &Server{}
		g := stage(t, next, f.State(), duplicates(t, f.Descriptors()))
		require.NoError(t, g.Discard())
		_, err = new(Server).Stage(f.State(), duplicates(t, f.Descriptors()[1:]))
		require.ErrorIs(t, err, ErrState)
		next = &Server{}
		g = stage(t, next, f.State(), duplicates(t, f.Descriptors()))
		waits := make(chan error, 1)
		go func() { _, err := c.Resolve(t.Context(), "", "held"); waits <- err }()
		require.NoError(t, f.Release())
		require.ErrorIs(t, <-served, ErrServerMoved)
		s = next
		for _, l := range g.Start() {
			go func() { served <- next.Serve(l) }()
		}
		require.NoError(t, <-waits, "nobody was refused")
	}
	require.Equal(t, NodeInfo(held.Registration()), resolve(t, c, "held"))
	d, err := c.Dump(t.Context())
	require.NoError(t, err)
	require.Len(t, d.Active, 1)
	require.Positive(t, d.Active[0].FD, "that of this process")
	again := register(t, c, Registration{Name: "gone", Port: 2})
	require.Equal(t, gone.Creation+1, again.Creation, "it is remembered")
	require.NoError(t, held.Err())
	require.NoError(t, held.Close())
	heldAgain := register(t, c, Registration{Name: "held", Port: 1})
	require.Equal(t, held.Creation+1, heldAgain.Creation, "so is this")
	require.NoError(t, heldAgain.Close())
	require.NoError(t, again.Close())
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-served, ErrServerClosed)
	_, err = s.Freeze(t.Context())
	require.ErrorIs(t, err, ErrServerClosed)
}

// Listeners move whether or not Serve has begun: a freeze waits for those that have been staged,
// and holds up the others.
func TestServerFreezesBeforeServe(t *testing.T) {
	l, m := listen(t), listen(t)
	s := &Server{}
	served := serving(s, l)
	register(t, &Client{Addr: l.Addr().String()}, Registration{Name: "abc", Port: 7})
	f := freeze(t, s)
	late := serving(s, m)
	expect.WaitsIn(t, "chan receive", "(*Server).add")
	f.Thaw()
	resolve(t, &Client{Addr: m.Addr().String()}, "abc")

	f = freeze(t, s)
	next := &Server{}
	g := stage(t, next, f.State(), duplicates(t, f.Descriptors()))
	require.NoError(t, f.Release())
	require.ErrorIs(t, <-served, ErrServerMoved)
	require.ErrorIs(t, <-late, ErrServerMoved)
	ls := g.Start()
	frozen := make(chan handoff.Frozen)
	go func() { frozen <- freeze(t, next) }()
	expect.WaitsIn(t, "select", "(*Server).rest")
	served, late = serving(next, ls[0]), serving(next, ls[1])
	f = expect.Returns(t, frozen)
	require.Len(t, f.Descriptors(), 3)
	require.NoError(t, f.Release())
	require.ErrorIs(t, <-served, ErrServerMoved)
	require.ErrorIs(t, <-late, ErrServerMoved)
}

// A listener that has failed, or was closed on its own, does not belong to the server any more: a
// freeze does not wait for it.
func TestServerFreezesAfterAListenerHasFailed(t *testing.T) {
	s := &Server{}
	require.Equal(t, "w\x01", ask(t, startServer(t, s), framed("zabc")), "another one works")
	l := listen(t)
	require.NoError(t, l.Close())
	require.ErrorIs(t, s.Serve(l), net.ErrClosed)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	f, err := s.Freeze(ctx)
	require.NoError(t, err)
	require.Len(t, f.Descriptors(), 1)
	f.Thaw()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Zero(t, s.parked, "the next freeze counts anew")
}

// A state that is not a Server's is refused, and so is a descriptor of another kind; all
// descriptors are closed.
func TestStageRefuses(t *testing.T) {
	const active = `"Active":[{"Name":"a","Port":7},{"Name":"b","Port":8}]`
	const both = `"Sessions":[{"Entry":0},{"Entry":1}]`
	for _, tt := range []struct {
		name, state string
		fds         int
		first       bool // a connection comes before them
		want        error
	}{
		{"another version", `{"Server":2,` + active + `,` + both + `}`, 2, false, ErrState},
		{"fewer listeners than none", `{"Server":1,"Listeners":-1,` + active + `,` + both + `}`, 1, false, ErrState},
		{"a descriptor too many", `{"Server":1,` + active + `,` + both + `}`, 3, false, ErrState},
		{"a name that is not there", `{"Server":1,"Sessions":[{"Entry":0}]}`, 1, false, ErrState},
		{"a place before the first", `{"Server":1,"Sessions":[{"Entry":-1}]}`, 1, false, ErrState},
		{"one name, two connections", `{"Server":1,"Active":[{"Name":"a","Port":7}],"Sessions":[{"Entry":0},{"Entry":0}]}`, 2, false, ErrState},
		{"a name without connection", `{"Server":1,` + active + `,"Sessions":[{"Entry":0}]}`, 1, false, ErrState},
		{"no connection over TCP", `{"Server":1,` + active + `,` + both + `}`, 1, true, unix.EAFNOSUPPORT},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fds, peers := socketPairs(t, tt.fds)
			var ended net.Conn
			if tt.first { // a connection, which can be staged
				l := listen(t)
				defer l.Close()
				ended = dial(t, l.Addr().String())
				defer ended.Close()
				accepted, err := l.Accept()
				require.NoError(t, err)
				fds = append(duplicates(t, []int{descriptor(accepted)}), fds...)
				require.NoError(t, accepted.Close())
			}
			_, err := new(Server).Stage([]byte(tt.state), fds)
			require.ErrorIs(t, err, tt.want)
			require.Equal(t, 1, strings.Count(err.Error(), "epmd:"), err)
			if ended != nil {
				require.NoError(t, ended.SetReadDeadline(time.Now().Add(10*time.Second)))
				_, err := ended.Read(make([]byte, 1))
				require.ErrorIs(t, err, io.EOF)
			}
			requireEnded(t, peers)
		})
	}
}

// A connection that holds no name does not move: Release closes it, and after Thaw it goes on.
func TestServerMovesWithoutTheNameless(t *testing.T) {
	l := listen(t)
	var log bytes.Buffer
	s := &Server{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	served := serving(s, l)
	addr := l.Addr().String()
	held := register(t, &Client{Addr: addr}, Registration{Name: "abc", Port: 7})
	keptOpen(t, addr, string(alive2("abc", "")), 6) // refused
	half := dial(t, addr)
	defer half.Close()
	write(t, half, framed("zabc")[:3])
	require.Eventually(t, func() bool { return nameless(s) == 2 }, 10*time.Second, time.Millisecond)

	f := freeze(t, s)
	f.Thaw()
	write(t, half, framed("zabc")[3:])
	answer, err := io.ReadAll(half)
	require.NoError(t, err)
	require.Equal(t, "w\x00", string(answer[:2]))

	silent := dial(t, addr)
	defer silent.Close()
	write(t, silent, []byte{0})
	require.Eventually(t, func() bool { return nameless(s) == 2 }, 10*time.Second, time.Millisecond)
	f = freeze(t, s)
	require.Len(t, f.Descriptors(), 2, "a listener and a name")
	next := &Server{}
	g := stage(t, next, f.State(), duplicates(t, f.Descriptors()))
	require.NoError(t, f.Release())
	require.ErrorIs(t, <-served, ErrServerMoved)
	_, err = silent.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NotContains(t, log.String(), "incomplete", "it is no fault of the peer's")
	serve(t, next, g.Start()[0])
	resolve(t, &Client{Addr: addr}, "abc")
	require.NoError(t, held.Err())
	require.NoError(t, held.Close())
}
