package source

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
)

// isZero tells whether Go's zero value of a type is sent as a term.
func isZero(t goType, v ei.Term) bool {
	switch t.kind {
	case kindPointer, kindOptional:
		return v == ei.Atom("nil")
	case kindSlice, kindKeyword:
		list, ok := ei.Elements(v)
		return ok && len(list) == 0
	case kindSet:
		m, _ := v.(ei.Map)
		return get(m, "version") == nil && isEmpty(get(m, "map"))
	case kindResult:
		pair, _ := v.(ei.Tuple)
		return len(pair) == 2 && pair[0] == ei.Atom("ok") && isZero(*t.elem, pair[1]) || t.elem.text == "struct{}" && v == ei.Atom("ok")
	case kindStruct:
		fields, ok := t.decl.values(v)
		for i, f := range t.decl.fields {
			ok = ok && (fields[i] == nil && f.omit || fields[i] != nil && !f.omit && isZero(f.typ, fields[i]))
		}
		return ok
	case kindMap:
		return isEmpty(v)
	case kindThere:
		return false
	}
	switch v := v.(type) {
	case ei.Int:
		return v == 0 && slices.Contains([]string{"int64", "uint64", "float64", "time.Duration"}, t.text)
	case ei.Float:
		return v == 0 && t.text == "float64"
	case ei.Binary:
		return len(v) == 0 && (t.text == "[]byte" || t.text == "string" && t.option == "")
	case ei.Atom:
		return t.text == "bool" && v == "false" || t.isTerm() && v == "nil"
	case ei.Tuple:
		return t.text == "ei.Tuple" && len(v) == 0
	case ei.Map:
		d, _ := read[elixir.Decimal](v)
		return t.text == "ei.Map" && len(v) == 0 ||
			t.text == "elixir.Decimal" && d.Coef != nil && d.Coef.Sign() == 0 && d.Exp == 0 && !d.Neg && d.Special == elixir.Finite
	}
	list, ok := ei.Elements(v)
	return ok && len(list) == 0 && t.option == "charlist"
}

func isEmpty(v ei.Term) bool {
	m, ok := v.(ei.Map)
	return ok && len(m) == 0
}

// values are those of a struct's fields in a term, nil where there is none; false if a term is not
// of that form.
func (d *decl) values(v ei.Term) ([]ei.Term, bool) {
	found := make([]ei.Term, len(d.fields))
	if d.form == "tuple" {
		t, ok := v.(ei.Tuple)
		if ok && d.tag != "" {
			if ok = len(t) > 0 && t[0] == d.tag; ok {
				t = t[1:]
			}
		}
		return t, ok && len(t) == len(d.fields)
	}
	var pairs ei.Map
	if d.form == "proplist" {
		list, ok := ei.Elements(v)
		for _, e := range list {
			pair, _ := e.(ei.Tuple)
			if len(pair) != 2 || !ok {
				return found, false
			}
			pairs = append(pairs, ei.Pair{Key: pair[0], Value: pair[1]})
		}
		v = pairs
	}
	pairs, ok := v.(ei.Map)
	for _, p := range pairs {
		i := slices.IndexFunc(d.fields, func(f field) bool { return p.Key == ei.Atom(f.key) })
		switch {
		case i >= 0 && found[i] == nil:
			found[i] = p.Value
		case p.Key == ei.Atom("__struct__") && d.form == "struct":
			ok = ok && p.Value == d.tag
		default:
			ok = ok && d.partial
		}
	}
	for i, f := range d.fields {
		ok = ok && (found[i] != nil || f.omit)
	}
	return found, ok
}

// valueOf is an expression of Go for a value of a type; false if there is none.
func valueOf(t goType, v ei.Term) (text string, ok bool) {
	switch t.kind {
	case kindPointer, kindOptional:
		return absentable(t, v)
	case kindSlice:
		list, ok := ei.Elements(v)
		return composite(t.text, list, *t.elem, ok)
	case kindKeyword:
		list, ok := ei.Elements(v)
		d := &decl{form: "tuple", name: strings.Replace(t.text, "Keyword", "Pair", 1)}
		d.fields = []field{{name: "Key", typ: plain("ei.Atom")}, {name: "Value", typ: *t.elem}}
		return composite(t.text, list, goType{text: d.name, kind: kindStruct, decl: d}, ok)
	case kindMap:
		m, ok := v.(ei.Map)
		return mapValue(t, m, ok)
	case kindSet:
		return setValue(t, v)
	case kindResult:
		return resultValue(t, v)
	case kindStruct:
		return structValue(t.decl, v)
	case kindThere: // its fields are not known
		return "", false
	case kindAtoms:
		a, ok := v.(ei.Atom)
		if i := slices.Index(t.decl.atoms, a); i >= 0 {
			return t.decl.consts[i], ok
		}
		return "", false
	}
	return plainValue(t, v)
}

