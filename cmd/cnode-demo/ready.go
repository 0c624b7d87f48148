package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// announce reports, on the standard output and to the service manager, that a node is ready, and
// warns if no other node can connect to it. The first listener is the one that is published.
func (o *options) announce(ctx context.Context, name string, listeners []*nodes.Listener, out, errOut io.Writer) {
	at := listeners[0].Addr()
	printReady(out, errOut, name, at)
	o.also.announce(out, listeners[1:])
	notifyManager(errOut)
	logged := o.logger(errOut).Enabled(ctx, slog.LevelWarn) // by the node itself
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
