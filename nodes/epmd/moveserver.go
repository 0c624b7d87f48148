package epmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/move"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// askGrace is how long a freeze lets connections without a name finish their requests.
const askGrace = 200 * time.Millisecond

// serverState is the state of a Server, as JSON: unknown fields are skipped.
type serverState struct {
	Server         int // the version of the form: 1
	Active, Unused []entryState
	Listeners      int // the first descriptors
	Sessions       []sessionState
}

// An entryState is a name.
type entryState struct {
	NodeInfo
	Counter uint32
}

// A sessionState is a connection that holds a name; its descriptor follows those of the listeners.
type sessionState struct {
	Port  int
	Entry int // its name, as an index into Active
}

// Freeze stops the server between two bytes, to hand it to another process. State and descriptors
// are for Server.Stage; connections arrive in the backlogs of its listeners. Thaw lets it go on
// here; by Release it ends here, and Serve returns ErrServerMoved. One of the two must be called.
//
// Requests that can be answered within 200 ms are
// answered first; then only registrations move, and Release closes the other connections. It waits
// as long as ctx lasts. A listener or registration without a descriptor is errors.ErrUnsupported. A
// server that is frozen already is an error; one that has ended gives what Serve has returned.
func (s *Server) Freeze(ctx context.Context) (handoff.Frozen, error) {
	s.mu.Lock()
	switch {
	case s.ended != nil:
		defer s.mu.Unlock()
		return nil, s.ended
	case s.frozen != nil:
		s.mu.Unlock()
		return nil, errors.New("epmd: the server is frozen already")
	}
	s.open()
	f := &move.Frozen{GoOn: func() { s.unfreeze(false) }, GiveUp: func() error {
		s.unfreeze(true)
		s.running.Wait()
		return nil
	}}
	s.frozen, s.grace = make(chan struct{}), time.Now().Add(askGrace)
	for l := range s.listeners {
		if d, ok := l.(interface{ SetDeadline(time.Time) error }); ok {
			_ = d.SetDeadline(past) // if it fails the listener has ended
		}
	}
	for c := range s.sessions {
		if c.entry != nil {
			_ = c.conn.SetReadDeadline(past)
		} else {
			_ = c.conn.SetDeadline(s.grace)
		}
	}
	s.mu.Unlock()
	err := s.rest(ctx)
	if err == nil {
		err = s.describe(f)
	}
	if err != nil {
		f.Thaw()
		return nil, fmt.Errorf("epmd: freeze: %w", err)
	}
	return f, nil
}

