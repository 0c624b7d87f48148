package transporttest

import (
	"errors"
	"fmt"
	"sync/atomic"
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

// A RuleError reports a rule of the contract that the plug-in broke.
type RuleError struct {
	Rule     string // its name, which is that of Run's subtest
	Sentence string // what the rule demands
	During   string // the rule that was being tried when this was found
	Err      error  // how it was broken
}

// Error names the rule, how it was broken, and what it says.
func (e *RuleError) Error() string {
	during := ""
	if e.During != e.Rule {
		during = fmt.Sprintf(" (seen while trying %s)", e.During)
	}
	return fmt.Sprintf("rule %s is broken%s: %v (the rule: %s)", e.Rule, during, e.Err, e.Sentence)
}

// Unwrap gives how it was broken.
func (e *RuleError) Unwrap() error { return e.Err }

// A rule is one sentence of the contract.
type rule struct {
	name     string
	sentence string
	try      func(*trial) // nil: checked while the other rules are tried
	basic    bool         // if it is broken, the rules after it are not tried
}

// limits say how long the suite waits. They are far beyond what a good plug-in needs on a busy
// machine: no rule is about speed.
type limits struct {
	patience  time.Duration // how long something that must happen may take, or go on without progress
	lingering time.Duration // how long it may take until what is closed is gone
	watchdog  time.Duration // for one try of a rule, which may take longer while it makes progress
	tries     int           // how often a rule is tried that was broken only by lateness
	starved   int           // the suite gives up after so many rules have waited in vain
	rounds    int           // how many connections are looked at together for leaks
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

// longest is how long one try of a rule may take if it makes progress all the time.
func (l limits) longest() time.Duration { return 10 * l.watchdog }

// A suite is one run over all rules.
type suite struct {
	limits
	factory Factory
	rules   []rule
	vain    int                // rules that have waited in vain
	found   map[string][]error // broken rules by name
	reason  string             // why the rest is not tried

	ofBytes     atomic.Bool  // the handshake's packets have a length, as far as that is known
	needsReader atomic.Bool  // Connect has been seen to wait until the accepting end reads
	holds       atomic.Int64 // 1 + how many unread bytes the carrier takes; 0: not known yet
}

func newSuite(f Factory, l limits) *suite {
	return &suite{limits: l, factory: f, rules: rules(), found: map[string][]error{}}
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
		t = newTrial(s, r)
		t.run()
		if !t.late() {
			break
		}
	}
	for _, e := range t.broken {
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

// record remembers a broken rule; false if it has been reported often enough.
func (s *suite) record(e *RuleError) bool {
	const enough = 3
	if len(s.found[e.Rule]) >= enough {
		return false
	}
	s.found[e.Rule] = append(s.found[e.Rule], e)
	return true
}
