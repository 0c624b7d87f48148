package nodes

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/cnode-go/cnode/transport"
)

// A carriage says, to another process, which of the Config's transports carries something. Several may have one name, each with keys and
// checks of its own: then their order tells which is meant.
type carriage struct {
	plugin string
	place  int // among those of the name, from 0 on; 0, too, of one that the Config does not have: a Resolver's, say
}

// transports are those of the Config, each once.
func (n *Node) transports() []transport.Transport {
	var list []transport.Transport
	for _, tr := range append([]transport.Transport{n.cfg.Transport}, n.cfg.Transports...) {
		if !slices.ContainsFunc(list, func(other transport.Transport) bool { return isSame(tr, other) }) {
			list = append(list, tr)
		}
	}
	return list
}

func isSame(a, b transport.Transport) bool { return reflect.ValueOf(a).Comparable() && a == b }

// carriageOf describes a transport. clear is false where the Config has others of its name, and not this one.
func (n *Node) carriageOf(tr transport.Transport) (c carriage, clear bool) {
	c.plugin = tr.Name()
	for _, other := range n.transports() {
		switch {
		case isSame(tr, other):
			return c, true
		case other.Name() == c.plugin:
			c.place++
		}
	}
	return carriage{plugin: c.plugin}, c.place == 0
}

// isPlain tells whether it does not matter which of its name it is for who gets in.
func (c carriage) isPlain() bool {
	return c.plugin == transport.TCP().Name() || c.plugin == transport.Unix().Name()
}

// errUnclear: the transport of a listener would become another one of its name.
var errUnclear = errors.New("Config has other transports of that name, and not this one (Config.Transports)")

// carrier finds the transport of a carriage.
func (n *Node) carrier(c carriage) (transport.Transport, error) {
	tr := n.transportOf(c)
	switch {
	case tr == nil && c.place > 0:
		return nil, fmt.Errorf("%w: %s, of which the Config has no number %d", ErrNoPlugin, c.plugin, c.place+1)
	case tr == nil:
		return nil, fmt.Errorf("%w: %s: Config.Transport, Transports and Also have none of that name", ErrNoPlugin, c.plugin)
	case !tr.Movable():
		return nil, &NotMovableError{Plugin: c.plugin}
	}
	return tr, nil
}

// transportOf is the node's transport of a carriage; nil if it has none.
func (n *Node) transportOf(c carriage) transport.Transport {
	for _, tr := range append(n.transports(), transport.TCP(), n.unix.get()) {
		if tr.Name() != c.plugin {
			continue
		}
		if c.place == 0 {
			return tr
		}
		c.place--
	}
	return nil
}

// A unixOnce is the transport of a node's UNIX connections to other processes of its own, and through a SocketDir, made when it is needed:
// one for all, so that its bounds are.
type unixOnce struct {
	once sync.Once
	tr   transport.Transport
}

func (u *unixOnce) get() transport.Transport {
	u.once.Do(func() { u.tr = transport.Unix() })
	return u.tr
}
