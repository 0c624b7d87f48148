package ei

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei/internal/nested"
)

// AppendJSON appends t as JSON (RFC 8259), on one line:
//
//	the atoms true, false                 true, false
//	the atoms undefined, nil, null        null
//	another Atom                          a string
//	Int, BigInt, Float                    a number; an integer of up to 65,536 digits, a float with a point
//	Binary of UTF-8                       a string
//	another Binary                        {"base64": "/w=="}
//	Bitstring                             {"base64": "oA==", "bits": 3}
//	List, String, Tuple                   an array; a String is one of numbers
//	ImproperList                          {"list": [1], "tail": 2}
//	Map, Record                           an object; of a native record its fields
//	Pid, Port, Ref, Fun, Export, Local    a string: their text as AppendText has it
//
// Keyword lists and proplists are arrays of arrays, and structs of Elixir objects with
// "__struct__". The key of an object is an atom's or a binary's own text, or the text of
// AppendText: a map with the keys 1 and <<"x">> has "1" and "x". Two keys of a map that are the
// same then, as a and <<"a">>, are ErrDuplicate, as readers of JSON keep only one of them. There is
// no way back: JSON does not tell an atom from a binary.
//
// An integer of more digits is a *LimitError: Erlang's own text is hexadecimal, and JSON has only
// decimal numbers, which take more than linear time. Errors are also those of Decode for a Raw,
// ErrAtom, ErrFloat and ErrCyclic for what is no term; dst is then returned as it was.
func AppendJSON(dst []byte, t Term) ([]byte, error) {
	n := &jsonText{}
	b := nested.Append(dst, t, n)
	if n.err != nil {
		return dst, n.err
	}
	return b, nil
}

// jsonText is the notation of AppendJSON. After an error it goes no further.
type jsonText struct{ err error }

// A jsonLevel is a term whose parts are being written.
type jsonLevel struct {
	level
	keys map[string]bool // of a map of two pairs or more: those that were written
}

func (n *jsonText) Open(b []byte, t Term) ([]byte, jsonLevel, bool) {
	if n.err != nil {
		return b, jsonLevel{}, false
	}
	t = plain(t)
	in := jsonLevel{level: level{t: t}}
	switch t := t.(type) {
	case List, Tuple:
		return append(b, '['), in, true
	case ImproperList:
		return append(b, `{"list":[`...), in, true
	case Map:
		if len(t) > 1 {
			in.keys = make(map[string]bool, len(t))
		}
		return append(b, '{'), in, true
	case Record:
		return append(b, '{'), in, true
	}
	b, n.err = appendJSONLeaf(b, t)
	return b, in, false
}

func (n *jsonText) Next(b []byte, in *jsonLevel) ([]byte, Term, bool) {
	if n.err != nil {
		return b, nil, false
	}
	i := in.i
	if m, ok := in.t.(Map); ok {
		if in.i++; i >= len(m) {
			return b, nil, false
		}
		if i > 0 {
			b = append(b, ',')
		}
		b, n.err = in.appendKey(b, m[i].Key)
		return append(b, ':'), m[i].Value, n.err == nil
	}
	part, ok := in.level.next()
	if !ok {
		return b, nil, false
	}
	if t, ok := in.t.(ImproperList); ok && i == len(t.Elems) {
		return append(b, `],"tail":`...), part, true
	}
	if i > 0 {
		b = append(b, ',')
	}
	if r, ok := in.t.(Record); ok {
		b = append(appendJSONString(b, string(r.Fields[i].Name)), ':')
	}
	return b, part, true
}

func (n *jsonText) Close(b []byte, in *jsonLevel) []byte {
	switch in.t.(type) {
	case List, Tuple:
		return append(b, ']')
	}
	return append(b, '}')
}

func (n *jsonText) IsSame(a, b *jsonLevel) bool {
	if !isSameLevel(&a.level, &b.level) {
		return false
	}
	n.err = ErrCyclic
	return true
}

