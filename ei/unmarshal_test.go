package ei_test

import (
	"bytes"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

type (
	line struct {
		SKU   string `ei:"sku"`
		Qty   int
		Price float64
	}
	quote struct {
		OrderID string
		Lines   []line
		Tags    []string `ei:"tags,omitempty"`
		Note    *string
		State   ei.Atom
		From    ei.Pid
		Extra   any
		hidden  int
	}
	user struct {
		_    struct{} `ei:"tuple=user"`
		Name string
		Age  uint8
	}
	options struct {
		_       struct{} `ei:"proplist"`
		Verbose bool
		Depth   int `ei:",omitempty"`
	}
	shopOrder struct {
		_    struct{} `ei:"struct=Elixir.Shop.Order"`
		Qty  int
		Note ei.Optional[string]
	}
	base struct {
		ID int `ei:"id"`
	}
	derived struct {
		base
		*Extra
		Name string
	}
	Extra struct{ More int }
	node  struct {
		_     struct{} `ei:"tuple"`
		Value int
		Next  *node
	}
	binaryKeys struct {
		_ struct{} `ei:"keys=binary"`
		A int
	}
	charKeys struct {
		_ struct{} `ei:"keys=string"`
		Ä int
	}
	textForms struct {
		A string                `ei:",atom"`
		B []string              `ei:",charlist"`
		C ei.Atom               `ei:",binary"`
		D map[string]*string    `ei:",atom"`
		E [2]int                `ei:",tuple"`
		F []any                 `ei:",tuple"`
		G string                `ei:"-"`
		H ei.Optional[ei.Atom]  `ei:"hh"`
		I ei.Result[string]     `ei:"i"`
		J map[ei.Atom][]float32 `ei:"j"`
	}
	stop struct {
		_ struct{} `ei:"atom=stop"`
	}
	shape  interface{ area() float64 }
	circle struct {
		_ struct{} `ei:"tuple=circle"`
		R float64
	}
	square struct {
		_    struct{} `ei:"tuple=square"`
		Side float64
		In   shape
	}
	point struct {
		_ struct{} `ei:"atom=point"`
	}
)

func (c circle) area() float64  { return c.R * c.R * math.Pi }
func (s *square) area() float64 { return s.Side * s.Side }
func (point) area() float64     { return 0 }

func init() { ei.RegisterVariants[shape](circle{}, &square{}, point{}) }

func ptr[T any](v T) *T { return &v }

// What Marshal makes of a value is this text, and Unmarshal gives the value back.
func TestUnmarshalIsTheInverse(t *testing.T) {
	pid := ei.Pid{Node: "a@b", ID: 1, Creation: 2}
	for _, tt := range []struct {
		value any
		text  string
	}{
		{true, "true"},
		{-7, "-7"},
		{int8(-128), "-128"},
		{uint64(math.MaxUint64), "18446744073709551615"},
		{1.5, "1.5"},
		{float32(0.5), "0.5"},
		{"héllo", `<<"héllo"/utf8>>`},
		{[]byte{1, 2}, "<<1,2>>"},
		{[3]byte{1, 2, 3}, "<<1,2,3>>"},
		{ei.Atom("x"), "x"},
		{*big.NewInt(5), "5"},
		{big.NewInt(5), "5"},
		{new(big.Int).Lsh(big.NewInt(1), 100), "1267650600228229401496703205376"},
		{[]int{}, "[]"},
		{[]int{1, 2}, "[1,2]"},
		{[][]string{{"a"}, {}}, `[[<<"a">>],[]]`},
		{[2]bool{true, false}, "[true,false]"},
		{map[string]int{"a": 1, "b": 2}, `#{<<"a">> => 1,<<"b">> => 2}`},
		{map[[2]int][]int{{1, 2}: {3}}, "#{[1,2] => [3]}"},
		{map[string]int{}, "#{}"},
		{ptr(7), "7"},
		{(*int)(nil), "undefined"},
		{[]*int{nil, ptr(1)}, "[undefined,1]"},
		{ei.Some(3), "3"},
		{ei.Optional[int]{}, "undefined"},
		{ei.Result[int]{Value: 4}, "{ok,4}"},
		{ei.Result[struct{}]{}, "ok"},
		{ei.Result[[]int]{Value: []int{1}}, "{ok,[1]}"},
		{ei.Result[int]{Err: &ei.ReasonError{Reason: ei.Atom("enoent")}}, "{error,enoent}"},
		{pid, "#Pid<a@b.1.0.2>"},
		{ei.Tuple{ei.Int(1), pid}, "{1,#Pid<a@b.1.0.2>}"},
		{ei.Raw("a\x05"), "5"},
		{struct{}{}, "#{}"},
		{quote{OrderID: "A1", Lines: []line{{"x", 2, 1.5}}, State: "new", From: pid, Extra: ei.Tuple{}},
			`#{extra => {},from => #Pid<a@b.1.0.2>,lines => [#{price => 1.5,qty => 2,sku => <<"x">>}],note => undefined,` +
				`order_id => <<"A1">>,state => new}`},
		{user{Name: "Jo", Age: 42}, `{user,<<"Jo">>,42}`},
		{options{Verbose: true}, "[{verbose,true}]"},
		{shopOrder{Qty: 1}, "#{'__struct__' => 'Elixir.Shop.Order',note => nil,qty => 1}"},
		{derived{base: base{1}, Name: "x", Extra: &Extra{2}}, `#{id => 1,more => 2,name => <<"x">>}`},
		{derived{}, "#{id => 0,name => <<>>}"},
		{node{Value: 1, Next: &node{Value: 2}}, "{1,{2,undefined}}"},
		{binaryKeys{A: 1}, `#{<<"a">> => 1}`},
		{charKeys{Ä: 1}, `#{"ä" => 1}`},
		{textForms{
			A: "red", B: []string{"ab", "日", ""}, C: "fast", D: map[string]*string{"k": ptr("v")}, E: [2]int{1, 2}, F: []any{ei.Int(1)},
			H: ei.Some(ei.Atom("h")), I: ei.Result[string]{Value: "v"}, J: map[ei.Atom][]float32{"f": {1}},
		}, `#{a => red,b => ["ab",[26085],[]],c => <<"fast">>,d => #{<<"k">> => v},e => {1,2},f => {1},` +
			`hh => h,i => {ok,<<"v">>},j => #{f => [1.0]}}`},
		{stop{}, "stop"},
		{[]shape{circle{R: 1}, point{}, &square{Side: 2, In: circle{R: 3}}}, "[{circle,1.0},point,{square,2.0,{circle,3.0}}]"},
		{map[shape]int{point{}: 1}, "#{point => 1}"},
	} {
		data, err := ei.Marshal(tt.value)
		require.NoError(t, err, tt.text)
		term, err := ei.Decode(data)
		require.NoError(t, err)
		require.Equal(t, tt.text, term.String())
		requireUnmarshals(t, tt.value, func(v any) error { return ei.Unmarshal(data, v) })
		requireUnmarshals(t, tt.value, func(v any) error { return ei.UnmarshalTerm(term, v) })
		requireUnmarshals(t, tt.value, ei.Raw(data[1:]).Unmarshal)
	}
}

// A diary reads itself, with Unmarshal.
type diary struct{ Hours float64 }

func (d *diary) ReadTerm(from *ei.Cursor) error {
	var wire struct{ Hours []float64 }
	if err := from.Unmarshal(&wire); err != nil {
		return err
	}
	d.Hours = wire.Hours[0]
	return nil
}

// The path of an error goes on in what an Unmarshaler unmarshals.
func TestPathThroughUnmarshaler(t *testing.T) {
	term, err := ei.Parse(`#{days => [#{hours => [1, x]}]}`)
	require.NoError(t, err)
	var week struct{ Days []diary }
	require.EqualError(t, ei.UnmarshalTerm(term, &week), `ei: days[0].hours[1]: atom x where a float is due`)
	days, _ := term.(ei.Map).Get(ei.Atom("days"))
	require.EqualError(t, ei.UnmarshalTerm(days.(ei.List)[0], &week.Days[0]),
		`ei: diary.hours[1]: atom x where a float is due`)
}

// An outerStrict has an Unmarshaler that unmarshals.
type (
	outerStrict struct{ In strictly }
	strictly    struct{ seen struct{ A int } }
)

func (i *strictly) ReadTerm(c *ei.Cursor) error { return c.Unmarshal(&i.seen) }

// What an Unmarshaler unmarshals is read with the options of the whole.
func TestUnmarshalerHasTheOptions(t *testing.T) {
	term, err := ei.Parse("#{in => #{a => 1,b => 2}}")
	require.NoError(t, err)
	var v outerStrict
	require.NoError(t, ei.UnmarshalTerm(term, &v))
	require.Equal(t, 1, v.In.seen.A)
	err = ei.DecodeOptions{RefuseUnknown: true}.Unmarshal(term, &v)
	require.ErrorIs(t, err, ei.ErrUnknownKey)
	require.EqualError(t, err, "ei: outer_strict.in: atom b: unknown key")
}

// The doors of DecodeOptions take a term with its version byte and one without, compressed or not;
// the functions and methods without options take the one that they are for.
func TestDoorsOfOptions(t *testing.T) {
	want := ei.List{ei.Atom("ok"), ei.Binary(strings.Repeat("x", 1000))}
	data, err := ei.Marshal(want)
	require.NoError(t, err)
	packed, err := ei.MarshalCompressed(want, 9)
	require.NoError(t, err)
	for name, form := range map[string][]byte{"version byte": data, "none": data[1:], "compressed": packed} {
		got, err := ei.DecodeOptions{Strict: true}.Decode(form)
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
		var typed []string
		require.NoError(t, ei.DecodeOptions{AtomText: true}.Unmarshal(ei.Raw(form), &typed), name)
		require.Equal(t, "ok", typed[0], name)
		require.ErrorIs(t, ei.DecodeOptions{}.Unmarshal(ei.Raw(form), &typed), ei.ErrType, name)
		_, err = ei.DecodeOptions{}.Decode(append(bytes.Clone(form), 1))
		require.ErrorIs(t, err, ei.ErrTrailing, name)
	}
	var typed []string
	require.NoError(t, ei.DecodeOptions{AtomText: true}.Unmarshal(want, &typed))
	for _, err := range []error{
		ei.Unmarshal(data[1:], &typed), ei.UnmarshalTerm(ei.Raw(data), &typed), ei.Raw(data).Unmarshal(&typed),
	} {
		require.Error(t, err)
		require.NotErrorIs(t, err, ei.ErrType)
	}
	_, err = ei.Decode(data[1:])
	require.ErrorIs(t, err, ei.ErrVersion)
	_, err = ei.Raw(data).Decode()
	require.ErrorIs(t, err, ei.ErrTag)
	_, _, err = ei.DecodeOptions{}.DecodePrefix(data[1:])
	require.ErrorIs(t, err, ei.ErrVersion)
}
