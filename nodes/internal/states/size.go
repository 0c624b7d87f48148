package states

import (
	"encoding/binary"
	"errors"
	"time"
)

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

// Memory is about how many bytes a process allocates that reads the state and goes on as the node.
func (x Size) Memory() int {
	return 2*x.State() + 16<<10*x.Conns + 1<<10*x.Mailboxes + 256*x.Messages + x.Bytes
}

// Written is about how many bytes a process allocates that writes the state.
func (x Size) Written() int { return x.State() + 8<<10*x.Conns }

// Append appends x for ParseSize.
func (x Size) Append(b []byte) []byte {
	for _, n := range []int{x.Conns, x.Mailboxes, x.Messages, x.Bytes} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

// ParseSize reads what Append has written. A later form may have more behind it.
func ParseSize(b []byte) (x Size, err error) {
	for _, n := range []*int{&x.Conns, &x.Mailboxes, &x.Messages, &x.Bytes} {
		v, size := binary.Uvarint(b)
		if size <= 0 || v > 1<<40 {
			return Size{}, errors.New("no sizes of a node")
		}
		*n, b = int(v), b[size:]
	}
	return x, nil
}
