package nodes

// A bell wakes those who wait for something to change, all at once, to look again. A mutex of its owner guards it, the one under which they
// look: so nobody misses a change between the look and the wait. The zero value is ready.
type bell struct {
	rings chan struct{} // closed when it rings next; nil: nobody waits for that
}

// next is closed when the bell rings next.
func (b *bell) next() <-chan struct{} {
	if b.rings == nil {
		b.rings = make(chan struct{})
	}
	return b.rings
}

// ring wakes those who wait.
func (b *bell) ring() {
	if b.rings != nil {
		close(b.rings)
		b.rings = nil
	}
}
