package await

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/scarce"
)

// What ends a wait ends a lookAgain at once, too.
func TestSlumberEnds(t *testing.T) {
	for name, end := range map[string]func(w *watcher) error{
		"of a reader by halt": func(w *watcher) error { return w.halt(false, true) },
		"of a writer by halt": func(w *watcher) error { return w.halt(true, true) },
		"by Close":            func(w *watcher) error { w.close(); return nil },
	} {
		w := newWatcher(-1, new(rests))
		i := &w.reader
		if name == "of a writer by halt" {
			i = &w.writer
		}
		asleep := expect.Aside(func() error { w.sleepFor(i, time.Hour, nil); return nil })
		expect.WaitsIn(t, "select", "(*watcher).sleepFor")
		require.NoError(t, end(w), name)
		require.NoError(t, expect.Returns(t, asleep), name)
		w.sleepFor(i, time.Hour, nil) // nor does another one begin
	}
}

// A lookAgain goes on only until there is a descriptor to sleep with.
func TestSleepsOnceThereIsADescriptor(t *testing.T) {
	y := newTallied(t, NewPolicy(0))
	w := y.s.watch.(*watcher)
	sleeps := func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.reader.raw != nil
	}
	enough := scarce.Descriptors(t, 0)
	came := expect.Aside(func() error { _, err := y.read(context.Background()); return err })
	looks := assert.Eventually(t, func() bool { return y.reads.Load() > 4 }, tooLong, time.Millisecond)
	enough()
	require.True(t, looks)
	require.Eventually(t, sleeps, tooLong, time.Millisecond)
	require.NoError(t, expect.Err(y.peer.Writev(soon(t), []byte("x"))))
	require.NoError(t, expect.Returns(t, came))
}

func TestErrorsThatMeanExhaustion(t *testing.T) {
	for _, err := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, os.NewSyscallError("epoll_ctl", unix.ENOSPC)} {
		require.True(t, Exhausted(err), "%v", err)
	}
	for _, err := range []error{nil, unix.EBADF, unix.EPERM, os.ErrClosed} {
		require.False(t, Exhausted(err), "%v", err)
	}
}
