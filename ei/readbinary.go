package ei

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/big"
	"slices"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei/internal/nested"
)

// An innerBinary is a binary that is a segment of another one, into which it is written at once.
type innerBinary struct {
	start int // in the text
	bits  int // of the outermost binary, where this one begins
}

// binary reads << segments >>.
func (p *textParser) binary() (Term, error) {
	if err := p.Expect("<<"); err != nil {
		return nil, err
	}
	var w bitWriter
	var above nested.Stack[innerBinary]
	var in innerBinary
	for empty := true; ; {
		p.Space()
		switch {
		case empty && p.Accept(">>"):
		case p.Peek() == '<':
			above.Push(in)
			in = innerBinary{start: p.Pos, bits: w.len()}
			if err := p.Expect("<<"); err != nil {
				return nil, err
			}
			empty = true
			continue
		default:
			if err := p.segment(&w); err != nil {
				return nil, err
			}
			empty = false
			if p.Accept(",") {
				continue
			}
			if err := p.Expect(">>"); err != nil {
				return nil, err
			}
		}
		for { // the binary in is complete
			outer, ok := above.Pop()
			if !ok {
				return w.term(), nil
			}
			if err := p.endInner(&w, in); err != nil {
				return nil, err
			}
			in, empty = outer, false
			if p.Accept(",") {
				break
			}
			if err := p.Expect(">>"); err != nil {
				return nil, err
			}
		}
	}
}

// endInner reads what is specified for a binary within another one, and takes off what is beyond
// its size.
func (p *textParser) endInner(w *bitWriter, in innerBinary) error {
	spec, err := p.spec()
	if err != nil {
		return err
	}
	bad := func(reason string) error { return badSegment(in.start, reason) }
	unit := int64(1)
	switch spec.kind() {
	case "binary":
		unit = 8
	case "bitstring":
	default:
		return bad("a binary without /binary or /bitstring")
	}
	n := w.len() - in.bits
	if spec.size < 0 {
		if n%int(cmp.Or(spec.unit, unit)) != 0 {
			return bad("a part of a unit is left")
		}
		return nil
	}
	size, _ := spec.length(0, unit)
	if size > n {
		return bad("a binary shorter than its size")
	}
	w.truncate(in.bits + size)
	return nil
}

// Limits of the bytes of all segments of a text together: freeBytes, and bytesPerByte for each byte
// of text, so that they do not take much more memory than the text.
const (
	freeBytes    = 1 << 16
	bytesPerByte = 16
)

// segment reads a segment that is not a binary.
func (p *textParser) segment(w *bitWriter) error {
	start := p.Pos
	if p.Peek() == '"' {
		return p.textSegment(w, start)
	}
	switch x := p.Peek(); {
	case x == '-', x == '+', x == '$', x >= '0' && x <= '9':
	default:
		return p.Unexpected()
	}
	v, err := p.number()
	if err != nil {
		return err
	}
	spec, err := p.spec()
	if err != nil {
		return err
	}
	if err := spec.check(start); err != nil {
		return err
	}
	return p.put(w, start, v, spec)
}

// textSegment reads adjacent strings, each character of which is a segment. What is specified for
// them has to be right even if there are none, as Erlang has it.
func (p *textParser) textSegment(w *bitWriter, start int) error {
	var chars []rune
	for p.Accept(`"`) {
		p.Pos--
		add := func(r rune) error { chars = append(chars, r); return nil }
		if err := p.quoted('"', add); err != nil {
			return err
		}
	}
	spec, err := p.spec()
	if err != nil {
		return err
	}
	if err := spec.check(start); err != nil {
		return err
	}
	for _, r := range chars {
		if err := p.put(w, start, Int(r), spec); err != nil {
			return err
		}
	}
	return nil
}

// spec reads :Size/Type-Type.
func (p *textParser) spec() (segmentSpec, error) {
	spec := segmentSpec{size: -1}
	if p.Accept(":") {
		p.Space()
		size, err := p.natural()
		if err != nil {
			return spec, p.Bad("bad size")
		}
		spec.size = int64(size)
	}
	if !p.Accept("/") {
		return spec, nil
	}
	for {
		p.Space()
		start := p.Pos
		word := p.word()
		switch isKnown, against := spec.say(word); {
		case against != "":
			p.Pos = start
			return spec, p.Bad(word + " behind " + against)
		case isKnown:
		case word == "unit":
			if err := p.Expect(":"); err != nil {
				return spec, err
			}
			p.Space()
			unit, err := p.natural()
			if err != nil || unit < 1 || unit > 256 {
				return spec, p.Bad("unit not in 1 to 256")
			}
			if spec.unit != 0 && spec.unit != int64(unit) {
				return spec, p.Bad("two units")
			}
			spec.unit = int64(unit)
		default:
			p.Pos = start
			return spec, p.Unexpected()
		}
		if !p.Accept("-") {
			return spec, nil
		}
	}
}

func badSegment(start int, reason string) error {
	return &TextError{Offset: start, Reason: reason, Err: ErrText}
}

