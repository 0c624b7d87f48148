//go:build unix

package workers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/transport"
)

// seldomTicks is the TickInterval in tests where processes die and stop: by default a connection
// ends after a minute of silence, which a busy machine may cause.
const seldomTicks = 10 * time.Minute

// testWorker is what a worker of these tests does.
func testWorker() int {
	if os.Getenv(testSlowVariable) != "" && strings.HasPrefix(os.Getenv(inside.Variable), talk.MoveMark) {
		time.Sleep(moveLimit + time.Second)
	}
	var n *nodes.Node
	w, err := Join(handoffpoint.With(context.Background(), testPeers().disturb), nodes.Config{
		Cookie: "secret", Resolver: testPeers(), Transports: testTransports(), TickInterval: seldomTicks,
		Setup: func(node *nodes.Node) error {
			n = node
			p := partOf(n)
			p.relayLimit, p.answerLimit = tooLong, tooLong // as a rule, neither is to pass
			return setUpTestWorker(node)
		}, Rules: testRules(),
		// called after the readers have halted, and before all else has
		Handover: func(context.Context) ([]byte, error) {
			if c := n.Conn(doomed); c != nil {
				linkOf(c).Fail(nodes.ErrClosed)
			}
			return nil, nil
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		return 1
	}
	if err := w.Wait(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		return 1
	}
	return 0
}

// testPeersVariable names the directory in which the nodes of a test write down their addresses.
const testPeersVariable = "CNODE_TEST_PEERS"

// testRulesVariable has a worker let peers call functions, and say something to echo, and no more.
const testRulesVariable = "CNODE_TEST_RULES"

func testRules() []nodes.Rule {
	if os.Getenv(testRulesVariable) == "" {
		return nil
	}
	return []nodes.Rule{{Permission: nodes.MayCall, Allow: true}, {Permission: nodes.MaySend, Target: "echo", Allow: true}, {}}
}

// testHangVariable makes a worker never become ready.
const testHangVariable = "CNODE_TEST_HANG"

// testHoldVariable makes a worker wait until a file exists before it becomes ready.
const testHoldVariable = "CNODE_TEST_HOLD"

// testSlowVariable makes the new process of a worker that moves slow to start.
const testSlowVariable = "CNODE_TEST_SLOW"

// A peersDir is a Resolver: a file a node, with its address.
type peersDir string

func testPeers() peersDir { return peersDir(os.Getenv(testPeersVariable)) }

func (d peersDir) Resolve(_ context.Context, node string) (nodes.Endpoint, error) {
	text, err := os.ReadFile(filepath.Join(string(d), node))
	if err != nil {
		return nodes.Endpoint{}, err
	}
	addr, err := transport.ParseAddr(string(text))
	at := nodes.Endpoint{Addr: addr}
	if _, ok := addr.(transport.UnixAddr); ok {
		at.Transport = transport.Unix()
	}
	return at, err
}

func (d peersDir) Publish(_ context.Context, p nodes.Registration) (nodes.Publication, error) {
	path := filepath.Join(string(d), p.Name)
	return peersEntry(path), os.WriteFile(path, []byte(p.Addr.String()), 0o600)
}

type peersEntry string

func (peersEntry) Creation() uint32 { return 0 }
func (e peersEntry) Close() error   { return os.Remove(string(e)) }

// setUpTestWorker gives each worker a fixed process, and the functions that the tests call.
func setUpTestWorker(n *nodes.Node) error {
	if os.Getenv(testHangVariable) != "" {
		select {}
	}
	if path := os.Getenv(testHoldVariable); path != "" {
		awaitFile(path)
	}
	if err := setUpWitness(n); err != nil {
		return err
	}
	setUpFlood(n)
	setUpApart(n)
	setUpCarriages(n)
	setUpCloses(n)
	if err := setUpHeirs(n); err != nil {
		return err
	}
	if _, err := n.Serve("echo", testEcho(), nil); err != nil {
		return err
	}
	for name, f := range testWorkerFunctions {
		n.Expose("w", name, func(ctx context.Context, args []ei.Term) (any, error) { return f(ctx, n, args) })
	}
	return nil
}

// testEcho answers a call with its request, or never, and sends Message to To for {To, Message}.
func testEcho() nodes.Server {
	return nodes.Server{
		Call: func(_ context.Context, c *nodes.Call) (any, error) {
			if c.Request == ei.Atom("never") {
				return nodes.NoReply, nil
			}
			return c.Request, nil
		},
		Info: func(ctx context.Context, self *nodes.Mailbox, m *nodes.Message) {
			if t, _ := m.Term(); t != nil {
				if tuple, ok := t.(ei.Tuple); ok && len(tuple) == 2 {
					_ = self.Send(ctx, tuple[0].(ei.Pid), tuple[1])
				}
			}
		},
	}
}

// testWorkerFunctions are the functions of a worker's module w.
var testWorkerFunctions = map[string]func(ctx context.Context, n *nodes.Node, args []ei.Term) (any, error){
	"pid":  func(context.Context, *nodes.Node, []ei.Term) (any, error) { return os.Getpid(), nil },
	"echo": func(_ context.Context, n *nodes.Node, _ []ei.Term) (any, error) { return n.Whereis("echo").Pid(), nil },
	"start": func(_ context.Context, n *nodes.Node, args []ei.Term) (any, error) {
		b, err := n.Serve(string(args[0].(ei.Atom)), testProcess(n), nil)
		if err != nil {
			return nil, err
		}
		return b.Pid(), nil
	},
	"alias": func(_ context.Context, n *nodes.Node, args []ei.Term) (any, error) {
		return insideOf(n).ProcessOf(args[0].(ei.Pid)).Alias(context.Background())
	},
	"whereis": func(ctx context.Context, n *nodes.Node, args []ei.Term) (any, error) {
		pid, err := n.Lookup(ctx, string(args[0].(ei.Atom)))
		if err != nil {
			return ei.Atom("undefined"), nil
		}
		return pid, nil
	},
	"denied":    func(_ context.Context, n *nodes.Node, _ []ei.Term) (any, error) { return n.Stats().Denied, nil },
	"published": func(_ context.Context, n *nodes.Node, _ []ei.Term) (any, error) { return n.Stats().Published, nil },
	"ask": func(ctx context.Context, n *nodes.Node, args []ei.Term) (any, error) { // connects, if need be
		return n.CallName(ctx, string(args[0].(ei.Atom)), string(args[1].(ei.Atom)), args[2])
	},
	// how many it has asked the front so far
	"questions": func(_ context.Context, n *nodes.Node, _ []ei.Term) (any, error) {
		partOf(n).mu.Lock()
		defer partOf(n).mu.Unlock()
		return partOf(n).last, nil
	},
	"again": func(ctx context.Context, _ *nodes.Node, _ []ei.Term) (any, error) {
		_, err := Join(ctx, nodes.Config{Cookie: "secret"})
		child, err2 := exec.CommandContext(ctx, os.Args[0], "-test.run=^$").CombinedOutput()
		return fmt.Sprint(errors.Is(err, ErrNotWorker), IsWorker(), err2, strings.Contains(string(child), "worker:")), nil
	},
	// the ways to the other workers
	"sever": func(_ context.Context, n *nodes.Node, _ []ei.Term) (any, error) {
		partOf(n).ways.mu.Lock()
		defer partOf(n).ways.mu.Unlock()
		for _, c := range partOf(n).workerLinks {
			linkOf(c).Fail(nodes.ErrTickTimeout)
		}
		return ei.Atom("ok"), nil
	},
	// leaves no number for a descriptor
	"nofiles": func(context.Context, *nodes.Node, []ei.Term) (any, error) {
		err := unix.Getrlimit(unix.RLIMIT_NOFILE, &testWorkerFiles)
		none := testWorkerFiles
		none.Cur = 3
		return ei.Atom("ok"), errors.Join(err, unix.Setrlimit(unix.RLIMIT_NOFILE, &none))
	},
	"files": func(context.Context, *nodes.Node, []ei.Term) (any, error) {
		return ei.Atom("ok"), unix.Setrlimit(unix.RLIMIT_NOFILE, &testWorkerFiles)
	},
	"second": func(context.Context, *nodes.Node, []ei.Term) (any, error) { // takes a second once it may end
		if err := os.WriteFile(testPeers().path(secondBegun), nil, 0o600); err != nil {
			return nil, err
		}
		awaitFile(testPeers().path(secondEnds))
		time.Sleep(time.Second)
		return ei.Atom("ok"), nil
	},
	"open": func(context.Context, *nodes.Node, []ei.Term) (any, error) {
		fds, _ := descriptors()
		return fds, nil
	},
}

// The function second makes the one file when it has begun, and ends a second after there is the
// other.
const (
	secondBegun = "second has begun"
	secondEnds  = "second may end"
)

// awaitFile waits until a file exists.
func awaitFile(path string) {
	for begun := time.Now(); time.Since(begun) < tooLong; time.Sleep(tick) {
		if _, err := os.Stat(path); err == nil {
			return
		}
	}
}

// testWorkerFiles is the limit that nofiles has found, and that files restores.
var testWorkerFiles unix.Rlimit

// testProcess is the Server that the function start serves, under a name if it is given one: it
// answers calls, collects numbers, and ends on request.
func testProcess(n *nodes.Node) nodes.Server {
	var got ei.List
	return nodes.Server{
		Call: func(ctx context.Context, c *nodes.Call) (any, error) {
			switch r := c.Request.(type) {
			case ei.Tuple: // {call, To, Request}, or {ask, To, Request}: by a mailbox
				if r[0] == ei.Atom("ask") {
					return n.Whereis("echo").Call(ctx, r[1].(ei.Pid), r[2])
				}
				return n.Call(ctx, r[1].(ei.Pid), r[2])
			default:
				switch r {
				case ei.Atom("got"):
					return got, nil
				case ei.Atom("pid"):
					return os.Getpid(), nil
				}
				return r, nil
			}
		},
		Info: func(ctx context.Context, self *nodes.Mailbox, m *nodes.Message) {
			t, err := m.Term()
			if err != nil {
				return
			}
			switch t := t.(type) {
			case ei.Int:
				got = append(got, t)
			case ei.Atom:
				self.Exit(t)
			case ei.Tuple:
				switch t[0] {
				case ei.Atom("link"):
					_ = self.Link(ctx, t[1].(ei.Pid))
				case ei.Atom("monitor"):
					_, _ = self.Monitor(ctx, t[1].(ei.Pid))
				case ei.Atom("send"):
					if alias, ok := t[1].(ei.Ref); ok {
						_ = self.SendAlias(ctx, alias, t[2])
						return
					}
					_ = self.Send(ctx, t[1].(ei.Pid), t[2])
				}
			}
		},
	}
}
