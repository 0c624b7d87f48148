package pubsub

import (
	"fmt"
	"os"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
)

func TestMain(m *testing.M) {
	if app, ok := os.LookupEnv(envServe); ok {
		if err := serveWorkers(app); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(leak.Run(withPeers{m}))
}

// withPeers ends the nodes that tests share before leaks are looked for.
type withPeers struct{ m *testing.M }

func (w withPeers) Run() int {
	defer demo.Remove()
	defer closePeers()
	return w.m.Run()
}
