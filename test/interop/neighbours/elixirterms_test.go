package neighbours

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
)

// interpreter is a running Elixir that answers the questions of testdata/terms.exs.
type interpreter struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

func startElixir(t *testing.T) *interpreter {
	t.Helper()
	script, err := os.ReadFile("testdata/terms.exs")
	require.NoError(t, err)
	w := newPlace(t)
	cmd := w.command(w.soon(), `exec elixir --erl -noinput -e "$1"`, string(script))
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var complaints bytes.Buffer
	cmd.Stderr, cmd.WaitDelay = &complaints, 10*time.Second
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		err := cmd.Wait()
		require.NoError(t, err, "%s", &complaints)
	})
	return &interpreter{t, in, bufio.NewReader(out)}
}

// ask asks a question, whose answer is a pair.
func (e *interpreter) ask(kind byte, question []byte) (first, second ei.Term) {
	e.t.Helper()
	head := binary.BigEndian.AppendUint32(nil, uint32(1+len(question)))
	_, err := e.in.Write(append(append(head, kind), question...))
	require.NoError(e.t, err)
	_, err = io.ReadFull(e.out, head)
	require.NoError(e.t, err)
	data := make([]byte, binary.BigEndian.Uint32(head))
	_, err = io.ReadFull(e.out, data)
	require.NoError(e.t, err)
	answer, err := ei.Decode(data)
	require.NoError(e.t, err)
	pair := answer.(ei.Tuple)
	return pair[0], pair[1]
}

// What Elixir inspects is what AppendText writes, and what it writes is evaluated to the term.
func TestElixirTexts(t *testing.T) {
	e := startElixir(t)
	r := maker{rand.New(rand.NewPCG(1, 2))}
	for i := range 4000 {
		term := r.term(3)
		data, err := ei.Marshal(term)
		require.NoError(t, err)
		inspected, again := e.ask('i', data)
		want := string(inspected.(ei.Binary))
		require.True(t, ei.Identical(term, again), "%v\n%v", term, again)
		text := string(elixir.AppendText(nil, again))
		if !hasStruct(term) { // whose fields have an order of their own
			require.Equal(t, want, text, "%d: %v", i, term)
		}
		if !strings.Contains(want, "#") { // there may be pids
			read, err := elixir.Parse(want)
			require.NoError(t, err, want)
			require.True(t, ei.Identical(again, read), "%s\n%v\n%v", want, again, read)
		}
		ok, back := e.ask('e', []byte(text))
		require.Equal(t, ei.Atom("ok"), ok, "%s: %v", text, back)
		require.True(t, ei.Identical(again, back), "%s\n%v\n%v", text, again, back)
	}
}

func hasStruct(t ei.Term) bool {
	for t := range ei.Walk(t) {
		if m, ok := t.(ei.Map); ok {
			if name, _ := m.Get(ei.Atom("__struct__")); name == ei.Atom("Elixir.Shop.Order") {
				return true
			}
		}
	}
	return false
}

