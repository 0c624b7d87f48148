package elixir_test

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
	"github.com/cnode-go/cnode/internal/test/race"
	"github.com/cnode-go/cnode/internal/test/terms"
)

// Texts of Elixir with the term, written in Erlang, that they are. What AppendText writes of the
// term is the text itself, or inspected if that is there.
var elixirTexts = []struct{ text, erlang, inspected string }{
	{"nil", "nil", ""},
	{"true", "true", ""},
	{"false", "false", ""},
	{":nil", "nil", "nil"},
	{":ok", "ok", ""},
	{":foo?", "'foo?'", ""},
	{":foo!", "'foo!'", ""},
	{":foo@bar", "foo@bar", ""},
	{":_", "'_'", ""},
	{":Foo", "'Foo'", ""},
	{":é", "'é'", ""},
	{":Éa1", "'Éa1'", ""},
	{`:"日本"`, "'日本'", ""},
	{":日本", "'日本'", `:"日本"`},
	{`:""`, "''", ""},
	{`:"go@127.0.0.1"`, "'go@127.0.0.1'", ""},
	{`:'a b'`, "'a b'", `:"a b"`},
	{`:"a\"b\\\n\e\d\0\x01\u200B#{"`, "", ""},
	{`:"a\"\#{"`, `'a"#{'`, ""},
	{":+", "'+'", ""},
	{":..//", "'..//'", ""},
	{":%{}", "'%{}'", ""},
	{":<<>>", "'<<>>'", ""},
	{`:"::"`, "'::'", ""},
	{":<|>", "'<|>'", `:"<|>"`},
	{":and", "'and'", ""},
	{"Foo", "'Elixir.Foo'", ""},
	{"Foo.Bar.Baz9", "'Elixir.Foo.Bar.Baz9'", ""},
	{"Elixir.Foo", "'Elixir.Foo'", "Foo"},
	{"Elixir", "'Elixir'", ""},
	{`:"Elixir.foo"`, "'Elixir.foo'", ""},
	{`:"Elixir.Foo"`, "'Elixir.Foo'", "Foo"},
	{`Elixir.Elixir`, "'Elixir.Elixir'", ""},
	{`Elixir.Elixir.Foo`, "'Elixir.Elixir.Foo'", ""},
	{"0", "0", ""},
	{"-17", "-17", ""},
	{"+ 17", "17", "17"},
	{"1_000_000", "1000000", "1000000"},
	{"0xFf", "255", "255"},
	{"-0b101", "-5", "-5"},
	{"0o17", "15", "15"},
	{"007", "7", "7"},
	{"18446744073709551616", "18446744073709551616", ""},
	{"?a", "97", "97"},
	{`?\n`, "10", "10"},
	{`?\s`, "32", "32"},
	{"?é", "233", "233"},
	{"?😀", "128512", "128512"},
	{`?\x`, "120", "120"},
	{"-?a", "-97", "-97"},
	{"1.5", "1.5", ""},
	{"-0.0", "-0.0", ""},
	{"1.0e3", "1000.0", "1000.0"},
	{"1.0E-3", "0.001", "0.001"},
	{"1.0e-5", "1.0e-5", ""},
	{"1.2e-4", "1.2e-4", ""},
	{"0.0123", "0.0123", ""},
	{"1.0e16", "1.0e16", ""},
	{"1000000000000000.0", "1.0e15", ""},
	{"-1.2345e-7", "-1.2345e-7", ""},
	{`""`, "<<>>", ""},
	{`"abc"`, `<<"abc">>`, ""},
	{`"é日"`, `<<"é日"/utf8>>`, ""},
	{`"a\"b\\\n\t\r\a\b\v\f\e\d\#{"`, `<<"a\"b\\\n\t\r\^G\b\v\f\e\d#{">>`, ""},
	{`"#a"`, `<<"#a">>`, ""},
	{`"\x41\u0042\u{43}\q\s"`, `<<"ABCq ">>`, `"ABCq "`},
	{"\"a\\\nb\"", `<<"ab">>`, `"ab"`},
	{`"\xff"`, "<<255>>", "<<255>>"},
	{`"\u200b"`, "<<226,128,139>>", `"\u200B"`},
	{"<<>>", "<<>>", `""`},
	{"<<0, 255>>", "<<0,255>>", ""},
	{"<<1, 2::size(3)>>", "<<1,2:3>>", ""},
	{"<<1::1>>", "<<1:1>>", "<<1::size(1)>>"},
	{"<<258::16>>", "<<1,2>>", "<<1, 2>>"},
	{`<<"ab", "", "é", ?a, 0>>`, `<<"abéa"/utf8,0>>`, "<<97, 98, 195, 169, 97, 0>>"},
	{"[]", "[]", ""},
	{"[1]", "[1]", ""},
	{"[1, 2, 300]", "[1,2,300]", ""},
	{"[1, 2,]", "[1,2]", "[1, 2]"},
	{"[1 | 2]", "[1|2]", ""},
	{"[1, 2 | :a]", "[1,2|a]", ""},
	{"[1 | [2 | [3]]]", "[1,2,3]", "[1, 2, 3]"},
	{"[1 | [a: 2]]", "[1,{a,2}]", "[1, {:a, 2}]"},
	{`[300 | 'ab']`, "[300,97,98]", "[300, 97, 98]"},
	{`~c"abc"`, `"abc"`, ""},
	{`'abc'`, `"abc"`, `~c"abc"`},
	{`''`, "[]", "[]"},
	{`'aé'`, "[97,233]", "[97, 233]"},
	{`'日'`, "[26085]", "[26085]"},
	{`~c"a\"\n"`, `"a\"\n"`, ""},
	{"[a: 1]", "[{a,1}]", ""},
	{`[a: 1, "b c": 2, nil: 3, Foo: 4, +: 5, {}: 6, %{}: 7, "::": 8, é: 9, x@y: 10, do: 11, <<>>: 12]`,
		"[{a,1},{'b c',2},{nil,3},{'Foo',4},{'+',5},{'{}',6},{'%{}',7},{'::',8},{'é',9},{x@y,10},{'do',11},{'<<>>',12}]", ""},
	{"[1, a: 2, b: 3]", "[1,{a,2},{b,3}]", "[1, {:a, 2}, {:b, 3}]"},
	{"[{:a, 1}]", "[{a,1}]", "[a: 1]"},
	{"['a b': 1]", "[{'a b',1}]", `["a b": 1]`},
	{"[{Foo, 1}]", "[{'Elixir.Foo',1}]", ""},
	{`["Elixir": 1]`, "[{'Elixir',1}]", ""},
	{"[{:a, 1} | :b]", "[{a,1}|b]", ""},
	{"{}", "{}", ""},
	{"{:ok, {1}}", "{ok,{1}}", ""},
	{"{:ok, a: 1, b: 2}", "{ok,[{a,1},{b,2}]}", "{:ok, [a: 1, b: 2]}"},
	{"%{}", "#{}", ""},
	{"%{a: 1, b: [c: 2]}", "#{a => 1,b => [{c,2}]}", ""},
	{`%{"k" => 1, :a => 2}`, `#{<<"k">> => 1,a => 2}`, ""},
	{`%{"k" => 1, a: 2}`, `#{<<"k">> => 1,a => 2}`, `%{"k" => 1, :a => 2}`},
	{"%{%{a: 1} => {}}", "#{#{a => 1} => {}}", ""},
	{"%Shop.Order{qty: 3}", "#{'__struct__' => 'Elixir.Shop.Order',qty => 3}", ""},
	{"%Shop.Order{}", "#{'__struct__' => 'Elixir.Shop.Order'}", ""},
	{"%{__struct__: Shop.Order}", "#{'__struct__' => 'Elixir.Shop.Order'}", "%Shop.Order{}"},
	{"%{:__struct__ => Shop.Order, 1 => 2}", "#{'__struct__' => 'Elixir.Shop.Order',1 => 2}", ""},
	{"%:m{a: 1}", "#{'__struct__' => m,a => 1}", "%{__struct__: :m, a: 1}"},
	{"~D[2026-01-31]", "#{'__struct__' => 'Elixir.Date',calendar => 'Elixir.Calendar.ISO',year => 2026,month => 1,day => 31}", ""},
	{"~D[-0001-12-31]", "#{'__struct__' => 'Elixir.Date',calendar => 'Elixir.Calendar.ISO',year => -1,month => 12,day => 31}", ""},
	{"~T[23:59:59.120]", "#{'__struct__' => 'Elixir.Time',calendar => 'Elixir.Calendar.ISO',hour => 23,minute => 59,second => 59," +
		"microsecond => {120000,3}}", ""},
	{"~T[00:00:00,1234567]", "#{'__struct__' => 'Elixir.Time',calendar => 'Elixir.Calendar.ISO',hour => 0,minute => 0,second => 0," +
		"microsecond => {123456,6}}", "~T[00:00:00.123456]"},
	{"~N[2024-02-29T00:00:00]", "#{'__struct__' => 'Elixir.NaiveDateTime',calendar => 'Elixir.Calendar.ISO',year => 2024,month => 2," +
		"day => 29," +
		"hour => 0,minute => 0,second => 0,microsecond => {0,0}}", "~N[2024-02-29 00:00:00]"},
	{"~U[2024-02-29 00:00:00.0Z]", "#{'__struct__' => 'Elixir.DateTime',calendar => 'Elixir.Calendar.ISO',year => 2024,month => 2,day => 29," +
		`hour => 0,minute => 0,second => 0,microsecond => {0,1},time_zone => <<"Etc/UTC">>,` +
		`zone_abbr => <<"UTC">>,utc_offset => 0,std_offset => 0}`, ""},
	{"%Date{calendar: Calendar.ISO, year: 2026, month: 2, day: 30}",
		"#{'__struct__' => 'Elixir.Date',calendar => 'Elixir.Calendar.ISO',year => 2026,month => 2,day => 30}", ""},
	{"1..3", "#{'__struct__' => 'Elixir.Range',first => 1,last => 3,step => 1}", ""},
	{"3 .. 1", "#{'__struct__' => 'Elixir.Range',first => 3,last => 1,step => -1}", "3..1//-1"},
	{"3..1//1", "#{'__struct__' => 'Elixir.Range',first => 3,last => 1,step => 1}", ""},
	{"[1..10//2, -1..-3//-1]", "[#{'__struct__' => 'Elixir.Range',first => 1,last => 10,step => 2}," +
		"#{'__struct__' => 'Elixir.Range',first => -1,last => -3,step => -1}]", ""},
	{"&Enum.map/2", "fun 'Elixir.Enum':map/2", ""},
	{"&:lists.map/2", "fun lists:map/2", ""},
	{"&Kernel.+/2", "fun 'Elixir.Kernel':'+'/2", ""},
	{`&Kernel."..//"/3`, "fun 'Elixir.Kernel':'..//'/3", ""},
	{`&:"."."->"/0`, "fun '.':'->'/0", ""},
	{`&:"a b"."C d"/0`, "fun 'a b':'C d'/0", ""},
	{"#PID<'a@b-c'.1.2.3>", "#Pid<'a@b-c'.1.2.3>", ""},
	{"#Port<a@b.1.3>", "#Port<'a@b'.1.3>", ""},
	{"[#Reference<a@b.1.2.3.4>]", "[#Ref<'a@b'.1.2.3.4>]", ""},
	{"# one\n{ # two\n:a, #three\n 1 } # four", "{a,1}", "{:a, 1}"},
}

