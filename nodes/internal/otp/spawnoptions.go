package otp

import (
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/ei"
)

// SpawnOptions are the options of a SPAWN_REQUEST that concern a node of Go. See erl_dist_protocol,
// "SPAWN_REQUEST", and erlang:spawn_request/5.
type SpawnOptions struct {
	Link, Monitor bool
	Quiet         bool // no SPAWN_REPLY for success
}

// Append encodes the options as erlang:spawn_request/5 takes them, without Quiet, which is the
// asking side's own affair.
func (o SpawnOptions) Append(b []byte) ei.Raw {
	names := make([]ei.Atom, 0, 2)
	if o.Link {
		names = append(names, "link")
	}
	if o.Monitor {
		names = append(names, "monitor")
	}
	if len(names) > 0 {
		b = ei.AppendListHeader(b, len(names))
		for _, name := range names {
			b, _ = ei.AppendAtom(b, name)
		}
	}
	return ei.AppendNil(b)
}

// errSpawnOption: an option, or a value of one, that erlang:spawn_request does not have. The caller
// gets badopt.
var errSpawnOption = errors.New("unknown spawn option")

// ParseSpawnOptions reads the options, and refuses what a BEAM refuses (measured: OTP 25, 27, 29),
// except reply: a BEAM that asks does not send it, and that of any other peer is obeyed. Options
// about memory and scheduling have no effect: Go has its own.
func ParseSpawnOptions(raw ei.Raw) (o SpawnOptions, err error) {
	if o, ok := usualOptions(raw); ok {
		return o, nil
	}
	t, err := raw.Decode()
	if err != nil {
		return o, err
	}
	opts, ok := ei.Elements(t)
	if !ok {
		return o, fmt.Errorf("%w: %s is no list of them", errSpawnOption, ei.Brief(t, 100))
	}
	for _, opt := range opts {
		switch opt {
		case ei.Atom("link"):
			o.Link = true
			continue
		case ei.Atom("monitor"):
			o.Monitor = true
			continue
		}
		t, ok := opt.(ei.Tuple)
		if !ok || len(t) != 2 || !isSpawnOption(t[0], t[1]) {
			return o, fmt.Errorf("%w %s", errSpawnOption, ei.Brief(opt, 100))
		}
		o.Link = o.Link || t[0] == ei.Atom("link")
		o.Monitor = o.Monitor || t[0] == ei.Atom("monitor")
		if t[0] == ei.Atom("reply") {
			o.Quiet = oneOf(t[1], "no", "error_only")
		}
	}
	return o, nil
}

// usualOptions reads the options that spawn, spawn_link, spawn_monitor and erpc give, for which it
// needs no memory; false: there are others.
func usualOptions(raw ei.Raw) (o SpawnOptions, ok bool) {
	c := ei.NewCursor(raw)
	n, err := c.List()
	if err != nil || n == 0 {
		return o, err == nil && c.Len() == 0
	}
	for range n {
		switch {
		case c.AtomIs("link"):
			o.Link = true
		case c.AtomIs("monitor"):
			o.Monitor = true
		default:
			if size, err := c.Tuple(); err != nil || size != 2 || !c.AtomIs("reply") || !c.AtomIs("no") && !c.AtomIs("error_only") {
				return o, false
			}
			o.Quiet = true
		}
	}
	return o, c.Nil() == nil && c.Len() == 0
}

// isSpawnOption tells whether there is an option of that name, with that value.
func isSpawnOption(name, value ei.Term) bool {
	switch name {
	case ei.Atom("link"): // of OTP 28
		return each(value, func(opt ei.Term) bool { return opt == ei.Atom("priority") })
	case ei.Atom("monitor"):
		return each(value, isMonitorOption)
	case ei.Atom("reply"):
		return oneOf(value, "yes", "no", "error_only", "success_only")
	case ei.Atom("priority"):
		return oneOf(value, "low", "normal", "high", "max")
	case ei.Atom("message_queue_data"):
		return oneOf(value, "on_heap", "off_heap")
	case ei.Atom("async_dist"):
		return oneOf(value, "true", "false")
	case ei.Atom("fullsweep_after"), ei.Atom("min_heap_size"), ei.Atom("min_bin_vheap_size"), ei.Atom("scheduler"):
		return isSize(value)
	case ei.Atom("max_heap_size"):
		return isMaxHeapSize(value)
	}
	return false
}

// isMonitorOption tells whether erlang:monitor/3 has an option. Its meaning is the caller's node's
// business.
func isMonitorOption(opt ei.Term) bool {
	if opt == ei.Atom("priority") { // of OTP 28
		return true
	}
	t, ok := opt.(ei.Tuple)
	if !ok || len(t) != 2 {
		return false
	}
	return t[0] == ei.Atom("tag") || t[0] == ei.Atom("alias") && oneOf(t[1], "explicit_unalias", "demonitor", "reply_demonitor")
}

// leastHeap is the smallest heap of a BEAM's process, in words: no limit may be less.
const leastHeap = 233

func isMaxHeapSize(value ei.Term) bool {
	if m, ok := value.(ei.Map); ok {
		for _, flag := range []ei.Atom{"kill", "error_logger", "include_shared_binaries"} {
			if on, ok := m.Get(flag); ok && !oneOf(on, "true", "false") {
				return false
			}
		}
		if value, ok = m.Get(ei.Atom("size")); !ok {
			return false
		}
	}
	return isSize(value) && (value == ei.Int(0) || value.(ei.Int) >= leastHeap)
}

// isSize tells whether a term is a non-negative integer that a BEAM keeps in one word.
func isSize(t ei.Term) bool {
	n, ok := t.(ei.Int)
	return ok && n >= 0 && n < 1<<59
}

func oneOf(t ei.Term, atoms ...ei.Atom) bool {
	for _, a := range atoms {
		if t == a {
			return true
		}
	}
	return false
}

// each tells whether a term is a list, and is returns true for all of its elements.
func each(t ei.Term, is func(ei.Term) bool) bool {
	list, ok := ei.Elements(t)
	for _, x := range list {
		ok = ok && is(x)
	}
	return ok
}
