package tour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/service"
	"github.com/spf13/cobra"
)

// tourHeir is the command of the process that the tour hands a node to.
const tourHeir = "tour-heir"

func Heir() *cobra.Command {
	return &cobra.Command{
		Use: tourHeir, Hidden: true, Args: cli.Args("[OPTFILE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := ""
			if len(args) > 0 {
				file = args[0]
			}
			return succeedCarol(cmd.Context(), file)
		},
	}
}

// A legacy is what the new process must know and the node's state does not hold. Without a port
// mapper the node is known to its neighbours only.
type legacy struct{ Name, Cookie, Mapper string }

// config is the node's configuration in both processes; with an option file the node speaks TLS.
func (l legacy) config(optFile string) (cfg nodes.Config, err error) {
	cfg = nodes.Config{
		Name: l.Name, Cookie: l.Cookie, Resolver: nodes.Static{}, Transport: transport.TCP(),
		Setup: func(n *nodes.Node) error { n.Expose("cnode", "pid", nodes.FuncOf(os.Getpid)); return nil },
	}
	if l.Mapper != "" {
		cfg.Resolver = &nodes.PortMapper{Client: epmd.Client{Addr: l.Mapper}}
	}
	if optFile != "" {
		cfg.Transport, err = tlstransport.FromOptFile(optFile, nil)
	}
	return cfg, err
}

// A moved is what a neighbour of a node saw of its move.
type moved struct {
	before, after ei.Term // the processes that answered
	silence       time.Duration
}

// move hands a third node, with its connection to alice, to another process.
func (t *tour) move(ctx context.Context) error {
	m, err := t.handOver(ctx, legacy{"carol@127.0.0.1", t.cookie, t.mapper}, "",
		func(*nodes.Node) (*nodes.Node, error) { return t.alice, nil })
	if errors.Is(err, errors.ErrUnsupported) {
		t.step("(A connection can move to another process where the system passes sockets on: not here.)")
		return nil
	}
	if err != nil {
		return err
	}
	t.step("A third node, carol, lived in this process, number %v, and alice was connected to her. Then a new process began,", m.before)
	t.say("    number %v, and got carol: the open connection, the name, all. Nothing was lost, and alice saw but a pause of %v:",
		m.after, m.silence)
	t.result("rpc:call('carol@127.0.0.1', cnode, pid, [])", fmt.Sprintf("%v, later %v", m.before, m.after))
	return nil
}

// moveSealed moves carol again, this time over TLS, whose keys go along.
func (t *tour) moveSealed(ctx context.Context, optFile string) error {
	var erin *nodes.Node
	m, err := t.handOver(ctx, legacy{Name: "carol@127.0.0.1", Cookie: t.cookie}, optFile, func(carol *nodes.Node) (_ *nodes.Node, err error) {
		tr, err := tlstransport.FromOptFile(optFile, &tlstransport.Options{Logger: t.log})
		if err != nil {
			return nil, err
		}
		erin, err = nodes.New(t.private("erin", tr, nodes.Static{carol.Name(): {Addr: carol.Listeners()[0].Addr()}}))
		return erin, err
	})
	if erin != nil {
		err = errors.Join(err, erin.Close())
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return nil // move has said so
	}
	if err != nil {
		return err
	}
	t.step("A TLS session can move too: its keys went along with its socket, from process %v to %v, and it was silent for %v:", m.before,
		m.after, m.silence)
	t.result("rpc:call('carol@127.0.0.1', cnode, pid, [])", fmt.Sprintf("%v, later %v", m.before, m.after))
	return nil
}

// handOver makes carol, has a neighbour connect to her, and hands her to a new process.
func (t *tour) handOver(ctx context.Context, will legacy, optFile string,
	neighbour func(carol *nodes.Node) (*nodes.Node, error)) (m moved, err error) {
	cfg, err := will.config(optFile)
	if err != nil {
		return m, err
	}
	carol, err := nodes.New(cfg)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, carol.Close()) }()
	if err := carol.Start(ctx); err != nil {
		return m, err
	}
	n, err := neighbour(carol)
	if err != nil {
		return m, err
	}
	c, err := n.Connect(ctx, carol.Name())
	if err != nil {
		return m, err
	}
	if m.before, err = c.RPC(ctx, "cnode", "pid"); err != nil {
		return m, err
	}
	ch, stop, err := startHeir(ctx, optFile)
	if err != nil {
		return m, err
	}
	defer stop()
	o := carol.Offer()
	o.Static = func(context.Context) ([]byte, error) { return json.Marshal(will) }
	o.Deadlines.Hello = 10 * time.Second // it begins
	h, err := o.Give(ctx, ch)
	if err != nil {
		return m, err
	}
	m.silence = h.Silence.Round(100 * time.Microsecond)
	if m.after, err = c.RPC(ctx, "cnode", "pid"); err != nil {
		return m, err
	}
	if m.before == m.after || m.after != ei.Term(ei.Int(h.Peer.PID)) {
		return m, fmt.Errorf("process %v answers, and %d has taken over", m.after, h.Peer.PID)
	}
	return m, nil
}

// startHeir starts the process that succeedCarol runs in. stop ends it.
func startHeir(ctx context.Context, optFile string) (ch *handoff.Channel, stop func(), err error) {
	next := &service.Successor{Cmd: exec.CommandContext(ctx, service.OwnFile(), tourHeir)}
	if optFile != "" {
		next.Cmd.Args = append(next.Cmd.Args, optFile)
	}
	if ch, err = next.Begin(); err != nil {
		return nil, nil, err
	}
	return ch, func() {
		_ = ch.Close()      // which ends the other process
		_ = next.Cmd.Wait() // how it ends does not matter: the tour has seen what it wanted
	}, nil
}

// succeedCarol takes carol over, and runs her until the channel closes.
func succeedCarol(ctx context.Context, optFile string) error {
	cli.SurviveTerminal()
	ch, err := service.Coming()
	if err != nil || ch == nil {
		return errors.Join(err, usageIf(ch == nil))
	}
	defer ch.Close()
	var cfg nodes.Config
	if cfg, err = (legacy{}).config(optFile); err != nil {
		return err
	}
	var staged *nodes.Staged
	taken, err := (&handoff.Acceptance{
		Terms: cfg.Terms(),
		Prepare: func(_ context.Context, static []byte) (err error) {
			var will legacy
			if err = json.Unmarshal(static, &will); err == nil {
				cfg, err = will.config(optFile)
			}
			return err
		},
		Stage: func(_ context.Context, state []byte, fds []int) (_ handoff.Staged, err error) {
			staged, err = nodes.Restore(cfg, state, fds)
			return staged, err
		},
	}).Take(ctx, ch)
	if !taken.Owns {
		return err
	}
	_ = ch.Wait(ctx)
	return staged.Node().Close()
}

func usageIf(alone bool) error {
	if alone {
		return cli.Usagef("%s is for the tour, which starts it", tourHeir)
	}
	return nil
}
