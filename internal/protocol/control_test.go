package protocol

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// The identifiers of the vectors, and their bytes by hand: NEW_PID_EXT,
// NEWER_REFERENCE_EXT and SMALL_ATOM_UTF8_EXT.
var (
	pidA = ei.Pid{Node: "a@h", ID: 42, Serial: 1, Creation: 5}
	pidB = ei.Pid{Node: "b@h", ID: 7, Creation: 9}
	ref3 = ei.Ref{Node: "b@h", Creation: 9, Len: 3, ID: [5]uint32{1, 2, 3}}
	ref5 = ei.Ref{Node: "b@h", Creation: 9, Len: 5, ID: [5]uint32{1, 2, 3, 4, 5}}
)

const (
	hexA     = "58 7703614068 0000002a 00000001 00000005 "
	hexB     = "58 7703624068 00000007 00000000 00000009 "
	hexRef3  = "5a 0003 7703624068 00000009 00000001 00000002 00000003 "
	hexRef5  = "5a 0005 7703624068 00000009 00000001 00000002 00000003 00000004 00000005 "
	hexNone  = "7700 "             // ''
	hexName  = "7704 70656572 "    // peer
	hexKill  = "7704 6b696c6c "    // kill, as a reason
	hexToken = "6802 6101 7701 74" // {1, t}, as a token
	hexMFA   = "6803 77016d 770166 6102 "
	hexOpts  = "6c00000001 77076d6f6e69746f72 6a " // [monitor]
)

func raw(t testing.TB, text string) ei.Raw { return ei.Raw(unhex(t, text)) }

// A controlVector is one control message as a value and as bytes.
type controlVector struct {
	name string
	hex  string
	ctl  dist.Control
}

