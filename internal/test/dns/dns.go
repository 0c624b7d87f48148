// Package dns gives tests a small DNS server on the loopback interface.
package dns

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Records are what a server knows, by names that end with a dot.
type Records map[string][]dnsmessage.ResourceBody

// A Server answers over UDP. It knows A, AAAA and SRV records; other questions have no answer.
type Server struct {
	conn net.PacketConn

	mu      sync.Mutex
	records Records
	fails   bool
}

// New starts a server, which ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{conn: c}
	done := make(chan struct{})
	go func() { defer close(done); s.serve() }()
	t.Cleanup(func() { c.Close(); <-done })
	return s
}

// Resolver asks this server, and nobody else.
func (s *Server) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp4", s.conn.LocalAddr().String())
	}}
}

// Set replaces what the server knows.
func (s *Server) Set(r Records) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = r
}

// Fail makes every answer SERVFAIL.
func (s *Server) Fail() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = true
}

func (s *Server) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer := s.answer(buf[:n]); answer != nil {
			_, _ = s.conn.WriteTo(answer, from)
		}
	}
}

func (s *Server) answer(query []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := m.Questions[0]
	known, ok := s.records[q.Name.String()]
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	switch {
	case s.fails:
		m.RCode, known = dnsmessage.RCodeServerFailure, nil
	case !ok:
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, body := range known {
		if kind := typeOf(body); kind == q.Type {
			h := dnsmessage.ResourceHeader{Name: q.Name, Type: kind, Class: dnsmessage.ClassINET}
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: body})
		}
	}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

func typeOf(body dnsmessage.ResourceBody) dnsmessage.Type {
	switch body.(type) {
	case *dnsmessage.AResource:
		return dnsmessage.TypeA
	case *dnsmessage.AAAAResource:
		return dnsmessage.TypeAAAA
	}
	return dnsmessage.TypeSRV
}

// Addr is the A or AAAA record of an address.
func Addr(text string) dnsmessage.ResourceBody {
	a := netip.MustParseAddr(text)
	if a.Is6() {
		return &dnsmessage.AAAAResource{AAAA: a.As16()}
	}
	return &dnsmessage.AResource{A: a.As4()}
}

// SRV is an SRV record; target ends with a dot.
func SRV(target string, port uint16) dnsmessage.ResourceBody {
	return &dnsmessage.SRVResource{Priority: 10, Weight: 50, Port: port, Target: dnsmessage.MustNewName(target)}
}
