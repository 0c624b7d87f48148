// Package mapper keeps a node's name registered at the port mapper of its host, and, if need be,
// runs one in this process. Both can go on in another process.
package mapper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/transport"
)

// A Mapper is the port mapper of a host, as a node there uses it.
type Mapper struct {
	Client     *epmd.Client
	Embed      bool          // one runs in this process if none listens …
	EmbedAfter time.Duration // … or if it has been gone for so long
	Node       transport.Addr
	Logger     *slog.Logger // nil: nothing is logged
}

// An Entry is a name that is kept registered, and the port mapper that runs in this process.
type Entry struct {
	keeper *epmd.Keeper

	mu     sync.Mutex
	server *epmd.Server // nil: none runs here
	served chan struct{}
	closed bool
}

// Keep registers a name, and keeps it so.
func (m *Mapper) Keep(ctx context.Context, reg epmd.Registration) (*Entry, error) {
	e := &Entry{}
	opts := m.options(e)
	var err, taken error
	e.keeper, err = m.Client.Keep(ctx, reg, opts)
	for try := 0; m.Embed && (errors.Is(err, epmd.ErrNoPortMapper) || errors.Is(err, epmd.ErrNoAnswer)) && try < 3; try++ {
		// else it may have ended meanwhile, with the node whose process it was part of
		if errors.Is(err, epmd.ErrNoPortMapper) {
			_, taken = m.embed(ctx, e)
		}
		// else another process seems to be starting one
		if taken != nil && !errors.Is(taken, syscall.EADDRINUSE) {
			return nil, taken
		}
		e.keeper, err = m.Client.Keep(ctx, reg, opts)
	}
	if err != nil {
		if taken != nil && errors.Is(err, epmd.ErrNoPortMapper) {
			err = fmt.Errorf("%w; nor can one run here: %w", err, taken)
		}
		return nil, errors.Join(err, e.closeServer())
	}
	return e, nil
}

// options are those for keeping a name registered.
func (m *Mapper) options(e *Entry) *epmd.KeepOptions {
	opts := &epmd.KeepOptions{Logger: m.Logger}
	if m.Embed {
		opts.Absent = func(since time.Duration) bool { return m.replace(e, since) }
	}
	return opts
}

// replace runs a port mapper in this process in the place of one that has been gone for a time;
// false: none runs because of that.
func (m *Mapper) replace(e *Entry, since time.Duration) bool {
	if since < m.EmbedAfter {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), epmd.DefaultTimeout)
	defer cancel()
	began, err := m.embed(ctx, e)
	switch {
	// in use: another process was quicker
	case m.Logger == nil || errors.Is(err, syscall.EADDRINUSE):
	case err != nil:
		m.Logger.Warn("no port mapper can run in this process in the place of the one that is gone", "error", err)
	case began:
		m.Logger.Warn("the port mapper is gone; one runs in this process now, and has the port", "gone", since.Round(time.Millisecond))
	}
	return began
}

// Creation is that of this incarnation of the name.
func (e *Entry) Creation() uint32 { return e.keeper.Creation() }

// Close takes the name back, and ends a port mapper that runs here.
func (e *Entry) Close() error { return errors.Join(e.keeper.Close(), e.closeServer()) }

func (e *Entry) closeServer() error {
	e.mu.Lock()
	server, served := e.server, e.served
	e.closed = true
	e.mu.Unlock()
	if server == nil {
		return nil
	}
	err := server.Close()
	<-served
	return err
}

// embed runs a port mapper in this process; began is false if e has one already, or is closed.
// syscall.EADDRINUSE: another process has begun to listen meanwhile, or something else has the
// port.
func (m *Mapper) embed(ctx context.Context, e *Entry) (began bool, err error) {
	addrs := []string{m.Client.Addr}
	if m.Client.Addr == "" {
		if addrs, err = addrsFor(m.Node, os.Getenv); err != nil {
			return false, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.server != nil {
		return false, nil
	}
	ls, err := epmd.Listen(ctx, addrs...)
	if err != nil {
		return false, err
	}
	if m.Logger != nil {
		m.Logger.Info("a port mapper runs in this process", "addrs", addrs)
	}
	e.serve(&epmd.Server{Logger: m.Logger}, ls)
	return true, nil
}

// addrsFor are where an embedded port mapper listens: where others look for it to find the node,
// which listens on addr.
func addrsFor(addr transport.Addr, getenv func(string) string) ([]string, error) {
	const variable = "ERL_EPMD_ADDRESS"
	at, err := transport.AddrPort(addr)
	ip := at.Addr().Unmap()
	if err != nil || ip.IsLoopback() || ip.Zone() != "" || getenv(variable) != "" {
		return epmd.ListenAddrs(getenv)
	}
	list := ip.String()
	if ip == netip.IPv6Unspecified() { // which takes IPv4 connections, too
		list = "0.0.0.0,::"
	}
	return epmd.ListenAddrs(func(name string) string {
		if name == variable {
			return list
		}
		return getenv(name)
	})
}

// serve runs a port mapper; e.mu is held, or e is not yet in use.
func (e *Entry) serve(server *epmd.Server, ls []net.Listener) {
	served := make(chan struct{})
	var wg sync.WaitGroup
	for _, l := range ls {
		wg.Go(func() {
			if err := server.Serve(l); !errors.Is(err, epmd.ErrServerClosed) && server.Logger != nil {
				server.Logger.Error("the port mapper in this process does not listen any more", "addr", l.Addr().String(), "error", err)
			}
		})
	}
	go func() { wg.Wait(); close(served) }()
	e.server, e.served = server, served
}
