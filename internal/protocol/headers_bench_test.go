package protocol

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// benchMessages are messages of many and of few atoms.
func benchMessages(b *testing.B) (names []string, payloads map[string]ei.Raw) {
	payloads = map[string]ei.Raw{}
	add := func(name string, t ei.Term) {
		raw, err := ei.Append(nil, t)
		require.NoError(b, err)
		names, payloads[name] = append(names, name), raw
	}
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
	return names, payloads
}

var benchControl = dist.Control{
	Op: dist.OpSendSender, From: ei.Pid{Node: "alice@127.0.0.1", ID: 42, Serial: 1, Creation: 5},
	To: ei.Pid{Node: "bob@127.0.0.1", ID: 7, Creation: 9},
}

// BenchmarkReadFrames reads messages as they come, up to a payload in its whole form, and up to a
// term: without headers, and with all atoms in the cache.
func BenchmarkReadFrames(b *testing.B) {
	names, payloads := benchMessages(b)
	for _, name := range names {
		payload := payloads[name]
		plain, err := AppendFrame(nil, &benchControl, payload)
		require.NoError(b, err)
		plain = plain[4:]
		atoms := ei.NewAtomTable(1024)
		r := NewReader(dist.FlagsDefault, Limits{}, atoms)
		var w writer
		var ctl dist.Control
		_, err = r.ReadFrame(w.frame(b, &benchControl, payload), &ctl)
		require.NoError(b, err)
		packed := w.frame(b, &benchControl, payload)
		text, err := AppendFrameHead(nil, dist.FlagsDefault, &benchControl, len(payload))
		require.NoError(b, err)
		text = append(text, payload...)[4:]
		room := make([]byte, 0, 200<<10)
		run := func(what string, frame []byte, f func(frame []byte) error) {
			b.Run(name+"/"+what, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := f(frame); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(frame)), "bytes")
			})
		}
		term := func(raw ei.Raw, refs []ei.Atom) error {
			c := ei.NewCursor(raw)
			c.Atoms, c.CacheRefs = atoms, refs
			_, err := c.Term()
			return err
		}
		read := func(frame []byte, decode bool) error {
			a, err := r.ReadFrame(frame, &ctl)
			if err != nil {
				return err
			}
			whole, err := a.Whole(room, 1<<20)
			if err == nil && decode {
				err = term(whole, nil)
			}
			return err
		}
		run("pass", plain, func(f []byte) error { return read(f, false) })
		run("header", text, func(f []byte) error { return read(f, false) })
		run("cached", packed, func(f []byte) error { return read(f, false) })
		run("pass,term", plain, func(f []byte) error { return read(f, true) })
		run("cached,term", packed, func(f []byte) error { return read(f, true) })
		run("cached,term,refs", packed, func(f []byte) error {
			a, err := r.ReadFrame(f, &ctl)
			if err == nil {
				err = term(a.Payload, a.Refs)
			}
			return err
		})
	}
}

// BenchmarkWriteFrames makes frames of messages that are encoded.
func BenchmarkWriteFrames(b *testing.B) {
	names, payloads := benchMessages(b)
	for _, name := range names {
		payload := payloads[name]
		out := make([]byte, 0, 200<<10)
		run := func(what string, f func() ([]byte, error)) {
			b.Run(name+"/"+what, func(b *testing.B) {
				b.ReportAllocs()
				size := 0
				for b.Loop() {
					frame, err := f()
					if err != nil {
						b.Fatal(err)
					}
					size = len(frame)
				}
				b.ReportMetric(float64(size), "bytes")
			})
		}
		run("pass", func() ([]byte, error) { return AppendFrame(out, &benchControl, payload) })
		run("header", func() ([]byte, error) {
			frame, err := AppendFrameHead(out, dist.FlagsDefault, &benchControl, len(payload))
			return append(frame, payload...), err
		})
		var refs AtomRefs
		var sent SentAtoms
		var control, body []byte
		run("cached", func() (_ []byte, err error) {
			refs.Reset()
			if control, err = AppendControl(control[:0], &benchControl); err != nil {
				return nil, err
			}
			if body, err = refs.Pack(body[:0], control); err != nil {
				return nil, err
			}
			if body, err = refs.Pack(body, payload); err != nil {
				return nil, err
			}
			frame, err := sent.AppendFrameHead(out, &refs, len(body))
			return append(frame, body...), err
		})
	}
}
