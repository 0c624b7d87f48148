package front

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

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
		Names     []*name
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
		Takes, Reads            bool // modeTakes, kindReads
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
		Head, Parts  []byte `json:",omitempty"` // preface
		Outgoing     outgoing
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

func savePoint(p *point) *savedPoint {
	if p == nil {
		return nil
	}
	p = p.whole()
	return &savedPoint{[2]int64{p.at.consumed, p.at.written}, p.rest, p.state}
}

func (p *savedPoint) point() *point {
	if p == nil {
		return nil
	}
	return &point{at: counters{p.At[0], p.At[1]}, rest: p.Rest, state: p.State}
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

// save writes everything down. The gate is held.
func (s *still) save() error {
	k := s.k
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.life != serving {
		return net.ErrClosed
	}
	all := savedKeeper{IDs: k.ids, Stats: k.stats}
	err := s.saveDoors(&all)
	for _, w := range k.workers {
		if err == nil {
			err = s.saveWorker(&all, w)
		}
	}
	waiting := slices.Clone(k.queue)
	for _, w := range k.workers {
		waiting = append(waiting, w.out...)
	}
	waits := map[uint64]bool{}
	for _, q := range waiting {
		waits[q.id] = true
		if err == nil {
			err = s.saveSession(&all, q, 0)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(k.sessions)) {
		if q := k.sessions[id]; err == nil && !waits[id] {
			worker := uint64(0)
			if q.worker != nil {
				worker = q.worker.id
			}
			err = s.saveSession(&all, q, worker)
		}
	}
	for _, n := range k.names {
		all.Names = append(all.Names, n.saved())
	}
	if err == nil {
		s.state, err = json.Marshal(all)
	}
	return err
}

// saveDoors writes down the listeners, in the order in which they were asked for, those that nobody
// has asked for yet last, and the clients that begin. Keeper.mu and the gate are held.
func (s *still) saveDoors(all *savedKeeper) error {
	begun := map[*door][]*beginning{}
	for b := range s.k.beginning {
		begun[b.door] = append(begun[b.door], b)
	}
	type saving struct {
		words
		number    uint64
		listener  listener
		beginning []*beginning
	}
	var order []saving
	for d := range s.k.doors {
		d.keepFile(true) // whatever closes it meanwhile
		order = append(order, saving{d.words, d.number, d.listener, begun[d]})
		delete(begun, d)
	}
	for _, lost := range begun { // their listeners are closed, and nobody else knows how they begin
		all.Stats.Refused += uint64(len(lost))
	}
	for _, i := range s.k.inherited {
		order = append(order, saving{i.words, i.number, i.listener, i.beginning})
	}
	slices.SortStableFunc(order, func(a, b saving) int { return cmp.Compare(a.number-1, b.number-1) })
	for _, v := range order {
		fd, err := s.lend(v.listener)
		if errors.Is(err, net.ErrClosed) { // by who has asked for it
			all.Stats.Refused += uint64(len(v.beginning))
			continue
		} else if err != nil {
			return err
		}
		for _, b := range v.beginning {
			fd, err := s.lend(b.conn)
			if err != nil {
				return err
			}
			all.Beginning = append(all.Beginning, savedBeginning{len(all.Doors), fd, b.proxied.remote, b.proxied.local, b.proxyDone})
		}
		all.Doors = append(all.Doors, savedDoor{v.network, v.address, fd})
	}
	return nil
}

// saveWorker writes down a worker. Keeper.mu and the gate are held.
func (s *still) saveWorker(all *savedKeeper, w *worker) (err error) {
	v := savedWorker{ID: w.id, Name: w.name, Cred: w.cred, Window: w.window, Tail: w.tail, Forwarded: w.forwarded,
		Inflight: w.inflight - len(w.out), Retiring: w.retiring, Gone: w.gone, IsPlain: w.plain, Takes: w.takes, Reads: w.reads}
	if !w.gone {
		if v.Stream, err = s.lend(w.stream); err == nil && w.control != nil {
			v.Control, err = s.lend(w.control)
		}
	}
	if err == nil && w.process != nil {
		v.Proc, err = s.lend(w.process)
	}
	all.Workers = append(all.Workers, v)
	return err
}

// saveSession writes down a session; worker is 0 for one that waits. Keeper.mu and the gate are
// held.
func (s *still) saveSession(all *savedKeeper, q *session, worker uint64) error {
	h, err := saveHeader(q.header)
	if err != nil {
		return err
	}
	host, err := s.saveHost(all, q)
	all.Sessions = append(all.Sessions, savedSession{ID: q.id, Kind: q.kind, FD: s.add(q.fd), Header: h, Moves: q.moves, Host: host,
		Worker: worker, Parked: q.parked, Taken: q.taken, Base: [2]int64{q.base.consumed, q.base.written},
		Last: savePoint(q.last), Before: savePoint(q.before), Head: q.head, Parts: q.parts,
		Outgoing: q.outgoing})
	return err
}

// saveHost writes down how the next process asks about a session whose pump cannot go: a pump of
// this process, or of one before. It gives the process's place among the Hosts, from 1; 0 for a
// session without. Keeper.mu and the gate are held.
func (s *still) saveHost(all *savedKeeper, q *session) (place int, err error) {
	var at *host
	switch p := q.pump.(type) {
	case nil:
		return 0, nil
	case *pump:
		s.pumps[q.id] = p
	case hosted:
		at = p.host
	}
	if place = s.hosts[at]; place != 0 {
		return place, nil
	}
	fd := 0 // it is gone
	if at == nil {
		there := -1
		if s.asks, there, err = packetPair(); err != nil {
			return 0, err
		}
		s.lent = append(s.lent, there)
		fd = s.add(there)
	} else if at.conn != nil {
		if fd, err = s.lend(at.conn); err != nil {
			return 0, err
		}
	}
	all.Hosts = append(all.Hosts, fd)
	s.hosts[at] = len(all.Hosts)
	return len(all.Hosts), nil
}

// read reads what has been written down. Keeper.mu is held.
func (s *staged) read(state []byte) error {
	var all savedKeeper
	if err := json.Unmarshal(state, &all); err != nil {
		return malformed("the state of a keeper: %v", err)
	}
	k := s.k
	k.ids, k.stats = all.IDs, all.Stats
	err := s.readDoors(&all)
	for _, place := range all.Hosts {
		h := &host{}
		if err == nil && place != 0 {
			h.conn, err = s.unix(place)
		}
		k.hosts = append(k.hosts, h)
	}
	for _, v := range all.Workers {
		if err == nil {
			err = s.readWorker(v)
		}
	}
	for _, n := range all.Names {
		k.names[n.Text] = n
		n.Claims = slices.DeleteFunc(n.Claims, func(c *claim) bool {
			i := slices.IndexFunc(k.workers, func(w *worker) bool { return w.id == c.Worker })
			if i >= 0 {
				c.worker = k.workers[i]
			}
			return i < 0
		})
	}
	for _, v := range all.Sessions {
		if err == nil {
			err = s.readSession(v)
		}
	}
	return err
}

// readDoors reads listeners, and the clients that begin there. Keeper.mu is held.
func (s *staged) readDoors(all *savedKeeper) error {
	k := s.k
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
		k.inherited = append(k.inherited, &inheritance{words: words{d.Network, d.Address}, listener: l.(listener)})
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
	return nil
}

// readWorker reads a worker. Keeper.mu is held.
func (s *staged) readWorker(v savedWorker) (err error) {
	w := newWorker(v.Name, v.Cred, nil, nil, nil)
	w.plain, w.takes, w.reads = v.IsPlain, v.Takes, v.Reads
	w.id, w.window, w.tail, w.forwarded, w.inflight, w.retiring = v.ID, v.Window, v.Tail, v.Forwarded, v.Inflight, v.Retiring
	s.k.workers = append(s.k.workers, w)
	if v.Proc != 0 {
		if w.process, err = s.file(v.Proc); err != nil {
			return err
		}
	}
	if v.Gone {
		w.gone = true
		close(w.done)
		return nil
	}
	if w.stream, err = s.unix(v.Stream); err != nil {
		return err
	}
	if w.raw, err = w.stream.SyscallConn(); err != nil || v.IsPlain {
		return err
	}
	c, err := s.unix(v.Control)
	if err != nil {
		return err
	}
	if w.control, err = handoff.NewConn(c); err != nil {
		return errors.Join(fmt.Errorf("worker %d: %w", v.ID, err), c.Close())
	}
	return nil
}

// readSession reads a session, whose worker and host have been read. Keeper.mu is held.
func (s *staged) readSession(v savedSession) error {
	k := s.k
	fd, err := s.take(v.FD)
	if err != nil {
		return err
	}
	q := &session{id: v.ID, kind: v.Kind, fd: fd, moves: v.Moves, parked: v.Parked, taken: v.Taken,
		base: counters{v.Base[0], v.Base[1]}, last: v.Last.point(), before: v.Before.point(), preface: preface{v.Head, v.Parts}}
	k.sessions[q.id] = q
	if q.outgoing = v.Outgoing; k.names[q.Name] != nil {
		q.name = k.names[q.Name]
		q.name.session = q
	}
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
		if q.name == nil {
			k.queue = append(k.queue, q)
		}
		return nil
	}
	i := slices.IndexFunc(k.workers, func(w *worker) bool { return w.id == v.Worker })
	if i < 0 {
		return malformed("session %d of worker %d, which is not there", q.id, v.Worker)
	}
	q.worker = k.workers[i]
	q.worker.sessions[q.id] = q
	return nil
}

// take takes a descriptor by its place.
func (s *staged) take(place int) (int, error) {
	if place < 1 || place > len(s.fds) || s.used[place] {
		return -1, malformed("descriptor %d of %d", place, len(s.fds))
	}
	s.used[place] = true
	return s.fds[place-1], nil
}

// file takes a descriptor as a file.
func (s *staged) file(place int) (*os.File, error) {
	fd, err := s.take(place)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "handed over"), nil
}

// unix takes a descriptor as a connection.
func (s *staged) unix(place int) (*net.UnixConn, error) {
	fd, err := s.take(place)
	if err != nil {
		return nil, err
	}
	return connOf(fd)
}
