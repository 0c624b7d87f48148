package ei

import (
	"fmt"
	"math/big"
	"reflect"
)

// Format makes a term of text in Erlang, as Parse reads it, in which directives stand for
// arguments, one after the other: ei_x_format, ei_x_format_wo_ver.
//
//	~a  an atom: a string or an Atom
//	~s  a string, a list of bytes: a string or a []byte, whose bytes they are
//	~c  a character, an integer of 0 to 255: any integer of Go
//	~i ~l ~u  an integer: any integer of Go, *big.Int
//	~f ~d  a float: float32, float64
//	~p  a process identifier: a Pid
//	~w  any term: what Append takes, a Term above all; C does not have it
//
// A directive stands where a term may stand, but not within quotes or binaries.
//
// The text is Erlang in full, and what follows the term is an error. In C a text has no escapes, an
// atom that is too long is cut, and what follows the term is ignored.
//
// Every error is a *TextError. A format that comes from elsewhere is as harmless as a text to
// Parse.
func Format(format string, args ...any) (Term, error) {
	p := newTextParser(format)
	p.args = &args
	t, err := p.whole()
	if err == nil && len(args) > 0 {
		err = p.Bad(fmt.Sprintf("%d arguments too many", len(args)))
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// directive reads ~a and the like, and gives its argument as a term.
func (p *textParser) directive() (Term, error) {
	start := p.Pos
	letter := p.S[start+1]
	if len(*p.args) == 0 {
		return nil, p.Bad("no argument for ~" + string(letter))
	}
	arg := (*p.args)[0]
	t, want := formatted(letter, arg)
	if t == nil && want == "" {
		return nil, p.Bad("unknown directive ~" + string(letter))
	}
	if a, ok := t.(Atom); ok && letter == 'a' && !validAtom(a) {
		return nil, &TextError{Offset: start, Err: badAtom(a)}
	}
	if letter == 'w' {
		var err error
		if t, err = asTerm(arg); err != nil {
			return nil, &TextError{Offset: start, Reason: "~w", Err: err}
		}
	}
	if t == nil {
		return nil, p.Bad(fmt.Sprintf("~%c: %s wanted, not %T", letter, want, arg))
	}
	*p.args = (*p.args)[1:]
	p.Pos += len("~a")
	return t, nil
}

// formatted gives the argument of a directive as a term, and what the directive takes. No term: the
// argument is of another type.
func formatted(letter byte, arg any) (t Term, want string) {
	switch letter {
	case 'a':
		switch v := arg.(type) {
		case Atom:
			return v, ""
		case string:
			return Atom(v), ""
		}
		return nil, "a string or an Atom"
	case 's':
		switch v := arg.(type) {
		case string:
			return byteList(v), ""
		case []byte:
			return byteList(string(v)), ""
		}
		return nil, "a string or a []byte"
	case 'c':
		if v, ok := integerOf(arg).(Int); ok && v >= 0 && v <= 0xff {
			return v, ""
		}
		return nil, "an integer of 0 to 255"
	case 'i', 'l', 'u':
		return integerOf(arg), "an integer"
	case 'f', 'd':
		if r := reflect.ValueOf(arg); r.IsValid() && r.CanFloat() {
			return Float(r.Float()), ""
		}
		return nil, "a float"
	case 'p':
		if v, ok := arg.(Pid); ok {
			return v, ""
		}
		return nil, "a Pid"
	case 'w':
		return nil, "a term"
	}
	return nil, ""
}

// integerOf gives an integer of Go as a term; nil for anything else.
func integerOf(v any) Term {
	switch v := v.(type) {
	case *big.Int:
		if v != nil {
			return NewBigInt(v)
		}
		return nil
	case BigInt:
		return v
	}
	switch r := reflect.ValueOf(v); {
	case !r.IsValid():
	case r.CanInt():
		return Int(r.Int())
	case r.CanUint():
		return NewBigInt(new(big.Int).SetUint64(r.Uint()))
	}
	return nil
}

// byteList is a list of bytes in the form that C writes: STRING_EXT, if that holds so many.
func byteList(s string) Term {
	switch {
	case s == "":
		return emptyList
	case len(s) > 0xffff:
		return String(s).List()
	}
	return String(s)
}

// asTerm gives a Go value as a term.
func asTerm(v any) (Term, error) {
	if t, ok := v.(Term); ok {
		return t, nil
	}
	raw, err := Append(nil, v)
	if err != nil {
		return nil, err
	}
	return Raw(raw).Decode()
}

// isDirective reports whether a directive comes next.
func (p *textParser) isDirective() bool {
	return p.args != nil && p.Pos+1 < len(p.S) && p.S[p.Pos] == '~' && p.S[p.Pos+1] >= 'a' && p.S[p.Pos+1] <= 'z'
}
