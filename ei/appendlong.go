package ei

import (
	"fmt"
)

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
