package ei

// A notation is a way to write terms as text. L is what it keeps of a term while its parts are
// being written.
type notation[L any] interface {
	// open appends a term without parts and gives false, or what comes before the first part.
	open(b []byte, t Term) (out []byte, in L, hasParts bool)
	// next appends what comes before the next part, and gives that; false if there is none.
	next(b []byte, in *L) (out []byte, part Term, ok bool)
	// close appends what comes behind the last part.
	close(b []byte, in *L) []byte
	// isSame reports whether both are of one and the same term.
	isSame(a, b *L) bool
}

// appendNested appends the text of a term, which may be nested as deep as memory allows.
func appendNested[L any](b []byte, t Term, n notation[L]) []byte {
	b, in, ok := n.open(b, t)
	if !ok {
		return b
	}
	var above stack[L]
	for {
		var part Term
		if b, part, ok = n.next(b, &in); ok {
			var inner L
			if b, inner, ok = n.open(b, part); !ok {
				continue
			}
			above.push(in)
			if in = inner; !above.isRepeated(&in, n.isSame) {
				continue
			}
			b = append(b, "#Cyclic<>"...) // which is a mistake of the program
		}
		b = n.close(b, &in)
		if in, ok = above.pop(); !ok {
			return b
		}
	}
}
