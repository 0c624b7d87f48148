package ei

import (
	"fmt"
	"math/big"
	"strconv"

	"github.com/cnode-go/cnode/ei/internal/nested"
)

// AppendPrinted appends the text that ei_print_term and ei_s_print_term of the C library print,
// byte by byte, for programs and scripts that cut it up. It is not Erlang, and is not read back: a
// quote within a string is not escaped, binaries beyond 30 bytes are cut off, floats have six
// decimals, atoms are in Latin-1 (and in UTF-8 within identifiers and funs). Where the C library
// fails (an atom with a character beyond U+00FF, a native record) it is the text of AppendText; in
// a string a byte from 128 on is \xNN, for which C writes \xffffffNN.
func AppendPrinted(dst []byte, t Term) []byte { return nested.Append(dst, t, printedText{}) }

// printedText is the notation of AppendPrinted.
type printedText struct{}

func (printedText) Open(b []byte, t Term) ([]byte, level, bool) {
	switch t := plain(t).(type) {
	case List, ImproperList:
		return append(b, '['), level{t: t}, true
	case Tuple:
		return append(b, '{'), level{t: t}, true
	case Map:
		return append(b, "#{"...), level{t: t}, true
	default:
		return appendPrintedLeaf(b, t), level{}, false
	}
}

func (printedText) Next(b []byte, in *level) ([]byte, Term, bool) {
	i := in.i
	part, ok := in.next()
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
	}
	if i > 0 {
		b = append(b, ", "...)
	}
	return b, part, true
}

func (printedText) Close(b []byte, in *level) []byte { return closeText(b, in.t) }

func (printedText) IsSame(a, b *level) bool { return isSameLevel(a, b) }

// appendPrintedLeaf appends the text of a term that has no parts to show.
func appendPrintedLeaf(b []byte, t Term) []byte {
	switch t := t.(type) {
	case Atom:
		if isBareAtom(string(t)) {
			return append(b, t...)
		}
		return append(append(append(b, '\''), latin1Text(t)...), '\'')
	case String:
		return appendPrintedString(b, string(t))
	case Float:
		return strconv.AppendFloat(b, float64(t), 'f', 6, 64)
	case BigInt:
		return appendPrintedBig(b, t.Big())
	case Binary:
		return append(appendFirstBytes(append(b, "#Bin<"...), t), '>')
	case Bitstring:
		return appendPrintedBits(b, t)
	case Pid:
		return fmt.Appendf(b, "<%s.%d.%d>", string(t.Node), int32(t.ID), int32(t.Serial))
	case Port:
		return fmt.Appendf(b, "#Port<%d.%d>", int32(t.ID), int32(t.Creation))
	case Ref:
		b = append(b, "#Ref<"...)
		for i, word := range t.ID[:min(int(t.Len), maxRefWords)] {
			if i > 0 {
				b = append(b, '.')
			}
			b = strconv.AppendInt(b, int64(int32(word)), 10)
		}
		return append(b, '>')
	case Export:
		return fmt.Appendf(b, "fun %s:%s/%d", string(t.Module), string(t.Function), t.Arity)
	case Fun:
		return fmt.Appendf(b, "#Fun{%s.%d.%d}", string(t.Module), funIndex(t), uint64(t.OldUniq))
	}
	return AppendText(b, t)
}

// latin1Text is an atom in Latin-1, as the C library prints it; one that has other characters, for
// which the C library fails, stays as it is.
func latin1Text(a Atom) []byte {
	if _, ok := latin1Len(a); !ok {
		return []byte(a)
	}
	return appendLatin1(nil, a)
}

func appendPrintedString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c >= ' ' && c < 0x80:
			b = append(b, c)
		case c >= '\b' && c <= '\r':
			b = append(b, '\\', "btnvfr"[c-'\b'])
		default:
			b = fmt.Appendf(b, "\\x%x", c)
		}
	}
	return append(b, '"')
}

// appendPrintedBig prints up to 64 bits in base 10, more in base 16.
func appendPrintedBig(b []byte, v *big.Int) []byte {
	if v.BitLen() <= 64 {
		return v.Append(b, 10)
	}
	if v.Sign() < 0 {
		b = append(b, '-')
	}
	return fmt.Appendf(b, "16#%X", new(big.Int).Abs(v))
}

// printedBytes is how many bytes of a binary the C library prints.
const printedBytes = 30

func appendFirstBytes(b, data []byte) []byte {
	if len(data) <= printedBytes {
		return appendByteTexts(b, data)
	}
	return append(appendByteTexts(b, data[:printedBytes]), ",..."...)
}

func appendPrintedBits(b []byte, t Bitstring) []byte {
	b = append(b, "#Bits<"...)
	whole, left := t.BitLen()/8, t.BitLen()%8
	if len(t.Data) > printedBytes || left == 0 {
		return append(appendFirstBytes(b, t.Data), '>')
	}
	if b = appendByteTexts(b, t.Data[:whole]); whole > 0 {
		b = append(b, ',')
	}
	return fmt.Appendf(b, "%d:%d>", t.Data[whole]>>(8-left), left)
}
