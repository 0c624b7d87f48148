package gate

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// Why some requests are refused whatever the rules say.
const (
	onlyPings    = "net_kernel gets pings only"
	noRPC        = "no request of rpc"
	runsFunction = "a request by which a function would run"
	oldForm      = "a form that these nodes have given up"
)

// Why some are allowed.
const (
	anAnswer = "an answer"
	aPing    = "net_adm:ping/1"
)

// A filter judges what the node outside sends, and remembers for that what the one inside has sent.
type filter struct {
	g            *Gate
	outer, inner string
	flags        dist.Flags
	known        *acquaintance

	mu     sync.Mutex
	asked  map[ei.Ref]ei.Pid // tags of requests inside that are no monitors: gen_server:multi_call's
	talked map[ei.Pid]bool   // processes inside that have sent something
	ties
}

// A verdict is what becomes of a message.
type verdict struct {
	stops   bool     // it does not reach whom it was for
	answer  []byte   // a frame for who has sent it
	instead [][]byte // a frame for whom it was for
	d       Decision
	isTie   bool // it is for a tie that there is
	wait    wait // that
}

var (
	errForged  = errors.New("gate: a message in the name of another node")
	errStrange = errors.New("gate: a control message that no node sends through a gate")
)

// learn remembers what the node inside asks. payload may be the beginning of one.
func (f *filter) learn(ctl *dist.Control, payload ei.Raw) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tie(ctl)
	if len(f.Calls) > 0 && ctl.Op.HasPayload() {
		if t, ok := answerTag(payload); ok {
			delete(f.Calls, t.monitor)
		}
	}
	switch ctl.Op.Base() {
	case dist.OpLink, dist.OpSpawnRequest:
		f.hasTalked(ctl.From)
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
			if t, ok := readTag(&c); ok && f.Waits[t.monitor].Who != p {
				remember(&f.asked, t.monitor, p)
			}
		}
	}
}

// hasTalked remembers a process inside; f.mu is locked.
func (f *filter) hasTalked(p ei.Pid) {
	if string(p.Node) == f.inner {
		remember(&f.talked, p, true)
	}
}

// judge decides about a whole message of the node outside. An error ends the connection. What a
// rule refuses does not count: the node inside never sees it.
func (f *filter) judge(ctl *dist.Control, payload ei.Raw) (verdict, error) {
	v, err := f.decide(ctl, payload)
	if err != nil || v.stops {
		return v, err
	}
	if err := f.admitAll(ctl, payload); err != nil {
		return f.replace(ctl, payload, v, err)
	}
	f.took(ctl, payload, v)
	return v, nil
}

// admitAll tells whether there is room for all that a BEAM keeps of a message.
func (f *filter) admitAll(ctl *dist.Control, payload ei.Raw) error {
	err := f.hasRoom(ctl, payload)
	if err == nil {
		err = f.admitHead(ctl)
	}
	if err == nil {
		err = f.admitTerms(ctl.Reason, ctl.Options, ctl.Result, payload)
	}
	return err
}

// took remembers what passes.
func (f *filter) took(ctl *dist.Control, payload ei.Raw, v verdict) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch ctl.Op.Base() {
	case dist.OpMonitorP, dist.OpSpawnRequest:
		remember(&f.Held, ctl.Ref, struct{}{})
	case dist.OpLink:
		f.Partial = remember(&f.Links, link{ctl.From, ctl.To}, 0) || f.Partial
	default:
		if call, ok := f.calls(ctl, payload); ok {
			remember(&f.Calls, call, struct{}{})
		}
		if v.d.Reason == anAnswer {
			if t, ok := answerTag(payload); ok {
				delete(f.asked, t.monitor)
			}
		}
	}
}

// tells tells whether the first piece of a message has all that decide asks. Of a function that is
// to run the number of arguments counts, of a group leader's the whole request, and of a message
// more than a few bytes. A signal or an answer waits for its rest: something else takes its place
// if a BEAM would keep too much of it.
func (f *filter) tells(ctl *dist.Control, piece ei.Raw) bool {
	switch ctl.Op.Base() {
	case dist.OpSend, dist.OpSendSender, dist.OpRegSend, dist.OpAliasSend, dist.OpAltactSigSend:
		return ctl.ToName != "rex" && len(piece) >= enoughToTell && !isIORequest(piece) &&
			ctl.Flags&dist.AltactExit == 0 && !(ctl.ToName == "" && f.answers(ctl, piece))
	}
	return false
}

