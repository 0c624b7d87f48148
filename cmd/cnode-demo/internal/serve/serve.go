package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/mapper"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/move"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/steps"
	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/cmd/internal/config"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/nodes/upgrade"
	"github.com/cnode-go/cnode/nodes/workers"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/service"
	"github.com/spf13/cobra"
)

const (
	// shutdownLimit bounds the shutdown of serve: what still runs after it is cut off.
	shutdownLimit = 5 * time.Second
)

// A server is what serve reads from its command line.
type server struct {
	*config.Options
	virtual    config.Virtual
	polling    config.Polling
	also       also
	takeover   bool
	workers    workerFlags
	publishing publishing
	operated   operated
	group      string // the process group of the peer; "": none
}

func Command(o *config.Options) *cobra.Command {
	s := &server{Options: o}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node that Erlang nodes can ping, call, message, monitor and link",
		Long: `Run a node until SIGTERM, SIGINT or SIGHUP (exit 0; once it has been upgraded, SIGHUP is ignored),
and print "ready NAME PORT" once it can be reached; with --transport unix the path of its socket replaces the port.
The name is cnode@127.0.0.1 unless --name says otherwise. It answers

  net_adm:ping(Node)
  rpc:call(Node, cnode, echo, [T])                T
  rpc:call(Node, cnode, pid, [])                  its process id in the operating system; with workers, a worker's
  gen_server:call({peer, Node}, T)                {ok, T}
  {peer, Node} ! {echo, From, T}                  sends T to From
  {peer, Node} ! {sink, From, Last, Bin}          counts, per From; sends {count, N} to From when Last is true, and starts again
  {peer, Node} ! {source, From, N, B}             sends B to From N times
  {peer, Node} ! {publish, T, M}                  with --pubsub: broadcasts M on the topic T

The process peer can be monitored and linked; rpc:call(Node, erlang, whereis, [peer]) returns its pid. With --pg GROUP it is a member of the
process group GROUP, an atom, of the scope pg: pg:get_members(GROUP) on the other nodes. With workers the peer of each worker is.

--trace FILE records everything that connections carry, for Wireshark. A FILE that cannot be opened ends serve at once (exit 1). If the
recording fails later, the node keeps serving, and serve reports the failure when it ends (exit 1). --fault SEED is for testing how other
nodes cope with a bad line: bytes arrive late and in odd pieces, but none is changed or lost. A node with --trace or --fault cannot be
upgraded.

--takeover takes over the node of that name from another process of the same user: connections, mailboxes and the name stay as they are,
other nodes do not notice, and the other process ends. If that fails before this process has everything, the other one keeps serving. The
cookie is not handed over: with another --cookie connections stay, but nodes that connect from then on need the new one. An address at which
the other process does not listen is refused. See also cnode-demo upgrade.

Under systemd, serve reports when the node is ready, and uses the sockets that systemd has opened (LISTEN_FDS): the first takes the place
of --listen, the others are for --also, in the same order and at the same addresses. If there are fewer, serve opens the rest itself. An
extra socket, or one of another kind or at another address, ends serve before it is ready (exit 1). WatchdogSec= is honoured.

--workers N has N processes serve the connections of this one node; the process that you start only accepts them, and replaces a worker
that ends. Such a node is upgraded like any other. --takeover of such a node needs --workers as well, with at least as many as the node has.
Over TLS such a node refuses sessions that cannot move: those of TLS 1.2 with suites other than AES-GCM and ChaCha20-Poly1305.

--also TRANSPORT:ADDRESS, which may be repeated, makes the node listen at another address as well, over the same transport or another one:
while a cluster migrates from TCP to TLS, nodes of both kinds can connect. "also TRANSPORT:ADDRESS" is printed for each, after "ready". The
port mapper knows only one port per name, so the other nodes must be told this one: erl -erl_epmd_port PORT, and on this machine also
-dist_listen false, because erl would otherwise listen on PORT itself. The node connects to other nodes over --transport.

--log-format json makes each line on the standard error JSON, but for the last one of a serve that fails, which says why.

--http ADDR serves a page about the node: who is connected, processes, calls, what was refused. --operator lets the cluster's operators look
at it with their tools: Observer, LiveDashboard, i/1, and a console by erl -remsh or iex --remsh.

--polling DURATION is how long a reader naps where messages come one way, and looks for the rest of a large one: more bytes at a time.`,
		Example: `  cnode-demo serve --name cnode@127.0.0.1 --cookie secret
  cnode-demo serve --name cnode@myhost --listen 0.0.0.0:0 --epmd auto
  cnode-demo serve --name cnode@127.0.0.1 --transport unix --listen unix:/run/nodes/
  cnode-demo serve --name cnode@127.0.0.1 --transport tls --tls-optfile /tmp/tls/ssl_dist.conf
  cnode-demo serve --name cnode@127.0.0.1 --also tls:127.0.0.1:4371 --tls-optfile /tmp/tls/ssl_dist.conf
  cnode-demo serve --name cnode@127.0.0.1 --workers 4 --dispatch least
  cnode-demo serve --name cnode@127.0.0.1 --http 127.0.0.1:8080 --operator
  cnode-demo serve --name cnode@127.0.0.1 --listen 127.0.0.1:4371 --trace serve.pcap
  tshark -r serve.pcap -d tcp.port==4371,erldp       what went over it`,
		Args: cli.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.serve(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	s.virtual.AddTo(cmd.Flags())
	s.polling.AddTo(cmd.Flags())
	s.also.addTo(cmd.Flags())
	cmd.Flags().BoolVar(&s.takeover, "takeover", false, "take over the running node of that name from its process")
	s.workers.addTo(cmd.Flags())
	s.publishing.addTo(cmd.Flags())
	s.operated.addTo(cmd.Flags())
	cmd.Flags().StringVar(&s.group, "pg", "",
		"the process peer is a member of the process group `GROUP`, an atom, in the scope pg: pg:get_members(GROUP)")
	return cmd
}

// serve runs a node until ctx ends.
func (o *server) serve(ctx context.Context, out, errOut io.Writer) error {
	o.LogsWarnings()
	o.AlsoTLS, o.TLSPolling = o.also.overTLS(), o.polling.OverTLS()
	if err := errors.Join(o.Check(), o.polling.Check(), o.workers.check(&o.virtual), o.publishing.check(),
		o.operated.check(&o.workers)); err != nil {
		return err
	}
	cli.SurvivePipe()
	errOut = o.Remarks(errOut)
	switch {
	case workers.IsWorker():
		return serveWorker(ctx, o, out, errOut)
	case o.workers.number > 0:
		return serveFront(ctx, o, out, errOut)
	}
	return o.serveAlone(ctx, out, errOut)
}

// serveAlone runs the node in this process.
func (o *server) serveAlone(ctx context.Context, out, errOut io.Writer) (err error) {
	cfg, err := o.servedConfig(ctx, errOut)
	if err != nil {
		return err
	}
	k := keepPeer(ctx, &cfg, o, out)
	record, err := o.virtual.Over(&cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, record.Finish()) }()
	u := o.upgrader(cfg)
	n, err := u.Start(ctx)
	if err != nil {
		return o.explained(cfg.Name, err)
	}
	if err := o.operated.serve(u, n, cfg.Logger, k.scope, o.takeover); err != nil {
		return errors.Join(err, n.Close())
	}
	// connections that another process has handed over do not depend on it
	if err := record.Begin(); err != nil {
		fmt.Fprintf(errOut, "serve: %v; the node serves, and is not recorded\n", err)
	}
	o.announce(ctx, n.Name(), n.Listeners(), out, errOut)
	return cutOff(run(ctx, u, func(ctx context.Context) error {
		return k.supervise(ctx, n, n.Done(), firstDone(n.Listeners()[1:]))
	}, func(limit context.Context) error { return k.endThen(limit, n.Shutdown) }), "", shutdownLimit, errOut)
}

