package transporttest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/tsocket"
)

// A DatagramFactory opens two unconnected datagram sockets that reach each other at their
// LocalAddr, and between which nothing is lost as long as only a few datagrams are in flight. Every
// call opens new sockets.
type DatagramFactory func() (one, other tsocket.Socket, err error)

// RunDatagram tries every rule for a tsocket.Socket in a subtest of its own with the
// rule's name. When three rules have hung, the rest is skipped.
func RunDatagram(t *testing.T, f DatagramFactory) {
	t.Helper()
	s := datagramSuite{factory: f, limits: generous()}
	for _, r := range datagramRules() {
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

// CheckDatagram tries the same rules as RunDatagram, outside a test. It returns nil, or the broken
// rules joined, each a *RuleError; if rules were not tried, a last error says so.
func CheckDatagram(f DatagramFactory) error { return checkDatagram(f, generous()) }

func checkDatagram(f DatagramFactory, l limits) error {
	s := datagramSuite{factory: f, limits: l}
	var broken []error
	for _, r := range datagramRules() {
		if s.reason != "" {
			return errors.Join(append(broken, errors.New(s.reason))...)
		}
		if err := s.try(&r); err != nil {
			broken = append(broken, err)
		}
	}
	return errors.Join(broken...)
}

// A datagramSuite is one run over all rules.
type datagramSuite struct {
	limits
	factory DatagramFactory
	vain    int    // rules that have waited in vain
	reason  string // why the rest is not tried
}

func (s *datagramSuite) try(r *datagramRule) error {
	err := r.check(s.factory, s.patience)
	if errors.Is(err, errHung) {
		s.vain++
	}
	s.reason = s.despair(r.name, s.vain)
	return err
}

// A datagramRule is one sentence of the contract.
type datagramRule struct {
	name     string
	sentence string
	try      func(d *datagramTrial) error
}

// A datagramTrial is one try of a rule.
type datagramTrial struct {
	one, other tsocket.Socket
	factory    DatagramFactory
	patience   time.Duration // for one thing that must happen
	ctx        context.Context
}

// check tries the rule on a goroutine that is left behind if it hangs.
func (r *datagramRule) check(f DatagramFactory, patience time.Duration) error {
	one, other, err := f()
	if err != nil {
		return r.broken(fmt.Errorf("the factory failed: %w", err))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	d := &datagramTrial{one, other, f, patience, ctx}
	err = d.ends("the trial", 4*patience, func() error { return r.try(d) })
	end := d.ends("Close at the end of the trial", patience, func() error { return errors.Join(one.Close(), other.Close()) })
	if err = errors.Join(err, end); err != nil {
		return r.broken(err)
	}
	return nil
}

func (r *datagramRule) broken(err error) error {
	return &RuleError{Rule: r.name, Sentence: r.sentence, During: r.name, Err: err}
}

// errHung says that an operation did not end in time.
var errHung = errors.New("no end")

// ends runs op, which might hang or panic, and reports either as an error.
func (d *datagramTrial) ends(what string, within time.Duration, op func() error) error {
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
func (d *datagramTrial) aside(what string, op func() error) (wait func() error) {
	done := make(chan error, 1)
	go func() { done <- op() }()
	return func() error { return d.ends(what, d.patience, func() error { return <-done }) }
}

// send sends p, which must succeed.
func (d *datagramTrial) send(from tsocket.Socket, p []byte, to transport.Addr) error {
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
func (d *datagramTrial) receive(at tsocket.Socket, p []byte, from tsocket.Socket) error {
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
func (d *datagramTrial) says(from, to tsocket.Socket, words string) error {
	if err := d.send(from, []byte(words), to.LocalAddr()); err != nil {
		return err
	}
	return d.receive(to, []byte(words), from)
}

// begun starts a RecvFrom on d.one, and returns once a second RecvFrom there gives ErrBusy.
func (d *datagramTrial) begun(ctx context.Context) (wait func() error, err error) {
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
