package pubsub

import (
	"testing"

	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/leak"
)

func TestMain(m *testing.M) {
	gonode.Main(leak.Then(m, closePeers, demo.Remove), envServe, serveWorkers)
}