// Texts that a person may write, and what Elixir says that they are.
func TestElixirReads(t *testing.T) {
	e := startElixir(t)
	for _, text := range []string{
		"[1, 2,]", "{:ok, a: 1, b: 2}", `%{"k" => 1, a: 2}`, "[1, a: 2]", "[1 | [2 | [a: 3]]]", `~c"a\"b"`,
		"'aé日'", `'a"b\'c'`, `"\x41\u0042\u{43}\q\s\0"`, "\"a\\\nb\"", `"\xff"`, `?\x`, `?\n`, `?\s`, "?é", "-?a", "- 1",
		"+1", "1_000", "0xFf", "0b101",
		"0o17", "1.0e3", "1.0E-3", "1_0.2_5", ":+", ":..//", `:"::"`, ":é", ":日本", ":foo?", ":foo@bar", ":Foo", "Foo.Bar",
		"Elixir.Foo", "Elixir",
		"<<258::16, 1::size(3)>>", `<<"ab", "", "é", ?a, 0>>`, "<<1, 2,>>",
		"3 .. 1//-1", "1..3", "-1..-3//-1", "~D[-0001-12-31]", "~D[+2026-01-31]", "~T[23:59:59,1234567]", "~N[2024-02-29T00:00:00]",
		"~U[2024-02-29T00:00:00.0+00:00]", "~U[2024-02-29 00:00:00Z]", "%Shop.Order{sku: 1, qty: 2, tags: []}", "&Enum.map/2",
		"&:lists.map/2",
		"&Foo.+/2", `&Foo."..//"/3`, `&:"a b"."C d"/0`, "# one\n{ # two\n:a, #three\n 1 } # four",
		"[+: 1, {}: 2, %{}: 3, <<>>: 4, do: 5, ..//: 6, .: 7]",
		`["a b": 1, 'c d': 2, Foo: 3, nil: 4]`, "[a?: 1, b!: 2]",
	} {
		ok, want := e.ask('e', []byte(text))
		require.Equal(t, ei.Atom("ok"), ok, "%s: %v", text, want)
		got, err := elixir.Parse(text)
		require.NoError(t, err, text)
		require.True(t, ei.Identical(want, got), "%s: %v, not %v", text, got, want)
	}
	for _, text := range []string{
		"", "1 2", "foo", "Foo.", "a: 1", "[a:1]", "[a: 1, 2]", "%{a: 1, :b => 2}", "[a: b: 1]", "[1 | 2, 3]", "[1 | a: 2]",
		"[,]", "[1,,]", "[1", "{1]",
		"%{1}", "%{1 => }", `"a`, `"\xg0"`, `"\u12"`, `"\u{110000}"`, `"\u{d800}"`, `'\xff'`, ":", ": a", "::",
		"~D[2026-02-30]", "~D[2026-1-30]",
		"~T[24:00:00]", "~T[00:00:00.]", "~N[2026-01-01]", "~U[2026-01-01 00:00:00+01:00]", "1..", "1..2.5", "1..2//0",
		"1.0e400", "0xg", "1_", "?", `?\xff`, `?\u{41}`,
		"<<1::foo>>", "<<1::integer-float>>", `<<"a"::integer>>`, "&Foo.bar", "&Foo.bar/256", `:"` + strings.Repeat("a", 256) + `"`,
	} {
		ok, got := e.ask('e', []byte(text))
		_, err := elixir.Parse(text)
		require.Error(t, err, text)
		if text != "" { // which is nil
			require.Equal(t, ei.Atom("error"), ok, "%s: %v", text, got)
		}
	}
}

// A maker makes terms.
type maker struct{ *rand.Rand }

func pick[T any](m maker, of ...T) T { return of[m.IntN(len(of))] }

func (m maker) atom() ei.Atom {
	switch m.IntN(6) {
	case 0:
		return pick[ei.Atom](m, "nil", "true", "false", "ok", "foo?", "foo!", "a@b", "Foo", "Foo?", "_", "_a", "", "do",
			"end", "fn", "é", "Éa", "straße", "ªa",
			"µ", "a b", "1a", "a-b", "a?b", "日 本", "go@127.0.0.1", "\u200b", "\ufeff a", "a\"b", "a'b", "a\\b", "a#{b}", "\n",
			"\x00", "\x7f", "[]", "%[]", ":", ";",
			"...a", "Elixir.", "Elixir.foo", "Elixir.Foo", "Elixir.Foo.Bar_9", "Elixir.Foo.bar", "Elixir.Foo?", "Elixir.Foo@",
			"Elixir", "ElixirFoo",
			"Elixir.Elixir", "Elixir.Elixir.Foo", "Elixir.ElixirFoo", "Elixir.É", "a@", "a@?", "@", "a?!", "not in", "__struct__")
	case 1:
		return pick[ei.Atom](m, "%", "%{}", "{}", "<<>>", "...", "..", ".", "..//", "->", "::", "^^^", "~~~", "<|>", "and",
			"or", "in", "not", "when", "<-", `\\`, "|", "=",
			"||", "|||", "&&", "&&&", "==", "!=", "=~", "===", "!==", "<", "<=", ">=", ">", "|>", "<<<", ">>>", "<~", "~>",
			"<<~", "~>>", "<~>", "++", "--", "<>",
			"+++", "---", "+", "-", "*", "/", "**", "&", "!", "^", "@", "//", ",", "(", "=>", "<<", "xor")
	case 2:
		b := make([]byte, m.IntN(6))
		for i := range b {
			b[i] = byte(m.IntN(0x80))
		}
		return ei.Atom(b)
	}
	b := []byte{"abcxyz_"[m.IntN(7)]}
	for range m.IntN(6) {
		b = append(b, "abcXYZ019_@?"[m.IntN(12)])
	}
	return ei.Atom(b)
}

