package nodes

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport"
)

// carriers are the transports of a node, as states name them.
type carriers struct {
	n    *Node
	unix unixOnce
}

// all lists those of the Config, each once.
func (s *carriers) all() []transport.Transport {
	var list []transport.Transport
	for _, tr := range append([]transport.Transport{s.n.cfg.Transport}, s.n.cfg.Transports...) {
		if !slices.ContainsFunc(list, func(other transport.Transport) bool { return isSame(tr, other) }) {
			list = append(list, tr)
		}
	}
	return list
}

func isSame(a, b transport.Transport) bool { return reflect.ValueOf(a).Comparable() && a == b }

// id describes a transport. clear is false if the Config has others of its name, but not
// this one.
func (s *carriers) id(tr transport.Transport) (c states.TransportID, clear bool) {
	c.Plugin = tr.Name()
	for _, other := range s.all() {
		switch {
		case isSame(tr, other):
			return c, true
		case other.Name() == c.Plugin:
			c.Place++
		}
	}
	return states.TransportID{Plugin: c.Plugin}, c.Place == 0
}

// isPlain tells whether transports of this name have no keys or checks of their own, so that each
// of them lets in the same peers.
func isPlain(c states.TransportID) bool {
	return c.Plugin == transport.TCP().Name() || c.Plugin == transport.Unix().Name()
}

// errUnclear: in the new process the listener would get another transport of the same name.
var errUnclear = errors.New("Config has other transports of that name, and not this one (Config.Transports)")

// of finds the transport that a state names.
func (s *carriers) of(c states.TransportID) (transport.Transport, error) {
	tr := s.find(c)
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

// find is the node's transport for a transport; nil if it has none.
func (s *carriers) find(c states.TransportID) transport.Transport {
	for _, tr := range append(s.all(), transport.TCP(), s.unix.get()) {
		if tr.Name() != c.Plugin {
			continue
		}
		if c.Place == 0 {
			return tr
		}
		c.Place--
	}
	return nil
}

// overUnix is the node's first transport of UNIX sockets, be it a plain one or not.
func (s *carriers) overUnix() transport.Transport {
	for _, tr := range s.all() {
		if isOverUnix(tr) {
			return tr
		}
	}
	return s.unix.get()
}

// isOverUnix tells by its name whether a transport is that of UNIX sockets, or what package
// tlstransport makes of it.
func isOverUnix(tr transport.Transport) bool {
	name := transport.Unix().Name()
	return tr.Name() == name || strings.HasSuffix(tr.Name(), " over "+name)
}

// A unixOnce is the transport of a node's UNIX connections: those between its own processes, and
// those through a SocketDir. It is made when it is needed, and there is only one, so that its
// limits hold for all these connections together.
type unixOnce struct {
	once sync.Once
	tr   transport.Transport
}

func (u *unixOnce) get() transport.Transport {
	u.once.Do(func() { u.tr = transport.Unix() })
	return u.tr
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