// run runs u until ctx ends, or supervise, which goes on beside it, fails. shutdown ends the node,
// unless it is another process's.
func run(ctx context.Context, u *upgrade.Upgrader, supervise, shutdown func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	trouble := make(chan error, 1)
	go func() {
		err := supervise(ctx)
		trouble <- err
		if err != nil {
			stop()
		}
	}()
	u.Shutdown = func(limit context.Context) error {
		stop()
		return errors.Join(<-trouble, shutdown(limit))
	}
	return u.Run(ctx)
}

// errTraced is why a node is not handed over.
var errTraced = errors.New("serve writes a --trace, which cannot go on in another process")

// errProcessOne: all other processes would end with this one.
var errProcessOne = errors.New("serve is process 1, whose end is the end of its container: replace the container, or " +
	"start serve with cnode-demo stay")

// upgrader is what makes the node run: where it listens by the flags, or by the service manager, or
// in place of another process.
func (o *server) upgrader(cfg nodes.Config) *upgrade.Upgrader {
	if isComing() {
		cli.SurviveTerminal()
	}
	if o.Listen == "" && os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) {
		cfg.Listen = nil // a default address gives way to the socket of the service manager
	}
	steps.Reached("serve: signals are heard")
	return &upgrade.Upgrader{
		Config: cfg, Control: service.ControlPath(cfg.Name), TakeOver: o.takeover, Reached: steps.Reached,
		EndOn: cli.Ends(), UpgradeOn: []os.Signal{}, ShutdownTimeout: shutdownLimit,
		Allow: func() error {
			switch {
			case os.Getpid() == 1:
				return errProcessOne
			case o.virtual.Trace != "":
				return errTraced
			}
			return nil
		},
	}
}

