package protocol

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// benchMessages are messages of many and of few atoms.
func benchMessages(b *testing.B) map[string]ei.Raw {
	payloads := map[string]ei.Raw{}
	add := func(name string, t ei.Term) { payloads[name] = encoded(b, t) }
	atoms := make(ei.Tuple, 20)
	m := make(ei.Map, 20)
	for i := range atoms {
		atoms[i] = ei.Atom(fmt.Sprintf("some_atom_%d", i))
		m[i] = ei.Pair{Key: atoms[i], Value: ei.Binary(fmt.Sprintf("value %025d", i))}
	}
	states := make(ei.Map, 40)
	for i := range states {
		state := ei.Map{{Key: ei.Atom("status"), Value: ei.Atom("active")}, {Key: ei.Atom("count"), Value: ei.Int(i)}}
		states[i] = ei.Pair{Key: ei.Atom(fmt.Sprintf("some_atom_name_%d", i)), Value: state}
	}
	rows := make(ei.List, 90)
	for i := range rows {
		rows[i] = m
	}
	add("16B", ei.Tuple{ei.Atom("ok"), ei.Int(1), ei.Int(1000), ei.List{}})
	add("20atoms", atoms)
	add("1KBmap", m)
	add("160atoms", states) // as the map of test/bench
	add("1KBbinary", ei.Tuple{ei.Atom("message"), ei.Binary(make([]byte, 1024))})
	add("64KBmaps", rows)
	add("64KBbinary", ei.Tuple{ei.Atom("message"), ei.Binary(make([]byte, 64<<10))})
	return payloads
}

var benchControl = dist.Control{
	Op: dist.OpSendSender, From: ei.Pid{Node: "alice@127.0.0.1", ID: 42, Serial: 1, Creation: 5},
	To: ei.Pid{Node: "bob@127.0.0.1", ID: 7, Creation: 9},
}

func benchFrames(b *testing.B, name string, f func() (bytes int, err error)) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		size := 0
		for b.Loop() {
			var err error
			if size, err = f(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(size), "bytes")
	})
}

// BenchmarkReadFrames reads messages as they come, up to a payload in its whole form, and up to a
// term: without headers, and with all atoms in the cache.
func BenchmarkReadFrames(b *testing.B) {
	for name, payload := range benchMessages(b) {
		plain, err := AppendFrame(nil, &benchControl, payload)
		require.NoError(b, err)
		atoms := ei.NewAtomTable(1024)
		r := NewReader(dist.FlagsDefault, Limits{}, atoms)
		var w writer
		var ctl dist.Control
		_, err = r.ReadFrame(w.frame(b, &benchControl, payload), &ctl)
		require.NoError(b, err)
		room := make([]byte, 0, 200<<10)
		for form, frame := range map[string][]byte{"pass": plain[4:], "cached": w.frame(b, &benchControl, payload)} {
			for _, decode := range []bool{false, true} {
				benchFrames(b, fmt.Sprintf("%s/%s,term=%t", name, form, decode), func() (int, error) {
					a, err := r.ReadFrame(frame, &ctl)
					if err != nil {
						return 0, err
					}
					whole, err := a.Whole(room, 1<<20)
					if err == nil && decode {
						c := ei.NewCursor(whole)
						c.Atoms = atoms
						_, err = c.Term()
					}
					return len(frame), err
				})
			}
		}
	}
}

// BenchmarkWriteFrames makes frames of messages that are encoded.
func BenchmarkWriteFrames(b *testing.B) {
	for name, payload := range benchMessages(b) {
		out := make([]byte, 0, 200<<10)
		benchFrames(b, name+"/pass", func() (int, error) {
			frame, err := AppendFrame(out, &benchControl, payload)
			return len(frame), err
		})
		var w writer
		benchFrames(b, name+"/cached", func() (int, error) { return len(w.frame(b, &benchControl, payload)), nil })
	}
}
