//go:build linux

package transporttest

import (
	"compress/flate"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A plug-in that compresses takes any amount of what compresses well. The rules about a Write that
// waits must see it wait all the same: here nothing ends such a Write.
func TestWriteOfCompressingPluginWaits(t *testing.T) {
	for _, name := range []string{"WriteDeadline", "CancelWrite", "CutOff", "CloseEndsWrite"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for !accusesWaiting(t, name) {
				t.Log("on a busy machine no Write had come to wait when it was to end: once more")
			}
		})
	}
}

// accusesWaiting tries a rule on a plug-in of which nothing ends a Write that waits, and fails the
// test if the rule passes. It returns false if no Write has waited.
func accusesWaiting(t *testing.T, name string) bool {
	var waited atomic.Bool
	left := newMess()
	defer left.cleanUp(t)
	defer close(left.release)
	make := ofPolling(func(m *mess, cb *poll) {
		write := cb.Write
		cb.Write = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
			// of a few bytes only: it takes time, in which the Write would have to come to wait
			if len(p) > 100 && squeezed(p[:min(len(p), 4<<10)]) {
				return min(len(p), 32<<10), nil
			}
			n, err := write(s, p, 0)
			if err != nil && len(p) > 100 {
				waited.Store(true)
				<-m.release
			}
			return n, err
		}
	})
	l := limits{patience: 3 * time.Second, watchdog: 30 * time.Second, tries: 1, starved: 3}
	s := newSuite(always(make(left), loopback()), l)
	s.rules = slices.DeleteFunc(s.rules, func(r rule) bool { return r.name != name && r.try != nil })
	err := s.check()
	if err == nil && !waited.Load() {
		return false
	}
	require.Error(t, err)
	return true
}

// squeezed reports whether p compresses to less than a half.
func squeezed(p []byte) bool {
	var n counter
	w, _ := flate.NewWriter(&n, flate.BestSpeed)
	_, _ = w.Write(p)
	_ = w.Close()
	return int(n) < len(p)/2
}

type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
