package ei

import (
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode"
)

// A planner makes the plan of a type, and of the types that it is made of.
type planner struct {
	made map[planKey]*plan // also those that are not complete yet: a type may contain itself
}

// A planKey is a type where it stands: a struct says how its fields' types are written.
type planKey struct {
	typ    reflect.Type
	text   textForm
	unit   time.Duration
	tuple  bool
	inKey  bool // within the key of a map
	absent Atom
}

func (b *planner) plan(k planKey) (*plan, error) {
	if k.typ.Kind() == reflect.Struct && !isOurs(k.typ, "Optional[") && !isOurs(k.typ, "Result[") {
		k = planKey{typ: k.typ, inKey: k.inKey} // it says itself what its fields become
	}
	if p := b.made[k]; p != nil {
		return p, nil
	}
	p := &plan{
		typ: k.typ, size: int(k.typ.Size()), text: k.text, unit: k.unit, inKey: k.inKey, absent: k.absent,
		asTuple: k.tuple || k.typ == typeOfTuple,
	}
	b.made[k] = p
	switch {
	case k.typ.Kind() == reflect.Interface, !marshals(k.typ):
	case k.typ.Implements(typeOfMarshaler):
		p.marshals = marshalsValue
	default:
		p.marshals = marshalsPointer
	}
	p.unmarshals = k.typ.Kind() != reflect.Interface && unmarshals(k.typ)
	if p.marshals == marshalsNot && !p.unmarshals {
		return p, b.fill(p, k)
	}
	before := maps.Clone(b.made)
	if b.fill(p, k) != nil {
		p.kind, p.elem, p.key, p.record = kindCustom, nil, nil, nil
		b.made = before // without the plans that were not completed
	}
	return p, nil
}

// fill completes a plan.
func (b *planner) fill(p *plan, k planKey) (err error) {
	t := k.typ
	if exact, ok := exactKinds[t]; ok {
		p.kind = exact
		return nil
	}
	if t == typeOfDuration {
		if p.kind = kindDuration; k.unit == 0 {
			err = &MappingError{Type: t, Reason: `it has no unit: tag its field with ei:",ms" (or ns, us, s), elsewhere take an integer`}
		}
		return err
	}
	inner := k
	switch t.Kind() {
	case reflect.Bool:
		p.kind = kindBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		p.kind = kindInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		p.kind = kindUint
	case reflect.Float32, reflect.Float64:
		p.kind = kindFloat
	case reflect.String:
		p.kind = kindText
	case reflect.Interface:
		switch {
		case typeOfTerm.Implements(t):
			p.kind = kindAny
		default:
			p.kind = kindVariants
		}
	case reflect.Pointer:
		p.kind, inner.typ = kindPointer, t.Elem()
		p.elem, err = b.plan(inner)
	case reflect.Slice, reflect.Array:
		if t.Elem() == typeOfByte && !k.tuple {
			if p.kind = kindBytes; t.Kind() == reflect.Array {
				p.kind = kindByteArray
			}
			return nil
		}
		if p.kind = kindArray; t.Kind() == reflect.Slice {
			p.kind, p.empty = kindSlice, reflect.MakeSlice(t, 0, 0)
		}
		inner.typ, inner.tuple = t.Elem(), false
		p.elem, err = b.plan(inner)
	case reflect.Map:
		p.kind = kindMap
		p.slot, p.apart = pairSize(t)
		p.anyKey = hasInterface(t.Key())
		if p.key, err = b.plan(planKey{typ: t.Key(), inKey: true, absent: k.absent}); err == nil {
			inner.typ, inner.tuple = t.Elem(), false
			p.elem, err = b.plan(inner)
		}
	case reflect.Struct:
		switch {
		case isOurs(t, "Optional["):
			p.kind, inner.typ = kindOptional, t.Field(0).Type
			p.elem, err = b.plan(inner)
		case isOurs(t, "Result["):
			p.kind, inner.typ, inner.tuple = kindResult, t.Field(0).Type, false
			p.elem, err = b.plan(inner)
		default:
			p.kind = kindStruct
			return b.fillStruct(p, k)
		}
	default:
		return &MappingError{Type: t, Reason: noTerm}
	}
	return err
}

// hasInterface reports whether a value of the type is an interface, or has one in itself.
func hasInterface(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Array:
		return hasInterface(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if hasInterface(t.Field(i).Type) {
				return true
			}
		}
	}
	return false
}

