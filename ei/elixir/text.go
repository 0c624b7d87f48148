package elixir

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/internal/nested"
)

// AppendText appends t as Elixir text in UTF-8: what inspect(t, limit: :infinity,
// printable_limit: :infinity) gives since Elixir 1.15, which Parse, and Elixir itself, read
// back to an equal term. A binary of printable UTF-8 is "text", another one <<1, 2>>, a list of
// printable ASCII ~c"text", a list of pairs with atoms [a: 1], a map with atoms as keys %{a: 1};
// maps are in the order of their pairs. A map whose __struct__ is a module, and whose other keys
// are atoms, is %Shop.Order{qty: 3}; Date, Time, NaiveDateTime and DateTime in UTC are ~D[…],
// ~T[…], ~N[…] and ~U[…], a Range is 1..3 or 1..9//2.
//
// It differs from inspect in what only a running Elixir knows: a struct is written with all fields
// in the order of the pairs, whatever its module's Inspect says, and also if there is no such
// module (Elixir then refuses the text). An atom of more than letters of Latin-1, _ and @ is
// quoted, an integer of more than 4096 bytes is in base 16, and a date, time or range that Elixir
// itself would not make is the struct that it is, as is a DateTime of another time zone. What has
// no syntax:
//
//	#PID<node@host.ID.SERIAL.CREATION>       Pid; Parse reads it, Elixir does not
//	#Port<…>, #Reference<…>                  Port, Ref, as in ei.AppendText; the same
//	#Function<INDEX.UNIQ/ARITY in :module>   Fun; neither reads it
//	#Record<:module.name{a: 1}>              Record; neither reads it
//	#Local<N bytes>, #Raw<N bytes>           as in ei.AppendText; neither reads them
func AppendText(dst []byte, t ei.Term) []byte { return nested.Append(dst, t, notation{}) }

// notation is the notation of AppendText.
type notation struct{}

// A level is a term whose parts are being written.
type level struct {
	t     ei.Term
	i     int // parts visited
	style style
	n     int // parts written
}

type style int8

const (
	plainStyle   style = iota
	keywordStyle       // a: 1, of a list or a map
	structStyle        // the same without __struct__
)

func (notation) Open(b []byte, t ei.Term) ([]byte, level, bool) {
	t = plain(t)
	in := level{t: t}
	switch t := t.(type) {
	case ei.List:
		if text, ok := charlistText(t); ok {
			return appendCharlist(b, text), in, false
		}
		if isKeywordList(t) {
			in.style = keywordStyle
		}
		return append(b, '['), in, true
	case ei.ImproperList:
		return append(b, '['), in, true
	case ei.Tuple:
		return append(b, '{'), in, true
	case ei.Map:
		if hasKeywords(t) {
			in.style = keywordStyle
		}
		if name, ok := structName(t); ok && in.style == keywordStyle {
			if b, ok := appendLiteral(b, t, name); ok {
				return b, in, false
			}
			in.style = structStyle
			return append(appendAtom(append(b, '%'), name), '{'), in, true
		}
		return append(b, "%{"...), in, true
	case ei.Record:
		b = appendAtom(append(b, "#Record<"...), t.Module)
		return append(appendName(append(b, '.'), t.Name), '{'), in, true
	}
	return appendLeaf(b, t), in, false
}

func (notation) Next(b []byte, in *level) ([]byte, ei.Term, bool) {
	if m, ok := in.t.(ei.Map); ok && in.style == structStyle && in.i < len(m) && m[in.i].Key == structKey {
		in.i++
	}
	i := in.i
	switch t := in.t.(type) {
	case ei.Map:
		if in.style == plainStyle {
			break
		}
		if in.i++; i >= len(t) {
			return b, nil, false
		}
		return appendKey(in.comma(b), t[i].Key.(ei.Atom)), t[i].Value, true
	case ei.List:
		if in.style == plainStyle {
			break
		}
		if in.i++; i >= len(t) {
			return b, nil, false
		}
		pair := t[i].(ei.Tuple)
		return appendKey(in.comma(b), pair[0].(ei.Atom)), pair[1], true
	}
	part, ok := in.next()
	if !ok {
		return b, nil, false
	}
	switch t := in.t.(type) {
	case ei.Map:
		if i%2 == 1 {
			return append(b, " => "...), part, true
		}
	case ei.ImproperList:
		if i == len(t.Elems) {
			return append(b, " | "...), part, true
		}
	case ei.Record:
		return appendKey(in.comma(b), t.Fields[i].Name), part, true
	}
	return in.comma(b), part, true
}

