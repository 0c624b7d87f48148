// Peer is the C-node that the benchmark measures: the counterpart, on the lower level of package
// nodes, of the C program test/interop/libei/ei_echo.c.
//
//	peer [-tls FILE] [-polling TIME] NAME COOKIE  serves the name `peer`; prints "ready NAME PORT"
//	peer [-tls FILE] -moved NAME COOKIE  the same, but another process accepts each connection and hands it over
//	peer -sealed DIR NAME COOKIE  the same over crypto/tls with the certificate in DIR; all of a {source, …} is sealed before any is sent
//	peer -upper NAME COOKIE  functions, servers and processes of a node on the upper level: see serveUpper
//	peer -groups NAME COOKIE  members of a process group: see serveGroups
//	peer -line PORT NAME COOKIE  the names `peer` and `small` of a node on the upper level: see serveLine
//	peer [-tls FILE] -dial N NODE COOKIE  connects to NODE N times, each time as another node
//
// All find the port mapper by ERL_EPMD_PORT. A serving peer ends with its standard input if that is
// a pipe.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/test/bench/profile"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

func main() {
	dials := flag.Int("dial", 0, "connect to a node this many times instead of serving")
	polling := flag.Duration("polling", transport.DefaultPolling, "how long a reader polls before it sleeps")
	moved := flag.Bool("moved", false, "serve connections that another process has accepted")
	giver := flag.Bool("giver", false, "be that process; for -moved itself")
	sealed := flag.String("sealed", "", "directory of certificates: seal what is asked for before any of it is sent")
	upper := flag.Bool("upper", false, "serve functions, servers and processes, on the upper level")
	groups := flag.Bool("groups", false, "have members of a process group, on the upper level")
	line := flag.Int("line", 0, "serve at this port of the name's host, on the upper level")
	file := flag.String("tls", "", "option file of TLS; empty: TCP")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: peer [-tls FILE] [-polling TIME] NAME COOKIE | peer [-tls FILE] -dial N NODE COOKIE")
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	serving := serve
	switch {
	case *giver: // set together with -moved
		serving = give
	case *moved:
		serving = serveMoved
	case *upper:
		serving = serveUpper
	case *groups:
		serving = serveGroups
	case *line != 0:
		serving = func(ctx context.Context, cfg nodes.Config) error { return serveLine(ctx, cfg, *line) }
	case *sealed != "":
		serving = func(ctx context.Context, cfg nodes.Config) error { return serveSealed(ctx, cfg, *sealed) }
	}
	stop, err := profile.Start()
	if err == nil {
		err = run(context.Background(), *file, *polling, *dials, serving)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

// run serves, or dials if dials is not 0.
func run(ctx context.Context, file string, polling time.Duration, dials int, serving func(context.Context, nodes.Config) error) error {
	carrier := transport.TCP()
	if file != "" {
		var err error
		if polling == 0 {
			polling = -1 // 0 is the default there
		}
		if carrier, err = tlstransport.FromOptFile(file, &tlstransport.Options{Polling: polling}); err != nil {
			return err
		}
	}
	cfg := nodes.Config{Cookie: flag.Arg(1), Transport: transport.WithPolling(carrier, polling)}
	if dials > 0 {
		return dial(ctx, cfg, flag.Arg(0), dials)
	}
	cfg.Name = flag.Arg(0)
	return serving(ctx, cfg)
}

func serve(ctx context.Context, cfg nodes.Config) error {
	return accept(ctx, cfg, func(c *nodes.Conn) error {
		go converse(ctx, c, nil)
		return nil
	})
}

// converse serves a connection to its end.
func converse(ctx context.Context, c *nodes.Conn, k *cork) {
	err := (&session{conn: c, cork: k}).serve(ctx)
	if !errors.Is(err, io.EOF) {
		slog.Error("connection", "peer", c.Name(), "error", err)
	}
	_ = c.Close()
}

// accept listens, says that it is ready, and gives every connection to take.
func accept(ctx context.Context, cfg nodes.Config, take func(c *nodes.Conn) error) error {
	n, err := nodes.New(cfg)
	if err != nil {
		return err
	}
	addr, err := transport.ParseAddr("127.0.0.1:0")
	if err != nil {
		return err
	}
	l, err := n.Listen(ctx, addr)
	if err != nil {
		return err
	}
	if err := n.Publish(ctx, l); err != nil {
		return err
	}
	bound, err := transport.AddrPort(l.Addr())
	if err != nil {
		return err
	}
	endWithInput()
	fmt.Printf("ready %s %d\n", n.Name(), bound.Port())
	for {
		c, err := l.Accept(ctx)
		if err != nil {
			return err
		}
		if err := take(c); err != nil {
			return err
		}
	}
}

// endWithInput ends the process with its standard input if that is a pipe: the process that started
// this one is gone.
func endWithInput() {
	info, err := os.Stdin.Stat()
	if err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
}

// dial connects as ei_connect_rate does: under a new name each time, so that the other node never
// has to ask whether the last connection is still alive. The nodes have one Resolver, which
// remembers where the other node is; it asks the port mapper each time all the same.
func dial(ctx context.Context, cfg nodes.Config, node string, times int) error {
	cfg.Resolver = &nodes.PortMapper{}
	for i := range times {
		cfg.Name = fmt.Sprintf("dial%d_%d@127.0.0.1", os.Getpid(), i)
		n, err := nodes.New(cfg)
		if err != nil {
			return err
		}
		if _, err := n.Connect(ctx, node); err != nil {
			return err
		}
		if err := n.Close(); err != nil {
			return err
		}
	}
	return nil
}
