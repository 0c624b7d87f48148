package ei_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

var strict = ei.DecodeOptions{Strict: true}

// A doubtful is a term that not every runtime system may read: head, n times fill, tail; without
// version byte.
type doubtful struct {
	name    string
	refuses [2]int // the first and the last release that refuses it; zero: none
	head    string
	fill    byte
	n       int
	tail    string
}

const (
	somewhere = "w\x03a@b" // a node
	pidOf     = "X" + somewhere + "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01"
)

// closureOf is a NEW_FUN_EXT up to its free variables.
func closureOf(free int, pid string) string {
	rest := "\x00" + strings.Repeat("\x00", 16+4) + string([]byte{0, 0, byte(free >> 8), byte(free)}) + "w\x01ma\x00a\x00" + pid
	size := 4 + len(rest) + free
	return "p" + string([]byte{0, 0, byte(size >> 8), byte(size)}) + rest
}

var anyRelease = [2]int{25, 29}

var doubtfuls = []doubtful{
	{"FUN_EXT", anyRelease, "u\x00\x00\x00\x00" + pidOf + "w\x01ma\x01a\x01", 0, 0, ""},
	{"closure of 255", [2]int{}, closureOf(255, pidOf), 'j', 255, ""},
	{"closure of 256", anyRelease, closureOf(256, pidOf), 'j', 256, ""},
	{"closure with the size of OTP 23", [2]int{}, strings.Replace(closureOf(1, pidOf), "p\x00\x00\x00", "p\x00\x00\x01", 1), 'j', 1, ""},
	{"closure of no size", [2]int{}, "p\x00\x00\x00\x00" + closureOf(1, pidOf)[5:], 'j', 1, ""},
	{"closure of 4 G", [2]int{}, "p\xff\xff\xff\xff" + closureOf(0, pidOf)[5:], 0, 0, ""},
	{"closure of an old pid", [2]int{}, closureOf(0, "g"+somewhere+"\x00\x00\x00\x01\x00\x00\x00\x00\x03"), 0, 0, ""},
	{"closure of an old pid with a creation of 4", anyRelease, closureOf(0, "g"+somewhere+"\x00\x00\x00\x01\x00\x00\x00\x00\x04"), 0, 0, ""},
	{"integer", [2]int{}, "o\x00\x07\xff\xf8\x00", 1, 65535 * 8, ""},
	{"longer integer", [2]int{27, 29}, "o\x00\x07\xff\xf9\x00", 1, 65535*8 + 1, ""},
	{"tuple", [2]int{}, "i\x00\xff\xff\xff", 'j', 1<<24 - 1, ""},
	{"longer tuple", [2]int{27, 29}, "i\x01\x00\x00\x00", 'j', 1 << 24, ""},
	{"empty bitstring", [2]int{26, 29}, "M\x00\x00\x00\x00\x00", 0, 0, ""},
	{"bitstring", [2]int{}, "M\x00\x00\x00\x01\x08", 1, 1, ""},
	{"PID_EXT", [2]int{}, "g" + somewhere, 0xff, 8, "\x03"},
	{"PID_EXT, creation", anyRelease, "g" + somewhere, 0, 8, "\x04"},
	{"PORT_EXT", [2]int{}, "f" + somewhere, 0x0f, 4, "\x03"},
	{"PORT_EXT, creation", anyRelease, "f" + somewhere, 0, 4, "\x04"},
	{"REFERENCE_EXT", [2]int{}, "e" + somewhere + "\x00\x03\xff\xff\x03", 0, 0, ""},
	{"REFERENCE_EXT, word", anyRelease, "e" + somewhere + "\x00\x04\x00\x00\x03", 0, 0, ""},
	{"REFERENCE_EXT, creation", anyRelease, "e" + somewhere + "\x00\x03\xff\xff\x04", 0, 0, ""},
	{"NEW_REFERENCE_EXT", [2]int{}, "r\x00\x03" + somewhere + "\x03\x00\x03\xff\xff", 0xff, 8, ""},
	{"NEW_REFERENCE_EXT, word", anyRelease, "r\x00\x03" + somewhere + "\x03\x00\x04\x00\x00", 0, 8, ""},
	{"NEW_REFERENCE_EXT, creation", anyRelease, "r\x00\x03" + somewhere + "\x4d\x00\x00\x00\x00", 0, 8, ""},
	{"NEWER_REFERENCE_EXT", [2]int{}, "Z\x00\x05" + somewhere, 0xff, 24, ""},
	{"NEW_PID_EXT", [2]int{}, "X" + somewhere, 0xff, 12, ""},
	{"RECORD_EXT", [2]int{25, 28}, "C\x00\x00\x00\x00\x00w\x01mw\x01r", 0, 0, ""},
	{"V4_PORT_EXT", [2]int{}, "x" + somewhere, 0xff, 12, ""},
	{"0.0 and -0.0 as keys", [2]int{25, 26}, "t\x00\x00\x00\x02F\x00\x00\x00\x00\x00\x00\x00\x00jF\x80", 0, 7, "j"},
	{"0.0 and -0.0 within keys", [2]int{25, 26}, "t\x00\x00\x00\x02h\x01F\x00\x00\x00\x00\x00\x00\x00\x00jh\x01F\x80", 0, 7, "j"},
	{"-0.0 alone as a key", [2]int{}, "t\x00\x00\x00\x01F\x80", 0, 7, "j"},
	{"-0.0 as a value", [2]int{}, "t\x00\x00\x00\x01jF\x80", 0, 7, ""},
}

