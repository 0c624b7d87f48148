package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/spf13/cobra"
)

// tourHeir is the command of the process that the tour hands a node to.
const tourHeir = "tour-heir"

func newTourHeir(o *options) *cobra.Command {
	return &cobra.Command{
		Use: tourHeir, Hidden: true, Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return succeedCarol(cmd.Context(), o) },
	}
}

// A legacy is what the new process must know and the node's state does not hold.
type legacy struct{ Name, Cookie, Mapper string }

func (l legacy) config() nodes.Config {
	return nodes.Config{
		Name: l.Name, Cookie: l.Cookie, Resolver: &nodes.PortMapper{Client: epmd.Client{Addr: l.Mapper}},
		Setup: func(n *nodes.Node) error { expose(n); return nil },
	}
}

// move hands a third node, with its connection to alice, to another process.
func (t *tour) move(ctx context.Context) (err error) {
	will := legacy{"carol@127.0.0.1", t.cookie, t.mapper}
	carol, err := nodes.New(will.config())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, carol.Close()) }()
	if err := carol.Start(ctx); err != nil {
		return err
	}
	c, err := t.alice.Connect(ctx, carol.Name())
	if err != nil {
		return err
	}
	before, err := c.Call(ctx, "cnode", "pid")
	if err != nil {
		return err
	}
	ch, theirs, err := handoff.ChannelPair()
	if errors.Is(err, errors.ErrUnsupported) {
		t.step("(A connection can move to another process where the system passes sockets on: not here.)")
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = ch.Close() }() // which also ends the other process
	cmd := exec.CommandContext(ctx, ownFile(), tourHeir)
	cmd.Env = append(os.Environ(), channelVariable+"=3")
	cmd.ExtraFiles = []*os.File{theirs}
	err = cmd.Start()
	err = errors.Join(err, theirs.Close())
	if err != nil {
		return err
	}
	defer func() {
		_ = ch.Close()
		_ = cmd.Wait() // its own affair: the tour has seen what it wanted
	}()
	o := handoff.Offer{
		Static: func(context.Context) ([]byte, error) { return json.Marshal(will) },
		Freeze: func(ctx context.Context) (handoff.Frozen, error) { return carol.Freeze(ctx) },
	}
	h, err := o.Give(ctx, ch)
	if err != nil {
		return err
	}
	after, err := c.Call(ctx, "cnode", "pid")
	if err != nil {
		return err
	}
	if before == after || after != ei.Term(ei.Int(h.Peer.PID)) {
		return fmt.Errorf("process %v answers, and %d has taken over", after, h.Peer.PID)
	}
	t.step("A third node, carol, lived in this process, number %v, and alice was connected to her. Then a new process began,", before)
	t.say("    number %v, and got carol: the open connection, the name, all. Nothing was lost, and alice saw but a pause of %v:", after, h.Silence.Round(100*time.Microsecond))
	t.result("rpc:call('"+carol.Name()+"', cnode, pid, [])", fmt.Sprintf("%v, later %v", before, after))
	return nil
}

// succeedCarol is carol's second life, until the channel closes.
func succeedCarol(ctx context.Context, o *options) error {
	ch, err := o.succession.channel(ctx, "")
	if err != nil || ch == nil {
		return errors.Join(err, usageIf(ch == nil))
	}
	defer ch.Close()
	var will legacy
	var staged *nodes.Staged
	_, err = (&handoff.Acceptance{
		Terms:   handoff.Terms{Plugins: plugins(nodes.Config{})},
		Prepare: func(_ context.Context, static []byte) error { return json.Unmarshal(static, &will) },
		Stage: func(_ context.Context, state []byte, fds []int) (_ handoff.Staged, err error) {
			staged, err = nodes.Restore(will.config(), state, fds)
			return staged, err
		},
	}).Take(ctx, ch)
	if staged == nil {
		return err
	}
	_ = ch.Wait(ctx)
	return staged.Node().Close()
}

func usageIf(alone bool) error {
	if alone {
		return usagef("%s is for the tour, which starts it", tourHeir)
	}
	return nil
}
