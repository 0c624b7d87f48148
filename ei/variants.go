package ei

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// variantSets has the variants of each interface that has been registered: *variantSet by
// reflect.Type.
var variantSets sync.Map

// A variantSet is what the values of an interface can be.
type variantSet struct {
	byName map[Atom]variant
	all    []*plan
	want   string // as in an error
	err    error  // the first fault
}

type variant struct {
	typ   reflect.Type
	index int
}

// RegisterVariants says what the values of the interface I can be, so that Unmarshal can make them
// (a sum type). It is called once for an interface, as a package that declares one is initialised;
// a later call replaces an earlier one. Each variant is a struct, or a pointer to one, that a tag
// or an atom tells from the others:
//
//	type Shape interface{ Area() float64 }
//	type Circle struct {
//		_      struct{} `ei:"tuple=circle"` // {circle, Radius}
//		Radius float64
//	}
//	type Point struct {
//		_ struct{} `ei:"atom=point"` // point
//	}
//	ei.RegisterVariants[Shape](Circle{}, Point{})
//
// A variant that nothing tells from the others is a *MappingError for whoever unmarshals one.
func RegisterVariants[I any](variants ...I) {
	set := &variantSet{byName: map[Atom]variant{}}
	fail := func(t reflect.Type, reason string) {
		set.err = cmp.Or(set.err, error(&MappingError{Type: t, Reason: reason}))
	}
	for _, v := range variants {
		t := reflect.TypeOf(v)
		if t == nil {
			fail(reflect.TypeFor[I](), "nil is no variant")
			continue
		}
		p, err := planOf(t)
		if err != nil {
			set.err = cmp.Or(set.err, err)
			continue
		}
		at := p
		for at.kind == kindPointer {
			at = at.elem
		}
		if at.record == nil || at.record.tag == "" {
			fail(t, "a variant is a struct with the option tuple=TAG or atom=NAME")
			continue
		}
		if _, ok := set.byName[at.record.tag]; ok {
			fail(t, "another variant has the same tag, "+at.record.tag.String())
		}
		set.byName[at.record.tag] = variant{t, len(set.all)}
		set.all = append(set.all, p)
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(set.byName)) {
		names = append(names, name.String())
	}
	set.want = fmt.Sprintf("a %v (%s)", reflect.TypeFor[I](), strings.Join(names, ", "))
	variantSets.Store(reflect.TypeFor[I](), set)
}

func variantsOf(t reflect.Type) *variantSet {
	set, _ := variantSets.Load(t)
	s, _ := set.(*variantSet)
	return s
}
