package transporttest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
)

// suiteOf makes a suite with a test's own rules, over an in-memory transport.
func suiteOf(l limits, rules ...rule) *suite {
	s := newSuite(func() (transport.Transport, transport.Addr, error) {
		return transport.NewMemory(), transport.MemoryAddr(""), nil
	}, l)
	s.rules = rules
	return s
}

func TestLateIsTriedAgain(t *testing.T) {
	for _, tt := range []struct {
		name   string
		breaks func(t *trial, try int)
		tries  int
		broken bool
	}{
		{"kept", func(*trial, int) {}, 1, false},
		{"late once", func(t *trial, try int) {
			if try == 1 {
				t.inVain()
				t.fail("late")
			}
		}, 2, false},
		{"late every time", func(t *trial, _ int) { t.inVain(); t.fail("late") }, 3, true},
		{"a callback that the SDK gave up", func(t *trial, _ int) { t.fail("%w", transport.ErrUnresponsive) }, 3, true},
		{"wrong", func(t *trial, _ int) { t.fail("wrong") }, 1, true},
		{"wrong, then late", func(t *trial, _ int) { t.broke("", "wrong"); t.inVain(); t.fail("late") }, 1, true},
		{"skipped", func(t *trial, _ int) { t.skip("nothing to try") }, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tries := 0
			err := suiteOf(generous(), rule{name: "Rule", sentence: "It is kept.", try: func(tr *trial) {
				tries++
				tt.breaks(tr, tries)
			}}).check()
			require.Equal(t, tt.tries, tries)
			require.Equal(t, tt.broken, err != nil, "%v", err)
		})
	}
}

func TestWatchdogEndsRuleThatHangs(t *testing.T) {
	l := generous()
	l.patience, l.watchdog, l.tries = 100*time.Millisecond, time.Second, 1
	release, next := make(chan struct{}), make(chan struct{})
	defer close(release)
	err := suiteOf(l,
		rule{name: "Hangs", sentence: "It ends.", try: func(*trial) { <-release }},
		rule{name: "Next", sentence: "It is tried.", try: func(*trial) { close(next) }},
	).check()
	require.ErrorContains(t, err, "rule Hangs is broken: it hung")
	select {
	case <-next: // the suite goes on
	case <-time.After(expect.Limit):
		require.FailNow(t, "the next rule was not tried")
	}
}

// A rule that makes progress may take longer than others, but not for ever.
func TestWatchdogSeesProgress(t *testing.T) {
	l := generous()
	l.watchdog = 100 * time.Millisecond
	var ended atomic.Bool
	goesOn := func(tr *trial, end func() bool) {
		for !end() {
			_, _ = do(tr, "a step", func() (none struct{}, _ error) { time.Sleep(time.Millisecond); return none, nil })
		}
	}
	require.NoError(t, suiteOf(l, rule{name: "Slow", sentence: "It ends.", try: func(tr *trial) {
		goesOn(tr, func() bool { return time.Since(tr.begun) > 2*l.watchdog })
	}}).check())
	l.tries = 1
	err := suiteOf(l, rule{name: "Endless", sentence: "It ends.", try: func(tr *trial) { goesOn(tr, ended.Load) }}).check()
	ended.Store(true)
	require.ErrorContains(t, err, "rule Endless is broken: it hung")
}

// A trial that was left behind neither changes its verdict nor writes to fields from which the
// verdict is read.
func TestLeftBehindIsNotHeard(t *testing.T) {
	l := generous()
	l.watchdog, l.tries = 10*time.Millisecond, 1
	ended := make(chan struct{})
	var left *trial
	err := suiteOf(l, rule{name: "Hangs", sentence: "It ends.", try: func(t *trial) {
		defer close(ended)
		left = t
		for over := false; !over; { // then go on while the verdict is read
			runtime.Gosched()
			t.mu.Lock()
			over = t.over
			t.mu.Unlock()
		}
		t.inVain()
		t.broke("", "too late")
		t.skip("too late")
	}}).check()
	require.ErrorContains(t, err, "it hung")
	<-ended
	require.Empty(t, left.skipped)
	require.Len(t, left.broken, 1)
}

func TestSuiteGivesUpAfterThreeLateRules(t *testing.T) {
	l := generous()
	l.tries = 1
	for name, late := range map[string]func(*trial){
		"the suite waits":         func(t *trial) { t.inVain(); t.fail("late") },
		"the SDK waits":           func(t *trial) { t.fail("%w", transport.ErrUnresponsive) },
		"and the rule was broken": func(t *trial) { t.broke("", "wrong"); t.inVain(); t.fail("late") },
	} {
		t.Run(name, func(t *testing.T) {
			tried := 0
			var all []rule
			for i := range 10 {
				all = append(all, rule{name: fmt.Sprint("Rule", i), sentence: "It is not late.", try: func(t *trial) { tried++; late(t) }})
			}
			err := suiteOf(l, all...).check()
			require.Equal(t, 3, tried)
			require.ErrorContains(t, err, "the rules after Rule2 were not tried")
		})
	}
}

func TestBrokenBasicRuleEndsSuite(t *testing.T) {
	next := false
	err := suiteOf(generous(),
		rule{name: "Basic", sentence: "It is kept.", basic: true, try: func(t *trial) { t.fail("broken") }},
		rule{name: "Next", sentence: "It is not tried.", try: func(*trial) { next = true }},
	).check()
	require.False(t, next)
	require.ErrorContains(t, err, "the rules after Basic were not tried")
}

