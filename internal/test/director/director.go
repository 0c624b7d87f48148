// Package director lets a test act at each step to which the processes of a program come.
package director

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A Director lets processes go on from step to step, and acts at one of them.
type Director struct {
	l net.Listener

	mu   sync.Mutex
	seen []Step
	at   string
	act  func(pid int)
}

// A Step is one to which a process has come.
type Step struct {
	Process int
	Name    string
}

// New begins to hear of processes that are told its Addr.
func New(t testing.TB) *Director {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d := &Director{l: l}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { defer c.Close(); d.hear(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return d
}

// Addr is for Reached.
func (d *Director) Addr() string { return d.l.Addr().String() }

// Reached tells a Director which step this process has come to, and returns when the test wants it
// to go on; at once where no Director is.
func Reached(addr, step string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer c.Close()
	fmt.Fprintf(c, "%d %s\n", os.Getpid(), step)
	_, _ = c.Read(make([]byte, 1)) // the end of the connection
}

// hear keeps the process that has connected where it is until the test has acted.
func (d *Director) hear(c net.Conn) {
	line, err := bufio.NewReader(c).ReadString('\n')
	process, step, _ := strings.Cut(strings.TrimSpace(line), " ")
	pid, number := strconv.Atoi(process)
	if err != nil || number != nil {
		return
	}
	d.mu.Lock()
	d.seen = append(d.seen, Step{pid, step})
	var act func(int)
	if d.at == step {
		act, d.act = d.act, nil
	}
	d.mu.Unlock()
	if act != nil {
		act(pid)
	}
}

// Await has act happen at a step, for the first time that it is reached from now on. It is told
// which process has reached it, which stays there until it returns.
func (d *Director) Await(step string, act func(pid int)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen, d.at, d.act = nil, step, act
}

// Seen are the steps that have been reached since Await, in order.
func (d *Director) Seen() []Step {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.seen)
}

// Names are the names of the steps that have been reached since Await, each once.
func (d *Director) Names() (list []string) {
	for _, s := range d.Seen() {
		if !slices.Contains(list, s.Name) {
			list = append(list, s.Name)
		}
	}
	return list
}

// Until waits until a step has been reached since Await.
func (d *Director) Until(t testing.TB, step string) {
	t.Helper()
	require.Eventually(t, func() bool { return slices.Contains(d.Names(), step) }, expect.Limit, time.Millisecond, step)
}

// During has act happen at a step of what happens, and waits for both.
func (d *Director) During(t testing.TB, step string, happens func(), act func(pid int)) {
	t.Helper()
	acted := make(chan struct{})
	d.Await(step, func(pid int) { defer close(acted); act(pid) })
	happens()
	select {
	case <-acted:
	case <-time.After(expect.Limit):
		require.FailNow(t, "not reached", step)
	}
}
