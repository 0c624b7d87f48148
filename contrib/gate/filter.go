package gate

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/permit"
)

// Why some requests are refused whatever the rules say.
const (
	onlyPings    = "net_kernel gets pings only"
	noRPC        = "no request of rpc"
	runsFunction = "a request by which a function would run"
)

// A filter judges what the node outside sends, and remembers for that what the one inside has sent.
type filter struct {
	g            *Gate
	outer, inner string
	flags        dist.Flags
	known        *acquaintance

	mu     sync.Mutex
	refs   map[ei.Ref]ei.Pid // monitors and requests of the node inside, and who waits for the answer
	asked  map[ei.Ref]ei.Pid // tags of requests inside that are no monitors: gen_server:multi_call's
	talked map[ei.Pid]bool   // processes inside that have sent something
}

// maxRemembered bounds what a filter remembers of one kind.
const maxRemembered = 1 << 20

// A verdict is what becomes of a message.
type verdict struct {
	refused bool
	answer  []byte // frames for who has sent it
	d       Decision
}

var (
	errForged  = errors.New("gate: a message in the name of another node")
	errStrange = errors.New("gate: a control message that no node sends through a gate")
)

// learn remembers what the node inside asks. payload may be the beginning of one.
func (f *filter) learn(ctl *dist.Control, payload ei.Raw) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch ctl.Op.Base() {
	case dist.OpMonitorP:
		remember(&f.refs, ctl.Ref, ctl.From)
	case dist.OpSpawnRequest:
		remember(&f.refs, ctl.Ref, ctl.From) // until the SPAWN_REPLY, or the end of what is monitored
		f.hasTalked(ctl.From)
	case dist.OpDemonitorP:
		delete(f.refs, ctl.Ref)
	case dist.OpSendSender, dist.OpRegSend, dist.OpAliasSend, dist.OpAltactSigSend:
		if !isAnswer(payload) { // else whoever is asked would have talked: net_kernel, by a ping
			f.hasTalked(ctl.From)
		}
		c := ei.NewCursor(payload)
		if n, err := c.Tuple(); err != nil || n != 3 || !c.AtomIs("$gen_call") {
			return
		}
		if n, err := c.Tuple(); err != nil || n != 2 {
			return
		}
		if p, err := c.Pid(); err == nil {
			if t, ok := readTag(&c); ok && f.refs[t.monitor] != p {
				remember(&f.asked, t.monitor, p)
			}
		}
	case dist.OpLink:
		f.hasTalked(ctl.From)
	}
}

// hasTalked remembers a process inside; f.mu is locked.
func (f *filter) hasTalked(p ei.Pid) {
	if string(p.Node) == f.inner {
		remember(&f.talked, p, true)
	}
}

// remember puts something in, and forgets something else where there is too much.
func remember[K comparable, V any](m *map[K]V, key K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	if len(*m) >= maxRemembered {
		for other := range *m {
			delete(*m, other)
			break
		}
	}
	(*m)[key] = v
}

// judge decides about a whole message of the node outside. An error ends the connection. The atoms
// of what is refused do not count: the node inside never sees them.
func (f *filter) judge(ctl *dist.Control, payload ei.Raw) (verdict, error) {
	v, err := f.decide(ctl, payload)
	if err != nil || v.refused {
		return v, err
	}
	if err := f.admit(ctl, payload); err != nil {
		d := Request{Peer: f.outer, Target: target(ctl)}.always(false, err.Error())
		f.g.logRefusal(d)
		return f.refuse(ctl, payload, d)
	}
	return v, nil
}

// tells tells whether the first piece of a message has all that decide asks: of a function that is
// to run the number of arguments counts, of a group leader's the whole request, and of a message
// more than a few bytes.
func (f *filter) tells(ctl *dist.Control, piece ei.Raw) bool {
	return ctl.Op.Base() != dist.OpSpawnRequest && ctl.ToName != "rex" && len(piece) >= enoughToTell && !isIORequest(piece)
}

// enoughToTell is more than the beginning of a request takes, whatever the names of nodes.
const enoughToTell = 8 << 10

// decide asks the rules.
func (f *filter) decide(ctl *dist.Control, payload ei.Raw) (verdict, error) {
	if err := f.checkNodes(ctl); err != nil {
		return verdict{}, err
	}
	c := ei.NewCursor(payload)
	op := ctl.Op.Base()
	switch {
	case op == dist.OpAltactSigSend && ctl.Flags&dist.AltactExit != 0:
		op = dist.OpExit2
	case op == dist.OpAltactSigSend:
		op = dist.OpSendSender
	}
	switch op {
	case dist.OpSend, dist.OpSendSender, dist.OpRegSend, dist.OpAliasSend:
		return f.decided(ctl, payload, f.message(ctl, c))
	case dist.OpMonitorP:
		if ctl.ToName == "net_kernel" || ctl.ToName == "rex" { // who pings, or calls functions, watches these
			return verdict{}, nil
		}
		return f.decided(ctl, payload, f.monitor(ctl))
	case dist.OpLink:
		return f.decided(ctl, payload, f.process(permit.Link, ctl))
	case dist.OpExit2, dist.OpPayloadExit2:
		return f.decided(ctl, payload, f.process(permit.Exit, ctl))
	case dist.OpGroupLeader:
		return f.decided(ctl, payload, f.process(permit.Leader, ctl))
	case dist.OpSpawnRequest:
		return f.decided(ctl, payload, f.spawn(ctl, c))
	case dist.OpMonitorPExit, dist.OpPayloadMonitorPExit:
		f.mu.Lock()
		delete(f.refs, ctl.Ref)
		f.mu.Unlock()
		return verdict{}, nil
	case dist.OpSpawnReply:
		if ctl.Flags&dist.SpawnMonitored == 0 {
			f.mu.Lock()
			delete(f.refs, ctl.Ref)
			f.mu.Unlock()
		}
		return verdict{}, nil
	case dist.OpDemonitorP, dist.OpExit, dist.OpPayloadExit, dist.OpUnlink, dist.OpUnlinkID, dist.OpUnlinkIDAck:
		return verdict{}, nil // a BEAM takes them for what it has itself begun, and drops the others
	}
	return verdict{}, fmt.Errorf("%w: %v", errStrange, ctl.Op)
}

