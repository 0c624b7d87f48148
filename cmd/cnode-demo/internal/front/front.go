// Package front is the command front: a keeper of sessions, with a page about it.
package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/cmd/internal/config"
	"github.com/cnode-go/cnode/nodes/upgrade"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/keeper"
	"github.com/spf13/cobra"
)

// A front is what the command line says.
type front struct {
	*config.Options
	listen    []string
	workers   string
	proxy     bool
	cert, key string
	policy    string
	uids      []int
	mode      string
	window    int
	parked    int
	age       time.Duration
	drain     time.Duration
	linger    time.Duration
	left      time.Duration
	http      string
}

// Command is the command front.
func Command(o *config.Options) *cobra.Command {
	f := &front{Options: o}
	cmd := &cobra.Command{
		Use:   "front",
		Short: "Accept clients and keep their sessions while Erlang or Go workers come and go",
		Long: `Accept clients and give each session to a worker: a process that has connected to --workers, such as an Erlang or Elixir node with
the package cnode, or a Go program. When a worker is killed, crashes or is restarted, its sessions go on in another one, or wait for one,
and the clients notice nothing. A session that stands at no point its worker has told gets a reset.

Workers with points connect to PATH.control; plain ones, which get BIND 10's form, to PATH.

An address to listen on is HOST:PORT, tls:HOST:PORT with --cert and --key, or unix:PATH. front prints "ready front ADDRESS…" once
clients and workers can connect. SIGTERM and SIGINT stop it: workers serve the sessions that they have to the end (exit 0).
SIGUSR2 moves everything to a new process of the program that is now at this one's path, which prints "ready" anew; then this
one prints "upgraded front OLDPID NEWPID". It goes on with the TLS of the sessions that it has accepted until they end, or --tls-left
is over; if it is killed, they are cut off. If the new process does not take over, this one goes on. Linux only.

Under systemd the unit is Type=notify with NotifyAccess=all: systemd hears which process is to be watched. Whatever else watches a
process, such as a container's process 1 or Type=simple, takes the upgrade for the end of the front: run "cnode-demo stay" in it.`,
		Example: `  cnode-demo front --listen 0.0.0.0:4000 --workers /run/app/workers
  cnode-demo front --listen tls:[::]:443 --cert app.pem --key app.key --workers /run/app/workers --http 127.0.0.1:9000
  cnode-demo front --listen [::]:80 --proxy --policy address --workers /run/app/workers
  cnode-demo stay -- cnode-demo front --listen 127.0.0.1:4000 --workers /tmp/w     keeps its process for those who watch it`,
		Args: cli.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.LogsWarnings()
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	l := cmd.Flags()
	l.StringArrayVar(&f.listen, "listen", nil, "`ADDRESS` for clients, HOST:PORT, tls:HOST:PORT or unix:PATH; may be given again")
	l.StringVar(&f.workers, "workers", "", "`PATH` of the socket for workers; PATH.control is made, too")
	l.BoolVar(&f.proxy, "proxy", false, "clients come through a proxy that sends a PROXY header, version 1 or 2 (not for unix:)")
	l.StringVar(&f.cert, "cert", "", "`FILE` with the certificates of tls:, in PEM")
	l.StringVar(&f.key, "key", "", "`FILE` with the private key of tls:, in PEM")
	l.StringVar(&f.policy, "policy", "least",
		"which worker gets a session, `least|address`: that with the fewest, or one for each client's address")
	l.IntSliceVar(&f.uids, "worker-uid", nil, "`UID` whose processes may be workers, beside this user's and root's; may be given again")
	l.StringVar(&f.mode, "workers-mode", "600", "`MODE` of the workers' sockets, in octal")
	l.IntVar(&f.window, "window", 64, "how many sessions may be on their way to one worker")
	l.IntVar(&f.parked, "max-parked", 10_000,
		"how many clients may wait for a worker; further ones take the places of those that have gone, or are closed")
	l.DurationVar(&f.age, "parked-age", time.Minute, "how long a session may wait for a worker, before it is closed")
	l.DurationVar(&f.drain, "drain", 10*time.Second, "how long sessions with TLS may take to end, when front is stopped")
	l.DurationVar(&f.linger, "tls-linger", 30*time.Second,
		"how long a client with TLS may leave what is written to it unread, once its worker has closed the session")
	l.DurationVar(&f.left, "tls-left", 0,
		"after an upgrade, how long sessions with TLS may go on in the old process; 0 is until they end")
	l.StringVar(&f.http, "http", "", "serve a page, /stats as JSON and /metrics at `ADDR`, host:port, for users of this machine only")
	return cmd
}

// options checks the command line.
func (f *front) options(log *slog.Logger) (*keeper.Options, error) {
	if _, err := f.Level(); err != nil {
		return nil, err
	}
	o := &keeper.Options{Window: f.window, MaxParked: f.parked, MaxParkedAge: f.age, Log: log}
	mode, err := strconv.ParseUint(f.mode, 8, 9)
	o.WorkersMode = fs.FileMode(mode)
	switch {
	case len(f.listen) == 0:
		return nil, cli.Usagef("--listen is missing: want the address for clients")
	case f.workers == "":
		return nil, cli.Usagef("--workers is missing: want the path of the socket for workers")
	case err != nil || mode == 0:
		return nil, cli.Usagef("--workers-mode %q: want an octal number such as 660", f.mode)
	case f.window < 1 || f.window > 65535:
		return nil, cli.Usagef("--window %d: want 1 to 65535", f.window)
	case f.parked < 1:
		return nil, cli.Usagef("--max-parked %d: want 1 or more", f.parked)
	case f.age <= 0:
		return nil, cli.Usagef("--parked-age %v: want a time to wait", f.age)
	case f.drain <= 0:
		return nil, cli.Usagef("--drain %v: want a time to wait", f.drain)
	case f.linger <= 0:
		return nil, cli.Usagef("--tls-linger %v: want a time to wait", f.linger)
	case f.left < 0:
		return nil, cli.Usagef("--tls-left %v: want a time to wait, or 0", f.left)
	case (f.cert == "") != (f.key == ""):
		return nil, cli.Usagef("--cert and --key belong together")
	}
	for _, address := range f.listen {
		network, at, ends := split(address)
		if _, _, err := net.SplitHostPort(at); network == "tcp" && err != nil || at == "" {
			return nil, cli.Usagef("--listen %s: want HOST:PORT, tls:HOST:PORT or unix:PATH", address)
		}
		if _, port, _ := net.SplitHostPort(at); network == "tcp" {
			if _, err := net.LookupPort("tcp", port); err != nil {
				return nil, cli.Usagef("--listen %s: there is no port %s: want 0 to 65535, or the name of a service", address, port)
			}
		}
		if ends && f.cert == "" {
			return nil, cli.Usagef("--listen %s needs --cert and --key", address)
		}
	}
	if f.http != "" {
		if _, _, err := net.SplitHostPort(f.http); err != nil {
			return nil, cli.Usagef("--http %q: want host:port", f.http)
		}
	}
	switch f.policy {
	case "least":
	case "address":
		o.Policy = keeper.ByAddress()
	default:
		return nil, cli.Usagef("--policy %q: want least or address", f.policy)
	}
	o.Peer = func(c handoff.Cred) error {
		if c.UID >= 0 && slices.Contains(f.uids, c.UID) {
			return nil
		}
		return handoff.SameUser(c)
	}
	return o, nil
}

// split takes an address of --listen apart.
func split(address string) (network, at string, ends bool) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return "unix", path, false
	}
	at, ends = strings.CutPrefix(address, "tls:")
	return "tcp", at, ends
}

