package upgrade

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/cnode-go/cnode/nodes/internal/states"
)

// A page that a process has not touched before costs it several times as long as what it writes
// there, and the collector takes half of the time in which a large state is read or written. The
// peers hear nothing meanwhile.

// mostTouched is the most memory, in bytes, that is touched beforehand.
const mostTouched = 1 << 30

// Prepare has memory ready for the node while it still runs in the other process, and stops the
// collector, until collect.
func (m *maker) Prepare(_ context.Context, sizes []byte) error {
	x, err := states.ParseSize(sizes)
	if err != nil { // of an older program; all goes as well without
		return nil
	}
	before := debug.SetGCPercent(-1)
	m.collect = func() { debug.SetGCPercent(before) }
	touch(min(x.Memory(), mostTouched))
	return nil
}

// touch has n bytes in the heap that are free and belong to the process.
func touch(n int) {
	func() {
		b := make([]byte, n)
		for i := 0; i < n; i += os.Getpagesize() {
			b[i] = 1
		}
		runtime.KeepAlive(b)
	}()
	runtime.GC()
}

// busyPercent is the collector's target while a node that serves is handed over: its state is
// garbage soon, and the process's end takes it away.
const busyPercent = 400

// collectLess has the collector run less often, until undo.
func collectLess() (undo func()) {
	before := debug.SetGCPercent(busyPercent)
	if before < 0 || before > busyPercent {
		debug.SetGCPercent(before)
		return func() {}
	}
	return func() { debug.SetGCPercent(before) }
}
