package front

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport/handoff"
)

// terms are what both sides of an upgrade say that it is about.
const terms = "sessions of a keeper"

// Give hands everything over to the process at the other end of ch, which calls Take:
// handoff.Offer says when Give returns and what its error means. If Handed.Moved is true, Serve
// and Workers return net.ErrClosed, and only the TLS of sessions that were accepted here goes on in
// this process; wait for it with Shutdown. Else nothing has changed. Clients that come meanwhile
// wait in the listeners' backlogs.
func (k *Keeper) Give(ctx context.Context, ch *handoff.Channel) (handoff.Handed, error) {
	return k.offer.Give(ctx, ch)
}

// Take makes a Keeper of what the other end of ch gives: see Give. The new Keeper holds all
// sessions and workers at once. Listeners begin with the next Serve of what Keeper.Listen has
// returned for the same words, and Workers with the same path. Several with the same words come in
// the order in which the other process has asked for them. Those that nobody asks for within a
// minute are closed. An error says that this process has got nothing, unless it wraps a
// *handoff.Error whose Owns is true: then the Keeper is not nil, and serves.
func Take(ctx context.Context, ch *handoff.Channel, o *Options) (*Keeper, error) {
	k, err := New(o)
	if err != nil {
		return nil, err
	}
	a := handoff.Acceptance{Terms: handoff.Terms{What: terms},
		Stage: func(_ context.Context, state []byte, fds []int) (handoff.Staged, error) { return k.stage(state, fds) }}
	taken, err := a.Take(ctx, ch)
	if !taken.Owns {
		return nil, errors.Join(err, k.Close())
	}
	return k, err
}

// descriptors is about how many the next process needs.
func (k *Keeper) descriptors() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.sessions) + len(k.beginning) + len(k.doors) + 3*len(k.workers)
}

// still is a Keeper that stands still.
type still struct {
	k     *Keeper
	thaw  func()
	state []byte
	fds   []int
	lent  []int         // duplicates of what package net has
	asks  *net.UnixConn // on which the next process asks about the pumps; nil: there are none
	pumps map[uint64]*pump
	hosts map[*host]int // the places of those that are written down; nil is this process
}

// freeze makes everything stand still, and writes it down.
func (k *Keeper) freeze(ctx context.Context) (handoff.Frozen, error) {
	k.pass("freeze")
	thaw, err := k.stand(ctx)
	if err != nil {
		return nil, err
	}
	s := &still{k: k, thaw: thaw, pumps: map[uint64]*pump{}, hosts: map[*host]int{}}
	if err := s.save(); err != nil {
		s.Thaw()
		return nil, err
	}
	k.pass("frozen")
	return s, nil
}

func (s *still) State() []byte      { return s.state }
func (s *still) Descriptors() []int { return s.fds }

// Thaw goes on as before.
func (s *still) Thaw() {
	s.close()
	if s.asks != nil {
		_ = s.asks.Close()
	}
	s.k.mu.Lock()
	for d := range s.k.doors {
		d.keepFile(false)
	}
	s.k.mu.Unlock()
	s.thaw()
}

func (s *still) close() {
	for _, fd := range s.lent {
		closeFD(fd)
	}
}

// Release gives up what the next process has.
func (s *still) Release() error {
	s.close()
	s.k.mu.Lock()
	s.k.life = moved
	if s.asks != nil {
		s.k.hosting = append(s.k.hosting, s.asks)
		s.k.goOn(func() {
			if err := serveHosted(s.asks, s.pumps); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) {
				s.k.o.Log.Error("the process that has taken over asks no more about the sessions with TLS here", "error", err)
			}
		})
	}
	s.k.letGo(false)
	s.k.change()
	s.k.mu.Unlock()
	s.thaw()
	return nil
}

// add adds a descriptor, and gives its place.
func (s *still) add(fd int) int {
	s.fds = append(s.fds, fd)
	return len(s.fds)
}

// lend adds a duplicate of a descriptor of package net or os.
func (s *still) lend(c syscall.Conn) (int, error) {
	fd, err := duplicate(c)
	if err != nil {
		return 0, err
	}
	s.lent = append(s.lent, fd)
	return s.add(fd), nil
}

// staged is a Keeper that has been read, and has touched nothing.
type staged struct {
	k    *Keeper
	fds  []int
	used map[int]bool // by place
}

// stage reads what the previous process has written down.
func (k *Keeper) stage(state []byte, fds []int) (handoff.Staged, error) {
	s := &staged{k: k, fds: fds, used: map[int]bool{}}
	k.mu.Lock()
	err := s.read(state)
	k.mu.Unlock()
	if err != nil {
		return nil, errors.Join(err, s.Discard())
	}
	return s, nil
}

// Discard closes this process's copies.
func (s *staged) Discard() error {
	for i, fd := range s.fds {
		if !s.used[i+1] {
			closeFD(fd)
		}
	}
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	s.k.letGo(false)
	return nil
}

// unclaimed is how long listeners of the previous process wait for somebody who asks for them.
const unclaimed = time.Minute

// Start goes on.
func (s *staged) Start(context.Context) error {
	k := s.k
	k.gate.RLock()
	defer k.gate.RUnlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range k.workers {
		k.begin(w)
	}
	for _, n := range k.names {
		if q := n.session; q != nil && q.worker == nil {
			k.keep(q)
		} else {
			k.match(n)
		}
		for _, c := range n.Claims {
			k.waits(n, c)
		}
	}
	k.expireLater()
	time.AfterFunc(unclaimed, func() { k.locked(k.closeUnclaimed) })
	return nil
}

// closeUnclaimed closes listeners of the previous process that nobody has asked for. k.mu is held.
func (k *Keeper) closeUnclaimed() {
	for _, i := range k.inherited {
		if i.number == 0 {
			k.o.Log.Warn("a listener of the previous process is closed, since nobody serves it", "network", i.network, "address", i.address)
		}
		k.stats.Refused += uint64(len(i.beginning))
	}
	k.leaveInherited(true)
}
