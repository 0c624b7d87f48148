package nodes

import (
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport"
)

// errUnclear: in the new process the listener would get another transport of the same name.
var errUnclear = errors.New("Config has other transports of that name, and not this one (Config.Transports)")

// carrier finds the transport that a state names.
func (n *Node) carrier(c states.TransportID) (transport.Transport, error) {
	tr := n.carriers.Find(c)
	switch {
	case tr == nil && c.Place > 0:
		return nil, fmt.Errorf("%w: %s, of which the Config has no number %d", ErrNoPlugin, c.Plugin, c.Place+1)
	case tr == nil:
		return nil, fmt.Errorf("%w: %s: Config.Transport, Transports and Also have none of that name", ErrNoPlugin, c.Plugin)
	case !tr.Movable():
		return nil, &NotMovableError{Plugin: c.Plugin}
	}
	return tr, nil
}

func movable(tr transport.Transport, descriptor func() (int, error)) error {
	if !tr.Movable() {
		return &NotMovableError{Plugin: tr.Name()}
	}
	if _, err := descriptor(); err != nil {
		return &NotMovableError{Plugin: tr.Name(), Err: err}
	}
	return nil
}
