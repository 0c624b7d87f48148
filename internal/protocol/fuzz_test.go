package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// seeds gives each fuzz target its start: every vector of the tables, and what
// the tables call malformed. They are also committed as files, which -update
// writes anew.
func seeds(t testing.TB) map[string]map[string][]byte {
	all := map[string]map[string][]byte{}
	add := func(target, name string, b []byte) {
		if all[target] == nil {
			all[target] = map[string][]byte{}
		}
		all[target][strings.NewReplacer(" ", "-", ",", "").Replace(name)] = b
	}
	for target, list := range conversations(t) {
		for name, packets := range list {
			add(target, name, packets)
		}
	}
	for name, v := range messageVectors {
		target := map[string]string{
			"protocol.Name": "FuzzName", "protocol.StatusMessage": "FuzzStatus", "protocol.Challenge": "FuzzChallenge",
			"protocol.Complement": "FuzzComplement", "protocol.Reply": "FuzzReply", "[16]uint8": "FuzzAck",
		}[fmt.Sprintf("%T", v.want)]
		add(target, name, unhex(t, v.hex))
	}
	for _, v := range controlVectors(t) {
		b := unhex(t, v.hex)
		add("FuzzControl", v.name, b)
		frame := append([]byte{passThrough, ei.VersionMagic}, b...)
		if v.ctl.Op.HasPayload() {
			frame = append(frame, ei.VersionMagic, byte(ei.TagNilExt))
		}
		add("FuzzFrame", v.name, frame)
	}
	add("FuzzControl", "unknown", unhex(t, "6803 6163 7700 6a"))
	add("FuzzFrame", "header", unhex(t, "83 44 01 00 00 6801 6105"))
	add("FuzzFrame", "first fragment", unhex(t, "83 45 0000000000000001 0000000000000002 00 6801 6105"))
	add("FuzzFrame", "next fragment", unhex(t, "83 46 0000000000000001 0000000000000001 00"))
	add("FuzzFrame", "tick", nil)
	readerSeeds(t, add)
	return all
}

// TestFuzzSeedsAreThoseOfTables compares the committed seeds with the tables.
func TestFuzzSeedsAreThoseOfTables(t *testing.T) {
	for target, list := range seeds(t) {
		dir := filepath.Join("testdata", "fuzz", target)
		for name, b := range list {
			path := filepath.Join(dir, name)
			want := fmt.Appendf(nil, "go test fuzz v1\n[]byte(%q)\n", b)
			if *update {
				require.NoError(t, os.MkdirAll(dir, 0o755))
				require.NoError(t, os.WriteFile(path, want, 0o644))
			}
			got, err := os.ReadFile(path)
			require.NoError(t, err, "write the seeds with -run TestFuzzSeedsAreThoseOfTables -update")
			require.Equal(t, string(want), string(got))
		}
	}
}

// fuzzMessage demands of a parser that what it accepts can be written, and
// reads as the same again; exact: as the same bytes.
func fuzzMessage(f *testing.F, kind any, exact bool) {
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := parseAs(p, kind)
		if err != nil {
			require.True(t, errors.Is(err, dist.ErrMalformed) || errors.Is(err, dist.ErrInvalidName), "%v", err)
			return
		}
		b, err := appendAs(nil, m)
		require.NoError(t, err)
		require.True(t, bytes.HasPrefix(p, b), "%x written, of %x read", b, p)
		if exact {
			require.Equal(t, p, b)
		}
		again, err := parseAs(b, kind)
		require.NoError(t, err)
		require.Equal(t, m, again)
	})
}

func FuzzName(f *testing.F)       { fuzzMessage(f, Name{}, false) }
func FuzzStatus(f *testing.F)     { fuzzMessage(f, StatusMessage{}, false) }
func FuzzChallenge(f *testing.F)  { fuzzMessage(f, Challenge{}, false) }
func FuzzComplement(f *testing.F) { fuzzMessage(f, Complement{}, true) }
func FuzzReply(f *testing.F)      { fuzzMessage(f, Reply{}, true) }
func FuzzAck(f *testing.F)        { fuzzMessage(f, [16]byte{}, true) }

// requireRoundTrip writes what was parsed and reads it again.
func requireRoundTrip(t *testing.T, ctl *dist.Control) {
	b, err := AppendControl(nil, ctl)
	if err != nil {
		// A peer may send identifiers of a node without a name; we never do.
		require.ErrorIs(t, err, ErrShape)
		require.ErrorContains(t, err, "not set")
		return
	}
	c := ei.NewCursor(b)
	var again dist.Control
	require.NoError(t, ParseControl(&c, &again))
	require.Equal(t, *ctl, again)
	require.Zero(t, c.Len())
}

func FuzzControl(f *testing.F) {
	atoms := ei.NewAtomTable(100)
	f.Fuzz(func(t *testing.T, b []byte) {
		c := ei.NewCursor(b)
		c.Atoms = atoms
		var ctl dist.Control
		err := ParseControl(&c, &ctl)
		if err == nil {
			requireRoundTrip(t, &ctl)
			return
		}
		require.Zero(t, c.Offset())
		var ce *dist.ControlError
		require.ErrorAs(t, err, &ce)
		require.GreaterOrEqual(t, ce.Offset, 0)
		require.LessOrEqual(t, ce.Offset, len(b))
		require.NotEmpty(t, err.Error())
		if errors.Is(err, dist.ErrUnknownOp) {
			require.NotEmpty(t, ce.Raw)
			require.True(t, bytes.HasPrefix(b, ce.Raw))
		}
	})
}

func FuzzFrame(f *testing.F) {
	f.Fuzz(func(t *testing.T, frame []byte) {
		var ctl dist.Control
		a, err := NewReader(flagsRecorded, Limits{}, nil).ReadFrame(frame, &ctl)
		switch {
		case err != nil:
			var fe *dist.FrameError
			var ce *dist.ControlError
			require.True(t, errors.As(err, &fe) || errors.As(err, &ce), "%T", err)
			if ce != nil {
				require.LessOrEqual(t, ce.Offset, len(frame))
			}
		case a.Kind == KindTick:
			require.Empty(t, frame)
		default:
			require.Equal(t, KindPassThrough, a.Kind)
			require.Equal(t, ctl.Op.HasPayload(), len(a.Payload) > 0)
			requireRoundTrip(t, &ctl)
		}
	})
}
