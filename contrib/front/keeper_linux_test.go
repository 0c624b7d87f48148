package front

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

// A house is a Keeper that listens for workers and clients.
type house struct {
	t    testing.TB
	k    *Keeper
	path string
	addr string
}

// newHouse makes a Keeper that is closed at the end of the test.
func newHouse(t testing.TB, o *Options, s *ServeOptions) *house {
	t.Helper()
	return newHookedHouse(t, o, s, nil)
}

func newHookedHouse(t testing.TB, o *Options, s *ServeOptions, reached func(step string)) *house {
	t.Helper()
	h := &house{t: t, path: filepath.Join(sockdir.New(t), "w")}
	var err error
	h.k, err = New(o)
	require.NoError(t, err)
	h.k.reached = reached
	l, err := h.k.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h.addr = l.Addr().String()
	h.run(l, s)
	return h
}

func (h *house) run(l net.Listener, s *ServeOptions) {
	served := make(chan error, 1)
	go func() { served <- h.k.Serve(context.Background(), l, s) }()
	require.NoError(h.t, h.k.Workers(context.Background(), h.path))
	h.t.Cleanup(func() {
		require.NoError(h.t, h.k.Close())
		require.ErrorIs(h.t, <-served, net.ErrClosed)
	})
}

func (h *house) until(what string, is func(s Stats) bool) {
	h.t.Helper()
	require.Eventually(h.t, func() bool { return is(h.k.Stats()) }, patience, time.Millisecond, "%s: %+v", what, h.k.Stats())
}