func controlVectors(t testing.TB) []controlVector {
	kill, token, opts := raw(t, hexKill), raw(t, hexToken), raw(t, hexOpts)
	return []controlVector{
		{"LINK", "6803 6101" + hexA + hexB, dist.Control{Op: dist.OpLink, From: pidA, To: pidB}},
		{"SEND", "6803 6102" + hexNone + hexB, dist.Control{Op: dist.OpSend, To: pidB}},
		{"EXIT", "6804 6103" + hexA + hexB + hexKill, dist.Control{Op: dist.OpExit, From: pidA, To: pidB, Reason: kill}},
		{"UNLINK", "6803 6104" + hexA + hexB, dist.Control{Op: dist.OpUnlink, From: pidA, To: pidB}},
		{"NODE_LINK", "6801 6105", dist.Control{Op: dist.OpNodeLink}},
		{"REG_SEND", "6804 6106" + hexA + hexNone + hexName, dist.Control{Op: dist.OpRegSend, From: pidA, ToName: "peer"}},
		{"GROUP_LEADER", "6803 6107" + hexA + hexB, dist.Control{Op: dist.OpGroupLeader, From: pidA, To: pidB}},
		{"EXIT2", "6804 6108" + hexA + hexB + hexKill, dist.Control{Op: dist.OpExit2, From: pidA, To: pidB, Reason: kill}},
		{"SEND_TT", "6804 610c" + hexNone + hexB + hexToken, dist.Control{Op: dist.OpSend.Traced(), To: pidB, Token: token}},
		{"EXIT_TT", "6805 610d" + hexA + hexB + hexToken + hexKill,
			dist.Control{Op: dist.OpExit.Traced(), From: pidA, To: pidB, Token: token, Reason: kill}},
		{"REG_SEND_TT", "6805 6110" + hexA + hexNone + hexName + hexToken,
			dist.Control{Op: dist.OpRegSend.Traced(), From: pidA, ToName: "peer", Token: token}},
		{"EXIT2_TT", "6805 6112" + hexA + hexB + hexToken + hexKill,
			dist.Control{Op: dist.OpExit2.Traced(), From: pidA, To: pidB, Token: token, Reason: kill}},
		{"MONITOR_P", "6804 6113" + hexA + hexB + hexRef3, dist.Control{Op: dist.OpMonitorP, From: pidA, To: pidB, Ref: ref3}},
		{"MONITOR_P, name", "6804 6113" + hexA + hexName + hexRef3, dist.Control{Op: dist.OpMonitorP, From: pidA, ToName: "peer", Ref: ref3}},
		{"MONITOR_P, empty name", "6804 6113" + hexA + hexNone + hexRef3, dist.Control{Op: dist.OpMonitorP, From: pidA, Ref: ref3}},
		{"DEMONITOR_P", "6804 6114" + hexA + hexB + hexRef3, dist.Control{Op: dist.OpDemonitorP, From: pidA, To: pidB, Ref: ref3}},
		{"DEMONITOR_P, name", "6804 6114" + hexA + hexName + hexRef3, dist.Control{Op: dist.OpDemonitorP, From: pidA, ToName: "peer", Ref: ref3}},
		{"MONITOR_P_EXIT", "6805 6115" + hexA + hexB + hexRef3 + hexKill,
			dist.Control{Op: dist.OpMonitorPExit, From: pidA, To: pidB, Ref: ref3, Reason: kill}},
		{"MONITOR_P_EXIT, name", "6805 6115" + hexName + hexB + hexRef3 + hexKill,
			dist.Control{Op: dist.OpMonitorPExit, FromName: "peer", To: pidB, Ref: ref3, Reason: kill}},
		{"SEND_SENDER", "6803 6116" + hexA + hexB, dist.Control{Op: dist.OpSendSender, From: pidA, To: pidB}},
		{"SEND_SENDER_TT", "6804 6117" + hexA + hexB + hexToken,
			dist.Control{Op: dist.OpSendSender.Traced(), From: pidA, To: pidB, Token: token}},
		{"PAYLOAD_EXIT", "6803 6118" + hexA + hexB, dist.Control{Op: dist.OpPayloadExit, From: pidA, To: pidB}},
		{"PAYLOAD_EXIT_TT", "6804 6119" + hexA + hexB + hexToken,
			dist.Control{Op: dist.OpPayloadExit.Traced(), From: pidA, To: pidB, Token: token}},
		{"PAYLOAD_EXIT2", "6803 611a" + hexA + hexB, dist.Control{Op: dist.OpPayloadExit2, From: pidA, To: pidB}},
		{"PAYLOAD_EXIT2_TT", "6804 611b" + hexA + hexB + hexToken,
			dist.Control{Op: dist.OpPayloadExit2.Traced(), From: pidA, To: pidB, Token: token}},
		{"PAYLOAD_MONITOR_P_EXIT", "6804 611c" + hexA + hexB + hexRef3,
			dist.Control{Op: dist.OpPayloadMonitorPExit, From: pidA, To: pidB, Ref: ref3}},
		{"PAYLOAD_MONITOR_P_EXIT, name", "6804 611c" + hexName + hexB + hexRef3,
			dist.Control{Op: dist.OpPayloadMonitorPExit, FromName: "peer", To: pidB, Ref: ref3}},
		{
			"SPAWN_REQUEST", "6806 611d" + hexRef3 + hexA + hexB + hexMFA + hexOpts,
			dist.Control{Op: dist.OpSpawnRequest, Ref: ref3, From: pidA, GroupLeader: pidB, Module: "m", Function: "f", Arity: 2, Options: opts},
		},
		{
			"SPAWN_REQUEST, no options", "6806 611d" + hexRef5 + hexA + hexB + hexMFA + "6a",
			dist.Control{Op: dist.OpSpawnRequest, Ref: ref5, From: pidA, GroupLeader: pidB,
				Module: "m", Function: "f", Arity: 2, Options: ei.Raw{0x6a}},
		},
		{
			"SPAWN_REQUEST_TT", "6807 611e" + hexRef3 + hexA + hexB + hexMFA + hexOpts + hexToken,
			dist.Control{Op: dist.OpSpawnRequest.Traced(), Ref: ref3, From: pidA, GroupLeader: pidB,
				Module: "m", Function: "f", Arity: 2, Options: opts,
				Token: token},
		},
		{
			"SPAWN_REPLY", "6805 611f" + hexRef3 + hexB + "6103" + hexA,
			dist.Control{Op: dist.OpSpawnReply, Ref: ref3, To: pidB, Flags: dist.SpawnLinked | dist.SpawnMonitored, Result: raw(t, hexA)},
		},
		{
			"SPAWN_REPLY, refused", "6805 611f" + hexRef3 + hexB + "6100" + "7706 6e6f70726f63",
			dist.Control{Op: dist.OpSpawnReply, Ref: ref3, To: pidB, Result: raw(t, "7706 6e6f70726f63")},
		},
		{
			"SPAWN_REPLY_TT", "6806 6120" + hexRef3 + hexB + "6102" + hexA + hexToken,
			dist.Control{Op: dist.OpSpawnReply.Traced(), Ref: ref3, To: pidB, Flags: dist.SpawnMonitored, Result: raw(t, hexA), Token: token},
		},
		{"ALIAS_SEND", "6803 6121" + hexA + hexRef3, dist.Control{Op: dist.OpAliasSend, From: pidA, Ref: ref3}},
		{"ALIAS_SEND_TT", "6804 6122" + hexA + hexRef5 + hexToken,
			dist.Control{Op: dist.OpAliasSend.Traced(), From: pidA, Ref: ref5, Token: token}},
		{"UNLINK_ID", "6804 6123 6101" + hexA + hexB, dist.Control{Op: dist.OpUnlinkID, ID: 1, From: pidA, To: pidB}},
		{"UNLINK_ID, largest", "6804 6123 6e0800ffffffffffffffff" + hexA + hexB,
			dist.Control{Op: dist.OpUnlinkID, ID: 1<<64 - 1, From: pidA, To: pidB}},
		{"UNLINK_ID_ACK", "6804 6124 62000003e8" + hexA + hexB, dist.Control{Op: dist.OpUnlinkIDAck, ID: 1000, From: pidA, To: pidB}},
		{"ALTACT_SIG_SEND", "6804 6125 6101" + hexA + hexB, dist.Control{Op: dist.OpAltactSigSend, Flags: dist.AltactPrio, From: pidA, To: pidB}},
		{"ALTACT_SIG_SEND, alias", "6804 6125 6105" + hexA + hexRef3,
			dist.Control{Op: dist.OpAltactSigSend, Flags: dist.AltactPrio | dist.AltactAlias, From: pidA, Ref: ref3}},
		{"ALTACT_SIG_SEND, name", "6804 6125 6109" + hexA + hexName,
			dist.Control{Op: dist.OpAltactSigSend, Flags: dist.AltactPrio | dist.AltactName, From: pidA, ToName: "peer"}},
		{
			"ALTACT_SIG_SEND, exit with token", "6805 6125 6117" + hexA + hexRef3 + hexToken,
			dist.Control{Op: dist.OpAltactSigSend, Flags: dist.AltactPrio | dist.AltactToken | dist.AltactAlias | dist.AltactExit,
				From: pidA, Ref: ref3, Token: token},
		},
	}
}

