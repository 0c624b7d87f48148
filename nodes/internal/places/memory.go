package places

import "sync"

// Memory is what a node has for messages and requests of its peers that it cannot deal with yet. A
// peer may take more as long as it has less than would be left, as with Places; what it takes while
// it has nothing is always granted, so that a message of any size gets through.
type Memory struct {
	mu    sync.Mutex
	ask   bool // free is DefaultMemory, which nobody has asked for yet
	free  int
	held  map[string]int // bytes, by peer
	given chan struct{}  // closed at the next Give; nil: nobody waits
}

// NewMemory makes a Memory of so many bytes; 0: DefaultMemory, which is found out when something is
// first taken.
func NewMemory(bytes int) *Memory {
	return &Memory{ask: bytes == 0, free: bytes, held: map[string]int{}}
}

// Take takes memory for a peer. If the peer has had its share, nothing is taken, and given is
// closed at the next Give; else it is nil.
func (m *Memory) Take(peer string, bytes int) (given <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ask {
		m.ask, m.free = false, m.free+DefaultMemory()
	}
	held := m.held[peer]
	if held > 0 && held+bytes > m.free-bytes {
		if m.given == nil {
			m.given = make(chan struct{})
		}
		return m.given
	}
	m.take(peer, bytes)
	return nil
}

// Force is Take whatever the peer has had: for what cannot be refused.
func (m *Memory) Force(peer string, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.take(peer, bytes)
}

func (m *Memory) take(peer string, bytes int) {
	m.held[peer] += bytes
	m.free -= bytes
}

// Give gives memory back.
func (m *Memory) Give(peer string, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free += bytes
	if m.held[peer] -= bytes; m.held[peer] == 0 {
		delete(m.held, peer)
	}
	if m.given != nil {
		close(m.given)
		m.given = nil
	}
}

// Held is how many bytes are taken.
func (m *Memory) Held() (bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.held {
		bytes += n
	}
	return bytes
}
