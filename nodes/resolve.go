package nodes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/cnode-go/cnode/internal/host"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/nodes/internal/mapper"
	"github.com/cnode-go/cnode/transport"
)

// An Endpoint is where a node can be reached.
type Endpoint struct {
	Addr      transport.Addr      // where it listens
	Transport transport.Transport // nil: Config.Transport
	Version5  bool                // the node speaks only the old handshake
}

// A Resolver turns the name of a node into an address. It is used by many goroutines at once.
type Resolver interface {
	// Resolve finds the node called node, alive@host. It waits until ctx ends at most. Connect
	// returns its error.
	Resolve(ctx context.Context, node string) (Endpoint, error)
}

// A Publisher is a Resolver that also makes this node known, for Node.Publish.
type Publisher interface {
	// Publish makes p known, and waits for that until ctx ends at most. Node.Publish returns its
	// error.
	Publish(ctx context.Context, p Registration) (Publication, error)
}

// A Registration is what a Publisher makes known.
type Registration struct {
	Name   string         // alive@host
	Addr   transport.Addr // the address that the listener is bound to
	Hidden bool           // the opposite of Config.Visible
	Logger *slog.Logger   // never nil
}

// A Publication lasts until it is closed.
type Publication interface {
	// Creation is the creation of this incarnation of the name; 0: the publisher assigns none.
	Creation() uint32
	// Close takes the name back, unless another Publication has it by now: that of the process in
	// which the node goes on, say.
	Close() error
}

// ErrUnknownHost is wrapped when the host part of a node name has no address.
var ErrUnknownHost = host.ErrUnknown

// A PortMapper finds nodes through the Erlang port mapper of their hosts, and registers this node
// at its own host's. The registration outlives restarts of the port mapper. Nodes may share a
// PortMapper.
type PortMapper struct {
	// Client speaks to the port mapper. Its zero value follows ERL_EPMD_PORT.
	Client epmd.Client
	// Embed lets Publish run a port mapper inside this process if none listens, for as long as the
	// node is published. It listens at Client.Addr, which must then be IP:port. Without Client.Addr it
	// listens at the loopback addresses and those of ERL_EPMD_ADDRESS or, if that is not set, the
	// node's own.
	//
	// On a machine with Erlang nodes start epmd first, or set ERL_EPMD_ADDRESS=0.0.0.0,::. The Erlang
	// nodes use whichever port mapper runs, and could not be found from elsewhere.
	//
	// If the port mapper goes away later, this process runs one only once it has been gone for
	// EmbedAfter, and the log has a warning. So an epmd that is started anew finds its port free.
	Embed bool
	// EmbedAfter is how long, at least, the port mapper must have been gone. 0: 5 s.
	EmbedAfter time.Duration
}

// defaultEmbedAfter is longer than a service takes to start again.
const defaultEmbedAfter = 5 * time.Second

// Resolve looks the host up and asks its port mapper. It waits for both until ctx ends, and for the
// port mapper no longer than Client.Timeout. The error is dist.ErrInvalidName if node is no node
// name, ErrUnknownHost if the host has no address; else an *epmd.Error: epmd.ErrNoPortMapper,
// epmd.ErrNotRegistered, epmd.ErrTimeout and what else epmd.Client.Resolve returns.
func (p *PortMapper) Resolve(ctx context.Context, node string) (Endpoint, error) {
	alive, ip, err := find(ctx, node)
	if err != nil {
		return Endpoint{}, err
	}
	info, err := p.Client.Resolve(ctx, ip.String(), alive)
	if err != nil {
		return Endpoint{}, err
	}
	version, _ := info.Version()
	return Endpoint{Addr: transport.FromAddrPort(netip.AddrPortFrom(ip, info.Port)), Version5: version == dist.Version5}, nil
}

// find takes a node's name apart, and finds an address of its host.
func find(ctx context.Context, node string) (alive string, ip netip.Addr, err error) {
	alive, at, err := dist.SplitName(node)
	if err == nil {
		ip, err = host.Lookup(ctx, at)
	}
	return alive, ip, err
}

// Publish registers at this host's port mapper. It waits for the answer until ctx ends,
// Client.Timeout at most; then, if who.Logger has warnings on, it checks whether others can reach
// the address (CheckReachable), which is logged but fails nothing. The error is dist.ErrInvalidName
// if who.Name is no node name, syscall.EINVAL for an address that is not one of TCP; else an
// *epmd.Error: epmd.ErrNoPortMapper, epmd.ErrNameTaken and what else epmd.Client.Keep returns; with
// Embed also why no port mapper can listen here.
func (p *PortMapper) Publish(ctx context.Context, who Registration) (Publication, error) {
	alive, _, err := dist.SplitName(who.Name)
	if err != nil {
		return nil, err
	}
	at, err := transport.AddrPort(who.Addr)
	if err != nil {
		return nil, fmt.Errorf("the port mapper holds TCP ports only; give another Resolver for %v: %w", who.Addr, err)
	}
	reg := epmd.Registration{Name: alive, Port: at.Port(), Type: epmd.TypeHidden}
	if !who.Hidden {
		reg.Type = epmd.TypeNormal
	}
	pub, err := p.mapper(who).Keep(ctx, reg)
	if err != nil {
		return nil, err
	}
	if who.Logger != nil && who.Logger.Enabled(ctx, slog.LevelWarn) {
		if err := CheckReachable(ctx, who.Name, who.Addr); err != nil {
			who.Logger.Warn(err.Error(), "name", who.Name)
		}
	}
	return pub, nil
}

