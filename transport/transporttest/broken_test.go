//go:build linux

package transporttest

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/transport"
)

// A mutant is a good plug-in with one rule broken.
type mutant struct {
	name string
	rule string // the rule that must be reported; behind it, if it is another one, the rule that is tried
	make func(m *mess) transport.Transport
}

// A mess is what a mutant leaves behind: it is cleaned up when the test is over.
type mess struct {
	release chan struct{} // callbacks that block for ever block until this is closed

	running atomic.Int64 // callbacks that may wait for a descriptor
	calls   atomic.Int64

	unclosed[int]
	socks unclosed[*pollSocket]
}

// An unclosed knows what a mutant has opened and not closed.
type unclosed[C comparable] struct {
	mu   sync.Mutex
	open map[C]bool
}

func newMess() *mess {
	m := &mess{release: make(chan struct{})}
	m.open, m.socks.open = map[int]bool{}, map[*pollSocket]bool{}
	return m
}

func (u *unclosed[C]) opened(c C, err error) (C, error) {
	if err == nil {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.open[c] = true
	}
	return c, err
}

// closing forgets what is about to be closed; false if it was not open.
func (u *unclosed[C]) closing(c C) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	open := u.open[c]
	delete(u.open, c)
	return open
}

// others calls f with every other one that is open, none of which is closed meanwhile.
func (u *unclosed[C]) others(c C, f func(o C)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for o := range u.open {
		if o != c {
			f(o)
		}
	}
}

// sometimes is true once in every n calls.
func (m *mess) sometimes(n int64) bool { return m.calls.Add(1)%n == 0 }

// cleanUp ends callbacks that were left behind, and closes descriptors that were left open. It runs
// when all mutants are done: if a descriptor were closed while a callback uses it, its number could
// be reused.
func (m *mess) cleanUp(t *testing.T) {
	m.socks.others(nil, func(s *pollSocket) { _ = unix.Shutdown(s.fd, unix.SHUT_RDWR) })
	m.others(-1, func(fd int) { _ = unix.Shutdown(fd, unix.SHUT_RDWR) })
	if len(m.socks.open)+len(m.open) == 0 {
		return
	}
	require.Eventually(t, func() bool { return m.running.Load() == 0 }, expect.Limit, time.Millisecond, "what waited goes on")
	m.others(-1, func(fd int) { unix.Close(fd) })
	m.socks.others(nil, func(s *pollSocket) { _ = s.free() })
	clear(m.open)
	clear(m.socks.open)
}

// watch counts the callbacks in which a mutant may wait for a descriptor.
func watch[C any](m *mess, cb *transport.Callbacks[C]) {
	accept, connect, read, write, writev := cb.Accept, cb.Connect, cb.Read, cb.Write, cb.Writev
	begin := func() (end func()) {
		m.running.Add(1)
		return func() { m.running.Add(-1) }
	}
	cb.Accept = func(c C, tmo time.Duration) (C, transport.Addr, error) { defer begin()(); return accept(c, tmo) }
	cb.Connect = func(c C, to transport.Addr, tmo time.Duration) error { defer begin()(); return connect(c, to, tmo) }
	cb.Read = func(c C, p []byte, tmo time.Duration) (int, error) { defer begin()(); return read(c, p, tmo) }
	cb.Write = func(c C, p []byte, tmo time.Duration) (int, error) { defer begin()(); return write(c, p, tmo) }
	if writev != nil {
		cb.Writev = func(c C, v [][]byte, tmo time.Duration) (int64, error) { defer begin()(); return writev(c, v, tmo) }
	}
}

// ofTCP breaks TCP's callbacks, for which the SDK waits.
func ofTCP(breakIt func(m *mess, cb *tcp)) func(*mess) transport.Transport {
	return func(m *mess) transport.Transport { return broken(m, &m.unclosed, transport.TCPCallbacks(), breakIt) }
}

// ofPolling breaks a FullImpl plug-in with Interrupt.
func ofPolling(breakIt func(m *mess, cb *poll)) func(*mess) transport.Transport {
	return func(m *mess) transport.Transport {
		cb := polling(true)
		cb.Release = cb.Close
		return broken(m, &m.socks, cb, breakIt)
	}
}

func broken[C comparable](
	m *mess, u *unclosed[C], cb transport.Callbacks[C], breakIt func(*mess, *transport.Callbacks[C]),
) transport.Transport {
	socket, accept, imported := cb.Socket, cb.Accept, cb.Import
	cb.Socket = func(setup any, a transport.Addr) (C, error) { return u.opened(socket(setup, a)) }
	cb.Accept = func(c C, tmo time.Duration) (C, transport.Addr, error) {
		n, a, err := accept(c, tmo)
		_, _ = u.opened(n, err)
		return n, a, err
	}
	cb.Import = func(setup any, fd int, state []byte) (C, error) { return u.opened(imported(setup, fd, state)) }
	for _, end := range []*func(C) error{&cb.Close, &cb.Release} {
		good := *end
		*end = func(c C) error {
			if !u.closing(c) {
				return unix.EBADF
			}
			return good(c)
		}
	}
	breakIt(m, &cb)
	watch(m, &cb)
	return mustNew(cb)
}

func mustNew[C any](cb transport.Callbacks[C]) transport.Transport {
	tr, err := transport.New(cb, nil)
	if err != nil {
		panic(err)
	}
	return tr
}

