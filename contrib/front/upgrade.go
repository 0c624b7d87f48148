package front

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
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

// What goes to the next process. Numbers of descriptors are places in what is sent beside it; 0 is
// none, so the places begin with 1.
type (
	savedKeeper struct {
		IDs       uint64
		Stats     Stats
		Doors     []savedDoor
		Workers   []savedWorker
		Hosts     []int          // descriptors to the processes that pump sessions with TLS
		Sessions  []savedSession // those that wait come first, in their order
		Beginning []savedBeginning
	}
	savedDoor struct {
		Network, Address string
		FD               int
	}
	savedWorker struct {
		ID                      uint64
		Name                    string
		Cred                    handoff.Cred
		Stream, Control, Proc   int
		Window                  int
		Tail                    []byte
		Forwarded               uint64
		Inflight                int
		Retiring, Gone, IsPlain bool
		Takes                   bool // modeTakes
	}
	savedSession struct {
		ID           uint64
		Kind         kind
		FD           int
		Header       savedHeader
		First        []byte // nothing, and so is Mute: earlier fronts looked at what clients send first
		Moves        int
		Host         int    // of byPump: its place among the Hosts, from 1
		Worker       uint64 // 0: it waits
		Parked       time.Time
		Taken, Mute  bool
		Base         [2]int64
		Last, Before *savedPoint
	}
	savedHeader struct {
		Family, Type, Protocol int
		Local, Remote          []byte // struct sockaddr
	}
	savedPoint struct {
		At          [2]int64
		Rest, State []byte
	}
	savedBeginning struct {
		Door          int // its place among the Doors, from 0
		FD            int
		Remote, Local netip.AddrPort
		ProxyDone     bool
	}
)

