package ei

// The small parts of one term share slabs of memory: one allocation for many. A part that lives on
// keeps its slabs from being freed, with all that the parts beside it refer to; so slabs have only
// parts that are small as a whole, and the sizes bound that to a few kilobytes.
const (
	slabCells = 32 // elements of a list or tuple that is in a slab: all of them small, none of them with parts
	slabBytes = 64 // bytes of a binary, string or atom that is in a slab

	slabMaxCells   = 256  // elements of a slab
	slabMaxHeaders = 128  // headers of a slab
	slabMaxNumbers = 256  // numbers of a slab
	slabMaxBytes   = 2048 // bytes of a slab
)

// counts say how much there is in a term that may be put in slabs, at most.
type counts struct {
	atoms   int // in UTF-8, those that are met again included
	cells   int // elements of small lists and tuples
	headers int
	numbers int
	bytes   int // of small binaries, strings and atoms
}

// slabs are the slabs of a term that have room.
type slabs struct {
	want  counts // for parts that are still to come
	cells []Term // the rest of a slab
	bytes []byte // the rest of a slab

	headers                  []header
	numbers                  []int64
	usedHeaders, usedNumbers int
}

// A block is the slabs of a short term, in one.
type block struct {
	cells   [4]Term
	headers [4]header
	bytes   [32]byte
}

// start is for a term with that many parts.
func (s *slabs) start(n counts) {
	s.want = n
	if n.cells+n.headers > 4 && n.cells <= 4 && n.headers <= 4 && n.bytes <= 32 {
		b := new(block)
		s.cells, s.headers, s.bytes = b.cells[:], b.headers[:], b.bytes[:]
	}
}

func (s *slabs) header() *header {
	if s.usedHeaders == len(s.headers) {
		s.moreHeaders()
	}
	h := &s.headers[s.usedHeaders]
	s.usedHeaders++
	return h
}

func (s *slabs) moreHeaders() {
	n := max(1, min(s.want.headers, slabMaxHeaders))
	s.headers, s.usedHeaders = make([]header, n), 0
	s.want.headers -= n
}

func (s *slabs) number() *int64 {
	if s.usedNumbers == len(s.numbers) {
		s.moreNumbers()
	}
	p := &s.numbers[s.usedNumbers]
	s.usedNumbers++
	return p
}

func (s *slabs) moreNumbers() {
	n := max(1, min(s.want.numbers, slabMaxNumbers))
	s.numbers, s.usedNumbers = make([]int64, n), 0
	s.want.numbers -= n
}

// copy gives a copy of up to slabBytes bytes.
func (s *slabs) copy(data []byte) []byte {
	n := len(data)
	if len(s.bytes) < n {
		s.bytes = make([]byte, max(n, min(s.want.bytes, slabMaxBytes)))
	}
	c := s.bytes[:n:n]
	s.bytes = s.bytes[n:]
	s.want.bytes -= n
	copy(c, data)
	return c
}

// room gives n cells, up to slabCells, which remain unused until they are taken.
func (s *slabs) room(n int) []Term {
	if len(s.cells) < n {
		s.cells = make([]Term, max(n, min(s.want.cells, slabMaxCells)))
	}
	s.want.cells -= n
	return s.cells[:n:n]
}

func (s *slabs) takeRoom(n int) { s.cells = s.cells[n:] }

// apart gives a header and n elements outside of slabs, in one piece of memory if they are few.
func apart(n int) (*header, []Term) {
	switch {
	case n == 1:
		t := new(together[[1]Term])
		return &t.header, t.cells[:]
	case n == 2:
		t := new(together[[2]Term])
		return &t.header, t.cells[:]
	case n <= 4:
		t := new(together[[4]Term])
		return &t.header, t.cells[:n:n]
	case n <= 8:
		t := new(together[[8]Term])
		return &t.header, t.cells[:n:n]
	}
	return new(header), make([]Term, n)
}

type together[Cells any] struct {
	header header
	cells  Cells
}
