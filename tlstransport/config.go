package tlstransport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// defaultHandshakeTimeout is a little less than what a node gives a whole distribution handshake,
// so that the error names TLS.
const defaultHandshakeTimeout = 6 * time.Second

// Config says how sessions are made. It is copied.
type Config struct {
	// Server is for connections that are accepted, Client for those that are made; nil: there are
	// none of that kind. Both are cloned for each session, with the changes that the package
	// documentation lists under "Sessions". An empty ServerName is the host part of the peer's node
	// name, or the address connected to.
	Server, Client *tls.Config
	Options
}

// Options are the options that Config and FromOptFile have in common.
type Options struct {
	// HandshakeTimeout bounds each TLS handshake, from when the connection below is up; 0 is
	// a little less than what a node gives the whole handshake.
	HandshakeTimeout time.Duration
	// Checks are called in turn, on both sides, once the peer's node name is known: [AllowedNodes],
	// [NameInCertificate], [HostInCertificate], or your own. An error refuses the peer. OTP has no
	// such checks: there, any node with a certificate may call itself by any name.
	Checks []PeerCheck
	// Plain keeps sessions with crypto/tls from beginning to end, for users who trust only its
	// record layer. Sessions can then not be handed to another process. Programs that must use
	// cryptography as approved by FIPS 140-3 need Plain: with GODEBUG=fips140=on the records of
	// this package use AES-GCM outside the module's mode for TLS, which is not approved. With
	// fips140=only, Plain is set automatically, and logged.
	Plain bool
	// Transport carries the sessions; nil is TCP. Any transport that carries a stream of bytes will
	// do: with [transport.Unix] nodes speak TLS over UNIX sockets. Sessions can move if what carries
	// them can, and exports no state of its own.
	Transport transport.Transport
	// Polling is how long a reader of Transport naps in a one-way flow, and looks for the rest of
	// something large, before it sleeps: see transport.WithPolling. 0 leaves Transport as it is, less
	// is none.
	Polling time.Duration
	// Logger gets messages for an operator, such as that certificates are not verified; nil:
	// nothing is logged. Keys and secrets are never logged.
	Logger *slog.Logger

	// how many records and bytes of what we send one key of TLS 1.3 protects, for tests: 0 is as many
	// records as AES-GCM allows (RFC 8446, section 5.5), and key_update_at of an option file
	keyUpdateRecords, keyUpdateBytes uint64
}

// below is the transport that carries the sessions.
func (o *Options) below() transport.Transport {
	tr := o.Transport
	if tr == nil {
		tr = transport.TCP()
	}
	if o.Polling == 0 {
		return tr
	}
	return transport.WithPolling(tr, o.Polling)
}

// A source gives the current configuration of a role.
type source interface {
	// config is for one handshake; host is what a server's certificate must be for.
	config(r role, host string) (*tls.Config, error)
	// verifies reports whether the source verifies certificates itself, which crypto/tls does not
	// know.
	verifies(r role) bool
}

// fixed are configurations that do not change.
type fixed struct{ server, client *tls.Config }

func (f fixed) config(r role, host string) (*tls.Config, error) {
	if r == server {
		return f.server, nil
	}
	if f.client.ServerName == "" {
		c := f.client.Clone()
		c.ServerName = host
		return c, nil
	}
	return f.client, nil
}

func (f fixed) verifies(role) bool { return false }

// A plugin is what all sockets of one transport share.
type plugin struct {
	source  source
	timeout time.Duration
	checks  []PeerCheck
	log     *slog.Logger
	below   transport.Transport
	has     map[role]bool
	plain   bool
	invalid validity

	updateRecords uint64
	updateBytes   [3]uint64 // by role

	buffers sync.Pool // *[]byte: the large buffers of outboxes
}

// New makes the TLS transport from tls.Configs. It opens nothing. The error says what is wrong with
// cfg: neither Server nor Client, a Server without a certificate, a MaxVersion below TLS 1.2, a
// negative HandshakeTimeout. A cfg with only one of the two is an error only when a connection of
// the other kind is made.
func New(cfg Config) (transport.Transport, error) {
	cb, err := Callbacks(cfg)
	if err != nil {
		return nil, err
	}
	return transport.New(cb, nil)
}

// Callbacks returns the plug-in itself, to be wrapped with other callbacks. Its errors are those of
// New.
func Callbacks(cfg Config) (transport.Callbacks[*Socket], error) {
	var none transport.Callbacks[*Socket]
	f := fixed{}
	if cfg.Server != nil {
		f.server = cfg.Server.Clone()
		if len(f.server.Certificates) == 0 && f.server.GetCertificate == nil && f.server.GetConfigForClient == nil {
			return none, errors.New("tlstransport: Config.Server has no certificate")
		}
	}
	if cfg.Client != nil {
		f.client = cfg.Client.Clone()
	}
	for name, c := range map[string]*tls.Config{"Server": f.server, "Client": f.client} {
		if c != nil && c.MaxVersion != 0 && c.MaxVersion < tls.VersionTLS12 {
			return none, fmt.Errorf("tlstransport: Config.%s.MaxVersion is %s: TLS 1.2 and 1.3 are spoken here", name, tls.VersionName(c.MaxVersion))
		}
	}
	return callbacks(f, map[role]bool{server: f.server != nil, client: f.client != nil}, cfg.Options)
}