// isOurs reports whether t is an instance of a generic type of this package.
func isOurs(t reflect.Type, name string) bool {
	return t.PkgPath() == typeOfTerm.PkgPath() && strings.HasPrefix(t.Name(), name)
}

// maxChain is how many types of pointers, slices and the like, each of the next one, are followed:
// a type may contain itself.
const maxChain = 100

// endless refuses types of which no value ends, such as a pointer to itself.
func (b *planner) endless() error {
	for _, p := range b.made {
		at := p
		for range maxChain {
			if at.kind != kindPointer && at.kind != kindOptional {
				at = nil
				break
			}
			at = at.elem
		}
		if at != nil {
			return &MappingError{Type: p.typ, Reason: "a pointer to itself"}
		}
	}
	return nil
}

// structOptions are what the blank field of a struct, and by it the struct, is tagged with.
type structOptions struct {
	form   structForm
	tag    Atom
	module Atom
	keys   textForm // of the keys
	inKey  bool     // within the key of a map
	strict bool     // keys without a field are refused
	absent Atom
}

// read reads the tag of a blank field.
func (o *structOptions) read(tag string) (wrong string) {
	for option := range strings.SplitSeq(tag, ",") {
		name, value, has := strings.Cut(option, "=")
		switch {
		case name == "tuple":
			o.form, o.tag = formTuple, Atom(value)
		case name == "atom" && value != "":
			o.form, o.tag = formAtom, Atom(value)
		case name == "struct" && value != "":
			o.module = Atom(value)
			if o.absent == "" {
				o.absent = "nil"
			}
		case option == "keys=binary":
			o.keys = textBinary
		case option == "keys=string":
			o.keys = textCharlist
		case option == "keys=atom" || option == "":
		case option == "proplist":
			o.form = formProplist
		case option == "unknown=error":
			o.strict = true
		case (name == "nil" || name == "undefined") && !has:
			o.absent = Atom(name)
		default:
			return fmt.Sprintf("unknown option %q", option)
		}
	}
	switch {
	case !validAtom(o.tag) || !validAtom(o.module):
		return "the name is no atom"
	case o.module != "" && (o.form != formMap || o.keys != textDefault):
		return "a struct of Elixir is a map with atoms as keys"
	}
	return ""
}

// fillStruct completes the plan of a struct.
func (b *planner) fillStruct(p *plan, k planKey) error {
	t := k.typ
	fail := func(field, format string, args ...any) error {
		return &MappingError{Type: t, Field: field, Reason: fmt.Sprintf(format, args...)}
	}
	o := structOptions{inKey: k.inKey}
	for i := range t.NumField() {
		f := t.Field(i)
		if tag, ok := f.Tag.Lookup("ei"); ok && f.Name == "_" {
			if wrong := o.read(tag); wrong != "" {
				return fail("_", "%s", wrong)
			}
		}
	}
	name, _, _ := strings.Cut(t.Name(), "[")
	r := &recordPlan{form: o.form, keys: o.keys, name: SnakeCase(name), tag: o.tag, module: o.module, strict: o.strict}
	p.record = r
	found, hidden, err := findFields(t, &o, nil, false)
	if err != nil {
		return err
	}
	if o.form != formTuple {
		found = outermost(found)
	}
	for _, f := range found {
		if f.plan, err = b.plan(f.as); err != nil {
			return inField(f.in, f.name, err)
		}
		if wrong := misplaced(f.plan, f.as); wrong != "" {
			return &MappingError{Type: f.in, Field: f.name, Reason: wrong}
		}
		r.fields = append(r.fields, f.fieldPlan)
	}
	switch {
	case len(r.fields) == 0 && hidden:
		return fail("", "%s", hasNoFields(t))
	case o.form == formAtom && len(r.fields) > 0:
		return fail("", "an atom has no fields")
	}
	if o.form == formMap {
		// as a runtime system sends the keys of a small map, so that each is the next one
		slices.SortStableFunc(r.fields, func(x, y fieldPlan) int { return strings.Compare(x.key, y.key) })
	}
	r.byKey = make(map[string]int, len(r.fields))
	for i := range r.fields {
		f := &r.fields[i]
		r.omits = r.omits || f.omitEmpty || f.embedded
		switch o.form {
		case formTuple:
			if f.omitEmpty {
				return fail(f.key, "no element of a tuple can be left out")
			}
			if f.embedded {
				return fail(f.key, "an embedded pointer cannot be part of a tuple")
			}
			continue
		case formProplist, formMap, formAtom:
		}
		if _, double := r.byKey[f.key]; double {
			return fail(f.key, "two fields have this key")
		}
		if f.key == "__struct__" && r.module != "" {
			return fail(f.key, "a struct of Elixir has this key already")
		}
		r.byKey[f.key] = i
		if f.encoded, err = appendKey(o.keys, f.key); err != nil {
			return fail(f.key, "%v", err)
		}
	}
	r.many = (len(r.fields) - 1) / 64
	return nil
}

