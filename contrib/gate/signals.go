package gate

import (
	"errors"
	"fmt"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// What binds processes of the two nodes. A BEAM takes the signals of links and monitors that it
// has, and drops others, but not before it has read all of them.
type ties struct {
	Waits map[ei.Ref]wait     // of the node inside
	Held  map[ei.Ref]struct{} // monitors and requests to spawn of the node outside
	Calls map[ei.Ref]struct{} // requests to rex that have no answer yet
	Links map[link]uint64     // of both; not 0: the id of an unlink that the node outside has not acknowledged
	// Partial is set once there was no room for a tie: signals for which there is none pass then.
	Partial bool
}

// A wait is a monitor, or a request to spawn.
type wait struct {
	Who  ei.Pid  // has set it
	Pid  ei.Pid  // on this process, or
	Name ei.Atom // on that of this name; neither: on one that is still to be spawned
}

// A link is one of a process outside with one inside.
type link struct{ Out, In ei.Pid }

// tie remembers what the node inside says of ties; f.mu is locked.
func (f *filter) tie(ctl *dist.Control) {
	l := link{ctl.To, ctl.From}
	switch ctl.Op.Base() {
	case dist.OpMonitorP:
		f.Partial = remember(&f.Waits, ctl.Ref, wait{ctl.From, ctl.To, ctl.ToName}) || f.Partial
	case dist.OpSpawnRequest: // until the SPAWN_REPLY, or the end of what is monitored
		f.Partial = remember(&f.Waits, ctl.Ref, wait{Who: ctl.From}) || f.Partial
	case dist.OpDemonitorP:
		delete(f.Waits, ctl.Ref)
	case dist.OpMonitorPExit, dist.OpPayloadMonitorPExit:
		delete(f.Held, ctl.Ref)
		delete(f.Calls, ctl.Ref)
	case dist.OpSpawnReply:
		if ctl.Flags&dist.SpawnMonitored == 0 {
			delete(f.Held, ctl.Ref)
		}
		if child, ok := f.child(ctl); ok && ctl.Flags&dist.SpawnLinked != 0 {
			f.Partial = remember(&f.Links, link{ctl.To, child}, 0) || f.Partial
		}
	case dist.OpLink:
		f.Partial = remember(&f.Links, l, 0) || f.Partial
	case dist.OpUnlinkID: // the other side acknowledges, whether it has a link or not
		f.Partial = remember(&f.Links, l, ctl.ID) || f.Partial
	case dist.OpUnlink, dist.OpExit, dist.OpPayloadExit:
		delete(f.Links, l)
	}
}

// child gives the process of a SPAWN_REPLY.
func (f *filter) child(ctl *dist.Control) (ei.Pid, bool) {
	c := ei.NewCursor(ctl.Result)
	p, err := c.Pid()
	return p, err == nil
}

var (
	errTies  = errors.New("too many monitors, links and functions that run: Limits.Monitors")
	errTwice = errors.New("a reference that is in use")
)

// hasRoom tells whether the node outside may set one more tie. In a BEAM each takes memory as long
// as it is there.
func (f *filter) hasRoom(ctl *dist.Control, payload ei.Raw) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	call, calls := f.calls(ctl, payload)
	switch ctl.Op.Base() {
	case dist.OpMonitorP, dist.OpSpawnRequest:
		if _, ok := f.Held[ctl.Ref]; ok {
			return errTwice
		}
	case dist.OpLink:
	default:
		if !calls {
			return nil
		}
		if _, ok := f.Calls[call]; ok {
			return errTwice
		}
	}
	if len(f.Held)+len(f.Calls)+len(f.Links) >= f.g.limits.Monitors {
		return errTies
	}
	return nil
}

// calls gives the tag of a request by which rex runs a function, and answers.
func (f *filter) calls(ctl *dist.Control, payload ei.Raw) (ei.Ref, bool) {
	if ctl.ToName != "rex" || !ctl.Op.HasPayload() {
		return ei.Ref{}, false
	}
	return f.asks(payload)
}

// signal decides about what the node outside says of ties: it passes where there is one.
func (f *filter) signal(ctl *dist.Control) (v verdict, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	there := false
	l := link{ctl.From, ctl.To}
	switch ctl.Op.Base() {
	case dist.OpDemonitorP:
		_, there = f.Held[ctl.Ref]
		delete(f.Held, ctl.Ref)
	case dist.OpMonitorPExit, dist.OpPayloadMonitorPExit:
		if w, ok := f.Waits[ctl.Ref]; ok && w.Who == ctl.To {
			there, v.wait = true, w
			delete(f.Waits, ctl.Ref)
		}
	case dist.OpSpawnReply:
		return f.spawned(ctl)
	case dist.OpUnlinkID:
		var id uint64
		if id, there = f.Links[l]; there && id == 0 {
			delete(f.Links, l)
		}
		if !there && !f.Partial { // as a BEAM does for a link that it has not
			v.answer, err = f.frame(&dist.Control{Op: dist.OpUnlinkIDAck, ID: ctl.ID, From: ctl.To, To: ctl.From}, nil)
		}
	case dist.OpUnlinkIDAck:
		var id uint64
		if id, there = f.Links[l]; id == ctl.ID {
			delete(f.Links, l)
		}
	default: // the link is gone
		_, there = f.Links[l]
		delete(f.Links, l)
	}
	v.isTie, v.stops = there, !there && !f.Partial
	return v, err
}

// spawned decides about a SPAWN_REPLY; f.mu is locked.
func (f *filter) spawned(ctl *dist.Control) (v verdict, err error) {
	child, isPid := f.child(ctl)
	if isPid && string(child.Node) != f.outer {
		return v, fmt.Errorf("%w: a spawned process %v", errForged, child)
	}
	w, there := f.Waits[ctl.Ref]
	if there = there && w == (wait{Who: ctl.To}); !there && !f.Partial {
		return verdict{stops: true}, nil
	}
	v.isTie = there
	delete(f.Waits, ctl.Ref)
	if there && isPid && ctl.Flags&dist.SpawnMonitored != 0 {
		f.Waits[ctl.Ref] = wait{Who: ctl.To, Pid: child}
	}
	if isPid && ctl.Flags&dist.SpawnLinked != 0 {
		f.Partial = remember(&f.Links, link{child, ctl.To}, 0) || f.Partial
	}
	return v, nil
}

// remember puts something in, and forgets something else where there is too much: true.
func remember[K comparable, V any](m *map[K]V, key K, v V) (forgot bool) {
	if *m == nil {
		*m = map[K]V{}
	}
	if _, there := (*m)[key]; !there && len(*m) >= maxRemembered {
		for other := range *m {
			delete(*m, other)
			break
		}
		forgot = true
	}
	(*m)[key] = v
	return forgot
}

// maxRemembered bounds what a filter remembers of one kind.
const maxRemembered = 1 << 20