func TestControlVectors(t *testing.T) {
	covered := map[dist.Op]bool{}
	for _, v := range controlVectors(t) {
		covered[v.ctl.Op] = true
		t.Run(v.name, func(t *testing.T) {
			require.True(t, strings.HasPrefix(v.name, v.ctl.Op.String()))
			want := unhex(t, v.hex)
			b, err := AppendControl([]byte("before"), &v.ctl)
			require.NoError(t, err)
			require.Equal(t, hex.EncodeToString(want), hex.EncodeToString(b[len("before"):]))

			c := ei.NewCursor(append(want[:len(want):len(want)], "behind"...))
			// must all be forgotten
			got := dist.Control{Op: 99, Token: ei.Raw("old"), FromName: "old", ToName: "old", Flags: 99}
			require.NoError(t, ParseControl(&c, &got))
			require.Equal(t, v.ctl, got)
			require.Equal(t, len("behind"), c.Len())

			for n := range len(want) {
				c := ei.NewCursor(want[:n])
				err := ParseControl(&c, &got)
				var ce *dist.ControlError
				require.ErrorAs(t, err, &ce, "the first %d bytes", n)
				require.LessOrEqual(t, ce.Offset, n)
				require.Zero(t, c.Offset(), "the cursor moved")
			}
		})
	}
	for i := range 256 {
		op := dist.Op(i)
		require.Equal(t, covered[op], op.Known(), "%v", op)
		fields, _ := layoutOf(op)
		require.Equal(t, op.Known() && op != dist.OpNodeLink, len(fields) > 0, "%v", op) // that one has none
		require.True(t, i >= len(layouts) || op.Known() || layouts[i] == nil, "%v", op)
	}
}