// isComing tells whether the process that has started this one is to hand the node over.
func isComing() bool { return os.Getenv(service.Variable) != "" }

// explained says why a node has not begun in the words of the command line.
func (o *server) explained(name string, err error) error {
	var e *nodes.ActivationError
	switch {
	case errors.As(err, &e):
		flag := "--transport " + o.Transport
		if e.Also >= 0 {
			flag = "--also " + o.also.given[e.Also]
		}
		return fmt.Errorf("%w: %s, for %s: %w", nodes.ErrActivation, e.Socket(), flag, e.Err)
	case errors.Is(err, service.ErrNobody):
		return fmt.Errorf("--takeover: %w", move.Explain(name, err))
	}
	return err
}

// cutOff prints a line about a shutdown that took too long, which is not an error. who names the
// process, with a space, if it is not the main one.
func cutOff(err error, who string, limit time.Duration, errOut io.Writer) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	fmt.Fprintf(errOut, "serve: %scut off what was still running after %v\n", who, limit)
	return nil
}

// expose makes the functions of serve callable: cnode:echo/1, cnode:pid/0, and erlang:whereis/1, by
// which others learn the pid to link with.
func expose(n *nodes.Node) {
	n.Expose("cnode", "echo", nodes.FuncOf(func(t ei.Term) ei.Term { return t }))
	n.Expose("cnode", "pid", nodes.FuncOf(os.Getpid))
	n.Expose("erlang", "whereis", nodes.FuncOf(func(ctx context.Context, name ei.Atom) (ei.Term, error) {
		pid, err := n.Lookup(ctx, string(name))
		if errors.Is(err, nodes.ErrNoProc) {
			return ei.Atom("undefined"), nil
		}
		return pid, err
	}))
}

// serveMapper gives the resolver that --epmd asks for, for a node that is published.
func (o *server) serveMapper(ctx context.Context) (nodes.Resolver, error) {
	switch o.Epmd {
	case "auto":
		return &nodes.PortMapper{Embed: true}, nil
	case "embedded":
		addrs, err := epmd.ListenAddrs(os.Getenv)
		if err != nil {
			return nil, err
		}
		if !o.takeover && !isComing() { // else the port mapper comes with the node
			if err := mapper.FreeFor(ctx, addrs...); err != nil {
				return nil, err
			}
		}
		return &nodes.PortMapper{Embed: true}, nil // it is part of the node, and moves with it
	}
	return config.NewFixedMapper(epmd.Client{Addr: o.Epmd})
}

// socketDir makes the directory that --listen names with a final /, but none above it: a path with
// a mistake in it leaves nothing behind.
func socketDir(listen, dir string) error {
	dir = filepath.Clean(dir) // a file with a final / is no directory either
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return fmt.Errorf("--listen %s: %s is no directory", listen, dir)
	} else if err == nil {
		return nil
	}
	if !strings.HasSuffix(listen, "/") {
		return fmt.Errorf("--listen %s: there is no directory %s: make it first (mkdir -p)", listen, dir)
	}
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--listen %s: there is no directory %s in which to make it: make that first (mkdir -p)", listen,
			filepath.Dir(dir))
	}
	if err != nil && !errors.Is(err, fs.ErrExist) { // another serve may have made it
		return fmt.Errorf("--listen %s: %w", listen, err)
	}
	return nil
}

// servedConfig is the configuration of the node that serve runs, or of its front or worker.
func (o *server) servedConfig(ctx context.Context, errOut io.Writer) (cfg nodes.Config, err error) {
	name, err := o.FullName(config.DefaultName, config.ShortHost)
	if err != nil {
		return cfg, err
	}
	defer func() {
		if err == nil {
			o.polling.Over(&cfg)
		}
	}()
	cfg = nodes.Config{Name: name, Cookie: o.Cookie, Logger: o.Logger(errOut), Transport: transport.TCP()}
	if err := o.also.over(&cfg, func() (transport.Transport, error) { return o.TLSTransport(cfg.Logger, errOut) }); err != nil {
		return cfg, err
	}
	if o.IsUnix() {
		cfg.Transport = transport.Unix()
		var dir string
		dir, cfg.Listen, err = o.Socket(name)
		if err == nil {
			err = socketDir(o.Listen, dir)
		}
		cfg.Resolver = o.Sockets(dir)
		return cfg, err
	}
	if cfg.Listen, err = o.InetListen(); err != nil {
		return cfg, err
	}
	if err := o.OverTLS(&cfg, errOut); err != nil {
		return cfg, err
	}
	cfg.Resolver, err = o.serveMapper(ctx)
	return cfg, err
}
