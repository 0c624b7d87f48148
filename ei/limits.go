package ei

import "math"

// Limits bound what Decode takes from its input. They are checked before anything is allocated. A
// field of zero stands for the default named; a negative one for no limit.
//
// There is no limit of depth: nothing in this package takes a goroutine's stack in proportion to
// it.
//
// In any case the tree of a term of n bytes takes at most 48 n bytes, garbage included, in the
// worst case (a map deep within the key of a map), and with Strict at most 96 n; for text, binaries
// and numbers it is little more than n. For a compressed term n is its length when inflated.
type Limits struct {
	// Bytes is the length of an encoded term, in its uncompressed form. The default is 2 GiB - 1,
	// the most that the C library takes.
	Bytes int
	// Atoms is how many atoms may be allocated for one term. Those in an AtomTable, and most that
	// were met in the term before, are not allocated again. The default is 1048576, as for all
	// atoms of a runtime system together.
	Atoms int
	// Memory is how many bytes of memory the Go value may take that Unmarshal makes of a term: a
	// few bytes of a peer's become a struct of any size, which is as large without contents, or an
	// array. All counts that is allocated for it: what slices have given up as they grew, too, but
	// not what an Unmarshaler takes by itself. The default is ten times the length of the term, and
	// 16 MiB if that is more; a tree of terms in the value (an any, a Term, a Tuple …) then has the
	// bound above, as with Decode. If Memory is set, trees count, also those of Decode, by an
	// estimate.
	Memory int
	// Decompressed is the length of a compressed term when inflated, in bytes. The default is 16 MiB.
	Decompressed int
}

// withDefaults gives the limits in force.
func (l Limits) withDefaults() Limits {
	set := func(v *int, def int) {
		switch {
		case *v == 0:
			*v = def
		case *v < 0:
			*v = math.MaxInt
		}
	}
	set(&l.Bytes, math.MaxInt32)
	set(&l.Atoms, 1<<20)
	set(&l.Decompressed, 16<<20)
	return l
}

// DecodeOptions say how terms are decoded. The zero DecodeOptions are safe for untrusted input.
// They are not changed, and may be shared; an AtomTable in them may not.
type DecodeOptions struct {
	// Limits bound what is taken from the input.
	Limits Limits
	// Alias makes binaries and bitstrings share the memory of the input (unless that was compressed),
	// which must then not change. Otherwise they are copied, and the input may be reused at once.
	Alias bool
	// Strict also refuses, with ErrRefused, what this package reads but not every runtime system of
	// OTP 25 to 29: FUN_EXT, closures with more than 255 free variables or an old index or hash of
	// more than 60 bits, integers of more than 524280 bytes, tuples of more than 16777215 elements,
	// an empty BIT_BINARY_EXT, a FLOAT_EXT of 31 characters, old forms of identifiers with a
	// creation over 3, native records, and maps with keys that some runtime system takes for the
	// same: 0.0 and -0.0, closures and references with little difference. It is no matter of Strict
	// that a runtime system also refuses identifiers of its own that it cannot have made. A runtime
	// system ends the connection over which it gets a term that it refuses. So decode strictly, and
	// encode again, what one node has sent and another one is to get.
	Strict bool
	// Records makes a Strict decoder take native records all the same: the nodes that read them
	// have FlagNativeRecords of package dist.
	Records bool
	// RefuseUnknown makes Unmarshal refuse, with ErrUnknownKey, a key that the struct has no field
	// for. Otherwise it is ignored, with its value.
	RefuseUnknown bool
	// LenientText makes Unmarshal take a list of characters (a charlist, with binaries in it or
	// not, as for unicode:characters_to_binary) where a string is due.
	LenientText bool
	// AtomText makes Unmarshal take an atom where a string is due.
	AtomText bool
	// Atoms, when not nil, keeps atoms from one call to the next; see AtomTable.
	Atoms *AtomTable

	budget *budget // see Shared; nil: each term has its own
}

// inForce gives the options with the limits in force.
func (o DecodeOptions) inForce() DecodeOptions {
	o.Limits = o.Limits.withDefaults()
	return o
}