// still is a Keeper that stands still.
type still struct {
	k     *Keeper
	thaw  func()
	state []byte
	fds   []int
	lent  []int         // duplicates of what package net has
	asks  *net.UnixConn // on which the next process asks about the pumps; nil: there are none
	pumps map[uint64]*pump
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

// freeze makes everything stand still, and writes it down.
func (k *Keeper) freeze(ctx context.Context) (handoff.Frozen, error) {
	k.pass("freeze")
	thaw, err := k.stand(ctx)
	if err != nil {
		return nil, err
	}
	s := &still{k: k, thaw: thaw}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.life != serving {
		err = net.ErrClosed
	} else if err = s.save(); err == nil {
		k.pass("frozen")
		return s, nil
	}
	s.close()
	if s.asks != nil {
		_ = s.asks.Close()
	}
	k.mu.Unlock() // thaw needs it
	thaw()
	k.mu.Lock()
	return nil, err
}

// add adds a descriptor, and gives its place.
func (s *still) add(fd int) int {
	if fd < 0 {
		return 0
	}
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

func savePoint(p *point) *savedPoint {
	if p == nil {
		return nil
	}
	return &savedPoint{[2]int64{p.at.consumed, p.at.written}, p.rest, p.state}
}

func (p *savedPoint) point() *point {
	if p == nil {
		return nil
	}
	return &point{counters{p.At[0], p.At[1]}, p.Rest, p.State}
}

func saveHeader(h bind10.Header) (s savedHeader, err error) {
	s = savedHeader{Family: h.Family, Type: h.Type, Protocol: h.Protocol}
	if s.Local, err = transport.AppendSockaddr(nil, h.Local); err == nil {
		s.Remote, err = transport.AppendSockaddr(nil, h.Remote)
	}
	return s, err
}

func (s savedHeader) header() (h bind10.Header, err error) {
	h = bind10.Header{Family: s.Family, Type: s.Type, Protocol: s.Protocol}
	if h.Local, err = transport.ParseSockaddr(s.Local); err == nil {
		h.Remote, err = transport.ParseSockaddr(s.Remote)
	}
	return h, err
}

// saveDoors writes down the listeners, in the order in which they were asked for, those that nobody
// has asked for yet last, and the clients that begin. Keeper.mu and the gate are held.
func (s *still) saveDoors(all *savedKeeper) error {
	type saving struct {
		door     *door
		heritage *inheritance
		number   uint64
	}
	var order []saving
	for d := range s.k.doors {
		order = append(order, saving{door: d, number: d.number})
	}
	for _, i := range s.k.inherited {
		order = append(order, saving{heritage: i, number: i.number})
	}
	slices.SortStableFunc(order, func(a, b saving) int { return cmp.Compare(a.number-1, b.number-1) })
	places := map[*door]int{}
	for _, v := range order {
		if v.door != nil {
			fd, err := s.lend(v.door.listener)
			if err != nil {
				return err
			}
			v.door.keepFile(true) // whatever closes it meanwhile
			places[v.door] = len(all.Doors)
			all.Doors = append(all.Doors, savedDoor{v.door.network, v.door.address, fd})
			continue
		}
		fd, err := s.lend(v.heritage.listener.(listener))
		if err != nil && v.heritage.number > 0 { // who has asked for it has closed it
			continue
		} else if err != nil {
			return err
		}
		for _, b := range v.heritage.beginning {
			if err := s.saveBeginning(all, b, len(all.Doors)); err != nil {
				return err
			}
		}
		all.Doors = append(all.Doors, savedDoor{v.heritage.network, v.heritage.address, fd})
	}
	for b := range s.k.beginning {
		place, ok := places[b.door]
		if !ok { // its listener is closed, and nobody else knows how it begins
			all.Stats.Refused++
			continue
		}
		if err := s.saveBeginning(all, b, place); err != nil {
			return err
		}
	}
	return nil
}

// saveHosts writes down how the next process asks about sessions whose pumps cannot go, here (nil)
// and in the processes before. It gives the hosts' places. Keeper.mu and the gate are held.
func (s *still) saveHosts(all *savedKeeper) (places map[*host]int, err error) {
	places, s.pumps = map[*host]int{}, map[uint64]*pump{}
	for _, q := range s.k.sessions {
		p, elsewhere := q.pump.(hosted)
		if _, ok := places[p.host]; ok || q.pump == nil {
			continue
		}
		place := 0 // it is gone
		if elsewhere {
			if p.conn != nil {
				if place, err = s.lend(p.conn); err != nil {
					return nil, err
				}
			}
		} else {
			there := -1
			if s.asks, there, err = packetPair(); err != nil {
				return nil, err
			}
			s.lent = append(s.lent, there)
			place = s.add(there)
		}
		all.Hosts = append(all.Hosts, place)
		places[p.host] = len(all.Hosts)
	}
	return places, nil
}

func (s *still) saveBeginning(all *savedKeeper, b *beginning, door int) error {
	fd, err := s.lend(b.conn)
	if err == nil {
		all.Beginning = append(all.Beginning, savedBeginning{door, fd, b.proxied.remote, b.proxied.local, b.proxyDone})
	}
	return err
}

// save writes everything down. Keeper.mu and the gate are held.
func (s *still) save() error {
	k := s.k
	all := savedKeeper{IDs: k.ids, Stats: k.stats}
	if err := s.saveDoors(&all); err != nil {
		return err
	}
	hosts, err := s.saveHosts(&all)
	if err != nil {
		return err
	}
	for _, w := range k.workers {
		v := savedWorker{ID: w.id, Name: w.name, Cred: w.cred, Window: w.window, Tail: w.tail, Forwarded: w.forwarded,
			Inflight: w.inflight, Retiring: w.retiring, Gone: w.gone, IsPlain: w.plain, Takes: w.takes}
		var err error
		if !w.gone {
			if v.Stream, err = s.lend(w.stream); err == nil && w.control != nil {
				v.Control, err = s.lend(w.control)
			}
		}
		if err == nil && w.process != nil {
			v.Proc, err = s.lend(w.process)
		}
		if err != nil {
			return err
		}
		v.Inflight -= len(w.out)
		all.Workers = append(all.Workers, v)
	}
	session := func(q *session, worker uint64) error {
		h, err := saveHeader(q.header)
		if err != nil {
			return err
		}
		v := savedSession{ID: q.id, Kind: q.kind, FD: s.add(q.fd), Header: h, Moves: q.moves, Worker: worker, Parked: q.parked,
			Taken: q.taken, Base: [2]int64{q.base.consumed, q.base.written}, Last: savePoint(q.last), Before: savePoint(q.before)}
		switch p := q.pump.(type) {
		case *pump:
			s.pumps[q.id], v.Host = p, hosts[nil]
		case hosted:
			v.Host = hosts[p.host]
		}
		all.Sessions = append(all.Sessions, v)
		return nil
	}
	waiting := slices.Clone(k.queue)
	for _, w := range k.workers {
		waiting = append(waiting, w.out...)
	}
	for _, q := range waiting {
		if err := session(q, 0); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(k.sessions)) {
		if q := k.sessions[id]; !slices.Contains(waiting, q) {
			if err := session(q, q.worker.id); err != nil {
				return err
			}
		}
	}
	s.state, err = json.Marshal(all)
	return err
}

// staged is a Keeper that has been read, and has touched nothing.
type staged struct {
	k       *Keeper
	fds     []int
	used    map[int]bool // by place
	workers []*worker
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
	s.k.leaveInherited(false)
	for _, w := range s.workers {
		w.close()
	}
	for _, q := range s.k.sessions {
		s.k.drop(q)
	}
	for _, h := range s.k.hosts {
		h.close()
	}
	s.k.hosts = nil
	s.k.queue = nil
	return nil
}

// keepFile says whether the file of a UNIX socket stays when the listener is closed.
func keepFile(l net.Listener, on bool) {
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(!on)
	}
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
	for _, w := range s.workers {
		k.begin(w)
	}
	k.expireLater()
	time.AfterFunc(unclaimed, k.closeUnclaimed)
	return nil
}

// closeUnclaimed closes listeners of the previous process that nobody has asked for.
func (k *Keeper) closeUnclaimed() {
	if !k.enter() {
		return
	}
	defer k.gate.RUnlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, i := range k.inherited {
		if i.number == 0 {
			k.o.Log.Warn("a listener of the previous process is closed, since nobody serves it", "network", i.network, "address", i.address)
		}
		k.stats.Refused += uint64(len(i.beginning))
	}
	k.leaveInherited(true)
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

// take takes a descriptor by its place; -1 for none.
func (s *staged) take(place int) (int, error) {
	switch {
	case place == 0:
		return -1, nil
	case place < 0 || place > len(s.fds) || s.used[place]:
		return -1, malformed("descriptor %d of %d", place, len(s.fds))
	}
	s.used[place] = true
	return s.fds[place-1], nil
}

// file takes a descriptor as a file.
func (s *staged) file(place int) (*os.File, error) {
	fd, err := s.take(place)
	if err == nil && fd < 0 {
		err = malformed("a descriptor is missing")
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "handed over"), nil
}

func (s *staged) unix(place int) (*net.UnixConn, error) {
	fd, err := s.take(place)
	if err == nil && fd < 0 {
		err = malformed("a descriptor is missing")
	}
	if err != nil {
		return nil, err
	}
	return connOf(fd)
}

// read reads what has been written down. Keeper.mu is held.
func (s *staged) read(state []byte) error {
	var all savedKeeper
	if err := json.Unmarshal(state, &all); err != nil {
		return malformed("the state of a keeper: %v", err)
	}
	k := s.k
	k.ids, k.stats = all.IDs, all.Stats
	for _, d := range all.Doors {
		f, err := s.file(d.FD)
		if err != nil {
			return err
		}
		l, err := net.FileListener(f)
		_ = f.Close()
		if err != nil {
			return err
		}
		keepFile(l, false)
		k.inherited = append(k.inherited, &inheritance{words: words{d.Network, d.Address}, listener: l})
	}
	for _, v := range all.Beginning {
		f, err := s.file(v.FD)
		if err != nil {
			return err
		}
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			return err
		}
		if v.Door < 0 || v.Door >= len(k.inherited) {
			return errors.Join(malformed("a client of listener %d of %d", v.Door, len(k.inherited)), c.Close())
		}
		i := k.inherited[v.Door]
		i.beginning = append(i.beginning, &beginning{conn: c.(conn), proxied: proxied{v.Remote, v.Local}, proxyDone: v.ProxyDone})
	}
	for _, place := range all.Hosts {
		h := &host{}
		if place != 0 {
			c, err := s.unix(place)
			if err != nil {
				return err
			}
			h.conn = c
		}
		k.hosts = append(k.hosts, h)
	}
	byID := map[uint64]*worker{}
	for _, v := range all.Workers {
		w, err := s.worker(v)
		if err != nil {
			return err
		}
		byID[w.id] = w
	}
	for _, v := range all.Sessions {
		fd, err := s.take(v.FD)
		if err != nil {
			return err
		}
		q := &session{id: v.ID, kind: v.Kind, fd: fd, moves: v.Moves, parked: v.Parked, taken: v.Taken,
			base: counters{v.Base[0], v.Base[1]}, last: v.Last.point(), before: v.Before.point()}
		k.sessions[q.id] = q
		if q.header, err = v.Header.header(); err != nil {
			return err
		}
		if q.kind == byPump {
			if v.Host < 1 || v.Host > len(k.hosts) {
				return malformed("session %d at process %d of %d", q.id, v.Host, len(k.hosts))
			}
			q.pump = hosted{k.hosts[v.Host-1], q.id}
		}
		if v.Worker == 0 {
			k.queue = append(k.queue, q)
			continue
		}
		if q.worker = byID[v.Worker]; q.worker == nil {
			return malformed("session %d of worker %d, which is not there", q.id, v.Worker)
		}
		q.worker.sessions[q.id] = q
	}
	return nil
}

func (s *staged) worker(v savedWorker) (w *worker, err error) {
	w = newWorker(v.Name, v.Cred, nil, nil, nil)
	w.plain, w.takes = v.IsPlain, v.Takes
	w.id, w.window, w.tail, w.forwarded, w.inflight, w.retiring = v.ID, v.Window, v.Tail, v.Forwarded, v.Inflight, v.Retiring
	s.workers = append(s.workers, w)
	if v.Proc != 0 {
		if w.process, err = s.file(v.Proc); err != nil {
			return nil, err
		}
	}
	if v.Gone {
		w.gone = true
		close(w.done)
		return w, nil
	}
	if w.stream, err = s.unix(v.Stream); err != nil {
		return nil, err
	}
	if w.raw, err = w.stream.SyscallConn(); err != nil || v.IsPlain {
		return w, err
	}
	c, err := s.unix(v.Control)
	if err != nil {
		return nil, err
	}
	if w.control, err = handoff.NewConn(c); err != nil {
		return nil, errors.Join(fmt.Errorf("worker %d: %w", v.ID, err), c.Close())
	}
	return w, nil
}