// inField makes err, about the type of a field, one about the field; unless it names another one.
func inField(t reflect.Type, name string, err error) error {
	if e, ok := err.(*MappingError); ok && e.Field == "" {
		return &MappingError{Type: t, Field: name, Reason: fmt.Sprintf("%v: %s", e.Type, e.Reason)}
	}
	return err
}

// misplaced tells which option of a field is of no use for its type.
func misplaced(p *plan, k planKey) string {
	if k.tuple {
		at := p
		for range maxChain {
			if at.kind == kindPointer || at.kind == kindOptional {
				at = at.elem
			}
		}
		if !at.asTuple || at.kind != kindSlice && at.kind != kindArray {
			return "only a slice or an array can be a tuple"
		}
	}
	at := p
	for range maxChain {
		if at.elem != nil {
			at = at.elem
		}
	}
	switch {
	case k.text != textDefault && at.kind != kindText && at.kind != kindAtom:
		return "only text has a form of text"
	case k.unit != 0 && at.kind != kindDuration:
		return "only a time.Duration has a unit"
	}
	return ""
}

// hasNoFields says what to do about a struct that has no exported field.
func hasNoFields(t reflect.Type) string {
	instead := "give it the methods of Marshaler and Unmarshaler"
	switch t.String() {
	case "time.Time":
		instead = "take DateTime, NaiveDateTime, Date or Time of package ei/elixir, or an integer"
	case "big.Rat", "big.Float":
		instead = "take Decimal of package ei/elixir"
	}
	return "it has no exported field: " + instead
}

// isEmbeddable reports whether the fields of an embedded struct are those of the outer one.
func isEmbeddable(t reflect.Type) bool {
	if _, exact := exactKinds[t]; exact || t.Kind() != reflect.Struct || isOurs(t, "Optional[") || isOurs(t, "Result[") {
		return false
	}
	return !marshals(t) && !unmarshals(t)
}

// marshals reports whether values of a type, or pointers to them, encode themselves.
func marshals(t reflect.Type) bool {
	if !reflect.PointerTo(t).Implements(typeOfMarshaler) {
		return false
	}
	m, ok := t.MethodByName("AppendTerm") // a constant, or the linker would keep all methods of all types
	if !ok {
		m, _ = reflect.PointerTo(t).MethodByName("AppendTerm")
	}
	return !isPartOnly(t, typeOfMarshaler, m)
}

// unmarshals reports whether pointers to values of a type read terms themselves.
func unmarshals(t reflect.Type) bool {
	if !reflect.PointerTo(t).Implements(typeOfUnmarshaler) {
		return false
	}
	m, ok := t.MethodByName("ReadTerm")
	if !ok {
		m, _ = reflect.PointerTo(t).MethodByName("ReadTerm")
	}
	return !isPartOnly(t, typeOfUnmarshaler, m)
}

// isPartOnly reports whether the method m of a struct is about a part of it only: that of an
// embedded type, which knows nothing of the other fields.
func isPartOnly(t, method reflect.Type, m reflect.Method) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	isPromoted, others := false, false
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case f.Anonymous && (f.Type.Implements(method) || reflect.PointerTo(f.Type).Implements(method)):
			isPromoted = true
			key, _, _ := strings.Cut(f.Tag.Get("ei"), ",")
			others = others || key != "" && key != "-"
		case f.Name == "_" || f.Tag.Get("ei") == "-" || strings.HasPrefix(f.Type.String(), "sync."):
		case f.IsExported() || f.Anonymous:
			others = true
		}
	}
	if !isPromoted || !others {
		return false
	}
	// unless it is the struct's own: what calls the method of an embedded type is in no file
	file, _ := runtime.FuncForPC(m.Func.Pointer()).FileLine(m.Func.Pointer())
	return file == "<autogenerated>"
}