// TestControlOldForms reads what older nodes and libraries write: other tags of
// atoms and pids, and a cookie in the unused place.
func TestControlOldForms(t *testing.T) {
	const oldPid = "67 640003 614068 0000002a 00000001 01" // PID_EXT, ATOM_EXT
	tests := map[string]struct {
		hex  string
		want dist.Control
	}{
		"SEND with a cookie": {"6803 6102 640006 736563726574" + hexB, dist.Control{Op: dist.OpSend, To: pidB}},
		"LINK with PID_EXT": {"6803 6101" + oldPid + hexB,
			dist.Control{Op: dist.OpLink, From: ei.Pid{Node: "a@h", ID: 42, Serial: 1, Creation: 1},
				To: pidB}},
		"REG_SEND, ATOM_EXT": {"6804 6106" + hexA + "640000" + "640004 70656572", dist.Control{Op: dist.OpRegSend, From: pidA, ToName: "peer"}},
		"MONITOR_P, SMALL_ATOM_EXT": {
			"6804 6113" + hexA + "7304 70656572" + hexRef3, dist.Control{Op: dist.OpMonitorP, From: pidA, ToName: "peer", Ref: ref3},
		},
		"LINK in a LARGE_TUPLE, op as INTEGER": {"69 00000003 6200000001" + hexA + hexB, dist.Control{Op: dist.OpLink, From: pidA, To: pidB}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := ei.NewCursor(unhex(t, tt.hex))
			var got dist.Control
			require.NoError(t, ParseControl(&c, &got))
			require.Equal(t, tt.want, got)
		})
	}
}

func TestControlErrors(t *testing.T) {
	tests := map[string]struct {
		hex    string
		err    error
		op     dist.Op
		offset int
		text   string
	}{
		"nothing":               {"", ei.ErrTruncated, 0, 0, "control message"},
		"no tuple":              {"6101", ei.ErrType, 0, 0, ""},
		"an empty tuple":        {"6800", ErrShape, 0, 2, "empty tuple"},
		"op is no number":       {"6801 7700", ei.ErrType, 0, 2, ""},
		"op is negative":        {"6801 62ffffffff", ei.ErrRange, 0, 2, ""},
		"too few elements":      {"6802 6101" + hexA, ErrShape, dist.OpLink, 4, "a tuple of 2 elements, not 3"},
		"too many elements":     {"6804 6101" + hexA + hexB + "6a", ErrShape, dist.OpLink, 4, "a tuple of 4 elements, not 3"},
		"To is a number":        {"6803 6102" + hexNone + "6107", ei.ErrType, dist.OpSend, 6, "SEND, To, offset 6"},
		"To is a name":          {"6803 6102" + hexNone + hexName, ei.ErrType, dist.OpSend, 6, "To"},
		"ToName is a pid":       {"6804 6106" + hexA + hexNone + hexB, ei.ErrType, dist.OpRegSend, 24, "ToName"},
		"ToProc is a reference": {"6804 6113" + hexA + hexRef3 + hexRef3, ei.ErrType, dist.OpMonitorP, 22, "To"},
		"Ref is a pid":          {"6804 6113" + hexA + hexB + hexB, ei.ErrType, dist.OpMonitorP, 40, "Ref"},
		"an id of 0":            {"6804 6123 6100" + hexA + hexB, ErrShape, dist.OpUnlinkID, 4, "an id of 0"},
		"an id beyond 64 bits":  {"6804 6123 6e0900ffffffffffffffffff" + hexA + hexB, ei.ErrRange, dist.OpUnlinkID, 4, "ID"},
		"a negative id":         {"6804 6123 62ffffffff" + hexA + hexB, ei.ErrRange, dist.OpUnlinkID, 4, "ID"},
		"two, not M F A": {"6806 611d" + hexRef3 + hexA + hexB + "6802 77016d 770166" + hexOpts,
			ErrShape, dist.OpSpawnRequest, 64, "not 3"},
		"an arity of 2^64": {"6806 611d" + hexRef3 + hexA + hexB + "6803 77016d 770166 6e0900000000000000000001" + hexOpts, ei.ErrRange,
			dist.OpSpawnRequest, 72, ""},
		"a module that is none": {"6806 611d" + hexRef3 + hexA + hexB + "6803 6101 770166 6102" + hexOpts, ei.ErrType, dist.OpSpawnRequest, 66,
			"Module"},
		"a function that is none": {"6806 611d" + hexRef3 + hexA + hexB + "6803 77016d 6102 6a" + hexOpts, ei.ErrType, dist.OpSpawnRequest, 69,
			"Module"},
		"an arity that is none": {"6806 611d" + hexRef3 + hexA + hexB + "6803 77016d 770166 6a" + hexOpts, ei.ErrType, dist.OpSpawnRequest, 72,
			"Module"},
		"the result is a list": {"6805 611f" + hexRef3 + hexB + "6103 6a", ErrShape, dist.OpSpawnReply, 48, "Result"},
		"alias and name at once": {
			"6804 6125 610c" + hexA + hexName, ErrShape, dist.OpAltactSigSend, 24, "two kinds of receiver",
		},
		"a token without its flag": {"6805 6125 6101" + hexA + hexB + hexToken, ErrShape, dist.OpAltactSigSend, 42, "flags 0x1"},
		"a flag without its token": {"6804 6125 6103" + hexA + hexB, ErrShape, dist.OpAltactSigSend, 42, "flags 0x3"},
		"a truncated token":        {"6804 610c" + hexNone + hexB + "6802 6101", ei.ErrTruncated, dist.OpSend.Traced(), 24, "Token"},
		"half of an unknown one":   {"6803 6163" + hexA, ei.ErrTruncated, 99, 0, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := ei.NewCursor(unhex(t, tt.hex))
			var ctl dist.Control
			err := ParseControl(&c, &ctl)
			require.ErrorIs(t, err, tt.err)
			require.NotErrorIs(t, err, dist.ErrUnknownOp)
			var ce *dist.ControlError
			require.ErrorAs(t, err, &ce)
			require.Equal(t, tt.op, ce.Op)
			require.Equal(t, tt.offset, ce.Offset, "%v", err)
			require.ErrorContains(t, err, tt.text)
			require.Zero(t, c.Offset(), "the cursor moved")
		})
	}
}

