package ei

import (
	"fmt"
)

// What is here only programs need that are ported from C: atoms in an encoding, integers as C sends
// them, and the tokens of seq_trace.

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
// encoding wanted is ErrAtom. No text has more than four times MaxAtomChars bytes.
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

// latin1Len gives the number of characters of a, and whether it can be written in Latin-1.
func latin1Len(a Atom) (n int, ok bool) {
	for _, r := range string(a) {
		if r > 0xff { // as is U+FFFD, which stands for invalid UTF-8
			return 0, false
		}
		n++
	}
	return n, n <= MaxAtomChars
}

func appendLatin1(b []byte, a Atom) []byte {
	for _, r := range string(a) {
		b = append(b, byte(r))
	}
	return b
}

// AppendLong appends an integer byte for byte as C does: ei_encode_long, ei_encode_longlong. Beyond
// 28 bits it is a SMALL_BIG_EXT, where AppendInt, as a runtime system, has an INTEGER_EXT up to 32.
// To Erlang they are the same; this one is for output that is to be identical.
func AppendLong(b []byte, v int64) []byte {
	const most = 1<<27 - 1
	switch {
	case v >= -most-1 && v <= most:
		return AppendInt(b, v)
	case v < 0:
		return appendSmallBig(b, 1, -uint64(v))
	}
	return appendSmallBig(b, 0, uint64(v))
}

// AppendULong is AppendLong for unsigned integers: ei_encode_ulong, ei_encode_ulonglong.
func AppendULong(b []byte, v uint64) []byte {
	if v < 1<<27 {
		return AppendInt(b, int64(v))
	}
	return appendSmallBig(b, 0, v)
}

// BitstringOf gives n bits of data, from the bit offset on, as C takes them from a buffer:
// ei_encode_bitstring. Bits that data does not have are ErrRange. The bits are copied. A number of
// them that fills whole bytes gives 8 for Bits: AppendBitstring then makes a BINARY_EXT of it, as C
// does.
func BitstringOf(data []byte, offset, n int) (Bitstring, error) {
	if offset < 0 || n < 0 || offset > 8*len(data) || n > 8*len(data)-offset {
		return Bitstring{}, fmt.Errorf("ei: %d bits from bit %d on, of %d bytes: %w", n, offset, len(data), ErrRange)
	}
	if n == 0 {
		return Bitstring{Data: []byte{}}, nil
	}
	t := Bitstring{Data: make([]byte, (n+7)/8), Bits: uint8((n-1)%8 + 1)}
	data, shift := data[offset/8:], offset%8
	for i := range t.Data {
		two := uint16(data[i]) << 8
		if i+1 < len(data) {
			two |= uint16(data[i+1])
		}
		t.Data[i] = byte(two >> (8 - shift))
	}
	t.Data[len(t.Data)-1] &= 0xff << (8 - t.Bits)
	return t, nil
}

// Byte reads an integer of 0 to 255: ei_decode_char. Another integer is ErrRange.
func (c *Cursor) Byte() (byte, error) {
	start := c.off
	v, err := c.Uint()
	if err == nil && v > 0xff {
		c.off = start
		return 0, c.fail(start, ErrRange)
	}
	return byte(v), err
}

// Trace is a trace token of seq_trace, which a message carries that was sent while its sender was
// traced: erlang_trace. See nodes.Message.Token, and the manual of seq_trace, "Sequential Tracing".
type Trace struct {
	Flags  int64 // what is traced
	Label  Term  // an integer in C; since OTP 21 any term
	Serial int64 // the number of the message
	From   Pid   // its sender
	Prev   int64 // the number of the message before
}

// AppendTerm appends the trace token, the tuple {Flags, Label, Serial, From, Prev}:
// ei_encode_trace, byte for byte. The errors are those of the function AppendTerm about Label and
// From; b is then returned as it was.
func (t Trace) AppendTerm(b []byte) ([]byte, error) {
	out := AppendLong(AppendTupleHeader(b, 5), t.Flags)
	var err error
	if label, ok := t.Label.(Int); ok {
		out = AppendLong(out, int64(label))
	} else if out, err = AppendTerm(out, t.Label); err != nil {
		return b, err
	}
	if out, err = AppendPid(AppendLong(out, t.Serial), t.From); err != nil {
		return b, err
	}
	return AppendLong(out, t.Prev), nil
}

// ReadTerm reads a trace token: ei_decode_trace. Label is decoded within the default Limits. On an
// error the cursor is where it was, and t is zero.
func (t *Trace) ReadTerm(c *Cursor) (err error) {
	start := c.off
	defer func() {
		if err != nil {
			c.off, *t = start, Trace{}
		}
	}()
	arity, err := c.Tuple()
	if err != nil {
		return err
	}
	if arity != 5 {
		return c.wrong(start, "trace token")
	}
	if t.Flags, err = c.Int(); err != nil {
		return err
	}
	if t.Label, err = c.Term(); err != nil {
		return err
	}
	if t.Serial, err = c.Int(); err != nil {
		return err
	}
	if t.From, err = c.Pid(); err != nil {
		return err
	}
	t.Prev, err = c.Int()
	return err
}
