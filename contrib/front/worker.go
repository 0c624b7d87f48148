package front

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// controlSuffix is behind the path of the plain workers' socket.
const controlSuffix = ".control"

// A worker is a process that serves sessions.
type worker struct {
	id      uint64
	name    string
	cred    handoff.Cred
	stream  *net.UnixConn // its sessions go there
	raw     syscall.RawConn
	control *handoff.Conn // nil: a plain worker, or one that is gone
	plain   bool          // it gets BIND 10's form, and says nothing
	takes   bool          // modeTakes
	reads   bool          // kindReads, under Keeper.mu
	process *os.File      // tells when it is gone; nil: nothing does
	woken   chan struct{} // its writer has work, or it is gone
	done    chan struct{} // closed when it is gone
	sent    chan struct{} // closed when its writer has ended

	// all of the following under Keeper.mu
	sessions  map[uint64]*session
	out       []*session // to be sent
	tail      []byte     // of a session that has been sent in part
	window    int
	inflight  int // neither taken nor refused
	forwarded uint64
	refused   time.Time // no more until then
	retiring  bool
	gone      bool // its sockets have ended
}

func newWorker(name string, cred handoff.Cred, stream *net.UnixConn, control *handoff.Conn, process *os.File) *worker {
	w := &worker{name: name, cred: cred, control: control, plain: control == nil, process: process,
		woken: make(chan struct{}, 1), done: make(chan struct{}), sent: make(chan struct{}), sessions: map[uint64]*session{}}
	if stream != nil {
		w.stream = stream
		w.raw, _ = stream.SyscallConn() // has no error
	}
	return w
}

// view is what a Policy sees. Keeper.mu is held.
func (w *worker) view() Worker {
	v := Worker{ID: w.id, Name: w.name, PID: w.cred.PID, Plain: w.plain, Sessions: len(w.sessions), Forwarded: w.forwarded,
		Retiring: w.retiring || w.gone}
	v.Ready = w.serves() && w.inflight < w.window && !time.Now().Before(w.refused)
	return v
}

func (w *worker) serves() bool { return !w.retiring && !w.gone }

func (w *worker) label() string { return fmt.Sprintf("%q, pid %d", w.name, w.cred.PID) }

func (w *worker) wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// arrived notes that a session is not on its way any more. Keeper.mu is held.
func (w *worker) arrived(s *session) {
	if !s.taken {
		s.taken = true
		w.inflight--
	}
}

// interrupt makes waiting for the sockets end at a time; the zero one is never.
func (w *worker) interrupt(at time.Time) {
	if w.stream == nil {
		return
	}
	_ = w.stream.SetWriteDeadline(at)
	if w.plain {
		_ = w.stream.SetReadDeadline(at)
	}
}

// close closes this process's copies of the sockets. Keeper.mu is held.
func (w *worker) close() {
	if !w.gone {
		w.gone = true
		close(w.done)
	}
	if w.stream != nil {
		_ = w.stream.Close()
	}
	if w.control != nil {
		_ = w.control.Close()
	}
	if w.process != nil {
		_ = w.process.Close()
	}
}

// Workers listens for workers at path, and at path + ".control", and returns. They are accepted
// until ctx ends or the Keeper is closed or has moved; the workers that are there stay. The
// sockets are made with Options.WorkersMode, and whoever connects is asked Options.Peer. Files
// of sockets that nobody listens at are replaced; EADDRINUSE if somebody does, net.ErrClosed if
// the Keeper is closed.
func (k *Keeper) Workers(ctx context.Context, path string) error {
	const op = "listen for workers"
	if path == "" {
		return failed(op, nil, fmt.Errorf("empty path: %w", syscall.EINVAL))
	}
	// this one first: where another front listens, who tried the other one would be its plain worker
	control, err := k.listenWorkers(words{"unixpacket", path + controlSuffix}, k.worker)
	if err != nil {
		return failed(op, transport.UnixAddr(path+controlSuffix), err)
	}
	plain, err := k.listenWorkers(words{"unix", path}, k.plainWorker)
	if err != nil {
		control.close()
		return failed(op, transport.UnixAddr(path), err)
	}
	for _, d := range []*door{plain, control} {
		if !k.open(d) {
			plain.close()
			control.close()
			return failed(op, transport.UnixAddr(path), net.ErrClosed)
		}
		k.goOn(func() { k.acceptWorkers(ctx, d) })
	}
	return nil
}

