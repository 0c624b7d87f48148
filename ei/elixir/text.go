package ei

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// AppendElixir appends t as Elixir text in UTF-8: what inspect(t, limit: :infinity,
// printable_limit: :infinity) gives since Elixir 1.15, which ParseElixir, and Elixir itself, read
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
//	#PID<node@host.ID.SERIAL.CREATION>       Pid; ParseElixir reads it, Elixir does not
//	#Port<…>, #Reference<…>                  Port, Ref, as in AppendText; the same
//	#Function<INDEX.UNIQ/ARITY in :module>   Fun; neither reads it
//	#Record<:module.name{a: 1}>              Record; neither reads it
//	#Local<N bytes>, #Raw<N bytes>           as in AppendText; neither reads them
func AppendElixir(dst []byte, t Term) []byte { return appendNested(dst, t, elixirText{}) }

// elixirText is the notation of AppendElixir.
type elixirText struct{}

// An elixirLevel is a term whose parts are being written.
type elixirLevel struct {
	level
	style elixirStyle
	n     int // parts written
}

type elixirStyle int8

const (
	elixirPlain    elixirStyle = iota
	elixirKeywords             // a: 1, of a list or a map
	elixirStruct               // the same without __struct__
)

func (elixirText) open(b []byte, t Term) ([]byte, elixirLevel, bool) {
	t = plain(t)
	in := elixirLevel{level: level{t: t}}
	switch t := t.(type) {
	case List:
		if text, ok := elixirCharlist(t); ok {
			return appendElixirCharlist(b, text), in, false
		}
		if isKeywordList(t) {
			in.style = elixirKeywords
		}
		return append(b, '['), in, true
	case ImproperList:
		return append(b, '['), in, true
	case Tuple:
		return append(b, '{'), in, true
	case Map:
		if hasKeywords(t) {
			in.style = elixirKeywords
		}
		if name, ok := structName(t); ok && in.style == elixirKeywords {
			if b, ok := appendElixirLiteral(b, t, name); ok {
				return b, in, false
			}
			in.style = elixirStruct
			return append(appendElixirAtom(append(b, '%'), name), '{'), in, true
		}
		return append(b, "%{"...), in, true
	case Record:
		b = appendElixirAtom(append(b, "#Record<"...), t.Module)
		return append(appendElixirName(append(b, '.'), t.Name), '{'), in, true
	}
	return appendElixirLeaf(b, t), in, false
}

func (elixirText) next(b []byte, in *elixirLevel) ([]byte, Term, bool) {
	if m, ok := in.t.(Map); ok && in.style == elixirStruct && in.i < len(m) && m[in.i].Key == structKey {
		in.i++
	}
	i := in.i
	switch t := in.t.(type) {
	case Map:
		if in.style == elixirPlain {
			break
		}
		if in.i++; i >= len(t) {
			return b, nil, false
		}
		return appendElixirKey(in.comma(b), t[i].Key.(Atom)), t[i].Value, true
	case List:
		if in.style == elixirPlain {
			break
		}
		if in.i++; i >= len(t) {
			return b, nil, false
		}
		pair := t[i].(Tuple)
		return appendElixirKey(in.comma(b), pair[0].(Atom)), pair[1], true
	}
	part, ok := in.level.next()
	if !ok {
		return b, nil, false
	}
	switch t := in.t.(type) {
	case Map:
		if i%2 == 1 {
			return append(b, " => "...), part, true
		}
	case ImproperList:
		if i == len(t.Elems) {
			return append(b, " | "...), part, true
		}
	case Record:
		return appendElixirKey(in.comma(b), t.Fields[i].Name), part, true
	}
	return in.comma(b), part, true
}

// comma separates a part from the one before.
func (l *elixirLevel) comma(b []byte) []byte {
	if l.n++; l.n > 1 {
		b = append(b, ", "...)
	}
	return b
}

func (elixirText) close(b []byte, in *elixirLevel) []byte {
	b = closeText(b, in.t)
	if _, ok := in.t.(Record); ok {
		b = append(b, '>')
	}
	return b
}

func (elixirText) isSame(a, b *elixirLevel) bool { return isSameLevel(&a.level, &b.level) }

// elixirCharlist gives the text of a list that Elixir takes for one.
func elixirCharlist(t List) (text []byte, ok bool) {
	for _, e := range t {
		if c, ok := e.(Int); !ok || !isElixirASCII(int64(c)) {
			return nil, false
		}
	}
	text = make([]byte, len(t))
	for i, e := range t {
		text[i] = byte(e.(Int))
	}
	return text, len(text) > 0
}

