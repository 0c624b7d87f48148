package nodes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/carriers"
	"github.com/cnode-go/cnode/nodes/internal/cookie"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/lazymap"
	"github.com/cnode-go/cnode/transport"
)

// The defaults of Config's fields, for which zero stands.
const (
	DefaultHandshakeTimeout = 7 * time.Second     // OTP's net_setuptime
	DefaultMaxHandshakes    = 128                 // at once, per node
	defaultTickInterval     = 15 * time.Second    // OTP's net_ticktime / net_tickintensity
	DefaultMaxFrame         = 128 << 20           // bytes
	defaultDrainTimeout     = inside.DrainTimeout // for functions and handlers to finish
)

// Config says who a node is and how it communicates. The zero value is a hidden node with a dynamic
// name on the short host name, with the cookie of the cookie file, over TCP, found through the port
// mapper. New copies it, and refuses a negative limit or time.
type Config struct {
	// Name is the whole node name, alive@host. Erlang nodes refuse some names, such as an alive part
	// with a dot; dist.CheckOwnName says which. You can set Host and Alive instead.
	Name string
	// Host is the part of the name after the "@". Empty: the machine's short name.
	Host string
	// Alive is the part of the name before the "@". If Alive and Name are empty, the node asks its
	// first peer for a dynamic name, and keeps that name for its life. Once the connection to that
	// peer is gone, the peer may give the name to another node. (A BEAM with a dynamic name then
	// becomes nonode@nohost.) So if your peer comes and goes, make a new Node when the peer has gone.
	Alive string
	// Cookie is the secret that all nodes of the cluster share. Empty: the node reads
	// $HOME/.erlang.cookie. If there is none, it reads erlang/.erlang.cookie in the directory of
	// os.UserConfigDir. Keep to ASCII, since Erlang compares the Latin-1 bytes of its atom.
	Cookie string
	// Cookies has the cookies for particular peers, by their names. They take the place of Cookie,
	// whichever side connects, as with erlang:set_cookie(Node, Cookie). New refuses an empty one.
	// Node.SetCookie changes them later.
	Cookies map[string]string
	// Transport carries connections. nil: transport.TCP(), or transport.Unix() if Resolver is a
	// SocketDir or an AliveDir.
	Transport transport.Transport
	// Transports are additional transports, for connections and listeners that another process hands
	// over to this node. The node looks a transport up by its name, in Transport, Transports and Also.
	// TCP and UNIX sockets need not be listed.
	//
	// Several transports may have one name, such as two of TLS with keys of their own. Their order in
	// Transport, Transports and Also tells them apart, so it must be the same as in the old process.
	// If the transport of a connection or listener is missing here, the error is ErrNoPlugin.
	//
	// This node may open a connection over a transport that is not in its Config. Such a connection
	// goes on over the first transport of that name. A listener does so only over TCP and UNIX
	// sockets, or if no other transport has that name. Otherwise the node is not movable.
	Transports []transport.Transport
	// Creation distinguishes this incarnation of the name from others. Processes that share a name
	// share the creation, too. 0: the one that Publish gets from the Resolver, or a random one.
	Creation uint32
	// Worker distinguishes processes that share a name and a creation. Each makes its pids from a
	// range of its own. Give processes between which single connections move (Conn.Detach,
	// Conn.Freeze) different ones. Otherwise a pid that one of them has made is taken for a process of
	// the other.
	Worker uint16
	// Listen is where Start listens. Other nodes look for this node at the address of its name's host,
	// so the node must listen on that address. nil: a free port of 127.0.0.1, which only nodes of the
	// same machine can reach. With a SocketDir, or an AliveDir, as Resolver, over UNIX sockets, nil is
	// the socket that the directory has for the name.
	Listen transport.Addr
	// Also are additional addresses where Start listens, each over its own Transport (nil:
	// Config.Transport). Use them for TLS beside TCP while a cluster migrates. Only Listen is
	// published: peers that use the others must know the port. A node that another process hands over
	// listens where it did there. Version5 is ignored, since the connecting side chooses.
	Also []Endpoint
	// Backlog is how many connections may wait at each listener until the node accepts them. It is the
	// backlog of ei_listen and of listen(2). The node accepts at once unless it is frozen or short of
	// descriptors. The operating system drops or refuses what comes beyond the backlog. A listener
	// that is taken over keeps the backlog that it was opened with. 0: the system's largest.
	Backlog int
	// Resolver finds peers by name, and publishes this node. nil: a *PortMapper with its defaults.
	Resolver Resolver
	// Visible makes peers list the node in nodes(). By default a C-node is hidden. A visible node
	// takes part in global's synchronisation if the program has package nodes/global do so. Otherwise
	// global:sync/0 on its peers waits for it, and the log has a warning when the first of them
	// connects. An Erlang node that gives this node a dynamic name takes it for hidden all the same,
	// over that one connection.
	Visible bool
	// Flags are the distribution flags to announce. 0: dist.FlagsDefault. FlagPublished follows
	// Visible. New refuses the flags of obsolete atom caches, and FlagNameMe, which follows an empty
	// name. If your program does not start the node, and answers neither monitors nor spawn requests,
	// announce dist.FlagsLibei. Otherwise an rpc:call to it waits for ever.
	Flags dist.Flags
	// SendWhole sends every message in one frame, whatever its size. Other messages then wait behind a
	// large one. Set it for peers that announce FlagFragments for the form that it gives to frames,
	// and read no fragments. tcp_filter_dist is such a peer, and so is what stands on it
	// (web_socket_dist).
	SendWhole bool

	// MaxHandshakes bounds the handshakes in progress that peers have started. When one more comes,
	// the node ends an older one. It chooses among those that have lasted a second, or among all if
	// none has. It takes the host with the most of them, and there the oldest whose peer has said
	// nothing yet, or else the oldest. 0: DefaultMaxHandshakes, 128.
	MaxHandshakes int
	// HandshakeTimeout bounds each handshake, connecting included. One that takes longer is
	// ErrHandshakeTimeout. 0: DefaultHandshakeTimeout, 7 s.
	HandshakeTimeout time.Duration
	// TickInterval is the time without a message to the peer after which a tick goes out. If nothing
	// comes over a connection for four intervals, it ends, as in OTP. 0: OTP's 15 s.
	//
	// TickInterval must not be shorter than the peers' net_ticktime / net_tickintensity, which is 15 s
	// by default. Otherwise a peer that has nothing to say ticks too late, and its connection ends. A
	// peer with a shorter net_ticktime lives by answers: to its ticks, and to messages that it sends
	// while nothing else goes to it.
	TickInterval time.Duration
	// MaxFrame bounds the frames received, in bytes, and the messages that come in several. A larger
	// one ends its connection. 0: DefaultMaxFrame, 128 MiB.
	MaxFrame int
	// QueueLimit is how many bytes may wait on a connection before senders have to wait. 0: as many as
	// a BEAM's distribution buffer holds (erl +zdbbl).
	QueueLimit int
	// MaxCalls bounds the Go functions that run for remote callers at once. 0: as many as a quarter of
	// the memory holds, 1,024 at least, and 262,144 at most, the processes of a BEAM.
	//
	// A function does not count while it waits for the answer to a call of its own, or in
	// Mailbox.Receive, with the context that it was given. A function whose caller has given up does
	// not count any more. A peer gets another place only while it has fewer places than are free. So a
	// peer whose calls hang takes half of the places, and the next such peer half of the rest, also if
	// it connects again meanwhile.
	//
	// Calls without a place wait in order, and the node goes on to read the connection. A call whose
	// caller has given up by its turn is not made. Casts, and processes that nobody asks for a result,
	// run all the same. A call that comes while another one has waited for a second is a warning in
	// the log, once per connection. See also Stats.
	MaxCalls int
	// OverflowLimit bounds, in bytes, what peers have sent and this node cannot deal with yet. The
	// node keeps reading from them, for what waits may depend on what comes next. See
	// docs/how-to/slow-receivers.md.
	//
	// It holds once for messages in mailboxes that are over their own limits, once for the requests of
	// functions that wait for a place, or run, and once for messages of which a part is still to come.
	// A peer gets more only while it has less than is left. Beyond that, requests are refused:
	// system_limit, as by a BEAM that has no more processes. For messages see FullBlock. A peer with
	// too many incomplete messages loses its connection. The log and Stats tell all this.
	//
	// 0: a quarter of the memory that this process may use, by the machine, its control group and
	// GOMEMLIMIT. For messages and requests it is 512 MB each at most, so that a slow function leaves
	// memory to other programs.
	OverflowLimit int

	// Handover returns what your program in the new process is to get: see Inherited. Freeze calls it
	// once functions and handlers have finished. nil: nothing.
	//
	// Handover must be quick, since nothing is received meanwhile. It may stop goroutines of yours
	// that use the node. Their calls may be waiting for the end of the freeze by then, so end the
	// contexts of these calls, and wait for no answer of a peer. Do not call what waits for the end of
	// the freeze itself (Listener.Close, NewMailbox, Unpublish, …). Do not outlast ctx, which Freeze
	// does not cut short. An error ends the freeze, and so does a panic.
	Handover func(ctx context.Context) ([]byte, error)
	// Thawed is called when Handover was called but the node goes on here after all. It may restart
	// what Handover has stopped. It must not wait for the node's peers, and Thaw waits for it. nil:
	// nothing.
	Thawed func()
	// DrainTimeout is how long Freeze waits for running functions and handlers, and Conn.Freeze for
	// answers that are owed to the peer. 0: 5 s.
	DrainTimeout time.Duration
	// DrainGrace is for how long the node serves on in Shutdown once nobody finds it any more. A peer
	// that has found it before may still be about to call, and a load balancer or a probe has to
	// notice. Choose a part of the time that Shutdown's ctx has. 0: a moment, if the node had to leave
	// anything (see Drain). Negative: not at all.
	DrainGrace time.Duration

	// Setup is the place to register what peers expect to find. Start calls it once the node has its
	// creation and before a peer gets in. An error ends the start. nil: a quick peer may miss what is
	// registered after Start. In a process that takes over from another one the node's peers wait for
	// Setup. It has as long as handoff.Deadlines.Stage says: 3 s, a worker 4 s.
	Setup func(n *Node) error
	// CheckPeer may refuse a peer by its name, on both sides. It is asked before the peer has proved
	// that it knows the cookie, so the name is only a claim. The handshake waits for it: it must
	// return when ctx ends. A panic refuses the peer. nil: whoever has the cookie is allowed.
	CheckPeer func(ctx context.Context, name string) error
	// Rules say what peers may ask for once they are connected. The first Rule that matches decides,
	// and what none matches is allowed. See docs/operate/permissions.md.
	//
	// They hold for what comes from other nodes, whichever way, and not for this node's own processes.
	// Answers to this node's calls, and net_adm:ping, need no Rule. The process of a function may be
	// reached by the peer that has called, or spawned, it. Each refusal counts in Stats, and the first
	// to a connection is a warning in the log. A node that moves to another process has the Rules of
	// the Config there. Give the workers of a node the same Rules. Without Start they are not looked
	// at.
	Rules []Rule
	// Absent is what nil pointers are, and an ei.Optional that is not there, in what this node answers
	// and sends: undefined, or nil as Elixir has it. "": undefined, and nil in answers to a caller
	// that can be told to be Elixir. See FuncOptions.
	Absent ei.Atom
	// HandshakeFailed is called for every handshake that a peer started and that failed. It must not
	// wait. nil: they are only logged. The hook of that name (Node.Measure) hears of this node's own,
	// too.
	HandshakeFailed func(remote transport.Addr, err error)
	// ProfileLabels gives the goroutines of Servers, Handlers and Funcs labels for the profiles of
	// runtime/pprof: node, process (the pid), function ("shop:quote") and peer, as far as there are
	// such. It costs an allocation or two a call.
	ProfileLabels bool
	// Logger is told what happens. nil: nothing is logged. Each line has the attribute node, this
	// node's name, once it has one, so do not add it yourself. The logger's Handler runs on goroutines
	// of the node, and with the node's locks held at times. It must not wait, and must not use the
	// node.
	Logger *slog.Logger
}

