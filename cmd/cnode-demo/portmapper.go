package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/epmd"
)

// serveMapper gives the resolver that --epmd asks for, for a node that is published.
func (o *options) serveMapper(ctx context.Context) (nodes.Resolver, error) {
	switch o.epmd {
	case "auto":
		return &nodes.PortMapper{Embed: true}, nil
	case "embedded":
		addrs, err := epmd.ListenAddrs(os.Getenv)
		if err != nil {
			return nil, err
		}
		if !o.succession.coming() { // else the port mapper comes with the node
			if err := freeFor(ctx, addrs...); err != nil {
				return nil, err
			}
		}
		return &nodes.PortMapper{Embed: true}, nil // it is part of the node, and moves with it
	}
	return newFixedMapper(epmd.Client{Addr: o.epmd})
}

// freeFor checks that a port mapper of our own can listen on addrs.
func freeFor(ctx context.Context, addrs ...string) error {
	ls, err := epmd.Listen(ctx, addrs...)
	if err != nil {
		return &mapperError{addrs, err}
	}
	for _, l := range ls {
		err = errors.Join(err, l.Close())
	}
	return err
}

// clientMapper gives the resolver that --epmd asks for, for a node that is not published. Its
// answer may take as long as the whole connection attempt.
func (o *options) clientMapper() (nodes.Resolver, error) {
	client := epmd.Client{Timeout: -1}
	switch o.epmd {
	case "auto":
		return &nodes.PortMapper{Client: client}, nil
	case "embedded":
		return nil, usagef("--epmd embedded is for serve: a new port mapper knows no other node")
	}
	client.Addr = o.epmd
	return newFixedMapper(client)
}

// A fixedMapper asks one port mapper for every node, whatever the node's host.
type fixedMapper struct{ nodes.PortMapper }

func newFixedMapper(client epmd.Client) (*fixedMapper, error) {
	if err := checkMapperAddr(client.Addr); err != nil {
		return nil, err
	}
	return &fixedMapper{nodes.PortMapper{Client: client}}, nil
}

// Resolve asks the port mapper for the port; the address is that of the node's host.
func (m *fixedMapper) Resolve(ctx context.Context, node string) (nodes.Endpoint, error) {
	alive, _, err := dist.SplitName(node)
	if err != nil {
		return nodes.Endpoint{}, err
	}
	info, err := m.Client.Resolve(ctx, "", alive)
	if err != nil {
		return nodes.Endpoint{}, err
	}
	at, err := nodes.FixedPort(info.Port).Resolve(ctx, node)
	version, _ := info.Version()
	at.Version5 = version == dist.Version5
	return at, err
}

// A mapper is a port mapper inside this process.
type mapper struct {
	server  *epmd.Server
	serving sync.WaitGroup
	addr    string // host:port of the first listener

	mu  sync.Mutex
	err error
}

// A mapperError says that a port mapper of our own cannot listen.
type mapperError struct {
	addrs []string
	err   error
}

func (e *mapperError) Error() string {
	return fmt.Sprintf("start a port mapper on %s: %v", strings.Join(e.addrs, ", "), e.err)
}

func (e *mapperError) Unwrap() error { return e.err }

// startMapper listens on addrs, and serves until stop.
func startMapper(ctx context.Context, s *epmd.Server, addrs ...string) (*mapper, error) {
	ls, err := epmd.Listen(ctx, addrs...)
	if err != nil {
		return nil, &mapperError{addrs, err}
	}
	m := &mapper{server: s, addr: ls[0].Addr().String()}
	for _, l := range ls {
		m.serving.Go(func() {
			err := s.Serve(l)
			m.mu.Lock()
			defer m.mu.Unlock()
			if !errors.Is(err, epmd.ErrServerClosed) {
				m.err = err
			}
		})
	}
	return m, nil
}

func (m *mapper) stop() {
	_ = m.server.Close() // always nil
	m.serving.Wait()
}

// wait returns when nothing is served any more, with the reason if it is neither stop nor a kill
// request.
func (m *mapper) wait() error {
	m.serving.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}