// readGives has a Read without bytes give an error in place of another; nil is the end of the
// stream.
func readGives[C any](cb *transport.Callbacks[C], in, out error) {
	read := cb.Read
	cb.Read = func(c C, p []byte, tmo time.Duration) (int, error) {
		n, err := read(c, p, tmo)
		if n == 0 && errors.Is(err, in) {
			err = out
		}
		return n, err
	}
}

type (
	tcp  = transport.Callbacks[int]
	poll = transport.Callbacks[*pollSocket]
)

// mutants returns all mutants.
func mutants() []mutant {
	return slices.Concat(startMutants(), byteMutants(), timeMutants(), endMutants(), moveMutants(), checkMutants())
}

// rules are the one that must be reported and the one that is tried.
func (m mutant) rules() (reported, tried string) {
	names := strings.Fields(m.rule)
	return names[0], names[len(names)-1]
}

// leaves is what remains of a mutant's connections; "" if that is not its fault.
func (m mutant) leaves() string {
	switch {
	case m.rule != "Leaks":
		return ""
	case strings.Contains(m.name, "goroutine"):
		return "goroutines"
	}
	return "descriptors"
}

// check tries the mutant's own rule, and the basic ones.
func (m mutant) check(t *testing.T, l limits) error {
	left := newMess()
	t.Cleanup(func() { left.cleanUp(t) })
	defer close(left.release)
	s := newSuite(always(m.make(left), loopback()), l)
	reported, tried := m.rules()
	s.rules = slices.DeleteFunc(s.rules, func(r rule) bool { return !r.basic && r.name != reported && r.name != tried })
	return s.check()
}

// TestMutantsAreCaught shows that every mutant is caught, and its rule named. Long waits for things
// that will not happen, and many connections, would only cost time, so the suite is content with
// less here than usual. A mutant that is not caught, because so many others keep the machine busy,
// is tried again alone.
func TestMutantsAreCaught(t *testing.T) {
	need.Long(t, 40*time.Second)
	all := mutants()
	errs := make([]error, len(all))
	took := make([]time.Duration, len(all))
	brief := limits{
		patience: 3 * time.Second, lingering: time.Second / 2, watchdog: 30 * time.Second, tries: 1, starved: 3, rounds: 12,
	}
	try := func(i int) {
		begin := time.Now()
		errs[i] = all[i].check(t, brief)
		took[i] = time.Since(begin)
	}
	// Mutants mostly wait, so more of them run than there are processors. But where a descriptor
	// stays, those of another mutant would be counted, too.
	for _, group := range []struct {
		leaves string
		atOnce int
	}{{"", 24}, {"goroutines", 4}, {"descriptors", 1}} {
		var wg sync.WaitGroup
		turn := make(chan struct{}, group.atOnce)
		for i, m := range all {
			if m.leaves() == group.leaves {
				wg.Go(func() {
					turn <- struct{}{}
					defer func() { <-turn }()
					try(i)
				})
			}
		}
		wg.Wait()
	}
	for i, m := range all {
		t.Run(m.name, func(t *testing.T) {
			reported, _ := m.rules()
			caught := func(err error) bool {
				return slices.Contains(brokenRules(err), reported) && strings.Contains(err.Error(), m.leaves())
			}
			err := errs[i]
			for again := 0; again < 5 && !caught(err); again++ {
				t.Logf("once more, after %v", err)
				err = m.check(t, brief)
			}
			require.Error(t, err, "not caught")
			t.Logf("%v: %s", took[i].Round(time.Millisecond), strings.Join(brokenRules(err), ", "))
			require.True(t, caught(err), "%v", err)
			require.Contains(t, err.Error(), "rule "+reported+" is broken")
		})
	}
}

// brokenRules are the names of the rules in an error of Check.
func brokenRules(err error) (names []string) {
	seen := map[string]bool{}
	add := func(err error) {
		var e *RuleError
		if errors.As(err, &e) && !seen[e.Rule] {
			seen[e.Rule] = true
			names = append(names, e.Rule)
		}
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			add(e)
		}
		return names
	}
	add(err)
	return names
}

// TestEveryRuleHasAMutant keeps the list of mutants complete.
func TestEveryRuleHasAMutant(t *testing.T) {
	of := map[string]bool{}
	for _, m := range mutants() {
		reported, _ := m.rules()
		of[reported] = true
	}
	for _, m := range brokenPackets() {
		of[m.rule] = true
	}
	// Rules that only the SDK ensures: a plug-in cannot break them and keep the other rules.
	sdk := map[string]string{
		"Busy":            "the SDK counts the operations",
		"EndedContext":    "the SDK does not call the plug-in at all",
		"CloseEndsWrite":  "a Write that is not ended is seen as one that does not return: rule Returns",
		"CloseEndsAccept": "an Accept that is not ended is seen as one that does not return: rule Returns",
	}
	names := map[string]bool{}
	for _, r := range rules() {
		names[r.name] = true
		require.False(t, of[r.name] && sdk[r.name] != "", r.name)
		require.True(t, of[r.name] || sdk[r.name] != "", "no mutant breaks %s", r.name)
	}
	for name := range of {
		require.True(t, names[name], "there is no rule %s", name)
	}
	require.Equal(t, len(names), len(rules()), "two rules of one name")
}
