package upgrade

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// passedVariable is the environment variable by which a Successor learns of the sockets that it
// gets beside the channel. A process that has heard of them has its own number there, before them:
// what it starts inherits the variable, and not the sockets.
const passedVariable = "CNODE_UPGRADE_SOCKETS"

// A listener is what a program listens on beside its node, for probes say, and goes on with in
// another process: see Upgrader.Listen.
type listener struct {
	l                net.Listener
	network, address string

	left, closed     chan struct{}
	leaving, closing sync.Once
}

// A passed is a socket of a listener that is given to another process.
type passed struct {
	FD               int
	Network, Address string // as listen was told
}

// listen is net.Listen for what is to go on in a Successor: where the process that has started this
// one had a listener among its Successor.listeners with the same network and address, it is that
// socket. So nobody is refused: who connects while neither process accepts waits for the new one.
// Call it once this process is the node, after Coming.
func listen(network, address string) (*listener, error) {
	l := &listener{network: network, address: address, left: make(chan struct{}), closed: make(chan struct{})}
	var err error
	all := inherited()
	at := slices.IndexFunc(all, func(p passed) bool { return p.Network == network && p.Address == address })
	if at < 0 {
		if l.l, err = net.Listen(network, address); err != nil {
			return nil, err
		}
		return l, nil
	}
	f := os.NewFile(uintptr(all[at].FD), address)
	remember(slices.Delete(all, at, at+1))
	l.l, err = net.FileListener(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	l.keepPath(false)
	return l, nil
}

// Accept waits for the next connection. After leave it waits for Close.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.l.Accept()
	if err != nil {
		select {
		case <-l.left: // who serves it need not take that for a failure
			<-l.closed
		default:
		}
	}
	return c, err
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
		select {
		case <-l.left:
		default:
			err = l.l.Close()
		}
		close(l.closed)
	})
	return err
}

// keepPath says whether the file of a UNIX socket stays when this process closes the socket.
func (l *listener) keepPath(keep bool) {
	if u, ok := l.l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(!keep)
	}
}

// file is the socket for another process; nil: it is closed, or cannot be passed on.
func (l *listener) file() *os.File {
	filer, ok := l.l.(interface{ File() (*os.File, error) })
	if !ok {
		return nil
	}
	f, err := filer.File()
	if err != nil {
		return nil
	}
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
			all = append(all, passed{firstExtra + len(s.Cmd.ExtraFiles), l.network, l.address})
			s.Cmd.ExtraFiles, files = append(s.Cmd.ExtraFiles, f), append(files, f)
		}
	}
	if text, err := json.Marshal(all); err == nil && len(all) > 0 {
		s.Cmd.Env = append(s.Cmd.Env, passedVariable+"="+string(text))
	}
	return files
}