func (d *doubtful) bytes() []byte {
	return []byte("\x83" + d.head + strings.Repeat(string([]byte{d.fill}), d.n) + d.tail)
}

// What Strict refuses is what one of the runtime systems refuses, at the top and within a term.
func TestStrict(t *testing.T) {
	for _, d := range doubtfuls {
		b := d.bytes()
		within := bytes.Join([][]byte{[]byte("\x83h\x02a\x01l\x00\x00\x00\x01"), b[1:], []byte("j")}, nil)
		for _, b := range [][]byte{b, within} {
			_ = decode(t, b)
			_, err := strict.Decode(b)
			if d.refuses[0] == 0 {
				require.NoError(t, err, d.name)
				continue
			}
			require.ErrorIs(t, err, ei.ErrRefused, d.name)
		}
	}
}

func TestStrictWithErl(t *testing.T) {
	var asked []string
	for _, d := range doubtfuls {
		list := func(s string) string { return strings.Trim(strings.ReplaceAll(fmt.Sprint([]byte(s)), " ", ","), "[]") }
		asked = append(asked, fmt.Sprintf("expr begin binary_to_term(<<131,%s,(binary:copy(<<%d>>,%d))/binary%s>>), ok end",
			list(d.head), d.fill, d.n, strings.TrimSuffix(","+list(d.tail), ",")))
	}
	for _, erl := range needErl(t) {
		release, err := strconv.Atoi(askErl(t, erl, []string{"release"})[0])
		require.NoError(t, err)
		for i, got := range askErl(t, erl, asked) {
			d := doubtfuls[i]
			refused := strings.HasPrefix(got, "error")
			require.Equal(t, d.refuses[0] != 0 && release >= d.refuses[0] && release <= d.refuses[1], refused, "OTP %d: %s: %s",
				release, d.name, got)
		}
	}
}

// What Strict takes of terms with a byte or two changed, every runtime system takes.
func TestStrictRandomly(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var terms [][]byte
	vs, _ := readVectors(t)
	for _, v := range vs {
		// the runtime system's own identifiers have other bounds
		if v.since() == 0 && !bytes.Contains(v.data, []byte("nonode@nohost")) {
			terms = append(terms, v.data)
		}
	}
	for _, d := range doubtfuls {
		if d.n < 1000 {
			terms = append(terms, d.bytes())
		}
	}
	var asked []string
	for len(asked) < 2000 {
		b := bytes.Clone(terms[random.IntN(len(terms))])
		for range 1 + random.IntN(2) {
			if at := 1 + random.IntN(len(b)-1); random.IntN(2) == 0 {
				b[at] = byte(random.IntN(256))
			} else {
				b[at] += byte(random.IntN(5) - 2)
			}
		}
		tag := ei.Tag(b[1])
		if _, err := strict.Decode(b); err == nil && tag != ei.TagCompressed && tag != ei.TagLocalExt {
			asked = append(asked, fmt.Sprintf("back %x", b))
		}
	}
	for _, erl := range needErl(t) {
		for i, got := range askErl(t, erl, asked) {
			require.NotContains(t, got, "error", "%s: %s", erl, asked[i])
		}
	}
}

