package ei_test

import (
	"bytes"
	"flag"
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/race"
)

// deep is how deep the terms of these tests are: too deep for a goroutine's stack, or for what
// takes more than linear time.
var deep = 1_000_000

// TestMain makes stacks smaller where terms are less deep, so that both say the same: no function
// calls itself for each level.
func TestMain(m *testing.M) {
	flag.Parse()
	switch {
	case race.Enabled:
		deep = 50_000
	case testing.Short():
		deep = 100_000
	}
	debug.SetMaxStack(1000 * deep)
	os.Exit(m.Run())
}

// nestings are ways to nest, each with the bytes and the text before and after the inner term.
var nestings = []struct {
	name            string
	open, close     string
	text, closeText string // none if Parse does not read it
}{
	{"tuple", "h\x01", "", "{", "}"},
	{"wide tuple", "h\x03jj", "", "{[],[],", "}"},
	{"list", "l\x00\x00\x00\x01", "j", "[", "]"},
	{"list between others", "l\x00\x00\x00\x03a\x01", "a\x02j", "[1,", ",2]"},
	{"improper list", "l\x00\x00\x00\x01", "a\x01", "[", "|1]"},
	{"tail", "l\x00\x00\x00\x01a\x01h\x01", "", "[1|{", "}]"},
	{"value", "t\x00\x00\x00\x01a\x01", "", "#{1 => ", "}"},
	{"key", "t\x00\x00\x00\x01", "a\x01", "#{", " => 1}"},
	{"one of two keys", "t\x00\x00\x00\x02", "a\x01a\x01a\x01", "#{", " => 1,1 => 1}"},
	{"the other key", "t\x00\x00\x00\x02a\x01a\x01", "a\x01", "#{1 => 1,", " => 1}"},
	{"key within a list", "t\x00\x00\x00\x01l\x00\x00\x00\x01", "ja\x01", "#{[", "] => 1}"},
	{"native record", "C\x00\x00\x00\x01\x01w\x01mw\x01rw\x01f", "", "#m:r{f = ", "}"},
	{"closure", closureHead, "", "", ""},
}

// closureHead is a NEW_FUN_EXT of one free variable, which comes next, without its size.
var closureHead = "p\x00\x00\x00\x00" + closureOf(1, pidOf)[5:]

func nest(open, inner, end string, n int) []byte {
	return []byte(strings.Repeat(open, n) + inner + strings.Repeat(end, n))
}

func TestDeepTerms(t *testing.T) {
	for _, nesting := range nestings {
		deep := deep
		switch nesting.name {
		case "tuple", "list", "value", "key":
		default:
			deep /= 20
		}
		t.Run(nesting.name, func(t *testing.T) {
			data := nest(nesting.open, "w\x01x", nesting.close, deep)
			c := ei.NewCursor(data)
			require.NoError(t, c.Skip())
			require.Zero(t, c.Len())
			term, err := ei.Raw(data).Decode()
			require.NoError(t, err)

			again := appended(t, term)
			if nesting.name != "closure" { // which gets its size
				require.True(t, bytes.Equal(data, again), "it is not what it was")
			}
			marshalled := appended(t, []any{term})
			require.Len(t, marshalled, len(again)+6)

			same, err := ei.DecodeOptions{Strict: true, Records: true}.Decode(ei.Raw(again))
			require.NoError(t, err)
			require.Zero(t, ei.Compare(term, same))
			require.True(t, ei.Identical(term, same))
			require.True(t, ei.Identical(term, ei.Raw(again)))
			greater, err := ei.Raw(nest(nesting.open, "w\x01y", nesting.close, deep)).Decode()
			require.NoError(t, err)
			require.Equal(t, -1, ei.Compare(term, greater))
			require.Equal(t, 1, ei.Compare(greater, term))

			levels := 0
			for range ei.Walk(term) {
				levels++
			}
			require.Greater(t, levels, deep)

			text := ei.AppendText(nil, term)
			require.Less(t, len(ei.Brief(term, 100)), 110)
			if nesting.text == "" {
				return
			}
			require.True(t, bytes.Equal(nest(nesting.text, "x", nesting.closeText, deep), text), "%.100s", text)
			parsed := parsed(t, string(text))
			require.True(t, ei.Identical(term, parsed))
		})
	}
}

