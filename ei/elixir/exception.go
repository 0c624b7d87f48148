package elixir

import (
	"errors"
	"strings"

	"github.com/cnode-go/cnode/ei"
)

// An Exception is what Elixir raises and rescues, and some functions return in {:error, exception}:
// %RuntimeError{message: "no such file"}. It is an error.
type Exception struct {
	Module ei.Atom // Module("RuntimeError")
	Fields ei.Map  // the keys that the module has besides __struct__ and __exception__: mostly message
}

// NewException gives an exception that has a message alone, as most do:
// NewException("RuntimeError", "no such file"). The name is that of a module.
func NewException(name, message string) *Exception {
	return &Exception{Module: Module(name), Fields: ei.Map{{Key: keyMessage, Value: ei.Binary(message)}}}
}

const (
	keyMessage   = ei.Atom("message")
	keyStruct    = ei.Atom("__struct__")
	keyException = ei.Atom("__exception__")
	atomTrue     = ei.Atom("true")
)

// Message gives the message; of an exception that makes it only as it is printed, such as a
// KeyError, the text of the fields.
func (e *Exception) Message() string {
	if m, _ := e.Fields.Get(keyMessage); m != nil {
		if text, ok := m.(ei.Binary); ok {
			return string(text)
		}
	}
	return ei.Brief(e.Fields, longestFields)
}

// longestFields is how much of an exception's fields its text has, in bytes.
const longestFields = 300

// Error gives the text that Exception.format_banner/2 does, without its asterisks: (RuntimeError)
// no such file.
func (e *Exception) Error() string { return "(" + ModuleName(e.Module) + ") " + e.Message() }

// Term gives the exception as a term, such as the Reason of an ei.ReasonError.
func (e *Exception) Term() ei.Term {
	head := ei.Map{{Key: keyStruct, Value: e.Module}, {Key: keyException, Value: atomTrue}}
	return append(head, e.Fields...)
}

// AppendTerm appends the exception.
func (e *Exception) AppendTerm(b []byte) ([]byte, error) { return ei.AppendTerm(b, e.Term()) }

// ReadTerm reads an exception.
func (e *Exception) ReadTerm(c *ei.Cursor) error {
	offset := c.Offset()
	t, err := c.Term()
	if err != nil {
		return err
	}
	got, ok := exceptionOf(t)
	if !ok {
		return &ei.UnmarshalError{Offset: offset, Got: ei.Brief(t, 60), Want: "an exception of Elixir", Err: ei.ErrType}
	}
	*e = *got
	return nil
}

func exceptionOf(t ei.Term) (*Exception, bool) {
	m, ok := t.(ei.Map)
	if !ok {
		return nil, false
	}
	e := &Exception{Fields: make(ei.Map, 0, len(m))}
	is := false
	for _, pair := range m {
		switch pair.Key {
		case keyStruct:
			e.Module, _ = pair.Value.(ei.Atom)
		case keyException:
			is = pair.Value == atomTrue
		default:
			e.Fields = append(e.Fields, pair)
		}
	}
	return e, is && e.Module != ""
}

// AsException finds the exception that err is, or that is the reason of an *ei.ReasonError, as of
// an ei.Result that was {:error, exception}.
func AsException(err error) (*Exception, bool) {
	var e *Exception
	if errors.As(err, &e) {
		return e, true
	}
	var reason *ei.ReasonError
	if !errors.As(err, &reason) {
		return nil, false
	}
	return exceptionOf(reason.Reason)
}

// Module gives the atom that the name of a module stands for: Module("Shop.Order") is
// 'Elixir.Shop.Order'.
func Module(name string) ei.Atom { return ei.Atom("Elixir." + name) }

// ModuleName gives the name as Elixir writes it: Shop.Order for 'Elixir.Shop.Order', and :lists for
// a module of Erlang.
func ModuleName(m ei.Atom) string {
	if name, ok := strings.CutPrefix(string(m), "Elixir."); ok {
		return name
	}
	return ":" + string(m)
}