// A client checks each answer.
type client struct {
	net.Conn
	r      *bufio.Reader
	number int
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	c, err := net.Dial(network, addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return dialled(c)
}

func dialled(c net.Conn) *client { return &client{Conn: c, r: bufio.NewReader(c)} }

func addrPort(ap netip.AddrPort) transport.Addr { return transport.FromAddrPort(ap) }

// ask sends a line and checks the answer's number.
func (c *client) ask(line string) (string, error) {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintln(c, line); err != nil {
		return "", err
	}
	return c.answer(line)
}

func (c *client) answer(line string) (string, error) {
	_ = c.SetDeadline(time.Now().Add(patience))
	got, err := c.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	c.number++
	number, text, _ := strings.Cut(strings.TrimSuffix(got, "\n"), " ")
	if number != fmt.Sprint(c.number) || line != "who" && text != line {
		return text, fmt.Errorf("answer %q to %q, number %d", got, line, c.number)
	}
	return text, nil
}

func (c *client) must(t testing.TB, line string) string {
	t.Helper()
	text, err := c.ask(line)
	require.NoError(t, err)
	return text
}

// A session goes on in the next worker when its worker is killed, wherever that is.
func TestKill(t *testing.T) {
	for _, step := range []string{"adopt", "taken", "point", "answer", "answered", "took"} {
		for _, mode := range []string{"peek", "eager"} {
			t.Run(step+" "+mode, func(t *testing.T) {
				h := newHouse(t, nil, nil)
				n := ":3"
				if step == "adopt" || step == "taken" {
					n = ":1"
				}
				p := startWorker(t, h.path, mode, step+n)
				c := dial(t, h.addr)
				asked := make(chan error, 1)
				go func() {
					for i := range 10 {
						if _, err := c.ask(fmt.Sprint("line ", i)); err != nil {
							asked <- err
							return
						}
					}
					asked <- nil
				}()
				p.wait(t)
				startWorker(t, h.path, mode, "")
				require.NoError(t, <-asked)
				s := h.k.Stats()
				require.EqualValues(t, 1, s.Moved, "%+v", s)
				require.Zero(t, s.Reset)
			})
		}
	}
}

// A worker that tells nothing loses what it has begun, and the client is told so by a reset; what
// it has not begun moves.
func TestSilentWorker(t *testing.T) {
	h := newHouse(t, nil, nil)
	p := startWorker(t, h.path, "silent", "")
	used, fresh := dial(t, h.addr), dial(t, h.addr)
	used.must(t, "one")
	h.until("both are there", func(s Stats) bool { return s.Workers[0].Sessions == 2 })
	p.kill()
	_, err := used.r.ReadByte()
	require.ErrorIs(t, err, syscall.ECONNRESET, "not the end of an answer")
	startWorker(t, h.path, "peek", "")
	fresh.must(t, "one")
	h.until("the client of the first one is reset", func(s Stats) bool { return s.Reset == 1 && s.Moved == 1 })
}

// A session whose worker has said that there is no point is reset, even where it stands as at the
// last one; the next point counts again.
func TestNoPoint(t *testing.T) {
	h := newHouse(t, nil, nil)
	p := startWorker(t, h.path, "void", "")
	c := dial(t, h.addr)
	c.must(t, "one")
	p.kill()
	_, err := c.r.ReadByte()
	require.ErrorIs(t, err, syscall.ECONNRESET)
	h.until("it is reset", func(s Stats) bool { return s.Reset == 1 && s.Sessions == 0 })

	p = startWorker(t, h.path, "void", "answer:2") // a point that is told, and then no point
	c = dial(t, h.addr)
	c.must(t, "one")
	_, err = c.ask("two")
	require.ErrorIs(t, err, syscall.ECONNRESET)
	p.wait(t)

	w, err := joinKeeper(h.path, "local", "peek") // one that comes too late says nothing
	require.NoError(t, err)
	r, err := bind10.NewReceiver(w.stream, nil)
	require.NoError(t, err)
	c = dial(t, h.addr)
	var s bind10.Session
	require.NoError(t, r.Receive(t.Context(), &s))
	id := binary.BigEndian.Uint64(s.Data[1:])
	w.word(kindTaken, id)
	w.say([]byte{kindRetire})
	w.word(kindGivenBack, id)
	w.say(appendPoint(id, noPoint, noPoint, nil, nil))
	w.word(kindDone, id)
	h.until("it is back", func(s Stats) bool { return s.Moved == 1 })
	require.NoError(t, s.Close())
	require.NoError(t, r.Close())
	_ = w.control.Close()
	startWorker(t, h.path, "peek", "")
	c.must(t, "one")
	require.EqualValues(t, 2, h.k.Stats().Reset)
}

// What a worker of modeTakes has counted, and not taken, is never discarded: it would be the
// client's next request.
func TestMiscounted(t *testing.T) {
	for _, mode := range []string{"peek", "takes"} {
		t.Run(mode, func(t *testing.T) {
			h := newHouse(t, nil, nil)
			w, err := joinKeeper(h.path, "local", mode)
			require.NoError(t, err)
			defer w.control.Close()
			r, err := bind10.NewReceiver(w.stream, nil)
			require.NoError(t, err)
			defer r.Close()
			c := dial(t, h.addr)
			var s bind10.Session
			require.NoError(t, r.Receive(t.Context(), &s))
			id := binary.BigEndian.Uint64(s.Data[1:])
			w.word(kindTaken, id)
			f, err := s.Socket.File(0, "session")
			require.NoError(t, err)
			defer f.Close()
			_, err = fmt.Fprint(c, "12345")
			require.NoError(t, err)
			p := make([]byte, 3)
			_, err = io.ReadFull(f, p)
			require.NoError(t, err)
			_, err = fmt.Fprint(f, "answer")
			require.NoError(t, err)
			w.say(appendPoint(id, 5, 6, nil, nil))
			w.say([]byte{kindRetire})
			require.NoError(t, f.Close())
			require.NoError(t, s.Close())
			w.word(kindGivenBack, id)
			if mode == "peek" {
				h.until("it has moved", func(s Stats) bool { return s.Moved == 1 })
				return
			}
			h.until("it is at no point", func(s Stats) bool { return s.Moved == 0 && s.Sessions == 0 && s.Done == 1 })
		})
	}
}

// A worker that ends by itself gives its sessions back.
func TestGivenBack(t *testing.T) {
	h := newHouse(t, nil, nil)
	p := startWorker(t, h.path, "peek", "")
	var clients []*client
	for range 10 {
		c := dial(t, h.addr)
		c.must(t, "before")
		clients = append(clients, c)
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	p.wait(t)
	h.until("all wait", func(s Stats) bool { return s.Parked == 10 })
	startWorker(t, h.path, "peek", "")
	for _, c := range clients {
		c.must(t, "after")
	}
	require.Zero(t, h.k.Stats().Reset)
}

// Many clients, workers that are killed again and again: no answer is wrong, doubled or lost.
func TestKillAgainAndAgain(t *testing.T) {
	h := newHouse(t, nil, nil)
	kills, many := 10, 50
	if testing.Short() {
		kills, many = 4, 30
	}
	p := startWorker(t, h.path, "peek", "")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var answers atomic.Int64
	failed := make(chan error, many)
	for range many {
		c := dial(t, h.addr)
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := c.ask(fmt.Sprint("line ", i)); err != nil {
					failed <- err
					return
				}
				answers.Add(1)
			}
		})
	}
	for range kills {
		before := answers.Load()
		require.Eventually(t, func() bool { return answers.Load() > before+int64(5*many) }, patience, time.Millisecond)
		next := startWorker(t, h.path, "peek", "")
		p.kill()
		p = next
	}
	before := answers.Load()
	require.Eventually(t, func() bool { return answers.Load() > before+int64(5*many) }, patience, time.Millisecond)
	close(stop)
	wg.Wait()
	close(failed)
	for err := range failed {
		require.NoError(t, err)
	}
	s := h.k.Stats()
	require.Zero(t, s.Reset)
	require.NotZero(t, s.Moved)
	t.Logf("%d answers; %v", answers.Load(), s)
}

