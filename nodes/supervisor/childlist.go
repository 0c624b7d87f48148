package supervisor

import (
	"slices"

	"github.com/cnode-go/cnode/ei"
)

// A childList has children in the order of their start, and finds each by its ID and its process.
// There may be a hundred thousand, so nothing but what concerns all of them looks at all.
type childList struct {
	order []*child // nil in the place of one that was removed
	count int
	byID  map[string]*child
	byPid map[ei.Pid]*child
}

func (l *childList) find(id string) *child { return l.byID[id] }

func (l *childList) of(pid ei.Pid) *child { return l.byPid[pid] }

func (l *childList) has(c *child) bool { return l.byID[c.ID] == c }

func (l *childList) add(c *child) {
	if l.byID == nil {
		l.byID, l.byPid = map[string]*child{}, map[ei.Pid]*child{}
	}
	c.place = len(l.order)
	l.order = append(l.order, c)
	l.count++
	l.byID[c.ID] = c
	l.setPid(c, c.pid)
}

func (l *childList) remove(c *child) {
	l.setPid(c, ei.Pid{})
	delete(l.byID, c.ID)
	l.order[c.place] = nil
	if l.count--; l.count < len(l.order)/2 { // so a removal takes the time of two, at most
		l.order = l.all()
		for i, c := range l.order {
			c.place = i
		}
	}
}

// setPid notes which process a child is; the zero pid: none.
func (l *childList) setPid(c *child, pid ei.Pid) {
	if l.byPid[c.pid] == c {
		delete(l.byPid, c.pid)
	}
	if c.pid = pid; c.runs() {
		l.byPid[pid] = c
	}
}

// all is a copy, in the order of their start.
func (l *childList) all() []*child { return present(l.order) }

// from is a copy of c and those after it.
func (l *childList) from(c *child) []*child { return present(l.order[c.place:]) }

func present(order []*child) []*child {
	return slices.DeleteFunc(slices.Clone(order), func(c *child) bool { return c == nil })
}