// lookAgain is how often it is looked whether the files of the workers' sockets are still there.
const lookAgain = 2 * time.Second

// acceptWorkers accepts workers. Without the socket's file none can come any more, so a door whose
// file somebody has removed is replaced.
func (k *Keeper) acceptWorkers(ctx context.Context, d *door) {
	for d != nil {
		at, ended := d, make(chan struct{})
		k.goOn(func() {
			defer close(ended)
			_ = k.acceptAt(ctx, at)
		})
		for d = nil; d == nil; {
			select {
			case <-ended:
				return
			case <-time.After(k.lookAgain):
				d = k.renew(at)
			}
		}
	}
}

// renew replaces a door whose file is gone; nil: it is not, or none can be made now.
func (k *Keeper) renew(d *door) *door {
	path := d.address
	if path[0] == '@' {
		return nil
	}
	if now, err := os.Lstat(path); err == nil && os.SameFile(now, d.file) || !k.enter() {
		return nil
	}
	defer k.gate.RUnlock()
	l, file, err := k.makeListener(d.words)
	if err != nil {
		k.o.Log.Debug("the socket of workers is not made anew", "path", path, "error", err) // its folder may come back
		return nil
	}
	next := &door{words: d.words, number: d.number, listener: l, file: file, take: d.take}
	d.keepFile(true)
	k.mu.Lock()
	opened := k.note(next)
	if opened {
		delete(k.doors, d)
	}
	k.mu.Unlock()
	if !opened {
		next.close()
		return nil
	}
	d.close()
	k.o.Log.Info("the socket of workers is made anew: its file was removed", "path", path)
	return next
}

// listenWorkers listens at a path, or goes on with what the previous process has listened at.
func (k *Keeper) listenWorkers(of words, take func(net.Conn)) (*door, error) {
	i, number := k.inherit(of)
	d := &door{words: of, number: number, heritage: i, take: take}
	if i != nil {
		d.listener = i.listener
		d.file, _ = os.Lstat(of.address) // not there: it is made anew
		return d, nil
	}
	l, file, err := k.makeListener(of)
	if err != nil {
		return nil, err
	}
	d.listener, d.file = l, file
	return d, nil
}

// makeListener listens for workers, and tells which file it has made.
func (k *Keeper) makeListener(of words) (*net.UnixListener, fs.FileInfo, error) {
	network, path := of.network, of.address
	listen := func() (*net.UnixListener, error) {
		return net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
	}
	l, err := listen()
	if errors.Is(err, syscall.EADDRINUSE) && deserted(path, network) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
		l, err = listen()
	}
	if err != nil {
		return nil, nil, noSocket(path, err)
	}
	if path[0] == '@' {
		return l, nil, nil
	}
	err = os.Chmod(path, k.o.WorkersMode)
	file, e := os.Lstat(path)
	if err = errors.Join(err, e); err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return l, file, nil
}

// noSocket says of an error of listening if a file or a folder is at the path.
func noSocket(path string, err error) error {
	info, e := os.Lstat(path)
	switch {
	case !errors.Is(err, syscall.EADDRINUSE), e != nil, info.Mode().Type() == fs.ModeSocket:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a folder, no socket: %w", path, err)
	}
	return fmt.Errorf("%s is a file, no socket: remove it, or name another path: %w", path, err)
}

