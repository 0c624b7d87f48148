package gate

import (
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
)

// refuse makes the answer that a refused message gets.
func (f *filter) refuse(ctl *dist.Control, payload ei.Raw, d Decision) (verdict, error) {
	v := verdict{stops: true, d: d}
	var answer *dist.Control
	reason := ei.Atom("noproc")
	switch ctl.Op.Base() {
	case dist.OpSend, dist.OpSendSender, dist.OpRegSend, dist.OpAliasSend, dist.OpAltactSigSend:
		if isIORequest(payload) {
			var err error
			v.answer, err = f.refuseIO(ei.NewCursor(payload))
			return v, err
		}
		if ref, ok := f.asks(payload); ok {
			reason = eacces
			answer = &dist.Control{Op: dist.OpMonitorPExit, From: ctl.To, FromName: ctl.ToName, To: ctl.From, Ref: ref}
			if answer.From == (ei.Pid{}) && answer.FromName == "" { // it was for an alias
				answer = nil
			}
		}
	case dist.OpMonitorP:
		answer = &dist.Control{Op: dist.OpMonitorPExit, From: ctl.To, FromName: ctl.ToName, To: ctl.From, Ref: ctl.Ref}
	case dist.OpLink:
		answer = &dist.Control{Op: dist.OpExit, From: ctl.To, To: ctl.From}
	case dist.OpSpawnRequest:
		result, err := ei.AppendAtom(nil, eacces)
		if err != nil {
			return v, err
		}
		answer = &dist.Control{Op: dist.OpSpawnReply, Ref: ctl.Ref, To: ctl.From, Result: result}
	}
	if answer == nil || answer.To == (ei.Pid{}) {
		return v, nil
	}
	var err error
	if answer.Op == dist.OpSpawnReply {
		v.answer, err = f.frame(answer, nil)
	} else {
		v.answer, err = f.ending(answer, reason)
	}
	return v, err
}

// replace makes what comes in place of a message that a rule allows, and of which a BEAM would keep
// too much: of a signal the same with another reason, of an answer the end of the call. So nobody
// inside waits, or stays linked, because of what the node outside says.
func (f *filter) replace(ctl *dist.Control, payload ei.Raw, v verdict, why error) (verdict, error) {
	d := Request{Peer: f.outer, Op: v.d.Op, Target: target(ctl)}.always(false, why.Error())
	f.g.logRefusal(d)
	isAnswer := v.d.Reason == anAnswer
	if !v.isTie && !isAnswer && f.admitHead(ctl) != nil {
		return f.refuse(ctl, payload, d)
	}
	var b []byte
	var err error
	switch op := ctl.Op.Base(); {
	case op == dist.OpExit, op == dist.OpPayloadExit:
		b, err = f.ending(&dist.Control{Op: dist.OpExit, From: ctl.From, To: ctl.To}, eacces)
	case op == dist.OpExit2, op == dist.OpPayloadExit2:
		b, err = f.ending(&dist.Control{Op: dist.OpExit2, From: ctl.From, To: ctl.To}, eacces)
	case op == dist.OpMonitorPExit, op == dist.OpPayloadMonitorPExit:
		b, err = f.down(ctl, ctl.Ref, v.wait)
	case op == dist.OpSpawnReply:
		var result []byte
		if result, err = ei.AppendAtom(nil, eacces); err == nil {
			b, err = f.frame(&dist.Control{Op: op, Ref: ctl.Ref, To: ctl.To, Result: result}, nil)
		}
	case op == dist.OpAltactSigSend && ctl.Flags&dist.AltactExit != 0:
		exit := *ctl
		plainly(&exit, false)
		var reason []byte
		if reason, err = ei.AppendAtom(nil, eacces); err == nil {
			b, err = f.frame(&exit, reason)
		}
	case isAnswer:
		b, err = f.endCall(ctl, payload)
	default:
		return f.refuse(ctl, payload, d)
	}
	v = verdict{stops: true, d: d}
	if b != nil {
		v.instead = [][]byte{b}
	}
	return v, err
}

const eacces ei.Atom = "eacces"

