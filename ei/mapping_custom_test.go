package ei_test

import (
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

type (
	// degrees is written and read as {degrees, N}.
	degrees int
	// Custom does so as a struct, by its pointer.
	Custom struct{ N int }
	// reads can only be read.
	reads struct{ N int }
	// liar has methods that do not do what they are to.
	liar struct{ how int }
	// nests is written as a list of one, by way of Unmarshal.
	nests  struct{ In *nests }
	pidAnd struct {
		ei.Pid
		N int
	}
	withCustom struct {
		Custom
		X int
	}
	customs struct {
		A degrees
		B *degrees
		C []degrees
		D map[string]degrees
		E map[degrees]int
		F ei.Optional[degrees]
		G ei.Result[degrees]
		H Custom
		I *Custom
		J []Custom
		K map[Custom]Custom
		L [1]Custom
		M any
	}
)

func appendCustom(b []byte, n int) ([]byte, error) {
	if n < 0 {
		return b, errTooCold
	}
	return ei.Append(b, ei.Tuple{ei.Atom("degrees"), ei.Int(n)})
}

func readCustom(c *ei.Cursor, n *int) error {
	arity, err := c.Tuple()
	if err != nil {
		return err
	}
	if arity != 2 || !c.AtomIs("degrees") {
		return errTooCold
	}
	x, err := c.Int()
	*n = int(x)
	return err
}

func (d degrees) AppendTerm(b []byte) ([]byte, error) { return appendCustom(b, int(d)) }
func (d *degrees) ReadTerm(c *ei.Cursor) error        { return readCustom(c, (*int)(d)) }
func (x *Custom) AppendTerm(b []byte) ([]byte, error) { return appendCustom(b, x.N) }
func (x *Custom) ReadTerm(c *ei.Cursor) error         { return readCustom(c, &x.N) }
func (x *reads) ReadTerm(c *ei.Cursor) error          { return readCustom(c, &x.N) }
func (n *nests) AppendTerm(b []byte) ([]byte, error)  { return ei.Append(b, []*nests{n.In}) }
func (n *nests) ReadTerm(c *ei.Cursor) error {
	var in []*nests
	err := c.Unmarshal(&in)
	if len(in) > 0 {
		n.In = in[0]
	}
	return err
}

func (l *liar) ReadTerm(c *ei.Cursor) error {
	switch l.how {
	case 0: // nothing
		return nil
	case 1: // too much
		_ = c.Skip()
		return c.Skip()
	case 2: // all that there is
		for c.Len() > 0 {
			_ = c.Skip()
		}
		return nil
	case 3: // another one
		*c = ei.NewCursor([]byte("a\x01a\x01a\x01a\x01"))
		return c.Skip()
	case 4:
		*c = ei.Cursor{}
		return nil
	}
	return errTooCold
}

func TestCustomWherever(t *testing.T) {
	const d = "{degrees,5}"
	v := customs{A: 5, B: ptr(degrees(5)), C: []degrees{5}, D: map[string]degrees{"k": 5}, E: map[degrees]int{5: 1}, F: ei.Some(degrees(5)),
		G: ei.Result[degrees]{Value: 5}, H: Custom{5}, I: &Custom{5}, J: []Custom{{5}}, K: map[Custom]Custom{{5}: {5}}, L: [1]Custom{{5}},
		M: ei.Atom("x")}
	text := `#{a => ` + d + `,b => ` + d + `,c => [` + d + `],d => #{<<"k">> => ` + d + `},e => #{` + d + ` => 1},f => ` + d + `,g => {ok,` +
		d + `},h => ` + d +
		`,i => ` + d + `,j => [` + d + `],k => #{` + d + ` => ` + d + `},l => [` + d + `],m => x}`
	require.Equal(t, text, textOf(t, v))
	got, err := readInto(t, ei.DecodeOptions{}, encoded(t, text), typeOf(v))
	require.NoError(t, err)
	require.Equal(t, v, got)

	var w customs
	require.NoError(t, ei.Unmarshal(encoded(t, "#{b => nil,f => undefined,g => ok,i => undefined}"), &w))
	require.Equal(t, customs{}, w)

	for text, path := range map[string]string{
		"#{a => 1}": "customs.a", "#{c => [" + d + ",{degrees}]}": "customs.c[1]", `#{d => #{<<"k">> => {x,1}}}`: `customs.d[<<"k">>]`,
		"#{h => {degrees,x}}": "customs.h", "#{i => []}": "customs.i", "#{j => [x]}": "customs.j[0]", "#{e => #{x => 1}}": "customs.e[key 0]",
	} {
		err := ei.Unmarshal(encoded(t, text), &w)
		var located *ei.UnmarshalError
		require.ErrorAs(t, err, &located, text)
		require.Equal(t, path, located.Path, text)
		require.True(t, errors.Is(err, ei.ErrType) || errors.Is(err, errTooCold), "%s: %v", text, err)
	}
	_, err = ei.Append(nil, customs{A: -1})
	require.ErrorIs(t, err, errTooCold)

}

// A struct that embeds a type with methods is not that type alone: what is embedded is a field. If
// there is nothing else, or the methods are the struct's own, they are what counts.
func TestEmbeddedCustom(t *testing.T) {
	const d, inner = "{degrees,5}", "#{custom => {degrees,5},x => 1}"
	for want, v := range map[string]any{
		inner:                                    withCustom{Custom{5}, 1},
		"#{custom => {degrees,5},x => 1,y => 2}": withMore{withCustom{Custom{5}, 1}, 2},
		"#{custom => {degrees,5},x => 2}": struct {
			*Custom
			X int
		}{&Custom{5}, 2},
		"#{custom => undefined,x => 2}": struct {
			*Custom
			X int
		}{nil, 2},
		"#{marshaler => {degrees,5},x => 2}": struct {
			ei.Marshaler
			X int
		}{degrees(5), 2},
		"#{custom => {degrees,5}}": struct {
			Custom `ei:"custom"`
			x      int
		}{Custom{5}, 2},
		d: struct {
			Custom
			x int
			Y int `ei:"-"`
		}{Custom{5}, 2, 3},
		"own": ownMethods{Custom{5}, 1},
	} {
		require.Equal(t, want, textOf(t, v))
	}
	var one withCustom
	require.NoError(t, ei.Unmarshal(encoded(t, inner), &one))
	require.Equal(t, withCustom{Custom{5}, 1}, one)
	var own ownMethods
	require.NoError(t, ei.Unmarshal(encoded(t, inner), &own))
	require.Equal(t, 7, own.X)
	_, err := ei.Append(nil, struct {
		degrees
		X int
	}{5, 1})
	require.ErrorContains(t, err, "has to be exported")
}

type withMore struct {
	withCustom
	Y int
}

type ownMethods withCustom

func (ownMethods) AppendTerm(b []byte) ([]byte, error) { return ei.AppendAtom(b, "own") }
func (o *ownMethods) ReadTerm(c *ei.Cursor) error {
	o.X = 7
	return c.Skip()
}

func TestOnlyOneWay(t *testing.T) {
	var r reads
	require.NoError(t, ei.Unmarshal(encoded(t, "{degrees,5}"), &r))
	require.Equal(t, reads{5}, r)
	require.Equal(t, "#{n => 5}", textOf(t, r))
}

func TestLyingUnmarshalers(t *testing.T) {
	for how := range 6 {
		for _, text := range []string{"[1,2,3]", "{1,2}", "1"} {
			data := encoded(t, text)
			l := &liar{how: how}
			_ = ei.Unmarshal(data, l)
			list := []any{&struct {
				_ struct{} `ei:"tuple"`
				A *liar
				B any
			}{A: &liar{how: how}}}
			for _, v := range list {
				if err := ei.Unmarshal(data, v); err != nil {
					require.True(t, typed(err), "%v", err)
				}
			}
			var ls []liar // each reads nothing
			if err := ei.Unmarshal(data, &ls); err != nil {
				require.True(t, typed(err), "%v", err)
			}
		}
	}
	require.ErrorIs(t, ei.Unmarshal(encoded(t, "[1]"), new([]liar)), ei.ErrMalformed)
	require.ErrorIs(t, ei.Unmarshal(encoded(t, "1"), &liar{how: 5}), errTooCold)
	require.ErrorIs(t, ei.Unmarshal(encoded(t, "1"), &liar{how: 1}), ei.ErrTruncated)
	require.ErrorIs(t, ei.Unmarshal(encoded(t, "1"), &liar{how: 4}), ei.ErrMalformed)
}

// Unmarshalers within Unmarshalers take the goroutine's stack, and so have a limit.
func TestNestedUnmarshalers(t *testing.T) {
	var n nests
	depth := 5000
	if runtime.GOOS == "js" { // whose engine has a stack of a fixed size
		depth = 200
	}
	require.NoError(t, ei.Raw(nest("l\x00\x00\x00\x01", "w\x03nil", "j", depth)).Unmarshal(&n))
	if runtime.GOOS != "js" {
		require.ErrorIs(t, ei.Raw(nest("l\x00\x00\x00\x01", "w\x03nil", "j", 20_000)).Unmarshal(&n), ei.ErrLimit)
	}
	err := ei.Raw(nest("l\x00\x00\x00\x01", "w\x01x", "j", depth)).Unmarshal(&n)
	require.ErrorIs(t, err, ei.ErrType)
	require.Less(t, len(err.Error()), 1000)
}

// A struct with the methods of a term that is embedded in it is a struct.
func TestEmbeddedTerm(t *testing.T) {
	v := pidAnd{Pid: ei.Pid{Node: "a@b", ID: 1, Creation: 2}, N: 3}
	for _, x := range []any{&v, []pidAnd{v}, struct{ A pidAnd }{v}} {
		b := appended(t, x)
		require.Contains(t, ei.Raw(b).String(), "#{n => 3,pid => #Pid<a@b.1.0.2>}")
	}
	var got pidAnd
	require.NoError(t, ei.Unmarshal(encoded(t, "#{n => 3,pid => #Pid<a@b.1.0.2>}"), &got))
	require.Equal(t, v, got)
}
