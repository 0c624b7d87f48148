package nodes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// What the zero values of Config's fields stand for.
const (
	DefaultHandshakeTimeout = 7 * time.Second  // OTP's net_setuptime
	DefaultMaxHandshakes    = 128              // at once, per node
	DefaultTickInterval     = 15 * time.Second // OTP's net_ticktime / net_tickintensity
	DefaultMaxFrame         = 128 << 20        // bytes
	DefaultMaxCalls         = 1024             // Go functions running for remote callers at once
	DefaultDrainTimeout     = 5 * time.Second  // for functions and handlers to finish
)

// missedTicks is how many tick intervals without a byte from the peer end a connection (OTP's net_tickintensity).
const missedTicks = 4

// Config says who a node is and how it talks. The zero value is a hidden node with a dynamic name on the short host name, the cookie
// of the cookie file, over TCP, found through the port mapper. It is copied by New.
type Config struct {
	// Name is the whole node name, alive@host, as dist.CheckOwnName has it: an alive part with a point, say, Erlang nodes refuse. Or give
	// Host and Alive.
	Name string
	// Host is the part of the name behind the "@"; empty is the host's short name.
	Host string
	// Alive is the part before the "@"; empty, with an empty Name, asks the first peer for a dynamic name. The node keeps that for its
	// life. Once their connection is gone the peer may give it to another node (a BEAM that was given its name becomes nonode@nohost
	// then): a program whose peer comes and goes makes a new Node when it has gone.
	Alive string
	// Cookie is the shared secret; empty reads $HOME/.erlang.cookie. Erlang compares the Latin-1 bytes of its atom: keep to ASCII.
	Cookie string
	// Cookies are those of single peers, by their names, in place of Cookie, whichever side connects: erlang:set_cookie(Node, Cookie). An
	// empty one is refused.
	Cookies map[string]string
	// Transport carries connections; nil is transport.TCP().
	Transport transport.Transport
	// Transports are further ones, of connections and listeners that are handed over to this node; they are found by their names, as
	// Transport and those of Also are. TCP and UNIX sockets need not be named. Of several with one name (over TLS, say, each with its own
	// keys) the order tells which is meant, that of Transport, Transports, Also: it has to be that of the process before, and what was over
	// one that is one too many here is ErrNoPlugin. What this node has opened over a transport that is none of its Config's goes on over
	// the first of that name; a listener does so only over TCP and UNIX sockets, or where there is no other of that name: else the node is
	// not movable.
	Transports []transport.Transport
	// Creation tells this life of the name from others; 0: the one that Publish is given, or a random one. Processes that share a name
	// share it too.
	Creation uint32
	// Worker tells processes that share a name and a creation apart: each makes its pids from a range of its own. Those between which
	// connections are moved one by one (Conn.Detach, Conn.Freeze) must differ in it: else a pid of the one is taken for another process of
	// the other.
	Worker uint16
	// Listen is where Start listens; nil is a free port of 127.0.0.1: a node is reached from its own machine only unless told otherwise.
	// Other nodes look for it at the address of its name's host: it has to be one of those that the node listens on.
	Listen transport.Addr
	// Also are further addresses where Start listens, each over its own Transport (nil: Config.Transport): TLS beside TCP while a cluster
	// changes over, say. Listen only is published: who connects to the others knows the port. A node that another process hands over
	// listens where it did there. Version5 is not looked at: whoever connects chooses.
	Also []Endpoint
	// Resolver finds peers by name, and publishes this node; nil is a *PortMapper with its defaults.
	Resolver Resolver
	// Visible makes peers count the node among nodes(); as a C node it is hidden. A visible node takes no part in global's
	// synchronisation: global:sync/0 of its peers waits for it.
	Visible bool
	// Flags are the distribution flags to announce; 0 is dist.FlagsDefault. FlagPublished follows Visible. New refuses flags that promise
	// what a node does not do: atom caches and fragments, and FlagNameMe, which follows an empty name.
	Flags dist.Flags

	// MaxHandshakes bounds the handshakes in progress that peers have started; one more ends one of the host that has the most of them: the
	// oldest that has been silent for a second, or has taken that long, or has said nothing yet.
	MaxHandshakes int
	// HandshakeTimeout bounds each handshake, connecting included.
	HandshakeTimeout time.Duration
	// TickInterval is the time without a message to the peer after which a tick goes out. A connection that four intervals long
	// brings nothing ends, as in OTP. It has to be that of the peers, net_ticktime / net_tickintensity (15 s there, too), or longer: with
	// a shorter one a peer that has nothing to say ticks too late, and its connection ends.
	TickInterval time.Duration
	// MaxFrame bounds the frames received, in bytes. A larger one ends its connection.
	MaxFrame int
	// QueueLimit is how many bytes may wait on a connection before senders do; 0 is transport.DefaultQueueLimit.
	QueueLimit int
	// MaxCalls bounds the Go functions that run for remote callers at once. A peer gets a place for one more as long as it has fewer than
	// are free, so that a peer whose calls hang takes half of them, the next such peer half of what that leaves. Calls that get none
	// wait in their order, and the connection is read meanwhile; when those of a peer hold 4 MiB its connection waits too, and when none
	// gets its turn for 2 s meanwhile further ones are refused: system_limit, as of a BEAM that has no more processes.
	MaxCalls int

	// Handover is called by Freeze once functions and handlers have come to rest, and gives what the application in the new process is to
	// have: see Inherited. It must be quick, for nothing is received meanwhile; it may stop goroutines of the application that use the
	// node. An error ends the freeze, and so does a panic. nil: nothing.
	Handover func(ctx context.Context) ([]byte, error)
	// Thawed is called when the node goes on here after all although Handover was called: it may start again what that has stopped. It
	// must not wait for the node's peers; Thaw waits for it. nil: nothing.
	Thawed func()
	// DrainTimeout is how long Freeze waits for running functions and handlers, and Conn.Freeze for answers that are owed to the peer. 0:
	// DefaultDrainTimeout.
	DrainTimeout time.Duration

	// Setup is called by Start once the node has its creation and before a peer gets in: the place to register what peers expect to
	// find. An error ends the start. nil: what is registered after Start may be missed by a peer that is quick. In a process that takes over
	// from another one the node's peers wait for it, and it has as long as handoff.Deadlines.Stage says: 3 s, a worker 4 s.
	Setup func(n *Node) error
	// CheckPeer may refuse a peer by its name, on both sides. It is asked before the peer has proved that it knows the cookie: until then the
	// name is a claim. A panic refuses the peer. nil allows whoever has the cookie.
	CheckPeer func(ctx context.Context, name string) error
	// HandshakeFailed hears of every handshake that a peer started and that failed; it must not wait. nil: only the log does.
	HandshakeFailed func(remote transport.Addr, err error)
	// Logger is told what happens; nil: nothing is logged.
	Logger *slog.Logger

	moveReached func(handoff.Point) // for tests: the points that a worker passes that goes over to another process
}

