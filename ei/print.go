package ei

import (
	"bytes"
	"math"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei/internal/nested"
)

// AppendText appends t as Erlang text in UTF-8, which Erlang's own parser, and Parse, read back to
// an equal term (what C's ei_s_print_term prints is AppendPrinted's). The exceptions are
// identifiers, closures and what has no syntax in Erlang:
//
//	#Pid<node@host.ID.SERIAL.CREATION>       Pid;  Parse reads it, Erlang does not
//	#Port<node@host.ID.CREATION>             Port; the same
//	#Ref<node@host.WN. … .W1.CREATION>       Ref, words in the order that Erlang prints; the same
//	#Fun<module.INDEX.OLDUNIQ>               Fun;  neither reads it; INDEX is OldIndex where there is no Index
//	#Local<N bytes>                          Local; neither reads it
//
// A native record is read back as exported; Erlang reads it only with erl_parse:parse_exprs/1. Only
// Parse reads back an atom with U+FFFE or U+FFFF.
//
// Lists and tuples have no spaces between their elements. A String of printable characters is
// "text"; any other String, and a List, are [1,2,3]: the text does not tell a String from a List.
// Binaries are <<"text">>, <<"text"/utf8>> or <<1,2,3>>, bitstrings <<1,5:3>>, maps #{key => value}
// in the order of their pairs, native records #module:name{field = value}. An integer of more than
// 4096 bytes is in base 16. A Raw is printed as the term it holds, #Raw<N bytes> when it cannot be
// decoded.
func AppendText(b []byte, t Term) []byte { return appendTermText(b, t, math.MaxInt) }

// Brief gives the text of AppendText; of a long text only the beginning, about n bytes, followed by
// "…". Its cost does not grow with the term, so a log or an error can hold the text of what a peer
// has sent. A Raw of more than 64 KiB is #Raw<N bytes>.
func Brief(t Term, n int) string {
	b := appendTermText(nil, t, max(n, 0))
	if len(b) <= n {
		return string(b)
	}
	end := max(n, 0)
	for end > 0 && !utf8.RuneStart(b[end]) {
		end--
	}
	return string(b[:end]) + "…"
}

// maxBriefRaw is the size in bytes of the largest Raw that is decoded for the beginning of its
// text.
const maxBriefRaw = 64 << 10

// appendTermText is AppendText, but may stop once b is longer than end.
func appendTermText(b []byte, t Term, end int) []byte { return nested.Append(b, t, erlangText{end}) }

// erlangText is the notation of AppendText; the text may stop once it is longer than end.
type erlangText struct{ end int }

func (e erlangText) Open(b []byte, t Term) ([]byte, level, bool) {
	for {
		switch v := t.(type) {
		case List:
			return append(b, '['), level{t: t}, true
		case Tuple:
			return append(b, '{'), level{t: t}, true
		case Map:
			return append(b, "#{"...), level{t: t}, true
		case ImproperList:
			if len(v.Elems) == 0 {
				t = v.Tail
				continue
			}
			return append(b, '['), level{t: t}, true
		case Record:
			b = appendAtomText(append(b, '#'), v.Module)
			b = appendAtomText(append(b, ':'), v.Name)
			return append(b, '{'), level{t: t}, true
		case Raw:
			if e.end == math.MaxInt || len(v) <= maxBriefRaw {
				if d, err := v.Decode(); err == nil {
					t = d
					continue
				}
			}
			return appendOpaque(b, "#Raw<", len(v)), level{}, false
		}
		return appendLeafText(b, t, e.end), level{}, false
	}
}

func (e erlangText) Next(b []byte, l *level) ([]byte, Term, bool) {
	if len(b) > e.end {
		return b, nil, false
	}
	i := l.i
	part, ok := l.next()
	if ok {
		b = appendBetween(b, l.t, i)
	}
	return b, part, ok
}

func (e erlangText) Close(b []byte, l *level) []byte { return closeText(b, l.t) }

