package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// firstActivated is the number of the first socket that systemd passes; see sd_listen_fds(3).
const firstActivated = 3

// activated makes a transport listen on the socket that the service manager has opened for this process, if it has: LISTEN_PID, LISTEN_FDS.
func activated(tr transport.Transport) (transport.Transport, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return tr, nil
	}
	count, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || count != 1 {
		return nil, fmt.Errorf("LISTEN_FDS is %q: want one socket", os.Getenv("LISTEN_FDS"))
	}
	if tr == nil {
		tr = transport.TCP()
	}
	closeOnExec(firstActivated)
	return &ready{Transport: tr}, nil
}

// A ready transport has its first listener already.
type ready struct {
	transport.Transport
	used bool
}

// Unwrap lets package transport see what the one below can do: connections are that one's.
func (r *ready) Unwrap() transport.Transport { return r.Transport }

func (r *ready) Listen(addr transport.Addr, backlog int) (*transport.Listener, error) {
	if r.used {
		return r.Transport.Listen(addr, backlog)
	}
	r.used = true
	l, err := r.ImportListener(firstActivated)
	if err != nil {
		return nil, fmt.Errorf("the socket of LISTEN_FDS: %w", err)
	}
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
