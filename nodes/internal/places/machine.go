package places

import (
	"math"
	"runtime/debug"
)

const (
	usualMachine = 2 << 30  // bytes of memory, where the system does not tell
	leastMemory  = 64 << 20 // bytes: less would hold no burst at all
	mostMemory   = 512 << 20
	shareOfAll   = 4        // a quarter of the memory is for what waits, and another for functions
	shareOfEach  = 16       // a sixteenth is for what is kept of one peer, for there are many
	functionSize = 16 << 10 // bytes that a running function takes, its stack included
	leastCalls   = 1024
	mostCalls    = 1 << 18 // a BEAM's processes (erl +P), until OTP 26
)

// DefaultMemory is how many bytes may wait in a node that is not told otherwise: a Quarter, but not
// so much that one function which is slow takes the memory of the programs beside this one.
func DefaultMemory() int { return min(Quarter(), mostMemory) }

// Quarter is a quarter of what the program may use. That is the least of the machine's memory, the
// limit of its control group (cgroups(7)) and GOMEMLIMIT.
func Quarter() int { return max(available()/shareOfAll, leastMemory) }

// DefaultEach is how many bytes may be kept, for good, of what one peer tells, in each of so many
// parts of a node that is not told otherwise. Peers share what DefaultMemory says, but each has
// this: so it is a smaller part of what the program may use, though in no part less than the least
// of that.
func DefaultEach(parts int) int {
	return max(min(available()/shareOfEach, mostMemory)/parts, leastMemory)
}

// DefaultPlaces is how many functions may run at once in a node that is not told otherwise.
func DefaultPlaces() int {
	return min(max(available()/shareOfAll/functionSize, leastCalls), mostCalls)
}

func available() int {
	n := int64(usualMachine)
	if machine := machineMemory(); machine > 0 {
		n = machine
	}
	return int(min(n, debug.SetMemoryLimit(-1), math.MaxInt))
}