// complete copies cfg, fills in the defaults and checks it.
func (cfg Config) complete() (Config, error) {
	for _, part := range []func() error{cfg.completeName, cfg.completeCookies, cfg.completeTransports, cfg.completeFlags} {
		if err := part(); err != nil {
			return cfg, err
		}
	}
	if cfg.Resolver == nil {
		cfg.Resolver = &PortMapper{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	err := errors.Join(
		checkAbsent("Config.Absent", cfg.Absent),
		limit("Config.MaxHandshakes", &cfg.MaxHandshakes, DefaultMaxHandshakes),
		limit("Config.MaxFrame", &cfg.MaxFrame, DefaultMaxFrame),
		notNegative("Config.Backlog", cfg.Backlog),
		notNegative("Config.MaxCalls", cfg.MaxCalls),
		notNegative("Config.OverflowLimit", cfg.OverflowLimit),
		limit("Config.QueueLimit", &cfg.QueueLimit, queue.DefaultLimit),
		limit("Config.HandshakeTimeout", &cfg.HandshakeTimeout, DefaultHandshakeTimeout),
		limit("Config.TickInterval", &cfg.TickInterval, defaultTickInterval),
		limit("Config.DrainTimeout", &cfg.DrainTimeout, defaultDrainTimeout),
	)
	return cfg, err
}

// completeName makes Name from Alive and Host, or these two from Name; without Name and Alive the
// name is dynamic.
func (cfg *Config) completeName() error {
	switch {
	case cfg.Name != "" && (cfg.Alive != "" || cfg.Host != ""):
		return fmt.Errorf("Config.Name is %q, and Host or Alive is set too: set either Name or the other two", cfg.Name)
	case cfg.Name != "" && !strings.Contains(cfg.Name, "@"):
		return fmt.Errorf("%w %q: want alive@host", dist.ErrInvalidName, cfg.Name)
	case cfg.Name == "" && cfg.Host == "":
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("host name: %w; set Config.Host", err)
		}
		cfg.Host, _, _ = strings.Cut(host, ".")
	}
	if cfg.Name == "" && cfg.Alive == "" {
		return dist.CheckOwnHost(cfg.Host)
	}
	if cfg.Name == "" {
		cfg.Name = cfg.Alive + "@" + cfg.Host
	}
	if err := dist.CheckOwnName(cfg.Name); err != nil {
		return err
	}
	cfg.Alive, cfg.Host, _ = dist.SplitName(cfg.Name)
	return nil
}

// completeCookies reads the cookie file if no cookie is given, and checks all cookies.
func (cfg *Config) completeCookies() (err error) {
	if cfg.Cookie == "" {
		if cfg.Cookie, err = cookie.Read(); err != nil {
			return err
		}
	}
	if err := cookie.Check(cfg.Cookie); err != nil {
		return fmt.Errorf("Config.Cookie %w", err)
	}
	cfg.Cookies = maps.Clone(cfg.Cookies)
	for name, secret := range cfg.Cookies {
		if err := checkPeerCookie(name, secret); err != nil {
			return fmt.Errorf("Config.Cookies: %w", err)
		}
	}
	return nil
}

func checkPeerCookie(peer, secret string) error {
	if err := dist.CheckName(peer); err != nil {
		return err
	}
	if err := cookie.Check(secret); err != nil {
		return fmt.Errorf("that of %s %w", peer, err)
	}
	return nil
}

// completeTransports fills in the defaults, and adds the transports of Also to Transports, where
// those of handed-over connections are found.
func (cfg *Config) completeTransports() error {
	cfg.completeTransport()
	if dir := socketDirOf(cfg.Resolver); dir != nil && cfg.Listen == nil && cfg.Name != "" && carriers.IsOverUnix(cfg.Transport) {
		var err error
		if cfg.Listen, err = dir.Addr(cfg.Name); err != nil {
			return fmt.Errorf("Config.Resolver: %w", err)
		}
	}
	cfg.Also, cfg.Transports = slices.Clone(cfg.Also), slices.Clone(cfg.Transports)
	for i := range cfg.Also {
		e := &cfg.Also[i]
		switch {
		case e.Addr == nil:
			return fmt.Errorf("Config.Also[%d] has no address", i)
		case e.Transport == nil:
			e.Transport = cfg.Transport
		default:
			cfg.Transports = append(cfg.Transports, e.Transport)
		}
	}
	return nil
}

// completeTransport fills in the default of Transport.
func (cfg *Config) completeTransport() {
	switch {
	case cfg.Transport != nil:
	case socketDirOf(cfg.Resolver) != nil:
		cfg.Transport = transport.Unix()
	default:
		cfg.Transport = transport.TCP()
	}
}

// flagsObsolete are DFLAG_ATOM_CACHE and DFLAG_HIDDEN_ATOM_CACHE, which no living node announces.
const flagsObsolete dist.Flags = 1<<1 | 1<<6

// completeFlags fills in the default, and refuses flags that promise what a node does not do.
func (cfg *Config) completeFlags() error {
	if cfg.Flags == 0 {
		cfg.Flags = dist.FlagsDefault
	}
	if unserved := cfg.Flags & (flagsObsolete | dist.FlagNameMe); unserved != 0 {
		return fmt.Errorf("Config.Flags announces what a node does not do: %v", unserved)
	}
	cfg.Flags &^= dist.FlagPublished
	if cfg.Visible {
		cfg.Flags |= dist.FlagPublished
	}
	return nil
}

// limit fills in the default of a field. A negative value is refused: it may have been meant as "no
// limit", which does not exist.
func limit[T int | time.Duration](field string, v *T, otherwise T) error {
	switch {
	case *v < 0:
		return fmt.Errorf("%s is %v: want more than 0, or 0 for %v", field, *v, otherwise)
	case *v == 0:
		*v = otherwise
	}
	return nil
}

// notNegative checks a limit whose default is found when it is first needed: to ask the system how
// much memory there is takes as long as a connection.
func notNegative(field string, v int) error {
	if v < 0 {
		return fmt.Errorf("%s is %d: want more than 0, or 0 for the default", field, v)
	}
	return nil
}

// SetCookie changes the cookie that the node shares with a peer, as in Config.Cookies; or, if peer
// is "" or the node's own name, Config.Cookie. An empty cookie takes the peer's out again, so that
// Config.Cookie is valid for it; the node's own must not be empty. Handshakes that begin from now
// on go by it; connections stay. A node that moves to another process has the cookies of the Config
// there, and each process of a node with workers has its own. It is erlang:set_cookie/1 and
// set_cookie/2.
func (n *Node) SetCookie(peer, secret string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	own := peer == "" || peer == n.name
	var err error
	switch {
	case own:
		if err = cookie.Check(secret); err == nil {
			n.cfg.Cookie = secret
			cookie.Judge(secret, n.log)
		}
	case secret == "":
		err = dist.CheckName(peer)
	default:
		err = checkPeerCookie(peer, secret)
	}
	if err != nil {
		if own {
			err = fmt.Errorf("the cookie %w", err)
		}
		return wrap("set cookie of", peer, err)
	}
	if !own {
		n.cfg.Cookies = maps.Clone(n.cfg.Cookies) // handshakes in progress have the old map
		delete(n.cfg.Cookies, peer)
		if secret != "" {
			lazymap.Put(&n.cfg.Cookies, peer, secret)
		}
	}
	return nil
}

// dynamicName makes the part before the "@" of the name for a peer that asks for one.
func dynamicName() string {
	return strings.ToUpper(strconv.FormatUint(rand.Uint64()|1<<63, 36))
}

func checkAbsent(where string, a ei.Atom) error {
	if a != "" && a != "nil" && a != "undefined" {
		return fmt.Errorf("%s is %q: want nil or undefined", where, string(a))
	}
	return nil
}
