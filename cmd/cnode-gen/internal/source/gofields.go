package source

import (
	"fmt"
	"go/types"
	"slices"
	"strings"

	"github.com/cnode-go/cnode/ei"
)

// A place is where a type stands: in a field whose tag says how values of the type are written.
type place struct {
	text   string // atom, charlist, binary; "": as the type is
	unit   bool   // a duration has one
	tuple  bool
	absent ei.Atom // what Go sends for nothing; "": undefined, unless the program says otherwise
	name   string  // for a type that has none itself
}

// A goField is one of a struct, with what its tag says.
type goField struct {
	key   string
	typ   types.Type
	at    place
	omit  bool   // it is left out if it is zero
	loose bool   // it is left out with the embedded pointer that it is reached by
	depth int    // how deep it is embedded
	of    string // its type and its name
}

// A layout is how package ei writes a struct.
type layout struct {
	kind   string // "", struct, tuple, proplist, atom, keys=binary, keys=string
	name   string // of struct=NAME, tuple=NAME and atom=NAME
	absent ei.Atom
	fields []goField
}

// A typeError is about a type that package ei refuses, too.
type typeError struct{ of, reason string }

func (e *typeError) Error() string { return e.of + ": " + e.reason }

// tagOf takes apart the tag of a field.
func tagOf(tag string) (name string, options []string, ok bool) {
	_, tag, ok = strings.Cut(tag, `ei:"`)
	tag, _, _ = strings.Cut(tag, `"`)
	parts := strings.Split(tag, ",")
	return parts[0], parts[1:], ok
}

// layoutOf reads a struct as package ei does.
func layoutOf(s *types.Struct, of string) (l layout, err error) {
	for i := range s.NumFields() {
		if name, options, _ := tagOf(s.Tag(i)); s.Field(i).Name() == "_" {
			if err := l.read(append([]string{name}, options...), of); err != nil {
				return l, err
			}
		}
	}
	found, hidden, err := fieldsOf(s, of, goField{at: place{absent: l.absent}})
	if err != nil {
		return l, err
	}
	if l.kind != "tuple" {
		found = outermost(found)
	}
	l.fields = found
	keys := map[string]bool{}
	for _, f := range found {
		switch {
		case l.kind == "tuple" && f.omit:
			return l, &typeError{f.of, "no element of a tuple can be left out"}
		case l.kind == "tuple" && f.loose:
			return l, &typeError{f.of, "an embedded pointer cannot be part of a tuple"}
		case l.kind != "tuple" && keys[f.key]:
			return l, &typeError{f.of, "two fields have the key " + f.key}
		case l.kind == "atom":
			return l, &typeError{f.of, "an atom has no fields"}
		case l.kind == "struct" && f.key == "__struct__":
			return l, &typeError{f.of, "a struct of Elixir has this key already"}
		}
		keys[f.key] = true
	}
	if len(found) == 0 && hidden {
		return l, &typeError{of, noFields}
	}
	return l, nil
}

const noFields = "it has no exported field, and no methods AppendTerm and ReadTerm"

// read reads the options of a blank field.
func (l *layout) read(options []string, of string) error {
	for _, o := range options {
		switch kind, value, _ := strings.Cut(o, "="); {
		case kind == "struct" || kind == "tuple" || kind == "proplist" || kind == "atom":
			l.kind, l.name = kind, value
			if kind == "struct" && l.absent == "" {
				l.absent = "nil"
			}
		case o == "keys=binary" || o == "keys=string":
			l.kind = o
		case o == "nil" || o == "undefined":
			l.absent = ei.Atom(o)
		case o != "" && o != "keys=atom" && o != "unknown=error":
			return &typeError{of, fmt.Sprintf("unknown option %q", o)}
		}
	}
	return nil
}

// outermost leaves out the fields that another one with the same key hides, which is embedded less
// deep.
func outermost(fields []goField) []goField {
	depth := map[string]int{}
	for _, f := range fields {
		if d, ok := depth[f.key]; !ok || f.depth < d {
			depth[f.key] = f.depth
		}
	}
	return slices.DeleteFunc(fields, func(f goField) bool { return f.depth > depth[f.key] })
}

// maxEmbedded is how deep structs may be embedded in each other.
const maxEmbedded = 50

