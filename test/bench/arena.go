package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

//go:embed erlang/bench_driver.erl
var driverSource string

//go:embed erlang/bench_peer.erl
var peerSource string

const (
	cookie = "bench"
	// startLimit bounds the start of a peer, on a busy machine.
	startLimit = 60 * time.Second
	// grace is how much longer than Erlang's own time limit a call may take.
	grace = 10 * time.Second
)

// An arena is one run: the Erlang node that measures, the peers, and what has been measured.
type arena struct {
	o        options
	release  otp.Release
	progress io.Writer
	dir      string              // of the programs built
	tlsFile  string              // option file of all nodes; empty: they talk over TCP
	carrier  transport.Transport // of the nodes of this program; nil: TCP
	epmdPort int
	stopEpmd func()
	driver   *otp.Node
	peers    []*peer
	started  int // peers, for their names
	results  results
	notes    []string
}

// open starts the node that measures, and the peers.
func open(ctx context.Context, release otp.Release, o options, progress io.Writer) (_ *arena, err error) {
	a := &arena{o: o, release: release, progress: progress, stopEpmd: func() {}, results: results{}}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if a.dir, err = os.MkdirTemp("", "cnode-bench-"); err != nil {
		return nil, err
	}
	if a.epmdPort, a.stopEpmd, err = release.LaunchEpmd(); err != nil {
		return nil, err
	}
	if o.tls {
		if a.tlsFile = o.tlsOpt; a.tlsFile == "" {
			if a.tlsFile, err = a.certify(ctx); err != nil {
				return nil, err
			}
		}
		if a.carrier, err = tlstransport.FromOptFile(a.tlsFile, nil); err != nil {
			return nil, err
		}
	}
	if err := a.startDriver(ctx); err != nil {
		return nil, err
	}
	for _, k := range kinds() {
		if !o.wanted(k) || !o.needsPeers() {
			continue
		}
		a.say("starting %s", k.name)
		p, err := a.start(ctx, k)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			a.note("%s: not measured: %v", k.name, err)
			continue
		}
		a.peers = append(a.peers, p)
	}
	if len(a.peers) == 0 && o.needsPeers() {
		return nil, errors.New("no peer can be measured")
	}
	return a, nil
}

// startDriver starts the measuring node. It does not take part in the work of Erlang's module
// global, into which a visible peer, such as ergo's, would be drawn.
func (a *arena) startDriver(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	args := []string{"-connect_all", "false", "-kernel", "prevent_overlapping_partitions", "false"}
	args = append(args, a.o.buffers()...)
	var err error
	a.driver, err = a.release.Launch(ctx, otp.Options{
		Name: "driver", Cookie: cookie, EpmdPort: a.epmdPort, TLSOptFile: a.tlsFile,
		ExtraArgs: args,
	})
	if err != nil {
		return err
	}
	return a.driver.LoadContext(ctx, driverSource)
}

// buffers gives arguments of erl that follow -kernel, the same for all Erlang nodes.
func (o options) buffers() []string {
	if o.buffer == 0 {
		return nil
	}
	value := fmt.Sprintf("[{buffer,%d}]", o.buffer)
	return []string{"inet_dist_connect_options", value, "inet_dist_listen_options", value}
}

func (a *arena) close() {
	for _, p := range a.peers {
		p.close()
	}
	if a.driver != nil {
		a.driver.Close()
	}
	a.stopEpmd()
	if a.dir != "" {
		_ = os.RemoveAll(a.dir)
	}
}

func (a *arena) say(format string, args ...any) {
	fmt.Fprintf(a.progress, "bench: "+format+"\n", args...)
}

// note keeps a sentence for the end of the table.
func (a *arena) note(format string, args ...any) {
	a.say(format, args...)
	if text := fmt.Sprintf(format, args...); !slices.Contains(a.notes, text) {
		a.notes = append(a.notes, text)
	}
}

// A failure is what the measuring node says about a peer that did not do what was asked.
type failure struct{ reason string }

// Error returns the reason.
func (f *failure) Error() string { return f.reason }

// call evaluates function(args..., Limit) of the driver's module and returns the number that it
// answers, or a *failure.
func (a *arena) call(ctx context.Context, limit time.Duration, function, args string) (int64, error) {
	return evaluate(ctx, a.driver, limit, fmt.Sprintf("bench_driver:%s(%s, %d)", function, args, limit.Milliseconds()))
}

func evaluate(ctx context.Context, n *otp.Node, limit time.Duration, expr string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, limit+grace)
	defer cancel()
	text, err := n.EvalContext(ctx, expr)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", expr, err)
	}
	term, err := ei.Parse(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", expr, err)
	}
	answer, ok := term.(ei.Tuple)
	if !ok || len(answer) != 2 {
		return 0, fmt.Errorf("%s: unexpected answer %s", expr, text)
	}
	if answer[0] != ei.Atom("done") {
		return 0, &failure{answer[1].String()}
	}
	n64, ok := answer[1].(ei.Int)
	if !ok {
		return 0, fmt.Errorf("%s: unexpected answer %s", expr, text)
	}
	return int64(n64), nil
}

// environment is what the programs measured see: this process's variables, but with the arena's own
// home and port mapper.
func (a *arena) environment() []string {
	return append(os.Environ(), "HOME="+a.dir, "ERL_EPMD_PORT="+strconv.Itoa(a.epmdPort), "ERL_EPMD_ADDRESS=127.0.0.1")
}
