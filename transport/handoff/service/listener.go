package service

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport/handoff"
)

// passedVariable is the environment variable by which a Successor learns of the sockets that it
// gets beside the channel. A process that has heard of them has its own number there, before them:
// what it starts inherits the variable, and not the sockets.
const passedVariable = "CNODE_UPGRADE_SOCKETS"

// A listener is what a program listens on, and goes on with in another process: see Service.Listen.
type listener struct {
	l                net.Listener
	network, address string
	nth              int           // how many there were before it with the same network and address
	bySystemd        bool          // systemd has opened it
	p                *plain        // nil: there is an Owner
	opened           chan struct{} // closed when connections may be accepted

	accepted         chan accepted // from the socket, by pump, and from another process
	left, closed     chan struct{}
	pumping          sync.Once
	leaving, closing sync.Once

	mu    sync.Mutex
	waits chan struct{} // closed when pump accepts no more; nil: it is to go on
}

// An accepted is what Accept of the socket gives.
type accepted struct {
	c   net.Conn
	err error
}

// A passed is a socket that is given to another process, of a listener or a connection.
type passed struct {
	FD               int
	Network, Address string // as listen was told
	Nth              int    `json:",omitzero"` // of a connection: its listener's

	// Of a connection between two requests: it waits for the next one until then.
	Spoke bool      `json:",omitzero"`
	Until time.Time `json:",omitzero"`
}

// listen is net.Listen for what is to go on in a Successor: where the process that has started this
// one had a listener among its Successor.listeners with the same network and address, or systemd
// has opened a socket there, it is that socket. So nobody is refused: who connects while neither
// process accepts waits for the new one.
func listen(network, address string, opened []net.Listener) (*listener, error) {
	l := &listener{network: network, address: address, opened: make(chan struct{}), accepted: make(chan accepted),
		left: make(chan struct{}), closed: make(chan struct{})}
	var err error
	all := inherited()
	at := slices.IndexFunc(all, func(p passed) bool { return p.Network == network && p.Address == address })
	if at < 0 {
		if i := slices.IndexFunc(opened, func(o net.Listener) bool { return isAt(o, network, address) }); i >= 0 {
			l.l = opened[i]
			l.bySystemd = true
			l.keepPath(true)
			return l, nil
		}
		l.l, err = net.Listen(network, address)
		return l, err
	}
	f := os.NewFile(uintptr(all[at].FD), address)
	remember(slices.Delete(all, at, at+1))
	l.l, err = net.FileListener(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	l.keepPath(true) // until it is this process's: the one before may serve on
	return l, nil
}

// Accept waits for the next connection. After leave it waits for Close.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.opened:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	l.pumping.Do(func() { go l.pump() })
	select {
	case a := <-l.accepted:
		return a.c, a.err
	case <-l.closed: // who serves a listener that was left need not take that for a failure
		return nil, net.ErrClosed
	}
}

