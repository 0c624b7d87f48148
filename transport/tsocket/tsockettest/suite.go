// Package tsockettest is the conformance suite for datagram sockets: it tells whether a
// [tsocket.Socket] keeps its rules, and if not, which it breaks. Package transporttest is that for
// streams.
package tsockettest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/tsocket"
)

// A Factory opens two unconnected datagram sockets that reach each other at their
// LocalAddr, and between which nothing is lost as long as only a few datagrams are in flight. Every
// call opens new sockets.
type Factory func() (one, other tsocket.Socket, err error)

// Run tries every rule for a tsocket.Socket in a subtest of its own with the
// rule's name. When three rules have hung, the rest is skipped.
func Run(t *testing.T, f Factory) {
	t.Helper()
	s := suite{factory: f, limits: generous()}
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			if s.reason != "" {
				t.Skip(s.reason)
			}
			if err := s.try(&r); err != nil {
				t.Error(err)
			}
		})
	}
}

// Check tries the same rules as Run, outside a test. It returns nil, or the broken
// rules joined, each a *RuleError; if rules were not tried, a last error says so.
func Check(f Factory) error { return check(f, generous()) }

func check(f Factory, l limits) error {
	s := suite{factory: f, limits: l}
	var broken []error
	for _, r := range rules() {
		if s.reason != "" {
			return errors.Join(append(broken, errors.New(s.reason))...)
		}
		if err := s.try(&r); err != nil {
			broken = append(broken, err)
		}
	}
	return errors.Join(broken...)
}

// A RuleError reports a rule that the socket broke.
type RuleError struct {
	Rule     string // its name, which is that of Run's subtest
	Sentence string // what the rule demands
	Err      error  // how it was broken
}

// Error names the rule, how it was broken, and what it says.
func (e *RuleError) Error() string {
	return fmt.Sprintf("rule %s is broken: %v (the rule: %s)", e.Rule, e.Err, e.Sentence)
}

// Unwrap gives how it was broken.
func (e *RuleError) Unwrap() error { return e.Err }

// limits say how long the suite waits: far beyond what a good socket needs on a busy machine.
type limits struct {
	patience time.Duration // how long something that must happen may take
	starved  int           // the suite gives up after so many rules have waited in vain
}

func generous() limits { return limits{patience: 10 * time.Second, starved: 3} }

const (
	moment = 20 * time.Millisecond // gives an operation time to begin waiting
	rounds = 24                    // how many sockets are looked at together for leaks
	many   = rounds * 3 / 4        // how much must remain of them to count as a leak
)

// A suite is one run over all rules.
type suite struct {
	limits
	factory Factory
	vain    int    // rules that have waited in vain
	reason  string // why the rest is not tried
}

func (s *suite) try(r *rule) error {
	err := r.check(s.factory, s.patience)
	if errors.Is(err, errHung) {
		s.vain++
	}
	if s.vain >= s.starved {
		s.reason = fmt.Sprintf("the rules after %s were not tried: %d rules have waited in vain", r.name, s.vain)
	}
	return err
}

// A rule is one sentence of the contract.
type rule struct {
	name     string
	sentence string
	try      func(d *trial) error
}

// A trial is one try of a rule.
type trial struct {
	one, other tsocket.Socket
	factory    Factory
	patience   time.Duration // for one thing that must happen
	ctx        context.Context
}

// check tries the rule on a goroutine that is left behind if it hangs.
func (r *rule) check(f Factory, patience time.Duration) error {
	one, other, err := f()
	if err != nil {
		return r.broken(fmt.Errorf("the factory failed: %w", err))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	d := &trial{one, other, f, patience, ctx}
	err = d.ends("the trial", 4*patience, func() error { return r.try(d) })
	end := d.ends("Close at the end of the trial", patience, func() error { return errors.Join(one.Close(), other.Close()) })
	if err = errors.Join(err, end); err != nil {
		return r.broken(err)
	}
	return nil
}

func (r *rule) broken(err error) error {
	return &RuleError{Rule: r.name, Sentence: r.sentence, Err: err}
}

// errHung says that an operation did not end in time.
var errHung = errors.New("no end")

// ends runs op, which might hang or panic, and reports either as an error.
func (d *trial) ends(what string, within time.Duration, op func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				buf := make([]byte, 8<<10)
				done <- fmt.Errorf("%s: panic: %v\n%s", what, r, buf[:runtime.Stack(buf, false)])
			}
		}()
		done <- op()
	}()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("%s: %w after %v", what, errHung, within)
	}
}

