package supervisor

import (
	"fmt"

	"github.com/cnode-go/cnode/ei"
)

// forgotten stands for a child that the supervisor does not know any more.
const forgotten ei.Atom = "forgotten"

// handOver describes the children for the supervisor in the next process: [{Id, Pid}], with
// restarting, undefined or forgotten in place of the pid.
func (s *Supervisor) handOver() ([]byte, error) {
	if !s.mu.TryLock() { // Start, which may wait for the end of the freeze
		return nil, fmt.Errorf("supervisor %s starts its children", s.name)
	}
	defer s.mu.Unlock()
	list := ei.List{}
	for _, c := range s.children.all() {
		list = append(list, ei.Tuple{ei.Binary(c.ID), c.shown()})
	}
	for _, id := range s.gone {
		list = append(list, ei.Tuple{ei.Binary(id), forgotten})
	}
	return ei.AppendTerm(nil, list)
}

// inherited are the children of the process before; nil: there was none.
func (s *Supervisor) inherited() (map[string]ei.Term, error) {
	state, ok := s.box.Inherited()
	if !ok {
		return nil, nil
	}
	var list []struct {
		_   struct{} `ei:"tuple"`
		ID  string
		Was ei.Term
	}
	c := ei.NewCursor(state)
	if err := c.Unmarshal(&list); err != nil {
		return nil, fmt.Errorf("supervisor %s: %w", s.name, err)
	}
	before := map[string]ei.Term{}
	for _, t := range list {
		before[t.ID] = t.Was
	}
	return before, nil
}