// absentable is a value of a pointer, or of an ei.Optional.
func absentable(t goType, v ei.Term) (string, bool) {
	if v == ei.Atom("nil") {
		if t.kind == kindPointer {
			return "nil", true
		}
		return t.text + "{}", true
	}
	text, ok := valueOf(*t.elem, v)
	switch {
	case t.kind == kindOptional:
		return t.text + "{Value: " + text + ", Valid: true}", ok
	case strings.HasSuffix(text, "}"):
		return "&" + text, ok
	case slices.Contains([]string{"bool", "string", "time.Duration"}, t.elem.text) || t.elem.kind == kindAtoms || t.elem.kind == kindSet:
		return "new(" + text + ")", ok
	}
	return "new(" + t.elem.text + "(" + text + "))", ok
}

// composite is a list of values.
func composite(typ string, list []ei.Term, elem goType, ok bool) (string, bool) {
	var parts []string
	for _, e := range list {
		part, is := valueOf(elem, e)
		ok = ok && is
		parts = append(parts, elided(part, elem))
	}
	return typ + "{" + strings.Join(parts, ", ") + "}", ok
}

// elided is an element's value without its type, which the list or map says.
func elided(value string, t goType) string {
	if rest, ok := strings.CutPrefix(value, t.text+"{"); ok {
		return "{" + rest
	}
	return value
}

func mapValue(t goType, m ei.Map, ok bool) (string, bool) {
	var parts []string
	for _, p := range m {
		key, isKey := valueOf(*t.key, p.Key)
		value, isValue := valueOf(*t.elem, p.Value)
		ok = ok && isKey && isValue
		parts = append(parts, elided(key, *t.key)+": "+elided(value, *t.elem))
	}
	return t.text + "{" + strings.Join(parts, ", ") + "}", ok
}

// setValue is a set, of which those of Elixir up to 1.14 have a version.
func setValue(t goType, v ei.Term) (string, bool) {
	m, _ := v.(ei.Map)
	members, ok := get(m, "map").(ei.Map)
	var keys []ei.Term
	for _, p := range members {
		keys = append(keys, p.Key)
	}
	text, isList := composite("", keys, *t.elem, ok && get(m, "__struct__") == ei.Atom("Elixir.MapSet"))
	version, hasVersion := get(m, "version").(ei.Int)
	if !hasVersion {
		return "elixir.NewMapSet[" + t.elem.text + "](" + text[1:len(text)-1] + ")", isList
	}
	var parts []string
	for _, k := range keys {
		part, _ := valueOf(*t.elem, k)
		parts = append(parts, part+": {}")
	}
	text = fmt.Sprintf("%s{Version: %d", t.text, version)
	if len(parts) > 0 {
		text += ", Members: map[" + t.elem.text + "]elixir.Member{" + strings.Join(parts, ", ") + "}"
	}
	return text + "}", isList
}

func resultValue(t goType, v ei.Term) (string, bool) {
	if t.elem.text == "struct{}" && v == ei.Atom("ok") {
		return t.text + "{}", true
	}
	pair, _ := v.(ei.Tuple)
	switch {
	case len(pair) != 2:
		return "", false
	case pair[0] == ei.Atom("error"):
		text, ok := termValue(pair[1])
		return t.text + "{Err: &ei.ReasonError{Reason: " + text + "}}", ok
	}
	text, ok := valueOf(*t.elem, pair[1])
	return t.text + "{Value: " + text + "}", ok && pair[0] == ei.Atom("ok")
}

// structValue is a value of a declared struct, with the fields that are not zero.
func structValue(d *decl, v ei.Term) (string, bool) {
	values, ok := d.values(v)
	if !ok {
		return "", false
	}
	var parts []string
	for i, f := range d.fields {
		if values[i] == nil || isZero(f.typ, values[i]) && !f.omit {
			continue
		}
		text, is := valueOf(f.typ, values[i])
		if !is {
			return "", false
		}
		parts = append(parts, f.name+": "+text)
	}
	return d.name + "{" + strings.Join(parts, ", ") + "}", true
}

