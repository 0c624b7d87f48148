package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cnode-go/cnode/internal/test/otp"
)

// The names of the kinds of peers, as the table's columns have them.
const (
	nameLibei   = "libei"
	nameBEAM    = "BEAM"
	nameErgo    = "ergo"
	nameOurs    = "ours"
	nameAsleep  = "asleep"
	nameServe   = "serve"
	nameBefore  = "before"  // with --before only
	nameMoved   = "moved"   // when asked for only
	nameSealed  = "sealed"  // the same
	namePair    = "pair"    // the same
	nameSpin    = "spin"    // the same
	nameC       = "C"       // of the hand-off figures only
	nameJSON    = "json"    // encoding/json, of codecs only
	nameCBOR    = "cbor"    // github.com/fxamacker/cbor, of structs only
	nameWorkers = "workers" // of dispatch only
)

// A kind is one way to write the peer.
type kind struct {
	name  string
	tls   bool // it speaks TLS
	start func(ctx context.Context, a *arena, node string) (*peer, error)
}

// kinds are in the order in which they are measured in each round.
func kinds() []kind {
	return []kind{
		{nameLibei, false, startLibei},
		{nameBEAM, true, startBEAM},
		{nameErgo, false, startErgo},
		{nameOurs, true, startOurs},
		{nameAsleep, false, startAsleep},
		{nameServe, true, startServe},
		{nameBefore, true, startBefore},
		{nameMoved, true, startMoved},
		{nameSealed, true, startSealed},
		{namePair, true, startPair},
		{nameSpin, false, startSpin},
	}
}

// named reports whether a kind is measured only if --peers names it, or --before.
func (k kind) named() bool {
	return slices.Contains([]string{nameMoved, nameSealed, namePair, nameSpin, nameBefore}, k.name)
}

func kindNames() []string {
	var names []string
	for _, k := range kinds() {
		if k.name != nameBefore {
			names = append(names, k.name)
		}
	}
	return names
}

// A peer is a running peer.
type peer struct {
	kind  kind
	node  string          // its name
	pid   int             // of its process
	done  <-chan struct{} // closed when it has ended
	log   func() string   // what it has printed; nil: it is not kept
	close func()
	// dial connects to the measuring node n times; nil: it cannot.
	dial func(ctx context.Context, n int) error
	// goroutines says that the peer tells how many goroutines it has.
	goroutines bool
	pairing    *pairing // measures it; nil: the Erlang node does
}

// lastWords is the end of what it has printed, on a line of its own.
func (p *peer) lastWords() string {
	if p.log == nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(p.log()), "\n")
	return ":\n\t" + strings.Join(lines[max(0, len(lines)-3):], "\n\t")
}

// wanted reports whether a kind can be measured, and is to be.
func (o options) wanted(k kind) bool {
	if k.name == nameBefore {
		return o.before != ""
	}
	if o.peers == nil {
		return (k.tls || !o.tls) && !k.named()
	}
	return (k.tls || !o.tls) && slices.Contains(o.peers, k.name)
}

// needsPeers reports whether anything is to be measured that takes all peers in turn.
func (o options) needsPeers() bool {
	return slices.ContainsFunc(figures(), func(r row) bool { return matches(o.only, measurementOf(r.name)) })
}

// start starts a peer with a name that none had before.
func (a *arena) start(ctx context.Context, k kind) (*peer, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	a.started++
	p, err := k.start(ctx, a, fmt.Sprintf("p%d@127.0.0.1", a.started))
	if err != nil {
		return nil, err
	}
	p.kind = k
	return p, nil
}

func startLibei(ctx context.Context, a *arena, node string) (*peer, error) {
	echo, err := a.buildC(ctx, "ei_echo")
	if err != nil {
		return nil, err
	}
	rate, err := a.buildC(ctx, "ei_connect_rate")
	if err != nil {
		return nil, err
	}
	p, err := a.launch(ctx, exec.Command(echo, node, cookie))
	if err != nil {
		return nil, err
	}
	p.dial = func(ctx context.Context, n int) error {
		return a.command(ctx, rate, a.driver.Name(), cookie, strconv.Itoa(n))
	}
	return p, nil
}

func startSpin(ctx context.Context, a *arena, node string) (*peer, error) {
	program := filepath.Join(a.dir, "ei_spin")
	if err := a.compile(ctx, filepath.Join("test", "bench", "c", "ei_spin.c"), program); err != nil {
		return nil, err
	}
	return a.launch(ctx, exec.Command(program, node, cookie))
}

