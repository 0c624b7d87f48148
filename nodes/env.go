package nodes

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/atoms"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/places"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// An env is what a node's connections share with it, and all that they know of it.
type env struct {
	cfg  Config
	log  *slog.Logger
	made time.Time
	ctx  context.Context // ends when the node closes

	goroutines wait.Tally // those that Close waits for
	life       life.Life
	started    atomic.Bool // the upper level receives
	on         *connEvents

	stats counters
	meter atomic.Pointer[meter] // nil: nobody measures

	incomplete *places.Memory // what messages take of which a peer has yet to send the rest
	scratch    sync.Pool      // *[]byte for encoding
	packs      atoms.Pool
	buffers    buffers
}

// encode says how the node writes Go values that it sends by itself.
func (v *env) encode() ei.EncodeOptions { return ei.EncodeOptions{Absent: v.cfg.Absent} }
