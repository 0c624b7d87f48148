package ei

import "fmt"

// Pid is a process identifier. It is comparable with ==. The C library's name is erlang_pid. See
// erl_ext_dist, NEW_PID_EXT.
type Pid struct {
	Node     Atom   // where the process is
	ID       uint32 // "num" in C
	Serial   uint32 // continues ID when that has no more bits
	Creation uint32 // of the incarnation of Node; no incarnation has 0
}

// Port is a port identifier. Compare two with Identical: == also distinguishes the form of OTP 26
// and later (V4_PORT_EXT for every port) from the shorter form, since each is sent back as it came.
// The C library's name is erlang_port. See erl_ext_dist, NEW_PORT_EXT, V4_PORT_EXT.
type Port struct {
	Node     Atom   // where the port is
	ID       uint64 // up to 28 bits before OTP 24
	Creation uint32 // of the incarnation of Node
	long     bool   // it came as V4_PORT_EXT, though its ID has at most shortPortBits
}

// shortPortBits is the number of bits of the identifier in a NEW_PORT_EXT.
const shortPortBits = 28

// Ref is a reference. It is comparable with ==, when the unused words of ID are zero. The C
// library's name is erlang_ref. See erl_ext_dist, NEWER_REFERENCE_EXT.
type Ref struct {
	Node     Atom      // where the reference was made
	Creation uint32    // of the incarnation of Node
	Len      uint8     // words used of ID: 1 to 5
	ID       [5]uint32 // in the order of the wire; Erlang prints the last one first
}

// Fun is a closure: a fun that was made in a function's body, with the values it captured. Only a
// node that has the same version of the module can call it. The C library's name is erlang_fun. See
// erl_ext_dist, NEW_FUN_EXT, FUN_EXT.
type Fun struct {
	// 0 to 255; -1 for the FUN_EXT of old nodes, which has neither Arity, Uniq nor Index
	Arity    int
	Module   Atom     // where its code is
	Index    uint32   // in the module's table of funs
	Uniq     [16]byte // MD5 of the significant parts of the module's file
	OldIndex int64    // the index of FUN_EXT
	OldUniq  int64    // the hash of FUN_EXT: of the fun's parse tree
	Pid      Pid      // the process that made it
	Free     []Term   // the values it captured
}

// Export is an external fun, as fun lists:map/2. See erl_ext_dist, EXPORT_EXT.
type Export struct {
	Module, Function Atom  // its name
	Arity            uint8 // the number of its arguments
}

func (Pid) isTerm()    {}
func (Port) isTerm()   {}
func (Ref) isTerm()    {}
func (Fun) isTerm()    {}
func (Export) isTerm() {}

// MarshalText gives the pid as AppendText does: so it is in JSON, and the key of an object there.
func (t Pid) MarshalText() ([]byte, error) { return AppendText(nil, t), nil }

// UnmarshalText reads what MarshalText gives. The error is Parse's, or ErrType for another
// kind of term.
func (t *Pid) UnmarshalText(text []byte) (err error) {
	*t, err = parsed[Pid](text)
	return err
}

// MarshalText gives the port identifier as AppendText does: so it is in JSON, and the
// key of an object there.
func (t Port) MarshalText() ([]byte, error) { return AppendText(nil, t), nil }

// UnmarshalText reads what MarshalText gives. The error is Parse's, or ErrType for another
// kind of term.
func (t *Port) UnmarshalText(text []byte) (err error) {
	*t, err = parsed[Port](text)
	return err
}

// MarshalText gives the reference as AppendText does: so it is in JSON, and the
// key of an object there.
func (t Ref) MarshalText() ([]byte, error) { return AppendText(nil, t), nil }

// UnmarshalText reads what MarshalText gives. The error is Parse's, or ErrType for another
// kind of term.
func (t *Ref) UnmarshalText(text []byte) (err error) {
	*t, err = parsed[Ref](text)
	return err
}

// parsed reads the text of a T.
func parsed[T Term](text []byte) (v T, err error) {
	t, err := Parse(string(text))
	if err == nil {
		var ok bool
		if v, ok = t.(T); !ok {
			err = fmt.Errorf("%w: %s where a %T is due", ErrType, Brief(t, maxLogged), v)
		}
	}
	return v, err
}