func TestElixir(t *testing.T) {
	for _, c := range elixirTexts {
		t.Run(c.text, func(t *testing.T) {
			got, err := elixir.Parse(c.text)
			if c.erlang == "" {
				require.ErrorIs(t, err, ei.ErrText)
				return
			}
			require.NoError(t, err)
			want := parsed(t, c.erlang)
			require.True(t, ei.Identical(want, got), "%v, not %v", got, want)
			if c.inspected == "" {
				c.inspected = c.text
			}
			require.Equal(t, c.inspected, string(elixir.AppendText(nil, got)))
			again, err := elixir.Parse(c.inspected)
			require.NoError(t, err)
			require.True(t, ei.Identical(want, again), "%v", again)
		})
	}
}

// What is no term in Elixir, or is not read, with the place of what is wrong.
func TestElixirRefuses(t *testing.T) {
	for _, c := range []struct {
		text   string
		offset int
		says   string
	}{
		{"", 0, "unexpected end"},
		{"# only", 6, "unexpected end"},
		{"1 2", 2, `unexpected "2"`},
		{"foo", 0, `unexpected "foo", a variable: an atom is :foo`},
		{"[foo]", 1, "a variable: an atom is :foo"},
		{"1 + 2", 2, "unexpected"},
		{"foo()", 0, "unexpected"},
		{"Foo.bar", 3, "unexpected"},
		{"a: 1", 0, "unexpected"},
		{`"a": 1`, 0, "a keyword where a value is due"},
		{"[a:1]", 1, "unexpected"},
		{"[a: 1, 2]", 7, "a keyword is due"},
		{"%{a: 1, :b => 2}", 8, "a keyword is due"},
		{"{a: 1, {}}", 7, "a keyword is due"},
		{"[a: b: 1]", 4, "unexpected"},
		{`[a: "b": 1]`, 4, "a keyword where"},
		{"[a: 1 | []]", 6, "unexpected"},
		{"[1 | 2, 3]", 6, "unexpected"},
		{"[1 | a: 2]", 5, "unexpected"},
		{"[,]", 1, "unexpected"},
		{"[1,,]", 3, "unexpected"},
		{"[1", 2, "unexpected end"},
		{"{1]", 2, "unexpected"},
		{"%{1}", 3, "unexpected"},
		{"%{1 => }", 7, "unexpected"},
		{"%{a: 1, a: 2}", 0, "duplicate key"},
		{"%Foo{__struct__: Foo}", 0, "duplicate key"},
		{"%foo{}", 1, "unexpected"},
		{"%{m | a: 1}", 2, "unexpected"},
		{`"a`, 0, "no closing quote"},
		{`"a#{1}"`, 2, "interpolation"},
		{`"""`, 0, "heredoc"},
		{`~c"""`, 2, "heredoc"},
		{`"\xg0"`, 1, "bad escape"},
		{`"\u12"`, 1, "bad escape"},
		{`"\u{110000}"`, 1, "bad escape"},
		{`"\u{d800}"`, 1, "bad escape"},
		{`"\u{1_0}"`, 1, "bad escape"},
		{"\"\xff\"", 1, "not UTF-8"},
		{`'\xff'`, 0, "not UTF-8"},
		{`:"\xff"`, 0, "bad atom"},
		{":", 0, "unexpected"},
		{": a", 0, "unexpected"},
		{"::", 0, "unexpected"},
		{":" + strings.Repeat("a", 256), 0, "bad atom"},
		{"~D[2026-02-30]", 0, "want what is like 2026-01-31"},
		{"~D[2026-1-30]", 0, "~D"},
		{"~D[2026-01-30 Foo]", 0, "~D"},
		{"~T[24:00:00]", 0, "~T"},
		{"~T[00:00:00.]", 0, "~T"},
		{"~N[2026-01-01]", 0, "~N"},
		{"~U[2026-01-01 00:00:00+01:00]", 0, "~U"},
		{"~r/a/", 0, "the sigil ~r is not read"},
		{"~r[a]", 0, "the sigil ~r is not read"},
		{"~D[2026-01-30", 0, "the sigil ~D is not read"},
		{"~D", 0, "unexpected"},
		{"1..", 3, "unexpected end"},
		{"1..2.5", 3, "a range is of integers"},
		{"1..2//0", 7, "steps of 0"},
		{"1.5..2", 3, "unexpected"},
		{"1.0e400", 0, "not a finite float"},
		{"0xg", 2, "unexpected"},
		{"1_", 1, "unexpected"},
		{"?", 1, "unexpected end"},
		{"<<a>>", 2, "unexpected"},
		{"<<1::foo>>", 5, "unexpected"},
		{"<<1::size(x)>>", 10, "unexpected"},
		{"<<1::8-9>>", 6, "unexpected"},
		{`<<"a"::8>>`, 5, "unexpected"},
		{"<<1::65537>>", 5, "unexpected"},
		{"<< <<1>> >>", 3, "within a binary"},
		{"<<1.5>>", 2, "a float in a binary"},
		{"#PID<0.95.0>", 5, "a shell prints a number"},
		{"#Function<1.2/3 in :m>", 0, "#Function<…> has no syntax"},
		{"#DateTime<2020>", 0, "has no syntax"},
		{"&Foo.bar", 8, "unexpected end"},
		{"&Foo.bar/256", 9, "unexpected"},
		{"&foo/1", 1, "unexpected"},
	} {
		got, err := elixir.Parse(c.text)
		var located *ei.TextError
		require.ErrorAs(t, err, &located, "%s: %v", c.text, got)
		require.Equal(t, c.offset, located.Offset, "%s: %v", c.text, err)
		require.ErrorContains(t, err, c.says, c.text)
	}
}

