package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/steps"
	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/spf13/pflag"
)

// announce reports on the standard output that a node is ready, and warns if no other node can
// connect to it. The first listener is the one that is published.
func (o *server) announce(ctx context.Context, name string, listeners []*nodes.Listener, out, errOut io.Writer) {
	at := listeners[0].Addr()
	printReady(out, errOut, name, at)
	o.also.announce(out, listeners[1:])
	steps.Reached("serve: announced")
	logged := o.Logger(errOut).Enabled(ctx, slog.LevelWarn) // by the node itself
	if warning := unreachable(ctx, name, at, logged); warning != "" {
		fmt.Fprintln(errOut, "serve: "+warning)
	}
}

// printReady prints where the node is reached. If that cannot be written, the node serves on.
func printReady(out, errOut io.Writer, name string, addr transport.Addr) {
	if _, err := fmt.Fprintf(out, "ready %s %s\n", name, place(addr)); err != nil {
		fmt.Fprintf(errOut, "serve: %s serves at %v; could not write the ready line: %v\n", name, addr, err)
	}
}

// place is how "ready" names an address: the port alone, or the path.
func place(a transport.Addr) string {
	if u, ok := a.(transport.UnixAddr); ok {
		return u.Path()
	}
	at, err := transport.AddrPort(a)
	if err != nil {
		return a.String()
	}
	return fmt.Sprint(at.Port())
}

// unreachable gives a warning if no other node can connect to the node, else "". What is in the log
// already is given only with advice.
func unreachable(ctx context.Context, name string, addr transport.Addr, logged bool) string {
	err := nodes.CheckReachable(ctx, name, addr)
	var e *nodes.UnreachableError
	if errors.As(err, &e) && e.At.IsValid() {
		return fmt.Sprintf("%v: name it ALIVE@%v, or --listen %v", e, e.Listens, e.At)
	}
	if err != nil && !logged {
		return err.Error()
	}
	return ""
}

// also are the flags for more addresses at which serve listens, each TRANSPORT:ADDRESS.
type also struct{ given []string }

func (a *also) addTo(f *pflag.FlagSet) {
	f.StringArrayVar(&a.given, "also", nil,
		"listen at another address as well: `tcp|tls:IP:PORT`, or unix:SOCKET; may be repeated. The port mapper\n"+
			"does not know about it: give a fixed port")
}

// overTLS reports whether one of the addresses is for TLS.
func (a *also) overTLS() bool {
	for _, given := range a.given {
		if strings.HasPrefix(given, "tls:") {
			return true
		}
	}
	return false
}

// over adds the addresses to a node's configuration. tls makes the transport that --tls-optfile
// describes.
func (a *also) over(cfg *nodes.Config, tls func() (transport.Transport, error)) error {
	for _, given := range a.given {
		e, err := parseAlso(given, tls)
		if err != nil {
			return err
		}
		cfg.Also = append(cfg.Also, e)
	}
	return nil
}

func parseAlso(given string, tls func() (transport.Transport, error)) (e nodes.Endpoint, err error) {
	kind, address, _ := strings.Cut(given, ":")
	switch kind {
	case "tcp":
		e.Transport = transport.TCP()
	case "tls":
		if e.Transport, err = tls(); err != nil {
			return e, err
		}
	case "unix":
		e.Transport, address = transport.Unix(), given
	default:
		return e, cli.Usagef("--also %q: want tcp:IP:PORT, tls:IP:PORT or unix:SOCKET", given)
	}
	if e.Addr, err = transport.ParseAddr(address); err != nil {
		return e, cli.Usagef("--also %s: %w", given, err)
	}
	if _, err := transport.AddrPort(e.Addr); err != nil && kind != "unix" {
		return e, cli.Usagef("--also %s: want an IP address and a port", given)
	}
	return e, nil
}

// announce prints the addresses really bound. Those that a previous process has handed over may
// differ from those asked for.
func (a *also) announce(out io.Writer, listeners []*nodes.Listener) {
	for i, l := range listeners {
		kind := "tcp"
		if i < len(a.given) {
			kind, _, _ = strings.Cut(a.given[i], ":")
		}
		fmt.Fprintf(out, "also %s:%s\n", kind, strings.TrimPrefix(l.Addr().String(), kind+":"))
	}
}