func (e erlangText) IsSame(a, b *level) bool { return isSameLevel(a, b) }

// appendBetween appends what comes before part i of t.
func appendBetween(b []byte, t Term, i int) []byte {
	switch t := t.(type) {
	case Map:
		if i%2 == 1 {
			return append(b, " => "...)
		}
	case ImproperList:
		if i == len(t.Elems) {
			return append(b, '|')
		}
	}
	if i > 0 {
		b = append(b, ',')
	}
	if r, ok := t.(Record); ok {
		b = append(appendAtomText(b, r.Fields[i].Name), " = "...)
	}
	return b
}

func closeText(b []byte, t Term) []byte {
	switch t.(type) {
	case List, ImproperList:
		return append(b, ']')
	}
	return append(b, '}')
}

// appendLeafText appends the text of a term that has no parts to show.
func appendLeafText(b []byte, t Term, end int) []byte {
	switch t := t.(type) {
	case Int:
		return strconv.AppendInt(b, int64(t), 10)
	case Atom:
		return appendAtomText(b, t)
	case BigInt:
		return appendBigText(b, t, end)
	case Float:
		return appendFloatText(b, float64(t))
	case String:
		return appendStringText(b, string(t), end)
	case Binary:
		return appendBinaryText(b, t, end)
	case BinaryKey:
		return appendBinaryText(b, []byte(t), end)
	case Bitstring:
		return appendBitsText(b, t, end)
	case Pid:
		b = appendAtomText(append(b, "#Pid<"...), t.Node)
		b = appendNumber(b, uint64(t.ID))
		b = appendNumber(b, uint64(t.Serial))
		return append(appendNumber(b, uint64(t.Creation)), '>')
	case Port:
		b = appendAtomText(append(b, "#Port<"...), t.Node)
		b = appendNumber(b, t.ID)
		return append(appendNumber(b, uint64(t.Creation)), '>')
	case Ref:
		b = appendAtomText(append(b, "#Ref<"...), t.Node)
		for i := min(int(t.Len), maxRefWords) - 1; i >= 0; i-- {
			b = appendNumber(b, uint64(t.ID[i]))
		}
		return append(appendNumber(b, uint64(t.Creation)), '>')
	case Fun:
		b = appendAtomText(append(b, "#Fun<"...), t.Module)
		b = strconv.AppendInt(append(b, '.'), funIndex(t), 10)
		return append(strconv.AppendInt(append(b, '.'), t.OldUniq, 10), '>')
	case Export:
		b = appendAtomText(append(b, "fun "...), t.Module)
		b = appendAtomText(append(b, ':'), t.Function)
		return strconv.AppendUint(append(b, '/'), uint64(t.Arity), 10)
	case Local:
		return appendOpaque(b, "#Local<", len(t))
	}
	return append(b, "#Nil<>"...) // a nil Term, which is a mistake of the program
}

func appendOpaque(b []byte, kind string, n int) []byte {
	b = strconv.AppendInt(append(b, kind...), int64(n), 10)
	return append(b, " bytes>"...)
}

func appendNumber(b []byte, v uint64) []byte { return strconv.AppendUint(append(b, '.'), v, 10) }

// maxDecimal is the size in bytes up to which an integer is printed in base 10, which takes more
// than linear time.
const maxDecimal = 4096

func appendBigText(b []byte, t BigInt, end int) []byte { return appendBigIn(b, t, "16#", end) }

// appendBigIn appends an integer; hex is what stands before one in base 16.
func appendBigIn(b []byte, t BigInt, hex string, end int) []byte {
	if len(t.mag) <= maxDecimal {
		return t.Big().Append(b, 10)
	}
	if t.neg {
		b = append(b, '-')
	}
	b = append(b, hex...)
	const digits = "0123456789ABCDEF"
	for i := len(t.mag) - 1; i >= 0 && len(b) <= end; i-- {
		if x := t.mag[i]; i < len(t.mag)-1 || x > 0xf {
			b = append(b, digits[x>>4])
		}
		b = append(b, digits[t.mag[i]&0xf])
	}
	return b
}

