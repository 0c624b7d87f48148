package front

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"slices"

	"github.com/cnode-go/cnode/transport"
)

// A Session is what a Policy sees of a session.
type Session struct {
	ID     uint64
	Local  transport.Addr // where the client has connected to, as a PROXY header says if there is one
	Remote transport.Addr // the client
	Moves  int            // how many workers have had it and are gone
}

// A Worker is what a Policy, and Stats, see of a worker.
type Worker struct {
	ID        uint64 `json:"id"`        // no two workers of a Keeper have the same
	Name      string `json:"name"`      // what it calls itself; may be empty, and is empty for a plain worker
	PID       int    `json:"pid"`       // of its process
	Plain     bool   `json:"plain"`     // it gets BIND 10's form
	Sessions  int    `json:"sessions"`  // how many it has, those on their way included; 0 for a plain worker
	Forwarded uint64 `json:"forwarded"` // how many it has got
	Ready     bool   `json:"ready"`     // it has room for another session now
	Retiring  bool   `json:"retiring"`  // it wants no more; a Policy does not see it then
}

// A Policy chooses a worker for a session: its index in workers, or -1 to wait until anything about
// the workers changes. A session whose worker is not Ready waits for that worker. workers is not
// empty, its order is that in which they came, and both arguments are valid during the call only.
// Calls come one at a time, and must return at once. The Keeper is locked during a call: a Policy
// that calls one of its methods, Keeper.Stats among them, stands still for ever.
type Policy func(s *Session, workers []Worker) int

// LeastSessions chooses the worker with the fewest sessions that has room; among equals, the one
// that has got the fewest. A plain worker, which does not say when a session ends, is chosen where
// no other has room; of these, the one that has got the fewest.
func LeastSessions(_ *Session, workers []Worker) int {
	best := -1
	for i := range workers {
		w := &workers[i]
		if !w.Ready {
			continue
		}
		if best < 0 || fewer(w, &workers[best]) {
			best = i
		}
	}
	return best
}

func fewer(w, than *Worker) bool {
	if w.Plain != than.Plain {
		return than.Plain
	}
	return cmp.Or(cmp.Compare(w.Sessions, than.Sessions), cmp.Compare(w.Forwarded, than.Forwarded)) < 0
}

// ByAddress makes a Policy that sends the sessions of one client's address to one worker, as
// long as the worker is there: those of other clients stay where they are when a worker comes or
// goes. Workers are told apart by their names, and those of equal names by their IDs: with names
// of their own they keep their clients over a restart. Clients of UNIX sockets count as one client.
func ByAddress() Policy {
	return func(s *Session, workers []Worker) int {
		var address [16]byte
		if ap, err := transport.AddrPort(s.Remote); err == nil {
			address = ap.Addr().As16()
		}
		best, most := -1, [2]uint64{} // by name, by ID
		for i := range workers {
			w := &workers[i]
			sums := [2]uint64{rank(address, []byte(w.Name)), rank(address, binary.BigEndian.AppendUint64(nil, w.ID))}
			if w.Name == "" { // it has no equals
				sums[0] = sums[1]
			}
			if best < 0 || slices.Compare(sums[:], most[:]) > 0 {
				best, most = i, sums
			}
		}
		return best
	}
}

// rank is how much a client's address and a worker belong together.
func rank(address [16]byte, worker []byte) uint64 {
	h := fnv.New64a() // the same in the next process
	h.Write(address[:])
	h.Write(worker)
	return mixed(h.Sum64())
}

// mixed spreads what differs in the last bytes of a hash over all of its bits.
func mixed(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