// aside starts op in the background; wait waits for its end.
func (d *trial) aside(what string, op func() error) (wait func() error) {
	done := make(chan error, 1)
	go func() { done <- op() }()
	return func() error { return d.ends(what, d.patience, func() error { return <-done }) }
}

// send sends p, which must succeed.
func (d *trial) send(from tsocket.Socket, p []byte, to transport.Addr) error {
	n, err := from.SendTo(d.ctx, p, to)
	if err != nil {
		return fmt.Errorf("SendTo of %d bytes to %v: %w", len(p), to, err)
	}
	if n != len(p) {
		return fmt.Errorf("SendTo of %d bytes counted %d", len(p), n)
	}
	return nil
}

// receive receives a datagram, which must be p, sent by from.
func (d *trial) receive(at tsocket.Socket, p []byte, from tsocket.Socket) error {
	buf := make([]byte, len(p)+100)
	n, sender, err := at.RecvFrom(d.ctx, buf)
	switch {
	case err != nil:
		return fmt.Errorf("RecvFrom, with %d bytes sent: %w", len(p), err)
	case n < 0 || n > len(buf) || string(buf[:n]) != string(p):
		return fmt.Errorf("%d bytes were sent, and RecvFrom gave others, or another number: %d", len(p), n)
	case !sameAddr(sender, from.LocalAddr()):
		return fmt.Errorf("RecvFrom gave %v as the sender of what %v sent", sender, from.LocalAddr())
	}
	return nil
}

// says sends a few bytes from one socket to the other, and receives them there.
func (d *trial) says(from, to tsocket.Socket, words string) error {
	if err := d.send(from, []byte(words), to.LocalAddr()); err != nil {
		return err
	}
	return d.receive(to, []byte(words), from)
}

// begun starts a RecvFrom on d.one, and returns once a second RecvFrom there gives ErrBusy.
func (d *trial) begun(ctx context.Context) (wait func() error, err error) {
	wait = d.aside("a RecvFrom that waits", func() error {
		for {
			_, _, err := d.one.RecvFrom(ctx, make([]byte, 100))
			// ErrBusy: it came while the RecvFrom below was running
			if !errors.Is(err, transport.ErrBusy) || ctx.Err() != nil {
				return err
			}
		}
	})
	for end := time.Now().Add(d.patience); ; time.Sleep(time.Millisecond) {
		_, _, err := d.one.RecvFrom(transport.NoWait(), make([]byte, 100))
		switch {
		case errors.Is(err, transport.ErrBusy):
			return wait, nil
		case !isTimeout(err): // a time-out: the first RecvFrom has not begun yet
			return wait, fmt.Errorf("a second RecvFrom beside one that waits gave %w, not ErrBusy", orNone(err))
		case time.Now().After(end):
			return wait, errors.New("a second RecvFrom beside one that waits is never ErrBusy")
		}
	}
}

// contents are n bytes that are different for each i.
func contents(i, n int) []byte {
	p := make([]byte, n)
	for j := range p {
		p[j] = byte(31*i + 7*j + j>>8)
	}
	return p
}

func sameAddr(a, b transport.Addr) bool {
	return a != nil && b != nil && a.Network() == b.Network() && a.String() == b.String()
}

// isTimeout tells whether err is a time-out in the form that the SDK promises.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout() && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded))
}

var errNone = errors.New("nil")

func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}
