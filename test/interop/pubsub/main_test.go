package pubsub

import (
	"os"
	"testing"

	"github.com/cnode-go/cnode/test/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(withPeers{m})) }

// withPeers ends the nodes that tests share before leaks are looked for.
type withPeers struct{ m *testing.M }

func (w withPeers) Run() int {
	defer removeBuilt()
	defer closePeers()
	return w.m.Run()
}
