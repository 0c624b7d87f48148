package nodes_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

type order struct {
	SKU   string
	Qty   int
	Price float64
	Tags  []string
}

type quote struct {
	SKU   string
	Total float64
}

func quoteFor(_ context.Context, o order) (quote, error) {
	if o.Qty <= 0 {
		return quote{}, &ei.ReasonError{Reason: ei.Atom("bad_qty")}
	}
	return quote{o.SKU, o.Price * float64(o.Qty)}, nil
}

// A Func of each shape gives what the Go function does, whether its arguments are terms or still
// encoded.
func TestFuncOf(t *testing.T) {
	for name, tt := range map[string]struct {
		f    any
		args string // a list
		want string // the result, or the beginning of the error's text
	}{
		"string":               {strings.ToUpper, `[<<"abc">>]`, `<<"ABC">>`},
		"I/O data is a string": {strings.ToUpper, `[[<<"a">>, "bc"]]`, `<<"ABC">>`},
		"two":                  {math.Pow, `[2, 3.0]`, `8.0`},
		"structs":              {quoteFor, `[#{sku => <<"A1">>, qty => 3, price => 1.5, tags => [<<"x">>]}]`, `#{sku => <<"A1">>,total => 4.5}`},
		"no argument":          {func() int { return 7 }, `[]`, `7`},
		"nothing":              {func() {}, `[]`, `ok`},
		"an error that is nil": {func() error { return nil }, `[]`, `ok`},
		"an error":             {func() error { return errors.New("it went wrong") }, `[]`, `it went wrong`},
		"a context":            {func(ctx context.Context, n int) bool { return ctx != nil && n == 1 }, `[1]`, `true`},
		"a context alone":      {func(ctx context.Context) (bool, error) { return ctx != nil, nil }, `[]`, `true`},
		"variadic":             {fmt.Sprint, `[a, 1, <<"x">>]`, `<<"a1 <<\"x\">>">>`},
		"variadic of one kind": {sum, `[1, 2, 3]`, `6`},
		"variadic without any": {sum, `[]`, `0`},
		"terms":                {func(a ei.Tuple, b ei.Term) ei.List { return ei.List{a, b} }, `[{1}, "ab"]`, `[{1},"ab"]`},
		"an encoded term":      {func(a ei.Raw) any { return len(a) }, `[1]`, `2`},
		"a pointer":            {func(p *int) bool { return p == nil }, `[nil]`, `true`},
		"a Func":               {func(_ context.Context, args []ei.Term) (any, error) { return len(args), nil }, `[1, a]`, `2`},
		"found":                {look, `[<<"a">>]`, `{ok,1}`},
		"not found":            {look, `[<<"b">>]`, `error`},
		"neither":              {look, `[<<"">>]`, `no key`},
		"found, no error":      {func(k int) (any, bool) { return []int{1000}, k > 0 }, `[1]`, `{ok,[1000]}`},
		"found nothing":        {func() (*int, bool) { return nil, true }, `[]`, `{ok,undefined}`},
		"any result":           {func() any { return []int{1000} }, `[]`, `[1000]`},

		"too many":            {strings.ToUpper, `[<<"a">>, 1]`, `2 arguments for 1 parameters`},
		"too few":             {strings.ToUpper, `[]`, `0 arguments for 1 parameters`},
		"too few of variadic": {func(string, ...int) {}, `[]`, `0 arguments for 1 parameters`},
		"another kind":        {strings.ToUpper, `[1]`, `argument 1: ei: `},
		"a later one":         {sum, `[1, 2, x]`, `argument 3: ei: `},
		"within a struct":     {quoteFor, `[#{sku => <<"A1">>, qty => three}]`, `argument 1: ei: order.qty: `},
		"out of range":        {func(int8) {}, `[128]`, `argument 1: ei: `},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := ei.Parse(tt.args)
			require.NoError(t, err)
			args, ok := ei.Elements(list)
			require.True(t, ok)
			if name != "a Func" {
				encoded := make([]ei.Term, len(args))
				for i, arg := range args {
					b, err := ei.AppendTerm(nil, arg)
					require.NoError(t, err)
					encoded[i] = ei.Raw(b)
				}
				gives(t, nodes.FuncOf(tt.f), encoded, tt.want)
			}
			gives(t, nodes.FuncOf(tt.f), args, tt.want)
		})
	}
}

