package ei

// Term is an Erlang term: one of Atom, Int, BigInt, Float, Binary, BinaryKey, Bitstring, String,
// List, ImproperList, Tuple, Map, Pid, Port, Ref, Fun, Export, Record, Local and Raw, and no other.
// Every one of them is a value: nothing in this package changes a term that it was given, and terms
// may be shared between goroutines as long as nobody changes the slices in them.
//
// A term keeps what the runtime system wrote: the order of a map's pairs, a list of bytes that came
// as STRING_EXT. So a term that was decoded and is appended again gives the same bytes, unless it
// came in an old form (ATOM_EXT, say), which becomes the modern one. Two terms that are equal in
// Erlang can therefore differ in Go: use Compare, not ==, which panics if both are slices, as a
// Tuple is. == is safe if one side is an Atom, a number, a String, a Pid, a Port, a Ref or a
// BinaryKey. For the same reason use a Term as the key of a Go map only if it is sure to be one of
// these; find others with Identical.
type Term interface {
	isTerm()
	// String gives the term as Erlang text, as AppendText does.
	String() string
}

// Atom is an atom: at most 255 characters of UTF-8. Convert with string(a); the method String
// quotes it where Erlang would. See erl_ext_dist, SMALL_ATOM_UTF8_EXT.
type Atom string

// String is a list of 1 to 65535 bytes in the short form in which the runtime system sends it. In
// Erlang it equals the List of its bytes; a Go string that is meant as text is better sent as a
// Binary. See erl_ext_dist, STRING_EXT.
type String string

// List is the list of its bytes.
func (s String) List() List {
	l := make(List, len(s))
	for i := range len(s) {
		l[i] = Int(s[i])
	}
	return l
}

// Binary is a binary. Formatted by package fmt, also with %x, it is Erlang text, <<"hi">>;
// string(b) and []byte(b) are its bytes. See erl_ext_dist, BINARY_EXT.
type Binary []byte

// BinaryKey is a Binary that Go compares: what Unmarshal makes of one in the key of a
// map[ei.Term]V. Decode never makes it. See erl_ext_dist, BINARY_EXT.
type BinaryKey string

// Bitstring is a binary of whose last byte only the high bits are used. With 8 Bits it equals a
// Binary in Erlang, but has two encodings: AppendTerm and Marshal write it as it came, as
// BIT_BINARY_EXT; AppendBitstring, as C, BINARY_EXT. See erl_ext_dist, BIT_BINARY_EXT.
type Bitstring struct {
	Data []byte // its bytes
	// the number of bits used of the last byte of Data: 1 to 8; 0 only when Data is empty
	Bits uint8
}

// BitLen gives the length of the bitstring in bits.
func (t Bitstring) BitLen() int {
	if len(t.Data) == 0 {
		return 0
	}
	return (len(t.Data)-1)*8 + int(t.Bits)
}

// List is a proper list; nil and List{} are the empty list. It is sent as LIST_EXT, even where the
// runtime system would send a String. See erl_ext_dist, LIST_EXT, NIL_EXT.
type List []Term

// ImproperList is a list of one or more elements whose tail is not a list, as [a | b].
type ImproperList struct {
	Elems []Term // before the bar
	Tail  Term   // after it
}

// Tuple is a tuple. See erl_ext_dist, SMALL_TUPLE_EXT, LARGE_TUPLE_EXT.
type Tuple []Term

// Map is a map, with its pairs in the order of the wire (which has no meaning in Erlang). Keys must
// be distinct: a map in which they are not is ErrDuplicate to Decode and AppendTerm, as the runtime
// system refuses it. See erl_ext_dist, MAP_EXT.
type Map []Pair

// Pair is a key of a map with its value.
type Pair struct {
	Key, Value Term // any terms
}

// Record is a native record of OTP 29: a named set of fields, with its definition's module. (The
// records of earlier releases are plain tuples.) See erl_ext_dist, RECORD_EXT.
type Record struct {
	Module, Name Atom    // of the definition
	Exported     bool    // by the module, so that others may look into it
	Fields       []Field // in the order of the wire
}

// recordExported is the flag of an Exported record; the other bits are reserved, and refused.
const recordExported = 1

func (t Record) flags() byte {
	if t.Exported {
		return recordExported
	}
	return 0
}

// Field is a field of a native record.
type Field struct {
	Name  Atom // as in the definition
	Value Term // any term
}

// Get gives the value of the field name; nil, false when there is none.
func (t Record) Get(name Atom) (Term, bool) {
	for i := range t.Fields {
		if t.Fields[i].Name == name {
			return t.Fields[i].Value, true
		}
	}
	return nil, false
}

// Local is a term in the runtime system's own form, as term_to_binary(T, [local]) makes it since
// OTP 26: the bytes after the tag. Only the node that made it can read it, and it can stand only
// directly after the version byte, so it is a Term for Decode and Marshal, but never an element of
// another one. See erl_ext_dist, LOCAL_EXT.
type Local []byte

// Raw is one encoded term, without version byte: a term that was not decoded. It may stand wherever
// a Term may, and is appended as it is, unchecked, except that one with a version byte is ErrTag,
// and an empty one ErrTruncated. A Raw from a Cursor shares the memory of the input, and has been
// checked as by Skip. A Raw that holds an ATOM_CACHE_REF has a meaning only together with the
// distribution header that it came with.
type Raw []byte

func (Atom) isTerm()         {}
func (String) isTerm()       {}
func (Binary) isTerm()       {}
func (BinaryKey) isTerm()    {}
func (Bitstring) isTerm()    {}
func (List) isTerm()         {}
func (ImproperList) isTerm() {}
func (Tuple) isTerm()        {}
func (Map) isTerm()          {}
func (Record) isTerm()       {}
func (Local) isTerm()        {}
func (Raw) isTerm()          {}
