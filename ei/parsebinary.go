package ei

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// Binary reads a binary: ei_decode_binary. The result shares the memory of the input. A bitstring
// whose length is not a whole number of bytes is another type (ErrType).
func (c *Cursor) Binary() ([]byte, error) {
	if b := c.b[c.off:]; len(b) >= 5 && b[0] == byte(TagBinaryExt) {
		if n := uint64(binary.BigEndian.Uint32(b[1:])); n <= uint64(len(b)-5) {
			c.off += 5 + int(n)
			return b[5 : 5+n : 5+n], nil
		}
	}
	return c.binarySlow()
}

func (c *Cursor) binarySlow() ([]byte, error) {
	data, bits, next, err := c.bitsAt(c.off)
	if err != nil {
		return nil, err
	}
	if bits != 8 && len(data) > 0 {
		return nil, c.wrong(c.off, "binary")
	}
	c.off = next
	return data, nil
}

// Bitstring reads a bitstring or binary: ei_decode_bitstring. bits is the number of bits used of
// the last byte, 1 to 8, or 0 when data is empty. The result shares the memory of the input.
func (c *Cursor) Bitstring() (data []byte, bits uint8, err error) {
	data, bits, next, err := c.bitsAt(c.off)
	if err != nil {
		return nil, 0, err
	}
	c.off = next
	return data, bits, nil
}

func (c *Cursor) bitsAt(off int) (data []byte, bits uint8, next int, err error) {
	b := c.b[off:]
	if len(b) == 0 {
		return nil, 0, off, c.fail(off, ErrTruncated)
	}
	head := 5
	switch Tag(b[0]) {
	case TagBinaryExt:
		bits = 8
	case TagBitBinaryExt:
		head = 6
	default:
		return nil, 0, off, c.wrong(off, "binary")
	}
	if len(b) < head {
		return nil, 0, off, c.fail(off, ErrTruncated)
	}
	n := uint64(binary.BigEndian.Uint32(b[1:]))
	if n > uint64(len(b)-head) {
		return nil, 0, off, c.fail(off, ErrTruncated)
	}
	if head == 6 {
		if bits = b[5]; bits > 8 || (bits == 0) != (n == 0) {
			return nil, 0, off, c.fail(off, ErrMalformed)
		}
	} else if n == 0 {
		bits = 0
	}
	return b[head : head+int(n) : head+int(n)], bits, off + head + int(n), nil
}

// Str reads a list of bytes, in whichever form it came: ei_decode_string. The result shares the
// memory of the input for a STRING_EXT, and is allocated for a LIST_EXT.
func (c *Cursor) Str() ([]byte, error) {
	b := c.b[c.off:]
	if len(b) >= 3 && Tag(b[0]) == TagStringExt {
		if n := int(binary.BigEndian.Uint16(b[1:])); n <= len(b)-3 {
			c.off += 3 + n
			return b[3 : 3+n : 3+n], nil
		}
		return nil, c.fail(c.off, ErrTruncated)
	}
	if len(b) >= 1 && Tag(b[0]) == TagListExt {
		return c.strList()
	}
	if len(b) >= 1 && Tag(b[0]) == TagNilExt {
		c.off++
		return nil, nil
	}
	if len(b) >= 1 && Tag(b[0]) == TagStringExt {
		return nil, c.fail(c.off, ErrTruncated)
	}
	return nil, c.wrong(c.off, "string")
}

// byte reads an integer of 0 to 255; another one is the wrong type.
func (c *Cursor) byte() (byte, error) {
	start := c.off
	v, err := c.Uint()
	if err != nil && !errors.Is(err, ErrType) && !errors.Is(err, ErrRange) {
		return 0, err
	}
	if err != nil || v > 255 {
		c.off = start
		return 0, c.wrong(start, "byte")
	}
	return byte(v), nil
}

// emptyHead is a LIST_EXT without elements.
var emptyHead = []byte{byte(TagListExt), 0, 0, 0, 0}

func (c *Cursor) strList() ([]byte, error) {
	at := *c
	var s []byte
	for at.off < len(at.b) {
		switch Tag(at.b[at.off]) {
		case TagNilExt:
			at.off++
			c.off = at.off
			return s, nil
		case TagStringExt: // a tail may be one
			tail, err := at.Str()
			if err != nil {
				return nil, err
			}
			c.off = at.off
			return append(s, tail...), nil
		case TagListExt:
		default:
			return nil, c.wrong(at.off, "string")
		}
		n, err := at.count(1)
		if err != nil {
			return nil, err
		}
		if s == nil {
			s = make([]byte, 0, min(n, at.Len()/2)) // a byte takes at least two
		}
		for range n {
			for bytes.HasPrefix(at.b[at.off:], emptyHead) { // it stands for its tail
				at.off += len(emptyHead)
			}
			if at.off < len(at.b) && !Tag(at.b[at.off]).IsInteger() {
				return nil, c.wrong(at.off, "byte")
			}
			v, err := at.byte()
			if err != nil {
				return nil, err
			}
			s = append(s, v)
		}
	}
	return nil, c.fail(at.off, ErrTruncated)
}