// look is a function as for a map of Go.
func look(key string) (n int, ok bool, err error) {
	if key == "" {
		return 0, true, errors.New("no key")
	}
	return 1, key == "a", nil
}

// The options of a function say what becomes of keys that a struct does not have, and of what is
// absent.
func TestFuncOptions(t *testing.T) {
	type settings struct {
		_       struct{} `ei:"proplist"`
		Timeout int
	}
	note := func() (*string, bool) { return nil, true }
	pair := func() any { return []any{(*string)(nil), ei.Optional[int]{}} }
	lenient := nodes.FuncOptions{Decode: ei.DecodeOptions{AtomText: true, Alias: true}}
	strict := nodes.FuncOptions{Decode: ei.DecodeOptions{RefuseUnknown: true}}
	args := func(text string) []ei.Term {
		list, err := ei.Parse(text)
		require.NoError(t, err)
		return list.(ei.List)
	}
	gives(t, nodes.FuncOf(strings.ToUpper, lenient), args(`[abc]`), `<<"ABC">>`)
	gives(t, nodes.FuncOf(quoteFor), args(`[#{sku => <<"A1">>, qty => 1, quantity => 2}]`), `#{sku => <<"A1">>,total => 0.0}`)
	gives(t, nodes.FuncOf(quoteFor, strict), args(`[#{sku => <<"A1">>, qty => 1, quantity => 2}]`),
		`argument 1: ei: order: atom quantity: unknown key`)
	timeout := func(s settings) int { return s.Timeout }
	gives(t, nodes.FuncOf(timeout), args(`[[{timout, 5}]]`), `0`)
	gives(t, nodes.FuncOf(timeout, strict), args(`[[{timout, 5}]]`), `argument 1: ei: settings: atom timout: unknown key`)
	gives(t, nodes.FuncOf(timeout, strict), args(`[[{timeout, 5}]]`), `5`)
	gives(t, nodes.FuncOf(note, nodes.FuncOptions{Absent: "nil"}), nil, `{ok,nil}`)
	gives(t, nodes.FuncOf(pair, nodes.FuncOptions{Absent: "nil"}), nil, `[nil,nil]`)
	gives(t, nodes.FuncOf(pair, nodes.FuncOptions{Absent: "undefined"}), nil, `[undefined,undefined]`)
	require.PanicsWithValue(t, `nodes.FuncOf: func() interface {}: FuncOptions.Absent is "null": want nil or undefined`,
		func() { nodes.FuncOf(pair, nodes.FuncOptions{Absent: "null"}) })
	_, err := nodes.New(nodes.Config{Name: "a@test", Cookie: "c", Absent: "null"})
	require.ErrorContains(t, err, `Config.Absent is "null"`)
	n, err := nodes.New(nodes.Config{Name: "a@test", Cookie: "c"})
	require.NoError(t, err)
	defer n.Close()
	_, err = n.Serve("s", nodes.Server{Absent: "null"}, nil)
	require.ErrorContains(t, err, `Server.Absent is "null"`)
}

// Nothing of a parameter's or a result's type runs when a Func is made: it is for values of which
// there is none yet.
func TestFuncOfRunsNoMethods(t *testing.T) {
	gives(t, nodes.FuncOf(func(h holder) holder { return h }), []ei.Term{ei.Int(5)}, `5`)
	gives(t, nodes.FuncOf(func(h *holder) (*holder, error) { return h, nil }), []ei.Term{ei.Int(5)}, `5`)
	type line struct{ H holder }
	gives(t, nodes.FuncOf(func(hs ...line) []line { return hs }), []ei.Term{ei.Map{{Key: ei.Atom("h"), Value: ei.Int(5)}}}, `[#{h => 5}]`)
	gives(t, nodes.FuncOf(func(h ei.Optional[holder]) ei.Optional[holder] { return h }), []ei.Term{ei.Int(5)}, `5`)
}

// A holder's methods take for granted that it was made whole, or that there is a term.
type holder struct{ n *int }

func (h holder) AppendTerm(b []byte) ([]byte, error) { return ei.AppendInt(b, int64(*h.n)), nil }
func (h *holder) ReadTerm(c *ei.Cursor) error {
	n, err := c.Int()
	if err != nil {
		panic(err)
	}
	*h = holder{new(int(n))}
	return nil
}

