//go:build linux

// Command upgrade measures how long the peers of a node hear nothing while the node goes on in
// another process, several times in a row.
//
//	upgrade [-tls FILE] CONNECTIONS MAILBOXES UNREAD
//
// It prints the longest silence that half of the peers, 99 % and 99.9 % have seen, in ms, and the
// most memory of the old process and of the new one until it runs, in MB. UNREAD is how many
// messages of 100 bytes each mailbox has.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/upgrade"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/service"
)

const (
	nodeName = "upgrade@127.0.0.1"
	cookie   = "bench"
	upgrades = 10
	// asking is how many of the peers ask, each every askEvery: more would be a measurement of load.
	asking   = 100
	askEvery = 10 * time.Millisecond
	patience = time.Minute
)

func main() {
	file := flag.String("tls", "", "option file of TLS; empty: TCP")
	serves := flag.Bool("node", false, "be the node")
	flag.Parse()
	var size [3]int
	for i := range size {
		var err error
		if size[i], err = strconv.Atoi(flag.Arg(i)); err != nil {
			log.Fatal("usage: upgrade [-tls FILE] CONNECTIONS MAILBOXES UNREAD")
		}
	}
	var carrier transport.Transport
	if *file != "" {
		var err error
		if carrier, err = tlstransport.FromOptFile(*file, nil); err != nil {
			log.Fatal(err)
		}
	}
	run := measure
	if *serves {
		run = serve
	}
	if err := run(carrier, size[0], size[1], size[2]); err != nil {
		log.Fatal(err)
	}
}

// serve is the node, in each of its processes.
func serve(carrier transport.Transport, _, boxes, unread int) error {
	ctx := context.Background()
	fresh := os.Getenv(service.Variable) == ""
	u := &upgrade.Upgrader{Config: nodes.Config{
		Name: nodeName, Cookie: cookie, Resolver: nodes.Static{}, Transport: carrier,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		Setup: func(n *nodes.Node) error {
			_, err := n.Handle("echo", func(self *nodes.Mailbox, m *nodes.Message) {
				_ = self.Send(ctx, m.From, m.Payload)
				m.Release()
			}, nil)
			return err
		},
	}}
	n, err := u.Start(ctx)
	if err != nil {
		return err
	}
	for i := 0; fresh && i < boxes; i++ {
		b, err := n.NewMailbox(nil)
		for j := 0; err == nil && j < unread; j++ {
			err = b.Send(ctx, b.Pid(), make([]byte, 100))
		}
		if err != nil {
			return err
		}
	}
	at, err := transport.AddrPort(n.Listeners()[0].Addr())
	if err != nil {
		return err
	}
	fmt.Println("ready", os.Getpid(), at.Port(), peak())
	err = u.Run(ctx)
	fmt.Println("end", os.Getpid(), at.Port(), peak())
	return err
}

// peak is the most memory that this process has had, in KB.
func peak() (kb int) {
	b, _ := os.ReadFile("/proc/self/status")
	if _, rest, ok := bytes.Cut(b, []byte("VmHWM:")); ok {
		_, _ = fmt.Sscan(string(rest), &kb)
	}
	return kb
}

// A line is what a process of the node says: its state, process id, port and memory.
type line struct {
	state         string
	pid, port, kb int
}

// measure starts the node, connects peers to it, and has it upgrade.
func measure(carrier transport.Transport, conns, _, _ int) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, append([]string{"-node"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := make(chan line, 2*upgrades)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(pipe); in.Scan(); {
			var l line
			if _, err := fmt.Sscan(in.Text(), &l.state, &l.pid, &l.port, &l.kb); err == nil {
				lines <- l
			}
		}
	}()
	now, err := await(lines, "ready")
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Kill(now.pid, syscall.SIGKILL) }()
	peers, err := connect(ctx, carrier, now.port, conns)
	if err != nil {
		return err
	}
	var failed atomic.Value
	for _, p := range peers {
		go func() {
			if err := p.ask(ctx); ctx.Err() == nil {
				failed.Store(err)
			}
		}()
	}
	var silences []time.Duration
	var old, heir []int
	for range upgrades {
		time.Sleep(time.Second) // it is at rest
		for _, p := range peers {
			p.longest.Store(0)
		}
		if err := syscall.Kill(now.pid, syscall.SIGHUP); err != nil {
			return err
		}
		if now, err = await(lines, "ready"); err != nil {
			return err
		}
		ended, err := await(lines, "end")
		if err != nil {
			return err
		}
		time.Sleep(time.Second) // each peer has had an answer
		if err, _ := failed.Load().(error); err != nil {
			return err
		}
		old, heir = append(old, ended.kb), append(heir, now.kb)
		for _, p := range peers {
			silences = append(silences, time.Duration(p.longest.Load()))
		}
	}
	slices.Sort(silences)
	slices.Sort(old)
	slices.Sort(heir)
	for _, share := range []int{500, 990, 999} {
		fmt.Printf("%.1f ", float64(silences[(len(silences)-1)*share/1000].Microseconds())/1000)
	}
	fmt.Println(old[len(old)/2]>>10, heir[len(heir)/2]>>10)
	return nil
}

// await waits until a process of the node is in a state. In which order the two of an upgrade say
// theirs is by chance.
func await(lines chan line, state string) (line, error) {
	late := time.After(patience)
	for {
		select {
		case l, ok := <-lines:
			switch {
			case !ok:
				return l, errors.New("the node has ended")
			case l.state == state:
				return l, nil
			}
			lines <- l // for the next await
			time.Sleep(time.Millisecond)
		case <-late:
			return line{}, fmt.Errorf("the node is not %s after %v", state, patience)
		}
	}
}

// A peer asks the node, and notes the longest time between two answers.
type peer struct {
	conn    *nodes.Conn
	longest atomic.Int64
}

func connect(ctx context.Context, carrier transport.Transport, port, count int) ([]*peer, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var peers []*peer
	var errs []error
	places := make(chan struct{}, 32)
	for i := range count {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			n, err := nodes.New(nodes.Config{
				Name: fmt.Sprintf("peer%d@127.0.0.1", i), Cookie: cookie, Resolver: nodes.Static{}, Transport: carrier, TickInterval: time.Hour,
			})
			var c *nodes.Conn
			if err == nil {
				c, err = n.ConnectHostPort(ctx, "127.0.0.1", uint16(port), nodeName)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			}
			peers = append(peers, &peer{conn: c})
		})
	}
	wg.Wait()
	if len(errs) > 0 {
		return nil, errs[0]
	}
	return peers[:min(asking, len(peers))], nil
}

// ask asks again and again, until ctx ends or something fails.
func (p *peer) ask(ctx context.Context) error {
	last := time.Now()
	for {
		if err := p.conn.SendName(ctx, "echo", ei.Atom("ping")); err != nil {
			return err
		}
		m, err := p.conn.Receive(ctx)
		if err != nil {
			return err
		}
		m.Release()
		now := time.Now()
		p.longest.Store(max(p.longest.Load(), int64(now.Sub(last))))
		last = now
		time.Sleep(askEvery)
	}
}
