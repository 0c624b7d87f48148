package nested

// A Notation is a way to write terms, of type T, as text. L is what it keeps of a term while its
// parts are being written.
type Notation[T, L any] interface {
	// Open appends a term without parts and gives false, or what comes before the first part.
	Open(b []byte, t T) (out []byte, in L, hasParts bool)
	// Next appends what comes before the next part, and gives that; false if there is none.
	Next(b []byte, in *L) (out []byte, part T, ok bool)
	// Close appends what comes behind the last part.
	Close(b []byte, in *L) []byte
	// IsSame reports whether both are of one and the same term.
	IsSame(a, b *L) bool
}

// Append appends the text of a term, which may be nested as deep as memory allows.
func Append[T, L any](b []byte, t T, n Notation[T, L]) []byte {
	b, in, ok := n.Open(b, t)
	if !ok {
		return b
	}
	var above Stack[L]
	for {
		var part T
		if b, part, ok = n.Next(b, &in); ok {
			var inner L
			if b, inner, ok = n.Open(b, part); !ok {
				continue
			}
			above.Push(in)
			if in = inner; !above.IsRepeated(&in, n.IsSame) {
				continue
			}
			b = append(b, "#Cyclic<>"...) // which is a mistake of the program
		}
		b = n.Close(b, &in)
		if in, ok = above.Pop(); !ok {
			return b
		}
	}
}