// A malformed end of a deep term, and what cannot be encoded deep inside one, are found in linear
// time, too, and told shortly.
func TestDeepErrors(t *testing.T) {
	for _, nesting := range nestings {
		_, err := ei.Raw(nest(nesting.open, "\xff", nesting.close, deep/10)).Decode()
		require.ErrorIs(t, err, ei.ErrTag, nesting.name)
		require.Less(t, len(err.Error()), 400)
		term, err := ei.Raw(nest(nesting.open, "w\x01x", nesting.close, 1000)).Decode()
		require.NoError(t, err)
		for range deep / 1000 {
			term = ei.Tuple{term}
		}
		_, err = ei.AppendTerm(nil, ei.Tuple{term, ei.Atom("\xff")})
		require.ErrorIs(t, err, ei.ErrAtom, nesting.name)
	}
	bad := ei.Term(ei.Atom("\xff"))
	for range deep {
		bad = ei.List{ei.Int(1), bad}
	}
	kept := []byte("kept")
	b, err := ei.AppendTerm(kept, bad)
	require.ErrorIs(t, err, ei.ErrAtom)
	require.Less(t, len(err.Error()), 400)
	require.Equal(t, kept, b)
	_, err = ei.Parse(strings.Repeat("[{", deep))
	require.ErrorIs(t, err, ei.ErrText)
}

// What only some runtime systems refuse is found however deep it is.
func TestDeepClash(t *testing.T) {
	const keys = "t\x00\x00\x00\x02F\x00\x00\x00\x00\x00\x00\x00\x00jF\x80\x00\x00\x00\x00\x00\x00\x00j"
	for _, nesting := range nestings {
		data := nest(nesting.open, keys, nesting.close, deep/10)
		_, err := ei.Raw(data).Decode()
		require.NoError(t, err, nesting.name)
		_, err = ei.DecodeOptions{Strict: true, Records: true}.Decode(ei.Raw(data))
		require.ErrorIs(t, err, ei.ErrRefused, nesting.name)
	}
}

// Go values are as deep as they like, too.
func TestDeepValues(t *testing.T) {
	for name, tt := range map[string]struct {
		wrap       func(v any) any
		open, tail string
	}{
		"slice":         {func(v any) any { return []any{v} }, "l\x00\x00\x00\x01", "j"},
		"typed slice":   {func(v any) any { return []*any{&v} }, "l\x00\x00\x00\x01", "j"},
		"array":         {func(v any) any { return [2]any{1, v} }, "l\x00\x00\x00\x02a\x01", "j"},
		"map":           {func(v any) any { return map[string]any{"a": v} }, "t\x00\x00\x00\x01m\x00\x00\x00\x01a", ""},
		"map of others": {func(v any) any { return map[int]any{1: v, 0: 2} }, "t\x00\x00\x00\x02a\x00a\x02a\x01", ""},
		"pointer":       {func(v any) any { return &v }, "", ""},
	} {
		v := any(1)
		for range deep / 4 {
			v = tt.wrap(v)
		}
		b := appended(t, v)
		require.True(t, bytes.Equal(nest(tt.open, "a\x01", tt.tail, deep/4), b), name)
		for range 3 {
			v = tt.wrap(v)
		}
		_, err := ei.Append(nil, []any{v, make(chan int)})
		require.ErrorAs(t, err, new(*ei.MappingError), name)
	}
}

func TestDeepIodata(t *testing.T) {
	c := ei.NewCursor(nest("l\x00\x00\x00\x01", "m\x00\x00\x00\x02hi", "j", deep))
	b, err := c.AppendIodata(nil)
	require.NoError(t, err)
	require.Equal(t, "hi", string(b))
}

// Text, too, of what contains itself comes to an end.
func TestTextOfTermWithinItself(t *testing.T) {
	list := ei.List{ei.Int(1), nil}
	list[1] = ei.Tuple{list}
	text := list.String()
	require.True(t, strings.HasPrefix(text, "[1,{[1,{[1,"))
	require.True(t, strings.HasSuffix(text, "}]}]"))
	require.Contains(t, text, "#Cyclic<>")
	require.Less(t, len(text), 10_000)
}
