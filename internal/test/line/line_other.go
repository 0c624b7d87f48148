//go:build !linux

package line

// A Line is a line; there is none on these systems.
type Line struct{ ends [2]*End }

// An End is one end of a line.
type End struct{ addr string }

// Open returns ErrUnavailable.
func Open(Options) (*Line, error) { return nil, ErrUnavailable }

// Cut does nothing.
func (l *Line) Cut() {}

// Mend does nothing.
func (l *Line) Mend() {}

// Narrow does nothing.
func (l *Line) Narrow(int) {}

// Close does nothing.
func (l *Line) Close() {}

// Do returns ErrUnavailable.
func (e *End) Do(func() error) error { return ErrUnavailable }