// The arity of a SPAWN_REQUEST is an integer that nodes ignore (measured: OTP 25, 27, 29).
func TestArityOfAnySize(t *testing.T) {
	for number, want := range map[string]uint8{"6102": 2, "61ff": 255, "6200000100": 0, "62ffffffff": 0, "6e07000000000000ff07": 0} {
		c := ei.NewCursor(unhex(t, "6806 611d"+hexRef3+hexA+hexB+"6803 77016d 770166"+number+hexOpts))
		var ctl dist.Control
		require.NoError(t, ParseControl(&c, &ctl), number)
		require.Equal(t, want, ctl.Arity, number)
		require.Zero(t, c.Len())
	}
}

func TestControlUnknownOp(t *testing.T) {
	for op, number := range map[dist.Op]string{0: "6100", 9: "6109", 38: "6126", 255: "61ff"} {
		tuple := unhex(t, "6803"+number+hexName+"6101")
		c := ei.NewCursor(append(tuple[:len(tuple):len(tuple)], 131, 106))
		var ctl dist.Control
		err := ParseControl(&c, &ctl)
		require.ErrorIs(t, err, dist.ErrUnknownOp)
		var ce *dist.ControlError
		require.ErrorAs(t, err, &ce)
		require.Equal(t, op, ce.Op)
		require.Equal(t, ei.Raw(tuple), ce.Raw)
		require.Zero(t, c.Offset())
	}
	c := ei.NewCursor(unhex(t, "6801 6200001000"))
	var ctl dist.Control
	err := ParseControl(&c, &ctl)
	require.ErrorIs(t, err, dist.ErrUnknownOp)
	require.ErrorContains(t, err, "4096")
	_, err = AppendControl(nil, &dist.Control{Op: 99})
	require.ErrorIs(t, err, dist.ErrUnknownOp)
	require.ErrorContains(t, err, "op 99")
}

