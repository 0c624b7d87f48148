package global

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/nodes/workers"
)

// envServe makes this test's binary a program that takes part in global, under the name that it
// holds; with envWorkers it has so many workers.
const (
	envServe   = "CNODE_TEST_SERVE"
	envWorkers = "CNODE_TEST_WORKERS"
)

func served(t *testing.T, name string, port, count int) *otp.Program {
	cmd := exec.Command(os.Args[0])
	cmd.Env = gonode.Environment(t, port, envServe+"="+name, envWorkers+"="+strconv.Itoa(count))
	return otp.Serve(t, cmd)
}

// serve runs a node, a front, or its worker.
func serve(name string) error {
	count, _ := strconv.Atoi(os.Getenv(envWorkers))
	return gonode.Serve(workers.Config{Workers: count, Choose: workers.BySessions, Patience: limit, Node: nodes.Config{
		Name: name, Cookie: otp.DefaultCookie, Setup: setUp, Visible: true,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("process", os.Getpid()),
	}}, func(ctx context.Context, w *workers.Worker) {
		for _, b := range w.Mailboxes() { // processes of register
			go func() {
				for m, err := range b.All(ctx) {
					if err != nil {
						return
					}
					if a, err := m.Term(); err == nil {
						b.Exit(a)
					}
				}
			}()
		}
	})
}

// setUp gives the node functions to try it with.
func setUp(n *nodes.Node) error {
	g, err := global.Start(context.Background(), n, nil)
	if err != nil {
		return err
	}
	n.Expose("w", "pid", func(context.Context, []ei.Term) (any, error) { return os.Getpid(), nil })
	n.Expose("w", "owner", func(context.Context, []ei.Term) (any, error) { return n.Whereis("cnode_global") != nil, nil })
	n.Expose("w", "known", func(context.Context, []ei.Term) (any, error) { return names(g.Known()), nil })
	n.Expose("w", "names", func(context.Context, []ei.Term) (any, error) { return ei.List(slices.Collect(g.Names())), nil })
	n.Expose("w", "whereis", func(_ context.Context, args []ei.Term) (any, error) {
		if pid, ok := g.Whereis(args[0]); ok {
			return pid, nil
		}
		return ei.Atom("undefined"), nil
	})
	// register(Name) is a new process of that name, which ends when it gets an atom.
	n.Expose("w", "register", func(ctx context.Context, args []ei.Term) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		b, err := n.Handle("", func(self *nodes.Mailbox, m *nodes.Message) {
			if a, err := m.Term(); err == nil {
				self.Exit(a)
			}
		}, nil)
		if err == nil {
			err = g.Register(ctx, args[0], b, global.Method{})
		}
		if errors.Is(err, global.ErrTaken) {
			b.Close()
			return ei.Atom("no"), nil
		}
		if err != nil {
			return nil, err
		}
		return b.Pid(), nil
	})
	n.Expose("w", "unregister", func(ctx context.Context, args []ei.Term) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return ei.Atom("ok"), g.Unregister(ctx, args[0])
	})
	n.Expose("w", "trans", func(ctx context.Context, args []ei.Term) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return ei.Atom("ok"), g.Trans(ctx, global.Lock{Resource: args[0]}, func(context.Context) error {
			time.Sleep(time.Millisecond)
			return nil
		})
	})
	return nil
}

func names(list []string) ei.List {
	atoms := ei.List{}
	for _, name := range list {
		atoms = append(atoms, ei.Atom(name))
	}
	return atoms
}
