package ei_test

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

func TestFormat(t *testing.T) {
	pid := ei.Pid{Node: "a@b", ID: 1, Creation: 2}
	for _, c := range []struct {
		format string
		args   []any
		want   ei.Term
	}{
		{"{~a, ~i, [~s]}", []any{"numbers", 12, "text"}, ei.Tuple{ei.Atom("numbers"), ei.Int(12), ei.List{ei.String("text")}}},
		{"~a", []any{ei.Atom("A b")}, ei.Atom("A b")},
		{"[~c,~c]", []any{'a', byte(255)}, ei.List{ei.Int('a'), ei.Int(255)}},
		{"[~i,~l,~u]", []any{int8(-1), int64(math.MinInt64), uint64(math.MaxUint64)},
			ei.List{ei.Int(-1), ei.Int(math.MinInt64), ei.NewBigInt(new(big.Int).SetUint64(math.MaxUint64))}},
		{"[~i,~i]", []any{big.NewInt(3), ei.Int(4)}, ei.List{ei.Int(3), ei.Int(4)}},
		{"[~f|~d]", []any{float32(1.5), 2.5}, ei.ImproperList{Elems: []ei.Term{ei.Float(1.5)}, Tail: ei.Float(2.5)}},
		{"{~p}", []any{pid}, ei.Tuple{pid}},
		{"~s", []any{""}, ei.List{}},
		{"~s", []any{[]byte("\xff")}, ei.String("\xff")},
		{"~s", []any{strings.Repeat("a", 1<<16)}, ei.String(strings.Repeat("a", 1<<16)).List()},
		{"{~w,~w}", []any{ei.Tuple{}, map[string]int{"a": 1}}, ei.Tuple{ei.Tuple{}, ei.Map{{Key: ei.Binary("a"), Value: ei.Int(1)}}}},
		{"#{~a => ~w}", []any{"k", []any{1, "x"}}, ei.Map{{Key: ei.Atom("k"), Value: ei.List{ei.Int(1), ei.Binary("x")}}}},
		{`{'~a', "~s", $~, ~"x"}. % ~a`, nil, ei.Tuple{ei.Atom("~a"), ei.String("~s"), ei.Int('~'), ei.Binary("x")}},
	} {
		got, err := ei.Format(c.format, c.args...)
		require.NoError(t, err, c.format)
		require.Equal(t, c.want, got, c.format)
	}
}

func TestFormatRefuses(t *testing.T) {
	for _, c := range []struct {
		format string
		args   []any
		offset int
		says   string
	}{
		{"{~a", []any{"x"}, 3, "unexpected end"},
		{"~a", nil, 0, "no argument for ~a"},
		{"~a", []any{1}, 0, "~a: a string or an Atom wanted, not int"},
		{"~a", []any{nil}, 0, "not <nil>"},
		{"~a", []any{strings.Repeat("a", 256)}, 0, "256 characters"},
		{"[~s]", []any{ei.String("x")}, 1, "~s: a string or a []byte wanted, not ei.String"},
		{"~c", []any{256}, 0, "an integer of 0 to 255"},
		{"~i", []any{"1"}, 0, "~i: an integer wanted, not string"},
		{"~i", []any{(*big.Int)(nil)}, 0, "an integer wanted"},
		{"~i", []any{nil}, 0, "an integer wanted"},
		{"~f", []any{1}, 0, "a float wanted, not int"},
		{"~p", []any{"x"}, 0, "a Pid wanted"},
		{"[1,~w]", []any{make(chan int)}, 3, "chan int"},
		{"~z", []any{1}, 0, "unknown directive ~z"},
		{"~", []any{1}, 0, "unexpected"},
		{"~a ~a", []any{"x", "y"}, 3, "unexpected"},
		{"x", []any{1, 2}, 1, "2 arguments too many"},
		{"<<~i>>", []any{1}, 2, "unexpected"},
	} {
		got, err := ei.Format(c.format, c.args...)
		var located *ei.TextError
		require.ErrorAs(t, err, &located, "%s: %v", c.format, got)
		require.Equal(t, c.offset, located.Offset, c.format)
		require.ErrorContains(t, err, c.says, c.format)
	}
	_, err := ei.Parse("~a")
	require.ErrorIs(t, err, ei.ErrText)
}

func TestFormatDeep(t *testing.T) {
	got, err := ei.Format(strings.Repeat("{", deep)+"~w"+strings.Repeat("}", deep), ei.List{})
	require.NoError(t, err)
	require.Len(t, ei.AppendText(nil, got), 2*deep+2)
}

// FuzzFormat checks that no format makes Format fail in another way than with a TextError, and that
// without directives it is Parse.
func FuzzFormat(f *testing.F) {
	for _, tc := range texts {
		f.Add(tc.text)
	}
	f.Add("{~a,[~i,~s|~f],#{~p => ~w}}")
	f.Fuzz(func(t *testing.T, format string) {
		for _, args := range [][]any{nil, {"a"}, {"a", "b"}, {1, 2}, {1.5}, {ei.Pid{Node: "a@b"}}, {ei.Tuple{}, []int{1}}} {
			term, err := ei.Format(format, args...)
			if err != nil {
				var located *ei.TextError
				require.ErrorAs(t, err, &located)
				require.True(t, located.Offset >= 0 && located.Offset <= len(format))
				continue
			}
			same, err := ei.Parse(format)
			if args == nil {
				require.NoError(t, err)
				require.True(t, ei.Identical(term, same))
			} else {
				require.Error(t, err)
			}
			_ = marshal(t, term)
		}
	})
}

func ExampleFormat() {
	term, _ := ei.Format("{~a, ~i, [~s]}", "numbers", 12, "text")
	fmt.Println(term)
	// Output: {numbers,12,["text"]}
}