// run serves until ctx ends, or another process has taken over.
func (f *front) run(ctx context.Context, out, errOut io.Writer) (err error) {
	log := f.Logger(errOut)
	o, err := f.options(log)
	if err != nil {
		return err
	}
	var config *tls.Config
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return err
		}
		config = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	cli.SurvivePipe()
	asked := make(chan os.Signal, 1)
	if len(upgradeSignals) > 0 {
		signal.Notify(asked, upgradeSignals...)
		defer signal.Stop(asked)
	}
	program := upgrade.OwnFile()
	k, heir, err := begin(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	trouble := make(chan error, len(f.listen)+1)
	addrs, err := f.serve(k, config, trouble)
	if err != nil {
		return err
	}
	page, err := f.page(ctx, k, heir, log)
	if err != nil {
		return err
	}
	defer page.close()
	fmt.Fprintf(out, "ready front %s\n", strings.Join(addrs, " "))
	if err := upgrade.NotifyReady(); err != nil {
		fmt.Fprintf(errOut, "front: systemd was not told that the front is ready (NOTIFY_SOCKET): %v\n", err)
	}
	for {
		select {
		case <-ctx.Done():
			limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.drain)
			defer cancel()
			if err := k.Shutdown(limit); errors.Is(err, context.DeadlineExceeded) {
				fmt.Fprintf(errOut, "front: cut off what was still running after %v\n", f.drain)
				return nil
			} else {
				return err
			}
		case err := <-trouble:
			return err
		case <-asked:
			next, err := move(ctx, k, program, errOut)
			if err != nil {
				fmt.Fprintf(errOut, "front: not upgraded: %v\n", err)
			}
			if next == nil {
				continue
			}
			page.close()
			fmt.Fprintf(out, "upgraded front %d %d\n", os.Getpid(), next.Cmd.Process.Pid)
			left := make(chan error, 1)
			go func() { left <- f.shutdown(k) }()
			followed, stop := context.WithCancel(ctx)
			defer stop()
			if err := next.Follow(followed); err != nil {
				fmt.Fprintf(errOut, "front: %v\n", err)
			}
			select {
			case err := <-left:
				return err
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// shutdown waits for the sessions with TLS that have stayed behind.
func (f *front) shutdown(k *keeper.Keeper) error {
	ctx := context.Background()
	if f.left > 0 {
		limited, cancel := context.WithTimeout(ctx, f.left)
		defer cancel()
		ctx = limited
	}
	if err := k.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// begin makes the keeper, or takes it over from the process that has started this one.
func begin(ctx context.Context, o *keeper.Options) (k *keeper.Keeper, heir bool, err error) {
	ch, err := upgrade.Coming()
	if err != nil {
		return nil, false, err
	}
	if ch == nil {
		k, err = keeper.New(o)
		return k, false, err
	}
	defer ch.Close()
	k, err = keeper.Take(ctx, ch, o)
	if k != nil { // whatever the other process has to say
		err = nil
	}
	return k, true, err
}

// serve listens for clients and workers, and gives the addresses.
func (f *front) serve(k *keeper.Keeper, config *tls.Config, trouble chan<- error) (addrs []string, err error) {
	for _, address := range f.listen {
		network, at, ends := split(address)
		l, err := k.Listen(context.Background(), network, at)
		if err != nil {
			return nil, err
		}
		o := &keeper.ServeOptions{Proxy: f.proxy && network != "unix"}
		if ends {
			o.TLS, o.Linger = config, f.linger
		}
		addrs = append(addrs, l.Addr().String())
		go func() {
			if err := k.Serve(context.Background(), l, o); !errors.Is(err, net.ErrClosed) {
				trouble <- err
			}
		}()
	}
	return addrs, k.Workers(context.Background(), f.workers)
}

// upgradeLimit bounds an upgrade as a whole.
const upgradeLimit = 90 * time.Second

// move starts a new process and gives it everything; nil: this one goes on.
func move(ctx context.Context, k *keeper.Keeper, program string, errOut io.Writer) (*upgrade.Successor, error) {
	s := &upgrade.Successor{Cmd: exec.Command(program, os.Args[1:]...)}
	s.Cmd.Stdin, s.Cmd.Stdout, s.Cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	ch, err := s.Begin()
	if err != nil {
		return nil, err
	}
	defer ch.Close()
	limit, cancel := context.WithTimeout(ctx, upgradeLimit)
	defer cancel()
	handed, err := k.Give(limit, ch)
	if !handed.Moved {
		if how := s.GiveUp(); how != "" {
			err = fmt.Errorf("%w (the new process: %s)", err, how)
		}
		return nil, err
	}
	return s, err
}
