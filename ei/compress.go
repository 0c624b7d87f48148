package ei

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"io"
)

// Decompress inflates a compressed term: b starts with the version byte and COMPRESSED, and holds
// nothing else. The result is the plain term, version byte first. limit bounds it, in bytes after
// the version byte; 0 stands for the default of Limits.Decompressed, a negative one for none.
// Memory is allocated as the data comes, not as its head announces. An input over the limit is a
// LimitError, one that cannot be inflated ErrCompressed; an input that is not a compressed term
// gives the errors of a Cursor, and bytes after the term are ErrTrailing. See erl_ext_dist,
// "Introduction".
func Decompress(b []byte, limit int) ([]byte, error) {
	c := NewCursor(b)
	if err := c.Version(); err != nil {
		return nil, err
	}
	plain, n, err := inflate(b, Limits{Decompressed: limit}.withDefaults().Decompressed)
	if err != nil {
		return nil, err
	}
	if n < len(b) {
		return nil, &SyntaxError{Offset: n, Err: ErrTrailing}
	}
	return plain, nil
}

// compressedHeader is the version byte, COMPRESSED and the size when inflated.
const compressedHeader = 1 + 1 + 4

// inflate gives the plain form of the compressed term at the start of b, and how much of b it took.
func inflate(b []byte, limit int) (plain []byte, n int, err error) {
	c := NewCursor(b)
	if len(b) >= 2 && Tag(b[1]) != TagCompressed {
		return nil, 0, c.fail(1, &TypeError{Want: "compressed term", Got: Tag(b[1])})
	}
	if len(b) < compressedHeader {
		return nil, 0, c.fail(1, ErrTruncated)
	}
	in := bytes.NewReader(b[compressedHeader:])
	plain, err = inflateFrom(b, in, limit)
	return plain, len(b) - in.Len(), err
}

// inflateFrom gives the plain form of a compressed term; head begins with its header, and in, which
// is an io.ByteReader, so that no more is read than belongs to the term, has the rest.
func inflateFrom(head []byte, in io.Reader, limit int) (plain []byte, err error) {
	c := NewCursor(head)
	size := uint64(binary.BigEndian.Uint32(head[2:]))
	if size > uint64(limit) {
		return nil, c.fail(1, &LimitError{Limit: "Decompressed", Max: limit})
	}
	z, err := zlib.NewReader(in)
	if err != nil {
		return nil, c.fail(1, ErrCompressed)
	}
	out := bytes.NewBuffer([]byte{VersionMagic})
	// The limit is one byte more than announced: a longer stream is noticed, and reading reaches
	// the end, where the checksum is verified.
	got, err := io.Copy(out, io.LimitReader(z, int64(size)+1))
	if err != nil || uint64(got) != size || z.Close() != nil {
		return nil, c.fail(1, ErrCompressed)
	}
	return out.Bytes(), nil
}
