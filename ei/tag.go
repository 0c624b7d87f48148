package ei

import "strconv"

// Tag is the first byte of an encoded term: it says what kind of term follows and how it is laid
// out. The names are those of the specification. See erl_ext_dist, "Introduction".
type Tag uint8

// The byte before every term that does not follow a distribution header, and the tags in order of
// their numbers. Those marked "received only" are written by old nodes, or by term_to_binary with
// an old minor version: they are read into the modern Go types, and written only by the appender
// named.
const (
	VersionMagic = 131 // "Introduction": the version number before a term

	TagRecordExt         Tag = 67  // RECORD_EXT (OTP 29): native record
	TagNewFloatExt       Tag = 70  // NEW_FLOAT_EXT
	TagBitBinaryExt      Tag = 77  // BIT_BINARY_EXT
	TagCompressed        Tag = 80  // "compressed term": only after the version byte
	TagAtomCacheRef      Tag = 82  // ATOM_CACHE_REF: only after a distribution header
	TagNewPidExt         Tag = 88  // NEW_PID_EXT
	TagNewPortExt        Tag = 89  // NEW_PORT_EXT
	TagNewerReferenceExt Tag = 90  // NEWER_REFERENCE_EXT
	TagSmallIntegerExt   Tag = 97  // SMALL_INTEGER_EXT
	TagIntegerExt        Tag = 98  // INTEGER_EXT
	TagFloatExt          Tag = 99  // FLOAT_EXT: received only
	TagAtomExt           Tag = 100 // ATOM_EXT: received only
	TagReferenceExt      Tag = 101 // REFERENCE_EXT: received only
	TagPortExt           Tag = 102 // PORT_EXT: received only
	TagPidExt            Tag = 103 // PID_EXT: received only
	TagSmallTupleExt     Tag = 104 // SMALL_TUPLE_EXT
	TagLargeTupleExt     Tag = 105 // LARGE_TUPLE_EXT
	TagNilExt            Tag = 106 // NIL_EXT
	TagStringExt         Tag = 107 // STRING_EXT
	TagListExt           Tag = 108 // LIST_EXT
	TagBinaryExt         Tag = 109 // BINARY_EXT
	TagSmallBigExt       Tag = 110 // SMALL_BIG_EXT
	TagLargeBigExt       Tag = 111 // LARGE_BIG_EXT
	TagNewFunExt         Tag = 112 // NEW_FUN_EXT
	TagExportExt         Tag = 113 // EXPORT_EXT
	TagNewReferenceExt   Tag = 114 // NEW_REFERENCE_EXT: received only
	TagSmallAtomExt      Tag = 115 // SMALL_ATOM_EXT: received only
	TagMapExt            Tag = 116 // MAP_EXT
	TagFunExt            Tag = 117 // FUN_EXT: received only, a Fun of arity -1
	TagAtomUTF8Ext       Tag = 118 // ATOM_UTF8_EXT
	TagSmallAtomUTF8Ext  Tag = 119 // SMALL_ATOM_UTF8_EXT
	TagV4PortExt         Tag = 120 // V4_PORT_EXT
	TagLocalExt          Tag = 121 // LOCAL_EXT: only after the version byte
)

