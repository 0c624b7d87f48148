package otp

import (
	"bytes"
	"errors"
	"math"
	"slices"

	"github.com/cnode-go/cnode/ei"
)

// ErrDeep says that a term is nested too deeply.
var ErrDeep = errors.New("the term is nested too deeply")

// Canonical gives a term the form in which a BEAM sends it: lists of bytes are Strings. Maps are in
// the order of their encoded keys, so that terms that are the same to Erlang have one encoding.
func Canonical(t ei.Term) (ei.Term, error) { return canonical(t, 1000) }

func canonical(t ei.Term, deep int) (same ei.Term, err error) {
	if deep == 0 {
		return nil, ErrDeep
	}
	all := func(terms []ei.Term) []ei.Term {
		out := make([]ei.Term, len(terms))
		for i, t := range terms {
			if err == nil {
				out[i], err = canonical(t, deep-1)
			}
		}
		return out
	}
	switch t := t.(type) {
	case ei.Raw:
		d, err := t.Decode()
		if err != nil {
			return nil, err
		}
		return canonical(d, deep)
	case ei.Tuple:
		return ei.Tuple(all(t)), err
	case ei.List:
		if s, ok := bytesOf(t); ok {
			return s, nil
		}
		return ei.List(all(t)), err
	case ei.ImproperList:
		elems, tail := all(t.Elems), all([]ei.Term{t.Tail})
		return ei.ImproperList{Elems: elems, Tail: tail[0]}, err
	case ei.Map:
		type pair struct {
			encoded []byte
			ei.Pair
		}
		pairs := make([]pair, len(t))
		for i, p := range t {
			both := all([]ei.Term{p.Key, p.Value})
			pairs[i].Pair = ei.Pair{Key: both[0], Value: both[1]}
			pairs[i].encoded, _ = ei.AppendTerm(nil, both[0]) // what cannot be encoded fails with the whole
		}
		slices.SortStableFunc(pairs, func(a, b pair) int { return bytes.Compare(a.encoded, b.encoded) })
		m := make(ei.Map, len(t))
		for i, p := range pairs {
			m[i] = p.Pair
		}
		return m, err
	}
	return t, nil
}

// bytesOf is the String of a list of bytes that a BEAM sends as one.
func bytesOf(l ei.List) (ei.String, bool) {
	if len(l) == 0 || len(l) > math.MaxUint16 {
		return "", false
	}
	s := make([]byte, len(l))
	for i, e := range l {
		v, ok := e.(ei.Int)
		if !ok || v < 0 || v > 255 {
			return "", false
		}
		s[i] = byte(v)
	}
	return ei.String(s), true
}
