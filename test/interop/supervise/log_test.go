package supervise

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
)

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

// logging is a logger whose text a test can read; it is shown if the test fails.
func logging(t *testing.T) (*slog.Logger, func() string) {
	l := &logged{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(l.text())
		}
	})
	return slog.New(slog.NewTextHandler(l, nil)), l.text
}
