package cnodews

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/coder/websocket"

	"github.com/cnode-go/cnode/transport"
)

// A listener has the connections that nobody has accepted yet.
type listener struct {
	at      URL
	arrived chan *socket
	places  chan struct{} // one for each connection in arrived, and for each that is about to be
	gone    chan struct{}
}

// mostArrived is how many connections may wait to be accepted.
const mostArrived = 128

func (t *Transport) listen(s *socket, addr transport.Addr, backlog int) (transport.Addr, error) {
	at, err := urlToListen(addr)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.listener != nil {
		return nil, syscall.EADDRINUSE
	}
	n := min(backlog, mostArrived)
	s.listener = &listener{at: at, arrived: make(chan *socket, n), places: make(chan struct{}, n), gone: make(chan struct{})}
	s.unlisten = func() {
		t.mu.Lock()
		t.listener = nil
		t.mu.Unlock()
		close(s.listener.gone)
		s.listener.refuse()
	}
	t.listener = s.listener
	return at, nil
}

// urlToListen is the URL for a listener, "" for one whose URL nobody needs to know.
func urlToListen(addr transport.Addr) (URL, error) {
	if at, ok := plain(addr).(URL); ok {
		return at, at.check()
	}
	ap, err := transport.AddrPort(addr)
	switch {
	case err != nil:
		return "", syscall.EAFNOSUPPORT
	case ap.Port() != 0: // zero is what Config.Listen is by default
		return "", fmt.Errorf("port %d is for the HTTP server to listen at, and a URL is what others connect to: %w", ap.Port(), syscall.EINVAL)
	}
	return "", nil
}

// plain takes off what wraps an address.
func plain(a transport.Addr) transport.Addr {
	for {
		u, ok := a.(interface{ Unwrap() transport.Addr })
		if !ok {
			return a
		}
		a = u.Unwrap()
	}
}

func (s *socket) accept(tmo time.Duration) (*socket, transport.Addr, error) {
	l := s.listener
	take := func(c *socket) (*socket, transport.Addr, error) {
		<-l.places
		return c, c.remote, nil
	}
	select {
	case c := <-l.arrived:
		return take(c)
	default:
	}
	over, stop := expiry(tmo)
	defer stop()
	select {
	case c := <-l.arrived:
		return take(c)
	case <-over:
	case <-s.in.kick:
	}
	return nil, nil, os.ErrDeadlineExceeded
}

// refuse ends the connections that nobody will accept.
func (l *listener) refuse() {
	for {
		select {
		case c := <-l.arrived:
			c.drop()
		default:
			return
		}
	}
}

// ServeHTTP makes a connection of a request, and returns at once: the connection goes on without
// the server. It is 401 if Options.Authorize refuses it, 403 for a page of another origin, 503 if
// no node listens, or does not get to accepting, 426 if it asks for no WebSocket, or not by
// HTTP/1.1, and 400 if it has a body. A refusal ends the connection of HTTP/1.
func (t *Transport) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 { // who is refused does not stay; for HTTP/2 it would be the end of others' requests
		w.Header().Set("Connection", "close")
	}
	if t.o.Authorize != nil {
		if err := t.o.Authorize(r); err != nil {
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, r, err.Error(), http.StatusUnauthorized)
			return
		}
	}
	if r.ContentLength != 0 { // for which the server would wait, or whose bytes would be the first frames
		refuse(w, r, "a request for a WebSocket has no body", http.StatusBadRequest)
		return
	}
	t.mu.Lock()
	l := t.listener
	t.mu.Unlock()
	if l == nil {
		http.Error(w, "no node listens here", http.StatusServiceUnavailable)
		return
	}
	select {
	case l.places <- struct{}{}:
	default:
		http.Error(w, "too many connections wait to be accepted", http.StatusServiceUnavailable)
		return
	}
	// A client that does not read must not keep the place. What takes the connection over takes the
	// deadline off.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(farewell))
	taken := watch(w)
	if taken != nil {
		w = taken
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{Subprotocol}, OriginPatterns: t.o.Origins, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil { // which has been answered
		<-l.places
		return
	}
	s := newSocket(context.WithoutCancel(r.Context())) // that of the request ends with this function
	s.local, s.remote, s.request = l.at, t.peerOf(r), r.WithContext(s.ctx)
	if taken != nil {
		s.below = taken.conn
	}
	t.strangers.enter(s)
	t.begin(s, ws)
	l.arrived <- s // there is a place
	select {
	case <-l.gone:
		l.refuse()
	default:
	}
}

// refuse answers a request. The server would wait for a body that has been announced.
func refuse(w http.ResponseWriter, r *http.Request, text string, status int) {
	if r.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now())
	}
	http.Error(w, text, status)
}

// A taker is a ResponseWriter that keeps the connection which is taken over.
type taker struct {
	http.ResponseWriter
	by   http.Hijacker
	conn net.Conn
}

// watch makes a taker of w; nil: nothing can be taken over, which the library answers.
func watch(w http.ResponseWriter) *taker {
	for inner := w; ; {
		switch i := inner.(type) {
		case http.Hijacker:
			return &taker{ResponseWriter: w, by: i}
		case interface{ Unwrap() http.ResponseWriter }:
			inner = i.Unwrap()
		default:
			return nil
		}
	}
}

// WriteHeader is that of http.ResponseWriter. The library refuses with a Connection of its own;
// net/http looks at the first one.
func (t *taker) WriteHeader(status int) {
	if h := t.Header(); status != http.StatusSwitchingProtocols && h.Get("Connection") == "Upgrade" {
		h["Connection"] = []string{"close", "Upgrade"}
	}
	t.ResponseWriter.WriteHeader(status)
}

// Hijack is that of http.Hijacker.
func (t *taker) Hijack() (c net.Conn, rw *bufio.ReadWriter, err error) {
	c, rw, err = t.by.Hijack()
	t.conn = c
	return c, rw, err
}

// WriteHeaderNow is for writers that keep a header back (gin's), which the library asks for it.
func (t *taker) WriteHeaderNow() {
	if w, ok := t.ResponseWriter.(interface{ WriteHeaderNow() }); ok {
		w.WriteHeaderNow()
	}
}

// peerOf is the address behind a request.
func (t *Transport) peerOf(r *http.Request) transport.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		peer = netip.AddrPort{}
	}
	peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
	trusted := func(a netip.Addr) bool {
		return slices.ContainsFunc(t.o.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	named := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for len(t.o.TrustedProxies) > 0 && len(named) > 0 && (!peer.IsValid() || trusted(peer.Addr())) {
		text := strings.TrimSpace(named[len(named)-1])
		named = named[:len(named)-1]
		a, err := netip.ParseAddr(text)
		if err != nil {
			break
		}
		peer = netip.AddrPortFrom(a.Unmap(), 0)
	}
	if !peer.IsValid() {
		return transport.UnixAddr(strings.TrimPrefix(r.RemoteAddr, "@"))
	}
	return transport.FromAddrPort(peer)
}

// Bearer makes an Options.Authorize of a check of tokens, those of requests with the header
// "Authorization: Bearer TOKEN" (RFC 6750); a request without one is refused. The context is the
// request's.
func Bearer(check func(ctx context.Context, token string) error) func(r *http.Request) error {
	return func(r *http.Request) error {
		kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if token = strings.TrimSpace(token); !strings.EqualFold(kind, "Bearer") || token == "" {
			return errors.New("no bearer token")
		}
		return check(r.Context(), token)
	}
}
