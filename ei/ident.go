package ei

// Pid is a process identifier. It is comparable with ==. The C library's name is erlang_pid. See erl_ext_dist, NEW_PID_EXT.
type Pid struct {
	Node     Atom
	ID       uint32 // "num" in C
	Serial   uint32
	Creation uint32 // of the incarnation of Node; 0 is no incarnation's
}

// Port is a port identifier. It is comparable with ==. The C library's name is erlang_port. See erl_ext_dist,
// NEW_PORT_EXT, V4_PORT_EXT.
type Port struct {
	Node     Atom
	ID       uint64
	Creation uint32
}

// Ref is a reference. It is comparable with ==, when the unused words of ID are zero. The C library's name is erlang_ref.
// See erl_ext_dist, NEWER_REFERENCE_EXT.
type Ref struct {
	Node     Atom
	Creation uint32
	Len      uint8     // words used of ID: 1 to 5
	ID       [5]uint32 // in the order of the wire; Erlang prints the last one first
}

// Fun is a closure: a fun that was made in a function's body, with the values it took along. Only a node that has the
// same version of the module can call it. The C library's name is erlang_fun. See erl_ext_dist, NEW_FUN_EXT, FUN_EXT.
type Fun struct {
	Arity    int // 0 to 255; -1 for the FUN_EXT of old nodes, which has neither Arity, Uniq nor Index
	Module   Atom
	Index    uint32 // in the module's table of funs
	Uniq     [16]byte
	OldIndex int64
	OldUniq  int64
	Pid      Pid // the process that made it
	Free     []Term
}

// Export is an external fun, as fun lists:map/2. See erl_ext_dist, EXPORT_EXT.
type Export struct {
	Module, Function Atom
	Arity            uint8
}

func (Pid) isTerm()    {}
func (Port) isTerm()   {}
func (Ref) isTerm()    {}
func (Fun) isTerm()    {}
func (Export) isTerm() {}

func (t Pid) String() string    { return text(t) }
func (t Port) String() string   { return text(t) }
func (t Ref) String() string    { return text(t) }
func (t Fun) String() string    { return text(t) }
func (t Export) String() string { return text(t) }
