package transporttest

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// A Factory returns the transport to be tested and an address to listen at, a new address with
// every call, because two listeners, each at its own address, may be open at once. The transport
// may be the same every time.
type Factory func() (tr transport.Transport, listen transport.Addr, err error)

// Run tries every rule of the contract in a subtest of its own with the rule's name. A rule about
// something optional that the plug-in does not have is skipped. Run takes a few seconds, more when
// something is broken; if the plug-in hangs, the rule that hung is reported.
func Run(t *testing.T, f Factory) {
	t.Helper()
	s, said := newSuite(f, generous()), ""
	for i := range s.rules {
		r := &s.rules[i]
		t.Run(r.name, func(t *testing.T) {
			broken, skipped := s.try(r)
			for _, err := range broken {
				t.Error(err)
			}
			switch {
			case len(broken) > 0 || skipped == "":
			case skipped == said: // to say it once is enough
				t.Skip("for the same reason as the first that was skipped")
			default:
				if skipped == s.reason {
					said = skipped
				}
				t.Skip(skipped)
			}
		})
	}
}

// Check tries the same rules as Run, outside a test. It returns nil, or the broken rules joined,
// each a *RuleError; if rules were not tried, a last error says so.
func Check(f Factory) error { return newSuite(f, generous()).check() }

// A rule is one sentence of the contract.
type rule struct {
	name     string
	sentence string
	try      func(*trial) // nil: checked while the other rules are tried
	basic    bool         // if it is broken, the rules after it are not tried
}

func generous() limits {
	return limits{patience: 10 * time.Second, lingering: 10 * time.Second, watchdog: 2 * time.Minute, tries: 3, starved: 3, rounds: rounds}
}

// despair returns why the rules after the named one are not tried: too many rules have waited in
// vain. It returns "" while there are fewer than starved.
func (l limits) despair(after string, vain int) string {
	if vain < l.starved {
		return ""
	}
	return fmt.Sprintf("the rules after %s were not tried: %d rules have waited in vain", after, vain)
}

// A suite is one run over all rules.
type suite struct {
	shared
	rules  []rule
	vain   int                // rules that have waited in vain
	found  map[string][]error // broken rules by name
	reason string             // why the rest is not tried
}

func newSuite(f Factory, l limits) *suite {
	return &suite{shared: shared{limits: l, factory: f}, rules: rules(), found: map[string][]error{}}
}

func (s *suite) check() error {
	var broken []error
	for i := range s.rules {
		errs, _ := s.try(&s.rules[i])
		broken = append(broken, errs...)
	}
	if s.reason != "" {
		broken = append(broken, errors.New(s.reason))
	}
	return errors.Join(broken...)
}

// try tries one rule. It returns the broken rules that it has found, or why the rule was skipped.
func (s *suite) try(r *rule) (broken []error, skipped string) {
	if r.try == nil {
		if n := len(s.found[r.name]); n > 0 {
			return nil, fmt.Sprintf("broken: reported %d times above", n)
		}
		return nil, ""
	}
	if s.reason != "" {
		return nil, s.reason
	}
	var t *trial
	for range s.tries {
		t = newTrial(&s.shared, r.name)
		r.run(t)
		if !t.late() {
			break
		}
	}
	for _, e := range t.broken {
		e.Sentence = s.sentence(e.Rule)
		if s.record(e) {
			broken = append(broken, e)
		}
	}
	if t.vain || t.late() { // late: the SDK has waited in vain, at every try
		s.vain++
	}
	if r.basic && len(t.broken) > 0 {
		s.reason = "the rules after " + r.name + " were not tried: they rest on it"
	} else {
		s.reason = s.despair(r.name, s.vain)
	}
	return broken, t.skipped
}

// run tries the rule under the watchdog, and closes what was opened.
func (r *rule) run(t *trial) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				buf := make([]byte, 16<<10)
				t.broke("", "panic: %v\n%s", p, buf[:runtime.Stack(buf, false)])
			}
		}()
		r.try(t)
	}()
	for limit := t.s.watchdog; !endsWithin(done, limit); limit = min(t.s.patience, t.s.watchdog) {
		took := time.Since(t.begun)
		if t.idle() < t.s.patience && took < t.s.longest() {
			continue
		}
		t.broke("", "it hung: no end after %v", took.Round(time.Millisecond))
		t.inVain()
		break
	}
	t.closeAll()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
}

func (s *suite) sentence(name string) string {
	for i := range s.rules {
		if s.rules[i].name == name {
			return s.rules[i].sentence
		}
	}
	return "a rule of transporttest"
}

// record remembers a broken rule; false if it has been reported often enough.
func (s *suite) record(e *RuleError) bool {
	const enough = 3
	if len(s.found[e.Rule]) >= enough {
		return false
	}
	s.found[e.Rule] = append(s.found[e.Rule], e)
	return true
}
