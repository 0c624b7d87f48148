package ei

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// Why a term could not be read or written; test the errors of this package with errors.Is.
var (
	// ErrTruncated: the input ends inside a term, or announces more elements than it has bytes.
	// errors.Is finds io.ErrUnexpectedEOF in it too.
	ErrTruncated = fmt.Errorf("ei: truncated term: %w", io.ErrUnexpectedEOF)
	// ErrVersion: the term does not start with the version byte 131.
	ErrVersion = errors.New("ei: not the external term format: version byte 131 expected")
	// ErrTrailing: the input has bytes after the term.
	ErrTrailing = errors.New("ei: bytes after the term")
	// ErrTag: a byte that no term starts with.
	ErrTag = errors.New("ei: unknown tag")
	// ErrMalformed: a tag with contents that it may not have, such as a bitstring with 9 bits in
	// its last byte.
	ErrMalformed = errors.New("ei: malformed term")
	// ErrType: a term of another type than the one asked for, or a term with a part of the wrong
	// type (a pid whose node is not an atom). The error is a TypeError.
	ErrType = errors.New("ei: another type of term")
	// ErrRange: a number that does not fit in the Go type asked for.
	ErrRange = errors.New("ei: number out of range")
	// ErrAtom: an atom of more than 255 characters, or not valid in its encoding.
	ErrAtom = errors.New("ei: bad atom")
	// ErrFloat: an infinity or a NaN, which Erlang does not have, or an unreadable FLOAT_EXT.
	ErrFloat = errors.New("ei: not a finite float")
	// ErrAtomCache: an ATOM_CACHE_REF without an entry in Cursor.CacheRefs.
	ErrAtomCache = errors.New("ei: atom cache reference without a distribution header")
	// ErrDuplicate: a map with equal keys, or a native record with equal names of fields.
	ErrDuplicate = errors.New("ei: duplicate key")
	// ErrUnknownKey: a key that a struct has no field for, to a decoder that refuses it.
	ErrUnknownKey = errors.New("ei: unknown key")
	// ErrCompressed: a compressed term where only a plain one is possible, or one that does not
	// inflate to its size.
	ErrCompressed = errors.New("ei: bad compressed term")
	// ErrRefused: a term that a runtime system refuses, to a decoder that is Strict.
	ErrRefused = errors.New("ei: a term that a runtime system refuses")
	// ErrLocal: a LOCAL_EXT that does not directly follow the version byte.
	ErrLocal = errors.New("ei: LOCAL_EXT inside a term")
	// ErrText: a text that is not an Erlang term. The error is a *TextError.
	ErrText = errors.New("ei: not an Erlang term")
	// ErrLimit: more than a limit allows. The error is a LimitError.
	ErrLimit = errors.New("ei: over a limit")
	// ErrCyclic: a term or a Go value that contains itself.
	ErrCyclic = errors.New("ei: a value that contains itself")
	// ErrTooLong: a value that is too large for its length field (4 bytes for most tags).
	ErrTooLong = errors.New("ei: too long for the external term format")
)

// A SyntaxError says where in the input, and why, a term could not be read.
type SyntaxError struct {
	// Offset is that of the tag of the term that could not be read, in bytes from the start of the
	// input; within a compressed term, from the start of its plain form (Decompress).
	Offset int
	// the way to that term from the outermost one, as "/2/0": element 2, in it element 0. Empty
	// when that is not known, or at the top. A map counts key, value, key, value
	Path string
	Err  error // one of the Err variables, a *TypeError or a *LimitError
}

// Error says why, and where.
func (e *SyntaxError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("%v at offset %d", e.Err, e.Offset)
	}
	return fmt.Sprintf("%v at offset %d (%s)", e.Err, e.Offset, e.Path)
}

// Unwrap gives the reason.
func (e *SyntaxError) Unwrap() error { return e.Err }

// A TypeError says that the term met is not of the type asked for.
type TypeError struct {
	Want string // as "atom", "tuple"
	Got  Tag    // of the term that is there
}

// Error names what was wanted and what was there.
func (e *TypeError) Error() string { return fmt.Sprintf("ei: %s wanted, %v found", e.Want, e.Got) }

// Is makes a TypeError an ErrType.
func (e *TypeError) Is(target error) bool { return target == ErrType }

// A LimitError says which limit a term, or the text of one, is over.
type LimitError struct {
	// the name of the field of Limits; words such as "map keys within map keys" for a fixed limit
	Limit string
	Max   int // the limit in force
}

// Error names the limit and its value.
func (e *LimitError) Error() string { return fmt.Sprintf("ei: over the limit %s = %d", e.Limit, e.Max) }

// Is makes a LimitError an ErrLimit.
func (e *LimitError) Is(target error) bool { return target == ErrLimit }

// A MappingError says that the values of a Go type cannot become terms, or come from terms: the
// type itself, or the tags of a struct's fields, are at fault. Marshal and Unmarshal give it for
// the first value, whatever that holds.
type MappingError struct {
	Type   reflect.Type // a struct, if the fault is in a field or in its tag; nil for a nil, which has none
	Field  string       // its name in Go, or its key; "" for the whole type
	Reason string       // as "two fields have this key"
}

// Error names the type, the field and the reason.
func (e *MappingError) Error() string {
	switch {
	case e.Type == nil:
		return "ei: " + e.Reason
	case e.Field == "":
		return fmt.Sprintf("ei: %v: %s", e.Type, e.Reason)
	}
	return fmt.Sprintf("ei: %v, field %s: %s", e.Type, e.Field, e.Reason)
}

