// Package ei encodes and decodes Erlang's external term format: the form in which Erlang nodes send
// terms to each other, which term_to_binary makes, and which the C library of the same name reads
// and writes.
//
// # Terms, tags, and the version byte
//
// A [Term] is an Erlang value: an atom, an integer, a list. Encoded, it is a [Tag] of one byte,
// which gives the kind and the layout, followed by the content; a tuple's elements follow their
// tuple, each a term itself. Most kinds have several tags, of which the shortest that fits is used.
// A term that stands alone begins with the version byte 131 ([VersionMagic]); within a message
// after a distribution header, and within a term, there is none. [Marshal] and [Decode] deal with a
// term and its version byte, [Append], [AppendTerm] and the [Cursor] with the term alone.
//
// # Three ways
//
// Go values: [Marshal] and [Append] write what a Go program has at hand, structs included, and
// [Unmarshal] reads terms into such values, straight from the bytes. A struct is a map with atoms
// as keys; by a tag it is a record, a property list or a struct of Elixir. Append has the table.
//
//	type Order struct {
//		SKU  string   `ei:"sku"`
//		Qty  int      // qty
//		Tags []string // tags
//		Note *string  // note: undefined or nil
//	}
//	var o Order
//	err := ei.Unmarshal(data, &o)        // #{sku => <<"A1">>, qty => 3, tags => [<<"x">>], note => undefined}
//
// [Optional], [Result] and [RegisterVariants] are for what Erlang says by atoms and tuples; package
// ei/elixir has the structs and the syntax of Elixir. An [Encoder] and a [Decoder] do the same over
// a stream, such as a port.
//
// The Term model: [Decode] gives a tree of Go values, [AppendTerm] writes it, for programs that
// pass on or look at terms of any kind. What a runtime system sent goes back bit for bit, since the
// model keeps the order of a map's pairs and whether a list of bytes came as a [String]. [Compare]
// and [Identical] know that these make no difference to Erlang. In the tree an integer is an [Int]
// or, beyond 64 bits, a [BigInt]. A list of bytes is a [String], in Latin-1 and not UTF-8; text
// with characters beyond 255 is a [List] of integers. A [Raw] is a term that is left encoded, to be
// passed on or decoded later. A Term may be part of a Go value, and in an any Unmarshal gives one.
//
// The cursor and the appenders: one call for each element, as in C, but bounds-checked, and without
// allocation. This is how the distribution protocol is read and written.
//
//	c := ei.NewCursor(msg)                  b = ei.AppendVersion(b)
//	err := c.Version()                      b = ei.AppendTupleHeader(b, 2)
//	arity, err := c.Tuple()                 b, err = ei.AppendPid(b, self)
//	from, err := c.Pid()                    b = ei.AppendInt(b, 42)
//	n, err := c.Int()
//
// In names, encode and decode are about syntax, bytes and terms; marshal is about the meaning of Go
// values. Append means that the result is dst with something appended, as in strconv; on an error
// dst is returned unchanged.
//
// # Text
//
// [AppendText], and the method String of every term, write Erlang; [Parse] reads it. Erlang's own
// parser reads that text too, except identifiers and closures, for which Erlang has no syntax:
// AppendText says what stands for them. Atoms are quoted if any release requires it: maybe and else
// are reserved words since OTP 27. Package ei/elixir does the same in Elixir, and [AppendJSON]
// writes JSON. [Format] makes a term of a text with directives, as C does, and [AppendPrinted]
// prints one as C does.
//
// # Untrusted input
//
// No input makes this package panic, loop for ever, or take much more memory than the input's own
// size. Each length is checked against the bytes present before anything is allocated; a term is
// walked through once before it is decoded, so that a malformed one costs only the walk. [Limits]
// bound size, atoms, and what a compressed term may inflate to, which can be a thousand times its
// length: set [Limits].Decompressed if the default, 16 MiB, is too much for a single term. A term
// may be nested as deep as its size allows, as in a runtime system: each function here, for text
// and for Go values, too, takes time and memory in proportion to the size, and a goroutine's stack
// no more than a few kilobytes. A program that walks over terms had better not recurse either:
// [Walk] does it. An error is a [SyntaxError], an [UnmarshalError], or for text a [TextError],
// which says where and why; the reasons are the Err variables.
//
// # Specifications
//
// The format is that of erl_ext_dist in the ERTS User's Guide, OTP 25 to 29: all its tags are read,
// and all that these releases send are written. The old forms (FLOAT_EXT, ATOM_EXT, PID_EXT …) are
// read into the same Go values as the modern ones. LOCAL_EXT is kept as it is, in a [Local].
// Compressed terms are inflated by Decode and [Decompress]. An ATOM_CACHE_REF is looked up in
// [Cursor].CacheRefs, which the reader of the distribution header sets; [Raw.AppendResolved] makes
// encoded terms independent of it, [Raw.RewriteAtoms] the other way round. Native records of OTP 29
// are [Record].
//
// This package differs from the C library: integers up to 32 bits are sent as INTEGER_EXT, as a
// runtime system does (in C, up to 28 bits); atoms are UTF-8 throughout, and one that is too long
// is an error, never truncated (C's ways: [AppendLong], [AppendAtomAs]); a reference has one word
// or more; a map with equal keys is refused, as by the runtime system.
//
// # The functions of the C library
//
// docs/reference/libei.md has them all, and what differs.
//
//	ei_x_new, ei_x_append, ei_x_encode_…          append to a []byte
//	ei_encode_version                             AppendVersion
//	ei_encode_long, _longlong; _ulong, _ulonglong AppendInt; AppendUint; as C: AppendLong; AppendULong
//	ei_encode_char                                AppendInt
//	ei_encode_big, ei_encode_bignum               AppendBig
//	ei_encode_double                              AppendFloat
//	ei_encode_boolean                             AppendBool
//	ei_encode_atom, _len; _as, _len_as            AppendAtom; AppendAtomAs
//	ei_encode_string, _len                        AppendString
//	ei_encode_binary; ei_encode_bitstring         AppendBinary, AppendBinaryHeader; AppendBitstring, BitstringOf
//	ei_encode_tuple_header, _list_, _map_         AppendTupleHeader, AppendListHeader, AppendMapHeader
//	ei_encode_empty_list                          AppendNil
//	ei_encode_pid, _port, _ref, _fun              AppendPid, AppendPort, AppendRef; of a Fun or an Export AppendTerm
//	ei_encode_trace; ei_decode_trace              Trace.AppendTerm; Trace.ReadTerm
//	ei_get_type                                   Cursor.Peek, and the methods Is… of Tag
//	ei_decode_version                             Cursor.Version
//	ei_decode_long, _longlong; _ulong, _ulonglong Cursor.Int; Cursor.Uint
//	ei_decode_char                                Cursor.Byte
//	ei_decode_big, ei_decode_bignum               Cursor.Big
//	ei_decode_double                              Cursor.Float
//	ei_decode_boolean                             Cursor.Bool
//	ei_decode_atom; _as                           Cursor.Atom, Cursor.AtomIs; Cursor.AtomAs
//	ei_decode_string                              Cursor.Str
//	ei_decode_iodata                              Cursor.AppendIodata
//	ei_decode_binary; ei_decode_bitstring         Cursor.Binary; Cursor.Bitstring
//	ei_decode_tuple_header, _list_, _map_         Cursor.Tuple, Cursor.List (and Nil for the tail), Cursor.Map
//	ei_decode_pid, _port, _ref, _fun              Cursor.Pid, Cursor.Port, Cursor.Ref, Cursor.Fun and Cursor.Export
//	ei_decode_ei_term                             Cursor.Peek, and the method for that tag
//	ei_skip_term                                  Cursor.Skip, Cursor.Raw
//	ei_x_format, ei_x_format_wo_ver               Format, then Marshal or AppendTerm
//	ei_print_term, ei_s_print_term                AppendPrinted; AppendText, Term.String
//	ei_cmp_pids, ei_cmp_ports, ei_cmp_refs        Pid.Compare, Port.Compare, Ref.Compare
//	ei_big_comp                                   Compare
//
// # Stability
//
// The names here are stable, but for the functions that package dist needs of an atom cache
// (those of Raw, and Cursor.CacheRefs), which may change
// before 1.0. What Append makes of a value stays; the texts of errors do not.
package ei
