package ei

import (
	"fmt"
)

// AtomEncoding says how the text of an atom is encoded: erlang_char_encoding. Both AtomLatin1 and
// AtomUTF8 together leave the choice open.
type AtomEncoding uint8

// The encodings, with the values that they have in C.
const (
	AtomASCII  AtomEncoding = 1
	AtomLatin1 AtomEncoding = 2
	AtomUTF8   AtomEncoding = 4
)

// AppendAtomAs appends an atom whose text is encoded as from says, byte for byte as C does, in
// UTF-8 (the encoding to write it in, which the functions of C have besides, is ignored since OTP
// 20): ei_encode_atom_as, ei_encode_atom_len_as. Of 128 characters of Latin-1 on it is an
// ATOM_UTF8_EXT, whatever its length. A text that is not in this encoding, or is of more than 255
// characters, is ErrAtom; b is then returned as it was.
//
// ei_encode_atom(buf, index, p) is AppendAtomAs(b, p[:min(len(p), MaxAtomChars)], AtomLatin1): it
// alone cuts off what is too long. AppendAtom is for the text of a Go program.
func AppendAtomAs(b []byte, text string, from AtomEncoding) ([]byte, error) {
	a, err := atomFrom(text, from)
	if err != nil {
		return b, err
	}
	if from == AtomLatin1 && len(text) >= 128 {
		b = append(b, byte(TagAtomUTF8Ext), byte(len(a)>>8), byte(len(a)))
		return append(b, a...), nil
	}
	return appendAtom(b, a), nil
}

// atomFrom gives the atom of a text.
func atomFrom(text string, from AtomEncoding) (Atom, error) {
	switch {
	case from == AtomLatin1 && len(text) > MaxAtomChars:
		return "", fmt.Errorf("%w: %.60q has %d characters, of at most %d", ErrAtom, text, len(text), MaxAtomChars)
	case from == AtomLatin1:
		var buf [2 * MaxAtomChars]byte
		return Atom(latin1ToUTF8(buf[:0], []byte(text))), nil
	case from == AtomASCII && !isASCII([]byte(text)):
		return "", fmt.Errorf("%w: %.60q is not ASCII", ErrAtom, text)
	case from != AtomASCII && from != AtomUTF8:
		return "", fmt.Errorf("%w: no encoding to read it in: %d", ErrAtom, from)
	case !validAtom(Atom(text)):
		return "", badAtom(Atom(text))
	}
	return Atom(text), nil
}

// AtomAs reads an atom and gives its text in one of the encodings wanted, and the encodings that it
// was in (AtomLatin1 or AtomUTF8) and is in (AtomASCII if nothing else is needed):
// ei_decode_atom_as. With AtomLatin1|AtomUTF8 the text is as it came. One that has no form in the
// encoding wanted is ErrAtom. The text has at most MaxAtomBytes, of which it is for the caller to
// have room.
func (c *Cursor) AtomAs(want AtomEncoding) (text []byte, was, is AtomEncoding, err error) {
	start := c.off
	fail := func(reason error) ([]byte, AtomEncoding, AtomEncoding, error) {
		c.off = start
		return nil, 0, 0, c.fail(start, reason)
	}
	tag, err := c.Peek()
	if err != nil {
		return nil, 0, 0, err
	}
	a, err := c.Atom()
	if err != nil {
		return nil, 0, 0, err
	}
	was = AtomUTF8
	if tag == TagAtomExt || tag == TagSmallAtomExt {
		was = AtomLatin1
	}
	is = want
	if want&was != 0 {
		is = was
	}
	switch {
	case want == 0 || want > AtomASCII|AtomLatin1|AtomUTF8:
		return fail(fmt.Errorf("%w: no encoding to give it in: %d", ErrAtom, want))
	case isASCII([]byte(a)):
		return []byte(a), was, AtomASCII, nil
	case is&(AtomLatin1|AtomUTF8) == 0:
		return fail(fmt.Errorf("%w: %.60q is not ASCII", ErrAtom, a))
	case is&AtomUTF8 != 0:
		return []byte(a), was, AtomUTF8, nil
	}
	if _, ok := latin1Len(a); !ok {
		return fail(fmt.Errorf("%w: %.60q is not Latin-1", ErrAtom, a))
	}
	return appendLatin1(nil, a), was, AtomLatin1, nil
}