// What has no syntax in Elixir is written all the same.
func TestAppendTextOpaque(t *testing.T) {
	for _, c := range []struct {
		t    ei.Term
		want string
	}{
		{ei.Fun{Module: "m", Index: 7, OldUniq: 3, Arity: 2}, "#Function<7.3/2 in :m>"},
		{ei.Fun{Module: "m", OldIndex: 1, OldUniq: 3, Arity: -1}, "#Function<1.3/0 in :m>"},
		{ei.Record{Module: "m", Name: "r", Fields: []ei.Field{{Name: "a", Value: ei.Tuple{}}, {Name: "B", Value: ei.Int(1)}}},
			"#Record<:m.r{a: {}, B: 1}>"},
		{ei.Local{1, 2}, "#Local<2 bytes>"},
		{ei.Raw{1, 2}, "#Raw<2 bytes>"},
		{ei.Raw("l\x00\x00\x00\x01h\x02w\x01aa\x01j"), "[a: 1]"},
		{ei.ImproperList{Tail: ei.List{ei.Int(1)}}, "[1]"},
		{nil, "#Nil<>"},
		{ei.NewBigInt(new(big.Int).Lsh(big.NewInt(1), 8*4096)), "0x1" + strings.Repeat("00", 4096)},
		{ei.Map{{Key: ei.Atom("__struct__"), Value: ei.Atom("Elixir.Range")}, {Key: ei.Atom("first"), Value: ei.Int(1)},
			{Key: ei.Atom("last"), Value: ei.Float(2)}, {Key: ei.Atom("step"), Value: ei.Int(1)}}, "%Range{first: 1, last: 2.0, step: 1}"},
	} {
		require.Equal(t, c.want, string(elixir.AppendText(nil, c.t)))
	}
	cyclic := make(ei.List, 1)
	cyclic[0] = cyclic
	require.Contains(t, string(elixir.AppendText(nil, cyclic)), "#Cyclic<>")
}

