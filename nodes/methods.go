package nodes

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode"
)

// MethodsOf makes Funcs of all exported methods of a value, as FuncOf does, under their names as
// Erlang writes them: GetPrice is get_price, HTTPStatus is http_status. They are for Server.On, or
// for ExposeMethods. The methods of a pointer are more than those of what it points to, and those
// of embedded types, as of a sync.Mutex, are among them: peers should not get to call these.
// Methods of which FuncOf can make no Func, or that have one name, are an error that names them
// all; so is a value without methods.
func MethodsOf(value any) (map[string]Func, error) {
	v := reflect.ValueOf(value)
	if !v.IsValid() || v.NumMethod() == 0 {
		return nil, fmt.Errorf("a value of type %T has no exported methods", value)
	}
	var wrong []error
	funcs := make(map[string]Func, v.NumMethod())
	for i := range v.NumMethod() {
		method := v.Type().Method(i).Name
		name := snakeCase(method)
		fn, err := funcOf(v.Method(i))
		if err == nil && funcs[name] != nil {
			err = fmt.Errorf("another method is %s, too", name)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("method %s of %T: %w", method, value, err))
		}
		funcs[name] = fn
	}
	if wrong != nil {
		return nil, errors.Join(wrong...)
	}
	return funcs, nil
}

// ExposeMethods exposes all exported methods of a value: GetPrice of a shop becomes
// Module:get_price. See MethodsOf for the names and the errors; after an error nothing is exposed.
func (n *Node) ExposeMethods(module string, value any) error {
	funcs, err := MethodsOf(value)
	if err != nil {
		return wrap("expose "+module, "", err)
	}
	for name, fn := range funcs {
		n.Expose(module, name, fn)
	}
	return nil
}

// snakeCase is the name of a Go method as Erlang writes it. Package ei does the same to fields.
func snakeCase(name string) string {
	in := []rune(name)
	upper := func(i int) bool { return i < len(in) && unicode.IsUpper(in[i]) }
	var out strings.Builder
	for i, r := range in {
		// a word begins: after a small letter, or as the last capital of some
		if i > 0 && upper(i) && in[i-1] != '_' && (!upper(i-1) || i+1 < len(in) && unicode.IsLower(in[i+1])) {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}