// If both a name and a pid are set, the name is sent.
func TestAppendControlNameBeforePid(t *testing.T) {
	b, err := AppendControl(nil, &dist.Control{Op: dist.OpMonitorPExit, From: pidA,
		FromName: "peer", To: pidB, Ref: ref3, Reason: raw(t, hexKill)})
	require.NoError(t, err)
	require.Equal(t, unhex(t, "6805 6115"+hexName+hexB+hexRef3+hexKill), b)
}

// TestAppendControlNeedsItsFields leaves out each field of each operation.
func TestAppendControlNeedsItsFields(t *testing.T) {
	forget := map[string]func(*dist.Control){
		"From":        func(c *dist.Control) { c.From = ei.Pid{} },
		"To":          func(c *dist.Control) { c.To = ei.Pid{} },
		"Ref":         func(c *dist.Control) { c.Ref = ei.Ref{} },
		"ID":          func(c *dist.Control) { c.ID = 0 },
		"Reason":      func(c *dist.Control) { c.Reason = nil },
		"Token":       func(c *dist.Control) { c.Token = nil },
		"GroupLeader": func(c *dist.Control) { c.GroupLeader = ei.Pid{} },
		"Options":     func(c *dist.Control) { c.Options = nil },
		"Result":      func(c *dist.Control) { c.Result = nil },
	}
	refused := map[string]int{}
	for _, v := range controlVectors(t) {
		fields, _ := layoutOf(v.ctl.Op)
		for name, f := range forget {
			ctl := v.ctl
			f(&ctl)
			b, err := AppendControl([]byte("b"), &ctl)
			if err == nil {
				continue
			}
			var ce *dist.ControlError
			require.ErrorAs(t, err, &ce)
			require.ErrorIs(t, err, ErrShape)
			require.Contains(t, []string{name, "To"}, ce.Field, "an alias is the To of ALTACT_SIG_SEND")
			require.Equal(t, []byte("b"), b)
			require.NotContains(t, err.Error(), "offset")
			refused[name]++
			require.NotEmpty(t, fields)
		}
	}
	require.Len(t, refused, len(forget), "each field is needed somewhere")
	_, err := AppendControl(nil, &dist.Control{Op: dist.OpLink, From: ei.Pid{Node: "a"}, To: ei.Pid{Node: ei.Atom(strings.Repeat("x", 256))}})
	require.ErrorIs(t, err, ei.ErrAtom)
	for _, f := range []func(*dist.Control, ei.Atom){
		func(c *dist.Control, long ei.Atom) { c.Module = long }, func(c *dist.Control, long ei.Atom) { c.Function = long },
	} {
		ctl := dist.Control{Op: dist.OpSpawnRequest, Ref: ref3, From: pidA, GroupLeader: pidB, Module: "m", Function: "f", Options: ei.Raw{0x6a}}
		f(&ctl, ei.Atom(strings.Repeat("x", 256)))
		_, err = AppendControl(nil, &ctl)
		require.ErrorIs(t, err, ei.ErrAtom)
	}
	_, err = AppendControl(nil, &dist.Control{Op: dist.OpAltactSigSend,
		Flags: dist.AltactAlias | dist.AltactName, From: pidA, Ref: ref3, ToName: "x"})
	require.ErrorIs(t, err, ErrShape)
}

