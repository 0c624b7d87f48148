package cnodequic

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

// ALPN is the application protocol of nodes, as it is negotiated in the TLS handshake.
const ALPN = "cnode/1"

// DefaultTickTime is OTP's net_ticktime.
const DefaultTickTime = 60 * time.Second

// Config says how connections are made. It is copied.
type Config struct {
	// Server is for connections that are accepted, Client for those that are made; nil: there are
	// none of that kind. Each side has to show a certificate and to verify the other's. They are
	// cloned: the protocol is ALPN, and there are no session tickets and no session cache. An empty
	// Client.ServerName is the host part of the peer's node name, or the address connected to.
	Server, Client *tls.Config
	// Checks are called in turn, on both sides, once the peer's node name is known:
	// tlstransport.NameInCertificate, HostInCertificate, AllowedNodes, or your own. An error refuses
	// the peer. Without any, a node that has a certificate may call itself by any name.
	Checks []tlstransport.PeerCheck
	// TickTime is after how long without a packet from the peer a connection has ended; that of the
	// other side counts if it is less. Choose four times nodes.Config.TickInterval, as that does
	// itself. 0: DefaultTickTime.
	TickTime time.Duration
	// MaxHandshakes bounds a listener's TLS handshakes in progress, of all its protocols together.
	// From a part of it on a client has to show that it receives packets at its address (RFC 9000,
	// section 8.1.2), which costs it a round trip. One more is refused (syscall.ECONNREFUSED), and so
	// is a host that has half of them. Choose it as nodes.Config.MaxHandshakes, which bounds what
	// comes after it. 0: nodes.DefaultMaxHandshakes.
	MaxHandshakes int
	// Socket is a UDP socket of the program's: the one listener, which takes only its address, and
	// all connections that are made use it. Its ConnContext is asked about clients that MaxHandshakes
	// lets in; its VerifySourceAddress, unless it is nil, says which of them have to show their
	// address. Its Conn should be one of Lossy. It stays the program's, to be closed after the node.
	// nil: a listener has a socket of its own, and so does each connection that is made.
	Socket *quic.Transport
	// PathMTUDiscovery searches each path for the longest packets that it carries (RFC 8899), up to
	// 1,452 bytes. When a path carries less from some time on, a tunnel that has taken its place say,
	// quic-go does not notice: all long packets are lost from then on, until the connection has ended
	// after TickTime. false: packets have 1,200 bytes, which every path of QUIC carries, or
	// QUIC.InitialPacketSize, and a large message is a fifth more of them.
	PathMTUDiscovery bool
	// Others are what else is served on listeners' sockets, by ALPN: {http3.NextProtoH3: …}.
	Others map[string]Other
	// QUIC has the options of quic-go: windows, a tracer. It is cloned, and its times, but for
	// HandshakeIdleTimeout, and Allow0RTT are those of this package; its DisablePathMTUDiscovery is
	// what PathMTUDiscovery says. Numbers of streams are for Others. nil: quic-go's defaults.
	QUIC *quic.Config
	// Logger gets, at level debug, why peers have failed in the TLS handshake, which Accept does not
	// tell. nil: nothing is logged.
	Logger *slog.Logger
}

// An Other is a protocol beside that of nodes.
type Other struct {
	// TLS is for its connections; NextProtos is set.
	TLS *tls.Config
	// Serve is called on a goroutine of its own, and returns when it has done with the connection:
	// the socket stays open until then.
	Serve func(c *quic.Conn)
}

// New makes the transport. It opens nothing. The error says what is wrong with cfg: neither Server
// nor Client, a side without a certificate, or one that does not verify the other's. A cfg with
// only one of the two is an error only when a connection of the other kind is made.
func New(cfg Config) (transport.Transport, error) {
	p, err := newPlugin(cfg)
	if err != nil {
		return nil, err
	}
	return transport.New(p.callbacks(), nil)
}

