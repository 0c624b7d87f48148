package ei_test

import (
	"bytes"
	"math"
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
	node struct {
		_     struct{} `ei:"tuple"`
		Value int
		Next  *node
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
	term := parsed(t, `#{days => [#{hours => [1, x]}]}`)
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
	term := parsed(t, "#{in => #{a => 1,b => 2}}")
	var v outerStrict
	require.NoError(t, ei.UnmarshalTerm(term, &v))
	require.Equal(t, 1, v.In.seen.A)
	err := ei.DecodeOptions{RefuseUnknown: true}.Unmarshal(term, &v)
	require.ErrorIs(t, err, ei.ErrUnknownKey)
	require.EqualError(t, err, "ei: outer_strict.in: atom b: unknown key")
}

// The doors of DecodeOptions take a term with its version byte and one without, compressed or not;
// the functions and methods without options take the one that they are for.
func TestDoorsOfOptions(t *testing.T) {
	want := ei.List{ei.Atom("ok"), ei.Binary(strings.Repeat("x", 1000))}
	data := marshal(t, want)
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