// complete copies cfg, fills in the defaults and checks it.
func (cfg Config) complete() (Config, error) {
	if cfg.Name == "" && cfg.Host == "" {
		host, err := os.Hostname()
		if err != nil {
			return cfg, fmt.Errorf("host name: %w; set Config.Host", err)
		}
		cfg.Host, _, _ = strings.Cut(host, ".")
	}
	switch {
	case cfg.Name != "" && (cfg.Alive != "" || cfg.Host != ""):
		return cfg, fmt.Errorf("Config.Name %q stands beside Host or Alive: give the one or the other", cfg.Name)
	case cfg.Name != "" && !strings.Contains(cfg.Name, "@"):
		return cfg, fmt.Errorf("%w %q: want alive@host", dist.ErrInvalidName, cfg.Name)
	case cfg.Name == "" && cfg.Alive != "":
		cfg.Name = cfg.Alive + "@" + cfg.Host
	}
	if cfg.Name != "" {
		if err := dist.CheckOwnName(cfg.Name); err != nil {
			return cfg, err
		}
		cfg.Alive, cfg.Host, _ = dist.SplitName(cfg.Name)
	} else if err := dist.CheckOwnHost(cfg.Host); err != nil {
		return cfg, err
	}
	if cfg.Cookie == "" {
		cookie, err := readCookie()
		if err != nil {
			return cfg, err
		}
		cfg.Cookie = cookie
	}
	cfg.Cookies = maps.Clone(cfg.Cookies)
	if strings.ContainsAny(cfg.Cookie, "\r\n") {
		return cfg, fmt.Errorf("Config.Cookie %w", errLineBreak)
	}
	for name, cookie := range cfg.Cookies {
		if err := dist.CheckName(name); err != nil {
			return cfg, fmt.Errorf("Config.Cookies: %w", err)
		}
		if cookie == "" {
			return cfg, fmt.Errorf("Config.Cookies has no cookie for %s", name)
		}
		if strings.ContainsAny(cookie, "\r\n") {
			return cfg, fmt.Errorf("Config.Cookies: that of %s %w", name, errLineBreak)
		}
	}
	if cfg.Transport == nil {
		cfg.Transport = transport.TCP()
	}
	cfg.Also, cfg.Transports = slices.Clone(cfg.Also), slices.Clone(cfg.Transports)
	for i := range cfg.Also {
		e := &cfg.Also[i]
		switch {
		case e.Addr == nil:
			return cfg, fmt.Errorf("Config.Also[%d] has no address", i)
		case e.Transport == nil:
			e.Transport = cfg.Transport
		default:
			cfg.Transports = append(cfg.Transports, e.Transport) // of what is handed over as well
		}
	}
	if cfg.Resolver == nil {
		cfg.Resolver = &PortMapper{}
	}
	if cfg.Flags == 0 {
		cfg.Flags = dist.FlagsDefault
	}
	if unserved := cfg.Flags & (dist.FlagAtomCache | dist.FlagHiddenAtomCache | dist.FlagDistHdrAtomCache | dist.FlagFragments |
		dist.FlagNameMe | dist.FlagAltactSig); unserved != 0 {
		return cfg, fmt.Errorf("Config.Flags announces what a node does not do: %v", unserved)
	}
	cfg.Flags &^= dist.FlagPublished
	if cfg.Visible {
		cfg.Flags |= dist.FlagPublished
	}
	if err := errors.Join(
		limit("Config.MaxHandshakes", &cfg.MaxHandshakes, DefaultMaxHandshakes),
		limit("Config.MaxFrame", &cfg.MaxFrame, DefaultMaxFrame),
		limit("Config.MaxCalls", &cfg.MaxCalls, DefaultMaxCalls),
		limit("Config.QueueLimit", &cfg.QueueLimit, transport.DefaultQueueLimit),
		limit("Config.HandshakeTimeout", &cfg.HandshakeTimeout, DefaultHandshakeTimeout),
		limit("Config.TickInterval", &cfg.TickInterval, DefaultTickInterval),
		limit("Config.DrainTimeout", &cfg.DrainTimeout, DefaultDrainTimeout),
	); err != nil {
		return cfg, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg, nil
}

// limit fills in the default of a field. A negative value may have been meant to be none, which there is not.
func limit[T int | time.Duration](field string, v *T, otherwise T) error {
	switch {
	case *v < 0:
		return fmt.Errorf("%s is %v: want more than 0, or 0 for %v", field, *v, otherwise)
	case *v == 0:
		*v = otherwise
	}
	return nil
}

// errLineBreak: a file has been read, and its line's end with it. The peer would only say that the cookie is another one.
var errLineBreak = errors.New("has a line break, which is no part of what a cookie file says: trim it")

// readCookie reads the cookie file as erl does: up to the end of its first line, and only where nobody else can read or write it.
func readCookie() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no cookie given, and no home directory to read .erlang.cookie from: %w", err)
	}
	path := filepath.Join(home, ".erlang.cookie")
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("no cookie given, and the cookie file cannot be read: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("no cookie given, and the cookie file cannot be read: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" {
		return "", fmt.Errorf("cookie file %s has mode %#o, and must be accessible by its owner only: chmod 400", path, mode)
	}
	cookie, _, _ := strings.Cut(string(b), "\n")
	cookie = strings.TrimRight(cookie, "\r")
	if cookie == "" {
		return "", fmt.Errorf("cookie file %s is empty", path)
	}
	return cookie, nil
}
