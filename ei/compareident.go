package ei

import (
	"cmp"
	"strings"
)

// ComparePids gives the order of two process identifiers, -1, 0 or 1: ei_cmp_pids.
func ComparePids(a, b Pid) int {
	return cmp.Or(cmp.Compare(a.Serial, b.Serial), cmp.Compare(a.ID, b.ID), compareNodes(a.Node, b.Node, a.Creation, b.Creation))
}

// ComparePorts gives the order of two port identifiers, -1, 0 or 1: ei_cmp_ports.
func ComparePorts(a, b Port) int {
	return cmp.Or(compareNodes(a.Node, b.Node, a.Creation, b.Creation), cmp.Compare(a.ID, b.ID))
}

// CompareRefs gives the order of two references, -1, 0 or 1: ei_cmp_refs. Words that only one of
// them has count as 0.
func CompareRefs(a, b Ref) int {
	if c := compareNodes(a.Node, b.Node, a.Creation, b.Creation); c != 0 {
		return c
	}
	word := func(r *Ref, i int) uint32 {
		if i < int(r.Len) {
			return r.ID[i]
		}
		return 0
	}
	for i := MaxRefWords - 1; i >= 0; i-- {
		if c := cmp.Compare(word(&a, i), word(&b, i)); c != 0 {
			return c
		}
	}
	return 0
}

func compareNodes(a, b Atom, ca, cb uint32) int {
	return cmp.Or(strings.Compare(string(a), string(b)), cmp.Compare(ca, cb))
}
