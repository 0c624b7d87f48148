package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// options are the flags that all commands share.
type options struct {
	name       string
	cookie     string
	transport  string
	listen     string
	epmd       string
	tlsOptfile string
	logLevel   string
	virtual    virtualFlags
	polling    polling
	also       also
	succession succession
	workers    workers
	publishing publishing
	group      string // the process group of the peer; "": none
	warned     bool   // the warnings about tlsOptfile were printed
}

func (o *options) addTo(f *pflag.FlagSet) {
	f.StringVar(&o.name, "name", "",
		"name of this node, `ALIVE[@HOST]`; without @HOST it gets this machine's host name, in the short form unless\n"+
			"NODE's is long (default: "+defaultName+" for serve, otherwise a name that no other node has)")
	f.StringVar(&o.cookie, "cookie", "", "the cluster's shared `SECRET`; other users of this machine can see it in the list of processes\n"+
		"(default: the first line of ~/.erlang.cookie)")
	f.StringVar(&o.transport, "transport", "tcp", "what carries connections: `tcp|tls|unix`")
	f.StringVar(&o.listen, "listen", "", "`ADDRESS` to listen on: IP[:PORT], or unix:PATH, where PATH is a socket, or a directory for\n"+
		"it, which exists or is written with a final / (default: a free port of 127.0.0.1; for unix a\n"+
		"directory of your own); ping and call look for NODE's socket there")
	f.StringVar(&o.epmd, "epmd", "auto", "which port mapper to use, `auto|embedded|HOST:PORT`; auto: the running one, or one inside\n"+
		"serve if none runs; embedded: always one inside serve; HOST:PORT: the one at that address")
	f.StringVar(&o.tlsOptfile, "tls-optfile", "", "`FILE` of TLS options, for --transport tls: the one of erl -ssl_dist_optfile\n"+
		"(cnode-demo certs makes one)")
	f.StringVar(&o.logLevel, "log-level", "", "log to the standard error: `off|error|warn|info|debug`\n"+
		"(default: warn for serve and epmd, otherwise off)")
}

// used names the shared flags that a command uses, if it does not use all of them. The command
// accepts the others all the same, so that a script may give every command the same flags.
var used = map[string][]string{
	"tour": {"log-level"}, "names": {"epmd"}, "epmd": {"listen", "epmd", "log-level"}, "certs": {}, "upgrade": {}, "help": {},
}

// trimHelp makes the help of each command list only the shared flags that it uses.
func trimHelp(root *cobra.Command) {
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, about []string) {
		if flags, some := used[cmd.Name()]; some {
			root.PersistentFlags().VisitAll(func(f *pflag.Flag) { f.Hidden = !slices.Contains(flags, f.Name) })
		}
		help(cmd, about)
	})
}

// check finds what is wrong with the flags before anything is opened.
func (o *options) check() error {
	switch o.transport {
	case "tcp", "unix":
		switch {
		case o.also.overTLS() && o.tlsOptfile == "":
			return usagef("--also tls:… needs --tls-optfile FILE; cnode-demo certs DIR makes one")
		case !o.also.overTLS() && o.tlsOptfile != "":
			return usagef("--tls-optfile is for --transport tls, and serve --also tls:ADDRESS")
		}
	case "tls":
		if o.tlsOptfile == "" {
			return usagef("--transport tls needs --tls-optfile FILE; cnode-demo certs DIR makes one")
		}
	default:
		return usagef("--transport %q: want tcp, tls or unix", o.transport)
	}
	if err := o.virtual.check(); err != nil {
		return err
	}
	_, err := o.level()
	return err
}

// levelOff is above every level that is logged.
const levelOff = slog.LevelError + 4

// logsWarnings makes warnings the default, for what runs for long.
func (o *options) logsWarnings() {
	if o.logLevel == "" {
		o.logLevel = "warn"
	}
}

func (o *options) level() (slog.Level, error) {
	level, ok := map[string]slog.Level{
		"": levelOff, "off": levelOff, "error": slog.LevelError, "warn": slog.LevelWarn,
		"info": slog.LevelInfo, "debug": slog.LevelDebug,
	}[o.logLevel]
	if !ok {
		return 0, usagef("--log-level %q: want off, error, warn, info or debug", o.logLevel)
	}
	return level, nil
}

