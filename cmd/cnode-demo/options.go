package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
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
}

func (o *options) addTo(f *pflag.FlagSet) {
	f.StringVar(&o.name, "name", "", "node name `ALIVE[@HOST]`; HOST is this machine's short name if left out")
	f.StringVar(&o.cookie, "cookie", "", "the cluster's shared secret (default: the first line of ~/.erlang.cookie)")
	f.StringVar(&o.transport, "transport", "tcp", "what carries connections: `tcp|unix`")
	f.StringVar(&o.listen, "listen", "", "`ADDRESS` to listen on: IP:PORT, or unix:PATH, where PATH is a directory or a socket (default: a free port of 127.0.0.1)")
	f.StringVar(&o.epmd, "epmd", "auto", "port mapper, `auto|embedded|HOST:PORT`: the running one, or an own one where none runs; always an own one; that one")
	f.StringVar(&o.tlsOptfile, "tls-optfile", "", "`FILE` of TLS options, for --transport tls")
	f.StringVar(&o.logLevel, "log-level", "off", "log to the standard error: `off|error|warn|info|debug`")
}

// check finds what is wrong with the flags before anything is opened.
func (o *options) check() error {
	switch o.transport {
	case "tcp", "unix":
	case "tls":
		return usagef("--transport tls is not in this build yet: use tcp or unix")
	default:
		return usagef("--transport %q: want tcp or unix", o.transport)
	}
	if o.tlsOptfile != "" {
		return usagef("--tls-optfile needs --transport tls")
	}
	_, err := o.level()
	return err
}

// levelOff is above every level that is logged.
const levelOff = slog.LevelError + 4

func (o *options) level() (slog.Level, error) {
	level, ok := map[string]slog.Level{
		"off": levelOff, "error": slog.LevelError, "warn": slog.LevelWarn, "info": slog.LevelInfo, "debug": slog.LevelDebug,
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

// fullName is --name, or another name where it was not given, with a host.
func (o *options) fullName(otherwise string) (string, error) {
	name := o.name
	if name == "" {
		name = otherwise
	}
	if !strings.Contains(name, "@") {
		host, err := shortHost()
		if err != nil {
			return "", err
		}
		name += "@" + host
	}
	if err := dist.CheckName(name); err != nil {
		return "", &usageError{fmt.Errorf("--name: %w", err)}
	}
	return name, nil
}

// shortHost is the host part that erl -sname gives a name without one.
func shortHost() (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("this machine's name is not known, so give --name ALIVE@HOST: %w", err)
	}
	host, _, _ = strings.Cut(host, ".")
	return host, nil
}

// config is that of a node of this name, which listens if serving is true. release ends the port mapper that was started for it, if
// any.
func (o *options) config(ctx context.Context, name string, serving bool, log *slog.Logger) (cfg nodes.Config, release func(), err error) {
	cfg = nodes.Config{Name: name, Cookie: o.cookie, Logger: log}
	release = func() {}
	if o.transport == "unix" {
		cfg.Transport = transport.Unix()
		dir, addr, err := o.socket(name, serving)
		cfg.Resolver, cfg.Listen = nodes.SocketDir(dir), addr
		return cfg, release, err
	}
	if cfg.Listen, err = o.inetListen(); err != nil {
		return cfg, release, err
	}
	cfg.Resolver, release, err = o.portMapper(ctx, serving, log)
	return cfg, release, err
}

// inetListen reads --listen as IP:PORT, or an IP address alone; nil leaves it to the default.
func (o *options) inetListen() (transport.Addr, error) {
	if o.listen == "" {
		return nil, nil
	}
	if ip, err := netip.ParseAddr(o.listen); err == nil {
		return transport.FromAddrPort(netip.AddrPortFrom(ip, 0)), nil
	}
	addr, err := transport.ParseAddr(o.listen)
	if err != nil {
		return nil, &usageError{fmt.Errorf("--listen: %w", err)}
	}
	if _, err := transport.AddrPort(addr); err != nil {
		return nil, usagef("--listen %s: this address needs --transport unix", o.listen)
	}
	return addr, nil
}

// socket is the directory of the nodes' sockets, and the address of this node's own.
func (o *options) socket(name string, serving bool) (dir string, addr transport.Addr, err error) {
	path, ok := strings.CutPrefix(o.listen, "unix:")
	switch {
	case o.listen == "":
		dir, err = ownDir()
	case !ok || path == "":
		err = usagef("--listen %s: --transport unix wants unix:DIRECTORY or unix:PATH", o.listen)
	case strings.HasSuffix(path, "/") || isDir(path):
		dir = path
	default:
		addr, err = transport.ParseAddr(o.listen)
		return filepath.Dir(path), addr, err
	}
	if err != nil {
		return "", nil, err
	}
	if serving {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", nil, err
		}
	}
	addr, err = nodes.SocketDir(dir).Addr(name)
	return dir, addr, err
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