// mapper is the port mapper as the node uses it.
func (p *PortMapper) mapper(who Registration) *mapper.Mapper {
	return &mapper.Mapper{
		Client: &p.Client, Embed: p.Embed, EmbedAfter: cmp.Or(p.EmbedAfter, defaultEmbedAfter), Node: who.Addr, Logger: who.Logger,
	}
}

// stage stages a registration that another process has frozen. It owns the descriptors from the
// call on: if it fails it closes them.
func (p *PortMapper) stage(who Registration, state []byte, descriptors []int) (*mapper.Staged, error) {
	return p.mapper(who).Stage(state, descriptors)
}

// A stagingPublisher is a Publisher that can go on with a registration from another process: a
// PortMapper, or what has one embedded.
type stagingPublisher interface {
	stage(who Registration, state []byte, descriptors []int) (*mapper.Staged, error)
}

// Static is a Resolver with a fixed table of node names.
type Static map[string]Endpoint

// Resolve looks the name up in the table; ErrUnknownNode if it is not there. It does not wait.
func (s Static) Resolve(_ context.Context, node string) (Endpoint, error) {
	e, ok := s[node]
	if !ok {
		return Endpoint{}, fmt.Errorf("node %q: %w", node, ErrUnknownNode)
	}
	return e, nil
}

// ErrUnknownNode is wrapped when a Resolver without a port mapper does not know a name.
var ErrUnknownNode = errors.New("the name is not in the resolver's table")

// FixedPort is a Resolver for clusters in which every node listens on the same port of its own
// address, without a port mapper (erl -erl_epmd_port).
type FixedPort uint16

// Resolve looks the host up, and waits for that until ctx ends. The error is dist.ErrInvalidName if
// node is no node name, ErrUnknownHost if the host has no address.
func (p FixedPort) Resolve(ctx context.Context, node string) (Endpoint, error) {
	_, ip, err := find(ctx, node)
	if err != nil {
		return Endpoint{}, err
	}
	return Endpoint{Addr: transport.FromAddrPort(netip.AddrPortFrom(ip, uint16(p)))}, nil
}

// SocketDir is a Resolver for nodes on one machine: a directory in which each node listens on a
// UNIX socket of its name, over transport.Unix. No other field of Config need be set for that. For
// a plug-in of your own over UNIX sockets use Static, with Endpoint.Transport.
type SocketDir string

// Addr is the address of the node's socket. The error is dist.ErrInvalidName if node is no node
// name, or no file name; syscall.ENAMETOOLONG if the path is too long for a UNIX socket.
func (d SocketDir) Addr(node string) (transport.Addr, error) {
	return socketIn(string(d), node, node)
}

// socketIn is the address of a node's socket of that name in a directory.
func socketIn(dir, node, name string) (transport.Addr, error) {
	if err := dist.CheckName(node); err != nil {
		return nil, err
	}
	if filepath.Base(node) != node {
		return nil, fmt.Errorf("%w %q: not a file name", dist.ErrInvalidName, node)
	}
	return transport.ParseAddr("unix:" + filepath.Join(dir, name))
}

// Resolve gives the path of the node's socket. A node that has the directory as its Config.Resolver
// connects by its own UNIX transport: Config.Transport or one of Config.Transports, if one of these
// is a UNIX transport, or is TLS over one, else one that it keeps for all its UNIX connections.
// Resolve does not wait, nor look whether the socket is there; its errors are those of Addr.
func (d SocketDir) Resolve(_ context.Context, node string) (Endpoint, error) {
	return socketAt(d.Addr(node))
}

// AliveDir is SocketDir for directories that Erlang nodes are in, too, with OTP's example
// erl_uds_dist (-proto_dist erl_uds): a node's socket has the name of the node up to the @. So
// there are no two nodes of the same name before the @ in one directory. See
// docs/operate/unix-sockets.md.
type AliveDir string

// Addr is the address of the node's socket. Its errors are those of SocketDir.Addr.
func (d AliveDir) Addr(node string) (transport.Addr, error) {
	alive, _, _ := strings.Cut(node, "@")
	return socketIn(string(d), node, alive)
}

// Resolve gives the path of the node's socket, as SocketDir.Resolve does.
func (d AliveDir) Resolve(_ context.Context, node string) (Endpoint, error) {
	return socketAt(d.Addr(node))
}

func socketAt(addr transport.Addr, err error) (Endpoint, error) {
	if err != nil {
		return Endpoint{}, err
	}
	return Endpoint{Addr: addr, Transport: transport.Unix()}, nil
}

// A socketDir is a SocketDir or an AliveDir.
type socketDir interface {
	Resolver
	Addr(node string) (transport.Addr, error)
}

// socketDirOf is the directory that a Resolver is; nil: it is none.
func socketDirOf(r Resolver) socketDir {
	switch d := r.(type) {
	case SocketDir:
		return d
	case AliveDir:
		return d
	}
	return nil
}

// A socketsOf is a directory of sockets as a node uses it: all connections are made over one
// transport, whose bounds apply to them together.
type socketsOf struct {
	socketDir
	n *Node
}

func (d socketsOf) Resolve(ctx context.Context, node string) (Endpoint, error) {
	at, err := d.socketDir.Resolve(ctx, node)
	if err == nil {
		at.Transport = d.n.carriers.OverUnix()
	}
	return at, err
}
