package pubsub

import (
	"testing"

	"github.com/cnode-go/cnode/internal/test/gonode"
)

func TestMain(m *testing.M) { gonode.Main(withPeers{m}, envServe, serveWorkers) }

// withPeers ends the nodes that tests share before leaks are looked for.
type withPeers struct{ m *testing.M }

func (w withPeers) Run() int {
	defer demo.Remove()
	defer closePeers()
	return w.m.Run()
}