// rest waits until every goroutine of the server is parked, or has ended.
func (s *Server) rest(ctx context.Context) error {
	for {
		s.mu.Lock()
		rests := s.parked == len(s.listeners)+len(s.sessions)
		s.mu.Unlock()
		if rests {
			return nil
		}
		select {
		case <-s.rested:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fewer tells rest that one goroutine fewer runs.
func (s *Server) fewer() {
	select {
	case s.rested <- struct{}{}:
	default: // rest looks anew in any case
	}
}

func (s *Server) isFrozen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frozen != nil
}

// sitOut waits for the end of the freeze, if err is the passed deadline with which a freeze ends a
// read or an accept; true when the caller is to go on.
func (s *Server) sitOut(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	s.mu.Lock()
	frozen := s.frozen
	if frozen == nil { // the freeze is over already
		defer s.mu.Unlock()
		return !s.moved
	}
	s.parked++
	s.mu.Unlock()
	s.fewer()
	<-frozen
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.moved
}

// describe writes the state, and collects the descriptors; nothing changes meanwhile.
func (s *Server) describe(f *move.Frozen) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := serverState{Server: 1, Listeners: len(s.listeners)}
	at := map[*entry]int{}
	for i, e := range s.table.active {
		at[e] = i
		state.Active = append(state.Active, entryState{e.NodeInfo, e.counter})
	}
	for _, e := range s.table.unused {
		state.Unused = append(state.Unused, entryState{e.NodeInfo, e.counter})
	}
	for l := range s.listeners {
		f.FDs = append(f.FDs, descriptor(l))
	}
	for c := range s.sessions {
		if i, ok := at[c.entry]; ok && c.entry.holder == c {
			f.FDs = append(f.FDs, descriptor(c.conn))
			state.Sessions = append(state.Sessions, sessionState{Port: c.port, Entry: i})
		}
	}
	for _, fd := range f.FDs {
		if fd < 0 {
			return fmt.Errorf("listener or connection without a descriptor: %w", errors.ErrUnsupported)
		}
	}
	var err error
	f.Bytes, err = json.Marshal(state)
	return err
}

// unfreeze ends the freeze.
func (s *Server) unfreeze(moved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if moved {
		s.moved = true
		if s.ended == nil { // else it was closed meanwhile
			close(s.over)
		}
		s.ended = ErrServerMoved
	} else {
		for l := range s.listeners {
			if d, ok := l.(interface{ SetDeadline(time.Time) error }); ok {
				_ = d.SetDeadline(time.Time{})
			}
		}
	}
	close(s.frozen)
	// the next freeze counts every goroutine anew, even one that has not woken up yet
	s.frozen, s.parked = nil, 0
}

// A StagedServer is a Server of another process, ready to go on in this one. Start or Discard must
// be called.
type StagedServer struct {
	s         *Server
	listeners []net.Listener
	sessions  []*session
}

// Stage fills an unused Server with what Server.Freeze gives in another process. Nothing is
// accepted, read or written until Start. Stage owns the descriptors from the call on: on failure it
// closes them.
func (s *Server) Stage(state []byte, descriptors []int) (*StagedServer, error) {
	g, err := s.stage(state, descriptors)
	if err != nil {
		closeDescriptors(descriptors)
		return nil, fmt.Errorf("epmd: stage: %w", err)
	}
	if err := g.take(descriptors, len(descriptors)-len(g.sessions)); err != nil {
		return nil, fmt.Errorf("epmd: stage: %w", err)
	}
	return g, nil
}

func (s *Server) stage(state []byte, descriptors []int) (*StagedServer, error) {
	var in serverState
	err := json.Unmarshal(state, &in)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	case in.Server != 1 || in.Listeners < 0 || in.Listeners+len(in.Sessions) != len(descriptors):
		return nil, fmt.Errorf("%w: a Server of version %d, %d listeners and %d connections with %d descriptors",
			ErrState, in.Server, in.Listeners, len(in.Sessions), len(descriptors))
	}
	g := &StagedServer{s: s}
	s.open()
	for _, e := range in.Active {
		s.table.active = append(s.table.active, &entry{NodeInfo: e.NodeInfo, counter: e.Counter})
	}
	for _, e := range in.Unused {
		s.table.unused = append(s.table.unused, &entry{NodeInfo: e.NodeInfo, counter: e.Counter})
	}
	for i, one := range in.Sessions {
		if one.Entry < 0 || one.Entry >= len(in.Active) || s.table.active[one.Entry].holder != nil {
			return nil, fmt.Errorf("%w: connection %d", ErrState, i+1)
		}
		c := &session{server: s, port: one.Port, entry: s.table.active[one.Entry], holds: true}
		c.entry.holder = c
		g.sessions = append(g.sessions, c)
	}
	for i, e := range s.table.active {
		if e.holder == nil {
			return nil, fmt.Errorf("%w: name %d has no connection", ErrState, i+1)
		}
	}
	return g, nil
}

// take imports the descriptors.
func (g *StagedServer) take(fds []int, listeners int) (err error) {
	for ; err == nil && len(g.listeners) < listeners; fds = fds[1:] {
		var l net.Listener
		if l, err = importListener(fds[0]); err == nil {
			g.listeners = append(g.listeners, l)
		}
	}
	for _, c := range g.sessions {
		if err != nil {
			break
		}
		if c.conn, err = importConn(fds[0]); err == nil {
			c.local, c.fd = isLocal(c.conn), descriptor(c.conn)
			c.entry.fd, fds = c.fd, fds[1:]
		}
	}
	if err != nil {
		closeDescriptors(fds)
		return errors.Join(err, g.Discard())
	}
	return nil
}

// importListener makes a listener of a descriptor, and closes that: a listener has one of its own.
func importListener(fd int) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "")
	l, err := net.FileListener(f)
	_ = f.Close()
	return l, transport.PosixError(err)
}

// Start lets the server's connections go on, and gives its listeners: call Serve with each. Until
// that has begun with all of them, Freeze waits.
func (g *StagedServer) Start() []net.Listener {
	s := g.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range g.listeners {
		s.listeners[l] = struct{}{}
	}
	for _, c := range g.sessions {
		s.sessions[c] = struct{}{}
		s.running.Add(1)
		go c.run()
	}
	return g.listeners
}

// Discard gives the server up; it belongs to the other process.
func (g *StagedServer) Discard() error {
	var errs []error
	for _, l := range g.listeners {
		errs = append(errs, l.Close())
	}
	for _, c := range g.sessions {
		if c.conn != nil {
			errs = append(errs, c.conn.Close())
		}
	}
	return errors.Join(errs...)
}