func sum(ns ...int) (s int) {
	for _, n := range ns {
		s += n
	}
	return s
}

func gives(t *testing.T, fn nodes.Func, args []ei.Term, want string) {
	t.Helper()
	v, err := fn(t.Context(), args)
	if err != nil {
		require.True(t, strings.HasPrefix(err.Error(), want), "%v", err)
		return
	}
	b, err := ei.Append(nil, v)
	require.NoError(t, err)
	got, err := ei.Raw(b).Decode()
	require.NoError(t, err)
	require.Equal(t, want, got.String())
}

// What can never be called, or never return a term, is seen when the Func is made.
func TestFuncOfRefuses(t *testing.T) {
	for text, f := range map[string]any{
		"nodes.FuncOf: <nil>: this is no function":                                             nil,
		"nodes.FuncOf: int: this is no function":                                               1,
		"nodes.FuncOf: func(): this is no function":                                            (func())(nil),
		"nodes.FuncOf: func(int, chan int): parameter 2 can be no term: ":                      func(int, chan int) {},
		"nodes.FuncOf: func(...func()): parameter 1 can be no term: ":                          func(...func()) {},
		"nodes.FuncOf: func(int, context.Context): parameter 2 can be no term: ":               func(int, context.Context) {},
		"nodes.FuncOf: func(struct { A struct { B chan int } }): parameter 1 can be no term: ": func(struct{ A struct{ B chan int } }) {},
		"nodes.FuncOf: func(time.Duration): parameter 1 can be no term: ei: time.Duration: ":   func(time.Duration) {},
		"nodes.FuncOf: func() time.Duration: its result can be no term: ei: time.Duration: ":   func() time.Duration { return 0 },
		"nodes.FuncOf: func(struct { T time.Duration }): parameter 1 can be no term: ":         func(struct{ T time.Duration }) {},
		"nodes.FuncOf: func() chan int: its result can be no term: ":                           func() chan int { return nil },
		"nodes.FuncOf: func() struct { A chan int }: its result can be no term: ":              func() struct{ A chan int } { panic(1) },
		"nodes.FuncOf: func() (int, int, error): it returns more than a result, a bool and an error": func() (int, int, error) {
			return 1, 2,
				nil
		},
	} {
		func() {
			defer func() {
				require.True(t, strings.HasPrefix(fmt.Sprint(recover()), text), "%s: %v", text, f)
			}()
			require.Panics(t, func() { nodes.FuncOf(f) })
			nodes.FuncOf(f)
		}()
	}
}

type shop struct{ name string }

func (s *shop) GetPrice(sku string) (float64, error) {
	if sku == "" {
		return 0, errors.New("no sku")
	}
	return 1.5, nil
}
func (s *shop) Quote(ctx context.Context, o order) (quote, error) { return quoteFor(ctx, o) }
func (s *shop) HTTPStatus() int                                   { return 200 }
func (s shop) Name() string                                       { return s.name }

type badShop struct{}

func (badShop) Good() int                { return 1 }
func (badShop) Worse() (int, int, error) { return 1, 2, nil }
func (badShop) Worst(chan int)           {}

type twice struct{}

func (twice) GetURL() {}
func (twice) GetUrl() {} //nolint:revive // its name is the test

func TestMethodsOf(t *testing.T) {
	names := func(value any) (names []string) {
		funcs, err := nodes.MethodsOf(value)
		require.NoError(t, err)
		for name := range funcs {
			names = append(names, name)
		}
		return names
	}
	require.ElementsMatch(t, []string{"get_price", "quote", "http_status", "name"}, names(&shop{}))
	require.ElementsMatch(t, []string{"name"}, names(shop{}))

	_, err := nodes.MethodsOf(badShop{})
	require.ErrorContains(t, err, "method Worse of nodes_test.badShop: it returns more than a result, a bool and an error")
	require.ErrorContains(t, err, "method Worst of nodes_test.badShop: parameter 1 can be no term")
	require.NotContains(t, err.Error(), "Good")
	_, err = nodes.MethodsOf(twice{})
	require.ErrorContains(t, err, "another method is get_url, too")
	for _, none := range []any{nil, 1, struct{}{}, order{}} {
		_, err = nodes.MethodsOf(none)
		require.ErrorContains(t, err, "has no exported methods")
	}
}