func (f *filter) decided(ctl *dist.Control, payload ei.Raw, d Decision) (verdict, error) {
	f.g.observe(d)
	if d.Allowed || f.g.opts.Learn {
		return verdict{d: d}, nil
	}
	return f.refuse(ctl, payload, d)
}

// monitor decides about a monitor: whoever may send something to a process may watch it.
func (f *filter) monitor(ctl *dist.Control) Decision {
	d := f.process(permit.Request, ctl)
	if !d.Allowed {
		d = f.process(permit.Send, ctl)
	}
	if !d.Allowed {
		d.Op = permit.Send | permit.Request
	}
	return d
}

// checkNodes tells a message in another node's name. Node names are atoms, too.
func (f *filter) checkNodes(ctl *dist.Control) error {
	if ctl.From != (ei.Pid{}) && string(ctl.From.Node) != f.outer {
		return fmt.Errorf("%w: %v from %v", errForged, ctl.Op, ctl.From)
	}
	if ctl.To != (ei.Pid{}) && string(ctl.To.Node) != f.inner {
		return fmt.Errorf("%w: %v to %v", errForged, ctl.Op, ctl.To)
	}
	return nil
}

// admit checks that all terms of a message are well-formed, and counts their atoms.
func (f *filter) admit(ctl *dist.Control, payload ei.Raw) error {
	k := f.known
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range []ei.Atom{ctl.FromName, ctl.ToName, ctl.Module, ctl.Function, ctl.GroupLeader.Node, ctl.Ref.Node} {
		if a != "" && !k.admit(string(a), f.g) {
			return errAtoms
		}
	}
	for _, raw := range []ei.Raw{ctl.Reason, ctl.Options, ctl.Result, payload} {
		if len(raw) == 0 {
			continue
		}
		full := false
		err := raw.WalkNames(func(part ei.Raw) bool {
			full = ei.Tag(part[0]).IsAtom() && !k.admitRaw(part, f.g)
			return !full
		})
		if err != nil {
			return fmt.Errorf("no term that a BEAM reads: %w", err)
		}
		if full {
			return errAtoms
		}
	}
	return nil
}

var errAtoms = errors.New("too many atoms: Limits.Atoms, or Limits.AllAtoms")

// target names the process or function that a control message is for.
func target(ctl *dist.Control) string {
	switch {
	case ctl.ToName != "":
		return string(ctl.ToName)
	case ctl.To != (ei.Pid{}):
		return ctl.To.String()
	case ctl.Module != "":
		return fmt.Sprintf("%s:%s/%d", ctl.Module, ctl.Function, ctl.Arity)
	}
	return ctl.Ref.String()
}

// process decides about a process, which goes by its name, or by its pid and permit.Talked.
func (f *filter) process(op permit.Op, ctl *dist.Control) Decision {
	d := f.g.table().decide(Request{Peer: f.outer, Op: op, Target: target(ctl)})
	if !d.Allowed && ctl.ToName == "" {
		f.mu.Lock()
		talked := f.talked[ctl.To]
		f.mu.Unlock()
		if talked {
			if other := f.g.table().decide(Request{Peer: f.outer, Op: op, Target: permit.Talked}); other.Allowed {
				return other
			}
		}
	}
	return d
}

// message decides about a message.
func (f *filter) message(ctl *dist.Control, c ei.Cursor) Decision {
	r := Request{Peer: f.outer, Op: permit.Send, Target: target(ctl)}
	if ctl.ToName == "" && f.answers(ctl, c) {
		return r.always(true, "an answer")
	}
	kind := f.shape(c)
	switch {
	case ctl.ToName == "net_kernel" && kind == shapePing:
		return r.always(true, "net_adm:ping/1")
	case ctl.ToName == "net_kernel": // it spawns whatever it is asked to
		return r.always(false, onlyPings)
	case ctl.ToName == "rex":
		return f.rex(c)
	case kind == shapeSystem, kind == shapeForged:
		return r.always(false, kind)
	case kind == shapeIO && !f.plainIO(c):
		return r.always(false, runsFunction)
	case ctl.ToName == "" && (kind == shapeRequest && f.runs(c) || isOldRPC(c)): // it may be net_kernel, rex, a supervisor
		return r.always(false, runsFunction)
	case kind == shapeRequest || kind == shapePing:
		d := f.process(permit.Request, ctl)
		if d.Allowed || d.Rule >= 0 {
			return d
		}
		if other := f.process(permit.Send, ctl); other.Allowed || other.Rule >= 0 {
			return other
		}
		return d
	}
	return f.process(permit.Send, ctl)
}
