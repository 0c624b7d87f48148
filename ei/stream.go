package ei

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// checkPacket says what is wrong with the number of bytes of a length.
func checkPacket(n int) error {
	switch n {
	case 0, 1, 2, 4:
		return nil
	}
	return fmt.Errorf("ei: a length of %d bytes: there are those of 0, 1, 2 and 4", n)
}

// An Encoder writes terms to a stream. It is not safe for concurrent use.
type Encoder struct {
	w      io.Writer
	packet int
	buf    []byte
}

// NewEncoder gives an Encoder that writes to w. packet is the number of bytes of the length before
// each term, big-endian: 4, 2 or 1, as of a port with the option {packet, N}. 0 stands for none:
// the terms follow each other.
func NewEncoder(w io.Writer, packet int) *Encoder { return &Encoder{w: w, packet: packet} }

// Encode writes v as Marshal encodes it, with its length before it if it is to have one, by one
// call of Write. The errors are those of Marshal, with nothing written, ErrTooLong for a term that
// is too long for its length, and those of the writer.
func (e *Encoder) Encode(v any) error {
	n := e.packet
	if err := checkPacket(n); err != nil {
		return err
	}
	var length [4]byte
	b, err := Append(AppendVersion(append(e.buf[:0], length[:n]...)), v)
	if err != nil {
		return err
	}
	size := uint64(len(b) - n)
	if n > 0 && size >= 1<<(8*n) {
		return fmt.Errorf("%w: %d bytes in a packet whose length has %d", ErrTooLong, size, n)
	}
	binary.BigEndian.PutUint32(length[:], uint32(min(size, math.MaxUint32)))
	copy(b, length[4-n:])
	if cap(b) <= keptBytes {
		e.buf = b
	}
	_, err = e.w.Write(b)
	return err
}

// keptBytes is how large a buffer may be that an Encoder or a Decoder uses again.
const keptBytes = 1 << 20

// A Decoder reads terms from a stream. It may read further than the term that it gives. It is not
// safe for concurrent use.
type Decoder struct {
	// Options are those of the next call of Decode. Limits.Bytes bounds each term. Without Atoms the
	// Decoder has a table of its own.
	Options DecodeOptions

	r      io.Reader
	packet int
	atoms  *AtomTable
	decode DecodeOptions // in force
	buf    []byte
	start  int   // of what was read and not decoded
	err    error // why nothing more can be read
}

// NewDecoder gives a Decoder that reads from r. packet is the number of bytes of the length before
// each term, as for NewEncoder.
func NewDecoder(r io.Reader, packet int) *Decoder {
	return &Decoder{r: r, packet: packet, atoms: NewAtomTable(0)}
}

// Decode reads the next term into the value that v points to, as Unmarshal does. It waits for the
// reader until the term is complete. At the end of the stream the error is io.EOF, within a term
// one that is io.ErrUnexpectedEOF. After a term that does not fit v, or is malformed in a packet
// with a length, the next call reads the next one; after any other error each call gives the same
// again. A term over a limit is a *LimitError. With the option Alias what v gets is valid until the
// next call.
func (d *Decoder) Decode(v any) error {
	if d.err != nil {
		return d.err
	}
	if d.decode = d.Options.inForce(); d.decode.Atoms == nil {
		d.decode.Atoms = d.atoms
	}
	var whole []byte
	err := checkPacket(d.packet)
	switch {
	case err != nil:
	case d.packet > 0:
		whole, err = d.measured(d.packet)
	default:
		whole, err = d.term()
	}
	if err != nil {
		d.err = err
		return err
	}
	return d.decode.unmarshalVersioned(whole, v)
}

