package main

import (
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnode-go/cnode/contrib/front"
	"github.com/cnode-go/cnode/transport/handoff"
)

// The flags are what the command line says.
type flags struct {
	logLevel  string
	logFormat string
	listen    []string
	dial      []string
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

// newCommand is the whole command line.
func newCommand() *cobra.Command {
	f := &flags{}
	cmd := &cobra.Command{
		Use:   "cnode-front",
		Short: "Accept clients and keep their sessions while Erlang or Go workers come and go",
		Long: `Accept clients and give each session to a worker: a process that has connected to --workers, such as an Erlang or Elixir node with
the package cnode, or a Go program. When a worker is killed, crashes or is restarted, its sessions go on in another one, or wait for one,
and the clients notice nothing. A session that stands at no point its worker has told gets a reset.

Workers with points connect to PATH.control; plain ones, which get BIND 10's form, to PATH.

With --dial workers may ask by a name for a connection to that address, with or without TLS. It outlives them, and goes to the next
one that asks for the name. Certificates are verified by those of the system; SSL_CERT_FILE names others.

An address to listen on is HOST:PORT, tls:HOST:PORT with --cert and --key, or unix:PATH. The front prints "ready front ADDRESS…"
once clients and workers can connect. SIGTERM and SIGINT stop it: workers serve the sessions that they have to the end (exit 0).
SIGUSR2 moves everything to a new process of the program that is now at this one's path, which prints "ready" anew; then this
one prints "upgraded front OLDPID NEWPID". It goes on with the TLS of the sessions that it has accepted until they end, or --tls-left
is over; if it is killed, they are cut off. If the new process does not take over, this one goes on. Linux only.

Under systemd the unit is Type=notify with NotifyAccess=all: systemd hears which process is to be watched. Whatever else watches a
process, such as a container's process 1 or Type=simple, takes the upgrade for the end of the front: run "cnode-demo stay" in it.`,
		Example: `  cnode-front --listen 0.0.0.0:4000 --workers /run/app/workers
  cnode-front --listen tls:[::]:443 --cert app.pem --key app.key --workers /run/app/workers --http 127.0.0.1:9000
  cnode-front --listen [::]:80 --proxy --policy address --workers /run/app/workers
  cnode-front --dial irc.libera.chat:6697 --dial '*.example.org:5671' --workers /run/app/workers
  cnode-demo stay -- cnode-front --listen 127.0.0.1:4000 --workers /tmp/w     keeps its process for those who watch it`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown argument %q: all are flags", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	l := cmd.Flags()
	l.StringArrayVar(&f.listen, "listen", nil, "`ADDRESS` for clients, HOST:PORT, tls:HOST:PORT or unix:PATH; may be given again")
	l.StringArrayVar(&f.dial, "dial", nil,
		"`ADDRESS`, HOST:PORT, to which workers may have connections made that outlive them; * stands for any part of HOST; may be given again")
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
	l.DurationVar(&f.drain, "drain", 10*time.Second, "how long sessions with TLS may take to end, when the front is stopped")
	l.DurationVar(&f.linger, "tls-linger", 30*time.Second,
		"how long a client with TLS may leave what is written to it unread, once its worker has closed the session")
	l.DurationVar(&f.left, "tls-left", 0,
		"after an upgrade, how long sessions with TLS may go on in the old process; 0 is until they end")
	l.StringVar(&f.http, "http", "", "serve a page, /stats as JSON and /metrics at `ADDR`, host:port, for users of this machine only")
	l.StringVar(&f.logLevel, "log-level", "warn", "log to the standard error: `off|error|warn|info|debug`")
	l.StringVar(&f.logFormat, "log-format", "text", "how the log is written: `text|json`, a line each")
	for name, words := range map[string][]string{"policy": {"least", "address"}, "log-format": {"text", "json"},
		"log-level": {"off", "error", "warn", "info", "debug"}} {
		// the error is of a flag that is not there
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	return cmd
}

// options checks the command line.
func (f *flags) options(log *slog.Logger) (*front.Options, error) {
	o := &front.Options{Window: f.window, MaxParked: f.parked, MaxParkedAge: f.age, Log: log}
	mode, err := strconv.ParseUint(f.mode, 8, 9)
	o.WorkersMode = fs.FileMode(mode)
	switch {
	case len(f.listen) == 0 && len(f.dial) == 0:
		return nil, usagef("--listen is missing: want the address for clients, or --dial")
	case f.workers == "":
		return nil, usagef("--workers is missing: want the path of the socket for workers")
	case err != nil || mode == 0:
		return nil, usagef("--workers-mode %q: want an octal number such as 660", f.mode)
	case f.window < 1 || f.window > 65535:
		return nil, usagef("--window %d: want 1 to 65535", f.window)
	case f.parked < 1:
		return nil, usagef("--max-parked %d: want 1 or more", f.parked)
	case f.age <= 0:
		return nil, usagef("--parked-age %v: want a time to wait", f.age)
	case f.drain <= 0:
		return nil, usagef("--drain %v: want a time to wait", f.drain)
	case f.linger <= 0:
		return nil, usagef("--tls-linger %v: want a time to wait", f.linger)
	case f.left < 0:
		return nil, usagef("--tls-left %v: want a time to wait, or 0", f.left)
	case (f.cert == "") != (f.key == ""):
		return nil, usagef("--cert and --key belong together")
	}
	for _, address := range f.dial {
		host, port, err := net.SplitHostPort(address)
		if err != nil || host == "" || strings.ContainsAny(host, `?[]\`) || strings.Contains(address, "[") && strings.Contains(host, "*") {
			return nil, usagef("--dial %s: want HOST:PORT, with * for any part of a name or of an IPv4 address", address)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, usagef("--dial %s: there is no port %s: want 1 to 65535", address, port)
		}
	}
	if len(f.dial) > 0 {
		o.Dial = &front.DialOptions{Allow: f.mayDial}
	}
	for _, address := range f.listen {
		network, at, ends := split(address)
		if _, _, err := net.SplitHostPort(at); network == "tcp" && err != nil || at == "" {
			return nil, usagef("--listen %s: want HOST:PORT, tls:HOST:PORT or unix:PATH", address)
		}
		if _, port, _ := net.SplitHostPort(at); network == "tcp" {
			if _, err := net.LookupPort("tcp", port); err != nil {
				return nil, usagef("--listen %s: there is no port %s: want 0 to 65535, or the name of a service", address, port)
			}
		}
		if ends && f.cert == "" {
			return nil, usagef("--listen %s needs --cert and --key", address)
		}
	}
	if f.http != "" {
		if _, _, err := net.SplitHostPort(f.http); err != nil {
			return nil, usagef("--http %q: want host:port", f.http)
		}
	}
	switch f.policy {
	case "least":
	case "address":
		o.Policy = front.ByAddress()
	default:
		return nil, usagef("--policy %q: want least or address", f.policy)
	}
	o.Peer = func(c handoff.Cred) error {
		if c.UID >= 0 && slices.Contains(f.uids, c.UID) {
			return nil
		}
		return handoff.SameUser(c)
	}
	return o, nil
}

// mayDial tells whether --dial names an address.
func (f *flags) mayDial(_ handoff.Cred, _, address string) error {
	host, port, _ := net.SplitHostPort(address)
	_, noIP := netip.ParseAddr(host)
	for _, d := range f.dial {
		want, at, _ := net.SplitHostPort(d)
		any, _ := path.Match(want, host)
		// part of an IP address does not mean a name that begins with it
		if d == address || any && port == at && (noIP == nil || want == "*" || strings.Trim(want, "0123456789.*") != "") {
			return nil
		}
	}
	return fmt.Errorf("no --dial of the front allows %s", address)
}

// logger checks the flags about the log.
func (f *flags) logger(w io.Writer) (*slog.Logger, error) {
	level, ok := map[string]slog.Level{"off": slog.LevelError + 1, "error": slog.LevelError, "warn": slog.LevelWarn,
		"info": slog.LevelInfo, "debug": slog.LevelDebug}[f.logLevel]
	o := &slog.HandlerOptions{Level: level}
	switch {
	case !ok:
		return nil, usagef("--log-level %q: want off, error, warn, info or debug", f.logLevel)
	case f.logFormat == "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	case f.logFormat == "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	}
	return nil, usagef("--log-format %q: want text or json", f.logFormat)
}

// split takes an address of --listen apart.
func split(address string) (network, at string, ends bool) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return "unix", path, false
	}
	at, ends = strings.CutPrefix(address, "tls:")
	return "tcp", at, ends
}
