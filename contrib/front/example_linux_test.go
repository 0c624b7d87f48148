package front_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/contrib/front"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A front: clients come to a TCP port, and workers to a UNIX socket, whose path is in their
// configuration.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "front")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	k, err := front.New(&front.Options{Policy: front.ByAddress()})
	if err != nil {
		log.Fatal(err)
	}
	if err := k.Workers(ctx, filepath.Join(dir, "workers")); err != nil {
		log.Fatal(err)
	}
	l, err := k.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	time.AfterFunc(10*time.Millisecond, stop) // instead of SIGTERM
	fmt.Println("served:", k.Serve(ctx, l, nil) != nil)

	limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(k.Shutdown(limit))
	// Output:
	// served: true
	// <nil>
}

// A policy of one's own: clients of the office go to the worker of that name, if it is there, and
// all others to the one with the fewest sessions.
func ExamplePolicy() {
	policy := func(s *front.Session, workers []front.Worker) int {
		if strings.HasPrefix(s.Remote.String(), "192.0.2.") { // which calls no method of the Keeper
			for i, w := range workers {
				if w.Name == "office" {
					return i
				}
			}
		}
		return front.LeastSessions(s, workers)
	}
	k, err := front.New(&front.Options{Policy: policy})
	if err != nil {
		log.Fatal(err)
	}
	defer k.Close()
}

// The whole of a front with a policy of its own, which SIGUSR2 moves to a new process of its
// program. Under systemd package upgrade of nodes starts such a process, and says which one is to
// be watched.
func ExampleKeeper_Give() {
	ctx, options := context.Background(), &front.Options{Policy: front.ByAddress()}
	var k *front.Keeper
	var err error
	if os.Getenv("FRONT_CHANNEL") == "" {
		k, err = front.New(options)
	} else { // the process before has started this one, see below
		var ch *handoff.Channel
		if ch, err = handoff.FileChannel(os.NewFile(3, "channel")); err == nil {
			k, err = front.Take(ctx, ch, options)
		}
	}
	if k == nil { // after an error of Take it may be this process's all the same
		log.Fatal(err)
	}
	l, err := k.Listen(ctx, "tcp", "0.0.0.0:4000")
	if err != nil {
		log.Fatal(err)
	}
	if err := k.Workers(ctx, "/run/app/front.sock"); err != nil {
		log.Fatal(err)
	}
	go func() { log.Print(k.Serve(ctx, l, nil)) }()
	upgrade := make(chan os.Signal, 1)
	signal.Notify(upgrade, syscall.SIGUSR2)
	for moved := false; !moved; {
		<-upgrade
		ch, theirs, err := handoff.ChannelPair()
		if err != nil {
			log.Print(err)
			continue
		}
		next := exec.Command(os.Args[0])
		next.Stdout, next.Stderr, next.ExtraFiles = os.Stdout, os.Stderr, []*os.File{theirs} // descriptor 3
		next.Env = append(os.Environ(), "FRONT_CHANNEL=3")
		if err = next.Start(); err == nil {
			var handed handoff.Handed
			handed, err = k.Give(ctx, ch)
			if moved = handed.Moved; !moved {
				_ = next.Process.Kill()
				_ = next.Wait()
			}
		}
		if err != nil {
			log.Print(err)
		}
		_, _ = ch.Close(), theirs.Close()
	}
	if err := k.Shutdown(ctx); err != nil { // its sessions with TLS end here
		log.Fatal(err)
	}
}

// A process that was started to go on in place of another one takes over; package upgrade of nodes
// starts such processes, too.
func ExampleTake() {
	channel := os.NewFile(3, "channel") // an extra file of the process
	ch, err := handoff.FileChannel(channel)
	if err != nil {
		log.Fatal(err)
	}
	k, err := front.Take(context.Background(), ch, nil)
	if k == nil {
		log.Fatal(err)
	}
	// from here on as in any process: the same words find what the other one has listened at
	l, err := k.Listen(context.Background(), "tcp", "127.0.0.1:4000")
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(k.Serve(context.Background(), l, nil))
}
