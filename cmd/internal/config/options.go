package config

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
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// DefaultName is the name of serve's node without --name.
const DefaultName = "cnode@127.0.0.1"

// Options are the flags that all commands share.
type Options struct {
	Program    string // whose nodes that live for one command are named after it
	name       string
	Cookie     string
	Transport  string
	Listen     string
	Epmd       string
	tlsOptfile string
	logLevel   string
	logFormat  string
	AlsoTLS    bool          // the command needs tlsOptfile, whatever transport is
	TLSPolling time.Duration // see tlstransport.Options
	warned     bool          // the warnings about tlsOptfile were printed
}

func (o *Options) AddTo(f *pflag.FlagSet) {
	f.StringVar(&o.name, "name", "",
		"name of this node, `ALIVE[@HOST]`; without @HOST it gets this machine's host name, in the short form unless\n"+
			"NODE's is long (default: "+DefaultName+" for serve, otherwise a name that no other node has)")
	f.StringVar(&o.Cookie, "cookie", "", "the cluster's shared `SECRET`; other users of this machine can see it in the list of processes\n"+
		"(default: the first line of ~/.erlang.cookie)")
	f.StringVar(&o.Transport, "transport", "tcp", "what carries connections: `tcp|tls|unix|uds`; uds is unix with the sockets of Erlang's\n"+
		"-proto_dist erl_uds, which are named ALIVE")
	f.StringVar(&o.Listen, "listen", "", "`ADDRESS` to listen on: IP[:PORT], or unix:PATH, where PATH is a socket, or a directory for\n"+
		"it, which exists or is written with a final / (default: a free port of 127.0.0.1; for unix a\n"+
		"directory of your own); ping and call look for NODE's socket there")
	f.StringVar(&o.Epmd, "epmd", "auto", "which port mapper to use, `auto|embedded|HOST:PORT`; auto: the running one, or one inside\n"+
		"serve if none runs; embedded: always one inside serve; HOST:PORT: the one at that address")
	f.StringVar(&o.tlsOptfile, "tls-optfile", "", "`FILE` of TLS options, for --transport tls: the one of erl -ssl_dist_optfile\n"+
		"(cnode-demo certs makes one)")
	f.StringVar(&o.logLevel, "log-level", "", "log to the standard error: `off|error|warn|info|debug`\n"+
		"(default: warn for serve and epmd, otherwise off)")
	f.StringVar(&o.logFormat, "log-format", "text", "how the log is written: `text|json`, a line each")
}

// used names the shared flags that a command uses, if it does not use all of them. The command
// accepts the others all the same, so that a script may give every command the same flags.
var used = map[string][]string{
	"tour": {"log-level", "log-format"}, "names": {"epmd"}, "epmd": {"listen", "epmd", "log-level", "log-format"},
	"certs": {}, "upgrade": {}, "stay": {}, "help": {},
	"completion": {}, "bash": {}, "zsh": {}, "fish": {}, "powershell": {},
}

// TrimHelp makes the help of each command list only the shared flags that it uses.
func TrimHelp(root *cobra.Command) {
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, about []string) {
		if flags, some := used[cmd.Name()]; some {
			root.PersistentFlags().VisitAll(func(f *pflag.Flag) { f.Hidden = !slices.Contains(flags, f.Name) })
		}
		help(cmd, about)
	})
}

// Check finds what is wrong with the flags before anything is opened.
func (o *Options) Check() error {
	switch o.Transport {
	case "tcp", "unix", "uds":
		switch {
		case o.AlsoTLS && o.tlsOptfile == "":
			return cli.Usagef("--also tls:… needs --tls-optfile FILE; cnode-demo certs DIR makes one")
		case !o.AlsoTLS && o.tlsOptfile != "":
			return cli.Usagef("--tls-optfile is for --transport tls, and serve --also tls:ADDRESS")
		}
	case "tls":
		if o.tlsOptfile == "" {
			return cli.Usagef("--transport tls needs --tls-optfile FILE; cnode-demo certs DIR makes one")
		}
	default:
		return cli.Usagef("--transport %q: want tcp, tls, unix or uds", o.Transport)
	}
	_, err := o.Level()
	return err
}

