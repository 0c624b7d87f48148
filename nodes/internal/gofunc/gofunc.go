// Package gofunc makes functions that remote processes call of Go functions with parameters and
// results of Go types.
package gofunc

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// A Func is called with terms; nodes.Func is one.
type Func = func(ctx context.Context, args []ei.Term) (any, error)

// Options are nodes.FuncOptions.
type Options struct {
	Decode ei.DecodeOptions
	Absent ei.Atom
}

// A Decoder says how the terms are decoded that a function gets, of so many bytes in all.
type Decoder interface {
	Decoding(o ei.DecodeOptions, size int) ei.DecodeOptions
}

// DecoderKey is the key under which the context of a call may have a Decoder.
type DecoderKey struct{}

// NoReply is the result of a function that answers later.
type NoReply struct{}

// AppendTerm refuses: the result of an exposed function, say, would be the map of an empty struct.
func (NoReply) AppendTerm([]byte) ([]byte, error) {
	return nil, errors.New("NoReply is no term: it is for a function of a Server that answers a call")
}

// Of makes a Func of a function of Go types. The arguments may be encoded (ei.Raw).
func Of(f reflect.Value, o Options) (Func, error) {
	if f.Kind() != reflect.Func || f.IsNil() {
		return nil, errors.New("this is no function")
	}
	t := &typed{fn: f, options: o}
	t.options.Decode.Alias = false
	if err := t.read(f.Type()); err != nil {
		return nil, err
	}
	if t.context {
		return t.call, nil
	}
	return t.callBlind, nil
}

// The code of the functions that Of makes.
var (
	codeOfCall  = codeOf((*typed)(nil).call)
	codeOfBlind = codeOf((*typed)(nil).callBlind)
)

// IsTyped tells whether a function is one of Of's, which reads arguments that are still encoded:
// all of these share the code of two methods.
func IsTyped(fn Func) bool {
	code := codeOf(fn)
	return code == codeOfCall || code == codeOfBlind
}

// IsBlind tells whether a function gets no context, and so cannot know its process.
func IsBlind(fn Func) bool {
	return codeOf(fn) == codeOfBlind
}

// Arity is how many arguments a function takes, nearest to those that it was called with.
func Arity(fn Func, called int) int {
	if IsTyped(fn) {
		_, err := fn(context.Background(), make([]ei.Term, otp.MaxArity+1)) // too many for any
		if e, ok := err.(*ArgumentError); ok && !(e.more && called >= e.params) {
			return e.params
		}
	}
	return called
}

func codeOf(fn Func) uintptr { return reflect.ValueOf(fn).Pointer() }

// A typed function has parameters and a result of Go types.
type typed struct {
	fn      reflect.Value
	context bool           // the first parameter is a context
	params  []reflect.Type // the others, without that of more
	more    reflect.Type   // of each of the arguments that are left; nil: none may be
	result  bool           // the first result is a value
	isThere int            // the index of the bool that says whether there is one; 0: none
	mayFail bool           // the last result is an error
	options Options
}

// read takes the parameters and results from the type of the function.
func (f *typed) read(t reflect.Type) error {
	for i := range t.NumIn() {
		p := t.In(i)
		if i == 0 && p == reflect.TypeFor[context.Context]() {
			f.context = true
			continue
		}
		if t.IsVariadic() && i == t.NumIn()-1 {
			p = p.Elem()
			f.more = p
		} else {
			f.params = append(f.params, p)
		}
		if wrong := Unreadable(p); wrong != nil {
			return fmt.Errorf("parameter %d can be no term: %w", i+1, wrong)
		}
	}
	n := t.NumOut()
	f.mayFail = n > 0 && t.Out(n-1) == reflect.TypeFor[error]()
	if f.mayFail {
		n--
	}
	if n == 2 && t.Out(1) == reflect.TypeFor[bool]() {
		n, f.isThere = 1, 1
	}
	if n > 1 {
		return errors.New("it returns more than a result, a bool and an error")
	}
	if f.result = n == 1; f.result && t.Out(0).Kind() != reflect.Interface {
		if wrong := unwritable(t.Out(0)); wrong != nil {
			return fmt.Errorf("its result can be no term: %w", wrong)
		}
	}
	return nil
}