// check refuses what may not be specified for a segment, at start, that is a number or a text.
func (s *segmentSpec) check(start int) error {
	bad := func(reason string) error { return badSegment(start, reason) }
	switch s.kind() {
	case "utf8", "utf16", "utf32":
		if s.size >= 0 || s.unit > 0 {
			return bad("a Unicode character has neither size nor unit")
		}
	case "float":
		size, ok := s.length(64, 1)
		if !ok {
			return bad("a unit without a size")
		}
		if size != 64 && size != 32 {
			return bad("a float of neither 32 nor 64 bits")
		}
	case "binary", "bitstring":
		return bad("not a binary")
	default:
		size, ok := s.length(8, 1)
		switch {
		case !ok:
			return bad("a unit without a size")
		case size > maxSegmentBits:
			limit := &LimitError{Limit: "bits of a segment", Max: maxSegmentBits}
			return &TextError{Offset: start, Err: limit}
		case s.little() && size%8 != 0:
			return bad("little-endian in part of a byte")
		}
	}
	return nil
}

// put appends one number, for which spec is right.
func (p *textParser) put(w *bitWriter, start int, v Term, spec segmentSpec) error {
	bad := func(reason string) error { return badSegment(start, reason) }
	switch spec.kind() {
	case "utf8", "utf16", "utf32":
		i, ok := v.(Int)
		if !ok || i < 0 || i > utf8.MaxRune || !utf8.ValidRune(rune(i)) {
			return bad("not a Unicode character")
		}
		putUTF(w, rune(i), spec)
		return nil
	case "float":
		f, ok := toFloat(v)
		if !ok {
			return &TextError{Offset: start, Err: ErrFloat}
		}
		return putFloat(w, start, f, spec)
	}
	if _, ok := v.(Float); ok {
		return bad("a float without /float")
	}
	size, _ := spec.length(8, 1)
	p.made += (size + 7) / 8
	if most := freeBytes + bytesPerByte*p.Pos; p.made > most {
		return &TextError{Offset: start, Err: &LimitError{Limit: "bytes of binaries for so much text", Max: most}}
	}
	putInteger(w, v, size, spec.little())
	return nil
}

func putInteger(w *bitWriter, v Term, size int, little bool) {
	if i, ok := v.(Int); ok && size <= 64 && !little {
		w.bits(uint64(i), size)
		return
	}
	data := twosComplement(v, size)
	if little {
		slices.Reverse(data)
		w.bytes(data, size)
		return
	}
	if rest := size % 8; rest > 0 { // the unused bits are the high ones
		w.bits(uint64(data[0]), rest)
		data = data[1:]
	}
	w.bytes(data, 8*len(data))
}

// toFloat is a number as a float; false where it is too large.
func toFloat(v Term) (float64, bool) {
	switch v := v.(type) {
	case Float:
		return float64(v), true
	case Int:
		return float64(v), true
	case BigInt:
		f, _ := new(big.Float).SetInt(v.Big()).Float64()
		return f, !math.IsInf(f, 0)
	}
	return 0, false
}

// twosComplement gives the low size bits of an integer, big-endian, in as few bytes as they fit in.
func twosComplement(v Term, size int) []byte {
	data := make([]byte, (size+7)/8)
	if i, ok := v.(Int); ok {
		for k := len(data) - 1; k >= 0; k-- {
			data[k] = byte(i)
			i >>= 8 // an arithmetic shift repeats the sign
		}
		return data
	}
	b := v.(BigInt).Big()
	mod := new(big.Int).Lsh(big.NewInt(1), uint(8*len(data)))
	return b.Mod(b, mod).FillBytes(data)
}

func putFloat(w *bitWriter, start int, f float64, spec segmentSpec) error {
	var data []byte
	if size, _ := spec.length(64, 1); size == 64 {
		data = binary.BigEndian.AppendUint64(nil, math.Float64bits(f))
	} else if math.IsInf(float64(float32(f)), 0) {
		return &TextError{Offset: start, Err: ErrFloat}
	} else {
		data = binary.BigEndian.AppendUint32(nil, math.Float32bits(float32(f)))
	}
	if spec.little() {
		slices.Reverse(data)
	}
	w.bytes(data, 8*len(data))
	return nil
}

func putUTF(w *bitWriter, r rune, spec segmentSpec) {
	order := func(v uint64, n int) {
		if spec.little() {
			for ; n > 0; n -= 8 {
				w.bits(v, 8)
				v >>= 8
			}
			return
		}
		w.bits(v, n)
	}
	switch spec.kind() {
	case "utf8":
		var buf [utf8.UTFMax]byte
		n := utf8.EncodeRune(buf[:], r)
		w.bytes(buf[:n], 8*n)
	case "utf16":
		if hi, lo := utf16.EncodeRune(r); hi != utf8.RuneError {
			order(uint64(hi), 16)
			order(uint64(lo), 16)
			return
		}
		order(uint64(r), 16)
	case "utf32":
		order(uint64(r), 32)
	}
}
