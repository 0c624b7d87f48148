// Package carriers names a node's transports for states, and finds them again in another process.
package carriers

import (
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/transport"
)

// A Set is the transports of a node: those of its Config and, for its UNIX connections, one more,
// which is made when it is needed. There is only one, so that its limits hold for all these
// connections together: those between the node's own processes, and those through a SocketDir.
type Set struct {
	all  []transport.Transport // those of the Config, each once
	once sync.Once
	unix transport.Transport
}

// Init says which transports the Config has.
func (s *Set) Init(all ...transport.Transport) {
	for _, tr := range all {
		if !slices.ContainsFunc(s.all, func(other transport.Transport) bool { return IsSame(tr, other) }) {
			s.all = append(s.all, tr)
		}
	}
}

// IsSame tells whether two transports are one.
func IsSame(a, b transport.Transport) bool { return reflect.ValueOf(a).Comparable() && a == b }

// ID describes a transport. clear is false if the Config has others of its name, but not this one.
func (s *Set) ID(tr transport.Transport) (c states.TransportID, clear bool) {
	c.Plugin = tr.Name()
	for _, other := range s.all {
		switch {
		case IsSame(tr, other):
			return c, true
		case other.Name() == c.Plugin:
			c.Place++
		}
	}
	return states.TransportID{Plugin: c.Plugin}, c.Place == 0
}

// Find is the transport that a state names; nil if the node has none.
func (s *Set) Find(c states.TransportID) transport.Transport {
	for _, tr := range append(slices.Clip(s.all), transport.TCP(), s.Unix()) {
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

// Unix is the transport of the node's UNIX connections.
func (s *Set) Unix() transport.Transport {
	s.once.Do(func() { s.unix = transport.Unix() })
	return s.unix
}

// OverUnix is the node's first transport of UNIX sockets, be it a plain one or not.
func (s *Set) OverUnix() transport.Transport {
	if i := slices.IndexFunc(s.all, IsOverUnix); i >= 0 {
		return s.all[i]
	}
	return s.Unix()
}

// IsOverUnix tells by its name whether a transport is that of UNIX sockets, or what package
// tlstransport makes of it.
func IsOverUnix(tr transport.Transport) bool {
	name := transport.Unix().Name()
	return tr.Name() == name || strings.HasSuffix(tr.Name(), " over "+name)
}

// IsPlain tells whether transports of this name have no keys or checks of their own, so that each
// of them lets in the same peers.
func IsPlain(c states.TransportID) bool {
	return c.Plugin == transport.TCP().Name() || c.Plugin == transport.Unix().Name()
}
