package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/cnode-go/cnode/nodes"
)

// activated makes a node listen on the sockets that the service manager has opened for this process: the first is for the node's own
// transport, those that follow are for --also in its order. The sockets are checked here, before the node is reported as ready.
func (o *options) activated(cfg *nodes.Config) error {
	listen := cfg.Listen
	if o.listen == "" {
		cfg.Listen = nil // a default address gives way to the socket's
	}
	err := cfg.Activate()
	cfg.Listen = listen
	var e *nodes.ActivationError
	if !errors.As(err, &e) {
		return err
	}
	flag := "--transport " + o.transport
	if e.Also >= 0 {
		flag = "--also " + o.also.given[e.Also]
	}
	return fmt.Errorf("%w: %s, for %s: %w", nodes.ErrActivation, e.Socket(), flag, e.Err)
}

// notifyLimit bounds how long a service manager that does not read keeps the node waiting.
const notifyLimit = time.Second

// notifyManager tells systemd that the node is ready, and that this process is the one to watch: after an upgrade it is a new process. See
// sd_notify(3). A manager that hears nothing ends the service after a while, so a failure is reported on errOut.
func notifyManager(errOut io.Writer) {
	at := os.Getenv("NOTIFY_SOCKET")
	if at == "" {
		return
	}
	c, err := net.Dial("unixgram", at)
	if err == nil {
		_ = c.SetWriteDeadline(time.Now().Add(notifyLimit))
		_, err = fmt.Fprintf(c, "READY=1\nMAINPID=%d\n", os.Getpid())
		_ = c.Close()
	}
	if err != nil {
		fmt.Fprintf(errOut, "serve: the service manager was not told that the node is ready (NOTIFY_SOCKET): %v\n", err)
	}
}
