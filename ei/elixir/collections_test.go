package elixir_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
)

func TestRange(t *testing.T) {
	for _, tt := range []struct {
		r    elixir.Range
		text string
		all  []int64
	}{
		{elixir.Range{First: 1, Last: 3, Step: 1}, "1..3", []int64{1, 2, 3}},
		{elixir.Range{First: 1, Last: 3}, "1..3", []int64{1, 2, 3}},
		{elixir.Range{First: 3, Last: 1}, "3..1//-1", []int64{3, 2, 1}},
		{elixir.Range{First: 1, Last: 0, Step: 1}, "1..0//1", nil},
		{elixir.Range{First: 0, Last: 1, Step: -1}, "0..1//-1", nil},
		{elixir.Range{First: 1, Last: 10, Step: 4}, "1..10//4", []int64{1, 5, 9}},
		{elixir.Range{First: 10, Last: 1, Step: -3}, "10..1//-3", []int64{10, 7, 4, 1}},
		{elixir.Range{First: 5, Last: 5, Step: -9}, "5..5//-9", []int64{5}},
		{
			elixir.Range{First: math.MaxInt64 - 1, Last: math.MaxInt64, Step: 1},
			"9223372036854775806..9223372036854775807", []int64{math.MaxInt64 - 1, math.MaxInt64},
		},
		{
			elixir.Range{First: math.MaxInt64, Last: math.MinInt64, Step: math.MinInt64},
			"9223372036854775807..-9223372036854775808//-9223372036854775808", []int64{math.MaxInt64, -1},
		},
	} {
		require.Equal(t, tt.text, tt.r.String())
		require.Equal(t, tt.all, slices.Collect(tt.r.All()), tt.text)
		require.Equal(t, uint64(len(tt.all)), tt.r.Len(), tt.text)
		for x := int64(-2); x < 12; x++ {
			require.Equal(t, slices.Contains(tt.all, x), tt.r.Contains(x), "%d in %s", x, tt.text)
		}
		for _, x := range tt.all {
			require.True(t, tt.r.Contains(x), "%d in %s", x, tt.text)
		}
	}
	all := elixir.Range{First: math.MinInt64, Last: math.MaxInt64, Step: 1}
	require.Equal(t, uint64(math.MaxUint64), all.Len())
	all.Step = 2
	require.Equal(t, uint64(1<<63), all.Len())
	for x := range all.All() {
		require.Equal(t, int64(math.MinInt64), x)
		break
	}
}

func TestMapSet(t *testing.T) {
	var s elixir.MapSet[string]
	require.False(t, s.Has("a"))
	s.Add("a")
	s.Add("a")
	s.Add("b")
	require.True(t, s.Has("a"))
	require.Len(t, s.Members, 2)
	require.Equal(t, elixir.NewMapSet("b", "a"), s)

	term := parsed(t, `#{map => #{a => [],1 => [],<<"x">> => [],{1,2} => []}}`)
	var mixed elixir.MapSet[any]
	require.ErrorIs(t, ei.UnmarshalTerm(term, &mixed), ei.ErrType, "a tuple is no key of a Go map")
	term = parsed(t, `#{map => #{a => [],1 => []}}`)
	require.NoError(t, ei.UnmarshalTerm(term, &mixed))
	require.True(t, mixed.Has(ei.Atom("a")) && mixed.Has(ei.Int(1)))
	words := elixir.NewMapSet[any]("a", ei.Atom("b"))
	data := marshal(t, words)
	var back elixir.MapSet[any]
	require.NoError(t, ei.Unmarshal(data, &back))
	require.Equal(t, words, back)
	terms := elixir.NewMapSet[ei.Term](ei.BinaryKey("a"), ei.Atom("b"))
	var asTerms elixir.MapSet[ei.Term]
	require.NoError(t, ei.Unmarshal(data, &asTerms))
	require.Equal(t, terms, asTerms)
}

func TestKeyword(t *testing.T) {
	k := elixir.Keyword[int]{{Key: "b", Value: 1}, {Key: "a", Value: 2}, {Key: "b", Value: 3}}
	v, ok := k.Get("b")
	require.True(t, ok)
	require.Equal(t, 1, v)
	_, ok = k.Get("c")
	require.False(t, ok)
	require.Equal(t, map[ei.Atom]int{"a": 2, "b": 1}, k.Map())

	term := parsed(t, `[{name,'Elixir.Shop'},{size,{1,2}}]`)
	var mixed elixir.Keyword[ei.Term]
	require.NoError(t, ei.UnmarshalTerm(term, &mixed))
	size, _ := mixed.Get("size")
	require.Equal(t, ei.Tuple{ei.Int(1), ei.Int(2)}, size)
}

func TestException(t *testing.T) {
	term := parsed(t, `{error,#{'__exception__' => true,'__struct__' => 'Elixir.KeyError',key => a,message => nil,term => #{b => 1}}}`)
	var result ei.Result[int]
	require.NoError(t, ei.UnmarshalTerm(term, &result))
	e, ok := elixir.AsException(fmt.Errorf("fetch: %w", result.Err))
	require.True(t, ok)
	require.Equal(t, elixir.Module("KeyError"), e.Module)
	require.Equal(t, "(KeyError) #{key => a,message => nil,term => #{b => 1}}", e.Error())
	again := marshal(t, ei.Result[int]{Err: fmt.Errorf("fetch: %w", e)})
	require.NoError(t, ei.Unmarshal(again, &result))
	e2, ok := elixir.AsException(result.Err)
	require.True(t, ok)
	require.True(t, ei.Identical(e.Term(), e2.Term()))

	found, ok := elixir.AsException(fmt.Errorf("x: %w", elixir.NewException("RuntimeError", "oops")))
	require.True(t, ok)
	require.EqualError(t, found, "(RuntimeError) oops")
	for _, err := range []error{nil, errors.New("x"), &ei.ReasonError{Reason: ei.Atom("enoent")}, &ei.ReasonError{Reason: ei.Map{}}} {
		_, ok := elixir.AsException(err)
		require.False(t, ok, "%v", err)
	}
	require.Equal(t, "Shop.Order", elixir.ModuleName("Elixir.Shop.Order"))
	require.Equal(t, ":lists", elixir.ModuleName("lists"))
}