// Unreadable tells why no term can be stored in a value of the type; nil if some can. A list of
// none is read: a method of a type may want a value that a program has made.
func Unreadable(t reflect.Type) error {
	if t.Kind() == reflect.Interface { // it has variants, or none
		return mappingError(ei.Raw{}.Unmarshal(reflect.New(t).Interface()))
	}
	return mappingError(ei.Raw(ei.AppendNil(nil)).Unmarshal(reflect.New(reflect.SliceOf(t)).Interface()))
}

// unwritable tells why no value of the type can be a term; nil if some can.
func unwritable(t reflect.Type) error {
	_, err := ei.Append(nil, reflect.Zero(reflect.SliceOf(t)).Interface())
	return mappingError(err)
}

func mappingError(err error) error {
	wrong := new(ei.MappingError)
	if errors.As(err, &wrong) {
		return wrong
	}
	return nil
}

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
	if !f.result {
		return ei.Atom("ok"), nil
	}
	v := out[0].Interface()
	switch {
	case v == NoReply{}:
		return v, nil
	case f.isThere > 0 && !out[f.isThere].Bool():
		return ei.Atom("error"), nil
	case f.isThere > 0:
		v = ei.T("ok", v)
	}
	if f.options.Absent != "" {
		v = withAbsent{v, f.options.Absent}
	}
	return v, nil
}

// callBlind is call for a function that has no parameter for the context.
func (f *typed) callBlind(ctx context.Context, args []ei.Term) (any, error) { return f.call(ctx, args) }

// A withAbsent is a Go value, and what stands for what is absent in it.
type withAbsent struct {
	v  any
	as ei.Atom
}

// AppendTerm encodes the value.
func (a withAbsent) AppendTerm(b []byte) ([]byte, error) {
	return ei.EncodeOptions{Absent: a.as}.Append(b, a.v)
}

func (f *typed) arguments(ctx context.Context, args []ei.Term) ([]reflect.Value, error) {
	if len(args) < len(f.params) || len(args) > len(f.params) && f.more == nil || len(args) > otp.MaxArity {
		return nil, &ArgumentError{
			Count: true, params: len(f.params), more: f.more != nil, Err: fmt.Errorf("%d arguments for %d parameters", len(args), len(f.params)),
		}
	}
	in := make([]reflect.Value, 0, len(args)+1)
	if f.context {
		in = append(in, reflect.ValueOf(&ctx).Elem())
	}
	decode := f.options.Decode
	if len(args) > 0 {
		decode = decoding(ctx, decode, args)
	}
	for i, arg := range args {
		p := f.more
		if i < len(f.params) {
			p = f.params[i]
		}
		v := reflect.New(p)
		if err := decode.Unmarshal(arg, v.Interface()); err != nil {
			return nil, &ArgumentError{Err: fmt.Errorf("argument %d: %w", i+1, err)}
		}
		in = append(in, v.Elem())
	}
	return in, nil
}

// decoding is how the arguments are decoded: what they become has one bound together.
func decoding(ctx context.Context, o ei.DecodeOptions, args []ei.Term) ei.DecodeOptions {
	size := 0
	for _, arg := range args {
		raw, _ := arg.(ei.Raw)
		size += len(raw)
	}
	if d, ok := ctx.Value(DecoderKey{}).(Decoder); ok {
		return d.Decoding(o, size)
	}
	return o.Shared(size, nil)
}

// An ArgumentError is a caller's fault: the function was not called. It is not looked for in what
// wraps it, which would be about a function that this one has called.
type ArgumentError struct {
	Count  bool // there are more, or fewer, arguments than parameters
	params int  // with Count: how many there are to be …
	more   bool // … or more
	Err    error
}

// Error says what is wrong.
func (e *ArgumentError) Error() string { return e.Err.Error() }

// Unwrap gives the error of the argument.
func (e *ArgumentError) Unwrap() error { return e.Err }
