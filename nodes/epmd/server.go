package epmd

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/hush"
	"github.com/cnode-go/cnode/transport"
)

// What the zero values of a Server's fields stand for.
const (
	defaultPacketTimeout = 60 * time.Second // epmd's own
	defaultMaxConns      = 1024             // registrations included
)

// maxNameless bounds the connections that hold no name. Requests are answered at once, so few
// connections are enough, and an embedded server leaves its process descriptors for other things.
const maxNameless = 128

// yields is how often a full server yields to its sessions before it ends one: a single
// runtime.Gosched may return at once.
const yields = 16

// Server is a port mapper. The zero value is ready for Serve. Fields must not change once Serve was
// called; methods may be called concurrently. A Server that was closed cannot be used again.
type Server struct {
	// Relaxed allows Stop, and Kill while names are registered; epmd's -relaxed_command_check.
	Relaxed bool
	// PacketTimeout is how long a connection may take until its request is whole, and how long
	// writing the answer may take. Zero or less: as epmd's -packet_timeout, 60 s,
	// which begins anew there with each byte.
	PacketTimeout time.Duration
	// MaxConns bounds the connections, registrations included; at most 128 of them are not
	// registrations. For one too many the oldest connection without a name ends; if all have names,
	// one more is open for requests, but no further name is registered. Zero or less: a thousand.
	MaxConns int
	// Port is the number that listings give as the server's own. Zero: that of the listener asked.
	Port int
	// Logger gets registrations (Info), refusals and want of descriptors (Warn), of each those
	// beyond 20 a second as Debug, and requests (Debug). Its Handler runs with the server's lock
	// held at times: it must not wait, and must not use the server. Nil: nothing is logged.
	Logger *slog.Logger

	names    hush.Hush // registered and unregistered
	refusals hush.Hush
	waits    hush.Hush // for descriptors
	rooms    hush.Hush // connections that were closed for want of room

	mu        sync.Mutex
	table     table
	listeners map[net.Listener]struct{}
	sessions  map[*session]struct{}
	nameless  list.List     // *session, oldest first: those without a name that were not ended for want of room
	ended     error         // why no more connections are taken
	over      chan struct{} // closed when ended is set; made by open

	frozen chan struct{} // closed at the end of a freeze; nil: there is none
	grace  time.Time     // the time in a freeze from which nothing is read or written any more
	parked int           // goroutines that wait for the end of the freeze
	rested chan struct{} // takes a token when a goroutine begins to wait for that, or ends
	moved  bool          // the server goes on in another process

	running sync.WaitGroup // sessions; Add only with mu held and ended nil
	asking  sync.WaitGroup // sessions without an answer yet; likewise
}

// Serve accepts and answers connections on l until the server is closed or killed, or l fails for
// good; it closes l in any case. It always returns an error: ErrServerClosed after Close, Shutdown
// and a kill request, once all connections are gone; else that of l, whose connections live on. It
// may run on several listeners at once.
func (s *Server) Serve(l net.Listener) error {
	if err := s.add(l); err != nil {
		return err
	}
	defer s.remove(l)
	port := s.Port
	if a, err := transport.AddrPort(l.Addr()); err == nil && port == 0 {
		port = int(a.Port())
	}
	pause := time.Duration(0)
	for {
		conn, err := l.Accept()
		if err == nil {
			pause = 0
			s.start(conn, port)
			continue
		}
		if s.sitOut(err) {
			continue
		}
		if ended := s.endedBy(); ended != nil {
			s.running.Wait()
			return ended
		}
		if !passing(err) {
			return err
		}
		// Out of descriptors, most likely: connections that end will give some back.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.waits.Log(s.logger(), slog.LevelWarn, "cannot accept connections for now", "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-s.over:
		}
	}
}

// Close ends the server at once: listeners, registrations and requests. It returns nil when all
// goroutines that serve connections have ended.
func (s *Server) Close() error {
	s.end(ErrServerClosed)
	s.dropAll()
	s.running.Wait()
	return nil
}

// Shutdown closes the listeners, waits until requests have been answered, for a silent connection
// up to PacketTimeout, and then closes the registrations. When ctx ends first it acts as Close, and
// returns ctx's error. Either waits while the server is frozen.
func (s *Server) Shutdown(ctx context.Context) error {
	s.end(ErrServerClosed)
	answered := make(chan struct{})
	go func() {
		s.asking.Wait()
		close(answered)
	}()
	var err error
	select {
	case <-answered:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.dropAll()
	<-answered
	s.running.Wait()
	return err
}

// end stops accepting. The first reason stays.
func (s *Server) end(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = reason
		if s.over != nil {
			close(s.over)
		}
	}
	for l := range s.listeners {
		_ = l.Close() // which ends Serve
	}
}

