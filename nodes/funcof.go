package nodes

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/cnode-go/cnode/ei"
)

// FuncOf makes a Func of a function of Go types:
//
//	func([ctx context.Context,] a A, b B, …[, more ...M]) [(R, error)]
//
// The arguments of the call are stored in the parameters as ei.Unmarshal does, straight from their
// bytes; a variadic parameter takes all that are left, of 255 in all, which is Erlang's limit.
// Another number of arguments is the exception undef, one that its parameter cannot hold is badarg,
// both with the stack that Erlang gives, [{Module, Function, Arguments, []}]. R, which may be any
// type that ei.Append takes, is the result; without R it is ok. For the error see Func; it may be
// left out. A function of exactly the type of Func is used as it is: it gets all arguments, as
// terms.
//
//	n.Expose("go", "upper", nodes.FuncOf(strings.ToUpper))
//
// FuncOf panics if f is no such function, or if one of its types can never be a term: that is a
// fault of the program, and seen when it starts.
func FuncOf(f any) Func {
	fn, err := funcOf(reflect.ValueOf(f))
	if err != nil {
		panic(fmt.Sprintf("nodes.FuncOf: %T: %v", f, err))
	}
	return fn
}

func funcOf(f reflect.Value) (Func, error) {
	if f.Kind() != reflect.Func || f.IsNil() {
		return nil, errors.New("this is no function")
	}
	if f.CanConvert(typeOfFunc) {
		return f.Convert(typeOfFunc).Interface().(Func), nil
	}
	t := &typed{fn: f}
	if err := t.read(f.Type()); err != nil {
		return nil, err
	}
	if t.context {
		return t.call, nil
	}
	return t.callBlind, nil
}

var (
	typeOfFunc    = reflect.TypeFor[Func]()
	typeOfContext = reflect.TypeFor[context.Context]()
	typeOfError   = reflect.TypeFor[error]()

	codeOfTyped = codeOf((*typed)(nil).call)
	codeOfBlind = codeOf((*typed)(nil).callBlind)
)

// isTyped tells whether a Func is one of FuncOf's, which reads arguments that are still encoded:
// all of these share the code of two methods.
func (fn Func) isTyped() bool {
	code := codeOf(fn)
	return code == codeOfTyped || code == codeOfBlind
}

// isBlind tells whether a Func gets no context, and so cannot know its process.
func (fn Func) isBlind() bool { return codeOf(fn) == codeOfBlind }

func codeOf(fn Func) uintptr { return reflect.ValueOf(fn).Pointer() }

// A typed function has parameters and a result of Go types.
type typed struct {
	fn      reflect.Value
	context bool           // the first parameter is a context
	params  []reflect.Type // the others, without that of more
	more    reflect.Type   // of each of the arguments that are left; nil: none may be
	result  bool           // the first result is a value
	mayFail bool           // the last result is an error
}

// read takes the parameters and results from the type of the function.
func (f *typed) read(t reflect.Type) error {
	for i := range t.NumIn() {
		p := t.In(i)
		if i == 0 && p == typeOfContext {
			f.context = true
			continue
		}
		if t.IsVariadic() && i == t.NumIn()-1 {
			p = p.Elem()
			f.more = p
		} else {
			f.params = append(f.params, p)
		}
		if wrong := unmappable(reflect.New(p).Interface()); wrong != nil {
			return fmt.Errorf("parameter %d can be no term: %w", i+1, wrong)
		}
	}
	n := t.NumOut()
	f.mayFail = n > 0 && t.Out(n-1) == typeOfError
	if f.mayFail {
		n--
	}
	if n > 1 {
		return errors.New("it returns more than a result and an error")
	}
	if f.result = n == 1; f.result && t.Out(0).Kind() != reflect.Interface {
		switch _, err := ei.Append(nil, reflect.New(t.Out(0)).Interface()); err.(type) {
		case *ei.MappingError, *ei.UnsupportedTypeError:
			return fmt.Errorf("its result can be no term: %w", err)
		}
	}
	return nil
}

// unmappable tells why no term can be stored in what v points to; nil if some can.
func unmappable(v any) error {
	wrong := new(ei.MappingError)
	if errors.As(ei.Raw{}.Unmarshal(v), &wrong) { // of an empty term
		return wrong
	}
	return nil
}

// call is the Func. The arguments may be encoded (ei.Raw).
func (f *typed) call(ctx context.Context, args []ei.Term) (any, error) {
	in, err := f.arguments(ctx, args)
	if err != nil {
		return nil, err
	}
	out := f.fn.Call(in)
	if f.mayFail {
		if err, _ := out[len(out)-1].Interface().(error); err != nil {
			return nil, err
		}
	}
	if f.result {
		return out[0].Interface(), nil
	}
	return ei.Atom("ok"), nil
}

// callBlind is call for a function that has no parameter for the context.
func (f *typed) callBlind(ctx context.Context, args []ei.Term) (any, error) { return f.call(ctx, args) }

func (f *typed) arguments(ctx context.Context, args []ei.Term) ([]reflect.Value, error) {
	if len(args) < len(f.params) || len(args) > len(f.params) && f.more == nil || len(args) > maxArity {
		return nil, &argumentError{true, fmt.Errorf("%d arguments for %d parameters", len(args), len(f.params))}
	}
	in := make([]reflect.Value, 0, len(args)+1)
	if f.context {
		in = append(in, reflect.ValueOf(&ctx).Elem())
	}
	for i, arg := range args {
		p := f.more
		if i < len(f.params) {
			p = f.params[i]
		}
		v := reflect.New(p)
		if err := ei.UnmarshalTerm(arg, v.Interface()); err != nil {
			return nil, &argumentError{false, fmt.Errorf("argument %d: %w", i+1, err)}
		}
		in = append(in, v.Elem())
	}
	return in, nil
}

// An argumentError is a caller's fault: the function was not called. It is not looked for in what
// wraps it, which would be about a function that this one has called.
type argumentError struct {
	count bool // there are more, or fewer, arguments than parameters
	err   error
}

func (e *argumentError) Error() string { return e.err.Error() }
func (e *argumentError) Unwrap() error { return e.err }

// raised is the exception that the caller gets; frame is the call, as in a stack.
func (e *argumentError) raised(frame ...ei.Term) *Raise {
	r := undef(frame...)
	if !e.count {
		r.Reason = ei.Atom("badarg")
	}
	return r
}

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
		name := ei.SnakeCase(method)
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