// A client's first bytes are never taken for anything but data.
func TestForgedEnvelope(t *testing.T) {
	h := newHouse(t, nil, nil)
	startWorker(t, h.path, "peek", "")
	c := dial(t, h.addr)
	forged := string(appendEnvelope(nil, 1, []byte("41"), nil)) + "forged"
	require.Equal(t, forged, c.must(t, forged))
	again := dial(t, h.addr)
	again.must(t, string(appendPoint(1, 0, 0, nil, []byte("7")))+"forged")
}

// A worker that dies while it is being given a session loses nothing.
func TestKillAtForward(t *testing.T) {
	for _, step := range []string{"forward", "forwarded"} {
		t.Run(step, func(t *testing.T) {
			var p atomic.Pointer[process]
			h := newHookedHouse(t, nil, nil, func(s string) {
				if s == step {
					if first := p.Swap(nil); first != nil {
						first.kill()
					}
				}
			})
			p.Store(startWorker(t, h.path, "peek", ""))
			c := dial(t, h.addr)
			h.until("it waits", func(s Stats) bool { return s.Parked == 1 && len(s.Workers) == 0 })
			startWorker(t, h.path, "peek", "")
			c.must(t, "one")
			require.Zero(t, h.k.Stats().Reset)
		})
	}
}

// A worker that dies while the front hears what it has said loses nothing either.
func TestKillAtHeard(t *testing.T) {
	for _, step := range []string{"heard t", "heard m", "heard x", "settle"} {
		t.Run(step, func(t *testing.T) {
			var p atomic.Pointer[process]
			h := newHookedHouse(t, nil, nil, func(s string) {
				if s == step {
					if first := p.Swap(nil); first != nil {
						first.kill()
					}
				}
			})
			first := startWorker(t, h.path, "peek", "")
			p.Store(first)
			c := dial(t, h.addr)
			asked := make(chan error, 1)
			go func() {
				_, err := c.ask("one")
				asked <- err
			}()
			if step == "heard x" || step == "settle" {
				require.NoError(t, <-asked)
				require.NoError(t, first.cmd.Process.Signal(syscall.SIGTERM))
				asked <- nil
			}
			first.wait(t)
			startWorker(t, h.path, "peek", "")
			require.NoError(t, <-asked)
			c.must(t, "two")
			require.Zero(t, h.k.Stats().Reset)
		})
	}
}

// A worker that dies when it ends a session, or gives it back, leaves nothing behind, and
// nothing to guess.
func TestKillAtTheEnd(t *testing.T) {
	for _, step := range []string{"close", "closed"} {
		t.Run(step, func(t *testing.T) {
			h := newHouse(t, nil, nil)
			p := startWorker(t, h.path, "peek", step+":1")
			c := dial(t, h.addr)
			c.must(t, "one")
			require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
			p.wait(t)
			startWorker(t, h.path, "peek", "") // which sees the client's end as well
			_, err := c.r.ReadByte()
			require.ErrorIs(t, err, io.EOF)
			h.until("nothing is left", func(s Stats) bool { return s.Sessions == 0 })
		})
	}
	for _, step := range []string{"retire", "give back"} {
		t.Run(step, func(t *testing.T) {
			h := newHouse(t, nil, nil)
			p := startWorker(t, h.path, "peek", step+":1")
			c := dial(t, h.addr)
			c.must(t, "one")
			require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
			p.wait(t)
			startWorker(t, h.path, "peek", "")
			c.must(t, "two")
			require.Zero(t, h.k.Stats().Reset)
		})
	}
}
