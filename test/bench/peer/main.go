// Peer is the C-node that the benchmark measures: the counterpart, on the lower level of package nodes, of the C program
// test/interop/libei/ei_echo.c.
//
//	peer [-polling TIME] NAME COOKIE  serves the name `peer`; prints "ready NAME PORT"
//	peer -dial N NODE COOKIE  connects to NODE N times, each time as another node
//
// Both find the port mapper as ERL_EPMD_PORT says. A serving peer ends with its standard input where that is a pipe.
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
	"github.com/cnode-go/cnode/transport"
)

func main() {
	dials := flag.Int("dial", 0, "connect to a node this many times instead of serving")
	polling := flag.Duration("polling", transport.DefaultPolling, "how long a reader polls before it sleeps")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: peer [-polling TIME] NAME COOKIE | peer -dial N NODE COOKIE")
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	run := func(ctx context.Context, name, cookie string) error { return serve(ctx, name, cookie, *polling) }
	if *dials > 0 {
		run = func(ctx context.Context, node, cookie string) error { return dial(ctx, node, cookie, *dials) }
	}
	if err := run(context.Background(), flag.Arg(0), flag.Arg(1)); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, name, cookie string, polling time.Duration) error {
	n, err := nodes.New(nodes.Config{Name: name, Cookie: cookie, Transport: transport.WithPolling(transport.TCP(), polling)})
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
		go func() {
			err := (&session{conn: c}).serve(ctx)
			if !errors.Is(err, io.EOF) {
				slog.Error("connection", "peer", c.Name(), "error", err)
			}
			_ = c.Close()
		}()
	}
}

// endWithInput ends the process with its standard input where that is a pipe: whoever started it has gone.
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

// dial connects as ei_connect_rate does: under a new name each time, so that the other node never has to ask whether
// the last connection is still alive.
func dial(ctx context.Context, node, cookie string, times int) error {
	for i := range times {
		n, err := nodes.New(nodes.Config{Name: fmt.Sprintf("dial%d_%d@127.0.0.1", os.Getpid(), i), Cookie: cookie})
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
