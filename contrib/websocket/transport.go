// Package cnodews carries the Erlang distribution over WebSockets: a node lives at a path of an
// HTTP server that is there already, behind its TLS, its reverse proxy and its tokens, and needs no
// port and no port mapper of its own.
//
//	ws := cnodews.New(nil)
//	http.Handle("/erlang", ws)
//	n, err := nodes.New(nodes.Config{Name: "shop@example.org", Cookie: "secret", Transport: ws, Resolver: nodes.Static{}})
//
// and at the other end
//
//	n, err := nodes.New(nodes.Config{Name: "till@branch", Cookie: "secret", Transport: cnodews.New(nil),
//		Resolver: nodes.Static{"shop@example.org": {Addr: cnodews.URL("wss://example.org/erlang")}}})
//
// # On the wire
//
// Between nodes of this package a WebSocket (subprotocol "cnode-bytes") carries the bytes of the
// distribution as over TCP, in binary messages that begin and end anywhere; an empty message ends a
// direction. Without the subprotocol, as asked for by Options.Packets, each binary message is a
// packet of the handshake, and then a frame, without a length, and a tick is an empty message: so
// does web_socket_dist for the BEAM, and so can JavaScript. A handler takes both, one beside the
// other.
//
// web_socket_dist reads frames with headers of no atoms, and no fragments: to such a node set
//
//	Flags: dist.FlagsDefault &^ dist.FlagDistHdrAtomCache, SendWhole: true
//
// Pings are answered and never sent: the distribution has ticks, one each Config.TickInterval (15
// s), which is less than what proxies take for idle (60 s, mostly). A peer that sends a ping, and
// does not read for some seconds, so that the answer cannot go out, is taken for dead
// (syscall.ETIMEDOUT). Nothing is compressed.
//
// # What differs from TCP
//
// A write is over when the message is in this package's hands, 128 KiB or one packet of any size at
// most, and goes out in the background; Close goes on sending for some seconds. There is no
// descriptor, so a connection cannot move to another process. The addresses of peers are those of
// their requests: behind a proxy its own, unless Options.TrustedProxies lists it. The host of a
// node's name says nothing about who it is: that is for Options.Authorize, Options.CheckPeer and
// the cookie.
//
// # Strangers
//
// A request that is refused ends its connection of HTTP/1, and a peer that the node has refused is
// gone soon after that, whether or not it closes its side; Options.MaxHandshakes bounds how many
// there are. A client that has not asked yet is the HTTP server's affair: set its
// ReadHeaderTimeout, and its IdleTimeout.
package cnodews

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coder/websocket"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// Subprotocol is that of WebSockets that carry bytes; those without one carry packets.
const Subprotocol = "cnode-bytes"

// A URL is the address of a node: ws://host:port/path, or wss. A user and a password in it are sent
// (RFC 7617), and so is a query; logs, errors and pages show neither. Config.Listen may be the URL
// by which others reach the handler, for a Resolver that publishes it, and may be left out: the
// node listens at the handler, and no port is opened.
type URL string

// Network returns "websocket".
func (URL) Network() string { return "websocket" }

// String is the URL, with xxxxx in place of a user, a password and a query, which may be tokens.
func (u URL) String() string {
	parsed, err := url.Parse(string(u))
	if err != nil {
		return "an invalid URL"
	}
	shown := url.URL{Scheme: parsed.Scheme, Host: parsed.Host, Path: parsed.Path, RawPath: parsed.RawPath}
	if parsed.User != nil {
		shown.User = url.User(hidden)
	}
	if parsed.RawQuery != "" {
		shown.RawQuery = hidden
	}
	return shown.String()
}

// LogValue is String, for handlers that would log a string type as it is.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// hidden is in place of what is not shown.
const hidden = "xxxxx"

var (
	users   = regexp.MustCompile(`://[^\s"/?#]*@`)
	queries = regexp.MustCompile(`\?[^\s"]+`)
)

// hide takes what may be a token out of a text about u, or about where a redirect has led.
func (u URL) hide(text string) string {
	if parsed, err := url.Parse(string(u)); err == nil && parsed.RawQuery != "" {
		quoted := strconv.Quote(parsed.RawQuery)
		text = strings.NewReplacer(parsed.RawQuery, hidden, quoted[1:len(quoted)-1], hidden).Replace(text)
	}
	return queries.ReplaceAllString(users.ReplaceAllString(text, "://"+hidden+"@"), "?"+hidden)
}

// A hushed is an error whose text has been through hide. What has the URL is not in its chain.
type hushed struct {
	text string
	err  error
}

func (h *hushed) Error() string { return h.text }
func (h *hushed) Unwrap() error { return h.err }

func (u URL) hush(err error) error {
	h := &hushed{u.hide(err.Error()), err}
	if whole := new(url.Error); errors.As(err, &whole) {
		h.err = whole.Err
	}
	return h
}

// check refuses what is no URL of a WebSocket.
func (u URL) check() error {
	parsed, err := url.Parse(string(u))
	if err != nil {
		return fmt.Errorf("%v: %w", u, syscall.EINVAL) // its text may have a password
	}
	if (parsed.Scheme != "ws" && parsed.Scheme != "wss") || parsed.Host == "" {
		return fmt.Errorf("%v is not ws://host/path, nor wss: %w", u, syscall.EINVAL)
	}
	return nil
}

