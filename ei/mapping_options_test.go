package ei_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// What is absent is undefined, or what EncodeOptions say, or what a struct says itself.
func TestAbsent(t *testing.T) {
	type plain struct {
		A *int
		B ei.Optional[int]
		C any
		D []*int
	}
	type own struct {
		_ struct{} `ei:"undefined"`
		A *int
		B *plain
		C any
	}
	type exact struct {
		_ struct{} `ei:"struct=Elixir.E"`
		A *int
	}
	var none *int
	for _, tt := range []struct {
		v                any
		undefined, isNil string
	}{
		{none, "undefined", "nil"},
		{ei.Optional[int]{}, "undefined", "nil"},
		{[]*int{none}, "[undefined]", "[nil]"},
		{ei.T("ok", none), "{ok,undefined}", "{ok,nil}"},
		{ei.Result[any]{Value: none}, "{ok,undefined}", "{ok,nil}"},
		{plain{D: []*int{nil}}, "#{a => undefined,b => undefined,c => undefined,d => [undefined]}", "#{a => nil,b => nil,c => nil,d => [nil]}"},
		{own{B: new(plain)}, "#{a => undefined,b => #{a => undefined,b => undefined,c => undefined,d => []},c => undefined}",
			"#{a => undefined,b => #{a => nil,b => nil,c => nil,d => []},c => undefined}"},
		{exact{}, "#{'__struct__' => 'Elixir.E',a => nil}", "#{'__struct__' => 'Elixir.E',a => nil}"},
		{map[string]any{"x": none}, `#{<<"x">> => undefined}`, `#{<<"x">> => nil}`},
	} {
		for as, want := range map[ei.Atom]string{"": tt.undefined, "undefined": tt.undefined, "nil": tt.isNil} {
			b, err := ei.EncodeOptions{Absent: as}.Append(nil, tt.v)
			require.NoError(t, err)
			require.Equal(t, want, ei.Raw(b).String())
		}
	}
}

// A tuple of Go values is one, whatever they are; an error says where.
func TestTupleOfValues(t *testing.T) {
	require.Equal(t, `{add,<<"A">>,2,[1],{x},#{<<"k">> => true},a}`,
		textOf(t, ei.T("add", "A", 2, []int{1}, ei.T("x"), map[string]bool{"k": true}, ei.Atom("a"))))
	wrong := new(ei.EncodeError)
	_, err := ei.Append(nil, ei.T("add", 1, make(chan int)))
	require.ErrorAs(t, err, &wrong)
	require.Contains(t, err.Error(), "/2")
}

// A struct can refuse keys that it has no field for, in maps and in keyword lists,
// for itself alone.
func TestRefuseUnknownByTag(t *testing.T) {
	type inner struct{ A int }
	type byMap struct {
		_  struct{} `ei:"unknown=error"`
		A  int
		In inner
	}
	type options struct {
		_       struct{} `ei:"proplist,unknown=error"`
		Timeout int
		Verbose bool
	}
	var m byMap
	require.NoError(t, ei.UnmarshalTerm(parsed(t, "#{a => 1,in => #{a => 1,b => 2}}"), &m))
	err := ei.UnmarshalTerm(parsed(t, "#{a => 1,b => 2}"), &m)
	require.ErrorIs(t, err, ei.ErrUnknownKey)
	var o options
	require.NoError(t, ei.UnmarshalTerm(parsed(t, "[{timeout,5},verbose]"), &o))
	require.Equal(t, options{Timeout: 5, Verbose: true}, o)
	for _, text := range []string{"[{timout,5}]", "[verbos]", "[{timeout,5},{<<\"x\">>,1}]"} {
		require.ErrorIs(t, ei.UnmarshalTerm(parsed(t, text), &o), ei.ErrUnknownKey, text)
	}
}