func (m maker) leaf() ei.Term {
	switch m.IntN(12) {
	case 0:
		return ei.Int(m.Int64N(400) - 100)
	case 1:
		return ei.Int(int64(m.Uint64()) >> m.IntN(64))
	case 2:
		v := new(big.Int).Lsh(big.NewInt(m.Int64()), uint(m.IntN(300)))
		return ei.NewBigInt(v.Sub(v, big.NewInt(m.Int64())))
	case 3:
		f := math.Float64frombits(m.Uint64())
		if math.IsNaN(f) || math.IsInf(f, 0) {
			f = 0
		}
		return ei.Float(f)
	case 4: // with few digits
		return ei.Float(float64(m.IntN(2000)-1000) * math.Pow10(m.IntN(50)-25))
	case 5:
		b := make([]byte, m.IntN(10))
		for i := range b {
			b[i] = byte(m.Uint32())
		}
		return ei.Binary(b)
	case 6:
		var b []byte
		for range m.IntN(8) {
			b = append(b, string(pick(m, rune(m.IntN(0x80)), rune(m.IntN(0x100)), rune(0x2000+m.IntN(0x70)),
				rune(m.IntN(0x11000)), '"', '\\', '#', '{'))...)
		}
		return ei.Binary(b)
	case 7:
		b := ei.Bitstring{Data: []byte{byte(m.Uint32()), byte(m.Uint32())}[m.IntN(2):], Bits: uint8(1 + m.IntN(7))}
		b.Data[len(b.Data)-1] &= 0xff << (8 - b.Bits)
		return b
	case 8:
		return ei.String(m.text(1, 0x100))
	case 9:
		return ei.String(m.text(7, 0x7f))
	case 10:
		return ei.Export{Module: pick[ei.Atom](m, "m", "Elixir.Foo.Bar", "a b", "A",
			"é?"), Function: m.atom(), Arity: uint8(m.Uint32())}
	}
	return m.atom()
}

// text is of 1 to 8 bytes from low up to high.
func (m maker) text(low, high int) string {
	b := make([]byte, 1+m.IntN(8))
	for i := range b {
		b[i] = byte(low + m.IntN(high-low))
	}
	return string(b)
}

func (m maker) terms(depth, least int) (ts []ei.Term) {
	for range least + m.IntN(5) {
		ts = append(ts, m.term(depth))
	}
	return ts
}

func (m maker) term(depth int) ei.Term {
	if depth == 0 {
		return m.leaf()
	}
	depth--
	switch m.IntN(11) {
	case 0:
		return ei.Tuple(m.terms(depth, 0))
	case 1:
		return ei.List(m.terms(depth, 0))
	case 2:
		return ei.ImproperList{Elems: m.terms(depth, 1), Tail: m.atom()}
	case 3:
		l := ei.List{}
		for range m.IntN(4) {
			l = append(l, ei.Tuple{m.atom(), m.term(depth)})
		}
		return l
	case 4:
		l := ei.Map{}
		for range m.IntN(6) {
			if a := m.atom(); a != "__struct__" {
				l = with(l, a, m.term(depth))
			}
		}
		return l
	case 5:
		l := ei.Map{}
		for range m.IntN(6) {
			if key := m.term(depth); key != ei.Term(ei.Atom("__struct__")) {
				l = with(l, key, m.term(depth))
			}
		}
		return l
	case 6:
		return ei.Map{{Key: ei.Atom("__struct__"), Value: ei.Atom("Elixir.Shop.Order")},
			{Key: ei.Atom("sku"), Value: m.term(depth)},
			{Key: ei.Atom("qty"), Value: m.term(depth)}, {Key: ei.Atom("tags"), Value: m.term(depth)}}
	case 7:
		return m.timeOrRange()
	}
	return m.leaf()
}

// with puts a pair into a map, unless there is one with that key.
func with(m ei.Map, key, value ei.Term) ei.Map {
	if _, ok := m.Get(key); ok {
		return m
	}
	return append(m, ei.Pair{Key: key, Value: value})
}

func (m maker) timeOrRange() ei.Term {
	digits := m.IntN(7)
	micro := m.IntN(int(math.Pow10(digits)))
	fraction := ""
	if digits > 0 {
		fraction = fmt.Sprintf(".%0*d", digits, micro)
	}
	date := fmt.Sprintf("%04d-%02d-%02d", m.IntN(10000), 1+m.IntN(12), 1+m.IntN(28))
	clock := fmt.Sprintf("%02d:%02d:%02d%s", m.IntN(24), m.IntN(60), m.IntN(60), fraction)
	step := 1 + m.IntN(3)
	if m.IntN(2) == 0 {
		step = -step
	}
	text := pick(m, "~D["+date+"]", "~T["+clock+"]", "~N["+date+" "+clock+"]", "~U["+date+" "+clock+"Z]",
		fmt.Sprintf("%d..%d//%d", m.IntN(20)-10, m.IntN(20)-10, step))
	t, err := elixir.Parse(text)
	if err != nil {
		panic(err)
	}
	return t
}
