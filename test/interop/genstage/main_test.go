package genstage

import (
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(withPeers{m})) }

// withPeers ends the nodes that tests share before leaks are looked for.
type withPeers struct{ m *testing.M }

func (w withPeers) Run() int {
	defer closePeers()
	return w.m.Run()
}
