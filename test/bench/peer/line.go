package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// lineTick is for a peer with a net_ticktime of 8 s.
const lineTick = 2 * time.Second

// serveLine serves `peer` and `small` on the upper level, each with a goroutine of its own, as two
// processes of a BEAM do: {echo, From, T} sends T to From. It listens at a port of its name's host,
// without a port mapper, and prints "down TIME", in nanoseconds of the Unix era, when it has lost a
// node.
func serveLine(ctx context.Context, cfg nodes.Config, port int) error {
	_, host, err := dist.SplitName(cfg.Name)
	if err != nil {
		return err
	}
	if cfg.Listen, err = transport.ParseAddr(fmt.Sprintf("%s:%d", host, port)); err != nil {
		return err
	}
	cfg.Resolver, cfg.TickInterval, cfg.MaxFrame = nodes.FixedPort(port), lineTick, math.MaxInt32
	cfg.Setup = func(n *nodes.Node) error {
		for _, name := range []string{"peer", "small"} {
			if err := echoes(ctx, n, name); err != nil {
				return err
			}
		}
		watch, err := n.NewMailbox(nil)
		if err == nil {
			_, err = watch.MonitorNodes(context.Background(), nodes.AllNodes)
			go tellDown(ctx, watch)
		}
		return err
	}
	n, err := nodes.New(cfg)
	if err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	endWithInput()
	fmt.Printf("ready %s %d\n", n.Name(), port)
	select {}
}

func echoes(ctx context.Context, n *nodes.Node, name string) error {
	b, err := n.NewMailbox(nil)
	if err != nil {
		return err
	}
	go func() {
		for {
			m, err := b.Receive(ctx)
			if err != nil {
				return
			}
			if err := echo(ctx, m); err != nil {
				slog.Error("echo", "name", name, "error", err)
			}
			m.Release()
		}
	}()
	return n.Register(ctx, name, b)
}

// echo sends the term back from where it is.
func echo(ctx context.Context, m *nodes.Message) error {
	c := ei.NewCursor(m.Payload)
	if arity, err := c.Tuple(); err != nil || arity != 3 || !c.AtomIs(atomEcho) {
		return fmt.Errorf("not {echo, From, T}: %w", err)
	}
	return (&session{conn: m.Conn()}).echo(ctx, &c)
}

// tellDown prints when a node has gone.
func tellDown(ctx context.Context, b *nodes.Mailbox) {
	for {
		m, err := b.Receive(ctx)
		if err != nil {
			return
		}
		c := ei.NewCursor(m.Payload)
		if _, err := c.Tuple(); err == nil && c.AtomIs("nodedown") {
			fmt.Println("down", time.Now().UnixNano())
		}
		m.Release()
	}
}
