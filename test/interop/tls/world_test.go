package tls

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// limit is for what takes milliseconds unless something is broken.
const limit = 2 * time.Minute

func background(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// A version is one of the protocol, as an option for Erlang and as a number for Go.
type version struct {
	name   string
	option string
	number uint16
}

var versions = []version{
	{"TLS 1.2", "{versions,['tlsv1.2']}", tls.VersionTLS12},
	{"TLS 1.3", "{versions,['tlsv1.3']}", tls.VersionTLS13},
}

// refusals are the versions in which one side refuses the other: by day the newer one, since
// package tlstransport tests both.
func refusals() []version {
	if testing.Short() {
		return versions[1:]
	}
	return versions
}

// A recorder keeps what is written to it, to be shown if its test fails.
type recorder struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(b)
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

var names struct {
	sync.Mutex
	last int
}

func uniqueName() string {
	names.Lock()
	defer names.Unlock()
	names.last++
	return fmt.Sprintf("tls%d@127.0.0.1", names.last)
}

// startNode starts a node of ours over a transport.
func startNode(t testing.TB, port int, tr transport.Transport, more ...func(*nodes.Config)) *nodes.Node {
	t.Helper()
	cfg := gonode.Config(t, uniqueName(), port)
	cfg.Transport = tr
	for _, f := range more {
		f(&cfg)
	}
	return gonode.Start(t, cfg)
}
