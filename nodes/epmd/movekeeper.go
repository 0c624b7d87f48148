package epmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/move"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// past is a deadline that ends a read at once.
var past = time.Unix(1, 0)

// A keeperPause is a freeze, as the Keeper's goroutine sees it.
type keeperPause struct {
	// takes the name's connection once the goroutine rests; nil: the name is lost at the moment
	rests chan *Registered
	goOn  chan bool // ends the freeze; true: the Keeper goes on in this process
}

// keeperState is the state of a Keeper, as JSON: unknown fields are skipped.
type keeperState struct {
	Keeper       int // the version of the form: 1
	Registration Registration
	Creation     uint32
	Held         bool // with a descriptor
}

// Freeze stops the Keeper, to hand it to another process: the name stays registered, and is not
// watched. State and descriptors are for Client.Stage; there is no descriptor while the name is
// lost. Thaw lets the Keeper go on here, Release ends it here; one of the two must be called.
//
// Freeze breaks off an attempt to register again, and waits for Notify, and for the end of another
// freeze, as long as ctx lasts. A connection without a descriptor, as from the caller's own
// Client.Dial, is errors.ErrUnsupported; net.ErrClosed after Close, or once another process has the
// Keeper.
func (k *Keeper) Freeze(ctx context.Context) (handoff.Frozen, error) {
	fail := func(err error) (handoff.Frozen, error) {
		return nil, &Error{Op: "freeze", Name: k.reg.Name, Err: err}
	}
	p := &keeperPause{rests: make(chan *Registered, 1), goOn: make(chan bool, 1)}
	select {
	case k.pauses <- p:
	case <-k.done:
		return fail(net.ErrClosed)
	case <-ctx.Done():
		return fail(ctx.Err())
	}
	f := &move.Frozen{GoOn: func() { p.goOn <- true }, GiveUp: func() error {
		p.goOn <- false
		<-k.done
		return nil
	}}
	r := <-p.rests
	s := keeperState{Keeper: 1, Registration: k.reg, Creation: k.creation, Held: r != nil}
	if r != nil {
		fd := descriptor(r.conn)
		if fd < 0 {
			f.Thaw()
			return fail(fmt.Errorf("connection to the port mapper without a descriptor: %w", errors.ErrUnsupported))
		}
		f.FDs = []int{fd}
	}
	var err error
	if f.Bytes, err = json.Marshal(s); err != nil {
		f.Thaw()
		return fail(err)
	}
	return f, nil
}

// rest is what the Keeper's goroutine does during a freeze; false when the Keeper goes on in
// another process.
func (p *keeperPause) rest(r *Registered) bool {
	if r != nil && !r.freeze() {
		// lost at this moment: the other process regains the name, or this one notices the loss
		r = nil
	}
	p.rests <- r
	here := <-p.goOn
	switch {
	case r == nil:
	case here:
		r.thaw()
	default:
		r.release()
	}
	return here
}

// A StagedKeeper is a Keeper of another process, ready to go on in this one. Start or Discard must
// be called.
type StagedKeeper struct {
	k    *Keeper
	conn net.Conn // nil: the name has to be regained
}

// Stage makes a Keeper from what Keeper.Freeze gives in another process. Nothing is read or
// written until Start. Stage owns the descriptors from the call on: on failure it closes them.
func (c *Client) Stage(state []byte, descriptors []int, opts *KeepOptions) (*StagedKeeper, error) {
	var s keeperState
	err := json.Unmarshal(state, &s)
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrState, err)
	case s.Keeper != 1 || s.Held != (len(descriptors) == 1) || len(descriptors) > 1:
		err = fmt.Errorf("%w: a Keeper of version %d with %d descriptors", ErrState, s.Keeper, len(descriptors))
	default:
		err = s.Registration.check()
	}
	g := &StagedKeeper{}
	if err == nil && s.Held {
		g.conn, err = importConn(descriptors[0])
	}
	if err != nil {
		closeDescriptors(descriptors)
		return nil, &Error{Op: "adopt", Name: s.Registration.Name, Err: err}
	}
	g.k = c.keeper(s.Registration, s.Creation, opts)
	return g, nil
}

// closeDescriptors closes what could not be imported.
func closeDescriptors(fds []int) {
	for _, fd := range fds {
		_ = os.NewFile(uintptr(fd), "").Close() // nothing was written to it
	}
}

// importConn makes a connection of a descriptor, and does nothing that the peer could notice.
func importConn(fd int) (net.Conn, error) {
	s, err := transport.TCP().Import(fd, nil)
	if err != nil {
		return nil, err
	}
	return transport.NetConn(s), nil
}

// Start lets the Keeper go on.
func (g *StagedKeeper) Start() *Keeper {
	life, cancel := context.WithCancel(context.Background())
	g.k.cancel = cancel
	var r *Registered
	if g.conn != nil {
		r = g.k.client.registered(g.conn, g.k.reg, g.k.creation)
		go r.watch()
	} else {
		addr, _ := g.k.client.addr("")
		g.k.set(&Error{Op: "register", Addr: addr, Name: g.k.reg.Name, Err: ErrLost})
	}
	go g.k.run(life, r)
	return g.k
}

// Discard gives the Keeper up; the name stays with the other process.
func (g *StagedKeeper) Discard() error {
	if g.conn == nil {
		return nil
	}
	return g.conn.Close()
}

// freeze ends the goroutine that watches the connection; false when the connection has ended.
func (r *Registered) freeze() bool {
	r.mu.Lock()
	r.frozen = true
	r.mu.Unlock()
	_ = r.conn.SetReadDeadline(past) // if it fails the connection has ended
	select {
	case <-r.parked:
		return true
	case <-r.done:
		return false
	}
}

// park tells freeze that the watching ends; false when there is no freeze.
func (r *Registered) park() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.frozen && !r.closed {
		r.parked <- struct{}{}
		return true
	}
	return false
}

func (r *Registered) thaw() {
	r.mu.Lock()
	r.frozen = false
	r.mu.Unlock()
	_ = r.conn.SetReadDeadline(time.Time{}) // if it fails, so does the read
	go r.watch()
}

// release ends a frozen registration in this process.
func (r *Registered) release() {
	_ = r.conn.Close() // the other process has the connection
	r.mu.Lock()
	r.err = &Error{Op: "register", Addr: r.addr, Name: r.reg.Name, Err: os.ErrClosed}
	r.mu.Unlock()
	close(r.done)
}