func (o *options) logger(w io.Writer) *slog.Logger {
	level, err := o.level()
	if err != nil || level == levelOff {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// fullName gives --name, or the name otherwise if the flag is not given; a name without a host gets
// the one that host returns.
func (o *options) fullName(otherwise string, host func() (string, error)) (string, error) {
	if o.name == "" {
		return withHost(otherwise, host)
	}
	name, err := withHost(o.name, host)
	if err == nil {
		err = dist.CheckOwnName(name)
	}
	if err != nil {
		return "", &usageError{fmt.Errorf("--name: %w", err)}
	}
	return name, nil
}

// checkTarget checks the flags, and completes the name of another node.
func (o *options) checkTarget(name string) (string, error) {
	if err := o.check(); err != nil {
		return "", err
	}
	name, err := withHost(name, shortHost)
	if err != nil {
		return "", &usageError{fmt.Errorf("NODE: %w", err)}
	}
	return name, nil
}

// withHost gives a name without "@" a host.
func withHost(name string, host func() (string, error)) (string, error) {
	if !strings.Contains(name, "@") {
		h, err := host()
		if err != nil {
			return "", fmt.Errorf("this machine's name is not known, write ALIVE@HOST: %w", err)
		}
		name += "@" + h
	}
	if alive, host, _ := strings.Cut(name, "@"); strings.HasPrefix(host, "[") {
		return "", fmt.Errorf("%s: an address in a node's name has no brackets: %s@%s",
			name, alive, strings.Trim(host, "[]"))
	}
	return name, dist.CheckName(name)
}

// shortHost is the host that erl -sname takes: this machine's name up to the first dot.
func shortHost() (string, error) {
	host, err := os.Hostname()
	host, _, _ = strings.Cut(host, ".")
	return host, err
}

// hostBeside gives the host that a node needs to be in a cluster with target: a node with a long
// name takes a short name for a mistake, and logs that whenever it deals with such a node.
func hostBeside(target string, hostname func() (string, error)) func() (string, error) {
	if _, host, _ := strings.Cut(target, "@"); !strings.ContainsAny(host, ".:") {
		return shortHost
	}
	return func() (string, error) {
		host, err := hostname()
		return longHost(host), err
	}
}

// longHost makes a long host of this machine's name, which is never looked up.
func longHost(name string) string {
	if strings.Contains(name, ".") {
		return name
	}
	return name + ".localdomain"
}

// serveConfig is the configuration of a node which others connect to.
func (o *options) serveConfig(ctx context.Context, name string, errOut io.Writer) (cfg nodes.Config, err error) {
	cfg = nodes.Config{Name: name, Cookie: o.cookie, Logger: o.logger(errOut), Transport: transport.TCP()}
	if err := o.also.over(&cfg, func() (transport.Transport, error) { return o.tlsTransport(cfg.Logger, errOut) }); err != nil {
		return cfg, err
	}
	if o.transport == "unix" {
		cfg.Transport = transport.Unix()
		var dir string
		dir, cfg.Listen, err = o.socket(name)
		if err == nil {
			if err = os.MkdirAll(dir, 0o700); err != nil {
				err = fmt.Errorf("--listen: %w", err)
			}
		}
		cfg.Resolver = nodes.SocketDir(dir)
		return cfg, err
	}
	if cfg.Listen, err = o.inetListen(); err != nil {
		return cfg, err
	}
	if err := o.overTLS(&cfg, errOut); err != nil {
		return cfg, err
	}
	cfg.Resolver, err = o.serveMapper(ctx)
	return cfg, err
}

// clientConfig is the configuration of a node which connects to target.
func (o *options) clientConfig(name, target string, errOut io.Writer) (cfg nodes.Config, err error) {
	cfg = nodes.Config{Name: name, Cookie: o.cookie, Logger: o.logger(errOut), Transport: transport.TCP()}
	if o.transport == "unix" {
		cfg.Transport = transport.Unix()
		_, addr, err := o.socket(target)
		cfg.Resolver = nodes.Static{target: {Addr: addr}}
		return cfg, err
	}
	// --listen is not used here, but a wrong one is a mistake
	if _, err := o.inetListen(); err != nil {
		return cfg, err
	}
	if err := o.overTLS(&cfg, errOut); err != nil {
		return cfg, err
	}
	cfg.Resolver, err = o.clientMapper()
	return cfg, err
}

// overTLS makes a node's connections go over TLS, if --transport asks for it.
func (o *options) overTLS(cfg *nodes.Config, errOut io.Writer) (err error) {
	if o.transport == "tls" {
		cfg.Transport, err = o.tlsTransport(cfg.Logger, errOut)
	}
	return err
}

// tlsTransport prints the warnings that the transport gives at its start even if nothing is logged.
// Workers leave that to their front.
func (o *options) tlsTransport(log *slog.Logger, errOut io.Writer) (transport.Transport, error) {
	w := &warnings{Handler: log.Handler(), out: errOut, known: o.warned || nodes.IsWorker()}
	o.warned = true
	defer w.over.Store(true)
	return tlstransport.FromOptFile(o.tlsOptfile, tlstransport.Options{Logger: slog.New(w), Polling: o.polling.overTLS()})
}

// inetListen reads --listen as IP:PORT or IP; nil leaves it to the default.
func (o *options) inetListen() (transport.Addr, error) {
	if o.listen == "" {
		return nil, nil
	}
	if ip, err := netip.ParseAddr(o.listen); err == nil {
		return transport.FromAddrPort(netip.AddrPortFrom(ip, 0)), nil
	}
	addr, err := transport.ParseAddr(o.listen)
	if err != nil {
		if strings.HasPrefix(o.listen, "unix:") {
			return nil, &usageError{fmt.Errorf("--listen: %w", err)}
		}
		return nil, usagef("--listen %s: want IP or IP:PORT, an address and not a name of a host", o.listen)
	}
	if _, err := transport.AddrPort(addr); err != nil {
		return nil, usagef("--listen %s: this address needs --transport unix", o.listen)
	}
	return addr, nil
}

// socket is the address of a node's UNIX socket, and the directory that it is in: --listen gives
// the one or the other.
func (o *options) socket(node string) (dir string, addr transport.Addr, err error) {
	path, ok := strings.CutPrefix(o.listen, "unix:")
	switch {
	case o.listen == "":
		dir, err = ownDir()
	case !ok || path == "":
		err = usagef("--listen %s: --transport unix wants unix:DIRECTORY or unix:SOCKET", o.listen)
	case strings.HasSuffix(path, "/") || isDir(path):
		dir = path
	default:
		addr, err = transport.ParseAddr(o.listen)
		return filepath.Dir(path), addr, err
	}
	if err != nil {
		return "", nil, err
	}
	addr, err = nodes.SocketDir(dir).Addr(node)
	return dir, addr, err
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