func (s *Server) endedBy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// dropAll closes all connections.
func (s *Server) dropAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.sessions {
		_ = c.conn.Close() // which ends the session
	}
}

// add makes a listener the server's, unless Start has; not in the middle of a freeze, which would
// wait for it and has no place for it.
func (s *Server) add(l net.Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open()
	if _, staged := s.listeners[l]; !staged {
		for frozen := s.frozen; frozen != nil; frozen = s.frozen {
			s.mu.Unlock()
			<-frozen
			s.mu.Lock()
		}
	}
	if s.ended != nil {
		_ = l.Close() // the server owns it from here on
		delete(s.listeners, l)
		return s.ended
	}
	s.listeners[l] = struct{}{}
	return nil
}

// open makes the tables. mu is held.
func (s *Server) open() {
	if s.listeners == nil {
		s.listeners = make(map[net.Listener]struct{})
		s.sessions = make(map[*session]struct{})
		s.over = make(chan struct{})
		s.rested = make(chan struct{}, 1)
	}
}

func (s *Server) remove(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	s.fewer()
	_ = l.Close() // it may be closed already
}

// start begins a session, if there is room for one.
func (s *Server) start(conn net.Conn, port int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range yields {
		if !s.full() {
			break
		}
		s.mu.Unlock()
		runtime.Gosched() // sessions whose requests have arrived answer them, and end
		s.mu.Lock()
	}
	if s.ended != nil {
		_ = conn.Close() // nothing was read or written
		return
	}
	s.makeRoom()
	c := &session{server: s, conn: conn, port: port, local: isLocal(conn), fd: descriptor(conn)}
	c.at = s.nameless.PushBack(c)
	s.sessions[c] = struct{}{}
	s.running.Add(1)
	s.asking.Add(1)
	go c.run()
}

// full tells whether there is no room for another connection. mu is held.
func (s *Server) full() bool {
	n := s.nameless.Len()
	return n >= maxNameless || n > 0 && n+len(s.table.active) >= s.maxConns()
}

func (s *Server) maxConns() int { return cmp.Or(max(s.MaxConns, 0), defaultMaxConns) }

// makeRoom ends the oldest connection without a name, if there is no room for another one. mu is
// held.
func (s *Server) makeRoom() {
	if !s.full() {
		return
	}
	c := s.nameless.Remove(s.nameless.Front()).(*session)
	_ = c.conn.Close() // which ends the session
	s.rooms.Log(s.logger(), slog.LevelWarn, "connection closed, no room", "peer", c.conn.RemoteAddr(), "names", len(s.table.active),
		"others", s.nameless.Len())
}

func (s *Server) logger() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}

func (s *Server) packetTimeout() time.Duration {
	return cmp.Or(max(s.PacketTimeout, 0), defaultPacketTimeout)
}

// A request must see what happened before it was sent, as it does in a server with a single thread.
// But the session of a connection that ended may not have noticed the end yet. So before the table
// is read, connections are checked for that: all of them by settle, that of one name by find. mu is
// held.

func (s *Server) settle() {
	for _, e := range slices.Clone(s.table.active) {
		if readable(e.holder.conn) {
			s.release(e)
		}
	}
}

// find gives the active entry of a name, or nil.
func (s *Server) find(name string) *entry {
	e := s.table.find(name)
	if e != nil && readable(e.holder.conn) {
		s.release(e)
		return nil
	}
	return e
}

// release gives up a name and ends the session that holds it. mu is held.
func (s *Server) release(e *entry) {
	holder := e.holder
	if s.table.release(e) {
		// only after the release: the session, if it still runs, and the peer notice the close
		_ = holder.conn.Close()
		s.names.Log(s.logger(), slog.LevelInfo, "unregistered", "name", e.Name, "creation", e.creation(), "port", e.Port)
	}
}

// passing reports whether a listener that failed with err may work again: err is an error of
// accept(2) about a single connection, such as a firewall's refusal (EPERM, EACCES), or a want of
// descriptors, of memory or (ENOSPC of epoll_ctl) of watches; or it says that it is Temporary.
func passing(err error) bool {
	var passes interface{ Temporary() bool }
	if errors.As(err, &passes) && passes.Temporary() {
		return true
	}
	err = transport.PosixError(err)
	for _, no := range []syscall.Errno{syscall.ECONNABORTED, syscall.EINTR, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ENOSPC, syscall.EPERM, syscall.EACCES, syscall.EPROTO, syscall.ENOPROTOOPT, syscall.EOPNOTSUPP, syscall.ENETDOWN,
		syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}