func startBEAM(ctx context.Context, a *arena, node string) (*peer, error) {
	n, err := a.release.Launch(ctx, otp.Options{Name: node, Cookie: cookie, EpmdPort: a.epmdPort, Hidden: true, TLSOptFile: a.tlsFile,
		ExtraArgs: append([]string{"-kernel"}, a.o.buffers()...)})
	if err != nil {
		return nil, err
	}
	err = n.LoadContext(ctx, peerSource)
	if err == nil {
		err = n.LoadContext(ctx, driverSource)
	}
	if err == nil {
		_, err = n.EvalContext(ctx, "bench_peer:start()")
	}
	if err != nil {
		n.Close()
		return nil, err
	}
	return &peer{node: n.Name(), pid: n.Pid(), done: n.Done(), close: n.Close, dial: func(ctx context.Context, times int) error {
		_, err := evaluate(ctx, n, connectLimit, fmt.Sprintf("bench_driver:connect('%s', %d, %d)",
			a.driver.Name(), times, connectLimit.Milliseconds()))
		return err
	}}, nil
}

func startErgo(ctx context.Context, a *arena, node string) (*peer, error) {
	if a.release.Number != 25 {
		return nil, errors.New("ergo v1 connects with OTP 25 only")
	}
	program, err := a.buildGo(ctx, "test/bench/ergo")
	if err != nil {
		return nil, err
	}
	return a.launch(ctx, exec.Command(program, node, cookie))
}

func startOurs(ctx context.Context, a *arena, node string) (*peer, error) {
	program, err := a.buildGo(ctx, oursPackage)
	if err != nil {
		return nil, err
	}
	return a.startProgram(ctx, program, node)
}

// startBefore starts ours as an earlier state of this module has it.
func startBefore(ctx context.Context, a *arena, node string) (*peer, error) {
	program, err := a.buildGoIn(ctx, a.o.before, oursPackage, nameBefore)
	if err != nil {
		return nil, err
	}
	return a.startProgram(ctx, program, node)
}

const oursPackage = "test/bench/peer"

func (a *arena) startProgram(ctx context.Context, program, node string) (*peer, error) {
	p, err := a.launch(ctx, exec.Command(program, "-tls", a.tlsFile, node, cookie))
	if err != nil {
		return nil, err
	}
	p.goroutines = true
	p.dial = func(ctx context.Context, n int) error {
		return a.command(ctx, program, "-tls", a.tlsFile, "-dial", strconv.Itoa(n), a.driver.Name(), cookie)
	}
	return p, nil
}

// startMoved starts ours so that each connection is accepted by one process and served by another
// one, whose processor time is measured.
func startMoved(ctx context.Context, a *arena, node string) (*peer, error) {
	program, err := a.buildGo(ctx, oursPackage)
	if err != nil {
		return nil, err
	}
	return a.launch(ctx, exec.Command(program, "-tls", a.tlsFile, "-moved", node, cookie))
}

// startSealed starts a peer that seals a whole burst of messages, with crypto/tls, before it sends
// the first of them.
func startSealed(ctx context.Context, a *arena, node string) (*peer, error) {
	if a.tlsFile == "" {
		return nil, errors.New("it is for --transport tls")
	}
	if a.o.tlsOpt != "" {
		return nil, errors.New("it reads plain PEM files, such as the benchmark makes, and no --tls-optfile")
	}
	program, err := a.buildGo(ctx, oursPackage)
	if err != nil {
		return nil, err
	}
	return a.launch(ctx, exec.Command(program, "-sealed", filepath.Dir(a.tlsFile), node, cookie))
}

// startAsleep starts ours with readers that neither nap nor look again.
func startAsleep(ctx context.Context, a *arena, node string) (*peer, error) {
	program, err := a.buildGo(ctx, oursPackage)
	if err != nil {
		return nil, err
	}
	return a.launch(ctx, exec.Command(program, "-polling", "0", node, cookie))
}

func startServe(ctx context.Context, a *arena, node string) (*peer, error) {
	return serve(ctx, a, node)
}

// startWorkers starts a serve of several processes.
func startWorkers(ctx context.Context, a *arena, node string) (*peer, error) {
	return serve(ctx, a, node, "--workers", strconv.Itoa(dispatchWorkers))
}

func serve(ctx context.Context, a *arena, node string, args ...string) (*peer, error) {
	program, err := a.buildGo(ctx, "cmd/cnode-demo")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, append([]string{"serve", "--name", node, "--cookie", cookie}, args...)...)
	if a.tlsFile != "" {
		cmd.Args = append(cmd.Args, "--transport", "tls", "--tls-optfile", a.tlsFile)
	}
	endWithBench(cmd) // the others end with their standard input
	return a.launch(ctx, cmd)
}

// launch starts a program that says when it is ready.
func (a *arena) launch(ctx context.Context, cmd *exec.Cmd) (*peer, error) {
	cmd.Env = a.environment()
	p, err := otp.LaunchProgram(ctx, cmd)
	if err != nil {
		return nil, err
	}
	return &peer{node: p.Name, pid: p.Pid(), done: p.Done(), log: p.Log, close: p.Close}, nil
}

// command runs a program to its end.
func (a *arena) command(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = a.environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
