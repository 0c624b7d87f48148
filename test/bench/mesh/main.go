//go:build unix

// Command mesh measures what a mesh of nodes costs that all take part in global and in pg.
//
//	mesh NODES [PROFILE]
//
// It prints how long the mesh takes to form, in s; the processor time of that, in s; what the idle
// mesh takes of a core, in %; the processor time until the others have settled after a tenth of the
// nodes has vanished, in s; and the resident memory for each end of a connection, in kB. PROFILE is
// a file for the heap's profile while the mesh is idle.
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/nodes/nodestest"
	"github.com/cnode-go/cnode/nodes/pg"
)

const (
	patience = 5 * time.Minute
	idleTime = 10 * time.Second
	// settling is for what goes on after the last node has seen what it waits for.
	settling = 3 * time.Second
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: mesh NODES [PROFILE]")
	}
	size, err := strconv.Atoi(os.Args[1])
	if err == nil {
		err = measure(size, os.Args[2:])
	}
	if err != nil {
		log.Fatal(err)
	}
}

func measure(size int, profile []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	quiet := slog.New(slog.DiscardHandler) // each node warns of each that vanishes
	var all []*global.Global
	before, began := resident(), time.Now()
	s, err := nodestest.StartSwarm(ctx, size, func(cfg *nodes.Config) {
		cfg.Resolver, cfg.Logger = nodes.Static{}, quiet
		cfg.Setup = func(n *nodes.Node) error {
			if _, err := pg.Start(ctx, n, "", nil); err != nil {
				return err
			}
			g, err := global.Start(ctx, n, nil)
			all = append(all, g)
			return err
		}
	})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Connect(ctx); err != nil {
		return err
	}
	if err := know(ctx, all, size-1); err != nil {
		return err
	}
	forming, busy := time.Since(began).Seconds(), processor()
	time.Sleep(settling)
	debug.FreeOSMemory()
	memory := resident() - before
	if len(profile) > 0 {
		if err := writeHeap(profile[0]); err != nil {
			return err
		}
	}

	at := processor()
	time.Sleep(idleTime)
	idle := 100 * (processor() - at) / idleTime.Seconds()

	at = processor()
	left := size - size/10
	var ends sync.WaitGroup
	for _, n := range s.Nodes()[left:] {
		ends.Go(func() { _ = n.Close() })
	}
	ends.Wait()
	if err := know(ctx, all[:left], left-1); err != nil {
		return err
	}
	time.Sleep(settling)
	fmt.Printf("%.2f %.2f %.2f %.2f %.1f\n", forming, busy, idle, processor()-at, float64(memory)/float64(size*(size-1)))
	return nil
}

// know waits until each knows as many others.
func know(ctx context.Context, all []*global.Global, others int) error {
	for _, g := range all {
		for len(g.Known()) != others {
			select {
			case <-ctx.Done():
				return fmt.Errorf("a node knows %d others, not %d: %w", len(g.Known()), others, ctx.Err())
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return nil
}

func writeHeap(name string) error {
	runtime.GC()
	w, err := os.Create(name)
	if err != nil {
		return err
	}
	defer w.Close()
	return pprof.Lookup("heap").WriteTo(w, 0)
}

// processor is the processor time of this process, in s.
func processor() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// resident is the memory of this process, in kB.
func resident() (kb int) {
	b, _ := os.ReadFile("/proc/self/status")
	if _, rest, ok := bytes.Cut(b, []byte("VmRSS:")); ok {
		_, _ = fmt.Sscan(string(rest), &kb)
	}
	return kb
}
