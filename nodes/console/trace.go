package console

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// trace shows the log on the user's screen, and has servers log their messages.
func (c *console) trace(ctx context.Context, what ei.Term) (Text, error) {
	s := of(ctx)
	switch what {
	case ei.Atom("off"):
		s.traceOff()
		return "off\n", nil
	case ei.Atom("on"):
	default:
		pid, err := c.pidOf(what)
		if err == nil {
			err = c.traceServer(ctx, pid, true)
		}
		if err != nil {
			return "", err
		}
		s.mu.Lock()
		s.traced = append(s.traced, pid)
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watch == nil {
		s.watch = c.opts.Log.to.begin()
		go s.showLines(s.watch)
	}
	return "on\n", nil
}

// showLines prints what a watch sees, several lines at a time, until it ends.
func (s *session) showLines(w *watch) {
	for line := range w.lines {
		var b strings.Builder
		b.WriteString(line + "\n")
		for len(w.lines) > 0 && b.Len() < 16<<10 {
			line, ok := <-w.lines
			if !ok {
				break
			}
			b.WriteString(line + "\n")
		}
		if n := w.dropped.Swap(0); n > 0 {
			fmt.Fprintf(&b, "… %d lines were left out\n", n)
		}
		s.print(b.String())
	}
}

// traceOff ends all that the session traces.
func (s *session) traceOff() {
	s.mu.Lock()
	watch, traced := s.watch, s.traced
	s.watch, s.traced = nil, nil
	s.mu.Unlock()
	if watch != nil {
		s.c.opts.Log.to.end(watch)
	}
	for _, pid := range traced {
		_ = s.c.traceServer(context.Background(), pid, false) // an error: it has ended
	}
}

// sysTime is how long a server may take to answer: it has the default of module sys.
const sysTime = 5 * time.Second

// traceServer is sys:trace/2.
func (c *console) traceServer(ctx context.Context, pid ei.Pid, on bool) error {
	ctx, cancel := context.WithTimeout(ctx, sysTime)
	defer cancel()
	box, err := c.n.NewMailbox(nil)
	if err != nil {
		return err
	}
	defer box.Close()
	ref, err := box.Monitor(ctx, pid)
	if err != nil {
		return err
	}
	request := ei.Tuple{ei.Atom("debug"), ei.Tuple{ei.Atom("trace"), ei.Atom(fmt.Sprint(on))}}
	if err := box.Send(ctx, pid, ei.Tuple{ei.Atom("system"), ei.Tuple{box.Pid(), ref}, request}); err != nil {
		return err
	}
	m, err := box.Receive(ctx)
	if err != nil {
		return fmt.Errorf("it does not answer as a server does: %w", err)
	}
	defer m.Release()
	if m.Payload == nil {
		return errors.New("there is no such process")
	}
	var answer struct {
		_   struct{} `ei:"tuple"`
		Ref ei.Ref
		Of  ei.Atom
	}
	if err := m.Payload.Unmarshal(&answer); err != nil || answer.Of != "ok" {
		return &nodes.Raise{Reason: ei.Atom("badarg")}
	}
	return nil
}
