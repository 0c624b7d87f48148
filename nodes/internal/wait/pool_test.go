package wait

import (
	"bytes"
	"context"
	"runtime"
	"runtime/pprof"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A task is a Task that is a function.
type task func()

func (f task) Run() { f() }

// goroutine names the goroutine that calls it.
func goroutine() string {
	b := make([]byte, 64)
	name, _, _ := bytes.Cut(b[:runtime.Stack(b, false)], []byte(" ["))
	return string(name)
}

// A task runs on the goroutine of the one before, once that is over, and on another one while it
// is not, whether it waits or has ended its goroutine.
func TestPoolKeepsGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		var y Tally
		defer p.Close()
		var all []string
		run := func(f func()) {
			p.Run(task(func() { all = append(all, goroutine()); f() }), &y)
			synctest.Wait()
		}
		release := make(chan struct{})
		run(func() {})
		run(func() {})
		run(func() { <-release })
		require.Equal(t, all[0], all[1])
		require.Equal(t, all[0], all[2])
		run(func() {})
		require.NotEqual(t, all[0], all[3], "the other one is in use")
		require.EqualValues(t, 2, y.Count())
		close(release)
		synctest.Wait()
		run(func() {})
		require.Equal(t, all[0], all[4], "the last one to be idle")
		run(runtime.Goexit)
		require.Equal(t, all[0], all[5])
		require.EqualValues(t, 1, y.Count(), "it is gone")
		run(func() {})
		require.Equal(t, all[3], all[6])
	})
}

// What a task has done to the labels of its goroutine is over with it.
func TestPoolLabels(t *testing.T) {
	var p Pool
	var y Tally
	defer p.Close()
	labelled := func() bool {
		var b bytes.Buffer
		require.NoError(t, pprof.Lookup("goroutine").WriteTo(&b, 1))
		return bytes.Contains(b.Bytes(), []byte(`"of":"a task"`))
	}
	seen := make(chan bool)
	p.Run(task(func() {
		pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("of", "a task")))
		seen <- labelled()
	}), &y)
	require.True(t, <-seen)
	p.Run(task(func() { seen <- true }), &y) // the other one may be busy still
	<-seen
	require.Eventually(t, func() bool { return !labelled() }, time.Minute, time.Millisecond)
	require.False(t, y.None())
}

// Goroutines that nobody has needed for a while end; those that are needed stay, and no more are
// kept than keepIdle.
func TestPoolSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		var y Tally
		defer p.Close()
		atOnce := func(n int) (names []string) {
			release := make(chan struct{})
			for range n {
				p.Run(task(func() { names = append(names, goroutine()); <-release }), &y)
				synctest.Wait()
			}
			close(release)
			synctest.Wait()
			return names
		}
		atOnce(keepIdle + 10)
		require.EqualValues(t, keepIdle, y.Count())
		first := atOnce(3)
		for range 10 {
			time.Sleep(idleTime / 2)
			require.ElementsMatch(t, first, atOnce(3))
		}
		require.EqualValues(t, 3, y.Count())
		time.Sleep(2 * idleTime)
		synctest.Wait()
		require.True(t, y.None())
		atOnce(2)
		require.EqualValues(t, 2, y.Count(), "it begins anew")
	})
}

// Close ends the goroutines that are idle, and the others when their tasks are over.
func TestPoolClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		var y Tally
		release := make(chan struct{})
		p.Run(task(func() {}), &y)
		p.Run(task(func() { <-release }), &y)
		synctest.Wait()
		p.Run(task(func() {}), &y)
		synctest.Wait()
		require.EqualValues(t, 2, y.Count())
		p.Close()
		synctest.Wait()
		require.EqualValues(t, 1, y.Count())
		close(release)
		require.NoError(t, y.Wait(t.Context()))
		time.Sleep(3 * idleTime) // no sweep comes any more
	})
}
