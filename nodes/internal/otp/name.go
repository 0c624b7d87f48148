package otp

import (
	"reflect"

	"github.com/cnode-go/cnode/ei"
)

// Name is a name, of a group for example, as ei.Append takes it: a Go string, or a value of a type
// that is one, is the atom of that text; anything else is what it is.
func Name(name any) any {
	switch name.(type) {
	case ei.Term, ei.Marshaler:
		return name
	}
	if v := reflect.ValueOf(name); v.Kind() == reflect.String {
		return ei.Atom(v.String())
	}
	return name
}