// levelOff is above every level that is logged.
const levelOff = slog.LevelError + 4

// LogsWarnings makes warnings the default, for what runs for long.
func (o *Options) LogsWarnings() {
	if o.logLevel == "" {
		o.logLevel = "warn"
	}
}

// Level gives --log-level, and checks --log-format, too.
func (o *Options) Level() (slog.Level, error) {
	if o.logFormat != "text" && o.logFormat != "json" {
		return 0, cli.Usagef("--log-format %q: want text or json", o.logFormat)
	}
	level, ok := map[string]slog.Level{
		"": levelOff, "off": levelOff, "error": slog.LevelError, "warn": slog.LevelWarn,
		"info": slog.LevelInfo, "debug": slog.LevelDebug,
	}[o.logLevel]
	if !ok {
		return 0, cli.Usagef("--log-level %q: want off, error, warn, info or debug", o.logLevel)
	}
	return level, nil
}

func (o *Options) Logger(w io.Writer) *slog.Logger {
	level, err := o.Level()
	if err != nil || level == levelOff {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(o.handler(w, level))
}

func (o *Options) handler(w io.Writer, level slog.Level) slog.Handler {
	if r, ok := w.(remarks); ok { // the log is no remark
		w = r.to
	}
	if o.logFormat == "json" {
		return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})
	}
	return slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})
}

// Remarks is where a command that logs to w prints what it has to say whatever the log level: w,
// or if the log is JSON, that as warnings in JSON, so that whoever reads w reads nothing else.
func (o *Options) Remarks(w io.Writer) io.Writer {
	if o.logFormat != "json" {
		return w
	}
	return remarks{w, slog.New(o.handler(w, slog.LevelWarn))}
}

// remarks makes a line of the log of each text that is written to it.
type remarks struct {
	to  io.Writer
	log *slog.Logger
}

func (r remarks) Write(text []byte) (int, error) {
	r.log.Warn(strings.TrimSpace(string(text)))
	return len(text), nil
}

// FullName gives --name, or the name otherwise if the flag is not given; a name without a host gets
// the one that host returns.
func (o *Options) FullName(otherwise string, host func() (string, error)) (string, error) {
	if o.name == "" {
		return withHost(otherwise, host)
	}
	name, err := withHost(o.name, host)
	if err == nil {
		err = dist.CheckOwnName(name)
	}
	if err != nil {
		return "", cli.Usagef("--name: %w", err)
	}
	return name, nil
}

