package gate

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"time"

	"github.com/cnode-go/cnode/internal/protocol/packets"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A stray is a connection whose name has come while the gate moves: its TLS, of which only this
// process knows how far it was, has gone on. The next process begins with the name.
type stray struct {
	d    *door
	s    *transport.Stream
	near *packets.Conn
}

// A strayState is what the next process needs beside the descriptor.
type strayState struct {
	Node          string // the door's
	Side          int
	Unix          bool
	Socket, Ahead []byte
}

// whatStray names the state of a stray for handoff.Terms.
const whatStray = what + " stray"

// giveStrays gives connections that came before the gate had moved, one by one, until all of them
// have a name, or have failed.
func (g *Gate) giveStrays(ctx context.Context, ch *handoff.Channel) {
	idle := make(chan struct{})
	go func() {
		g.arrivals.Wait()
		close(idle)
	}()
	for {
		select {
		case <-idle:
			return
		case x := <-g.strays:
			offer := handoff.Offer{Terms: handoff.Terms{What: whatStray}, Freeze: x.freeze}
			if h, err := offer.Give(ctx, ch); !h.Moved {
				x.d.fail(x.s, err)
			}
		}
	}
}

type frozenStray struct {
	s     *transport.Stream
	state []byte
	fd    int
}

func (x stray) freeze(context.Context) (handoff.Frozen, error) {
	st := strayState{Node: x.d.node.Name, Side: x.d.side, Ahead: x.near.Wire()}
	_, st.Unix = x.s.LocalAddr().(transport.UnixAddr)
	socket, ahead, err := x.s.Export()
	if err != nil {
		return nil, err
	}
	st.Socket, st.Ahead = socket, append(st.Ahead, ahead...)
	fd, err := x.s.Descriptor()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = gob.NewEncoder(&b).Encode(st)
	return &frozenStray{x.s, b.Bytes(), fd}, err
}

func (f *frozenStray) State() []byte      { return f.state }
func (f *frozenStray) Descriptors() []int { return []int{f.fd} }
func (f *frozenStray) Thaw()              {} // giveStrays ends it
func (f *frozenStray) Release() error     { return f.s.Release() }

// takeStrays takes what giveStrays gives, until the other process closes the channel.
func (g *Gate) takeStrays(ch *handoff.Channel) {
	defer ch.Close()
	accept := handoff.Acceptance{
		Terms: handoff.Terms{What: whatStray},
		Stage: g.stageStray,
		// the other process waits for names
		Deadlines: handoff.Deadlines{Hello: g.opts.setupTime + 5*time.Second},
	}
	for {
		taken, err := accept.Take(g.ctx, ch)
		if !taken.Owns {
			g.log.Debug("the process before has nothing more", "reason", err)
			return
		}
	}
}

type stagedStray struct {
	d *door // nil: the configuration has it no more
	s *transport.Stream
}

func (g *Gate) stageStray(_ context.Context, state []byte, fds []int) (handoff.Staged, error) {
	var st strayState
	err := gob.NewDecoder(bytes.NewReader(state)).Decode(&st)
	if err == nil && len(fds) != 1 {
		err = errors.New("a connection without its descriptor")
	}
	x := &stagedStray{}
	if err == nil {
		x.s, err = g.importStream(1-st.Side, st.Unix, fds[0], st.Socket)
	}
	if err != nil {
		closeAll(fds)
		return nil, err
	}
	for _, n := range g.cfg.sides()[st.Side].Nodes {
		if n.Name == st.Node {
			x.d = &door{g: g, node: n, side: st.Side} // this gate may have moved on with its listeners
		}
	}
	if err := x.s.Preload(st.Ahead); err != nil {
		return nil, errors.Join(err, x.s.Release())
	}
	return x, nil
}

// Start goes on with the handshake.
func (x *stagedStray) Start(context.Context) error {
	if x.d == nil {
		return x.s.Close()
	}
	x.d.come(x.s)
	return nil
}

// Discard leaves the connection to the other process.
func (x *stagedStray) Discard() error { return x.s.Release() }