// comma separates a part from the one before.
func (l *level) comma(b []byte) []byte {
	if l.n++; l.n > 1 {
		b = append(b, ", "...)
	}
	return b
}

func (notation) Close(b []byte, in *level) []byte {
	switch in.t.(type) {
	case ei.List, ei.ImproperList:
		return append(b, ']')
	case ei.Record:
		return append(b, "}>"...)
	}
	return append(b, '}')
}

func (notation) IsSame(a, b *level) bool {
	switch x := a.t.(type) {
	case ei.Tuple:
		y, ok := b.t.(ei.Tuple)
		return ok && isSameSlice(x, y)
	case ei.List:
		y, ok := b.t.(ei.List)
		return ok && isSameSlice(x, y)
	case ei.Map:
		y, ok := b.t.(ei.Map)
		return ok && isSameSlice(x, y)
	case ei.ImproperList:
		y, ok := b.t.(ei.ImproperList)
		return ok && isSameSlice(x.Elems, y.Elems)
	case ei.Record:
		y, ok := b.t.(ei.Record)
		return ok && isSameSlice(x.Fields, y.Fields)
	}
	return false
}

func isSameSlice[E any](a, b []E) bool {
	return len(a) > 0 && len(a) == len(b) && &a[0] == &b[0]
}

// plain gives the term that a Raw holds, or an improper list without elements stands for.
func plain(t ei.Term) ei.Term {
	for {
		switch v := t.(type) {
		case ei.Raw:
			d, err := v.Decode()
			if err != nil {
				return t
			}
			t = d
		case ei.ImproperList:
			if len(v.Elems) > 0 {
				return t
			}
			t = v.Tail
		case ei.BinaryKey:
			return ei.Binary(v)
		default:
			return t
		}
	}
}

// next gives the next part; false if there is none.
func (l *level) next() (ei.Term, bool) {
	i := l.i
	l.i++
	switch t := l.t.(type) {
	case ei.Tuple:
		if i < len(t) {
			return t[i], true
		}
	case ei.List:
		if i < len(t) {
			return t[i], true
		}
	case ei.Map:
		switch {
		case i >= 2*len(t):
		case i%2 == 0:
			return t[i/2].Key, true
		default:
			return t[i/2].Value, true
		}
	case ei.ImproperList:
		if i < len(t.Elems) {
			return t.Elems[i], true
		}
		return t.Tail, i == len(t.Elems)
	case ei.Record:
		if i < len(t.Fields) {
			return t.Fields[i].Value, true
		}
	}
	return nil, false
}

// charlistText gives the text of a list that Elixir takes for one.
func charlistText(t ei.List) (text []byte, ok bool) {
	for _, e := range t {
		if c, ok := e.(ei.Int); !ok || !isASCII(int64(c)) {
			return nil, false
		}
	}
	text = make([]byte, len(t))
	for i, e := range t {
		text[i] = byte(e.(ei.Int))
	}
	return text, len(text) > 0
}

// isASCII reports whether a list with c may be printed as text: List.ascii_printable?.
func isASCII(c int64) bool { return c >= 7 && c <= 13 || c == 27 || c >= ' ' && c <= '~' }

func appendCharlist(b, text []byte) []byte {
	return append(appendQuoted(append(b, `~c"`...), string(text)), '"')
}

func isKeywordList(t ei.List) bool {
	for _, e := range t {
		pair, ok := e.(ei.Tuple)
		if !ok || len(pair) != 2 || !isKeyword(pair[0]) {
			return false
		}
	}
	return len(t) > 0
}

func hasKeywords(t ei.Map) bool {
	for i := range t {
		if !isKeyword(t[i].Key) {
			return false
		}
	}
	return len(t) > 0
}

// isKeyword reports whether Elixir writes key: for t.
func isKeyword(t ei.Term) bool {
	a, ok := t.(ei.Atom)
	return ok && !strings.HasPrefix(string(a), "Elixir.")
}