// pump accepts, until the listener is left or closed.
func (l *listener) pump() {
	for {
		c, err := l.l.Accept()
		select {
		case <-l.left:
			if err != nil {
				return
			}
		default:
		}
		if err != nil && l.isPaused() {
			return
		}
		a := accepted{c, err}
		if err == nil && l.p != nil {
			a.c = l.p.enter(c, l)
		}
		if !l.deliver(a) || errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

// isPaused waits for the end of a listener that has been paused; false: it has not.
func (l *listener) isPaused() bool {
	l.mu.Lock()
	waits := l.waits
	l.mu.Unlock()
	if waits == nil {
		return false
	}
	close(waits)
	select {
	case <-l.left:
	case <-l.closed:
	}
	return true
}

// pause has no more connections accepted, for good, and returns when none is on its way any more.
func (l *listener) pause(ctx context.Context) {
	d, ok := l.l.(interface{ SetDeadline(time.Time) error })
	if !ok {
		return
	}
	l.mu.Lock()
	waits := make(chan struct{})
	l.waits = waits
	l.mu.Unlock()
	_ = d.SetDeadline(time.Unix(1, 0))
	pumps := true
	l.pumping.Do(func() { pumps = false })
	if !pumps {
		return
	}
	select {
	case <-waits:
	case <-l.closed:
	case <-ctx.Done():
	}
}

// arrive gives a connection that has come from another process to Accept: one between two requests
// when the next one comes, since a server has other time limits for a connection that is new.
func (l *listener) arrive(c net.Conn, from passed) {
	entered := l.p.enter(c, l)
	w, waits := entered.(*conn)
	if waits = waits && from.Spoke; waits {
		w.held = true
		w.spoke = true
		_ = w.SetReadDeadline(from.Until)
	}
	go func() {
		if !waits || w.await() {
			l.deliver(accepted{c: entered})
		}
	}()
}

// deliver waits until Accept takes a connection; false: the listener is closed, and so is that,
// unless it goes on in another process.
func (l *listener) deliver(a accepted) bool {
	select {
	case l.accepted <- a:
		return true
	case <-l.closed:
		if w, ok := a.c.(*conn); a.c != nil && !(ok && w.p.pass(w)) {
			_ = a.c.Close()
		}
		return false
	}
}

// Addr is where it listens.
func (l *listener) Addr() net.Addr { return l.l.Addr() }

// leave has this process accept no more, since another one does; the socket lives on there.
func (l *listener) leave() {
	l.leaving.Do(func() {
		close(l.left)
		l.keepPath(true)
		_ = l.l.Close()
	})
}

// Close ends it.
func (l *listener) Close() (err error) {
	l.closing.Do(func() {
		close(l.closed)
		select {
		case <-l.left:
		default:
			err = l.l.Close()
		}
	})
	return err
}

// own has it accept, and the file of a UNIX socket go with it, unless systemd has made that.
func (l *listener) own() {
	l.keepPath(l.bySystemd)
	close(l.opened)
}

// keepPath says whether the file of a UNIX socket stays when this process closes the socket.
func (l *listener) keepPath(keep bool) {
	if u, ok := l.l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(!keep)
	}
}

// file is the socket for another process; nil: it is closed, or cannot be passed on. The socket's
// own method File would have it block, here, too.
func (l *listener) file() (f *os.File) {
	c, ok := l.l.(syscall.Conn)
	if !ok {
		return nil
	}
	_ = handoff.Lend(func(fds []int) (err error) {
		f, err = dup(fds[0], l.address)
		return err
	}, c)
	return f
}

// inherited are the sockets that the process which has started this one has passed on, and that
// listen has not given out yet. The first call takes them.
func inherited() (all []passed) {
	text := os.Getenv(passedVariable)
	raw := strings.HasPrefix(text, "[")
	if !raw {
		var who string
		if who, text, _ = strings.Cut(text, " "); who != strconv.Itoa(os.Getpid()) {
			return nil
		}
	}
	if json.Unmarshal([]byte(text), &all) != nil {
		return nil
	}
	if raw {
		for _, p := range all {
			closeOnExec(p.FD)
		}
		remember(all)
	}
	return all
}

func remember(all []passed) {
	if len(all) == 0 {
		_ = os.Unsetenv(passedVariable)
		return
	}
	text, err := json.Marshal(all)
	if err == nil {
		_ = os.Setenv(passedVariable, strconv.Itoa(os.Getpid())+" "+string(text))
	}
}

// dropInherited closes the sockets that this program has no use for.
func dropInherited() {
	for _, p := range inherited() {
		_ = os.NewFile(uintptr(p.FD), p.Address).Close()
	}
	remember(nil)
}

// passOn adds the sockets to a command, and gives those that are to be closed when it has started.
func (s *Successor) passOn() (files []*os.File) {
	var all []passed
	for _, l := range s.listeners {
		if f := l.file(); f != nil {
			all = append(all, passed{FD: firstExtra + len(s.Cmd.ExtraFiles), Network: l.network, Address: l.address})
			s.Cmd.ExtraFiles, files = append(s.Cmd.ExtraFiles, f), append(files, f)
		}
	}
	if text, err := json.Marshal(all); err == nil && len(all) > 0 {
		s.Cmd.Env = append(s.Cmd.Env, passedVariable+"="+string(text))
	}
	return files
}

// activated are the sockets that systemd has opened for this process. See sd_listen_fds(3).
func activated() (all []net.Listener) {
	count, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil
	}
	for fd := range count {
		f := os.NewFile(uintptr(firstExtra+fd), "LISTEN_FDS")
		if l, err := net.FileListener(f); err == nil {
			all = append(all, l)
		}
		_ = f.Close() // the listener has its own
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name)
	}
	return all
}

// isAt reports whether a listener is at an address, as net.Listen takes it.
func isAt(l net.Listener, network, address string) bool {
	tcp, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return l.Addr().Network() == network && l.Addr().String() == address
	}
	at, err := net.ResolveTCPAddr(network, address)
	return err == nil && at.Port == tcp.Port && (at.IP.Equal(tcp.IP) || (at.IP == nil || at.IP.IsUnspecified()) && tcp.IP.IsUnspecified())
}
