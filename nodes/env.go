package nodes

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// An env is what everything of a node shares.
type env struct {
	cfg Config
	log *slog.Logger
	ctx context.Context // ends when the node closes

	goroutines wait.Tally // those that Close waits for
	life       life.Life
	started    atomic.Bool // the upper level receives

	stats    counters
	links    link.Env  // what the connections know of it
	messages sync.Pool // *Message
}

// encode says how the node writes Go values that it sends by itself.
func (v *env) encode() ei.EncodeOptions { return ei.EncodeOptions{Absent: v.cfg.Absent} }