// deserted tells whether a path is a socket that nobody listens at.
func deserted(path, network string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	c, err := net.DialUnix(network, nil, &net.UnixAddr{Name: path, Net: network})
	if err == nil {
		_ = c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// admitted asks whether a process may be a worker.
func (k *Keeper) admitted(c *net.UnixConn) (handoff.Cred, error) {
	cred, err := handoff.PeerCred(c)
	if err == nil {
		err = k.o.Peer(cred)
	}
	if err == nil {
		k.mu.Lock()
		if len(k.workers) >= k.o.MaxWorkers {
			err = fmt.Errorf("there are %d workers already", len(k.workers))
		}
		k.mu.Unlock()
	}
	if err != nil {
		k.o.Log.Warn("a worker is refused", "process", cred, "error", err)
	}
	return cred, err
}

// plainWorker is a process that has connected to the socket of plain workers. The gate is held.
func (k *Keeper) plainWorker(conn net.Conn) {
	c := conn.(*net.UnixConn)
	cred, err := k.admitted(c)
	if err != nil {
		_ = c.Close()
		return
	}
	k.join(newWorker("", cred, c, nil, nil))
}

// worker is a process that has connected to the control socket. The gate is held.
func (k *Keeper) worker(conn net.Conn) {
	c := conn.(*net.UnixConn)
	cred, err := k.admitted(c)
	control, e := handoff.NewConn(c)
	if e != nil {
		_ = c.Close()
		return
	}
	k.goOn(func() { k.meet(control, cred, err) })
}

// goOn starts a goroutine that Close waits for.
func (k *Keeper) goOn(f func()) {
	k.wg.Add(1)
	go func() {
		defer k.wg.Done()
		f()
	}()
}

// meet exchanges the first packets with a worker. Refused, if not nil, is why it gets no
// welcome: it is told so in answer to its hello, since it could not send that to a socket that
// is closed.
func (k *Keeper) meet(control *handoff.Conn, cred handoff.Cred, refused error) {
	if !k.enter() {
		_ = control.Close()
		return
	}
	w, err := k.greet(control, cred, refused)
	if err != nil {
		if refused == nil {
			k.o.Log.Warn("a worker is refused", "process", cred, "error", err)
		}
		_, _ = control.TrySend(refusal(err))
		_ = control.Close()
		k.gate.RUnlock()
		return
	}
	k.join(w)
	k.gate.RUnlock()
}

func (k *Keeper) greet(control *handoff.Conn, cred handoff.Cred, refused error) (w *worker, err error) {
	ctx, cancel := context.WithTimeout(k.kicked, helloLimit)
	defer cancel()
	p := make([]byte, 3+maxName+1)
	n, err := control.Receive(ctx, p, nil, 0)
	if err != nil {
		return nil, err
	}
	name, takes, err := parseHello(p[:n])
	if refused != nil {
		err = refused
	}
	if err != nil {
		return nil, err
	}
	here, there, err := streamPair()
	if err != nil {
		return nil, err
	}
	defer closeFD(there)
	if _, err := control.TrySend(welcome(k.o.Window), there); err != nil {
		_ = here.Close()
		return nil, err
	}
	w = newWorker(name, cred, here, control, processOf(control, cred))
	if w.process == nil {
		k.o.Log.Warn("a worker whose sessions end with it: nothing tells when its process is gone", "worker", w.label(),
			"process", cred)
	}
	w.takes = takes
	return w, nil
}

// join adds a worker and starts what it needs. The gate is held.
func (k *Keeper) join(w *worker) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.life != serving {
		w.close()
		return
	}
	k.ids++
	w.id = k.ids
	w.window = k.o.Window
	k.workers = append(k.workers, w)
	k.begin(w)
	k.o.Log.Info("a worker is here", "worker", w.label())
}

// begin starts a worker's goroutines. k.mu is held.
func (k *Keeper) begin(w *worker) {
	k.goOn(func() { k.send(w) })
	switch {
	case w.gone: // in the previous process already
		k.goOn(func() { k.lose(w) })
		return
	case w.plain:
		k.goOn(func() { k.watch(w) })
	default:
		k.goOn(func() { k.hear(w) })
	}
	if k.kicked.Err() != nil {
		w.interrupt(time.Unix(1, 0))
	}
	w.wake()
	k.dispatch()
}

// flush sends sessions while there is room. What is left waits for the worker's writer. k.mu and
// the gate are held.
func (k *Keeper) flush(w *worker) {
	var err error
	for w.serves() && err == nil && len(w.tail) == 0 && len(w.out) > 0 {
		s := w.out[0]
		data := s.last.rest
		if !w.plain {
			if s.name != nil {
				k.memory[0] = appendDialled(k.memory[0][:0], s)
			} else {
				k.memory[0] = appendEnvelope(k.memory[0][:0], s.id, s.last.state, data)
			}
			data = k.memory[0]
		}
		var n int
		if k.memory[1], err = appendSession(k.memory[1][:0], s.header, data); err != nil {
			// a session that cannot be described never can
			k.o.Log.Error("a session cannot be given to a worker", "client", s.header.Remote, "error", err)
			w.out, err = slices.Delete(w.out, 0, 1), nil
			w.arrived(s)
			k.stats.Refused++
			k.reset(s)
			continue
		}
		k.pass("forward")
		if n, err = trySendRights(w.raw, k.memory[1], s.fd); n == 0 {
			break
		}
		k.pass("forwarded")
		w.out = slices.Delete(w.out, 0, 1)
		w.tail = append([]byte(nil), k.memory[1][n:]...)
		w.forwarded++
		k.stats.Forwarded++
		if w.plain { // it is the worker's now
			w.inflight--
			k.stats.Left++
			k.drop(s)
		}
	}
	k.unsent(w, err)
}

// unsent decides when a worker's writer tries again, after an error or without one. k.mu is held.
func (k *Keeper) unsent(w *worker, err error) {
	switch {
	case w.gone || len(w.out) == 0 && len(w.tail) == 0:
	case err == nil, errors.Is(err, syscall.EAGAIN):
		w.wake()
	case errors.Is(err, syscall.ETOOMANYREFS), errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
		time.AfterFunc(refusedPause, w.wake) // there is nothing to wait for
	default: // it has closed the stream; what it has goes on
		w.retiring, w.tail = true, nil
		w.wake()
	}
}

// send sends what has found no room at once, until the worker is gone.
func (k *Keeper) send(w *worker) {
	defer close(w.sent)
	for {
		select {
		case <-w.woken:
		case <-w.done:
			return
		}
		if !k.enter() {
			return
		}
		_ = awaitRoom(w.raw) // who tries finds out
		k.mu.Lock()
		if len(w.tail) > 0 {
			n, err := trySend(w.raw, w.tail)
			w.tail = w.tail[n:]
			k.unsent(w, err)
		}
		k.flush(w)
		if w.retiring {
			k.takeBack(w)
		} else if w.plain {
			k.dispatch()
		}
		k.mu.Unlock()
		k.gate.RUnlock()
	}
}

// watch waits for the end of a plain worker. What it sends is thrown away.
func (k *Keeper) watch(w *worker) {
	p := make([]byte, 256)
	for {
		if !k.enter() {
			return
		}
		_, err := w.stream.Read(p)
		k.gate.RUnlock()
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	k.lose(w)
}

// hearsAtOnce is how many packets are read before what has come is noted, and hearsLater how long a
// worker that says one after the other is left to say more: to be woken for each costs more.
const (
	hearsAtOnce = 16
	hearsLater  = time.Millisecond
)

// hear reads what a worker says until it is gone.
func (k *Keeper) hear(w *worker) {
	p := make([]byte, maxPacket)
	heard := make([]packet, 0, hearsAtOnce)
	var last time.Time
	for more := true; ; {
		if !more && time.Since(last) < hearsLater {
			time.Sleep(hearsLater)
		}
		last = time.Now()
		if !k.enter() {
			return
		}
		var err error
		for wait := k.kicked; err == nil && len(heard) < cap(heard); wait = transport.NoWait() {
			var n int
			n, err = w.control.Receive(wait, p, nil, 0)
			lost := errors.Is(err, handoff.ErrTruncated) || errors.Is(err, handoff.ErrDescriptorsLost) || errors.Is(err, handoff.ErrAncillary)
			if lost { // too long, so it counts as a point that cannot be used
				n, err = min(n, 1+8), nil
			}
			if err != nil {
				continue
			}
			if said, ok := parsePacket(p[:n]); ok {
				heard = append(heard, said)
			} else if lost && n == 1+8 && p[0] == kindPoint {
				heard = append(heard, lostPoint(p))
			}
		}
		more = len(heard) == cap(heard)
		if len(heard) > 0 {
			k.mu.Lock()
			for _, p := range heard {
				k.heard(w, p)
			}
			k.mu.Unlock()
			clear(heard)
			heard = heard[:0]
		}
		kicked := k.kicked.Err() != nil
		k.gate.RUnlock()
		if err != nil && !kicked && !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	k.lose(w)
}

// heard notes what a worker has said. k.mu and the gate are held.
func (k *Keeper) heard(w *worker, p packet) {
	if k.reached != nil {
		k.reached("heard " + string(rune(p.kind)))
	}
	if p.kind == kindRetire || p.kind == kindNoMore {
		if !w.retiring {
			w.retiring = true
			k.o.Log.Info("a worker retires", "worker", w.label(), "sessions", len(w.sessions))
		}
		if p.kind == kindNoMore {
			k.leaveUnread(w)
		}
		k.takeBack(w)
		k.change()
		return
	}
	if p.kind == kindReads {
		w.reads = true
		k.dispatch()
		return
	}
	switch p.kind {
	case kindOpen:
		k.claim(w, p)
		return
	case kindCancel:
		k.cancel(w, p.id)
		return
	}
	s := w.sessions[p.id]
	if s == nil || slices.Contains(w.out, s) { // it cannot have it
		return
	}
	switch p.kind {
	case kindTaken:
		w.arrived(s)
		s.parked = time.Time{}
		if s.kind == never && s.fd >= 0 { // the worker's is the only one now
			closeFD(s.fd)
			s.fd = -1
		}
	case kindHead, kindPart:
		s.preface.note(&p)
		return
	case kindPoint, kindLong:
		s.preface.note(&p)
		k.stats.Points++
		s.How = isKept
		if p.point == nil {
			s.last, s.before = nil, nil
		} else {
			s.last, s.before = p.point, s.last
		}
		return
	case kindBegin:
		if len(p.data) == 8 {
			k.beginTLS(w, s, binary.BigEndian.Uint64(p.data))
		}
		return
	case kindDone:
		k.stats.Done++
		w.arrived(s)
		k.drop(s)
	case kindGivenBack:
		k.settle(s, p.kind)
	case kindRefused:
		k.stats.Returned++
		w.refused = time.Now().Add(refusedPause)
		time.AfterFunc(refusedPause+time.Millisecond, func() { k.locked(k.dispatch) }) // it has had its pause
		if s.name != nil {
			k.refusedBy(w, s)
		}
		k.settle(s, p.kind)
	}
	k.dispatch()
	k.change()
}

// takeBack parks what has not been sent to a worker. k.mu and the gate are held.
func (k *Keeper) takeBack(w *worker) {
	for _, s := range w.out {
		delete(w.sessions, s.id)
		w.inflight--
		k.park(s)
	}
	w.out = w.out[:0]
	k.dispatch()
}

// leaveUnread gives others what a worker has not read, and will not: it has closed the sessions'
// stream. k.mu and the gate are held.
func (k *Keeper) leaveUnread(w *worker) {
	w.tail = nil
	for _, id := range slices.Sorted(maps.Keys(w.sessions)) {
		if s := w.sessions[id]; !s.taken && !slices.Contains(w.out, s) {
			k.settle(s, kindNoMore)
		}
	}
}

// lose is called when a worker's socket has ended. Its sessions are settled when its process is
// gone: before that, somebody might still read them.
func (k *Keeper) lose(w *worker) {
	if !k.enter() {
		return
	}
	k.mu.Lock()
	if !w.gone {
		w.gone = true
		close(w.done)
		k.takeBack(w)
		k.change()
	}
	has := len(w.sessions) > 0
	k.mu.Unlock()
	if w.stream != nil {
		_ = w.stream.Close() // a writer that waits
	}
	k.gate.RUnlock()
	k.pass("lost")
	<-w.sent
	end := has && !w.plain && k.awaitEnd(w)
	if !k.enter() {
		return
	}
	defer k.gate.RUnlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.workers = slices.DeleteFunc(k.workers, func(v *worker) bool { return v == w })
	sessions := len(w.sessions)
	for _, s := range w.sessions {
		if end {
			k.settle(s, gone)
		} else {
			k.stats.Left++
			k.drop(s)
		}
	}
	w.close()
	k.o.Log.Info("a worker is gone", "worker", w.label(), "sessions", sessions, "settled", end)
	k.dispatch()
	k.change()
}

// awaitEnd waits until a worker's process is gone; false: it lives on, or nobody knows.
func (k *Keeper) awaitEnd(w *worker) bool {
	if w.process == nil {
		return false
	}
	_ = w.process.SetReadDeadline(time.Now().Add(k.o.Patience))
	return awaitEnd(w.process) == nil
}
