package nodes

import (
	"hash/fnv"
	"strconv"
)

// A WorkerInfo describes one worker of a Front.
type WorkerInfo struct {
	Slot     int // 0 and up; a worker that replaces another one has its slot
	PID      int // of the process
	Sessions int // how many it has, including handshakes in progress
}

// A Choose picks the worker for a new session: an index into candidates, of which there is at least
// one. peer is the name of the node that connects, or, if that node asks for a name, its host. A
// worker that has lost a session, as for want of a descriptor, is no candidate for a second, unless
// all have. It is called by one goroutine at a time, must be quick, and must not call the Front,
// which waits for it. A number out of range refuses the session, and so does a panic.
type Choose func(peer string, candidates []WorkerInfo) int

// ByName always gives a peer to the same worker, and spreads the names evenly: when a worker is
// missing only its peers go elsewhere (rendezvous hashing). It is the default. Of nodes that ask
// for a name only the host is known: those of one host share a worker, where LeastSessions would
// spread them.
func ByName(peer string, candidates []WorkerInfo) int {
	best, most := 0, uint64(0)
	for i, w := range candidates {
		h := fnv.New64a()
		_, _ = h.Write([]byte(peer + "/" + strconv.Itoa(w.Slot)))
		if v := mix(h.Sum64()); i == 0 || v > most {
			best, most = i, v
		}
	}
	return best
}

// mix spreads what differs in the last bytes of a short text over all bits (the finalizer of
// splitmix64).
func mix(v uint64) uint64 {
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}

// LeastSessions gives a session to the worker that has the fewest; if there are several, to the
// first of them.
func LeastSessions(_ string, candidates []WorkerInfo) int {
	best := 0
	for i, w := range candidates {
		if w.Sessions < candidates[best].Sessions {
			best = i
		}
	}
	return best
}