func callbacks(src source, has map[role]bool, o Options) (transport.Callbacks[*Socket], error) {
	cb, _, err := build(src, has, o)
	return cb, err
}

func build(src source, has map[role]bool, o Options) (cb transport.Callbacks[*Socket], p *plugin, err error) {
	switch {
	case !has[server] && !has[client]:
		return cb, nil, errors.New("tlstransport: neither a server's nor a client's configuration")
	case o.HandshakeTimeout < 0:
		return cb, nil, fmt.Errorf("tlstransport: Options.HandshakeTimeout is %v", o.HandshakeTimeout)
	}
	p = &plugin{
		source: src, timeout: o.HandshakeTimeout, checks: slices.Clone(o.Checks), log: o.logger(), below: o.below(), has: has,
		plain: o.Plain, updateRecords: o.keyUpdateRecords,
	}
	if p.timeout == 0 {
		p.timeout = defaultHandshakeTimeout
	}
	if p.updateRecords == 0 || p.updateRecords > defaultKeyUpdate {
		p.updateRecords = defaultKeyUpdate
	}
	if _, err := aesGCM(make([]byte, 16)); err != nil && !p.plain { // GODEBUG=fips140=only
		p.plain = true
		p.log.Warn("no TLS session can move to another process: all stay with crypto/tls, as with Options.Plain", "reason", err)
	}
	for r := range p.updateBytes {
		if p.updateBytes[r] = o.keyUpdateBytes; o.keyUpdateBytes == 0 {
			p.updateBytes[r] = math.MaxUint64
		}
	}
	for _, r := range []role{server, client} {
		if !has[r] {
			continue
		}
		if c, err := src.config(r, ""); err == nil {
			p.tellInvalid(c, time.Now())
		}
	}
	return p.callbacks(), p, nil
}

func (o *Options) logger() *slog.Logger {
	if o.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Logger
}

func (p *plugin) callbacks() transport.Callbacks[*Socket] {
	cb := transport.Callbacks[*Socket]{
		Flags:  transport.FullImpl | transport.Direct,
		Socket: func(any, transport.Addr) (*Socket, error) { return newSocket(p), nil },
		Close:  (*Socket).close,
		Listen: func(s *Socket, addr transport.Addr, backlog int) (transport.Addr, error) {
			if !p.has[server] {
				return nil, errNoServer
			}
			return s.listen(addr, backlog)
		},
		Accept: (*Socket).accept,
		Connect: func(s *Socket, addr transport.Addr, tmo time.Duration) error {
			if !p.has[client] {
				return errNoClient
			}
			return s.connect(addr, tmo)
		},
		Read:  (*Socket).read,
		Write: (*Socket).write,
		Writev: func(s *Socket, v [][]byte, tmo time.Duration) (int64, error) {
			s.vector = append(s.vector[:0], v...) // v stays the caller's
			n, err := s.writev(s.vector, size(v), tmo)
			clear(s.vector)
			return int64(n), err
		},
		Pending:                   (*Socket).pending,
		HandshakePacketHeaderSize: func(*Socket) (int, error) { return 4, nil },
		ConnectHandshakeComplete:  (*Socket).complete,
		AcceptHandshakeComplete:   (*Socket).complete,
		GetFD:                     (*Socket).descriptor,
		CloseWrite:                (*Socket).closeWrite,
		LocalAddr:                 func(s *Socket) (transport.Addr, error) { return s.localAddr(), nil },
		CheckPeer:                 (*Socket).checkPeer,
		Interrupt:                 (*Socket).interrupt,
		Release:                   (*Socket).release,
	}
	if p.below.Movable() && !p.plain {
		cb.Export = (*Socket).export
		cb.Import = func(_ any, fd int, state []byte) (*Socket, error) {
			s := newSocket(p)
			if err := s.adopt(fd, state); err != nil {
				return nil, err
			}
			return s, nil
		}
	}
	if name := p.below.Name(); name != "tcp" { // two of one node have to be told apart
		cb.Name = "TLS over " + name
	}
	return cb
}

var (
	errNoServer = errors.New("no configuration for connections that are accepted: no Config.Server, or no {server,[…]} in the option file")
	errNoClient = errors.New("no configuration for connections that are made: no Config.Client, or no {client,[…]} in the option file")
)

// complete is called when the distribution handshake is over.
func (s *Socket) complete() error {
	s.completed.Store(true)
	return bare(s.below.HandshakeComplete(context.Background(), s.role == client))
}