// enoughToTell is more than the beginning of a request takes, whatever the names of nodes.
const enoughToTell = 8 << 10

// decide asks the rules.
func (f *filter) decide(ctl *dist.Control, payload ei.Raw) (verdict, error) {
	if err := f.checkNodes(ctl); err != nil {
		return verdict{}, err
	}
	op := ctl.Op.Base()
	switch {
	case op == dist.OpAltactSigSend && ctl.Flags&dist.AltactExit != 0:
		op = dist.OpPayloadExit2
	case op == dist.OpAltactSigSend:
		op = dist.OpSendSender
	}
	if (op == dist.OpMonitorP || op == dist.OpDemonitorP) && ctl.ToName == "net_kernel" { // which ends with its node only
		return verdict{stops: true, d: Request{Peer: f.outer, Target: "net_kernel"}.always(true, aPing)}, nil
	}
	if f.isOldForm(op) {
		return f.decided(ctl, payload, Request{Peer: f.outer, Op: MayExit, Target: target(ctl)}.always(false, oldForm))
	}
	switch op {
	case dist.OpSend, dist.OpSendSender, dist.OpRegSend, dist.OpAliasSend:
		d := f.message(ctl, payload)
		if d.Reason == aPing {
			return f.pong(payload, d)
		}
		return f.decided(ctl, payload, d)
	case dist.OpMonitorP:
		if ctl.ToName == "rex" { // who calls functions watches it
			return verdict{}, nil
		}
		return f.decided(ctl, payload, f.monitor(ctl))
	case dist.OpLink:
		return f.decided(ctl, payload, f.process(MayLink, ctl))
	case dist.OpExit2, dist.OpPayloadExit2:
		return f.decided(ctl, payload, f.process(MayExit, ctl))
	case dist.OpGroupLeader:
		return f.decided(ctl, payload, f.process(MayLead, ctl))
	case dist.OpSpawnRequest:
		return f.decided(ctl, payload, f.spawn(ctl, ei.NewCursor(payload)))
	case dist.OpDemonitorP, dist.OpMonitorPExit, dist.OpPayloadMonitorPExit, dist.OpSpawnReply, dist.OpExit, dist.OpPayloadExit,
		dist.OpUnlink, dist.OpUnlinkID, dist.OpUnlinkIDAck:
		return f.signal(ctl)
	}
	return verdict{}, fmt.Errorf("%w: %v", errStrange, ctl.Op)
}

// isOldForm tells whether nodes with these flags send something else: a reason as payload, which is
// read only if somebody wants it, and unlinks that are acknowledged.
func (f *filter) isOldForm(op dist.Op) bool {
	switch op {
	case dist.OpExit, dist.OpExit2, dist.OpMonitorPExit:
		return f.flags.Has(dist.FlagExitPayload)
	case dist.OpUnlink:
		return f.flags.Has(dist.FlagUnlinkID)
	}
	return false
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
	d := f.process(MayRequest, ctl)
	if !d.Allowed {
		d = f.process(MaySend, ctl)
	}
	if !d.Allowed {
		d.Op = MaySend | MayRequest
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

// process decides about a process, which goes by its name, or by its pid and Talked.
func (f *filter) process(op Op, ctl *dist.Control) Decision {
	d := f.g.table().decide(Request{Peer: f.outer, Op: op, Target: target(ctl)})
	if !d.Allowed && ctl.ToName == "" {
		f.mu.Lock()
		talked := f.talked[ctl.To]
		f.mu.Unlock()
		if talked {
			if other := f.g.table().decide(Request{Peer: f.outer, Op: op, Target: Talked}); other.Allowed {
				return other
			}
		}
	}
	return d
}

// message decides about a message.
func (f *filter) message(ctl *dist.Control, payload ei.Raw) Decision {
	r := Request{Peer: f.outer, Op: MaySend, Target: target(ctl)}
	if ctl.ToName == "" && f.answers(ctl, payload) {
		return r.always(true, anAnswer)
	}
	c := ei.NewCursor(payload)
	kind := f.shape(c)
	switch {
	case ctl.ToName == "net_kernel" && kind == shapePing:
		return r.always(true, aPing)
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
		d := f.process(MayRequest, ctl)
		if d.Allowed || d.Rule >= 0 {
			return d
		}
		if other := f.process(MaySend, ctl); other.Allowed || other.Rule >= 0 {
			return other
		}
		return d
	}
	return f.process(MaySend, ctl)
}
