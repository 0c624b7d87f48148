package main

import (
	"context"
	_ "embed"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/cnode-go/cnode/internal/test/otp"
)

//go:embed erlang/bench_groups.erl
var groupsSource string

// groups is the measurement of process groups: how long it takes until other nodes have seen all
// members of one node, which join one after the other.
const groups = "groups"

const (
	groupsMembers  = 10_000
	groupsWatchers = 3 // Erlang nodes that are connected with the peer, and not with each other
)

func groupsRows() []row {
	return []row{{name: groups + "/join", title: fmt.Sprintf("%d join, seen by %d nodes", groupsMembers, groupsWatchers), unit: "ms",
		targets: []target{atMost(1.2, nameBEAM)}}}
}

func startGroupsBEAM(ctx context.Context, a *arena, node string) (*peer, error) {
	n, err := a.groupsNode(ctx, node)
	if err != nil {
		return nil, err
	}
	return &peer{node: n.Name(), pid: n.Pid(), done: n.Done(), close: n.Close}, nil
}

// groupsNode starts an Erlang node with a scope.
func (a *arena) groupsNode(ctx context.Context, node string) (*otp.Node, error) {
	n, err := a.release.Launch(ctx, otp.Options{Name: node, Cookie: cookie, EpmdPort: a.epmdPort, ExtraArgs: []string{
		"-connect_all", "false", "-kernel", "prevent_overlapping_partitions", "false",
	}})
	if err != nil {
		return nil, err
	}
	if err = n.LoadContext(ctx, groupsSource); err == nil {
		_, err = n.EvalContext(ctx, "bench_groups:start()")
	}
	if err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

func startGroups(ctx context.Context, a *arena, node string) (*peer, error) {
	program, err := a.buildGo(ctx, oursPackage)
	if err != nil {
		return nil, err
	}
	return a.launch(ctx, exec.Command(program, "-groups", node, cookie))
}

// measureGroups takes turns between a BEAM and ours.
func (a *arena) measureGroups(ctx context.Context) error {
	if a.o.tls || !matches(a.o.only, groups) {
		return nil
	}
	var watchers []*otp.Node
	var both []*peer
	defer func() {
		for _, p := range both {
			p.close()
		}
		for _, n := range watchers {
			n.Close()
		}
	}()
	var names []string
	for i := range groupsWatchers {
		n, err := a.groupsNode(ctx, fmt.Sprintf("watcher%d@127.0.0.1", i))
		if err != nil {
			a.note("%s not measured: %v", groups, err)
			return ctx.Err()
		}
		watchers = append(watchers, n)
		names = append(names, "'"+n.Name()+"'")
	}
	for _, k := range []kind{{name: nameBEAM, start: startGroupsBEAM}, {name: nameOurs, start: startGroups}} {
		p, err := a.start(ctx, k)
		if err != nil {
			if ctx.Err() == nil {
				a.note("%s not measured: %v", groups, err)
			}
			return ctx.Err()
		}
		both = append(both, p)
		for _, n := range watchers {
			if _, err := n.EvalContext(ctx, fmt.Sprintf("pong = net_adm:ping('%s')", p.node)); err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
		}
		if _, err := watchers[0].EvalContext(ctx,
			fmt.Sprintf("ok = erpc:call('%s', bench_groups, make, [%d])", p.node, groupsMembers)); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
	}
	for round := range a.o.rounds {
		a.say("%s, round %d of %d", groups, round+1, a.o.rounds)
		for i := range both {
			p := both[(round+i)%len(both)]
			ns, err := evaluate(ctx, watchers[0], cellLimit, fmt.Sprintf("bench_groups:measure('%s', [%s], %d, %d)",
				p.node, strings.Join(names, ","), groupsMembers, cellLimit.Milliseconds()))
			if err != nil {
				return fmt.Errorf("%s: %w", p.kind.name, err)
			}
			a.results.add(groups+"/join", p.kind.name, microseconds(time.Duration(ns))/1000)
			time.Sleep(pause)
		}
	}
	return nil
}
