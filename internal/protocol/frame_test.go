package protocol

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

func TestKindsOfFrames(t *testing.T) {
	const (
		header    = dist.FlagDistHdrAtomCache
		fragments = dist.FlagFragments
	)
	tests := map[string]struct {
		hex   string
		flags dist.Flags
		kind  FrameKind
		err   error
		text  string
	}{
		"tick":                         {"", flagsRecorded, KindTick, nil, ""},
		"pass-through":                 {"70 83 6801 6105", flagsRecorded, KindPassThrough, nil, ""},
		"header, negotiated":           {"83 44 00 6801 6105", header, KindHeader, nil, ""},
		"header and no more":           {"83 44", header, KindHeader, nil, ""},
		"header, for fragments":        {"83 44 00 6801 6105", fragments, KindHeader, nil, ""},
		"header":                       {"83 44 00 6801 6105", flagsRecorded, KindHeader, ErrNotNegotiated, "distribution header frame"},
		"first fragment, negotiated":   {"83 45 00", fragments, KindFirstFragment, nil, ""},
		"first fragment":               {"83 45 00", header, KindFirstFragment, ErrNotNegotiated, "first fragment frame"},
		"next fragment, negotiated":    {"83 46 00", fragments, KindNextFragment, nil, ""},
		"next fragment":                {"83 46 00", header, KindNextFragment, ErrNotNegotiated, "fragment frame"},
		"only the version byte":        {"83", fragments, KindInvalid, dist.ErrFrame, "invalid frame"},
		"a term without pass-through":  {"83 6801 6105", fragments, KindInvalid, dist.ErrFrame, "starts with 8368"},
		"a handshake message":          {"4e 0000", fragments, KindInvalid, dist.ErrFrame, "starts with 4e00"},
		"something of another version": {"84 44", fragments, KindInvalid, dist.ErrFrame, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			frame := unhex(t, tt.hex)
			kind, err := classify(frame, tt.flags)
			require.Equal(t, tt.kind, kind)
			if tt.err == nil {
				require.NoError(t, err)
				return
			}
			_, readErr := NewReader(tt.flags, Limits{}, nil).ReadFrame(frame, new(dist.Control))
			for _, err := range []error{err, readErr} {
				require.ErrorIs(t, err, tt.err)
				require.ErrorContains(t, err, tt.text)
				var fe *dist.FrameError
				require.ErrorAs(t, err, &fe)
				require.Equal(t, tt.kind.String(), cmp.Or(fe.Kind, "invalid"))
			}
		})
	}
	require.Equal(t, "FrameKind(77)", FrameKind(77).String())
}

func TestPassThrough(t *testing.T) {
	link := "6803 6101" + hexA + hexB
	send := "6803 6102" + hexNone + hexB
	tests := map[string]struct {
		hex     string
		payload ei.Raw // nil: none
		err     error
		text    string
	}{
		"LINK":                      {hex: "70 83" + link},
		"SEND":                      {hex: "70 83" + send + "83 6a", payload: ei.Raw{0x6a}},
		"SEND of a broken term":     {hex: "70 83" + send + "83 6c", payload: ei.Raw{0x6c}},
		"nothing behind the p":      {hex: "70", err: dist.ErrFrame, text: "control message"},
		"no version byte":           {hex: "70" + link, err: ei.ErrVersion},
		"LINK with a payload":       {hex: "70 83" + link + "83 6a"},
		"LINK with one byte more":   {hex: "70 83" + link + "6a"},
		"SEND with one byte more":   {hex: "70 83" + send + "83 6a 6a", payload: ei.Raw{0x6a, 0x6a}},
		"SEND without one":          {hex: "70 83" + send, err: dist.ErrFrame, text: "no payload behind SEND"},
		"SEND, payload without 131": {hex: "70 83" + send + "6a 6a", err: dist.ErrFrame, text: "no payload"},
		"SEND, only 131":            {hex: "70 83" + send + "83", err: dist.ErrFrame, text: "no payload"},
		"LINK from a number":        {hex: "70 83 6803 6101 6101" + hexB, err: ei.ErrType, text: "LINK, From, offset 6"},
		"an unknown op":             {hex: "70 83 6801 6163 83 6a", err: dist.ErrUnknownOp, text: "op 99"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var ctl dist.Control
			a, err := NewReader(flagsRecorded, Limits{}, nil).ReadFrame(unhex(t, tt.hex), &ctl)
			require.Equal(t, KindPassThrough, a.Kind)
			if tt.err != nil {
				require.ErrorIs(t, err, tt.err)
				require.ErrorContains(t, err, tt.text)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.payload, a.Payload)
		})
	}
}

