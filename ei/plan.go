package ei

import (
	"math/big"
	"math/bits"
	"reflect"
	"sync"
	"time"
)

// A plan says how the values of one Go type become terms and come back. It is made once, from the
// type and the tags of its fields, and never changes after that.
type plan struct {
	kind   kind
	typ    reflect.Type
	text   textForm      // of kindText and kindAtom
	unit   time.Duration // of kindDuration
	absent Atom          // what a nil pointer, or an empty Optional, is written as; "": what EncodeOptions say

	marshals   marshalBy // whether the type is a Marshaler, and how
	unmarshals bool      // its pointer is an Unmarshaler
	simple     bool      // appendValue alone appends a value
	inKey      bool      // it is, or is within, the key of a map

	size  int           // of a value, in bytes
	empty reflect.Value // of a slice: one of no elements

	elem   *plan // of what a slice, array, map, pointer, Optional or Result is made of
	key    *plan // of a map
	anyKey bool  // there is an interface in its keys, so that some cannot be compared
	slot   int   // bytes for each pair in it, and …
	apart  int   // … outside of it

	asTuple bool // a slice or an array is a tuple

	record *recordPlan // of a struct
}

// A kind is what a plan does with a value.
type kind uint8

const (
	kindBool      kind = iota
	kindInt            // a signed integer of any size
	kindUint           // an unsigned one
	kindFloat          // float32, float64
	kindDuration       // time.Duration
	kindBig            // big.Int
	kindText           // a string
	kindAtom           // an Atom
	kindBytes          // []byte
	kindByteArray      // [n]byte
	kindAny            // an interface that every Term has: any, Term
	kindTerm           // a type of terms that is no other kind
	kindRaw            // Raw
	kindCustom         // what can only marshal or unmarshal itself
	lastLeaf           // the kinds above have no parts, for a plan

	kindPointer
	kindOptional
	kindResult
	kindSlice
	kindArray
	kindMap
	kindStruct
	kindVariants // an interface with methods: its variants are registered
)

// marshalBy says which type's method AppendTerm a value has.
type marshalBy uint8

const (
	marshalsNot     marshalBy = iota
	marshalsValue             // the type's own
	marshalsPointer           // that of the pointer to it
)

// A textForm is what a Go string becomes.
type textForm uint8

const (
	textDefault  textForm = iota // a binary; an Atom an atom
	textBinary                   // a binary
	textAtom                     // an atom
	textCharlist                 // a list of characters
)

// A recordPlan is what a plan has for a struct.
type recordPlan struct {
	form   structForm
	keys   textForm // of the keys
	name   string   // of the type, as the beginning of a path
	tag    Atom     // the first element of a tuple; "" for none
	module Atom     // of a struct of Elixir; "" for none
	strict bool     // keys without a field are refused
	fields []fieldPlan
	byKey  map[string]int // fields by their keys
	omits  bool           // a field may be left out
	many   int            // words that have a bit for each field, beyond the first
}

// A structForm is what a struct becomes.
type structForm uint8

const (
	formMap structForm = iota
	formTuple
	formProplist
	formAtom // a struct without fields
)

// A fieldPlan is one field of a struct, or of a struct embedded in it.
type fieldPlan struct {
	*plan
	key       string // text of the key
	encoded   []byte // the key as a term
	index     []int  // as for reflect.Value.FieldByIndex
	omitEmpty bool
	embedded  bool // it is reached through an embedded pointer
}

// plans holds the plan of every type that was met: a *plan, or the error of a type that has none.
var plans sync.Map

// planOf gives the plan of a type, in a value that no struct says anything about.
func planOf(t reflect.Type) (*plan, error) {
	found, ok := plans.Load(t)
	if !ok {
		b := planner{made: map[planKey]*plan{}}
		p, err := b.plan(planKey{typ: t})
		if err == nil {
			err = b.endless()
		}
		for _, p := range b.made {
			p.simple = p.kind < lastLeaf && p.kind != kindAny && p.marshals == marshalsNot && p.typ != typeOfLocal
		}
		if err != nil {
			found, _ = plans.LoadOrStore(t, err)
		} else {
			found, _ = plans.LoadOrStore(t, p)
		}
	}
	if p, ok := found.(*plan); ok {
		return p, nil
	}
	return nil, found.(error)
}

// leaf reports whether a value of the plan's type has no parts with plans of their own, for
// Unmarshal.
func (p *plan) leaf() bool { return p.kind < lastLeaf || p.unmarshals }

// Types that are not what their kind is.
var (
	typeOfTerm        = reflect.TypeFor[Term]()
	typeOfLocal       = reflect.TypeFor[Local]()
	typeOfMarshaler   = reflect.TypeFor[Marshaler]()
	typeOfUnmarshaler = reflect.TypeFor[Unmarshaler]()
	typeOfByte        = reflect.TypeFor[byte]()
	typeOfDuration    = reflect.TypeFor[time.Duration]()
)

var exactKinds = map[reflect.Type]kind{
	reflect.TypeFor[Atom]():         kindAtom,
	reflect.TypeFor[Raw]():          kindRaw,
	reflect.TypeFor[big.Int]():      kindBig,
	reflect.TypeFor[BigInt]():       kindTerm,
	reflect.TypeFor[String]():       kindTerm,
	reflect.TypeFor[Bitstring]():    kindTerm,
	reflect.TypeFor[List]():         kindTerm,
	reflect.TypeFor[ImproperList](): kindTerm,
	reflect.TypeFor[Tuple]():        kindTerm,
	reflect.TypeFor[Map]():          kindTerm,
	reflect.TypeFor[Pid]():          kindTerm,
	reflect.TypeFor[Port]():         kindTerm,
	reflect.TypeFor[Ref]():          kindTerm,
	reflect.TypeFor[Fun]():          kindTerm,
	reflect.TypeFor[Export]():       kindTerm,
	reflect.TypeFor[Record]():       kindTerm,
	reflect.TypeFor[Local]():        kindTerm,
}

// mapSize is what a map takes that has room for n pairs.
func (p *plan) mapSize(n int) int {
	if n == 0 {
		return mapHead
	}
	slots := mapGroup
	if n > mapGroup {
		slots = 1 << bits.Len(uint(n+n/7))
	}
	if n > mapTable*3/4 && n > slots/5*4 { // a table that is full sooner than others grows
		slots *= 2
	}
	return mapHead + allocated(product(slots, p.slot)) + slots*p.slot/16 + slots/8
}