// SnakeCase gives the name of a Go field or method as Erlang writes it, and as Append does for the
// fields of structs: OrderID is order_id, HTTPServer http_server. A plural s and the number of a
// version stay with the capitals before them: UserIDs is user_ids, IPv4Addr ipv4_addr.
func SnakeCase(name string) string {
	rs := []rune(name)
	var out strings.Builder
	for i, r := range rs {
		if unicode.IsUpper(r) && i > 0 && rs[i-1] != '_' && (!unicode.IsUpper(rs[i-1]) || beginsWord(rs[i+1:])) {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}

// beginsWord reports whether the last of several capitals, before rest, is the first letter of a
// word, and not one of an initialism.
func beginsWord(rest []rune) bool {
	if len(rest) == 0 || !unicode.IsLower(rest[0]) {
		return false
	}
	isPlural := rest[0] == 's' && (len(rest) == 1 || !unicode.IsLower(rest[1]))
	isVersion := rest[0] == 'v' && len(rest) > 1 && unicode.IsDigit(rest[1])
	return !isPlural && !isVersion
}

// appendKey encodes the key of a field.
func appendKey(form textForm, key string) ([]byte, error) {
	if form == textDefault {
		form = textAtom
	}
	return appendString(nil, key, form)
}

// maxEmbedded is how deep structs may be embedded in each other.
const maxEmbedded = 50

// A foundField is a field of a struct, or of one embedded in it, whose type has no plan yet.
type foundField struct {
	fieldPlan
	as   planKey
	in   reflect.Type // the struct that has it
	name string
}

// outermost leaves out the fields that another one with the same key hides: one that is embedded
// less deep, as in Go.
func outermost(fields []foundField) []foundField {
	depth := map[string]int{}
	for _, f := range fields {
		if d, ok := depth[f.key]; !ok || len(f.index) < d {
			depth[f.key] = len(f.index)
		}
	}
	return slices.DeleteFunc(fields, func(f foundField) bool { return len(f.index) > depth[f.key] })
}

// findFields finds the fields of t, which is the struct itself or embedded in it at index, and
// tells whether it has others, that nobody outside its package can reach.
func findFields(t reflect.Type, o *structOptions, index []int, embedded bool) (fields []foundField, hidden bool, err error) {
	for i := range t.NumField() {
		f := t.Field(i)
		fail := func(format string, args ...any) error {
			return &MappingError{Type: t, Field: f.Name, Reason: fmt.Sprintf(format, args...)}
		}
		tag, tagged := f.Tag.Lookup("ei")
		key, options, _ := strings.Cut(tag, ",")
		at := append(index[:len(index):len(index)], i)
		inner, isPointer := f.Type, f.Type.Kind() == reflect.Pointer
		if isPointer {
			inner = inner.Elem()
		}
		switch {
		case f.Name == "_" || tag == "-":
			continue
		case f.Anonymous && key == "" && isEmbeddable(inner):
			switch {
			case inner.PkgPath() == "sync": // a lock is not sent
				continue
			case isPointer && !f.IsExported():
				return nil, false, fail("an embedded pointer to a struct that is not exported cannot be set")
			case len(at) > maxEmbedded:
				return nil, false, fail("it is embedded in itself, or more than %d deep", maxEmbedded)
			}
			more, others, err := findFields(inner, o, at, embedded || isPointer)
			if err != nil {
				return nil, false, err
			}
			if len(more) == 0 && others && f.IsExported() {
				return nil, false, fail("%v: %s", inner, hasNoFields(inner))
			}
			fields, hidden = append(fields, more...), hidden || others
			continue
		case !f.IsExported() && tagged:
			return nil, false, fail("it is tagged, but not exported")
		case !f.IsExported() && f.Anonymous && (marshals(inner) || unmarshals(inner)):
			return nil, false, fail("an embedded type that encodes itself is a field, for which it has to be exported")
		case !f.IsExported():
			hidden = true
			continue
		case key == "":
			key = SnakeCase(f.Name)
		}
		field := foundField{in: t, name: f.Name, as: planKey{typ: f.Type, inKey: o.inKey, absent: o.absent}}
		field.key, field.index, field.embedded = key, at, embedded
		for option := range strings.SplitSeq(options, ",") {
			switch option {
			case "":
			case "atom":
				field.as.text = textAtom
			case "charlist":
				field.as.text = textCharlist
			case "binary":
				field.as.text = textBinary
			case "ns", "us", "ms", "s":
				field.as.unit, _ = time.ParseDuration("1" + option)
			case "tuple":
				field.as.tuple = true
			case "omitempty":
				field.omitEmpty = true
			default:
				return nil, false, fail("unknown option %q", option)
			}
		}
		fields = append(fields, field)
	}
	return fields, hidden, nil
}