// appendFloatText appends the shortest text that is read back as f and has a digit on both sides of
// a point, as Erlang wants it.
func appendFloatText(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.AppendFloat(append(b, '#'), f, 'g', -1, 64) // no term at all
	}
	format := byte('e')
	if abs := math.Abs(f); f == 0 || abs >= 1e-4 && abs < 1e16 {
		format = 'f'
	}
	start := len(b)
	if format == 'f' {
		b = strconv.AppendFloat(b, f, 'f', -1, 64)
		if bytes.IndexByte(b[start:], '.') < 0 {
			b = append(b, ".0"...)
		}
		return b
	}
	var buf [32]byte
	mantissa, exp, _ := bytes.Cut(strconv.AppendFloat(buf[:0], f, 'e', -1, 64), []byte{'e'})
	b = append(b, mantissa...)
	if bytes.IndexByte(mantissa, '.') < 0 {
		b = append(b, ".0"...)
	}
	b = append(b, 'e')
	if exp[0] == '-' {
		b = append(b, '-')
	}
	return append(b, bytes.TrimLeft(exp[1:], "0")...) // 1.0e+05 in Go
}

func appendAtomText(b []byte, a Atom) []byte {
	if isBareAtom(string(a)) && !isReserved(string(a)) {
		return append(b, a...)
	}
	b = append(b, '\'')
	for i := 0; i < len(a); {
		r, n := utf8.DecodeRuneInString(string(a[i:]))
		b = appendChar(b, r, '\'')
		i += n
	}
	return append(b, '\'')
}

// isBareAtom reports whether s has the form of an atom without quotes. Erlang takes Latin-1 letters
// too; they are quoted here, which every version reads.
func isBareAtom(s string) bool {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		if !isNameByte(s[i]) {
			return false
		}
	}
	return true
}

func isNameByte(x byte) bool {
	return x >= 'a' && x <= 'z' || x >= 'A' && x <= 'Z' || x >= '0' && x <= '9' || x == '_' || x == '@'
}

// isReserved reports whether s is a reserved word of some release. maybe and else are so only since
// OTP 27, and Parse takes them for atoms.
func isReserved(s string) bool { return isAlwaysReserved(s) || s == "maybe" || s == "else" }

// isAlwaysReserved reports whether s is a reserved word of every release.
func isAlwaysReserved(s string) bool {
	switch s {
	case "after", "and", "andalso", "band", "begin", "bnot", "bor", "bsl", "bsr", "bxor", "case", "catch", "cond", "div",
		"end", "fun", "if", "let", "not", "of", "or", "orelse", "receive", "rem", "try", "when", "xor":
		return true
	}
	return false
}

// appendChar appends a character of quoted text.
func appendChar(b []byte, r rune, quote byte) []byte {
	switch r {
	case rune(quote), '\\':
		return append(b, '\\', byte(r))
	case '\n':
		return append(b, `\n`...)
	case '\r':
		return append(b, `\r`...)
	case '\t':
		return append(b, `\t`...)
	case '\v':
		return append(b, `\v`...)
	case '\b':
		return append(b, `\b`...)
	case '\f':
		return append(b, `\f`...)
	case '\x1b':
		return append(b, `\e`...)
	}
	if r < ' ' || r >= 0x7f && r < 0xa0 || r > 0xff && !unicode.IsPrint(r) {
		b = strconv.AppendUint(append(b, `\x{`...), uint64(r), 16)
		return append(b, '}')
	}
	return utf8.AppendRune(b, r)
}

// isPrintable reports whether r may be part of a list or binary that is printed as text, as
// io_lib:printable_latin1_list decides.
func isPrintable(r rune) bool {
	switch {
	case r >= '\b' && r <= '\r', r == '\x1b':
		return true
	}
	return r >= ' ' && r < 0x7f || r >= 0xa0 && r <= 0xff
}