// fieldsOf finds the fields of a struct, which may be embedded as in says, and tells whether it has
// others, that are not exported.
func fieldsOf(s *types.Struct, of string, in goField) (fields []goField, hidden bool, err error) {
	for i := range s.NumFields() {
		v := s.Field(i)
		f := in
		f.of, f.typ = of+"."+v.Name(), v.Type()
		key, options, isTagged := tagOf(s.Tag(i))
		inner, isPointer := v.Type(), false
		if p, ok := inner.Underlying().(*types.Pointer); ok {
			inner, isPointer = p.Elem(), true
		}
		embedded, isStruct := inner.Underlying().(*types.Struct)
		switch {
		case v.Name() == "_" || key == "-" && len(options) == 0:
			continue
		case v.Embedded() && key == "" && isStruct && isEmbeddable(inner):
			if named, ok := types.Unalias(inner).(*types.Named); ok && named.Obj().Pkg() != nil && named.Obj().Pkg().Path() == "sync" {
				continue // a lock is not sent
			}
			f.depth, f.loose = f.depth+1, f.loose || isPointer
			switch {
			case isPointer && !v.Exported():
				return nil, false, &typeError{f.of, "an embedded pointer to a struct that is not exported cannot be set"}
			case f.depth > maxEmbedded:
				return nil, false, &typeError{f.of, fmt.Sprintf("it is embedded in itself, or more than %d deep", maxEmbedded)}
			}
			more, others, err := fieldsOf(embedded, f.of, f)
			if err != nil {
				return nil, false, err
			}
			if len(more) == 0 && others && v.Exported() {
				return nil, false, &typeError{f.of, noFields}
			}
			fields, hidden = append(fields, more...), hidden || others
			continue
		case !v.Exported() && isTagged:
			return nil, false, &typeError{f.of, "it is tagged, but not exported"}
		case !v.Exported() && v.Embedded() && encodesItself(inner):
			return nil, false, &typeError{f.of, "an embedded type that encodes itself has to be exported"}
		case !v.Exported():
			hidden = true
			continue
		case key == "":
			key = ei.SnakeCase(v.Name())
		}
		if f.key = key; !keySyntax.MatchString(key) {
			return nil, false, &typeError{f.of, fmt.Sprintf("the key %q cannot be that of a field in Elixir's source", key)}
		}
		if err := f.read(options); err != nil {
			return nil, false, err
		}
		fields = append(fields, f)
	}
	return fields, hidden, nil
}

// read reads the options of a field.
func (f *goField) read(options []string) error {
	for _, o := range options {
		switch o {
		case "":
		case "atom", "charlist", "binary":
			f.at.text = o
		case "ns", "us", "ms", "s":
			f.at.unit = true
		case "tuple":
			f.at.tuple = true
		case "omitempty":
			f.omit = true
		default:
			return &typeError{f.of, fmt.Sprintf("unknown option %q", o)}
		}
	}
	return nil
}

// isEmbeddable tells whether the fields of an embedded struct are those of the outer one.
func isEmbeddable(t types.Type) bool {
	if named, ok := types.Unalias(t).(*types.Named); ok && isOurs(named.Obj()) && named.TypeArgs().Len() > 0 {
		return named.Obj().Name() != "Optional" && named.Obj().Name() != "Result"
	}
	return ofLibrary(t) == ""
}

// encodesItself tells whether values of a type have methods to write or to read them: their own, or
// those of an embedded type that is all that is sent of them.
func encodesItself(t types.Type) bool {
	for _, method := range []string{"AppendTerm", "ReadTerm"} {
		found := types.NewMethodSet(types.NewPointer(t)).Lookup(nil, method)
		if found != nil && (len(found.Index()) == 1 || !hasOthers(t, method)) {
			return true
		}
	}
	return false
}

// hasOthers tells whether a struct has fields beside the embedded one whose method it has.
func hasOthers(t types.Type, method string) bool {
	s, ok := t.Underlying().(*types.Struct)
	if !ok {
		return false
	}
	for i := range s.NumFields() {
		v := s.Field(i)
		key, _, _ := tagOf(s.Tag(i))
		isIt := v.Embedded() && (types.NewMethodSet(v.Type()).Lookup(nil, method) != nil ||
			types.NewMethodSet(types.NewPointer(v.Type())).Lookup(nil, method) != nil)
		switch {
		case isIt && key != "" && key != "-":
			return true
		case isIt || v.Name() == "_" || key == "-" || strings.HasPrefix(types.TypeString(v.Type(), nil), "sync."):
		case v.Exported() || v.Embedded():
			return true
		}
	}
	return false
}
