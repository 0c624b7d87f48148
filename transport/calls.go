package transport

import (
	"slices"
	"strings"
	"sync"
)

// calls are the callbacks of a plug-in that are being run, so that Close can name one that does not
// come back. The zero value is ready.
type calls struct {
	mu      sync.Mutex
	running []string
	idle    chan struct{} // closed when no callback runs any more; nil: nobody waits for that
}

func (c *calls) begin(callback string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = append(c.running, callback)
}

func (c *calls) end(callback string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.running, callback)
	c.running = slices.Delete(c.running, i, i+1)
	if len(c.running) == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

// wait waits, for as long as it takes, until no callback runs.
func (c *calls) wait() {
	c.mu.Lock()
	if len(c.running) == 0 {
		c.mu.Unlock()
		return
	}
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	idle := c.idle
	c.mu.Unlock()
	<-idle
}

// names returns the names of the callbacks that have not come back.
func (c *calls) names() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.running) == 0 {
		return "of a call in flight" // it came back just now
	}
	return strings.Join(c.running, ", ")
}
