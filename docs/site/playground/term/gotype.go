package term

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/elixir"
)

const maxDepth = 20 // of types: one that is deeper is an ei.Term

// GoType proposes a type into which ei.Unmarshal reads a term. Package go/format would make the
// program that a page loads larger by a quarter.
func GoType(t ei.Term) string { return "type Message " + typeOf(t, 0) }

func typeOf(t ei.Term, depth int) string {
	if depth > maxDepth {
		return "ei.Term"
	}
	switch t := t.(type) {
	case ei.Map:
		return mapType(t, depth)
	case ei.Tuple:
		return tupleType(t, depth)
	case ei.List:
		return "[]" + common(t, depth)
	case ei.String:
		return "[]int"
	case ei.Binary:
		return "string"
	case ei.Int:
		return "int"
	case ei.BigInt:
		return "*big.Int"
	case ei.Float:
		return "float64"
	case ei.Atom:
		if t == "true" || t == "false" {
			return "bool"
		}
		return "ei.Atom"
	case ei.Pid, ei.Port, ei.Ref:
		return fmt.Sprintf("%T", t)
	}
	return "ei.Term"
}

// common is the type of all elements, or ei.Term.
func common(list []ei.Term, depth int) string {
	if len(list) == 0 {
		return "ei.Term"
	}
	first := typeOf(list[0], depth+1)
	for _, t := range list[1:] {
		if typeOf(t, depth+1) != first {
			return "ei.Term"
		}
	}
	return first
}

func mapType(m ei.Map, depth int) string {
	var keys, values []ei.Term
	var fields fields
	for _, p := range m {
		keys, values = append(keys, p.Key), append(values, p.Value)
		key, _ := p.Key.(ei.Atom)
		name, isAtom := p.Value.(ei.Atom)
		switch {
		case key == "__struct__" && isAtom:
			fields.blank("struct=" + string(name))
		default:
			fields.add(exported(string(key)), typeOf(p.Value, depth+1), string(key))
		}
	}
	if text, ok := fields.text(); ok {
		return text
	}
	key := common(keys, depth)
	switch key {
	case "string", "int", "ei.Atom", "bool":
		return "map[" + key + "]" + common(values, depth)
	}
	return "ei.Map"
}

// tupleType takes a tuple that begins with an atom as one with a tag, as records have it.
func tupleType(t ei.Tuple, depth int) string {
	var fields fields
	elements := []ei.Term(t)
	option := "tuple"
	if len(t) > 0 {
		if tag, ok := t[0].(ei.Atom); ok && tag != "true" && tag != "false" {
			option, elements = "tuple="+string(tag), elements[1:]
		}
	}
	fields.blank(option)
	for i, e := range elements {
		fields.add("Field"+strconv.Itoa(i+1), typeOf(e, depth+1), "")
	}
	if text, ok := fields.text(); ok && len(elements) > 0 {
		return text
	}
	return "ei.Tuple"
}

// fields are those of a struct, unless one of them cannot be.
type fields struct {
	list   []field
	failed bool
}

type field struct{ name, goType, tag string }

func (f *fields) blank(option string) {
	f.list = append([]field{{"_", "struct{}", option}}, f.list...)
	f.failed = f.failed || strings.ContainsAny(option, "`\",\\\n")
}

func (f *fields) add(name, goType, key string) {
	f.failed = f.failed || name == "" || key == "-" || strings.ContainsAny(key, "`\",\\\n")
	for _, other := range f.list {
		f.failed = f.failed || other.name == name
	}
	f.list = append(f.list, field{name, goType, key})
}

// text is the struct as gofmt would write it, if no field has lines of its own.
func (f *fields) text() (string, bool) {
	if f.failed || len(f.list) == 0 {
		return "", false
	}
	names, types := 0, 0
	for _, l := range f.list {
		names = max(names, utf8.RuneCountInString(l.name))
		if !strings.Contains(l.goType, "\n") {
			types = max(types, utf8.RuneCountInString(l.goType))
		}
	}
	var b strings.Builder
	for _, l := range f.list {
		line := fmt.Sprintf("%-*s %s", names, l.name, l.goType)
		if l.tag != "" {
			line = fmt.Sprintf("%-*s %-*s `ei:\"%s\"`", names, l.name, types, l.goType, l.tag)
		}
		b.WriteString("\n\t" + strings.ReplaceAll(line, "\n", "\n\t"))
	}
	return "struct {" + b.String() + "\n}", true
}

// exported makes a field's name of a key; none, if it has no letters to begin with.
func exported(key string) string {
	var b strings.Builder
	up := true
	for _, r := range key {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			up = true
		case up:
			b.WriteRune(unicode.ToUpper(r))
			up = false
		default:
			b.WriteRune(r)
		}
	}
	if token.IsExported(b.String()) && token.IsIdentifier(b.String()) {
		return b.String()
	}
	return ""
}

// throughType reads a term into a value of the type, and gives what that is as a term.
func throughType(text, bytes string) (ei.Term, error) {
	wanted, err := ParseType(text)
	if err != nil {
		return nil, err
	}
	b, err := unspaced(bytes)
	if err != nil {
		return nil, err
	}
	v := reflect.New(wanted)
	if err := ei.Unmarshal(b, v.Interface()); err != nil {
		return nil, err
	}
	if b, err = ei.Marshal(v.Elem().Interface()); err != nil {
		return nil, err
	}
	return ei.Decode(b)
}

