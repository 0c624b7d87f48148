package otp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Options say how a node is started. The zero value gives a visible node with a
// name that nobody else has and a port mapper of its own.
type Options struct {
	// Name is the alive part of the node's name, or the whole name. Empty: a new
	// one. "undefined" asks for a dynamic name, which the first node that this one
	// connects to (net_kernel:connect_node/1) gives; [Node.Name] does not know it.
	Name string
	// Short starts the node with -sname, on the host "localhost" unless Name says
	// another; else it is -name, on 127.0.0.1.
	Short bool
	// Cookie; empty: "cookie". Nodes of one test that shall meet need the same.
	Cookie string
	// EpmdPort is the port of the port mapper; 0: one is started for this node.
	EpmdPort int
	// Hidden starts the node with -hidden.
	Hidden bool
	// Local starts a node without distribution.
	Local bool
	// TLSOptFile is the path of an option file (ssl_dist_optfile), which must be
	// below the temporary directory: the node distributes over TLS. Empty: over TCP.
	TLSOptFile string
	// ExtraArgs are further arguments of erl. Those that are there already,
	// -start_epmd and inet_dist_use_interface, replace what Start would give.
	ExtraArgs []string
	// Env are further environment variables, "NAME=value". Nothing but PATH and
	// TMPDIR is taken from this process.
	Env []string
}

// DefaultCookie is the cookie of a node whose Options name none.
const DefaultCookie = "cookie"

// HandshakeTime is what nodes of tests have for a handshake.
const HandshakeTime = 30 * time.Second

// startLimit bounds the start of a node: ten times what a busy machine needs.
const startLimit = 2 * time.Minute

// evalLimit bounds Eval. EvalContext takes what limit the caller likes.
const evalLimit = 5 * time.Minute

// A Node is a running Erlang node. Its methods may be called from several
// goroutines, as far as the testing.TB given to them allows.
type Node struct {
	release  Release
	name     string
	cookie   string
	epmdPort int
	process  *process
	dialogue *dialogue
	stopEpmd func()
}

// Start starts a node and returns when it is up. It is killed when the test ends;
// if the test has failed, what the node has printed is shown.
func (r Release) Start(t testing.TB, o Options) *Node {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	n, err := r.Launch(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.process.kill()
		n.process.show(t, n.name)
		n.Close()
	})
	return n
}

// Launch starts a node and returns when it is up, or an error with what the node
// has printed. The context bounds the start only. The caller calls Close.
func (r Release) Launch(ctx context.Context, o Options) (_ *Node, err error) {
	n := &Node{release: r, name: fullName(o), cookie: o.Cookie, epmdPort: o.EpmdPort, stopEpmd: func() {}}
	if n.cookie == "" {
		n.cookie = DefaultCookie
	}
	if n.epmdPort == 0 && !o.Local {
		if n.epmdPort, n.stopEpmd, err = r.LaunchEpmd(); err != nil {
			return nil, err
		}
	}
	if err := n.launch(o); err != nil {
		n.stopEpmd()
		return nil, fmt.Errorf("%v: %w", r, err)
	}
	if err := n.awaitUp(ctx); err != nil {
		n.Close()
		return nil, fmt.Errorf("%v: %w", r, err)
	}
	return n, nil
}

func fullName(o Options) string {
	name := o.Name
	if name == "" {
		name = fmt.Sprintf("n%08x", rand.Uint32())
	}
	switch {
	case o.Local:
		return "nonode@nohost"
	case strings.Contains(name, "@"):
		return name
	case o.Short:
		return name + "@localhost"
	default:
		return name + "@127.0.0.1"
	}
}

func (n *Node) launch(o Options) error {
	dir, err := home()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, ".erlang.cookie"), []byte(n.cookie), 0o400); err != nil {
		return err
	}
	d, nodeReads, nodeWrites, err := newDialogue()
	if err != nil {
		return err
	}
	cmd := exec.Command(n.release.Erl, n.args(o)...)
	cmd.Env = environment(dir, slices.Concat([]string{"ERL_EPMD_PORT=" + strconv.Itoa(n.epmdPort)}, o.Env)...)
	cmd.Dir = dir
	cmd.ExtraFiles = []*os.File{nodeReads, nodeWrites}
	p, err := start(cmd, dir)
	nodeReads.Close()
	nodeWrites.Close()
	if err != nil {
		d.close()
		os.RemoveAll(dir)
		return err
	}
	n.process, n.dialogue = p, d
	return nil
}