// Numbers of any size in base 16, of 65,536 digits in others; more is over the limit.
func TestElixirDigits(t *testing.T) {
	_, err := elixir.Parse(strings.Repeat("9", 1<<16+1))
	require.ErrorIs(t, err, ei.ErrLimit)
	_, err = elixir.Parse("-0x" + strings.Repeat("9", 1<<16+1))
	require.NoError(t, err)
}

func TestElixirRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		term := terms.Of(3).Draw(t, "term")
		text := string(elixir.AppendText(nil, term))
		got, err := elixir.Parse(text)
		if isOpaque(term) {
			require.ErrorIs(t, err, ei.ErrText)
			return
		}
		require.NoError(t, err, "%s", text)
		require.True(t, ei.Identical(term, got), "%s", text)
		require.Equal(t, text, string(elixir.AppendText(nil, got)))
	})
}

// isOpaque reports whether a term has a part that has no syntax in Elixir.
func isOpaque(t ei.Term) bool {
	for t := range ei.Walk(t) {
		switch t.(type) {
		case ei.Fun, ei.Record:
			return true
		}
	}
	return false
}

// deep is too deep for a goroutine's stack, or for what takes more than linear time.
var deep = func() int {
	if race.Enabled {
		return 50_000
	}
	return 1_000_000
}()

