package ei

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/big"
	"strconv"
)

// Int reads an integer: ei_decode_longlong. One that does not fit is ErrRange.
func (c *Cursor) Int() (int64, error) {
	b := c.b[c.off:]
	if len(b) >= 5 && b[0] == byte(TagIntegerExt) {
		c.off += 5
		return int64(int32(binary.BigEndian.Uint32(b[1:]))), nil
	}
	if len(b) >= 2 && b[0] == byte(TagSmallIntegerExt) {
		c.off += 2
		return int64(b[1]), nil
	}
	return c.intSlow()
}

func (c *Cursor) intSlow() (int64, error) {
	neg, mag, next, err := c.integerAt(c.off)
	if err != nil {
		return 0, err
	}
	v, ok := int64FromWire(neg, mag)
	if !ok {
		return 0, c.fail(c.off, ErrRange)
	}
	c.off = next
	return v, nil
}

// Uint reads an integer: ei_decode_ulonglong. One that is negative or does not fit is ErrRange.
func (c *Cursor) Uint() (uint64, error) {
	if b := c.b[c.off:]; len(b) >= 2 && b[0] == byte(TagSmallIntegerExt) {
		c.off += 2
		return uint64(b[1]), nil
	}
	return c.uintSlow()
}

func (c *Cursor) uintSlow() (uint64, error) {
	b := c.b[c.off:]
	if len(b) >= 5 && Tag(b[0]) == TagIntegerExt {
		v := int32(binary.BigEndian.Uint32(b[1:]))
		if v < 0 {
			return 0, c.fail(c.off, ErrRange)
		}
		c.off += 5
		return uint64(v), nil
	}
	neg, mag, next, err := c.integerAt(c.off)
	if err != nil {
		return 0, err
	}
	v, ok := uint64FromWire(mag)
	if !ok || neg && v != 0 {
		return 0, c.fail(c.off, ErrRange)
	}
	c.off = next
	return v, nil
}

// Big reads an integer of any size: ei_decode_bignum. It allocates the result.
func (c *Cursor) Big() (*big.Int, error) {
	t, err := c.integer()
	if err != nil {
		return nil, err
	}
	if v, ok := t.(Int); ok {
		return big.NewInt(int64(v)), nil
	}
	return t.(BigInt).Big(), nil
}

// integer reads an integer of any size as a term.
func (c *Cursor) integer() (Term, error) {
	if v, err := c.Int(); err == nil {
		return Int(v), nil
	}
	neg, mag, next, err := c.integerAt(c.off)
	if err != nil {
		return nil, err
	}
	c.off = next
	return bigFromWire(neg, mag), nil
}

// integerAt gives sign and little-endian magnitude of a big integer, or fails.
func (c *Cursor) integerAt(off int) (neg bool, mag []byte, next int, err error) {
	b := c.b[off:]
	if len(b) == 0 {
		return false, nil, off, c.fail(off, ErrTruncated)
	}
	var n uint64
	head := 3
	switch Tag(b[0]) {
	case TagSmallBigExt:
		if len(b) < head {
			return false, nil, off, c.fail(off, ErrTruncated)
		}
		n = uint64(b[1])
	case TagLargeBigExt:
		if head = 6; len(b) < head {
			return false, nil, off, c.fail(off, ErrTruncated)
		}
		n = uint64(binary.BigEndian.Uint32(b[1:]))
	case TagSmallIntegerExt, TagIntegerExt: // only when cut short
		return false, nil, off, c.fail(off, ErrTruncated)
	default:
		return false, nil, off, c.wrong(off, "integer")
	}
	if n > uint64(len(b)-head) {
		return false, nil, off, c.fail(off, ErrTruncated)
	}
	return b[head-1] != 0, b[head : head+int(n)], off + head + int(n), nil
}

// Float reads a float: ei_decode_double. An integer is another type (ErrType).
func (c *Cursor) Float() (float64, error) {
	if b := c.b[c.off:]; len(b) >= 9 && b[0] == byte(TagNewFloatExt) {
		if v := binary.BigEndian.Uint64(b[1:]); isFinite(v) {
			c.off += 9
			return math.Float64frombits(v), nil
		}
	}
	return c.floatSlow()
}

func (c *Cursor) floatSlow() (float64, error) {
	f, next, err := c.floatAt(c.off)
	if err != nil {
		return 0, err
	}
	c.off = next
	return f, nil
}

func (c *Cursor) floatAt(off int) (float64, int, error) {
	b := c.b[off:]
	if len(b) >= 9 && Tag(b[0]) == TagNewFloatExt {
		bits := binary.BigEndian.Uint64(b[1:])
		if !isFinite(bits) {
			return 0, off, c.fail(off, ErrFloat)
		}
		return math.Float64frombits(bits), off + 9, nil
	}
	if len(b) == 0 || Tag(b[0]) == TagNewFloatExt {
		return 0, off, c.fail(off, ErrTruncated)
	}
	if Tag(b[0]) != TagFloatExt {
		return 0, off, c.wrong(off, "float")
	}
	if len(b) < 1+oldFloatSize {
		return 0, off, c.fail(off, ErrTruncated)
	}
	f, ok := parseOldFloat(b[1 : 1+oldFloatSize])
	if !ok {
		return 0, off, c.fail(off, ErrFloat)
	}
	return f, off + 1 + oldFloatSize, nil
}

// oldFloatSize is the length of the text of a FLOAT_EXT, filled up with zero bytes.
const oldFloatSize = 31

// parseOldFloat reads what "%.20e" wrote, and, as a runtime system does, any number that has digits
// on both sides of a point.
func parseOldFloat(b []byte) (float64, bool) {
	n := bytes.IndexByte(b, 0)
	if n < 0 {
		n = len(b)
	}
	at := 0
	sign := func() {
		if at < n && (b[at] == '-' || b[at] == '+') {
			at++
		}
	}
	digits := func() bool {
		start := at
		for at < n && b[at] >= '0' && b[at] <= '9' {
			at++
		}
		return at > start
	}
	sign()
	ok := digits() && at < n && b[at] == '.'
	at++
	ok = ok && digits()
	if ok && at < n && (b[at] == 'e' || b[at] == 'E') {
		at++
		sign()
		ok = digits()
	}
	if !ok || at != n {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(b[:n]), 64)
	return f, err == nil
}