// isElixirASCII reports whether a list with c may be printed as text: List.ascii_printable?.
func isElixirASCII(c int64) bool { return c >= 7 && c <= 13 || c == 27 || c >= ' ' && c <= '~' }

func appendElixirCharlist(b, text []byte) []byte {
	return append(appendElixirQuoted(append(b, `~c"`...), string(text)), '"')
}

func isKeywordList(t List) bool {
	for _, e := range t {
		pair, ok := e.(Tuple)
		if !ok || len(pair) != 2 || !isKeyword(pair[0]) {
			return false
		}
	}
	return len(t) > 0
}

func hasKeywords(t Map) bool {
	for i := range t {
		if !isKeyword(t[i].Key) {
			return false
		}
	}
	return len(t) > 0
}

// isKeyword reports whether Elixir writes key: for t.
func isKeyword(t Term) bool {
	a, ok := t.(Atom)
	return ok && !strings.HasPrefix(string(a), "Elixir.")
}

// appendElixirLeaf appends the text of a term that has no parts to show.
func appendElixirLeaf(b []byte, t Term) []byte {
	switch t := t.(type) {
	case Atom:
		return appendElixirAtom(b, t)
	case BigInt:
		return appendBigIn(b, t, "0x", math.MaxInt)
	case Float:
		return appendElixirFloat(b, float64(t))
	case String:
		return appendElixirBytes(b, string(t))
	case Binary:
		return appendElixirBits(b, Bitstring{Data: t, Bits: 8})
	case Bitstring:
		return appendElixirBits(b, t)
	case Raw:
		return appendOpaque(b, "#Raw<", len(t))
	case Pid:
		return append(append(b, "#PID<"...), AppendText(nil, t)[len("#Pid<"):]...)
	case Ref:
		return append(append(b, "#Reference<"...), AppendText(nil, t)[len("#Ref<"):]...)
	case Fun:
		b = fmt.Appendf(b, "#Function<%d.%d/%d in ", funIndex(t), t.OldUniq, max(t.Arity, 0))
		return append(appendElixirAtom(b, t.Module), '>')
	case Export:
		b = append(b, '&')
		if slices.Contains(elixirSigns, string(t.Module)) { // the point would be read as a part of it
			b = append(appendElixirQuoted(append(b, `:"`...), string(t.Module)), '"')
		} else {
			b = appendElixirAtom(b, t.Module)
		}
		b = appendElixirName(append(b, '.'), t.Function)
		return strconv.AppendUint(append(b, '/'), uint64(t.Arity), 10)
	}
	return appendLeafText(b, t, math.MaxInt)
}

// appendElixirBytes appends a list of bytes.
func appendElixirBytes(b []byte, s string) []byte {
	for i := range len(s) {
		if !isElixirASCII(int64(s[i])) {
			return append(appendElixirNumbers(append(b, '['), s), ']')
		}
	}
	if s == "" { // which is none
		return append(b, "[]"...)
	}
	return appendElixirCharlist(b, []byte(s))
}

func appendElixirNumbers[T string | []byte](b []byte, s T) []byte {
	for i := range len(s) {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendUint(b, uint64(s[i]), 10)
	}
	return b
}

func appendElixirBits(b []byte, t Bitstring) []byte {
	whole := t.Data
	if t.Bits < 8 && len(whole) > 0 {
		whole = whole[:len(whole)-1]
	} else if isElixirPrintable(t.Data) {
		return append(appendElixirQuoted(append(b, '"'), string(t.Data)), '"')
	}
	b = appendElixirNumbers(append(b, "<<"...), whole)
	if n := len(whole); n < len(t.Data) {
		if n > 0 {
			b = append(b, ", "...)
		}
		b = fmt.Appendf(b, "%d::size(%d)", t.Data[n]>>(8-t.Bits), t.Bits)
	}
	return append(b, ">>"...)
}

// isElixirPrintable is Elixir's String.printable?.
func isElixirPrintable(data []byte) bool {
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

// appendElixirFloat appends the shortest text that is read back as f, with an exponent where Elixir
// has one.
func appendElixirFloat(b []byte, f float64) []byte {
	abs := math.Abs(f)
	if f == 0 || !(abs < 0.1) {
		return appendFloatText(b, f)
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