// measured reads a packet whose length has n bytes.
func (d *Decoder) measured(n int) ([]byte, error) {
	if err := d.fill(n); err != nil {
		return nil, err
	}
	announced := uint64(0) // 4 bytes do not fit an int of 32 bits, nor does their sum with n
	for _, x := range d.rest()[:n] {
		announced = announced<<8 | uint64(x)
	}
	if announced > uint64(min(d.decode.Limits.Bytes, math.MaxInt-n)) {
		return nil, &LimitError{Limit: "Bytes", Max: d.decode.Limits.Bytes}
	}
	size := int(announced)
	if err := d.fill(n + size); err != nil {
		return nil, err
	}
	packet := d.rest()[n : n+size]
	d.start += n + size
	return packet, nil
}

// term reads a term that nothing tells the length of.
func (d *Decoder) term() ([]byte, error) {
	if err := d.fill(2); err != nil {
		return nil, err
	}
	c := NewCursor(d.rest())
	if err := c.Version(); err != nil {
		return nil, err
	}
	if tag, _ := c.Peek(); tag == TagCompressed {
		return d.compressed()
	}
	for left := 1; left > 0; {
		next, kids, err := c.head(c.off)
		switch {
		case errors.Is(err, ErrTruncated):
			if err := d.fill(c.off + 1 + c.Len()); err != nil {
				return nil, err
			}
			c.b = d.rest()
			continue
		case err != nil:
			return nil, c.locate(1, c.off, err)
		}
		left += kids - 1
		if c.off = next; c.off > d.decode.Limits.Bytes {
			return nil, c.fail(1, &LimitError{Limit: "Bytes", Max: d.decode.Limits.Bytes})
		}
	}
	d.start += c.off
	return c.b[:c.off:c.off], nil
}

// compressed reads a compressed term, and gives it inflated.
func (d *Decoder) compressed() ([]byte, error) {
	if err := d.fill(compressedHeader); err != nil {
		return nil, err
	}
	head := append([]byte(nil), d.rest()[:compressedHeader]...)
	d.start += compressedHeader
	return inflateFrom(head, byteReader{d}, d.decode.Limits.Decompressed)
}

// rest is what was read and not decoded.
func (d *Decoder) rest() []byte { return d.buf[d.start:] }

// fill reads until n bytes are there, or more.
func (d *Decoder) fill(n int) error {
	for len(d.rest()) < n {
		if n-4 > d.decode.Limits.Bytes {
			return &LimitError{Limit: "Bytes", Max: d.decode.Limits.Bytes}
		}
		if d.start > 0 && (d.start == len(d.buf) || cap(d.buf)-len(d.buf) == 0) {
			rest := copy(d.buf, d.rest())
			d.buf, d.start = d.buf[:rest], 0
			if rest == 0 && cap(d.buf) > keptBytes {
				d.buf = nil
			}
		}
		if len(d.buf) == cap(d.buf) { // twice as much: memory for what has come, not for what was announced
			larger := make([]byte, len(d.buf), max(4096, 2*cap(d.buf)))
			copy(larger, d.buf)
			d.buf = larger
		}
		got, err := d.r.Read(d.buf[len(d.buf):cap(d.buf)])
		d.buf = d.buf[:len(d.buf)+got]
		switch {
		case len(d.rest()) >= n:
		case err == io.EOF && len(d.rest()) == 0:
			return io.EOF
		case err == io.EOF:
			return ErrTruncated
		case err != nil:
			return err
		}
	}
	return nil
}

// A byteReader gives a Decoder's bytes one by one, so that nobody reads further than he has to.
type byteReader struct{ d *Decoder }

// ReadByte gives the next byte.
func (r byteReader) ReadByte() (byte, error) {
	if err := r.d.fill(1); err != nil {
		return 0, err
	}
	x := r.d.rest()[0]
	r.d.start++
	return x, nil
}

// Read gives what has been read.
func (r byteReader) Read(p []byte) (int, error) {
	if err := r.d.fill(1); err != nil {
		return 0, err
	}
	n := copy(p, r.d.rest())
	r.d.start += n
	return n, nil
}