// tagNames are the names of the tags as the specification writes them.
var tagNames = [256]string{
	TagRecordExt:         "RECORD_EXT",
	TagNewFloatExt:       "NEW_FLOAT_EXT",
	TagBitBinaryExt:      "BIT_BINARY_EXT",
	TagCompressed:        "COMPRESSED",
	TagAtomCacheRef:      "ATOM_CACHE_REF",
	TagNewPidExt:         "NEW_PID_EXT",
	TagNewPortExt:        "NEW_PORT_EXT",
	TagNewerReferenceExt: "NEWER_REFERENCE_EXT",
	TagSmallIntegerExt:   "SMALL_INTEGER_EXT",
	TagIntegerExt:        "INTEGER_EXT",
	TagFloatExt:          "FLOAT_EXT",
	TagAtomExt:           "ATOM_EXT",
	TagReferenceExt:      "REFERENCE_EXT",
	TagPortExt:           "PORT_EXT",
	TagPidExt:            "PID_EXT",
	TagSmallTupleExt:     "SMALL_TUPLE_EXT",
	TagLargeTupleExt:     "LARGE_TUPLE_EXT",
	TagNilExt:            "NIL_EXT",
	TagStringExt:         "STRING_EXT",
	TagListExt:           "LIST_EXT",
	TagBinaryExt:         "BINARY_EXT",
	TagSmallBigExt:       "SMALL_BIG_EXT",
	TagLargeBigExt:       "LARGE_BIG_EXT",
	TagNewFunExt:         "NEW_FUN_EXT",
	TagExportExt:         "EXPORT_EXT",
	TagNewReferenceExt:   "NEW_REFERENCE_EXT",
	TagSmallAtomExt:      "SMALL_ATOM_EXT",
	TagMapExt:            "MAP_EXT",
	TagFunExt:            "FUN_EXT",
	TagAtomUTF8Ext:       "ATOM_UTF8_EXT",
	TagSmallAtomUTF8Ext:  "SMALL_ATOM_UTF8_EXT",
	TagV4PortExt:         "V4_PORT_EXT",
	TagLocalExt:          "LOCAL_EXT",
}

// String gives the name of the tag as the specification writes it, or "tag N" for a number without
// one.
func (t Tag) String() string {
	if name := tagNames[t]; name != "" {
		return name
	}
	return "tag " + strconv.Itoa(int(t))
}

// IsInteger reports whether t begins an integer of any size.
func (t Tag) IsInteger() bool {
	return t == TagSmallIntegerExt || t == TagIntegerExt || t == TagSmallBigExt || t == TagLargeBigExt
}

// IsAtom reports whether t begins an atom, an ATOM_CACHE_REF included.
func (t Tag) IsAtom() bool {
	switch t {
	case TagSmallAtomUTF8Ext, TagAtomUTF8Ext, TagAtomExt, TagSmallAtomExt, TagAtomCacheRef:
		return true
	}
	return false
}

// IsTuple reports whether t begins a tuple.
func (t Tag) IsTuple() bool { return t == TagSmallTupleExt || t == TagLargeTupleExt }

// IsList reports whether t begins a list: NIL_EXT, STRING_EXT or LIST_EXT.
func (t Tag) IsList() bool { return t == TagNilExt || t == TagStringExt || t == TagListExt }

// IsFloat reports whether t begins a float.
func (t Tag) IsFloat() bool { return t == TagNewFloatExt || t == TagFloatExt }

// IsBinary reports whether t begins a binary or a bitstring.
func (t Tag) IsBinary() bool { return t == TagBinaryExt || t == TagBitBinaryExt }

// IsPid reports whether t begins a pid.
func (t Tag) IsPid() bool { return t == TagNewPidExt || t == TagPidExt }

// IsPort reports whether t begins a port identifier.
func (t Tag) IsPort() bool { return t == TagNewPortExt || t == TagV4PortExt || t == TagPortExt }

// IsRef reports whether t begins a reference.
func (t Tag) IsRef() bool {
	return t == TagNewerReferenceExt || t == TagNewReferenceExt || t == TagReferenceExt
}

// IsFun reports whether t begins a fun: a closure or an external fun.
func (t Tag) IsFun() bool { return t == TagNewFunExt || t == TagExportExt || t == TagFunExt }

// known reports whether a term may start with t.
func (t Tag) known() bool {
	switch {
	case t >= TagNewPidExt && t <= TagNewerReferenceExt, t >= TagSmallIntegerExt && t <= TagLocalExt:
		return true
	}
	return t == TagRecordExt || t == TagNewFloatExt || t == TagBitBinaryExt || t == TagCompressed || t == TagAtomCacheRef
}
