package transporttest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
)

// A pattern is an endless sequence of bytes in which every place looks different, so that changed,
// lost, repeated and moved bytes are detected and can be told apart.
type pattern uint64

// at fills p with the bytes of the pattern from offset off on.
func (s pattern) at(off int64, p []byte) {
	var words [4 << 10]byte
	for len(p) > 0 {
		skip := int(off % 8)
		n := min(skip+len(p), len(words))
		s.words(uint64(off)/8, words[:(n+7)/8*8])
		n = copy(p, words[skip:n])
		p, off = p[n:], off+int64(n)
	}
}

// words fills w, a whole number of words of at's own, from the i-th word on. The race detector
// would look at each word; it looks at what at copies.
//
//go:norace
func (s pattern) words(i uint64, w []byte) {
	for ; len(w) >= 8; i++ {
		binary.LittleEndian.PutUint64(w, s.word(i))
		w = w[8:]
	}
}

// word returns the i-th eight bytes (splitmix64).
func (s pattern) word(i uint64) uint64 {
	z := uint64(s)*0xda942042e4dd58b5 + (i+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (s pattern) bytes(off int64, n int) []byte {
	p := make([]byte, n)
	s.at(off, p)
	return p
}

// vector returns the first n MiB of the pattern in as many buffers.
func (s pattern) vector(n int) [][]byte {
	v := make([][]byte, n)
	for i := range v {
		v[i] = s.bytes(int64(i)<<20, 1<<20)
	}
	return v
}

// differs returns an error that says how got differs from the pattern from offset off on; nil if
// they are equal.
func (s pattern) differs(off int64, got []byte) error {
	const chunk = 4 << 10
	want := make([]byte, chunk)
	for i := 0; i < len(got); i += chunk {
		part := got[i:min(i+chunk, len(got))]
		s.at(off+int64(i), want[:len(part)])
		if bytes.Equal(part, want[:len(part)]) {
			continue
		}
		for j := range part {
			if part[j] != want[j] {
				return &difference{s.diagnose(off+int64(i+j), got[i+j:])}
			}
		}
	}
	return nil
}

// A difference is the error of bytes that differ from a pattern.
type difference struct{ text string }

func (d *difference) Error() string { return d.text }

// diagnose says what is wrong at offset at, the first wrong place: it looks for got elsewhere in
// the pattern.
func (s pattern) diagnose(at int64, got []byte) string {
	const probe, around = 12, 1 << 20
	if len(got) >= probe {
		begin := max(at-around, 0)
		near := s.bytes(begin, around+int(at-begin))
		if i := bytes.Index(near, got[:probe]); i >= 0 {
			switch found := begin + int64(i); {
			case found > at:
				return fmt.Sprintf("the %d bytes from offset %d on are missing, or come later", found-at, at)
			case found < at:
				return fmt.Sprintf("at offset %d come bytes that came %d earlier", at, at-found)
			}
		}
		after := s.bytes(at+1, min(len(got)-1, probe))
		if bytes.Equal(got[1:1+len(after)], after) {
			return fmt.Sprintf("the byte at offset %d is changed: %#02x was written, %#02x read", at, s.bytes(at, 1)[0], got[0])
		}
	}
	return fmt.Sprintf("at offset %d come other bytes: % x", at, got[:min(len(got), 16)])
}

// send writes n bytes of the pattern, in writes whose sizes next gives.
func (t *trial) send(ctx context.Context, s pattern, to *stream, n int, next func() int) error {
	buf := make([]byte, 0, 64<<10)
	for off := 0; off < n; {
		k := min(next(), n-off)
		if k > cap(buf) {
			buf = make([]byte, k)
		}
		s.at(int64(off), buf[:k])
		got, err := to.Writev(ctx, buf[:k])
		t.progress()
		if err != nil {
			return fmt.Errorf("writing %d bytes at offset %d: %w", k, off, err)
		}
		if got != int64(k) {
			return fmt.Errorf("a Writev of %d bytes counted %d without an error", k, got)
		}
		off += k
	}
	return nil
}

// receive reads n bytes, in reads whose sizes next gives, and checks that they are the pattern.
func (t *trial) receive(ctx context.Context, s pattern, from *stream, n int, next func() int) error {
	buf := make([]byte, 0, 64<<10)
	for off := 0; off < n; {
		k := min(next(), n-off)
		if k > cap(buf) {
			buf = make([]byte, k)
		}
		got, err := from.Read(ctx, buf[:k])
		t.progress()
		if e := s.differs(int64(off), buf[:got]); e != nil {
			return e
		}
		off += got
		if err != nil && (err != io.EOF || off < n) {
			return fmt.Errorf("after %d of %d bytes: %w", off, n, err)
		}
	}
	return nil
}

// each gives the same size every time.
func each(n int) func() int { return func() int { return n } }

// sizes gives sizes between 1 and limit, the small ones more often.
func sizes(seed uint64, limit int) func() int {
	i := uint64(0)
	return func() int {
		i++
		z := pattern(seed).word(i)
		return 1 + int((z>>8)%uint64(1+limit>>(z%12)))
	}
}
