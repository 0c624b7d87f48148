package wait

// A Bell wakes those who wait for something to change, all at once, to look again. A mutex of its owner guards it, the one under which they
// look: so nobody misses a change between the look and the wait. The zero value is ready.
type Bell struct {
	rings chan struct{} // closed when it rings next; nil: nobody waits for that
}

// Next is closed when the bell rings next.
func (b *Bell) Next() <-chan struct{} {
	if b.rings == nil {
		b.rings = make(chan struct{})
	}
	return b.rings
}

// Awaited tells whether somebody waits for it.
func (b *Bell) Awaited() bool { return b.rings != nil }

// Ring wakes those who wait.
func (b *Bell) Ring() {
	if b.rings != nil {
		close(b.rings)
		b.rings = nil
	}
}
