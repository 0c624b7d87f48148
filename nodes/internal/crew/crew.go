// Package crew has the workers of a front, as the front sees them: it starts, watches and upgrades
// their processes, and knows which of them serves which peer. It knows no frame and no mailbox.
package crew

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/nametable"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// A Config says what a Crew needs from its front.
type Config struct {
	Count    int              // of workers
	Command  func() *exec.Cmd // of a worker's process
	Variable string           // of its environment; tells it where its sockets are
	Start    time.Duration    // how long a worker may take to be ready
	Patience time.Duration    // how long a worker may take to answer, or to take a session
	Trust    time.Duration    // a worker that was heard of within it is not probed; 0: 50 ms
	Farewell time.Duration    // how long a worker may take to end once its line is closed
	Retire   time.Duration    // how long its process may take to end by itself
	// Choose picks a candidate for a session, by its index; one call at a time
	Choose func(peer string, candidates []Info) (int, error)
	Node   interface { // what the workers' node is called, once they are started
		Name() string
		Creation() uint32
	}
	Published func() bool // whether the node is found under its name: see Crew.TellPublished
	Log       *slog.Logger
	Closed    error // of what comes after the end
}

// An Info describes one worker.
type Info struct {
	Slot     int
	PID      int
	Sessions int // how many it has, including handshakes in progress
}

// A Crew is all workers of a front.
type Crew struct {
	cfg    Config
	chosen sync.Mutex // one call of Choose at a time

	ctx context.Context
	end context.CancelFunc
	wg  sync.WaitGroup

	mu        sync.Mutex
	change    wait.Bell          // rings when a worker comes, goes or is heard of again
	workers   map[int]*Worker    // by number, from their start to their end
	picked    map[*picking]bool  // sessions that are about to be pushed
	lastPart  int                // the number that was last given to a worker
	routes    map[string]*route  // by peer
	names     map[string]tenancy // registered at run time
	nameTable *nametable.Table   // nil: the workers have to ask about every name
	busy      bool               // the front moves, or its workers do
	released  bool               // another process has them

	hiring chan struct{} // holds a token while a worker is being started, or while none may be
	hires  bool          // Freeze has put it there
	still  wait.Gate     // shut: nothing is given to a worker; changed with mu held
}

// A tenancy says which process has a registered name.
type tenancy struct {
	w      *Worker
	number uint64 // the key of its pid
}

// New makes a crew of workers that are not started yet.
func New(cfg Config) *Crew {
	if cfg.Trust == 0 {
		cfg.Trust = heardLately
	}
	c := &Crew{
		cfg: cfg, workers: map[int]*Worker{}, picked: map[*picking]bool{}, routes: map[string]*route{},
		names: map[string]tenancy{}, hiring: make(chan struct{}, 1),
	}
	c.ctx, c.end = context.WithCancel(context.Background())
	return c
}

// Start starts the workers, and waits until all of them are ready.
func (c *Crew) Start(ctx context.Context) error {
	c.makeNameTable()
	limit, cancel := context.WithTimeout(ctx, c.cfg.Start)
	defer cancel()
	first := make(chan error, c.cfg.Count)
	for slot := range c.cfg.Count {
		c.wg.Go(func() { c.keepSlot(limit, slot, first, nil) })
	}
	for range c.cfg.Count {
		select {
		case err := <-first:
			if err != nil {
				return err
			}
		case <-limit.Done():
			return fmt.Errorf("the workers are not ready: %w", limit.Err())
		}
	}
	return nil
}

// makeNameTable makes an empty name table.
func (c *Crew) makeNameTable() {
	var err error
	if c.nameTable, err = nametable.New(); err != nil {
		c.cfg.Log.Warn("workers ask for every name", "error", err)
	}
}

// Workers lists the workers in the order of their slots.
func (c *Crew) Workers() []*Worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bySlot()
}

// bySlot is Workers; c.mu is held.
func (c *Crew) bySlot() []*Worker {
	return slices.SortedFunc(maps.Values(c.workers), func(a, b *Worker) int {
		return cmp.Or(cmp.Compare(a.slot, b.slot), cmp.Compare(a.number, b.number))
	})
}

// TellPublished tells the workers whether the node is published. Call it after a change.
func (c *Crew) TellPublished() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.workers {
		w.tellPublished()
	}
}

// tellPublished tells the worker whether the node is published; c.mu is held, so that the last that
// is said is so.
func (w *Worker) tellPublished() { w.Say(&talk.Published{OK: w.crew.cfg.Published()}) }

// Finish tells the workers to end, and waits until they have, or ctx ends; Close is to follow.
func (c *Crew) Finish(ctx context.Context) error {
	c.end() // no worker is replaced any more
	c.mu.Lock()
	all := c.bySlot()
	for _, w := range all {
		w.Say(&talk.Finish{})
	}
	c.mu.Unlock()
	for _, w := range all {
		select {
		case <-w.gone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Close ends the workers, after the node, which node ends: those that do not end by themselves in
// time are killed. It waits while the crew is frozen.
func (c *Crew) Close(node func() error) error {
	_ = c.AwaitThaw(context.Background())
	c.end()
	err := node()
	c.mu.Lock()
	for _, w := range c.workers {
		w.dismiss()
	}
	c.mu.Unlock()
	c.wg.Wait()
	c.nameTable.Close()
	return err
}