// ParseType makes a type of a declaration: "type Message struct { … }", or of the type alone.
func ParseType(text string) (t reflect.Type, err error) {
	const here = "/*line :1:1*/" // positions are those of the text
	source := "package p; " + here + text
	if !strings.HasPrefix(strings.TrimSpace(text), "type ") {
		source = "package p; type Message " + here + text
	}
	f, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution)
	var wrong scanner.ErrorList
	if errors.As(err, &wrong) {
		return nil, fmt.Errorf("line %d, column %d: %s", wrong[0].Pos.Line, wrong[0].Pos.Column, wrong[0].Msg)
	}
	if err != nil {
		return nil, err
	}
	if len(f.Decls) != 1 {
		return nil, errors.New("not one declaration")
	}
	d, ok := f.Decls[0].(*ast.GenDecl)
	if !ok || d.Tok != token.TYPE || len(d.Specs) != 1 {
		return nil, errors.New("not the declaration of one type")
	}
	defer func() {
		if p := recover(); p != nil { // package reflect refuses in no other way
			err = fmt.Errorf("no Go type: %v", p)
		}
	}()
	return typeFrom(d.Specs[0].(*ast.TypeSpec).Type)
}

// knownTypes are the types with names that a declaration may have.
var knownTypes = map[string]reflect.Type{
	"bool": reflect.TypeFor[bool](), "string": reflect.TypeFor[string](), "any": reflect.TypeFor[any](), "byte": reflect.TypeFor[byte](),
	"int": reflect.TypeFor[int](), "int8": reflect.TypeFor[int8](), "int16": reflect.TypeFor[int16](), "int32": reflect.TypeFor[int32](),
	"int64": reflect.TypeFor[int64](), "uint": reflect.TypeFor[uint](), "uint8": reflect.TypeFor[uint8](),
	"uint16": reflect.TypeFor[uint16](), "uint32": reflect.TypeFor[uint32](), "uint64": reflect.TypeFor[uint64](),
	"float32": reflect.TypeFor[float32](), "float64": reflect.TypeFor[float64](),
	"ei.Term": reflect.TypeFor[ei.Term](), "ei.Atom": reflect.TypeFor[ei.Atom](), "ei.Binary": reflect.TypeFor[ei.Binary](),
	"ei.Tuple": reflect.TypeFor[ei.Tuple](), "ei.List": reflect.TypeFor[ei.List](), "ei.Map": reflect.TypeFor[ei.Map](),
	"ei.Pid": reflect.TypeFor[ei.Pid](), "ei.Port": reflect.TypeFor[ei.Port](), "ei.Ref": reflect.TypeFor[ei.Ref](),
	"ei.Raw": reflect.TypeFor[ei.Raw](), "big.Int": reflect.TypeFor[big.Int](), "time.Duration": reflect.TypeFor[time.Duration](),
	"elixir.Date": reflect.TypeFor[elixir.Date](), "elixir.Time": reflect.TypeFor[elixir.Time](),
	"elixir.DateTime": reflect.TypeFor[elixir.DateTime](), "elixir.NaiveDateTime": reflect.TypeFor[elixir.NaiveDateTime](),
	"elixir.Decimal": reflect.TypeFor[elixir.Decimal](), "elixir.Range": reflect.TypeFor[elixir.Range](),
}

func typeFrom(e ast.Expr) (reflect.Type, error) {
	switch e := e.(type) {
	case *ast.Ident, *ast.SelectorExpr:
		name := fmt.Sprint(e)
		if s, ok := e.(*ast.SelectorExpr); ok {
			name = fmt.Sprint(s.X) + "." + s.Sel.Name
		}
		if t := knownTypes[name]; t != nil {
			return t, nil
		}
		return nil, fmt.Errorf("the type %s is not known here", name)
	case *ast.ParenExpr:
		return typeFrom(e.X)
	case *ast.StarExpr:
		t, err := typeFrom(e.X)
		if err != nil {
			return nil, err
		}
		return reflect.PointerTo(t), nil
	case *ast.ArrayType:
		return arrayFrom(e)
	case *ast.MapType:
		key, err := typeFrom(e.Key)
		if err != nil {
			return nil, err
		}
		value, err := typeFrom(e.Value)
		if err != nil {
			return nil, err
		}
		return reflect.MapOf(key, value), nil
	case *ast.StructType:
		return structFrom(e)
	}
	return nil, fmt.Errorf("a type of this kind (%T) has no term", e)
}

func arrayFrom(e *ast.ArrayType) (reflect.Type, error) {
	element, err := typeFrom(e.Elt)
	if err != nil {
		return nil, err
	}
	if e.Len == nil {
		return reflect.SliceOf(element), nil
	}
	length, ok := e.Len.(*ast.BasicLit)
	if !ok {
		return nil, errors.New("the length of an array is a number here")
	}
	n, err := strconv.ParseUint(length.Value, 0, 16)
	if err != nil {
		return nil, fmt.Errorf("the length of an array: %w", err)
	}
	return reflect.ArrayOf(int(n), element), nil
}

func structFrom(e *ast.StructType) (reflect.Type, error) {
	var list []reflect.StructField
	for _, f := range e.Fields.List {
		t, err := typeFrom(f.Type)
		if err != nil {
			return nil, err
		}
		var tag string
		if f.Tag != nil {
			if tag, err = strconv.Unquote(f.Tag.Value); err != nil {
				return nil, fmt.Errorf("the tag %s: %w", f.Tag.Value, err)
			}
		}
		if len(f.Names) == 0 {
			return nil, errors.New("an embedded field: give it a name here")
		}
		for _, name := range f.Names {
			field := reflect.StructField{Name: name.Name, Type: t, Tag: reflect.StructTag(tag)}
			if !name.IsExported() {
				field.PkgPath = "playground"
			}
			list = append(list, field)
		}
	}
	return reflect.StructOf(list), nil
}
