package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/steps"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/spf13/cobra"
)

const (
	// defaultName is the name of serve's node without --name.
	defaultName = "cnode@127.0.0.1"
	// shutdownLimit bounds the shutdown of serve: what still runs after it is cut off.
	shutdownLimit = 5 * time.Second
)

func newServe(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node that Erlang nodes can ping, call, message, monitor and link",
		Long: `Run a node until SIGTERM, SIGINT or SIGHUP (exit 0), and print "ready NAME PORT" once it can be reached; with
--transport unix the path of its socket replaces the port. The name is cnode@127.0.0.1 unless --name says otherwise. It answers

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

--polling DURATION is how long the reader of a busy connection polls before it sleeps: faster answers, but more processor time.`,
		Example: `  cnode-demo serve --name cnode@127.0.0.1 --cookie secret
  cnode-demo serve --name cnode@myhost --listen 0.0.0.0:0 --epmd auto
  cnode-demo serve --name cnode@127.0.0.1 --transport unix --listen unix:/run/nodes/
  cnode-demo serve --name cnode@127.0.0.1 --transport tls --tls-optfile /tmp/tls/ssl_dist.conf
  cnode-demo serve --name cnode@127.0.0.1 --also tls:127.0.0.1:4371 --tls-optfile /tmp/tls/ssl_dist.conf
  cnode-demo serve --name cnode@127.0.0.1 --workers 4 --dispatch least
  cnode-demo serve --name cnode@127.0.0.1 --listen 127.0.0.1:4371 --trace serve.pcap
  tshark -r serve.pcap -d tcp.port==4371,erldp       what went over it`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.logsWarnings()
			return serve(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.virtual.addTo(cmd.Flags())
	o.polling.addTo(cmd.Flags())
	o.also.addTo(cmd.Flags())
	o.succession.addTo(cmd.Flags())
	o.workers.addTo(cmd.Flags())
	o.publishing.addTo(cmd.Flags())
	cmd.Flags().StringVar(&o.group, "pg", "",
		"the process peer is a member of the process group `GROUP`, an atom, in the scope pg: pg:get_members(GROUP)")
	return cmd
}

// serve runs a node until ctx ends.
func serve(ctx context.Context, o *options, out, errOut io.Writer) (err error) {
	if err := errors.Join(o.check(), o.polling.check(), o.workers.check(o), o.publishing.check()); err != nil {
		return err
	}
	survivePipe()
	switch {
	case nodes.IsWorker():
		return serveWorker(ctx, o, out, errOut)
	case o.workers.number > 0:
		return serveFront(ctx, o, out, errOut)
	}
	cfg, err := o.servedConfig(ctx, errOut)
	if err != nil {
		return err
	}
	k := keepPeer(&cfg, o, out)
	record, err := o.virtual.over(ctx, &cfg, errOut)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, record.finish()) }()
	w := &oneProcess{cfg: cfg}
	steps.Reached("serve: signals are heard")
	c, err := o.begin(ctx, w, errOut)
	if err != nil {
		return err
	}
	defer c.close(ctx)
	// connections that another process has handed over do not depend on it
	if err := record.begin(); err != nil {
		fmt.Fprintf(errOut, "serve: %v; the node serves, and is not recorded\n", err)
	}
	o.announce(ctx, w.Name(), c.listeners, out, errOut)
	steps.Reached("serve: announced")
	defer watched()()
	err = k.supervise(ctx, w.Node, c.moved, firstDone(c.listeners))
	if c.finish() {
		return nil
	}
	return k.end(ctx, w, err, "", errOut)
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

// A oneProcess is a node in this process alone.
type oneProcess struct {
	cfg nodes.Config
	*nodes.Node
}

func (w *oneProcess) config() *nodes.Config { return &w.cfg }
func (w *oneProcess) knows() []string       { return []string{stateFeature} }
func (w *oneProcess) workers() *succeeding  { return nil }

func (w *oneProcess) start(ctx context.Context) (err error) {
	if w.Node, err = nodes.New(w.cfg); err != nil {
		return err
	}
	return w.Start(ctx)
}

func (w *oneProcess) restore(state []byte, fds []int) (handoff.Staged, error) {
	staged, err := nodes.Restore(w.cfg, state, fds)
	if err != nil {
		return nil, err
	}
	w.Node = staged.Node()
	return staged, nil
}

// servedConfig is the configuration of the node that serve runs, or of its front or worker.
func (o *options) servedConfig(ctx context.Context, errOut io.Writer) (cfg nodes.Config, err error) {
	name, err := o.fullName(defaultName, shortHost)
	if err != nil {
		return cfg, err
	}
	if cfg, err = o.serveConfig(ctx, name, errOut); err == nil {
		o.polling.over(&cfg)
	}
	return cfg, err
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