// endCall ends the call for which an answer would come: by its monitor, or, if it has none, by an
// answer that says as much.
func (f *filter) endCall(ctl *dist.Control, payload ei.Raw) ([]byte, error) {
	t, _ := answerTag(payload)
	f.mu.Lock()
	w, waits := f.Waits[t.monitor]
	delete(f.Waits, t.monitor)
	delete(f.asked, t.monitor)
	f.mu.Unlock()
	if waits {
		return f.down(ctl, t.monitor, w)
	}
	c := ei.NewCursor(payload)
	if n, err := c.Tuple(); err != nil || n != 2 {
		return nil, err
	}
	tag, err := c.Raw()
	if err != nil {
		return nil, err
	}
	short, err := ei.AppendTerm(nil, ei.Tuple{tag, eacces})
	if err != nil || f.admitHead(ctl) != nil || f.admitTerms(short) != nil {
		return nil, err
	}
	answer := *ctl
	plainly(&answer, false)
	return f.frame(&answer, short)
}

// down makes the end of a monitor of the node inside.
func (f *filter) down(ctl *dist.Control, ref ei.Ref, w wait) ([]byte, error) {
	end := &dist.Control{Op: dist.OpMonitorPExit, From: w.Pid, FromName: w.Name, To: w.Who, Ref: ref}
	if w.Pid == (ei.Pid{}) && w.Name == "" { // not known: a monitor from before the gate
		end.From, end.FromName = ctl.From, ctl.FromName
	}
	if w.Who == (ei.Pid{}) {
		end.To = ctl.To
	}
	return f.ending(end, eacces)
}

// ending makes the frame of an EXIT, EXIT2 or MONITOR_P_EXIT with a reason.
func (f *filter) ending(ctl *dist.Control, reason ei.Atom) ([]byte, error) {
	raw, err := ei.AppendAtom(nil, reason)
	if err != nil {
		return nil, err
	}
	if !f.flags.Has(dist.FlagExitPayload) {
		ctl.Reason = raw
		return f.frame(ctl, nil)
	}
	switch ctl.Op {
	case dist.OpExit:
		ctl.Op = dist.OpPayloadExit
	case dist.OpExit2:
		ctl.Op = dist.OpPayloadExit2
	default:
		ctl.Op = dist.OpPayloadMonitorPExit
	}
	return f.frame(ctl, raw)
}

func (f *filter) frame(ctl *dist.Control, payload []byte) ([]byte, error) {
	b, err := protocol.AppendFrameHead(nil, f.flags, ctl, len(payload))
	return append(b, payload...), err
}

// refuseIO answers {io_request, From, ReplyAs, _}, for whose answer io:format waits for ever.
func (f *filter) refuseIO(c ei.Cursor) ([]byte, error) {
	_, _ = c.Tuple()
	_ = c.Skip()
	from, err := c.Pid()
	if err != nil || string(from.Node) != f.outer {
		return nil, nil
	}
	as, err := c.Raw()
	if err != nil {
		return nil, nil
	}
	body, err := ei.AppendTerm(nil, ei.Tuple{ei.Atom("io_reply"), as, ei.Tuple{ei.Atom("error"), ei.Atom("request")}})
	if err != nil {
		return nil, err
	}
	return f.frame(&dist.Control{Op: dist.OpSend, To: from}, body)
}

// pong answers a ping in place of net_kernel, which would fill the memory of its node with answers
// for a node that reads none.
func (f *filter) pong(payload ei.Raw, d Decision) (verdict, error) {
	f.g.observe(d)
	v := verdict{stops: true, d: d}
	c := ei.NewCursor(payload) // shape has read it
	_, _ = c.Tuple()
	_ = c.Skip()
	_, _ = c.Tuple()
	to, err := c.Pid()
	if err != nil {
		return v, err
	}
	tag, err := c.Raw()
	if err != nil {
		return v, err
	}
	body, err := ei.AppendTerm(nil, ei.Tuple{tag, ei.Atom("yes")})
	if err == nil {
		v.answer, err = f.frame(&dist.Control{Op: dist.OpSend, To: to}, body)
	}
	return v, err
}
