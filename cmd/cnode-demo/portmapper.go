package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/epmd"
)

// portMapper is what --epmd asks for. release ends a port mapper of our own.
func (o *options) portMapper(ctx context.Context, serving bool, log *slog.Logger) (r nodes.Resolver, release func(), err error) {
	release = func() {}
	switch o.epmd {
	case "auto":
		return &nodes.PortMapper{Embed: serving}, release, nil
	case "embedded":
		if !serving {
			return nil, release, usagef("--epmd embedded is for serve: a new port mapper knows no other node")
		}
		addrs, err := epmd.ListenAddrs(os.Getenv)
		if err != nil {
			return nil, release, err
		}
		m, err := startMapper(ctx, log, addrs...)
		if err != nil {
			return nil, release, err
		}
		return &nodes.PortMapper{}, m.stop, nil
	}
	if _, port, err := net.SplitHostPort(o.epmd); err != nil || port == "" {
		return nil, release, usagef("--epmd %q: want auto, embedded or HOST:PORT", o.epmd)
	}
	return &fixedMapper{nodes.PortMapper{Client: epmd.Client{Addr: o.epmd}}}, release, nil
}

// client speaks to the port mapper that --epmd names.
func (o *options) epmdClient() *epmd.Client {
	c := &epmd.Client{}
	if o.epmd != "auto" && o.epmd != "embedded" {
		c.Addr = o.epmd
	}
	return c
}

// A mapper is a port mapper inside this process.
type mapper struct {
	server  epmd.Server
	serving sync.WaitGroup
	addr    string // host:port of the first listener

	mu  sync.Mutex
	err error
}

// startMapper listens on addrs, and serves until stop.
func startMapper(ctx context.Context, log *slog.Logger, addrs ...string) (*mapper, error) {
	ls, err := epmd.Listen(ctx, addrs...)
	if err != nil {
		return nil, &mapperError{addrs, err}
	}
	m := &mapper{addr: ls[0].Addr().String()}
	m.server.Logger = log
	for _, l := range ls {
		m.serving.Go(func() {
			err := m.server.Serve(l)
			m.mu.Lock()
			defer m.mu.Unlock()
			m.err = err
		})
	}
	return m, nil
}

func (m *mapper) stop() {
	_ = m.server.Close() // always nil
	m.serving.Wait()
}

// wait returns when nothing is served any more, with the reason if it is not stop.
func (m *mapper) wait() error {
	m.serving.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if errors.Is(m.err, epmd.ErrServerClosed) {
		return nil
	}
	return m.err
}

// A mapperError says that our own port mapper could not listen.
type mapperError struct {
	addrs []string
	err   error
}

func (e *mapperError) Error() string { return fmt.Sprintf("port mapper on %v: %v", e.addrs, e.err) }
func (e *mapperError) Unwrap() error { return e.err }

// A fixedMapper asks one port mapper for every node, wherever that one is.
type fixedMapper struct{ nodes.PortMapper }

// Resolve asks it for the port; the address is the host's.
func (m *fixedMapper) Resolve(ctx context.Context, node string) (nodes.Endpoint, error) {
	alive, host, err := dist.SplitName(node)
	if err != nil {
		return nodes.Endpoint{}, err
	}
	info, err := m.Client.Resolve(ctx, "", alive)
	if err != nil {
		return nodes.Endpoint{}, err
	}
	at, err := nodes.FixedPort(info.Port).Resolve(ctx, node)
	if err != nil {
		return nodes.Endpoint{}, fmt.Errorf("host %q: %w", host, err)
	}
	version, _ := info.Version()
	at.Version5 = version == dist.Version5
	return at, nil
}
