package ei

import (
	"cmp"
	"strings"
)

// Compare gives the order of two process identifiers, -1, 0 or 1: ei_cmp_pids.
func (t Pid) Compare(u Pid) int {
	return cmp.Or(cmp.Compare(t.Serial, u.Serial), cmp.Compare(t.ID, u.ID), compareNodes(t.Node, u.Node, t.Creation, u.Creation))
}

// Compare gives the order of two port identifiers, -1, 0 or 1: ei_cmp_ports.
func (t Port) Compare(u Port) int {
	return cmp.Or(compareNodes(t.Node, u.Node, t.Creation, u.Creation), cmp.Compare(t.ID, u.ID))
}

// Compare gives the order of two references, -1, 0 or 1: ei_cmp_refs. Words that only one of
// them has count as 0.
func (t Ref) Compare(u Ref) int {
	if c := compareNodes(t.Node, u.Node, t.Creation, u.Creation); c != 0 {
		return c
	}
	word := func(r *Ref, i int) uint32 {
		if i < int(r.Len) {
			return r.ID[i]
		}
		return 0
	}
	for i := maxRefWords - 1; i >= 0; i-- {
		if c := cmp.Compare(word(&t, i), word(&u, i)); c != 0 {
			return c
		}
	}
	return 0
}

func compareNodes(a, b Atom, ca, cb uint32) int {
	return cmp.Or(strings.Compare(string(a), string(b)), cmp.Compare(ca, cb))
}
