package ei

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// longestText is how much of a term's text an UnmarshalError tells, in bytes.
const longestText = 60

// mismatch turns an error of the cursor into one that says what would fit.
func (u *unmarshaler) mismatch(err error, want string) error {
	switch {
	case errors.Is(err, ErrType):
		return u.wrong(ErrType, want)
	case errors.Is(err, ErrRange):
		return u.wrong(ErrRange, want)
	}
	return err
}

// wrong says that the next term does not fit, and what would.
func (u *unmarshaler) wrong(err error, want string) error {
	end, malformed := u.c.skipAt(u.c.off)
	if malformed != nil {
		return malformed
	}
	raw := Raw(u.c.b[u.c.off:end])
	return &UnmarshalError{
		Offset: u.c.off, Got: typeName(Tag(raw[0])) + " " + Brief(raw, longestText), Want: want, Err: err,
	}
}

// typeName is what Erlang calls the type of a term.
func typeName(t Tag) string {
	switch {
	case t.IsAtom():
		return "atom"
	case t.IsInteger():
		return "integer"
	case t.IsFloat():
		return "float"
	case t == TagBitBinaryExt:
		return "bitstring"
	case t.IsBinary():
		return "binary"
	case t.IsTuple():
		return "tuple"
	case t.IsList():
		return "list"
	case t == TagMapExt:
		return "map"
	case t.IsPid():
		return "pid"
	case t.IsPort():
		return "port"
	case t.IsRef():
		return "reference"
	case t.IsFun():
		return "fun"
	}
	return "record"
}

// path tells the way from the whole value to the part that is being stored and, by the steps of an
// Unmarshaler's error, on within that: in steps, and with the name of the Go type.
func (u *unmarshaler) path(inner string) (steps, path string) {
	steps = inner
	for in, ok := u.in, true; ok && in.plan != nil && len(steps) < maxPath; in, ok = u.above.Pop() {
		steps = in.pathStep() + steps
	}
	switch p := u.root; {
	case len(steps) >= maxPath:
		return steps, "…" + steps
	case p.record != nil && p.record.name != "":
		return steps, p.record.name + steps
	}
	return steps, strings.TrimPrefix(steps, ".")
}

// pathStep is the step of a path to the part that is being stored.
func (f *filling) pathStep() string {
	switch p := f.plan; {
	case p.kind == kindSlice || p.kind == kindArray:
		return "[" + strconv.Itoa(f.i-1) + "]"
	case p.kind == kindStruct && f.at >= 0 && f.at < len(p.record.fields):
		return "." + p.record.fields[f.at].key
	case p.kind == kindMap && f.step != stepValue:
		return "[" + keyText(f.more.key) + "]"
	case p.kind == kindMap:
		return "[key " + strconv.Itoa(f.i-1) + "]"
	}
	return ""
}

// keyText gives the key of a Go map, or its beginning.
func keyText(key reflect.Value) string {
	if b, err := Append(nil, key.Interface()); err == nil {
		return Brief(Raw(b), longestText)
	}
	return fmt.Sprintf("%.60v", key)
}