func TestPanicInRule(t *testing.T) {
	err := suiteOf(generous(), rule{name: "Panics", sentence: "It does not.", try: func(*trial) { panic("oh") }}).check()
	require.ErrorContains(t, err, "rule Panics is broken: panic: oh")
}

func TestFactoryFails(t *testing.T) {
	failed := errors.New("no such transport")
	err := Check(func() (transport.Transport, transport.Addr, error) { return nil, nil, failed })
	require.ErrorIs(t, err, failed)
	require.ErrorContains(t, err, "Factory")
	err = Check(func() (transport.Transport, transport.Addr, error) { return nil, nil, nil })
	require.ErrorContains(t, err, "the Factory failed: it gives no transport, or no address")
}

func TestRuleError(t *testing.T) {
	err := suiteOf(generous(),
		rule{name: "Found", sentence: "It is kept.", try: func(t *trial) {
			t.broke("", "callback: %w", &transport.CallbackError{Callback: "Read", Err: transport.ErrPanic})
		}},
		rule{name: "NoPanic", sentence: "A callback does not panic."},
	).check()
	var e *RuleError
	require.ErrorAs(t, err, &e)
	require.Equal(t, "NoPanic", e.Rule)
	require.Equal(t, "A callback does not panic.", e.Sentence)
	require.Equal(t, "Found", e.During)
	require.ErrorIs(t, err, transport.ErrPanic)
	require.Equal(t, "rule NoPanic is broken (seen while trying Found): callback: plug-in callback Read: the callback panicked (the "+
		"rule: A callback does not panic.)", e.Error())
}

func TestErrorNamesBrokenRule(t *testing.T) {
	fault := func(callback string, err error) error {
		return &transport.OpError{Op: "op", Err: &transport.CallbackError{Callback: callback, Err: err}}
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{errors.New("any"), "Trying"},
		{os.ErrDeadlineExceeded, "Trying"},
		{fault("Read", transport.ErrPanic), "NoPanic"},
		{fault("GetFD", transport.ErrUnresponsive), "Returns"},
		{fault("Read", transport.ErrContract), "ReadCount"},
		{fault("Write", transport.ErrContract), "WriteCount"},
		{fault("Writev", transport.ErrContract), "WriteCount"},
		{fault("GetFD", transport.ErrContract), "Descriptor"},
		{fault("Listen", transport.ErrContract), "BoundAddress"},
		{fault("HandshakePacketHeaderSize", transport.ErrContract), "HeaderSize"},
		{fault("Pending", transport.ErrContract), "PendingBytes"},
		{fault("Import", transport.ErrContract), "RefusedImport"},
	} {
		require.Equal(t, tt.want, culprit(tt.err, "Trying"), "%v", tt.err)
	}
}

// An operation that ends after its trial leaves nothing open.
func TestLeftBehindIsClosed(t *testing.T) {
	closed := make(chan struct{})
	release := make(chan struct{})
	// the trial waits in vain on purpose
	l := limits{patience: 50 * time.Millisecond, watchdog: 10 * time.Second, tries: 1, starved: 3}
	_ = suiteOf(l, rule{name: "Late", sentence: "It is not.", try: func(t *trial) {
		_, _ = do(t, "an operation", keep(t, func() (closer, error) { <-release; return closer{closed}, nil }))
	}}).check()
	close(release)
	select {
	case <-closed:
	case <-time.After(expect.Limit):
		require.FailNow(t, "what was opened too late was not closed")
	}
}

type closer struct{ closed chan struct{} }

func (c closer) Close() error { close(c.closed); return nil }

func TestPatternSaysWhatDiffers(t *testing.T) {
	p := pattern(7)
	whole := p.bytes(0, 10_000)
	for _, off := range []int64{0, 1, 7, 8, 9, 4095, 9_000} {
		require.Equal(t, whole[off:off+500], p.bytes(off, 500))
		require.NoError(t, p.differs(off, whole[off:]))
	}
	require.Error(t, pattern(8).differs(0, whole))
	for _, tt := range []struct {
		name string
		make func(b []byte) []byte
		want string
	}{
		{"lost", func(b []byte) []byte { return append(b[:5000], b[5003:]...) }, "the 3 bytes from offset 5000 on are missing"},
		{"repeated", func(b []byte) []byte { return append(append([]byte{}, b[:5000]...), b[4990:]...) },
			"at offset 5000 come bytes that came 10 earlier"},
		{"changed", func(b []byte) []byte { b[5000]++; return b }, "the byte at offset 5000 is changed"},
		{"other", func(b []byte) []byte { clear(b[5000:]); return b }, "at offset 5000 come other bytes: 00 00"},
		{"changed at the end", func(b []byte) []byte { b[len(b)-1]++; return b }, "at offset 9999 come other bytes"},
	} {
		require.ErrorContains(t, p.differs(0, tt.make(append([]byte{}, whole...))), tt.want, tt.name)
	}
}

func TestSizesAreOftenSmall(t *testing.T) {
	next := sizes(1, 100)
	small := 0
	for range 1000 {
		n := next()
		require.True(t, n >= 1 && n <= 101, n)
		if n <= 10 {
			small++
		}
	}
	require.Greater(t, small, 100)
}

// The rules read as a contract.
func TestRulesAreSentences(t *testing.T) {
	for _, r := range rules() {
		require.Regexp(t, `^[A-Z][A-Za-z]+$`, r.name)
		require.True(t, strings.HasSuffix(r.sentence, "."), r.name)
		require.Regexp(t, `^[A-Z]`, r.sentence)
	}
}
