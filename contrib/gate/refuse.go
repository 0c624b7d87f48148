package gate

import (
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// refuse makes the answer that a refused message gets.
func (f *filter) refuse(ctl *dist.Control, payload ei.Raw, d Decision) (verdict, error) {
	v := verdict{refused: true, d: d}
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
			reason = "eacces"
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
		result, err := ei.AppendAtom(nil, "eacces")
		if err != nil {
			return v, err
		}
		answer = &dist.Control{Op: dist.OpSpawnReply, Ref: ctl.Ref, To: ctl.From, Result: result}
	}
	if answer == nil || answer.To == (ei.Pid{}) {
		return v, nil
	}
	var body ei.Raw
	if answer.Op != dist.OpSpawnReply {
		raw, err := ei.AppendAtom(nil, reason)
		if err != nil {
			return v, err
		}
		switch {
		case !f.flags.Has(dist.FlagExitPayload):
			answer.Reason = raw
		case answer.Op == dist.OpExit:
			answer.Op, body = dist.OpPayloadExit, raw
		default:
			answer.Op, body = dist.OpPayloadMonitorPExit, raw
		}
	}
	b, err := dist.AppendFrameHead(nil, f.flags, answer, len(body))
	v.answer = append(b, body...)
	return v, err
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
	b, err := dist.AppendFrameHead(nil, f.flags, &dist.Control{Op: dist.OpSend, To: from}, len(body))
	return append(b, body...), err
}
