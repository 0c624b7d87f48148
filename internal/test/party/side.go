//go:build unix

package party

import (
	"encoding/json"
	"io"
	"os"
)

// A Side is the other end of a Party, in its process: what it tells goes to the standard output,
// and what it hears comes from the standard input.
type Side struct {
	in  *json.Decoder
	out *json.Encoder
}

// A Report is what a side has to say when it is over.
type Report struct {
	PID   int
	Owner bool   // this side has everything
	Err   string // what the hand-off returned
	Leak  string // what is left over; "": nothing
}

// NewSide makes the Side of this process.
func NewSide() *Side { return &Side{json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)} }

// Tell tells the test something.
func (s *Side) Tell(v any) error { return s.out.Encode(v) }

// Hear takes what the test says; io.EOF when it says nothing more.
func (s *Side) Hear(v any) error { return s.in.Decode(v) }

// Ready says that this side can begin, and waits until both sides can, since no deadline must run
// before that.
func (s *Side) Ready() error {
	err := s.Tell(true)
	if err == nil {
		var begin bool
		err = s.Hear(&begin)
	}
	return err
}

// Stay waits until the test says nothing more.
func (s *Side) Stay() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