func (n *Node) args(o Options) []string {
	// schedulers that look for work before they sleep take the processors from the other tests
	args := []string{"-noinput", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"}
	if !o.Local {
		flag := "-name"
		if o.Short {
			flag = "-sname"
		}
		args = append(args, flag, n.name)
		if !slices.Contains(o.ExtraArgs, "-start_epmd") {
			args = append(args, "-start_epmd", "false")
		}
		if !slices.Contains(o.ExtraArgs, "inet_dist_use_interface") {
			args = append(args, "-kernel", "inet_dist_use_interface", "{127,0,0,1}")
		}
		if o.Hidden {
			args = append(args, "-hidden")
		}
		// a machine may be so busy that 7 s, the default, pass in a handshake
		if !slices.Contains(o.ExtraArgs, "net_setuptime") {
			args = append(args, "-kernel", "net_setuptime", strconv.Itoa(int(HandshakeTime.Seconds())))
		}
	}
	if o.TLSOptFile != "" {
		args = append(args, "-proto_dist", "inet_tls", "-ssl_dist_optfile", o.TLSOptFile)
	}
	args = append(args, o.ExtraArgs...)
	return append(args, "-eval", evaluator)
}

// awaitUp waits for the first answer, which the node gives unasked.
func (n *Node) awaitUp(ctx context.Context) error {
	up := n.dialogue.open[0]
	go n.dialogue.run()
	text, err := await(ctx, up)
	switch {
	case errors.Is(err, errEnded):
		<-n.process.done
		return n.process.failure("%s did not start: %s", n.name, n.process.ended())
	case err != nil:
		return n.process.failure("%s does not come up: %w", n.name, err)
	}
	// Pid, release, node name.
	told := strings.SplitN(text, " ", 3)
	if told[1] != strconv.Itoa(n.release.Number) {
		return fmt.Errorf("%s is release %s", n.release.Erl, told[1])
	}
	if told[0] != strconv.Itoa(n.Pid()) {
		return fmt.Errorf("%s runs as process %s, not as the process started, %d", n.release.Erl, told[0], n.Pid())
	}
	return nil
}

// Release returns the release that the node runs.
func (n *Node) Release() Release { return n.release }

// Name returns the node's full name, such as n1c2d3e4f@127.0.0.1.
func (n *Node) Name() string { return n.name }

// Alive returns the node's name up to the @.
func (n *Node) Alive() string {
	alive, _, _ := strings.Cut(n.name, "@")
	return alive
}

// Cookie returns the node's cookie.
func (n *Node) Cookie() string { return n.cookie }

// EpmdPort returns the port of the node's port mapper; 0 for a local node that
// was given none.
func (n *Node) EpmdPort() int { return n.epmdPort }

// Home returns the node's home directory.
func (n *Node) Home() string { return n.process.dir }

// Pid returns the number of the operating-system process.
func (n *Node) Pid() int { return n.process.cmd.Process.Pid }

// Log returns what the node has printed so far, its logger's reports among it.
func (n *Node) Log() string { return n.process.log() }

// Done is closed when the node has ended.
func (n *Node) Done() <-chan struct{} { return n.process.done }

// Eval evaluates Erlang expressions, separated by commas, in the node and returns
// the value of the last one as Erlang text on one line (~0tp), or class:reason of
// an exception, as in "error:badarg". It fails the test if the node has ended or
// if nothing comes back within evalLimit.
//
// All expressions are evaluated by one process, one after the other: self() is the
// same each time, and what is sent to it waits there. Variables are not kept.
func (n *Node) Eval(t testing.TB, expr string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), evalLimit)
	defer cancel()
	return n.text(t, expr, func() (string, error) { return n.EvalContext(ctx, expr) })
}

// Becomes waits until the expression's value, as Eval has it, is this text. A node that has been
// connected to is among nodes() a moment after its side of the handshake is done.
func (n *Node) Becomes(t testing.TB, expr, text string) {
	t.Helper()
	is := n.Eval(t, expr)
	for deadline := time.Now().Add(HandshakeTime); is != text; is = n.Eval(t, expr) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %s is %s, not %s", n.name, expr, is, text)
		}
	}
}

// Do evaluates as Eval does, and fails the test on an exception.
func (n *Node) Do(t testing.TB, expr string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), evalLimit)
	defer cancel()
	text, err := n.EvalContext(ctx, expr)
	if err != nil {
		t.Fatalf("%s: %s: %v", n.name, expr, err)
	}
	return text
}