// appendLeaf appends the text of a term that has no parts to show.
func appendLeaf(b []byte, t ei.Term) []byte {
	switch t := t.(type) {
	case ei.Atom:
		return appendAtom(b, t)
	case ei.BigInt:
		return appendBig(b, t.Big())
	case ei.Float:
		return appendFloat(b, float64(t))
	case ei.String:
		return appendBytes(b, string(t))
	case ei.Binary:
		return appendBits(b, ei.Bitstring{Data: t, Bits: 8})
	case ei.Bitstring:
		return appendBits(b, t)
	case ei.Raw:
		return fmt.Appendf(b, "#Raw<%d bytes>", len(t))
	case ei.Pid:
		return append(append(b, "#PID<"...), ei.AppendText(nil, t)[len("#Pid<"):]...)
	case ei.Ref:
		return append(append(b, "#Reference<"...), ei.AppendText(nil, t)[len("#Ref<"):]...)
	case ei.Fun:
		index := int64(t.Index)
		if t.Arity < 0 {
			index = t.OldIndex // a FUN_EXT has only that one
		}
		b = fmt.Appendf(b, "#Function<%d.%d/%d in ", index, t.OldUniq, max(t.Arity, 0))
		return append(appendAtom(b, t.Module), '>')
	case ei.Export:
		b = append(b, '&')
		if slices.Contains(signs, string(t.Module)) { // the point would be read as a part of it
			b = append(appendQuoted(append(b, `:"`...), string(t.Module)), '"')
		} else {
			b = appendAtom(b, t.Module)
		}
		b = appendName(append(b, '.'), t.Function)
		return strconv.AppendUint(append(b, '/'), uint64(t.Arity), 10)
	}
	return ei.AppendText(b, t)
}

// maxDecimal is the size in bytes up to which an integer is printed in base 10, which takes more
// than linear time.
const maxDecimal = 4096

func appendBig(b []byte, v *big.Int) []byte {
	if v.BitLen() <= 8*maxDecimal {
		return v.Append(b, 10)
	}
	if v.Sign() < 0 {
		b = append(b, '-')
	}
	return fmt.Appendf(b, "0x%X", new(big.Int).Abs(v))
}

// appendBytes appends a list of bytes.
func appendBytes(b []byte, s string) []byte {
	for i := range len(s) {
		if !isASCII(int64(s[i])) {
			return append(appendNumbers(append(b, '['), s), ']')
		}
	}
	if s == "" { // which is none
		return append(b, "[]"...)
	}
	return appendCharlist(b, []byte(s))
}

func appendNumbers[T string | []byte](b []byte, s T) []byte {
	for i := range len(s) {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendUint(b, uint64(s[i]), 10)
	}
	return b
}

func appendBits(b []byte, t ei.Bitstring) []byte {
	whole := t.Data
	if t.Bits < 8 && len(whole) > 0 {
		whole = whole[:len(whole)-1]
	} else if isPrintable(t.Data) {
		return append(appendQuoted(append(b, '"'), string(t.Data)), '"')
	}
	b = appendNumbers(append(b, "<<"...), whole)
	if n := len(whole); n < len(t.Data) {
		if n > 0 {
			b = append(b, ", "...)
		}
		b = fmt.Appendf(b, "%d::size(%d)", t.Data[n]>>(8-t.Bits), t.Bits)
	}
	return append(b, ">>"...)
}

// isPrintable is Elixir's String.printable?.
func isPrintable(data []byte) bool {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && n <= 1:
			return false
		case r < ' ' && !(r >= 7 && r <= 13 || r == 27), r > 0x7f && r < 0xa0, r == 0xfffe, r == 0xffff:
			return false
		}
		i += n
	}
	return true
}

// appendFloat appends the shortest text that is read back as f, with an exponent where Elixir
// has one.
func appendFloat(b []byte, f float64) []byte {
	abs := math.Abs(f)
	if f == 0 || !(abs < 0.1) {
		return ei.AppendText(b, ei.Float(f))
	}
	// without an exponent where that is no longer, as in Erlang's shortest form
	var buf [32]byte
	digits, exp, _ := bytes.Cut(strconv.AppendFloat(buf[:0], abs, 'e', -1, 64), []byte{'e', '-'})
	n, _ := strconv.Atoi(string(exp))
	zeros, scale, point := n-1, len(strconv.Itoa(-n))+1, 1
	if len(digits) == 1 {
		point = 2
	}
	if zeros+2 <= scale+point {
		return strconv.AppendFloat(b, f, 'f', -1, 64)
	}
	if f < 0 {
		b = append(b, '-')
	}
	b = append(b, digits...)
	if len(digits) == 1 {
		b = append(b, ".0"...)
	}
	return strconv.AppendInt(append(b, 'e'), int64(-n), 10)
}