func TestAppendFrame(t *testing.T) {
	send, link := dist.Control{Op: dist.OpSend, To: pidB}, dist.Control{Op: dist.OpLink, From: pidA, To: pidB}
	payload := ei.Raw(unhex(t, "6d 00000003 616263"))

	whole, err := AppendFrame([]byte("before"), &send, payload)
	require.NoError(t, err)
	body := unhex(t, "70 83 6803 6102"+hexNone+hexB+"83 6d 00000003 616263")
	require.Equal(t, append(binary.BigEndian.AppendUint32([]byte("before"), uint32(len(body))), body...), whole)

	// The payload is sent after the head, without a copy.
	head, err := AppendFrameHead([]byte("before"), 0, &send, len(payload))
	require.NoError(t, err)
	require.Equal(t, whole, append(head, payload...))

	// The payload is encoded in place.
	head, err = AppendFrameHead([]byte("before"), 0, &send, 0)
	require.NoError(t, err)
	inPlace := ei.AppendBinary(head, []byte("abc"))
	require.NoError(t, FinishFrame(inPlace[len("before"):]))
	require.Equal(t, whole, inPlace)

	whole, err = AppendFrame(nil, &link, nil)
	require.NoError(t, err)
	require.Equal(t, hex.EncodeToString(unhex(t, "0000002a 70 83 6803 6101"+hexA+hexB)), hex.EncodeToString(whole))
	require.Equal(t, []byte{1, 0, 0, 0, 0}, AppendTick([]byte{1}))

	for name, tt := range map[string]struct {
		ctl     dist.Control
		payload ei.Raw
		err     error
	}{
		"SEND without payload": {send, nil, dist.ErrFrame},
		"LINK with payload":    {link, payload, dist.ErrFrame},
		"no receiver":          {dist.Control{Op: dist.OpSend}, payload, ErrShape},
	} {
		b, err := AppendFrame([]byte("before"), &tt.ctl, tt.payload)
		require.ErrorIs(t, err, tt.err, name)
		require.Equal(t, []byte("before"), b)
	}
	tooLong := uint64(math.MaxUint32)
	for _, n := range []int{-1, int(tooLong)} {
		b, err := AppendFrameHead([]byte("before"), 0, &send, n)
		require.ErrorIs(t, err, dist.ErrTooLong)
		require.Equal(t, []byte("before"), b)
	}
	if math.MaxInt > math.MaxUint32 {
		longest := int(tooLong) - (len(head) - len("before") - lengthSize)
		b, err := AppendFrameHead(nil, 0, &send, longest)
		require.NoError(t, err)
		require.Equal(t, uint32(math.MaxUint32), binary.BigEndian.Uint32(b))
		_, err = AppendFrameHead(nil, 0, &send, longest+1)
		require.ErrorIs(t, err, dist.ErrTooLong)
	}
	require.ErrorIs(t, FinishFrame([]byte{0, 0, 0}), dist.ErrFrame)
	tick := []byte{1, 2, 3, 4}
	require.NoError(t, FinishFrame(tick))
	require.Equal(t, AppendTick(nil), tick)
}

func TestFrameRoundTrip(t *testing.T) {
	var ops []dist.Op
	for op := range dist.Op(len(layouts)) {
		if op.Known() {
			ops = append(ops, op)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		want := drawControl(t, rapid.SampledFrom(ops).Draw(t, "op"))
		var payload ei.Raw
		if want.Op.HasPayload() {
			payload = ei.AppendBinary(nil, rapid.SliceOf(rapid.Byte()).Draw(t, "payload"))
		}
		b, err := AppendFrame(nil, &want, payload)
		require.NoError(t, err)
		require.Equal(t, uint32(len(b)-4), binary.BigEndian.Uint32(b))
		var got dist.Control
		a, err := NewReader(flagsRecorded, Limits{}, nil).ReadFrame(b[4:], &got)
		require.NoError(t, err)
		require.Equal(t, KindPassThrough, a.Kind)
		require.Equal(t, want, got)
		require.Equal(t, payload, a.Payload)
	})
}