// plainValue is a value of a type that is not made of others.
func plainValue(t goType, v ei.Term) (string, bool) {
	switch {
	case t.isTerm():
		if v == ei.Atom("nil") {
			return "nil", true
		}
		return termValue(v)
	case strings.HasPrefix(t.text, "elixir.") || strings.HasPrefix(t.text, "*elixir."):
		return libraryValue(t.text, v)
	case t.option == "charlist":
		return charlistValue(v)
	}
	switch v := v.(type) {
	case ei.Int:
		switch text := strconv.FormatInt(int64(v), 10); t.text {
		case "int64", "float64":
			return text, true
		case "uint64":
			return text, v >= 0
		case "time.Duration":
			return text + " * time.Millisecond", v >= 0
		}
	case ei.Float:
		return strconv.FormatFloat(float64(v), 'g', -1, 64), t.text == "float64"
	case ei.Binary:
		if t.text == "[]byte" {
			return "[]byte(" + strconv.Quote(string(v)) + ")", true
		}
		return strconv.Quote(string(v)), t.text == "string" || t.text == "any"
	case ei.Atom:
		switch t.text {
		case "bool":
			return string(v), v == "true" || v == "false"
		case "ei.Atom":
			return strconv.Quote(string(v)), true
		case "time.Duration":
			return "math.MaxInt64", v == "infinity"
		}
	}
	if t.text == "any" || t.text == "ei.Map" || t.text == "ei.Tuple" {
		text, ok := termValue(v)
		return text, ok && (t.text == "any" || strings.HasPrefix(text, t.text))
	}
	return "", false
}

// charlistValue is the text that a list of characters is.
func charlistValue(v ei.Term) (string, bool) {
	list, ok := ei.Elements(v)
	var text []rune
	for _, e := range list {
		c, isInt := e.(ei.Int)
		ok = ok && isInt && c >= 0 && c <= unicode.MaxRune && utf8.ValidRune(rune(c))
		text = append(text, rune(c))
	}
	return strconv.Quote(string(text)), ok
}

// termValue is an ei.Term.
func termValue(v ei.Term) (text string, ok bool) {
	switch v := v.(type) {
	case ei.Int:
		return fmt.Sprintf("ei.Int(%d)", v), true
	case ei.Float:
		return "ei.Float(" + strconv.FormatFloat(float64(v), 'g', -1, 64) + ")", true
	case ei.Atom:
		return "ei.Atom(" + strconv.Quote(string(v)) + ")", true
	case ei.Binary:
		return "ei.Binary(" + strconv.Quote(string(v)) + ")", true
	case ei.String:
		return "ei.String(" + strconv.Quote(string(v)) + ")", true
	case ei.Export:
		return fmt.Sprintf("ei.Export{Module: %q, Function: %q, Arity: %d}", string(v.Module), string(v.Function), v.Arity), true
	case ei.List:
		return terms("ei.List", v)
	case ei.Tuple:
		return terms("ei.Tuple", v)
	case ei.Map:
		var parts []string
		ok = true
		for _, p := range v {
			key, isKey := termValue(p.Key)
			value, isValue := termValue(p.Value)
			ok = ok && isKey && isValue
			parts = append(parts, "{Key: "+key+", Value: "+value+"}")
		}
		return "ei.Map{" + strings.Join(parts, ", ") + "}", ok
	}
	return "", false
}

func terms(typ string, list []ei.Term) (string, bool) {
	parts, ok := []string{}, true
	for _, e := range list {
		part, is := termValue(e)
		ok = ok && is
		parts = append(parts, part)
	}
	return typ + "{" + strings.Join(parts, ", ") + "}", ok
}

// libraryValue is a value of a type of package elixir.
func libraryValue(typ string, v ei.Term) (string, bool) {
	switch typ {
	case "elixir.Date":
		return goSyntax[elixir.Date](v)
	case "elixir.Time":
		return goSyntax[elixir.Time](v)
	case "elixir.NaiveDateTime":
		return goSyntax[elixir.NaiveDateTime](v)
	case "elixir.DateTime":
		return goSyntax[elixir.DateTime](v)
	case "elixir.Range":
		return goSyntax[elixir.Range](v)
	case "elixir.Decimal":
		d, ok := read[elixir.Decimal](v)
		if !ok || d.Special != elixir.Finite || !d.Coef.IsInt64() {
			return "", false
		}
		text := fmt.Sprintf("elixir.Decimal{Coef: big.NewInt(%d), Exp: %d}", d.Coef, d.Exp)
		if d.Neg {
			text = strings.Replace(text, "{", "{Neg: true, ", 1)
		}
		return text, true
	}
	return "", false
}

func read[T any](v ei.Term) (got T, ok bool) {
	data, err := ei.Marshal(v)
	if err == nil {
		err = ei.Unmarshal(data, &got)
	}
	return got, err == nil
}

func goSyntax[T any](v ei.Term) (string, bool) {
	got, ok := read[T](v)
	return fmt.Sprintf("%#v", got), ok
}

// printed is a text without what would end a comment, or not be seen in one.
func printed(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// brief is a term as Elixir writes it, for a comment.
func brief(v ei.Term) string {
	text := printed(string(bytes.TrimSpace(elixir.AppendText(nil, v))))
	if runes := []rune(text); len(runes) > maxSpelled {
		return string(runes[:maxSpelled]) + "…"
	}
	return text
}

func printable(a ei.Atom) string { return string(elixir.AppendText(nil, a)) }
