package rawpeer

import (
	"bytes"
	"slices"
	"strings"
	"sync"
)

// A Log is read while it is written.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *Log) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

// Lines are those that have all of parts.
func (r *Log) Lines(parts ...string) (found []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range strings.Lines(r.b.String()) {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			found = append(found, line)
		}
	}
	return found
}