// unsupported says that there is no term for a Go value.
func unsupported(v any) *MappingError {
	if v == nil {
		return &MappingError{Reason: "nil is no term: give what is to stand for it, as ei.Atom(\"ok\") or ei.Atom(\"undefined\")"}
	}
	return &MappingError{Type: reflect.TypeOf(v), Reason: noTerm}
}

// noTerm is the fault of a type that has no other one.
const noTerm = "a Go value of this type is no term, nor an ei.Marshaler"

// An UnmarshalError says where a term has something that does not fit the Go value, and what would.
type UnmarshalError struct {
	// Path leads to it from the whole term, in keys and indices that begin with the name of the Go
	// type, if it has one: quote.lines[3].price. Of a very long path only the end is kept, after "…".
	Path   string
	Offset int    // of the term that does not fit, in bytes from the start of the input
	Got    string // what is there, as: binary <<"x">>. Of a long term only the beginning
	Want   string // what would fit, as: a float
	Err    error  // ErrType, ErrRange, ErrDuplicate, ErrUnknownKey or another of the Err variables; or an Unmarshaler's own

	ours  bool   // Path is from this package, and
	steps string // what it has after the name of the Go type: the end of a longer path, for an Unmarshaler's caller
}

// Error says where, what is there, and what would fit.
func (e *UnmarshalError) Error() string {
	at := ""
	if e.Path != "" {
		at = e.Path + ": "
	}
	switch {
	case e.Got == "":
		return fmt.Sprintf("ei: %s%v", at, strings.TrimPrefix(e.Err.Error(), "ei: "))
	case e.Err == ErrType:
		return fmt.Sprintf("ei: %s%s where %s is due", at, e.Got, e.Want)
	case e.Want == "":
		return fmt.Sprintf("ei: %s%s: %s", at, e.Got, strings.TrimPrefix(e.Err.Error(), "ei: "))
	}
	return fmt.Sprintf("ei: %s%s where %s is due: %s", at, e.Got, e.Want, strings.TrimPrefix(e.Err.Error(), "ei: "))
}

// Unwrap gives the reason.
func (e *UnmarshalError) Unwrap() error { return e.Err }

// An EncodeError says where in a value something cannot be encoded. An error about the whole value,
// and ErrCyclic, come without one.
type EncodeError struct {
	// the way there from the whole value, as in a SyntaxError: "/2/0" is element 2, in it element
	// 0. A Map counts key, value, key, value; in a Go map the step is the key of the value, or
	// "key" for a key itself. Of a very long path only the end is kept, after "…"
	Path string
	Err  error // why: one of the Err variables, a *MappingError, or what a Marshaler says
}

// Error says why, and where.
func (e *EncodeError) Error() string { return fmt.Sprintf("%v (at %s)", e.Err, e.Path) }

// Unwrap gives the reason.
func (e *EncodeError) Unwrap() error { return e.Err }

// longestPath is how much of a path an EncodeError tells, in bytes.
const longestPath = 100

// within turns err, about an element of a value, into an error about the value; step leads to the
// element.
func within(step any, err error) error {
	if err == nil || err == ErrCyclic {
		return err
	}
	path := ""
	if e, ok := err.(*EncodeError); ok { // a copy is made: a Marshaler may keep the original
		err, path = e.Err, e.Path
	}
	switch {
	case len(path) <= longestPath:
		at := fmt.Sprint(step)
		if len(at) > longestPath {
			at = strings.ToValidUTF8(at[:longestPath], "") + "…"
		}
		path = "/" + at + path
	case path[0] == '/':
		path = "…" + path
	}
	return &EncodeError{Path: path, Err: err}
}

// isPathFull reports whether err tells no more of the way than it does.
func isPathFull(err error) bool {
	e, ok := err.(*EncodeError)
	return ok && strings.HasPrefix(e.Path, "…")
}

// A TextError says where and why a text is not an Erlang term.
type TextError struct {
	Offset int    // in bytes
	Reason string // as "unexpected \"foo(\"", or empty when Err says it
	Err    error  // ErrText, or another of the Err variables, or a *LimitError
}

// Error says why, and where.
func (e *TextError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("%v at offset %d", e.Err, e.Offset)
	}
	return fmt.Sprintf("%v at offset %d: %s", e.Err, e.Offset, e.Reason)
}

// Unwrap gives the reason.
func (e *TextError) Unwrap() error { return e.Err }

// badAtom is ErrAtom for the first of the texts that is no atom.
func badAtom(texts ...Atom) error {
	i := slices.IndexFunc(texts, func(a Atom) bool { return !validAtom(a) })
	a := string(texts[i])
	if !utf8.ValidString(a) {
		return fmt.Errorf("%w: %.60q is not valid UTF-8", ErrAtom, a)
	}
	return fmt.Errorf("%w: %.60q has %d characters, of at most %d", ErrAtom, a, utf8.RuneCountInString(a), MaxAtomChars)
}

// Position gives the line and the column of the error in text, which must be the one that Parse was
// given. Both count from 1, columns in characters, as erl_scan does.
func (e *TextError) Position(text string) (line, column int) {
	before := text[:min(max(e.Offset, 0), len(text))]
	start := strings.LastIndexByte(before, '\n') + 1
	return 1 + strings.Count(before, "\n"), 1 + utf8.RuneCountInString(before[start:])
}