// appendKey appends the key of an object.
func (l *jsonLevel) appendKey(b []byte, key Term) ([]byte, error) {
	key = plain(key)
	text := ""
	switch k := key.(type) {
	case Atom:
		if !validAtom(k) {
			return b, badAtom(k)
		}
		text = string(k)
	case Binary:
		if text = string(k); !utf8.Valid(k) {
			text = k.String()
		}
	default:
		text = key.String()
	}
	if l.keys[text] {
		return b, fmt.Errorf("%w: %.60q twice in an object of JSON", ErrDuplicate, text)
	}
	if l.keys != nil {
		l.keys[text] = true
	}
	return appendJSONString(b, text), nil
}

// appendJSONLeaf appends a term that has no parts to show.
func appendJSONLeaf(b []byte, t Term) ([]byte, error) {
	switch t := t.(type) {
	case Atom:
		switch t {
		case "true", "false":
			return append(b, t...), nil
		case "undefined", "nil", "null":
			return append(b, "null"...), nil
		}
		if !validAtom(t) {
			return b, badAtom(t)
		}
		return appendJSONString(b, string(t)), nil
	case Int:
		return strconv.AppendInt(b, int64(t), 10), nil
	case BigInt:
		return appendJSONBig(b, t)
	case Float:
		if f := float64(t); math.IsInf(f, 0) || math.IsNaN(f) {
			return b, ErrFloat
		}
		return appendFloatText(b, float64(t)), nil
	case String:
		b = append(b, '[')
		for i := range len(t) {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendUint(b, uint64(t[i]), 10)
		}
		return append(b, ']'), nil
	case Binary:
		if utf8.Valid(t) {
			return appendJSONString(b, string(t)), nil
		}
		return append(appendBase64(b, t), '}'), nil
	case Bitstring:
		return fmt.Appendf(appendBase64(b, t.Data), `,"bits":%d}`, t.BitLen()), nil
	case Pid, Port, Ref, Fun, Export, Local:
		return appendJSONString(b, t.String()), nil
	case Raw:
		_, err := t.Decode()
		return b, err
	}
	return b, unsupported(t)
}

// MarshalJSON gives the integer as a number of JSON. One of more than 65,536 digits is a
// *LimitError: writing it, and reading it, takes more than linear time.
func (t BigInt) MarshalJSON() ([]byte, error) { return appendJSONBig(nil, t) }

// UnmarshalJSON reads a number of JSON that is an integer outside the range of an int64, or 0; any
// other integer is ErrRange, and another number, or more digits than MarshalJSON writes, an error,
// too. null changes nothing.
func (t *BigInt) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	digits := bytes.TrimPrefix(text, []byte("-"))
	if len(digits) > maxDigits {
		return tooManyDigits()
	}
	if len(digits) == 0 || bytes.ContainsFunc(digits, func(r rune) bool { return r < '0' || r > '9' }) {
		return fmt.Errorf("%w: %.60q is no integer of JSON", ErrText, text)
	}
	v, _ := new(big.Int).SetString(string(digits), 10)
	if len(digits) < len(text) {
		v.Neg(v)
	}
	switch v := NewBigInt(v).(type) {
	case BigInt:
		*t = v
	case Int:
		if v != 0 {
			return fmt.Errorf("%w: a BigInt is outside the range of an int64, and %d is not", ErrRange, v)
		}
		*t = BigInt{}
	}
	return nil
}

// appendJSONBig appends an integer of any size that has no more digits than may be.
func appendJSONBig(b []byte, t BigInt) ([]byte, error) {
	if len(t.mag) > maxDigitBytes {
		return b, tooManyDigits()
	}
	digits := t.Big().Append(nil, 10)
	if len(bytes.TrimPrefix(digits, []byte("-"))) > maxDigits {
		return b, tooManyDigits()
	}
	return append(b, digits...), nil
}

func appendBase64(b, data []byte) []byte {
	b = base64.StdEncoding.AppendEncode(append(b, `{"base64":"`...), data)
	return append(b, '"')
}

// appendJSONString appends a text in quotes.
func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b', '\t', '\n', '\f', '\r':
			b = append(b, '\\', "btn_fr"[c-'\b'])
		default:
			b = fmt.Appendf(b, `\u%04x`, c)
		}
	}
	return append(append(b, s[from:]...), '"')
}
