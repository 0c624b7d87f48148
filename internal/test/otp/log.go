package otp

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
)

// Log returns a logger for a node of the test's own process. If the test fails,
// what was logged from level Info on is shown at its end, below what.
func Log(t testing.TB, what string) *slog.Logger {
	t.Helper()
	var kept logged
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", what, indent(kept.text()))
		}
	})
	return slog.New(slog.NewTextHandler(&kept, nil))
}

// A logged is the text of a log.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
