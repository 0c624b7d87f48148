package main

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"

	"github.com/cnode-go/cnode/ei"
)

// appendTerm appends the text that ei_print_term of the C library prints, byte by byte: scripts cut
// it up. It is not Erlang: a quote within a string is not escaped, and binaries beyond 30 bytes are
// cut off. Where ei_print_term fails it is the text of ei.AppendText; in a string a byte from 128
// on is \xNN, where C writes its two's complement.
//
// A term may be deeper than a goroutine's stack can follow, so what is still to be printed is in a
// stack of its own.
func appendTerm(b []byte, t ei.Term) []byte {
	left := []piece{{term: t}}
	for len(left) > 0 {
		p := left[len(left)-1]
		left = left[:len(left)-1]
		if p.term == nil {
			b = append(b, p.text...)
			continue
		}
		parts := partsOf(p.term)
		if parts == nil {
			b = appendLeaf(b, p.term)
		}
		slices.Reverse(parts)
		left = append(left, parts...)
	}
	return b
}

// A piece is what is still to be printed: a term or, if there is none, a text.
type piece struct {
	term ei.Term
	text string
}

// partsOf takes a list, tuple or map apart; any other term gives nil.
func partsOf(t ei.Term) []piece {
	switch t := t.(type) {
	case ei.List:
		return enclosed("[", t, "]")
	case ei.ImproperList:
		return append(enclosed("[", t.Elems, " | "), piece{term: t.Tail}, piece{text: "]"})
	case ei.Tuple:
		return enclosed("{", t, "}")
	case ei.Map:
		ps := []piece{{text: "#{"}}
		for i, p := range t {
			if i > 0 {
				ps = append(ps, piece{text: ", "})
			}
			ps = append(ps, piece{term: p.Key}, piece{text: " => "}, piece{term: p.Value})
		}
		return append(ps, piece{text: "}"})
	}
	return nil
}

func enclosed(open string, ts []ei.Term, end string) []piece {
	ps := []piece{{text: open}}
	for i, t := range ts {
		if i > 0 {
			ps = append(ps, piece{text: ", "})
		}
		ps = append(ps, piece{term: t})
	}
	return append(ps, piece{text: end})
}

// appendLeaf appends the text of a term that partsOf does not take apart.
func appendLeaf(b []byte, t ei.Term) []byte {
	switch t := t.(type) {
	case ei.Atom:
		return appendAtom(b, string(t))
	case ei.String:
		return appendString(b, string(t))
	case ei.Float:
		return strconv.AppendFloat(b, float64(t), 'f', 6, 64)
	case ei.BigInt:
		return appendBig(b, t.Big())
	case ei.Binary:
		return append(appendBytes(append(b, "#Bin<"...), t), '>')
	case ei.Bitstring:
		return appendBits(b, t)
	case ei.Pid:
		return fmt.Appendf(b, "<%s.%d.%d>", latin1(string(t.Node)), t.ID, t.Serial)
	case ei.Port:
		return fmt.Appendf(b, "#Port<%d.%d>", t.ID, t.Creation)
	case ei.Ref:
		b = append(b, "#Ref<"...)
		for i, word := range t.ID[:t.Len] {
			if i > 0 {
				b = append(b, '.')
			}
			b = strconv.AppendUint(b, uint64(word), 10)
		}
		return append(b, '>')
	case ei.Export:
		return fmt.Appendf(b, "fun %s:%s/%d", latin1(string(t.Module)), latin1(string(t.Function)), t.Arity)
	case ei.Fun:
		return fmt.Appendf(b, "#Fun{%s.%d.%d}", latin1(string(t.Module)), t.OldIndex, uint64(t.OldUniq))
	}
	return ei.AppendText(b, t)
}

// appendAtom quotes an atom that is not of the letters, digits, _ and @ of ASCII, and does not
// begin with a small letter.
func appendAtom(b []byte, name string) []byte {
	plain := name != "" && name[0] >= 'a' && name[0] <= 'z'
	for i := 0; plain && i < len(name); i++ {
		c := name[i]
		plain = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '@'
	}
	if plain {
		return append(b, name...)
	}
	return append(append(append(b, '\''), latin1(name)...), '\'')
}

// latin1 is a name in Latin-1, as the C library prints it; one that has other characters, for which
// the C library fails, stays as it is. The expressions of -e are bytes to the node, so what is
// UTF-8 there comes back as UTF-8.
func latin1(name string) string {
	b := make([]byte, 0, len(name))
	for _, r := range name {
		if r > 0xff {
			return name
		}
		b = append(b, byte(r))
	}
	return string(b)
}

func appendString(b []byte, s string) []byte {
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

// appendBig prints up to 64 bits in base 10, more in base 16.
func appendBig(b []byte, v *big.Int) []byte {
	if v.BitLen() <= 64 {
		return v.Append(b, 10)
	}
	if v.Sign() < 0 {
		b = append(b, '-')
	}
	return fmt.Appendf(b, "16#%X", new(big.Int).Abs(v))
}

// shownBytes is how many bytes of a binary are printed.
const shownBytes = 30

func appendBytes(b, data []byte) []byte {
	for i, c := range data {
		if i > 0 {
			b = append(b, ',')
		}
		if i == shownBytes {
			return append(b, "..."...)
		}
		b = strconv.AppendUint(b, uint64(c), 10)
	}
	return b
}

func appendBits(b []byte, t ei.Bitstring) []byte {
	b = append(b, "#Bits<"...)
	whole, left := t.BitLen()/8, t.BitLen()%8
	if len(t.Data) > shownBytes || left == 0 {
		return append(appendBytes(b, t.Data), '>')
	}
	if b = appendBytes(b, t.Data[:whole]); whole > 0 {
		b = append(b, ',')
	}
	return fmt.Appendf(b, "%d:%d>", t.Data[whole]>>(8-left), left)
}
