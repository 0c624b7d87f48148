package ei

import "unsafe"

// All that this package does with package unsafe is here: terms that lie side by side in memory
// that was allocated once, where Go would allocate each of them as it becomes an interface value.
//
// An interface value is a word that tells the type and a pointer to the value, which nobody changes
// as long as the interface value is in use. So it may as well point into a larger piece of memory,
// if what it points to is never changed again.

// inPlace gives the term at p, which has the type of sample.
func inPlace(p unsafe.Pointer, sample Term) Term {
	(*[2]unsafe.Pointer)(unsafe.Pointer(&sample))[1] = p
	return sample
}

// Terms without contents, whose type inPlace takes: a slice of no elements in an interface would be
// allocated each time.
var (
	emptyList   Term = List{}
	emptyTuple  Term = Tuple{}
	emptyMap    Term = Map{}
	emptyBinary Term = Binary{}
	emptyString Term = String("")
	emptyAtom   Term = Atom("")
	zeroInt     Term = Int(0)
	zeroFloat   Term = Float(0)
)

// A header has room for the slice or the string that a term is.
type header struct {
	_ unsafe.Pointer
	_ [2]int
}

func (h *header) tuple(ts []Term) Term {
	*(*Tuple)(unsafe.Pointer(h)) = ts
	return inPlace(unsafe.Pointer(h), emptyTuple)
}

func (h *header) list(ts []Term) Term {
	*(*List)(unsafe.Pointer(h)) = ts
	return inPlace(unsafe.Pointer(h), emptyList)
}

func (h *header) binary(data []byte) Term {
	*(*Binary)(unsafe.Pointer(h)) = data
	return inPlace(unsafe.Pointer(h), emptyBinary)
}

// text makes a String of data, which must not be changed any more.
func (h *header) text(data []byte) Term {
	*(*String)(unsafe.Pointer(h)) = String(unsafe.String(unsafe.SliceData(data), len(data)))
	return inPlace(unsafe.Pointer(h), emptyString)
}

// atom makes an atom of text, which must not be changed any more.
func (h *header) atom(text []byte) *Atom {
	a := (*Atom)(unsafe.Pointer(h))
	*a = Atom(unsafe.String(unsafe.SliceData(text), len(text)))
	return a
}

// termOf gives the atom at a, which must not be changed any more.
func termOf(a *Atom) Term { return inPlace(unsafe.Pointer(a), emptyAtom) }

// intAt puts v in the place of p.
func intAt(p *int64, v int64) Term {
	*p = v
	return inPlace(unsafe.Pointer(p), zeroInt)
}

// floatAt puts f in the place of p.
func floatAt(p *int64, f float64) Term {
	*(*float64)(unsafe.Pointer(p)) = f
	return inPlace(unsafe.Pointer(p), zeroFloat)
}

// stringOf gives data as a string without a copy. It must not be changed any more.
func stringOf(data []byte) string { return unsafe.String(unsafe.SliceData(data), len(data)) }

// bytesOf gives the text of an atom without a copy. It must not be changed.
func bytesOf(a Atom) []byte { return unsafe.Slice(unsafe.StringData(string(a)), len(a)) }