// Text may be nested as deep as memory allows, and is written so.
func TestElixirDeep(t *testing.T) {
	for _, c := range []struct{ open, close, inner string }{
		{"[", "]", "1"},
		{"{", "}", "1"},
		{"{1, ", "}", "1"},
		{"[a: ", "]", "1"},
		{"%{a: ", "}", "1"},
		{"%{", " => 1}", "1"},
		{"%A{b: ", "}", "1"},
		{"[1 | {", "}]", "1"},
	} {
		deep := deep
		if len(c.open) > 1 && c.open != "%{a: " {
			deep /= 20
		}
		text := strings.Repeat(c.open, deep) + c.inner + strings.Repeat(c.close, deep)
		got, err := elixir.Parse(text)
		require.NoError(t, err, c.open)
		require.True(t, text == string(elixir.AppendText(nil, got)), c.open)
		_, err = elixir.Parse(text[:len(text)-1])
		require.ErrorIs(t, err, ei.ErrText)
	}
	got, err := elixir.Parse(strings.Repeat("[1 | ", deep) + "[]" + strings.Repeat("]", deep))
	require.NoError(t, err)
	require.Len(t, got, deep)
	got, err = elixir.Parse(strings.Repeat("{:a, b: ", deep) + "1" + strings.Repeat("}", deep))
	require.NoError(t, err)
	require.Len(t, elixir.AppendText(nil, got), deep*len("{:a, [b: ]}")+1)
}

