package tlstransport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// DefaultHandshakeTimeout is a little less than what a node gives a whole distribution handshake, so that the error names TLS.
const DefaultHandshakeTimeout = 6 * time.Second

// Config says how sessions are made. It is copied; nil functions and zero values mean what each field says.
type Config struct {
	// Server is for connections that are accepted, Client for those that are made; nil: there are none of that kind. Both are cloned for
	// each session, with the changes that package documentation lists under "Sessions". An empty ServerName is the host part of the
	// peer's node name, or the address connected to.
	Server, Client *tls.Config
	Options
}

// Options are what Config and FromOptFile have in common.
type Options struct {
	// HandshakeTimeout bounds each TLS handshake, from the moment the TCP connection is up; 0 is DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
	// Checks are asked in turn, on both sides, once the peer's node name is known: [AllowedNodes], [NameInCertificate], or your own. An
	// error refuses the peer. OTP has no such checks: there, any node with a certificate may call itself by any name.
	Checks []PeerCheck
	// Plain keeps sessions with crypto/tls from beginning to end, for those who trust only its record layer. Nothing can be handed to
	// another process then.
	Plain bool
	// KeyUpdateRecords and KeyUpdateBytes are how much of what we send one key of TLS 1.3 protects, before the next one; 0 is
	// DefaultKeyUpdate records, and any number of bytes.
	KeyUpdateRecords, KeyUpdateBytes uint64
	// Logger is told what an operator may want to know; nil: nothing is logged. No key or secret ever is.
	Logger *slog.Logger
}

// A source gives the current configuration of a role.
type source interface {
	config(r role) (*tls.Config, error)
}

// fixed are configurations that do not change.
type fixed struct{ server, client *tls.Config }

func (f fixed) config(r role) (*tls.Config, error) {
	if r == client {
		return f.client, nil
	}
	return f.server, nil
}

// A plugin is what all sockets of one transport share.
type plugin struct {
	source  source
	timeout time.Duration
	checks  []PeerCheck
	log     *slog.Logger
	tcp     *transport.Callbacks[int]
	has     map[role]bool
	plain   bool

	updateRecords, updateBytes uint64

	buffers sync.Pool // *[]byte: large ones of outboxes
}

// New makes the TLS transport of tls.Configs.
func New(cfg Config) (transport.Transport, error) {
	cb, err := Callbacks(cfg)
	if err != nil {
		return nil, err
	}
	return transport.New(cb, nil)
}

// Callbacks returns the plug-in itself, for those who wrap it with callbacks of their own.
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
	return callbacks(f, map[role]bool{server: f.server != nil, client: f.client != nil}, cfg.Options)
}

func callbacks(src source, has map[role]bool, o Options) (transport.Callbacks[*Socket], error) {
	var none transport.Callbacks[*Socket]
	switch {
	case !has[server] && !has[client]:
		return none, errors.New("tlstransport: neither a server's nor a client's configuration")
	case o.HandshakeTimeout < 0:
		return none, fmt.Errorf("tlstransport: Options.HandshakeTimeout is %v", o.HandshakeTimeout)
	}
	p := &plugin{source: src, timeout: o.HandshakeTimeout, checks: append([]PeerCheck(nil), o.Checks...), log: o.Logger, tcp: plainTCP(), has: has,
		plain: o.Plain, updateRecords: o.KeyUpdateRecords, updateBytes: o.KeyUpdateBytes}
	if p.updateRecords == 0 || p.updateRecords > DefaultKeyUpdate {
		p.updateRecords = DefaultKeyUpdate
	}
	if p.updateBytes == 0 {
		p.updateBytes = math.MaxUint64
	}
	if p.timeout == 0 {
		p.timeout = DefaultHandshakeTimeout
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	return p.callbacks(), nil
}

func (p *plugin) callbacks() transport.Callbacks[*Socket] {
	cb := transport.Callbacks[*Socket]{
		Flags: transport.FullImpl,
		Socket: func(_ any, addr transport.Addr) (*Socket, error) {
			w, err := newWire(p.tcp, addr)
			if err != nil {
				return nil, err
			}
			return newSocket(p, w), nil
		},
		Close: (*Socket).close,
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
			n, err := s.writev(s.vector, size(v), after(tmo))
			clear(s.vector)
			return int64(n), err
		},
		Pending:                   (*Socket).pending,
		HandshakePacketHeaderSize: func(*Socket) (int, error) { return 4, nil },
		ConnectHandshakeComplete:  (*Socket).complete,
		AcceptHandshakeComplete:   (*Socket).complete,
		GetFD:                     func(s *Socket) (int, error) { return s.wire.fd() },
		CloseWrite:                (*Socket).closeWrite,
		LocalAddr:                 func(s *Socket) (transport.Addr, error) { return s.wire.localAddr() },
		CheckPeer:                 (*Socket).checkPeer,
		Interrupt:                 (*Socket).interrupt,
		Release:                   (*Socket).release,
	}
	if canMove && !p.plain {
		cb.Export = (*Socket).export
		cb.Import = func(_ any, fd int, state []byte) (*Socket, error) { return p.adopt(fd, state) }
	}
	return cb
}

var (
	errNoServer = errors.New("no configuration for connections that are accepted")
	errNoClient = errors.New("no configuration for connections that are made")
)

// complete is called when the distribution handshake is over.
func (s *Socket) complete() error {
	s.completed = true
	return s.wire.keepAlive()
}