// Async evaluates as Eval does, but in a process of its own, so that other
// expressions can be evaluated meanwhile. The function returned waits for the
// result; it must be called from the test's goroutine.
func (n *Node) Async(t testing.TB, expr string) func() string {
	result := n.dialogue.ask('a', expr)
	return func() string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), evalLimit)
		defer cancel()
		return n.text(t, expr, func() (string, error) { return await(ctx, result) })
	}
}

func (n *Node) text(t testing.TB, expr string, eval func() (string, error)) string {
	t.Helper()
	text, err := eval()
	var exception *Exception
	if errors.As(err, &exception) {
		return exception.Text
	}
	if err != nil {
		t.Fatalf("%s: %s: %v", n.name, expr, err)
	}
	return text
}

// EvalContext evaluates as Eval does. An exception is an *[Exception]; the end of
// the context leaves the evaluation running in the node, so that a later Eval
// waits for it.
func (n *Node) EvalContext(ctx context.Context, expr string) (string, error) {
	return await(ctx, n.dialogue.ask('e', expr))
}

// Load compiles the source text of an Erlang module in the node and loads it.
func (n *Node) Load(t testing.TB, source string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), evalLimit)
	defer cancel()
	if err := n.LoadContext(ctx, source); err != nil {
		t.Fatalf("%s: %v", n.name, err)
	}
}

// compiled has modules by release and source: a node that compiles loads the compiler first, which
// takes longer than what most modules are for.
var compiled sync.Map

// A module is compiled; its name is Erlang text.
type module struct {
	name string
	code []byte
}

// LoadContext is Load outside a test. The error names what the compiler says.
func (n *Node) LoadContext(ctx context.Context, source string) error {
	dir, err := os.MkdirTemp(n.Home(), "module")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file, key := filepath.Join(dir, "code"), n.release.Erl+"\x00"+source
	known, _ := compiled.Load(key)
	m, there := known.(*module)
	if !there {
		m = &module{}
		if err = os.WriteFile(file+".erl", []byte(source), 0o600); err != nil {
			return err
		}
		m.name, err = n.EvalContext(ctx, fmt.Sprintf(`case compile:file(%q, [binary, return_errors]) of
				{ok, Module, Code} -> ok = file:write_file(%q, Code), Module;
				Failed -> Failed
			end`, file+".erl", file))
		if err == nil {
			m.code, err = os.ReadFile(file)
		}
		if err != nil {
			return fmt.Errorf("cannot compile the module: %w: %s", err, m.name)
		}
		compiled.Store(key, m)
	} else if err = os.WriteFile(file, m.code, 0o600); err != nil {
		return err
	}
	if _, err = n.EvalContext(ctx, fmt.Sprintf(`{ok, Code} = file:read_file(%q),
		{module, _} = code:load_binary(%s, "loaded by a test", Code)`, file, m.name)); err != nil {
		return fmt.Errorf("cannot load the module: %w", err)
	}
	return nil
}

// Stop shuts the node down in an orderly way (init:stop) and returns when it has
// ended. It fails the test if that takes more than evalLimit.
func (n *Node) Stop(t testing.TB) {
	t.Helper()
	n.dialogue.ask('a', "init:stop()")
	select {
	case <-n.Done():
	case <-time.After(evalLimit):
		t.Fatalf("%s does not stop", n.name)
	}
}

// Kill ends the node at once, as a crash does, and returns when it is gone. What
// the kernel still holds for it, it closes.
func (n *Node) Kill() { n.process.kill() }

// Pause stops the node's process (SIGSTOP): its connections stay open and nobody
// reads them. It returns when the process stands still, where /proc tells.
func (n *Node) Pause(t testing.TB) {
	t.Helper()
	n.signal(t, pause)
	for deadline := time.Now().Add(startLimit); !stopped(n.Pid()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not pause", n.name)
		}
	}
}

// stopped reports whether every thread of a process has taken the signal.
func stopped(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, thread := range threads {
		// A thread that ended meanwhile has no file.
		stat, err := os.ReadFile(thread)
		if err == nil && !strings.Contains(string(stat), ") T ") {
			return false
		}
	}
	return true
}

// Continue ends a Pause.
func (n *Node) Continue(t testing.TB) { n.signal(t, proceed) }

func (n *Node) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := n.process.cmd.Process.Signal(s); err != nil {
		t.Fatalf("%s: %v", n.name, err)
	}
}

// Close kills the node if it still runs and removes its home directory.
func (n *Node) Close() {
	n.process.close()
	n.dialogue.close()
	n.stopEpmd()
}
