package states

import "time"

// A Size is how much there is to be written into the state of a node: all of it while the node is
// silent.
type Size struct{ Conns, Mailboxes, Messages, Bytes int }

// Least is how long it takes to write the state if nothing else runs on the machine.
func (x Size) Least() time.Duration {
	return time.Duration(x.Conns)*15*time.Microsecond + time.Duration(x.Mailboxes)*500 + time.Duration(x.Messages)*300 +
		time.Duration(x.Bytes)/2
}

// State is about how many bytes the state has.
func (x Size) State() int { return 1024*x.Conns + 64*x.Mailboxes + 64*x.Messages + x.Bytes }
