// Package cluster gives tests nodes of one process that find each other by their names.
package cluster

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// Cookie is that of all nodes.
const Cookie = "secret"

// A Cluster is where nodes find each other. It is their Resolver: each name is an address.
type Cluster struct {
	Transport transport.Transport
	t         testing.TB
	dir       string // of sockets; "": in memory
}

// New makes a cluster in memory.
func New(t testing.TB) *Cluster { return &Cluster{Transport: transport.NewMemory(), t: t} }

// Unix makes a cluster over sockets of UNIX, whose connections can be frozen.
func Unix(t testing.TB) *Cluster {
	return &Cluster{Transport: transport.Unix(), t: t, dir: sockdir.New(t)}
}

// Addr is where the node of that name listens.
func (c *Cluster) Addr(name string) transport.Addr {
	if c.dir != "" {
		return transport.UnixAddr(filepath.Join(c.dir, name))
	}
	return transport.MemoryAddr(name)
}

// Resolve gives the Addr of any name.
func (c *Cluster) Resolve(_ context.Context, name string) (nodes.Endpoint, error) {
	return nodes.Endpoint{Addr: c.Addr(name)}, nil
}

// Config is that of a node which listens; with "" of one that gets its name from a peer, at a host
// that is still to be set.
func (c *Cluster) Config(name string) nodes.Config {
	cfg := nodes.Config{Name: name, Cookie: Cookie, Transport: c.Transport, Resolver: c}
	if name != "" {
		cfg.Listen = c.Addr(name)
	}
	return cfg
}

// New makes a node, which ends with the test.
func (c *Cluster) New(cfg nodes.Config) *nodes.Node {
	c.t.Helper()
	n, err := nodes.New(cfg)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { n.Close() })
	return n
}

// Start makes a node and starts it.
func (c *Cluster) Start(cfg nodes.Config) *nodes.Node {
	c.t.Helper()
	n := c.New(cfg)
	require.NoError(c.t, n.Start(expect.Context(c.t)))
	return n
}
