// Package child is for a program that an Elixir or Erlang supervisor starts, as the child
// {Cnode.Node, program: "pricing"} or cnode_node of the package in folder beam: a node that has its
// name and cookie from the BEAM, ends with it, and is upgraded by it.
//
//	func main() { child.Main(func(n *nodes.Node) error { return n.ExposeMethods("pricing", pricing{}) }) }
//
// A program that does more than its node configures an upgrade.Upgrader itself:
//
//	u := &upgrade.Upgrader{Config: nodes.Config{Setup: setup}}
//	ctx, err := child.Configure(context.Background(), u)
//	if err != nil {
//		return err
//	}
//	n, err := u.Start(ctx)
//	if err != nil {
//		return err
//	}
//	fmt.Println("ready", n.Name())
//	return u.Run(ctx)
//
// The same program runs without a supervisor, with CNODE_NODE in its environment, as a unit of
// systemd for example. docs/how-to/elixir-project.md has both.
//
// # Stability
//
// The names are stable, and so are the variables.
package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/upgrade"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/service"
)

// The environment variables by which a program learns what it is to be. A command line would be
// seen by every user of the machine.
const (
	variableNode   = "CNODE_NODE"   // the name of its node
	variableCookie = "CNODE_COOKIE" // the cookie; without one it is in the cookie file
	variableListen = "CNODE_LISTEN" // IP:PORT where the node listens; without one a port of 127.0.0.1
	variableParent = "CNODE_PARENT" // the node whose child this is; without one it is nobody's
	// variableLink is the folder of a private link, in place of variableListen: the node listens
	// there, on a UNIX socket, for a parent that may have no name of its own.
	variableLink = inside.LinkVariable

	// variableTakeOver: the node runs in another process, and goes on in this one.
	variableTakeOver = "CNODE_TAKE_OVER"
)

// ErrNoName: neither the program nor the environment says what the node is called.
var ErrNoName = errors.New("the node has no name: have Cnode.Node or cnode_node start this program, or set " + variableNode)

// statusTaken is EX_TEMPFAIL of sysexits.h: a supervisor tries again.
const statusTaken = 75

// Parent is the name of the node whose child this program is; "": it is nobody's.
func Parent() string { return os.Getenv(variableParent) }

// Main runs a node until its parent ends or says so (SIGTERM), or until another process is the
// node, and ends the process then. setup registers what other nodes are to find, as Config.Setup
// does. The log, on the standard error, has the form of slog.TextHandler, without the time if there
// is a parent, which has its own.
//
// The exit status is 0 after an end in order, 75 if another process has the name, and 1 after any
// other error, which is in the log.
func Main(setup func(n *nodes.Node) error) {
	log := newLog(os.Stderr, Parent() != "")
	u := &upgrade.Upgrader{Config: nodes.Config{Setup: setup, Logger: log}}
	if err := run(context.Background(), u); err != nil {
		log.Error("the program ends", "error", err)
		os.Exit(Status(err))
	}
	os.Exit(0) // whatever else the program has started
}

// Status is the exit status of Main for an error of Upgrader.Start or Run, for a program that calls
// these itself: 0 for nil, 75 if another process has the name of the node, else 1.
func Status(err error) int {
	if err == nil {
		return 0
	}
	if errors.Is(err, epmd.ErrNameTaken) {
		return statusTaken
	}
	return 1
}

func newLog(w io.Writer, bare bool) *slog.Logger {
	options := &slog.HandlerOptions{}
	if bare {
		options.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func run(ctx context.Context, u *upgrade.Upgrader) error {
	ctx, err := Configure(ctx, u)
	if err != nil {
		return err
	}
	n, err := u.Start(ctx)
	if err != nil {
		return err
	}
	fmt.Println("ready", n.Name(), n.Listeners()[0].Addr())
	err = u.Run(ctx)
	if folder := os.Getenv(variableLink); folder != "" {
		_ = os.Remove(folder) // which a killed parent leaves; another process may be the node there
	}
	return err
}

// Configure fills in what the environment says: the node's name, the cookie and where the node
// listens, unless Config has them. With a private link it sets them in any case, and Transport,
// Also and Resolver as well: the parent looks for a socket in a folder of its own.
//
// Configure also fills in the control socket (service.ControlPath, or one in that folder). By that
// the parent has the node go on in a new process, which it starts itself: so for the child of a
// node SIGHUP is ignored unless UpgradeOn says otherwise. Without a parent, cnode-demo upgrade uses
// it. The error is ErrNoName, or that of an address.
//
// The context that it returns ends with ctx, and for the child of a node with the standard input:
// the parent holds its other end, so that it ends with the parent, however that ends. Nothing else
// may read it. Configure waits for nothing.
func Configure(ctx context.Context, u *upgrade.Upgrader) (context.Context, error) {
	cfg := &u.Config
	if folder := os.Getenv(variableLink); folder != "" {
		cfg.Name, cfg.Alive, cfg.Cookie = os.Getenv(variableNode), "", os.Getenv(variableCookie)
		cfg.Resolver, cfg.Transport, cfg.Listen, cfg.Also = nodes.SocketDir(folder), nil, nil, nil
		if u.Control == "" { // others' children may have the same name
			u.Control = filepath.Join(folder, "control")
		}
	}
	if cfg.Name == "" && cfg.Alive == "" {
		cfg.Name = os.Getenv(variableNode)
	}
	if cfg.Name == "" && cfg.Alive == "" {
		return nil, ErrNoName
	}
	if cfg.Cookie == "" {
		cfg.Cookie = os.Getenv(variableCookie)
	}
	if at := os.Getenv(variableListen); at != "" && cfg.Listen == nil && os.Getenv(variableLink) == "" {
		addr, err := transport.ParseAddr(at)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", variableListen, err)
		}
		cfg.Listen = addr
	}
	if u.Control == "" && cfg.Name != "" {
		u.Control = service.ControlPath(cfg.Name)
	}
	if os.Getenv(variableTakeOver) != "" {
		u.TakeOver = true
		_ = os.Unsetenv(variableTakeOver) // it is for this process alone
	}
	if Parent() == "" {
		return ctx, nil
	}
	if u.UpgradeOn == nil {
		signal.Ignore(syscall.SIGHUP)
		u.UpgradeOn = []os.Signal{}
	}
	ctx, end := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // an error is an end, too
		end()
	}()
	return ctx, nil
}