// drawControl makes a message of op with everything that its shape has.
func drawControl(t *rapid.T, op dist.Op) dist.Control {
	atom := rapid.Custom(func(t *rapid.T) ei.Atom {
		return ei.Atom(rapid.StringOfN(rapid.Rune().Filter(func(r rune) bool { return r != 0xFFFD }), 1, 20, -1).Draw(t, "atom"))
	})
	pid := rapid.Custom(func(t *rapid.T) ei.Pid {
		u := rapid.Uint32()
		return ei.Pid{Node: atom.Draw(t, "node"), ID: u.Draw(t, "id"), Serial: u.Draw(t, "serial"), Creation: u.Draw(t, "creation")}
	})
	ref := rapid.Custom(func(t *rapid.T) ei.Ref {
		r := ei.Ref{Node: atom.Draw(t, "node"), Creation: rapid.Uint32().Draw(t, "creation"), Len: uint8(rapid.IntRange(1, 5).Draw(t, "words"))}
		for i := range r.Len {
			r.ID[i] = rapid.Uint32().Draw(t, "word")
		}
		return r
	})
	rawAtom := func(label string) ei.Raw {
		b, err := ei.AppendAtom(nil, atom.Draw(t, label))
		require.NoError(t, err)
		return b
	}
	term := func(label string) ei.Raw {
		b := ei.AppendTupleHeader(nil, 3)
		b = ei.AppendInt(b, rapid.Int64().Draw(t, label))
		b = ei.AppendBinary(b, rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, label))
		return append(b, rawAtom(label)...)
	}
	proc := func(pidTo *ei.Pid, nameTo *ei.Atom) {
		if rapid.Bool().Draw(t, "by name") {
			*nameTo = atom.Draw(t, "name")
		} else {
			*pidTo = pid.Draw(t, "pid")
		}
	}
	ctl := dist.Control{Op: op}
	fields, _ := layoutOf(op)
	for _, f := range fields {
		switch f {
		case fieldFrom:
			ctl.From = pid.Draw(t, "from")
		case fieldFromProc:
			proc(&ctl.From, &ctl.FromName)
		case fieldTo:
			ctl.To = pid.Draw(t, "to")
		case fieldToProc:
			proc(&ctl.To, &ctl.ToName)
		case fieldToName:
			ctl.ToName = atom.Draw(t, "to name")
		case fieldRef:
			ctl.Ref = ref.Draw(t, "ref")
		case fieldID:
			ctl.ID = rapid.Uint64Min(1).Draw(t, "id")
		case fieldFlags:
			ctl.Flags = rapid.Uint64().Draw(t, "flags")
			if op == dist.OpAltactSigSend && ctl.Flags&dist.AltactAlias != 0 {
				ctl.Flags &^= dist.AltactName
			}
		case fieldReason:
			ctl.Reason = term("reason")
		case fieldToken:
			if op != op.Base() || op == dist.OpAltactSigSend && ctl.Flags&dist.AltactToken != 0 {
				ctl.Token = term("token")
			}
		case fieldLeader:
			ctl.GroupLeader = pid.Draw(t, "leader")
		case fieldMFA:
			ctl.Module, ctl.Function = atom.Draw(t, "module"), atom.Draw(t, "function")
			ctl.Arity = rapid.Byte().Draw(t, "arity")
		case fieldOptions:
			ctl.Options = ei.AppendNil(append(ei.AppendListHeader(nil, 1), term("option")...))
		case fieldResult:
			ctl.Result = rawAtom("result")
		case fieldAltact:
			switch {
			case ctl.Flags&dist.AltactAlias != 0:
				ctl.Ref = ref.Draw(t, "alias")
			case ctl.Flags&dist.AltactName != 0:
				ctl.ToName = atom.Draw(t, "name")
			default:
				ctl.To = pid.Draw(t, "to")
			}
		}
	}
	return ctl
}

func TestControlRoundTrip(t *testing.T) {
	for op := range dist.Op(len(layouts)) {
		if !op.Known() {
			continue
		}
		t.Run(op.String(), func(t *testing.T) {
			atoms := ei.NewAtomTable(10)
			rapid.Check(t, func(t *rapid.T) {
				want := drawControl(t, op)
				b := controlOf(t, &want)
				c := ei.NewCursor(b)
				c.Atoms = atoms
				var got dist.Control
				require.NoError(t, ParseControl(&c, &got))
				require.Equal(t, want, got)
				require.Zero(t, c.Len())
				again := controlOf(t, &got)
				require.Equal(t, b, again)
			})
		})
	}
}

// TestControlAllocatesNothing covers every operation, once its atoms are known.
func TestControlAllocatesNothing(t *testing.T) {
	atoms := ei.NewAtomTable(0)
	for _, v := range controlVectors(t) {
		b := unhex(t, v.hex)
		var ctl dist.Control
		require.Zero(t, testing.AllocsPerRun(100, func() {
			c := ei.NewCursor(b)
			c.Atoms = atoms
			if err := ParseControl(&c, &ctl); err != nil {
				t.Fatal(err)
			}
		}), "parsing %s", v.name)
		buf := make([]byte, 0, 1024)
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if _, err := AppendControl(buf, &ctl); err != nil {
				t.Fatal(err)
			}
		}), "appending %s", v.name)
	}
}
