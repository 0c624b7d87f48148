package beam

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/front"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// A talker is a client of a channel of testdata/rooms.ex, as phoenix.js is one: it joins, says
// numbers, and joins again on the same connection when it is told that its channel has crashed.
type talker struct {
	*websocket
	rejoin time.Duration
	slow   int // milliseconds that one of ten messages takes

	mu      sync.Mutex
	joinRef string // of the join that was answered last; "": not joined
	asked   string // the reference of the last join
	ref     int
	said    map[string]int // what is not answered yet, by its reference
	next    int
	answers int
	errors  int         // phx_error
	joined  []time.Time // after the first one
	last    bool        // nothing more is said
	since   time.Time   // see asks
	first   time.Time   // the first answer since then to what was said since then
	after   int
	wrong   error
	late    map[string]bool // references that were answered
}

func talk(addr, path string, rejoin time.Duration, dial func(addr, path string) (*websocket, error)) (*talker, error) {
	w, err := dial(addr, path+"/websocket?vsn=2.0.0")
	if err != nil {
		return nil, err
	}
	_ = w.SetDeadline(time.Now().Add(4 * expect.Limit))
	c := &talker{websocket: w, rejoin: rejoin, said: map[string]int{}, late: map[string]bool{}}
	if err = c.join(); err == nil {
		err = c.hear(func() bool { return c.joinRef != "" })
	}
	return c, err
}

func (c *talker) push(joinRef, event string, payload any) (ref string, err error) {
	c.ref++
	ref = fmt.Sprint(c.ref)
	if event == "phx_join" {
		joinRef = ref
	}
	b, _ := json.Marshal([]any{joinRef, ref, "room:1", event, payload})
	return ref, c.write(wsText, b)
}

func (c *talker) join() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	c.asked, err = c.push("", "phx_join", map[string]any{"user": c.LocalAddr().String()})
	return err
}

// say sends the next number, if the channel is joined as far as the client knows. The last one ends
// hear.
func (c *talker) say(last bool) (said bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.joinRef == "" || c.last {
		return false, nil
	}
	c.last = last
	c.next++
	n := c.next
	c.said[fmt.Sprint(c.ref+1)] = n
	ms := 0
	if rand.IntN(10) == 0 {
		ms = c.slow
	}
	_, err = c.push(c.joinRef, "say", map[string]any{"n": n, "ms": ms})
	return true, err
}

// hear reads until there is what is waited for.
func (c *talker) hear(until func() bool) error {
	for {
		c.mu.Lock()
		done := until()
		c.mu.Unlock()
		if done {
			return nil
		}
		op, data, err := c.read()
		if err != nil {
			return err
		}
		if op != wsText {
			return fmt.Errorf("opcode %d: %q", op, data)
		}
		if err := c.heard(data); err != nil {
			return err
		}
	}
}

func (c *talker) heard(data []byte) error {
	var fields [5]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	var joinRef, ref, event string
	_, _, _ = json.Unmarshal(fields[0], &joinRef), json.Unmarshal(fields[1], &ref), json.Unmarshal(fields[3], &event)
	var payload struct {
		Status   string
		Response struct{ N int }
	}
	_ = json.Unmarshal(fields[4], &payload)
	c.mu.Lock()
	defer c.mu.Unlock()
	n, asked := c.said[ref]
	switch {
	case event == "presence_diff":
	case (event == "phx_error" || event == "phx_close") && joinRef != c.asked: // of a join that another one has followed, as in phoenix.js
	case event == "phx_error":
		c.errors++
		c.joinRef = ""
		time.AfterFunc(c.rejoin, func() { _ = c.join() })
	case event == "phx_reply" && joinRef == ref && payload.Status == "ok":
		if c.joinRef = joinRef; ref != "1" {
			c.joined = append(c.joined, time.Now())
		}
	case event == "phx_reply" && asked && payload.Status == "ok" && payload.Response.N == n:
		delete(c.said, ref)
		c.late[ref] = true
		c.answers++
		if c.first.IsZero() && !c.since.IsZero() && n > c.after {
			c.first = time.Now()
		}
	case event == "phx_reply" && c.late[ref]:
		return fmt.Errorf("answered twice: %s", data)
	default:
		return fmt.Errorf("unexpected: %s", data)
	}
	return nil
}

func (c *talker) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wrong != nil
}

// A parley are talkers that talk until they are told to stop.
type parley struct {
	all  []*talker
	stop chan struct{}
	done sync.WaitGroup
	ends chan error
}

func hold(t *testing.T, many int, every time.Duration, dial func() (*talker, error)) *parley {
	t.Helper()
	p := &parley{stop: make(chan struct{}), ends: make(chan error, 2*many)}
	var mu sync.Mutex
	var all sync.WaitGroup
	turn := make(chan struct{}, 20)
	for range many {
		all.Go(func() {
			turn <- struct{}{}
			c, err := dial()
			<-turn
			if err != nil {
				p.ends <- err
				return
			}
			mu.Lock()
			p.all = append(p.all, c)
			mu.Unlock()
		})
	}
	all.Wait()
	require.Empty(t, p.ends)
	for _, c := range p.all {
		t.Cleanup(func() { _ = c.Close() })
		p.done.Go(func() {
			if err := c.hear(func() bool { return c.last && len(c.said) == 0 }); err != nil {
				c.mu.Lock()
				c.wrong, c.last = err, true
				c.mu.Unlock()
			}
		})
		p.done.Go(func() {
			var said, last bool
			var err error
			for err == nil && !(said && last) && !c.ended() {
				select {
				case <-p.stop:
					last = true
					time.Sleep(time.Millisecond)
				case <-time.After(every/2 + rand.N(every)):
				}
				said, err = c.say(last)
			}
		})
	}
	return p
}