// shown gives how many of n bytes are needed for a text that begins at start and may stop after
// end: each makes at least one byte of text.
func shown(n, start, end int) int {
	if end == math.MaxInt {
		return n
	}
	return min(n, max(end-start, 0)+1)
}

func appendStringText(b []byte, s string, end int) []byte {
	s = s[:shown(len(s), len(b), end)]
	text := s != ""
	for i := range len(s) {
		if !isPrintable(rune(s[i])) {
			text = false
			break
		}
	}
	if !text {
		b = append(b, '[')
		for i := range len(s) {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendUint(b, uint64(s[i]), 10)
		}
		return append(b, ']')
	}
	b = append(b, '"')
	for i := range len(s) {
		b = appendChar(b, rune(s[i]), '"')
	}
	return append(b, '"')
}

func appendBinaryText(b []byte, data []byte, end int) []byte {
	if n := shown(len(data), len(b), end); n < len(data) {
		for back := 1; back < utf8.UTFMax && n > 0 && !utf8.RuneStart(data[n]); back++ {
			n--
		}
		data = data[:n]
	}
	text, ascii := len(data) > 0, true
	for i := 0; i < len(data) && text; {
		r, n := utf8.DecodeRune(data[i:])
		text = (r != utf8.RuneError || n > 1) && (isPrintable(r) || r > 0xff && unicode.IsPrint(r))
		ascii = ascii && n == 1
		i += n
	}
	b = append(b, "<<"...)
	if !text {
		return append(appendByteTexts(b, data), ">>"...)
	}
	b = append(b, '"')
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		b = appendChar(b, r, '"')
		i += n
	}
	if ascii {
		return append(b, `">>`...)
	}
	return append(b, `"/utf8>>`...)
}

func appendByteTexts(b, data []byte) []byte {
	for i, x := range data {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(x), 10)
	}
	return b
}

func appendBitsText(b []byte, t Bitstring, end int) []byte {
	if len(t.Data) == 0 || t.Bits >= 8 {
		return appendBinaryText(b, t.Data, end)
	}
	if n := shown(len(t.Data), len(b), end); n < len(t.Data) {
		return appendByteTexts(append(b, "<<"...), t.Data[:n])
	}
	last := len(t.Data) - 1
	b = appendByteTexts(append(b, "<<"...), t.Data[:last])
	if t.Bits > 0 {
		if last > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(t.Data[last]>>(8-t.Bits)), 10)
		b = strconv.AppendUint(append(b, ':'), uint64(t.Bits), 10)
	}
	return append(b, ">>"...)
}

// funIndex is the index of a closure; a FUN_EXT has only an old one.
func funIndex(f Fun) int64 {
	if f.Arity < 0 {
		return f.OldIndex
	}
	return int64(f.Index)
}

// String gives a term as AppendText does.
func (t Int) String() string          { return text(t) }
func (t Float) String() string        { return text(t) }
func (t BigInt) String() string       { return text(t) }
func (t Atom) String() string         { return text(t) }
func (t String) String() string       { return text(t) }
func (t Binary) String() string       { return text(t) }
func (t BinaryKey) String() string    { return text(t) }
func (t Bitstring) String() string    { return text(t) }
func (t List) String() string         { return text(t) }
func (t ImproperList) String() string { return text(t) }
func (t Tuple) String() string        { return text(t) }
func (t Map) String() string          { return text(t) }
func (t Record) String() string       { return text(t) }
func (t Local) String() string        { return text(t) }
func (t Raw) String() string          { return text(t) }
func (t Pid) String() string          { return text(t) }
func (t Port) String() string         { return text(t) }
func (t Ref) String() string          { return text(t) }
func (t Fun) String() string          { return text(t) }
func (t Export) String() string       { return text(t) }

func text(t Term) string { return string(AppendText(nil, t)) }
