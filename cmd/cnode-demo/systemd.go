package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// firstActivated is the number of the first socket that systemd passes; see sd_listen_fds(3).
const firstActivated = 3

// errActivated: the sockets that systemd passes are not the ones that the flags speak of.
var errActivated = errors.New("the sockets that systemd has opened do not fit")

// activated has a node listen on the sockets that the service manager has opened for this process, if it has (LISTEN_PID, LISTEN_FDS): the
// first is for the node's own transport, those that follow are for --also in its order. What has no socket is opened as ever. They are
// looked at now: once the node is said to be ready it is too late.
func (o *options) activated(cfg *nodes.Config) error {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil
	}
	wanted := endpoints(*cfg)
	if o.listen == "" {
		wanted[0].Addr = nil // a default gives way
	}
	given := os.Getenv("LISTEN_FDS")
	count, err := strconv.Atoi(given)
	if err != nil || count < 1 {
		return fmt.Errorf("%w: LISTEN_FDS is %q", errActivated, given)
	}
	if count > len(wanted) {
		return fmt.Errorf("%w: there are %d, for --transport %s and %d times --also", errActivated, count, o.transport, len(cfg.Also))
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for i := range wanted[:count] {
		fd, at := firstActivated+i, &wanted[i]
		closeOnExec(fd)
		if err := fits(fd, *at); err != nil {
			socket := fmt.Sprintf("descriptor %d", fd)
			if i < len(names) && names[i] != "" {
				socket += " (" + names[i] + ")"
			}
			flag := "--transport " + o.transport
			if i > 0 {
				flag = "--also " + o.also.given[i-1]
			}
			return fmt.Errorf("%w: %s, for %s: %w", errActivated, socket, flag, err)
		}
		at.Transport = &ready{Transport: at.Transport, fd: fd}
	}
	cfg.Transport, cfg.Also = wanted[0].Transport, wanted[1:]
	return nil
}

// fits says why a descriptor is not a listener of an endpoint's kind, at its address if it has one.
func fits(fd int, at nodes.Endpoint) error {
	s, err := handoff.Inspect(fd)
	if err != nil {
		return err
	}
	overUnix := at.Transport.Name() == transport.Unix().Name()
	switch {
	case s.Type != syscall.SOCK_STREAM:
		return fmt.Errorf("a socket of type %d, which is not one of streams", s.Type)
	case overUnix && s.Domain != syscall.AF_UNIX:
		return fmt.Errorf("no UNIX socket, but one at %v", s.Local)
	case !overUnix && s.Domain != syscall.AF_INET && s.Domain != syscall.AF_INET6:
		return fmt.Errorf("no IP socket, but one at %v", s.Local)
	case at.Addr != nil && !reaches(at.Addr, s.Local):
		return fmt.Errorf("it is at %v, not at %v", s.Local, at.Addr)
	}
	return s.Listener()
}

// A ready transport has its first listener already.
type ready struct {
	transport.Transport
	fd   int
	used bool
}

// Unwrap lets package transport see what the one below can do: connections are that one's.
func (r *ready) Unwrap() transport.Transport { return r.Transport }

func (r *ready) Listen(addr transport.Addr, backlog int) (*transport.Listener, error) {
	if r.used {
		return r.Transport.Listen(addr, backlog)
	}
	r.used = true
	l, err := r.ImportListener(r.fd)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d of LISTEN_FDS: %w", r.fd, err)
	}
	l.KeepPath()
	return l, nil
}

// notifyLimit bounds how long a service manager that does not read keeps the node waiting.
const notifyLimit = time.Second

// notifyManager tells systemd that the node is ready, and that this process is the one to watch: after an upgrade it is another one than
// before. See sd_notify(3).
func notifyManager() {
	at := os.Getenv("NOTIFY_SOCKET")
	if at == "" {
		return
	}
	c, err := net.Dial("unixgram", at)
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetWriteDeadline(time.Now().Add(notifyLimit))
	_, _ = fmt.Fprintf(c, "READY=1\nMAINPID=%d\n", os.Getpid())
}