// Options of New. nil, and the zero Options, are the defaults. What is called must not wait longer
// than the handshake may take.
type Options struct {
	// Authorize decides on a request before anything else is done with it: an error refuses it, with
	// status 401 and the error's text. nil: whoever knows the cookie may come. A connection outlives
	// the token with which it was made. See Bearer.
	Authorize func(r *http.Request) error
	// CheckPeer is asked whether the peer behind a request may call itself node: by the request's TLS
	// state, say, or a header of a proxy's. The cookies are compared later, so strangers get here. An
	// error ends the handshake: the peer's is dist.ErrNotAllowed. The request's context ends with the
	// connection. nil: any name will do.
	CheckPeer func(r *http.Request, node string) error
	// Origins are the hosts whose pages may connect, patterns as of path.Match, besides the handler's
	// own. Programs send no Origin, and may connect in any case.
	Origins []string
	// TrustedProxies are those whose X-Forwarded-For is believed: the peer is the last address there
	// that is not one of theirs. A request without an address of its own, from a UNIX socket, is
	// taken for one of theirs if there are any.
	TrustedProxies []netip.Prefix

	// Client makes the requests; nil: one with the proxy of the environment (HTTPS_PROXY, NO_PROXY).
	// Its Timeout counts, too. A proxy is asked for a tunnel (CONNECT) to a wss only; a request to a
	// ws goes to the proxy as others do, and few proxies pass an upgrade on.
	Client *http.Client
	// Header gives the headers of a request to url, a token, say; called for each connection. An error
	// is that of the connection. nil: none.
	Header func(ctx context.Context, url string) (http.Header, error)
	// Packets connects to nodes that take packets: see the package's doc.
	Packets bool

	// MaxHandshakes is that of Config: while there are more connections of peers that have not proven
	// who they are, those that have been refused are cut off, and not closed in good order. 0:
	// nodes.DefaultMaxHandshakes.
	MaxHandshakes int
	// MaxFrame bounds a message, in bytes; choose it as Config.MaxFrame, and no larger. A packet that
	// is longer ends the connection, with an error at either end that wraps syscall.EMSGSIZE and says
	// the limit. Where messages carry bytes, and so parts of frames, and several, the limit is 128 KiB
	// at least, and it is Config.MaxFrame that ends the connection, as over TCP: the error is that of
	// the end which has refused the frame. 0: nodes.DefaultMaxFrame.
	MaxFrame int
}

// A Transport connects to URLs, and is the handler of requests from others to the one node that
// listens. It is safe for concurrent use.
type Transport struct {
	transport.Transport
	o Options

	mu        sync.Mutex
	listener  *listener // nil: nobody listens
	strangers strangers
}

// New makes a Transport. o may be nil.
func New(o *Options) *Transport {
	t := &Transport{}
	if o != nil {
		t.o = *o
	}
	if t.o.MaxFrame <= 0 {
		t.o.MaxFrame = nodes.DefaultMaxFrame
	}
	if t.o.MaxHandshakes <= 0 {
		t.o.MaxHandshakes = nodes.DefaultMaxHandshakes
	}
	t.strangers.most = t.o.MaxHandshakes
	if t.o.Client == nil {
		t.o.Client = &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	}
	t.Transport, _ = transport.New(t.callbacks(), nil) // no field is missing
	return t
}

func (t *Transport) callbacks() transport.Callbacks[*socket] {
	return transport.Callbacks[*socket]{
		Name:    "websocket",
		Flags:   transport.FullImpl | transport.Direct,
		Socket:  func(any, transport.Addr) (*socket, error) { return newSocket(context.Background()), nil },
		Listen:  t.listen,
		Accept:  (*socket).accept,
		Connect: t.connect,
		Read:    (*socket).read,
		Write: func(s *socket, p []byte, tmo time.Duration) (int, error) {
			n, err := s.write([][]byte{p}, tmo)
			return int(n), err
		},
		Writev: (*socket).write,
		HandshakePacketHeaderSize: func(s *socket) (int, error) {
			if s.packets {
				return 0, nil
			}
			return 2, nil
		},
		FrameHeaderSize: func(s *socket) (int, error) {
			if s.packets {
				return 0, nil
			}
			return 4, nil
		},
		AcceptHandshakeComplete: func(s *socket) error { s.among.lose(s); return nil },
		GetFD:                   func(*socket) (int, error) { return -1, errors.ErrUnsupported },
		LocalAddr: func(s *socket) (transport.Addr, error) {
			if s.local == nil {
				return nil, syscall.ENOTCONN
			}
			return s.local, nil
		},
		CheckPeer: func(s *socket, node string) error {
			if t.o.CheckPeer == nil || s.request == nil {
				return nil
			}
			return t.o.CheckPeer(s.request, node)
		},
		Pending:    (*socket).pending,
		CloseWrite: (*socket).closeWrite,
		Interrupt:  (*socket).interrupt,
		Close:      (*socket).close,
	}
}

// begin makes a socket of a WebSocket.
func (t *Transport) begin(s *socket, ws *websocket.Conn) {
	s.ws, s.packets, s.limit = ws, !carriesBytes(ws), int64(t.o.MaxFrame)
	if !s.packets { // a message is what was written at once there
		s.limit = max(s.limit, window)
	}
	ws.SetReadLimit(-1) // the library would not wait until the other end has heard of it
	go s.receive()
}

// carriesBytes tells by the subprotocol, whose case does not matter to the library.
func carriesBytes(ws *websocket.Conn) bool { return strings.EqualFold(ws.Subprotocol(), Subprotocol) }
