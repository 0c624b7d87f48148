package main

import (
	"fmt"

	"github.com/cnode-go/cnode/ei"
)

// A shape is a term that codecs are compared by. test/bench/c/ei_codec.c has the same.
type shape struct {
	term   func() ei.Term
	walk   func(data []byte, atoms *ei.AtomTable) error // reads every element
	append func(b []byte) ([]byte, error)               // appends the term
}

var shapes = map[string]shape{
	"echo":     {echoTerm, walkEcho, appendEcho},
	"integers": {integersTerm, walkIntegers, appendIntegers},
	"atom-map": {atomMapTerm, walkAtomMap, appendAtomMap},
	"proplist": {proplistTerm, walkProplist, appendProplist},
	"binary":   {binaryTerm, walkBinary, appendBinary},
	"records":  {recordsTerm, walkRecords, appendRecords},
	"nesting":  {nestingTerm, walkNesting, appendNesting},
	"json":     {jsonTerm, walkJSON, appendJSON},
}

const (
	integers  = 1000
	atomPairs = 100
	options   = 200
	records   = 1000
	depth     = 500
	documents = 100
)

var (
	pid     = ei.Pid{Node: "shop@127.0.0.1", ID: 1234, Serial: 1, Creation: 1690000000}
	hello   = []byte("hello")
	large   = make([]byte, 1<<20)
	email   = []byte("someone@example.com")
	tag     = []byte("green")
	keys    = numbered[ei.Atom]("key_%d", atomPairs)
	values  = numbered[string]("value %d", atomPairs)
	names   = numbered[ei.Atom]("option_%d", options)
	people  = numbered[string]("Person %d", records)
	titles  = numbered[string]("Article %d", documents)
	members = []string{"id", "name", "price", "stock", "active", "tags"}
)

func numbered[T ~string](format string, n int) []T {
	all := make([]T, n)
	for i := range all {
		all[i] = T(fmt.Sprintf(format, i))
	}
	return all
}

// {echo, Pid, 42, <<"hello">>}
func echoTerm() ei.Term { return ei.Tuple{ei.Atom("echo"), pid, ei.Int(42), ei.Binary(hello)} }

// [0, 1000, 2000 ...]
func integersTerm() ei.Term {
	l := make(ei.List, integers)
	for i := range l {
		l[i] = ei.Int(1000 * i)
	}
	return l
}

// #{key_0 => <<"value 0">> ...}
func atomMapTerm() ei.Term {
	m := make(ei.Map, atomPairs)
	for i := range m {
		m[i] = ei.Pair{Key: keys[i], Value: ei.Binary(values[i])}
	}
	return m
}

// [{option_0, 0}, {option_1, 10} ...]
func proplistTerm() ei.Term {
	l := make(ei.List, options)
	for i := range l {
		l[i] = ei.Tuple{names[i], ei.Int(10 * i)}
	}
	return l
}

func binaryTerm() ei.Term { return ei.Binary(large) }

// [{person, 100000, <<"Person 0">>, <<"someone@example.com">>, 20, 0.0, active} ...]
func recordsTerm() ei.Term {
	l := make(ei.List, records)
	for i := range l {
		l[i] = ei.Tuple{ei.Atom("person"), ei.Int(100000 + i), ei.Binary(people[i]), ei.Binary(email), ei.Int(20 + i%50),
			ei.Float(1.5 * float64(i)), ei.Atom("active")}
	}
	return l
}

// [[[[], 0], 1], 2 ...]
func nestingTerm() ei.Term {
	t := ei.Term(ei.List{})
	for i := range depth {
		t = ei.List{t, ei.Int(i)}
	}
	return t
}

// [#{<<"id">> => 1000, <<"name">> => <<"Article 0">>, <<"price">> => 0.0, <<"stock">> => 0,
// <<"active">> => true, <<"tags">> => [<<"green">>, <<"green">>]} ...]
func jsonTerm() ei.Term {
	l := make(ei.List, documents)
	for i := range l {
		m := make(ei.Map, 0, len(members))
		for n, v := range []ei.Term{ei.Int(1000 + i), ei.Binary(titles[i]), ei.Float(0.5 * float64(i)), ei.Int(i), ei.Atom("true"),
			ei.List{ei.Binary(tag), ei.Binary(tag)}} {
			m = append(m, ei.Pair{Key: ei.Binary(members[n]), Value: v})
		}
		l[i] = m
	}
	return l
}
