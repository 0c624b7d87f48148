package epmd

import (
	"container/list"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// session is one connection to a Server: a request and its answer, and then, if that was a
// registration, the time it is held.
type session struct {
	server *Server
	conn   net.Conn
	port   int  // the server's own, for listings
	local  bool // the peer is on this machine
	fd     int  // for dumps
	entry  *entry
	at     *list.Element // its place among the nameless; nil: it has come from another process with its name
	holds  bool          // the request was a registration, and is answered
}

// run serves the connection to its end.
func (c *session) run() {
	s := c.server
	defer s.running.Done()
	if !c.holds {
		if body := c.read(); body != nil {
			c.holds = c.answer(body)
		}
		s.asking.Done()
	}
	if c.holds {
		c.hold()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// else it was released before, and may have another holder by now
	if c.entry != nil && c.entry.holder == c && !s.moved {
		s.release(c.entry)
	}
	_ = c.conn.Close() // after the release: a peer that sees the end may register the name again
	delete(s.sessions, c)
	s.fewer()
	if c.at != nil {
		s.nameless.Remove(c.at) // does nothing if it was removed before
	}
}

// read gives a request without its header, or nil when the connection is to be closed: it ended,
// the whole request took too long, its length is impossible, or more bytes came than the length
// says.
func (c *session) read() []byte {
	limit := time.Now().Add(c.server.packetTimeout())
	buf := make([]byte, headerSize+maxRequest)
	got, want := 0, len(buf)
	for sized := false; got < want; {
		c.until(c.conn.SetReadDeadline, limit)
		n, err := c.conn.Read(buf[got:want])
		got += n
		if got >= headerSize && !sized {
			size := int(binary.BigEndian.Uint16(buf))
			if size < 1 || size > maxRequest || got > headerSize+size {
				c.refuse("bad length", "length", size, "received", got-headerSize)
				return nil
			}
			want, sized = headerSize+size, true
		}
		if err != nil && got < want {
			if (c.server.isFrozen() || time.Now().Before(limit)) && c.server.sitOut(err) {
				continue
			}
			if got > 0 && c.server.endedBy() != ErrServerMoved && !errors.Is(err, net.ErrClosed) {
				c.refuse("incomplete request", "received", got, "error", err)
			}
			return nil
		}
	}
	return buf[headerSize:want]
}

// answer answers a request. The connection is to be kept when keep is true.
func (c *session) answer(body []byte) (keep bool) {
	s := c.server
	q, err := parseRequest(body)
	if err != nil {
		c.refuse("bad request", "error", err)
		return false
	}
	s.logger().Debug("request", "tag", q.tag, "name", q.name, "peer", c.conn.RemoteAddr())
	switch q.tag {
	case tagPort2Req, tagNamesReq:
	default:
		if !c.local {
			c.refuse("request from another machine", "tag", q.tag)
			return false
		}
	}
	switch q.tag {
	case tagAlive2Req:
		return c.register(q.reg)
	case tagPort2Req:
		c.write(c.lookUp(q.name))
	case tagNamesReq:
		c.write(c.listing(s.table.appendNames))
	case tagDumpReq:
		c.write(c.listing(s.table.appendDump))
	case tagKillReq:
		c.kill()
	case tagStopReq:
		c.stop(q.name)
	}
	return false
}

// register answers an ALIVE2_REQ. The connection is kept even if the name is refused.
func (c *session) register(reg Registration) bool {
	s := c.server
	a := aliveAnswer{short: reg.High < 6, result: 1, creation: refusedCreation}
	s.mu.Lock()
	s.find(reg.Name) // releases it if its connection has ended
	if len(s.table.active) < s.maxConns() {
		c.entry = s.table.register(NodeInfo(reg), c.fd, c, uint32(time.Now().Unix()))
	}
	if c.entry != nil {
		a.result, a.creation = 0, c.entry.creation()
		s.nameless.Remove(c.at)
	}
	s.mu.Unlock()
	if a.result == 0 {
		s.names.Log(s.logger(), slog.LevelInfo, "registered", "name", reg.Name, "creation", a.creation, "port", reg.Port, "type", reg.Type)
	} else {
		c.refuse("name in use or beyond the limits", "name", reg.Name)
	}
	return c.write(appendAliveAnswer(nil, a))
}

func (c *session) lookUp(name string) []byte {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(name)
	if e == nil {
		return appendPortAnswer(nil, nil)
	}
	return appendPortAnswer(nil, &e.NodeInfo)
}

func (c *session) listing(list func(b []byte, port int) []byte) []byte {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.server.settle()
	return list(nil, c.port)
}

func (c *session) kill() {
	s := c.server
	s.mu.Lock()
	s.settle()
	names := len(s.table.active)
	s.mu.Unlock()
	if names > 0 && !s.Relaxed {
		c.refuse("kill with names registered", "names", names)
		c.write([]byte("NO"))
		return
	}
	s.end(errKilled) // before the answer, so that the port is free when that arrives
	c.write([]byte("OK"))
	s.dropAll()
}

func (c *session) stop(name string) {
	s := c.server
	if !s.Relaxed {
		c.refuse("stop without the relaxed command check", "name", name)
		return
	}
	s.mu.Lock()
	e := s.find(name)
	if e != nil {
		s.release(e)
	}
	s.mu.Unlock()
	if e == nil {
		c.write([]byte("NOEXISTSTOPPED")) // both words: clients read seven bytes
		return
	}
	c.write([]byte("STOPPED"))
}

// hold waits until the connection ends, or anything arrives on it.
func (c *session) hold() {
	var one [1]byte
	for {
		c.until(c.conn.SetReadDeadline, time.Time{})
		if _, err := c.conn.Read(one[:]); err == nil || !c.server.sitOut(err) {
			return
		}
	}
}

// until sets the deadline of the next read or write with set. In a freeze that is the end of the
// grace at the latest, and a past time for a connection that holds a name.
func (c *session) until(set func(time.Time) error, t time.Time) {
	_ = set(t) // if it fails, so does what follows
	s := c.server
	s.mu.Lock()
	frozen, end := s.frozen != nil, s.grace
	s.mu.Unlock()
	if c.holds {
		end = past
	}
	if frozen && (t.IsZero() || end.Before(t)) {
		_ = set(end)
	}
}

func (c *session) write(answer []byte) bool {
	c.until(c.conn.SetWriteDeadline, time.Now().Add(c.server.packetTimeout()))
	if _, err := c.conn.Write(answer); err != nil {
		c.refuse("answer not delivered", "error", err)
		return false
	}
	return true
}

// refuse logs why a request was not obeyed.
func (c *session) refuse(why string, args ...any) {
	s := c.server
	s.refusals.Log(s.logger(), slog.LevelWarn, why, append(args, "peer", c.conn.RemoteAddr())...)
}

// isLocal tells whether the peer is on this machine: its address is a loopback one, or the same as
// our own.
func isLocal(conn net.Conn) bool {
	if conn.RemoteAddr().Network() == "unix" {
		return true
	}
	remote, ok := ip(conn.RemoteAddr())
	if !ok {
		return false
	}
	own, ok := ip(conn.LocalAddr())
	return remote.IsLoopback() || ok && remote == own
}

func ip(a net.Addr) (netip.Addr, bool) {
	ap, err := transport.AddrPort(a)
	return ap.Addr(), err == nil
}

// descriptor gives the number of a socket's descriptor, or -1 if it has none.
func descriptor(conn any) int {
	n := -1
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			// a connection closed already keeps -1
			_ = raw.Control(func(fd uintptr) { n = int(fd) })
		}
	}
	return n
}