// What strict decoding takes of closures, and of maps with keys that differ little, every runtime
// system takes when it is encoded anew.
func TestStrictKeys(t *testing.T) {
	fun := ei.Fun{Arity: 1, Module: "m", Index: 1, OldIndex: 1, OldUniq: 1, Pid: ei.Pid{Node: "a@b", ID: 1, Creation: 1}}
	with := func(change func(*ei.Fun)) ei.Fun { f := fun; change(&f); return f }
	keys := func(more int, keys ...ei.Term) (m ei.Map) {
		for _, k := range keys {
			m = append(m, ei.Pair{Key: k, Value: ei.Int(1)})
		}
		for i := range more {
			m = append(m, ei.Pair{Key: ei.Int(i), Value: ei.Int(1)})
		}
		return m
	}
	ref := func(words ...uint32) (r ei.Ref) {
		r = ei.Ref{Node: "a@b", Creation: 1, Len: uint8(len(words))}
		copy(r.ID[:], words)
		return r
	}
	for name, term := range map[string]ei.Term{
		"old index of 60 bits": with(func(f *ei.Fun) { f.OldIndex = 1 << 59 }),
		"old uniq of 60 bits":  with(func(f *ei.Fun) { f.OldUniq = -1<<59 - 1 }),
		"keys, arity":          keys(0, fun, with(func(f *ei.Fun) { f.Arity = 2 })),
		"keys, uniq":           keys(0, fun, with(func(f *ei.Fun) { f.Uniq[0] = 1 })),
		"keys, old index":      keys(0, fun, with(func(f *ei.Fun) { f.OldIndex = 2 })),
		"keys, old uniq":       keys(0, fun, with(func(f *ei.Fun) { f.OldUniq = 2 })),
		"many keys, arity":     keys(40, fun, with(func(f *ei.Fun) { f.Arity = 2 })),
		"many keys, old uniq":  keys(40, fun, with(func(f *ei.Fun) { f.OldUniq = 2 })),
		// OTP 25 crashes
		"many keys, 5 words": keys(40, ref(1, 2, 3, 4, 5), ref(1, 2, 3, 4, 6)),
		// OTP 25 crashes
		"many keys, 3 or 4 words": keys(40, ref(1, 2, 3), ref(1, 2, 3, 4)),
	} {
		t.Run(name, func(t *testing.T) {
			b, err := ei.AppendTerm([]byte{131}, term)
			require.NoError(t, err)
			took, err := strict.Decode(b)
			if err != nil {
				require.ErrorIs(t, err, ei.ErrRefused)
				return
			}
			again, err := ei.AppendTerm([]byte{131}, took)
			require.NoError(t, err)
			for _, erl := range needErl(t) {
				require.NotContains(t, askErl(t, erl, []string{fmt.Sprintf("back %x", again)})[0], "error", erl)
			}
		})
	}
}

// Strict decoding finds two keys of a map that some runtime system takes for the same, wherever the
// map and the difference are.
func TestStrictKeysWithin(t *testing.T) {
	one := ei.Fun{Arity: 1, Module: "m", Index: 1, OldIndex: 1, OldUniq: 1, Pid: ei.Pid{Node: "a@b", ID: 1, Creation: 1}}
	other := one
	other.Arity = 2
	atom := ei.Atom("x")
	places := map[string]func(ei.Term) ei.Term{
		"itself":  func(v ei.Term) ei.Term { return v },
		"list":    func(v ei.Term) ei.Term { return ei.List{atom, v} },
		"element": func(v ei.Term) ei.Term { return ei.ImproperList{Elems: []ei.Term{v}, Tail: atom} },
		"tail":    func(v ei.Term) ei.Term { return ei.ImproperList{Elems: []ei.Term{atom}, Tail: v} },
		"tuple":   func(v ei.Term) ei.Term { return ei.Tuple{atom, v} },
		"closure": func(v ei.Term) ei.Term { f := one; f.Free = []ei.Term{atom, v}; return f },
		"value":   func(v ei.Term) ei.Term { return ei.Map{{Key: atom, Value: v}} },
		"key":     func(v ei.Term) ei.Term { return ei.Map{{Key: v, Value: atom}} },
		"record": func(v ei.Term) ei.Term {
			return ei.Record{Module: "m", Name: "r", Fields: []ei.Field{{Name: "f", Value: v}}}
		},
		"list in list": func(v ei.Term) ei.Term { return ei.List{ei.List{v, atom}} },
	}
	records := ei.DecodeOptions{Strict: true, Records: true}
	for name, within := range places {
		for _, term := range []ei.Term{
			within(ei.Map{{Key: one, Value: atom}, {Key: other, Value: atom}}),
			ei.Map{{Key: within(one), Value: atom}, {Key: within(other), Value: atom}},
		} {
			b, err := ei.AppendTerm([]byte{131}, term)
			require.NoError(t, err)
			_, err = records.Decode(b)
			require.ErrorIs(t, err, ei.ErrRefused, "%s: %v", name, term)
		}
		b, err := ei.AppendTerm([]byte{131}, ei.Map{{Key: within(one), Value: atom}, {Key: ei.Tuple{within(one)}, Value: atom}})
		require.NoError(t, err)
		_, err = records.Decode(b)
		require.NoError(t, err, name)
	}
}

// OTP 25 (and by what follows in memory, others) refuses the text of a float that is not ended by a
// zero byte.

// How a runtime system reads such a text depends on what follows.
func TestStrictLongFloat(t *testing.T) {
	_, err := strict.Decode([]byte("\x83c1.00000000000000000000000000001"))
	require.ErrorIs(t, err, ei.ErrRefused)
}