func (p *parley) answers() (n int) {
	for _, c := range p.all {
		c.mu.Lock()
		n += c.answers
		c.mu.Unlock()
	}
	return n
}

// asks has each note when it gets the first answer to what it says from now on.
func (p *parley) asks(now time.Time) {
	for _, c := range p.all {
		c.mu.Lock()
		c.since, c.after = now, c.next
		c.mu.Unlock()
	}
}

func (c *talker) back() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first
}

// spread is the longest of some times since another one, and that of which half are shorter.
func spread(at []time.Time, since time.Time) (longest, half time.Duration) {
	slices.SortFunc(at, time.Time.Compare)
	return at[len(at)-1].Sub(since), at[len(at)/2].Sub(since)
}

func (p *parley) works(t *testing.T) {
	t.Helper()
	before := p.answers()
	require.Eventually(t, func() bool { return p.answers()-before > 4*len(p.all) }, expect.Limit, time.Millisecond)
}

// end ends them, and checks that each number had one answer.
func (p *parley) end(t *testing.T, since time.Time) {
	t.Helper()
	close(p.stop)
	p.done.Wait()
	said, errors := 0, 0
	var joined []time.Duration
	for _, c := range p.all {
		require.NoError(t, c.wrong)
		require.Equal(t, c.next, c.answers)
		said += c.next
		errors += c.errors
		for _, at := range c.joined {
			if at.After(since) {
				joined = append(joined, at.Sub(since))
			}
		}
		require.NoError(t, c.Close())
	}
	slices.Sort(joined)
	report := "nobody had to join again"
	if len(joined) > 0 {
		report = fmt.Sprintf("joined again after the last kill: p50 %v, max %v", joined[len(joined)/2].Round(time.Millisecond),
			joined[len(joined)-1].Round(time.Millisecond))
	}
	t.Logf("%d clients, %d messages, each answered once; %d errors, %s", len(p.all), said, errors, report)
}

// Clients of channels keep their connection, and each of their messages is answered once, whatever
// ends the system. Those that the server joins notice nothing.
func channels(t *testing.T, e otp.Elixir, lib []string) {
	h := newFront(t)
	start := h.rooms(e, lib)
	w := start()
	ends := func(s syscall.Signal) (at time.Time) {
		t.Helper()
		at = time.Now()
		require.NoError(t, syscall.Kill(w.pid, s))
		w.wait()
		return at
	}
	many, times := 20, 2
	if !testing.Short() {
		many, times = 60, 8
	}
	many, times = otp.Times("CNODE_TEST_BEAM_SOCKETS", many), otp.Times("CNODE_TEST_BEAM_KILLS", times)
	for _, c := range []struct {
		path        string
		slow, times int
		every       time.Duration
	}{
		{"/client", 0, times, 60 * time.Millisecond},
		{"/server", 0, times, 60 * time.Millisecond},
		{"/client", 1500, times / 2, 300 * time.Millisecond},
		{"/server", 1500, times / 2, 300 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("%s %d ms", c.path[1:], c.slow), func(t *testing.T) {
			before := h.k.Stats()
			p := hold(t, many, c.every, func() (*talker, error) {
				w, err := talk(h.addr, c.path, 50*time.Millisecond, dialPlain)
				if err == nil {
					w.slow = c.slow
				}
				return w, err
			})
			var at time.Time
			for k := range c.times {
				p.works(t)
				at = ends([]syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[k%2])
				w = start()
			}
			p.works(t)
			p.end(t, at)
			h.until("all are over", func(s front.Stats) bool { return s.Sessions == 0 })
			s := h.k.Stats()
			require.Equal(t, before.Reset, s.Reset)
			require.Equal(t, before.Accepted+uint64(many), s.Accepted)
			for _, w := range p.all {
				require.Equal(t, c.path == "/server", w.errors == 0, w.errors)
			}
		})
	}
	t.Run("an expired token", func(t *testing.T) {
		c := openWebsocket(t, h.addr, fmt.Sprintf("/client/websocket?vsn=2.0.0&expires=%d", time.Now().Unix()+2), "")
		require.NoError(t, c.write(wsText, []byte(`["1","1","room:1","phx_join",{}]`)))
		require.Contains(t, c.text(t), `"ok"`)
		time.Sleep(2 * time.Second)
		ends(syscall.SIGKILL)
		w = start()
		require.Equal(t, 1008, c.closes(t))
	})
}

// rooms starts testdata/rooms.ex as often as it is asked to.
func (h *house) rooms(e otp.Elixir, lib []string) (start func() *worker) {
	return func() *worker {
		return serve(h.t, h, e.Program, append(lib, "-e", fmt.Sprintf(`Rooms.run(%q)`, h.path))...)
	}
}

func dialPlain(addr, path string) (*websocket, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(expect.Limit))
	return upgradeWebsocket(conn, path, "")
}
