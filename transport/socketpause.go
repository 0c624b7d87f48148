package transport

// halt ends the operation of one direction that is in flight, or is about to be. It is called again
// and again until there is none.
func (s *socket[C]) halt(writing bool) {
	if s.pair != nil {
		s.pair.Halt(writing)
		return
	}
	d := s.side(writing)
	// If the plug-in has no Interrupt, a read comes back by itself, and a write when it can.
	d.halted.Store(true)
	if s.canInterrupt() {
		s.prod(d)
	}
}

// prod calls Interrupt for one direction, never twice at once, on a goroutine of its own, for
// Interrupt may not come back.
func (s *socket[C]) prod(d *side) {
	if d.halting.CompareAndSwap(false, true) {
		go func() {
			defer d.halting.Store(false)
			_ = s.beside("Interrupt", s.interruption(d))
		}()
	}
}

func (s *socket[C]) resume(writing bool) {
	if s.pair != nil {
		s.pair.Allow(writing)
		return
	}
	s.side(writing).halted.Store(false)
}

// side is one direction of a FullImpl socket.
func (s *socket[C]) side(writing bool) *side {
	if writing {
		return &s.out
	}
	return &s.in
}

func (s *socket[C]) prepare(writing bool) error {
	if s.pair == nil {
		return nil
	}
	return s.pair.Prepare(writing)
}
