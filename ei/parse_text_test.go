package ei_test

import (
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
	"unicode/utf8"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// texts that Parse reads. Those with erl false are no terms to Erlang's parser, or other ones.
var texts = []struct {
	text string
	want ei.Term
	erl  bool
}{
	{"ok", ei.Atom("ok"), true},
	{"ok.", ei.Atom("ok"), false}, // the question adds a full stop
	{"  ok  .  ", ei.Atom("ok"), false},
	{"% a comment\nok % another\n.% and one more", ei.Atom("ok"), false},
	{"a_B@9", ei.Atom("a_B@9"), true},
	{"élan", ei.Atom("élan"), true},
	{"ÿØ", ei.Atom("ÿØ"), true},
	{"'hello world'", ei.Atom("hello world"), true},
	{`'a\'b\\\n\x41\x{e9}\101\^A\s\d\e\q'`, ei.Atom("a'b\\\nAéA\x01 \x7f\x1bq"), true},
	{"''", ei.Atom(""), true},
	{"'日本'", ei.Atom("日本"), true},
	{"maybe", ei.Atom("maybe"), false},
	{"else", ei.Atom("else"), false},
	{"0", ei.Int(0), true},
	{"-1", ei.Int(-1), true},
	{"- 1", ei.Int(-1), true},
	{"+7", ei.Int(7), true},
	{"1_000_000", ei.Int(1000000), true},
	{"16#fF", ei.Int(255), true},
	{"-16#8000000000000000", ei.Int(math.MinInt64), true},
	{"2#1010_1010", ei.Int(170), true},
	{"36#Zz", ei.Int(35*36 + 35), true},
	{"007", ei.Int(7), true},
	{"9223372036854775807", ei.Int(math.MaxInt64), true},
	{"9223372036854775808", ei.NewBigInt(new(big.Int).SetUint64(1 << 63)), true},
	{"-9223372036854775808", ei.Int(math.MinInt64), true},
	{"16#1_0000000000000000_0", ei.NewBigInt(new(big.Int).Lsh(big.NewInt(1), 68)), true},
	{"$a", ei.Int('a'), true},
	{`$\n`, ei.Int('\n'), true},
	{`$\x{1F600}`, ei.Int(0x1f600), true},
	{"$é", ei.Int('é'), true},
	{"$ ", ei.Int(' '), true},
	{"-$a", ei.Int(-'a'), true},
	{"1.5", ei.Float(1.5), true},
	{"-0.0", negativeZero, true},
	{"1.0e3", ei.Float(1000), true},
	{"1.0E-3", ei.Float(0.001), true},
	{"1_0.2_5e+1", ei.Float(102.5), true},
	{`""`, ei.List{}, true},
	{`"abc"`, ei.String("abc"), true},
	{`"a" "b"` + "\n" + `"c"`, ei.String("abc"), true},
	{`"é"`, ei.String("\xe9"), true},
	{`"日"`, ei.List{ei.Int('日')}, true},
	{`"a日b"`, ei.List{ei.Int('a'), ei.Int('日'), ei.Int('b')}, true},
	{`"\"\t\0"`, ei.String("\"\t\x00"), true},
	{`"\18\1777"`, ei.String("\x018\x7f7"), true},
	{`"\^?"`, ei.String("\x7f"), false},   // 31 before OTP 27
	{`~"aé\n"`, ei.Binary("aé\n"), false}, // since OTP 27
	{"[]", ei.List{}, true},
	{"[ ]", ei.List{}, true},
	{"[1,a|[2]]", ei.List{ei.Int(1), ei.Atom("a"), ei.Int(2)}, true},
	{`[1|"ab"]`, ei.List{ei.Int(1), ei.Int('a'), ei.Int('b')}, true},
	{"[1|[2|[3|[ ]]]]", ei.List{ei.Int(1), ei.Int(2), ei.Int(3)}, true},
	{"[[1|[2]]|[3,[]|[4|[5]]]]", ei.List{ei.List{ei.Int(1), ei.Int(2)}, ei.Int(3), ei.List{}, ei.Int(4), ei.Int(5)}, true},
	{`[1|[2|"a日"]]`, ei.List{ei.Int(1), ei.Int(2), ei.Int('a'), ei.Int('日')}, true},
	{"[1|[2|3]]", ei.ImproperList{Elems: []ei.Term{ei.Int(1), ei.Int(2)}, Tail: ei.Int(3)}, true},
	{"[a|b]", ei.ImproperList{Elems: []ei.Term{ei.Atom("a")}, Tail: ei.Atom("b")}, true},
	{"[a|[]]", ei.List{ei.Atom("a")}, true},
	{"{}", ei.Tuple{}, true},
	{"{ a , {b} }", ei.Tuple{ei.Atom("a"), ei.Tuple{ei.Atom("b")}}, true},
	{"#{}", ei.Map{}, true},
	{`#{a => 1, "b" => #{}}`, ei.Map{{Key: ei.Atom("a"), Value: ei.Int(1)}, {Key: ei.String("b"), Value: ei.Map{}}}, true},
	{"<<>>", ei.Binary{}, true},
	{"<< >>", ei.Binary{}, true},
	{"<<1,2,300,-1>>", ei.Binary{1, 2, 44, 255}, true},
	{`<<"abc">>`, ei.Binary("abc"), true},
	{`<<"é">>`, ei.Binary("\xe9"), true},
	{`<<"é"/utf8>>`, ei.Binary("é"), true},
	{"<<226,128,139>>", ei.Binary("\u200b"), true}, // which is not to be seen
	{`<<"a" "b",1>>`, ei.Binary("ab\x01"), true},
	{"<<1:4,2:4>>", ei.Binary{0x12}, true},
	{"<<5:3>>", ei.Bitstring{Data: []byte{0xa0}, Bits: 3}, true},
	{"<<1,5:3>>", ei.Bitstring{Data: []byte{1, 0xa0}, Bits: 3}, true},
	{"<<1:1,\"a\">>", ei.Bitstring{Data: []byte{0xb0, 0x80}, Bits: 1}, true},
	{"<<-1:12>>", ei.Bitstring{Data: []byte{0xff, 0xf0}, Bits: 4}, true},
	{"<<(-1):0>>", nil, false},
	{"<<-1:60>>", ei.Bitstring{Data: []byte("\xff\xff\xff\xff\xff\xff\xff\xf0"), Bits: 4}, true},
	{"<<18446744073709551615:64>>", ei.Binary("\xff\xff\xff\xff\xff\xff\xff\xff"), true},
	{"<<-18446744073709551617:64>>", ei.Binary("\xff\xff\xff\xff\xff\xff\xff\xff"), true},
	{"<<5000000000000000000000:16>>", ei.Binary{0, 0}, true},
	{"<<1:0>>", ei.Binary{}, true},
	{"fun lists:map/2", ei.Export{Module: "lists", Function: "map", Arity: 2}, true},
	{"fun 'A':'B'/255", ei.Export{Module: "A", Function: "B", Arity: 255}, true},
	{"#m:r{a = 1,'B' = {}}", ei.Record{Module: "m", Name: "r", Exported: true,
		Fields: []ei.Field{{Name: "a", Value: ei.Int(1)}, {Name: "B", Value: ei.Tuple{}}}}, false},
	{"#Pid<node@host.1.2.3>", ei.Pid{Node: "node@host", ID: 1, Serial: 2, Creation: 3}, false},
	{"#Pid<'a@b.c'.1.2.3>", ei.Pid{Node: "a@b.c", ID: 1, Serial: 2, Creation: 3}, false},
	{"#Pid<a@my-host.example.org.1.2.3>", ei.Pid{Node: "a@my-host.example.org", ID: 1, Serial: 2, Creation: 3}, false},
	{"#Port<a@127.0.0.1.18446744073709551615.3>", ei.Port{Node: "a@127.0.0.1", ID: math.MaxUint64, Creation: 3}, false},
	{"#Ref<a@b.3.2.1.9>", ei.Ref{Node: "a@b", Creation: 9, Len: 3, ID: [5]uint32{1, 2, 3}}, false},
	{"#Ref<'a@b.c'.1.9>", ei.Ref{Node: "a@b.c", Creation: 9, Len: 1, ID: [5]uint32{1}}, false},
	{"#Ref<a.1.9>", ei.Ref{Node: "a", Creation: 9, Len: 1, ID: [5]uint32{1}}, false},
}

// badTexts are no terms, with the place of what is wrong.
var badTexts = []struct {
	text   string
	offset int
	err    error
}{
	{"", 0, ei.ErrText},
	{" % only a comment", 17, ei.ErrText},
	{".", 0, ei.ErrText},
	{"a b", 2, ei.ErrText},
	{"a. b", 3, ei.ErrText},
	{"a..", 2, ei.ErrText},
	{"X", 0, ei.ErrText},
	{"_", 0, ei.ErrText},
	{"end", 0, ei.ErrText},
	{"f()", 1, ei.ErrText},
	{"1+2", 1, ei.ErrText},
	{"1 2", 2, ei.ErrText},
	{"1__0", 1, ei.ErrText},
	{"1_", 1, ei.ErrText},
	{"1e5", 1, ei.ErrText},
	{"1.5e", 4, ei.ErrText},
	{"1.0e999", 0, ei.ErrFloat},
	{"37#1", 0, ei.ErrText},
	{"1#0", 0, ei.ErrText},
	{"16#", 3, ei.ErrText},
	{"16#g", 3, ei.ErrText},
	{"-a", 1, ei.ErrText},
	{"$", 1, ei.ErrText},
	{"\"abc", 0, ei.ErrText},
	{"'abc", 0, ei.ErrText},
	{`"\x{110000}"`, 1, ei.ErrText},
	{`"\x{d800}"`, 1, ei.ErrText},
	{`"\xg"`, 1, ei.ErrText},
	{"\"\xff\"", 1, ei.ErrText},
	{"\xff", 0, ei.ErrText},
	{"Ā", 0, ei.ErrText}, // as a letter it begins like one of Latin-1, or of ASCII
	{"aĀ", 1, ei.ErrText},
	{"ań", 1, ei.ErrText},
	{"'" + strings.Repeat("x", 256) + "'", 0, ei.ErrAtom},
	{strings.Repeat("x", 256), 0, ei.ErrAtom},
	{"[", 1, ei.ErrText},
	{"[1,", 3, ei.ErrText},
	{"[1,]", 3, ei.ErrText},
	{"[1|]", 3, ei.ErrText},
	{"[1|2,3]", 4, ei.ErrText},
	{"[1|[2]", 6, ei.ErrText},
	{"[1|[2],3]", 6, ei.ErrText},
	{"[1|[,2]]", 4, ei.ErrText},
	{"[|1]", 1, ei.ErrText},
	{"{1", 2, ei.ErrText},
	{"{1]", 2, ei.ErrText},
	{"#{a}", 3, ei.ErrText},
	{"#{a => 1,}", 9, ei.ErrText},
	{"#{a := 1}", 4, ei.ErrText},
	{"#{1 => a, 1 => b}", 2, ei.ErrDuplicate},
	{"#r{}", 2, ei.ErrText},
	{"#m:r{a = 1,a = 2}", 1, ei.ErrDuplicate},
	{"#m:r{a = 1 b = 2}", 11, ei.ErrText},
	{"#m:r{a 1}", 7, ei.ErrText},
	{"#Pid<0.1.2>", 5, ei.ErrText},
	{"#Pid<a@b.1.2>", 5, ei.ErrText},
	{"#Pid<a@b.1.2.4294967296>", 24, ei.ErrText},
	{"#Pid<a@b.4294967296.2.3>", 24, ei.ErrText},
	{"#Pid<a@b.1.4294967296.3>", 24, ei.ErrText},
	{"#Pid<'a@b'c.1.2.3>", 10, ei.ErrText},
	{"#Pid<'a@b.1.2.3>", 5, ei.ErrText},
	{"#Pid<a@b.1.2.3", 5, ei.ErrText},
	{"#Pid<", 5, ei.ErrText},
	{"#Port<", 6, ei.ErrText},
	{"#Ref<", 5, ei.ErrText},
	{"#Pid<a<b@c.1.2.3>", 5, ei.ErrText},
	// as a shell prints references of its own node
	{"#Ref<0.253648.2429595393.3443808670>", 5, ei.ErrText},
	{"#Port<0.6>", 6, ei.ErrText},
	{"#Port<a@b.x.1>", 14, ei.ErrText},
	{"#Port<a@b.1.4294967296>", 23, ei.ErrText},
	{"#Ref<a@b.1>", 11, ei.ErrText},
	{"#Ref<a@b.1.4294967296>", 22, ei.ErrText},
	{"#Ref<a@b.1.2.3.4.5.6.7>", 23, ei.ErrText},
	{"#Fun<m.1.2>", 1, ei.ErrText},
	{"<0.1.2>", 0, ei.ErrText},
	{"<<1", 3, ei.ErrText},
	{"<<1:65>>", 2, ei.ErrLimit},
	{"<<1:8/foo>>", 5, ei.ErrText},
	{"<<a>>", 2, ei.ErrText},
	{"<<1.0>>", 2, ei.ErrText},
	{"\"\"\"\na\n\"\"\"", 0, ei.ErrText},
	{`<<"""a""">>`, 2, ei.ErrText},
	{`~s"a"`, 0, ei.ErrText},
	{"fun f/1", 5, ei.ErrText},
	{"fun :f/1", 4, ei.ErrText},
	{"fun m:/1", 6, ei.ErrText},
	{"#:r{}", 1, ei.ErrText},
	{"#m:{}", 3, ei.ErrText},
	{"#m:r", 4, ei.ErrText},
	{"#m:r{= 1}", 5, ei.ErrText},
	{"#m:r{a = }", 9, ei.ErrText},
	{"36#Z[", 4, ei.ErrText},
	{"11#1B", 4, ei.ErrText},
	{"11#1b", 4, ei.ErrText},
	{"\u00a11", 0, ei.ErrText}, // U+00A0 is the last of the spaces
	{"\"\\\xff\"", 2, ei.ErrText},
	{"fun m:f/256", 8, ei.ErrText},
	{"fun m:f/", 8, ei.ErrText},
	{"fun() -> ok end", 3, ei.ErrText},
	{strings.Repeat("1", 65_537), 65_537, ei.ErrLimit},
}

func TestParse(t *testing.T) {
	for _, tc := range texts {
		got, err := ei.Parse(tc.text)
		if tc.want == nil {
			require.ErrorIs(t, err, ei.ErrText, "%q", tc.text)
			continue
		}
		require.NoError(t, err, "%q", tc.text)
		require.Equal(t, tc.want, got, "%q", tc.text)
		again := parsed(t, got.String())
		require.True(t, ei.Identical(got, again), "%q", tc.text)
	}
	for _, tc := range badTexts {
		got, err := ei.Parse(tc.text)
		require.Nil(t, got, "%q", tc.text)
		require.ErrorIs(t, err, tc.err, "%.100q", tc.text)
		var text *ei.TextError
		require.ErrorAs(t, err, &text)
		require.Equal(t, tc.offset, text.Offset, "%.100q: %v", tc.text, err)
		require.Less(t, len(err.Error()), 200)
	}
}

// Any number of terms may stand beside each other.
func TestParseWide(t *testing.T) {
	for _, text := range []string{"[]", "[a]", "[a|b]", "{}", "{a}", "#{}", "#{a => 1}", "#{{} => 1}", "<<>>", "<<1>>",
		"#m:r{}", "#m:r{a = 1}"} {
		got := parsed(t, "["+strings.Repeat(text+",", 10_001)+text+"]")
		require.Len(t, got, 10_002)
	}
}

func TestParseLarge(t *testing.T) {
	for _, base16 := range []int{5000, 100_001} {
		text := "-16#" + strings.Repeat("F", base16)
		got := parsed(t, text)
		b := got.(ei.BigInt)
		require.Equal(t, base16*4, b.Big().BitLen())
		if base16 > 8192 {
			require.Equal(t, text, b.String())
		}
		again := parsed(t, b.String())
		require.Equal(t, got, again)
	}
	_ = parsed(t, strings.Repeat("#{{1} => 2,{2} => ", 5000)+"#{}"+strings.Repeat("}", 5000))
	long := strings.Repeat("a", 65535)
	got := parsed(t, `"`+long+`"`)
	require.Equal(t, ei.String(long), got)
	got = parsed(t, `"`+long+`a"`)
	require.Len(t, got, 65536)
}

// TestParseWithErl asks a real runtime system what it makes of the texts.
func TestParseWithErl(t *testing.T) {
	erl := needErl(t)[0]
	var asked []string
	for _, tc := range texts {
		if tc.erl {
			asked = append(asked, "term "+tc.text)
		}
	}
	for _, tc := range badTexts {
		asked = append(asked, "term "+tc.text)
	}
	answers := askErl(t, erl, asked)
	for _, tc := range texts {
		if !tc.erl {
			continue
		}
		data, err := hex.DecodeString(answers[0])
		require.NoError(t, err, "%q: %s", tc.text, answers[0])
		theirs := decode(t, data)
		require.True(t, ei.Identical(theirs, tc.want), "%q: %v, %v", tc.text, theirs, tc.want)
		answers = answers[1:]
	}
	const limit = "a limit"
	stricter := map[string]string{ // what only Parse refuses, with the reason
		"#{1 => a, 1 => b}":         "the last of equal keys counts in Erlang",
		"$":                         "the question has a space behind it",
		"\"\"\"\na\n\"\"\"":         "another text before OTP 27",
		`<<"""a""">>`:               "the same",
		"<<1:65>>":                  limit,
		strings.Repeat("1", 65_537): limit,
	}
	for i, tc := range badTexts {
		if _, ok := stricter[tc.text]; !ok && tc.text != "" && !strings.HasSuffix(tc.text, ".") && !strings.Contains(tc.text, ". ") {
			require.True(t, strings.HasPrefix(answers[i], "error"), "%q is a term to Erlang: %s", tc.text, answers[i])
		}
	}
}

func TestTextOfOddTerms(t *testing.T) {
	for _, tc := range []struct {
		term ei.Term
		want string
	}{
		{ei.String(""), "[]"},
		{ei.Bitstring{Data: []byte{1, 2}, Bits: 8}, "<<1,2>>"},
		{ei.Bitstring{Data: []byte{1, 0xff}, Bits: 3}, "<<1,7:3>>"},
		{ei.Bitstring{}, "<<>>"},
		{ei.Bitstring{Data: []byte{1}}, "<<>>"},
		{ei.ImproperList{Tail: ei.Int(1)}, "1"},
		{ei.Raw("h\x01a\x05"), "{5}"},
		{ei.Raw("h\x01"), "#Raw<2 bytes>"},
		{ei.List{nil}, "[#Nil<>]"},
		{ei.Ref{Node: "a@b", Len: 9}, "#Ref<a@b.0.0.0.0.0.0>"},
		{ei.Float(math.Inf(1)), "#+Inf"},
		{ei.Float(math.NaN()), "#NaN"},
		{ei.Atom("\xff"), `'�'`},
		{ei.Binary("\xff"), "<<255>>"},
		{ei.Binary("\x00"), "<<0>>"},
		{ei.Binary("a\u2028b"), "<<97,226,128,168,98>>"},
		{ei.Fun{Module: "m", Index: 3, OldUniq: -4}, "#Fun<m.3.-4>"},
		// a FUN_EXT of old nodes has the old index only
		{ei.Fun{Arity: 2, Module: "m", Index: 3, OldIndex: 4, OldUniq: 5}, "#Fun<m.3.5>"},
		{ei.Fun{Arity: -1, Module: "m", OldIndex: 4, OldUniq: 5}, "#Fun<m.4.5>"},
		{ei.Fun{Arity: -1, Module: "m", OldIndex: -7, OldUniq: 5}, "#Fun<m.-7.5>"},
		{ei.String("\x00a"), "[0,97]"},
	} {
		require.Equal(t, tc.want, tc.term.String())
	}
}

// Segments of a binary are what they are to erl_parse and erl_eval of OTP 25.
func TestParseSegments(t *testing.T) {
	for text, want := range map[string]string{
		"<<(1)>>": "", "<<1:16#8>>": "<<1>>", "<<1:1_0>>": "<<0,1:2>>", "fun m:f/16#2": "fun m:f/2",
		"fun m:f/1_0":                    "fun m:f/10",
		"[1,\u0085 \u0080\u009f\u00a02]": "[1,2]",
	} {
		got, err := ei.Parse(text)
		if want == "" {
			require.Error(t, err, text)
			continue
		}
		require.NoError(t, err, text)
		same := parsed(t, want)
		require.True(t, ei.Identical(same, got), "%s is %s", text, got.(fmt.Stringer).String())
	}
	for _, text := range []string{
		"<<<<1>>>>", "<<<<1>>/binary>>", "<<1/integer>>", "<<1:16/little>>", "<<1:2/unit:8>>", "<<1.0>>", "<<1.0/float>>", "<<65/utf8>>",
		"#{a", "#{a 1}", "#{a =", "#{a => 1, b", `"\^1"`, `"\^ "`, "\"\\^\x7f\"", `'\^é'`,
		`<<"ab"/utf16>>`, `<<"ab":16>>`, "<<1,>>", "<<,1>>", "<<1:-1>>", "<<1:1.5>>", "fun m:f/-1", "fun m:f/256", "fun m:f/1.5",
	} {
		got, err := ei.Parse(text)
		require.Error(t, err, text)
		require.Nil(t, got, text)
	}
}

// The name of a reference's node needs no quotes, even with points in it: the numbers that follow
// can be told from it, since only an address, not a host's name, ends in a number.
func TestParseRefOfNodeWithPoints(t *testing.T) {
	for text, want := range map[string]ei.Ref{
		"#Ref<a@127.0.0.1.7.9>":       {Node: "a@127.0.0.1", Len: 1, ID: [5]uint32{7}, Creation: 9},
		"#Ref<a@10.0.0.1.3.2.1.9>":    {Node: "a@10.0.0.1", Len: 3, ID: [5]uint32{1, 2, 3}, Creation: 9},
		"#Ref<a@my.host.3.2.1.9>":     {Node: "a@my.host", Len: 3, ID: [5]uint32{1, 2, 3}, Creation: 9},
		"#Ref<a@h.3.2.1.9>":           {Node: "a@h", Len: 3, ID: [5]uint32{1, 2, 3}, Creation: 9},
		"#Ref<a@h7.3.2.1.9>":          {Node: "a@h7", Len: 3, ID: [5]uint32{1, 2, 3}, Creation: 9},
		"#Ref<'a@127.0.0.1'.2.1.7.9>": {Node: "a@127.0.0.1", Len: 3, ID: [5]uint32{7, 1, 2}, Creation: 9},
		"#Ref<a@7.8.9>":               {Node: "a@7", Len: 1, ID: [5]uint32{8}, Creation: 9},
	} {
		got := parsed(t, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"#Ref<a@my.host.3>", "#Ref<a@h>", "#Ref<a@h.1.x.2>", "#Ref<>", "#Ref<a@h.1.2.3.4.5.6.7>"} {
		_, err := ei.Parse(text)
		require.Error(t, err, text)
	}
}

// An identifier does not keep the text that it was read from.
func TestParseIdentifierKeepsNoText(t *testing.T) {
	text := "#Pid<a@b.1.2.3>" + strings.Repeat(" ", 100)
	got := parsed(t, text)
	node := string(got.(ei.Pid).Node)
	within := uintptr(unsafe.Pointer(unsafe.StringData(node))) - uintptr(unsafe.Pointer(unsafe.StringData(text)))
	require.Greater(t, within, uintptr(len(text)))
}

// Brief gives the beginning of the whole text, and its cost depends on that length, not on the size
// of the term.
func TestBrief(t *testing.T) {
	deep := ei.Term(ei.Atom("x"))
	for range 100 {
		deep = ei.Tuple{deep, ei.Binary("é")}
	}
	big := parsed(t, "1"+strings.Repeat("0", 3000))
	for _, term := range []ei.Term{
		ei.Int(7), ei.Atom("é ü"), big, ei.Float(1.5), deep, ei.String("héllo"), ei.String("a\x00b"), ei.Binary("long é text"),
		ei.Binary{1, 2, 3},
		ei.Bitstring{Data: []byte{1, 2, 128}, Bits: 3}, ei.Bitstring{Data: []byte("text too"), Bits: 3}, ei.List{ei.Int(1), ei.List{}},
		ei.ImproperList{Elems: []ei.Term{ei.Int(1)}, Tail: ei.Int(2)},
		ei.Map{{Key: ei.Atom("k"), Value: ei.Int(1)}, {Key: ei.Atom("l"), Value: ei.Binary("v")}},
		ei.Record{Module: "m", Name: "n", Fields: []ei.Field{{Name: "f", Value: ei.Int(1)}}},
	} {
		whole := term.String()
		require.Equal(t, whole, ei.Brief(term, len(whole)))
		for n := range len(whole) {
			got, cut := strings.CutSuffix(ei.Brief(term, n), "…")
			require.True(t, cut, "%d of %s", n, whole)
			require.True(t, utf8.ValidString(got))
			require.LessOrEqual(t, len(got), n)
			require.Greater(t, len(got), n-utf8.UTFMax)
			require.True(t, strings.HasPrefix(whole, got), "%d of %s: %s", n, whole, got)
		}
	}

	huge := parsed(t, "16#"+strings.Repeat("f", 1<<22))
	large := make(ei.List, 1<<16)
	for i := range large {
		large[i] = ei.Tuple{ei.Binary(make([]byte, 100)), ei.Map{{Key: ei.Int(i), Value: ei.String(strings.Repeat("x", 100))}}}
	}
	for _, term := range []ei.Term{
		large, ei.Tuple{large, large}, ei.Map{{Key: large, Value: large}}, ei.Binary(make([]byte, 1<<24)), ei.String(make([]byte, 1<<24)),
		ei.Bitstring{Data: make([]byte, 1<<24), Bits: 1}, ei.Raw(ei.AppendBinary(nil, make([]byte, 1<<24))), huge,
	} {
		size := allocated(func() { require.NotEmpty(t, ei.Brief(term, 1000)) })
		require.Less(t, size, 64<<10)
	}
}

func parsed(t require.TestingT, text string) ei.Term {
	v, err := ei.Parse(text)
	require.NoError(t, err, "%.200q", text)
	return v
}
