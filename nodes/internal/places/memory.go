package places

import "sync"

// Memory is what a node has for messages and requests of its peers that it cannot deal with yet. A
// peer may take more as long as it has less than would be left, as with Places; what it takes while
// it has nothing is always granted, so that a message of any size gets through.
type Memory struct {
	mu    sync.Mutex
	usual func() int // is to be added to free; nil: that has been done
	free  int
	held  map[string]int // bytes, by peer
	given chan struct{}  // closed at the next Give; nil: nobody waits
}

// NewMemory makes a Memory of so many bytes; 0: as many as usual says, which is asked when
// something is first taken.
func NewMemory(bytes int, usual func() int) *Memory {
	if bytes != 0 {
		usual = nil
	}
	return &Memory{usual: usual, free: bytes, held: map[string]int{}}
}

// Take takes memory for a peer. If the peer has had its share, nothing is taken, and given is
// closed at the next Give; else it is nil.
func (m *Memory) Take(peer string, bytes int) (given <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ask()
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

func (m *Memory) ask() {
	if m.usual != nil {
		m.free, m.usual = m.free+m.usual(), nil
	}
}

// Size is how many bytes there are, taken or not.
func (m *Memory) Size() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ask()
	return m.free + m.taken()
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

// HasOnly tells whether a peer has taken just so many bytes.
func (m *Memory) HasOnly(peer string, bytes int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held[peer] == bytes
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
func (m *Memory) Held() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.taken()
}

func (m *Memory) taken() (bytes int) {
	for _, n := range m.held {
		bytes += n
	}
	return bytes
}
