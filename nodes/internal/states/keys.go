package states

import (
	"slices"

	"github.com/cnode-go/cnode/nodes/internal/form"
)

// Keys lists what plug-ins have put into a whole state, as parts of it: keys of sessions, say,
// which messages carry, too. Of what else is in the state nothing is read, so it takes no time.
func Keys(b []byte) (keys [][]byte) {
	switch form.Kind(b) {
	case KindConn:
		return form.Find(b, 2)
	case KindNode:
		return form.Find(b, 7, 2)
	case KindFront:
		keys = form.Find(b, 5, 10, 1)
	case KindWorker:
		keys = slices.Concat(form.Find(b, 7, 1), form.Find(b, 8, 1))
	}
	for _, node := range form.Find(b, 1) {
		keys = append(keys, Keys(node)...)
	}
	return keys
}