func newPlugin(cfg Config) (*plugin, error) {
	p := &plugin{
		checks: slices.Clone(cfg.Checks), socket: cfg.Socket, others: map[string]func(*quic.Conn){}, log: cfg.Logger,
		most: cmp.Or(cfg.MaxHandshakes, nodes.DefaultMaxHandshakes),
	}
	var err error
	switch {
	case cfg.Server == nil && cfg.Client == nil:
		err = errors.New("cnodequic: neither a Server's nor a Client's configuration")
	case cfg.TickTime < 0:
		err = fmt.Errorf("cnodequic: Config.TickTime is %v", cfg.TickTime)
	case cfg.MaxHandshakes < 0:
		err = fmt.Errorf("cnodequic: Config.MaxHandshakes is %d", cfg.MaxHandshakes)
	case cfg.Server != nil:
		p.server, err = serving(cfg.Server, cfg.Others)
	}
	if err == nil && cfg.Client != nil {
		p.client, err = securing(cfg.Client, checkClient)
	}
	if err != nil {
		return nil, err
	}
	for name, o := range cfg.Others {
		p.others[name] = o.Serve
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	base := &quic.Config{}
	if cfg.QUIC != nil {
		base = cfg.QUIC.Clone()
	}
	base.Allow0RTT = false
	base.DisablePathMTUDiscovery = !cfg.PathMTUDiscovery
	base.InitialPacketSize = cmp.Or(base.InitialPacketSize, shortest)
	base.MaxIdleTimeout = cmp.Or(cfg.TickTime, DefaultTickTime)
	base.KeepAlivePeriod = base.MaxIdleTimeout / 2
	p.made = base.Clone()
	p.made.MaxIncomingStreams, p.made.MaxIncomingUniStreams = -1, streams
	p.accepted = p.made
	if len(cfg.Others) > 0 {
		p.accepted = base
	}
	return p, nil
}

// shortest is how many bytes a packet can have on every path of QUIC (RFC 9000, section 14).
const shortest = 1200

// streams is how many streams each side opens.
const streams = 2

// A plugin is what all sockets of one transport share.
type plugin struct {
	server, client *tls.Config
	made, accepted *quic.Config // for connections of either kind
	checks         []tlstransport.PeerCheck
	socket         *quic.Transport
	others         map[string]func(*quic.Conn)
	log            *slog.Logger
	most           int        // handshakes in progress at a listener
	hearing        sync.Mutex // held while a listener is made, which changes fields of socket
}

// serving makes the configuration of a listener: that of nodes, and those of others for clients
// which do not offer to be a node.
func serving(base *tls.Config, others map[string]Other) (*tls.Config, error) {
	ours, err := securing(base, checkServer)
	if err != nil || len(others) == 0 {
		return ours, err
	}
	theirs := map[string]*tls.Config{}
	for name, o := range others {
		if name == ALPN || o.TLS == nil || o.Serve == nil {
			return nil, fmt.Errorf("cnodequic: Config.Others has no TLS or Serve for %q, or that is the protocol of nodes", name)
		}
		theirs[name] = o.TLS.Clone()
		theirs[name].NextProtos = []string{name}
	}
	all := ours.Clone()
	all.SessionTicketsDisabled = false // others' tickets are sealed with its keys
	all.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(hello.SupportedProtos, ALPN) {
			if ours.GetConfigForClient != nil {
				return ours.GetConfigForClient(hello)
			}
			return ours, nil
		}
		for _, name := range hello.SupportedProtos {
			if c := theirs[name]; c != nil {
				return c, nil
			}
		}
		return nil, nil // and the handshake fails, for there is no protocol in common
	}
	return all, nil
}

// securing clones and checks a configuration for connections of nodes.
func securing(base *tls.Config, check func(*tls.Config) error) (*tls.Config, error) {
	if err := check(base); err != nil {
		return nil, err
	}
	c := base.Clone()
	c.NextProtos = []string{ALPN}
	c.SessionTicketsDisabled, c.ClientSessionCache = true, nil
	if each := base.GetConfigForClient; each != nil {
		c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := each(hello)
			if chosen == nil || err != nil {
				return nil, err
			}
			chosen = chosen.Clone()
			chosen.GetConfigForClient = nil
			return securing(chosen, check)
		}
	}
	return c, nil
}

func checkServer(c *tls.Config) error {
	custom := c.VerifyConnection != nil || c.VerifyPeerCertificate != nil
	switch {
	case len(c.Certificates) == 0 && c.GetCertificate == nil && c.GetConfigForClient == nil:
		return errors.New("cnodequic: Config.Server has no certificate")
	case c.ClientAuth != tls.RequireAndVerifyClientCert && !(c.ClientAuth == tls.RequireAnyClientCert && custom):
		return fmt.Errorf("cnodequic: Config.Server does not verify clients: its ClientAuth is %v, not RequireAndVerifyClientCert", c.ClientAuth)
	}
	return checkVersion(c)
}

func checkClient(c *tls.Config) error {
	switch {
	case len(c.Certificates) == 0 && c.GetClientCertificate == nil:
		return errors.New("cnodequic: Config.Client has no certificate")
	case c.InsecureSkipVerify && c.VerifyConnection == nil && c.VerifyPeerCertificate == nil:
		return errors.New("cnodequic: Config.Client does not verify servers: InsecureSkipVerify")
	}
	return checkVersion(c)
}

func checkVersion(c *tls.Config) error {
	if c.MaxVersion != 0 && c.MaxVersion < tls.VersionTLS13 {
		return fmt.Errorf("cnodequic: MaxVersion is %s: QUIC has TLS 1.3", tls.VersionName(c.MaxVersion))
	}
	return nil
}