// Floats are written as Erlang's shortest form has them.
func TestElixirFloats(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0.0", 0.1: "0.1", 0.01: "0.01", 0.0001: "0.0001", 0.00012: "1.2e-4", 0.00001: "1.0e-5", 1e15: "1000000000000000.0", 1e22: "1.0e22",
		123456789012345680: "1.2345678901234568e17", math.MaxFloat64: "1.7976931348623157e308", math.SmallestNonzeroFloat64: "5.0e-324",
	} {
		require.Equal(t, want, string(elixir.AppendText(nil, ei.Float(f))))
	}
}

// FuzzParse checks that Parse reads a term whose text is read back to the same term.
func FuzzParse(f *testing.F) {
	for _, tc := range elixirTexts {
		f.Add(tc.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		term, err := elixir.Parse(text)
		if err != nil {
			var located *ei.TextError
			require.ErrorAs(t, err, &located)
			require.True(t, located.Offset >= 0 && located.Offset <= len(text))
			return
		}
		out := string(elixir.AppendText(nil, term))
		again, err := elixir.Parse(out)
		require.NoError(t, err, "%q", out)
		require.True(t, ei.Identical(term, again), "%q", out)
		require.Equal(t, out, string(elixir.AppendText(nil, again)))
		data := marshal(t, term)
		require.LessOrEqual(t, len(data), 1<<17+64*len(text))
	})
}

func ExampleAppendText() {
	term, _ := ei.Parse(`#{sku => <<"A1">>,tags => [{new,true}],qty => 3}`)
	fmt.Printf("%s\n", elixir.AppendText(nil, term))
	// Output: %{sku: "A1", tags: [new: true], qty: 3}
}

func ExampleParse() {
	term, err := elixir.Parse(`{:quote, %{sku: "A1", when: ~D[2026-01-31]}}`)
	fmt.Println(term.(ei.Tuple)[0], err)
	_, err = elixir.Parse("{:ok, x}")
	fmt.Println(err)
	// Output:
	// quote <nil>
	// ei: not an Erlang term at offset 6: unexpected "x}", a variable: an atom is :x
}
