package nodes

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// Each operation comes in several forms; a receiver sees one.
func TestReceiverSeesOneFormOfEachOperation(t *testing.T) {
	p, c := newWorld(t, "memory").wired()
	why := ei.Raw{119, 5, 'c', 'r', 'a', 's', 'h'}
	token := ei.Raw{119, 1, 't'}
	ref := ei.Ref{Node: "wire@test", Creation: 77, Len: 3, ID: [5]uint32{1, 2, 3}}
	to, from := c.Self(), p.Self
	hello := ei.Atom("hello")
	crash := ei.Atom("crash")
	result := ei.Raw{119, 2, 'o', 'k'}
	for _, tt := range []struct {
		ctl     dist.Control
		payload ei.Term
		want    dist.Op
		reason  bool
	}{
		{dist.Control{Op: dist.OpSend, To: to}, hello, dist.OpSend, false},
		{dist.Control{Op: dist.OpSend.Traced(), To: to, Token: token}, hello, dist.OpSend, false},
		{dist.Control{Op: dist.OpSendSender, From: from, To: to}, hello, dist.OpSend, false},
		{dist.Control{Op: dist.OpSendSender.Traced(), From: from, To: to, Token: token}, hello, dist.OpSend, false},
		{dist.Control{Op: dist.OpRegSend, From: from, ToName: "x"}, hello, dist.OpRegSend, false},
		{dist.Control{Op: dist.OpRegSend.Traced(), From: from, ToName: "x", Token: token}, hello, dist.OpRegSend, false},
		{dist.Control{Op: dist.OpAliasSend, From: from, Ref: ref}, hello, dist.OpAliasSend, false},
		{dist.Control{Op: dist.OpAliasSend.Traced(), From: from, Ref: ref, Token: token}, hello, dist.OpAliasSend, false},
		{dist.Control{Op: dist.OpExit, From: from, To: to, Reason: why}, nil, dist.OpExit, true},
		{dist.Control{Op: dist.OpExit.Traced(), From: from, To: to, Token: token, Reason: why}, nil, dist.OpExit, true},
		{dist.Control{Op: dist.OpPayloadExit, From: from, To: to}, crash, dist.OpExit, true},
		{dist.Control{Op: dist.OpPayloadExit.Traced(), From: from, To: to, Token: token}, crash, dist.OpExit, true},
		{dist.Control{Op: dist.OpExit2, From: from, To: to, Reason: why}, nil, dist.OpExit2, true},
		{dist.Control{Op: dist.OpExit2.Traced(), From: from, To: to, Token: token, Reason: why}, nil, dist.OpExit2, true},
		{dist.Control{Op: dist.OpPayloadExit2, From: from, To: to}, crash, dist.OpExit2, true},
		{dist.Control{Op: dist.OpPayloadExit2.Traced(), From: from, To: to, Token: token}, crash, dist.OpExit2, true},
		{dist.Control{Op: dist.OpMonitorPExit, From: from, To: to, Ref: ref, Reason: why}, nil, dist.OpMonitorPExit, true},
		{dist.Control{Op: dist.OpPayloadMonitorPExit, From: from, To: to, Ref: ref}, crash, dist.OpMonitorPExit, true},
		{dist.Control{Op: dist.OpSpawnReply, To: to, Ref: ref, Result: result}, nil, dist.OpSpawnReply, false},
		{dist.Control{Op: dist.OpSpawnReply.Traced(), To: to, Ref: ref, Result: result, Token: token}, nil, dist.OpSpawnReply, false},
		{dist.Control{Op: dist.OpSpawnRequest.Traced(), Ref: ref, From: from, GroupLeader: from, Module: "m", Function: "f",
			Options: ei.AppendNil(nil), Token: token}, ei.List{}, dist.OpSpawnRequest, false},
	} {
		p.Send(tt.ctl, tt.payload)
		m := receive(t, c)
		require.Equal(t, tt.want, m.Op, tt.ctl.Op)
		if tt.reason {
			require.Equal(t, crash, decode(t, m.Reason), tt.ctl.Op)
			require.Nil(t, m.Payload)
		} else if tt.payload != nil {
			require.Equal(t, tt.payload, content(t, m), tt.ctl.Op)
		}
	}
}

func TestErrorTexts(t *testing.T) {
	pid := ei.Pid{Node: "a@b", ID: 1, Creation: 5}
	for want, err := range map[string]error{
		"connect a@b: EOF":       wrap("connect", "a@b", io.EOF),
		"publish: EOF":           wrap("publish", "", io.EOF),
		"{badrpc,nodedown}":      &RPCError{ei.Atom("nodedown")},
		"process exited: normal": &ExitError{Reason: ei.Atom("normal")},
		fmt.Sprintf("process %v exited: {crash,1}", pid): &ExitError{pid, ei.Tuple{ei.Atom("crash"), ei.Int(1)}},
		"exit: {bad,1}": &Raise{Class: ClassExit, Reason: bad},
	} {
		require.EqualError(t, err, want)
	}
	require.NoError(t, wrap("connect", "a@b", nil))
	noproc := error(&ExitError{Reason: ei.Atom("noproc")})
	require.ErrorIs(t, noproc, ErrNoProc)
	require.NotErrorIs(t, noproc, ErrNoConnection)
	require.ErrorIs(t, &ExitError{Reason: ei.Atom("noconnection")}, ErrNoConnection)
	require.False(t, errors.Is(&ExitError{Reason: bad}, ErrNoProc))
}

// Memory that is given back is used again, and what was decoded from it stays.
func TestReleasedMemoryIsUsedAgain(t *testing.T) {
	w := newWorld(t, "tcp")
	a, b := w.started("alice"), w.started("bob")
	here, there := box(t, a), box(t, b)
	var kept []ei.Term
	for round := range 20 {
		sent := async(func() (int, error) {
			for i := range 50 {
				if err := here.Send(w.ctx(), there.Pid(), fmt.Sprintf("%d-%d-%0*d", round, i, i*37, 0)); err != nil {
					return i, err
				}
			}
			return 0, nil
		})
		for i := range 50 {
			m := receive(t, there)
			v := content(t, m)
			m.Release()
			require.Equal(t, fmt.Sprintf("%d-%d-%0*d", round, i, i*37, 0), string(v.(ei.Binary)))
			kept = append(kept, v)
		}
		require.NoError(t, (<-sent).err)
	}
	for k, v := range kept {
		require.Equal(t, fmt.Sprintf("%d-%d-%0*d", k/50, k%50, k%50*37, 0), string(v.(ei.Binary)))
	}
}