// CheckTarget checks the flags, and completes the name of another node.
func (o *Options) CheckTarget(name string) (string, error) {
	if err := o.Check(); err != nil {
		return "", err
	}
	name, err := withHost(name, ShortHost)
	if err != nil {
		return "", cli.Usagef("NODE: %w", err)
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

// ShortHost is the host that erl -sname takes: this machine's name up to the first dot.
func ShortHost() (string, error) {
	host, err := os.Hostname()
	host, _, _ = strings.Cut(host, ".")
	return host, err
}

// hostBeside gives the host that a node needs to be in a cluster with target: a node with a long
// name takes a short name for a mistake, and logs that whenever it deals with such a node.
func hostBeside(target string, hostname func() (string, error)) func() (string, error) {
	if _, host, _ := strings.Cut(target, "@"); !strings.ContainsAny(host, ".:") {
		return ShortHost
	}
	return func() (string, error) {
		host, err := hostname()
		return LongHost(host), err
	}
}

// LongHost makes a long host of this machine's name, which is never looked up.
func LongHost(name string) string {
	if strings.Contains(name, ".") {
		return name
	}
	return name + ".localdomain"
}

// clientConfig is the configuration of a node which connects to target.
func (o *Options) clientConfig(name, target string, errOut io.Writer) (cfg nodes.Config, err error) {
	cfg = nodes.Config{Name: name, Cookie: o.Cookie, Logger: o.Logger(errOut), Transport: transport.TCP()}
	if o.IsUnix() {
		cfg.Transport = transport.Unix()
		_, addr, err := o.Socket(target)
		cfg.Resolver = nodes.Static{target: {Addr: addr}}
		return cfg, err
	}
	// --listen is not used here, but a wrong one is a mistake
	if _, err := o.InetListen(); err != nil {
		return cfg, err
	}
	if err := o.OverTLS(&cfg, errOut); err != nil {
		return cfg, err
	}
	cfg.Resolver, err = o.clientMapper()
	return cfg, err
}

// OverTLS makes a node's connections go over TLS, if --transport asks for it.
func (o *Options) OverTLS(cfg *nodes.Config, errOut io.Writer) (err error) {
	if o.Transport == "tls" {
		cfg.Transport, err = o.TLSTransport(cfg.Logger, errOut)
	}
	return err
}

// TLSTransport prints the warnings that the transport gives at its start even if nothing is logged.
// Workers leave that to their front.
func (o *Options) TLSTransport(log *slog.Logger, errOut io.Writer) (transport.Transport, error) {
	w := &warnings{Handler: log.Handler(), out: errOut, known: o.warned || nodes.IsWorker()}
	o.warned = true
	defer w.over.Store(true)
	return tlstransport.FromOptFile(o.tlsOptfile, &tlstransport.Options{Logger: slog.New(w), Polling: o.TLSPolling})
}

// InetListen reads --listen as IP:PORT or IP; nil leaves it to the default.
func (o *Options) InetListen() (transport.Addr, error) {
	if o.Listen == "" {
		return nil, nil
	}
	if ip, err := netip.ParseAddr(o.Listen); err == nil {
		return transport.FromAddrPort(netip.AddrPortFrom(ip, 0)), nil
	}
	addr, err := transport.ParseAddr(o.Listen)
	if err != nil {
		if strings.HasPrefix(o.Listen, "unix:") {
			return nil, cli.Usagef("--listen: %w", err)
		}
		return nil, cli.Usagef("--listen %s: want IP or IP:PORT, an address and not a name of a host", o.Listen)
	}
	if _, err := transport.AddrPort(addr); err != nil {
		return nil, cli.Usagef("--listen %s: this address needs --transport unix", o.Listen)
	}
	return addr, nil
}

// Socket is the address of a node's UNIX socket, and the directory that it is in: --listen gives
// the one or the other.
func (o *Options) Socket(node string) (dir string, addr transport.Addr, err error) {
	path, ok := strings.CutPrefix(o.Listen, "unix:")
	switch {
	case o.Listen == "":
		dir, err = ownDir()
	case !ok || path == "":
		err = cli.Usagef("--listen %s: --transport unix wants unix:DIRECTORY or unix:SOCKET", o.Listen)
	case strings.HasSuffix(path, "/") || isDir(path):
		dir = path
	default:
		addr, err = transport.ParseAddr(o.Listen)
		return filepath.Dir(path), addr, err
	}
	if err != nil {
		return "", nil, err
	}
	if o.Transport == "uds" {
		addr, err = nodes.AliveDir(dir).Addr(node)
	} else {
		addr, err = nodes.SocketDir(dir).Addr(node)
	}
	return dir, addr, err
}

// IsUnix tells whether connections go over UNIX sockets.
func (o *Options) IsUnix() bool { return o.Transport == "unix" || o.Transport == "uds" }

// Sockets finds the nodes that have their sockets in a directory.
func (o *Options) Sockets(dir string) nodes.Resolver {
	if o.Transport == "uds" {
		return nodes.AliveDir(dir)
	}
	return nodes.SocketDir(dir)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// warnings prints the warnings that the log does not take, until over is set; those that are known
// are left out until then. Everything else goes to the log alone.
type warnings struct {
	slog.Handler // the log's
	out          io.Writer
	known        bool
	over         atomic.Bool
}

func (w *warnings) prints(level slog.Level) bool {
	return level >= slog.LevelWarn && !w.over.Load()
}

// Enabled implements slog.Handler.
func (w *warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return w.prints(level) || w.Handler.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (w *warnings) Handle(ctx context.Context, r slog.Record) error {
	if w.known && w.prints(r.Level) {
		return nil
	}
	if w.Handler.Enabled(ctx, r.Level) || !w.prints(r.Level) {
		return w.Handler.Handle(ctx, r)
	}
	line := "warning: " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf("; %s %s", a.Key, a.Value)
		return true
	})
	_, err := fmt.Fprintln(w.out, line)
	return err
}
