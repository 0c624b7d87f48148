package epmd

import (
	"slices"
	"unicode/utf8"
)

const (
	// maxUnused is how many names are remembered for their counters before a new name takes over
	// the oldest one's place.
	maxUnused = 1000
	// minCreation is the least 32-bit creation: 1 to 3 are those of nodes that have only 16 bits
	// for it.
	minCreation = 4
	// refusedCreation stands in the answer to a refused registration.
	refusedCreation = 99
)

// entry is a name, active or unused.
type entry struct {
	NodeInfo
	fd      int
	counter uint32
	holder  *session // the connection that registered it; nil once it is unused
}

// creation gives the creation that the node is told.
func (e *entry) creation() uint32 {
	if e.High >= 6 {
		return e.counter
	}
	return e.counter%3 + 1
}

// bump starts another incarnation of the name.
func (e *entry) bump() { e.counter = max(e.counter+1, minCreation) }

func (e *entry) dump() DumpEntry { return DumpEntry{Name: e.Name, Port: e.Port, FD: e.fd} }

// table is what a port mapper remembers. A name is in one of the lists, never in both, and only
// once. It is not safe for concurrent use.
type table struct {
	active []*entry // registered, in order of registration
	unused []*entry // given up, in that order
}

// find gives the active entry of a name, or nil.
func (t *table) find(name string) *entry {
	i := slices.IndexFunc(t.active, func(e *entry) bool { return e.Name == name })
	if i < 0 {
		return nil
	}
	return t.active[i]
}

// register makes an active entry. It gives nil for a name or extra data beyond the limits, and for
// a name that is active. now is the time in seconds, at which the counter of a name never seen
// starts.
//
// An unused name goes on with its own counter. When too many are unused, a new name gets the place
// of the oldest, and its counter too, as OTP's epmd has it.
func (t *table) register(info NodeInfo, fd int, holder *session, now uint32) *entry {
	if len(info.Name) > maxNameBytes || !utf8.ValidString(info.Name) || utf8.RuneCountInString(info.Name) > maxNameChars ||
		len(info.Extra) > maxExtraBytes || t.find(info.Name) != nil {
		return nil
	}
	var e *entry
	if i := slices.IndexFunc(t.unused, func(e *entry) bool { return e.Name == info.Name }); i >= 0 {
		e = t.unused[i]
		t.unused = slices.Delete(t.unused, i, i+1)
		e.bump()
	} else if len(t.unused) > maxUnused {
		e = t.unused[0]
		t.unused = slices.Delete(t.unused, 0, 1)
	} else {
		e = &entry{counter: now}
		e.bump()
	}
	e.NodeInfo, e.fd, e.holder = info, fd, holder
	t.active = append(t.active, e)
	return e
}

// release makes an active entry unused. It does nothing to one that is not active.
func (t *table) release(e *entry) bool {
	i := slices.Index(t.active, e)
	if i < 0 {
		return false
	}
	t.active = slices.Delete(t.active, i, i+1)
	t.unused = append(t.unused, e)
	e.holder = nil
	return true
}

// appendNames appends a NAMES_RESP, the newest name first.
func (t *table) appendNames(b []byte, port int) []byte {
	b = appendListingPort(b, port)
	for _, e := range slices.Backward(t.active) {
		b = appendNameLine(b, e.Name, e.Port)
	}
	return b
}

// appendDump appends a DUMP_RESP: the active names, the newest first, and the unused ones, the
// oldest first.
func (t *table) appendDump(b []byte, port int) []byte {
	b = appendListingPort(b, port)
	for _, e := range slices.Backward(t.active) {
		b = appendDumpLine(b, activeBefore, e.dump(), activeAfter, activeEnd)
	}
	for _, e := range t.unused {
		b = appendDumpLine(b, unusedBefore, e.dump(), unusedAfter, unusedEnd)
	}
	return b
}
