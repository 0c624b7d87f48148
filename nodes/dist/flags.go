package dist

import (
	"fmt"
	"math/bits"
	"strings"
)

// Flags is a word of distribution flags (capabilities), announced by both
// sides during the handshake. A connection may use what both have announced.
//
// See erl_dist_protocol, "Distribution Flags".
type Flags uint64

// The flags that may appear on the wire. Bits 15, 21 and 36 are used inside
// Erlang nodes only and have no name here.
const (
	// FlagPublished (DFLAG_PUBLISHED): a visible node, part of the global name
	// space. Without it the node is hidden.
	FlagPublished          Flags = 1 << 0
	flagAtomCache          Flags = 1 << 1 // DFLAG_ATOM_CACHE
	flagExtendedReferences Flags = 1 << 2 // DFLAG_EXTENDED_REFERENCES: references of several words
	FlagDistMonitor        Flags = 1 << 3 // DFLAG_DIST_MONITOR: process monitors
	flagFunTags            Flags = 1 << 4 // DFLAG_FUN_TAGS: funs have a tag of their own
	// FlagDistMonitorName (DFLAG_DIST_MONITOR_NAME): monitors of registered
	// names. A peer without this flag is sent no monitors of pids either: the C
	// library announces FlagDistMonitor, but cannot read monitors.
	FlagDistMonitorName   Flags = 1 << 5
	flagHiddenAtomCache   Flags = 1 << 6  // DFLAG_HIDDEN_ATOM_CACHE
	flagNewFunTags        Flags = 1 << 7  // DFLAG_NEW_FUN_TAGS: NEW_FUN_EXT
	flagExtendedPidsPorts Flags = 1 << 8  // DFLAG_EXTENDED_PIDS_PORTS: more bits in pids and ports
	flagExportPtrTag      Flags = 1 << 9  // DFLAG_EXPORT_PTR_TAG: EXPORT_EXT
	flagBitBinaries       Flags = 1 << 10 // DFLAG_BIT_BINARIES: BIT_BINARY_EXT
	flagNewFloats         Flags = 1 << 11 // DFLAG_NEW_FLOATS: NEW_FLOAT_EXT
	FlagUnicodeIO         Flags = 1 << 12 // DFLAG_UNICODE_IO: the io protocol carries Unicode
	// FlagDistHdrAtomCache (DFLAG_DIST_HDR_ATOM_CACHE): distribution headers
	// and atom caches instead of pass-through frames.
	FlagDistHdrAtomCache Flags = 1 << 13
	flagSmallAtomTags    Flags = 1 << 14 // DFLAG_SMALL_ATOM_TAGS: SMALL_ATOM_EXT
	flagUTF8Atoms        Flags = 1 << 16 // DFLAG_UTF8_ATOMS: ATOM_UTF8_EXT and SMALL_ATOM_UTF8_EXT
	FlagMapTag           Flags = 1 << 17 // DFLAG_MAP_TAG: MAP_EXT
	// flagBigCreation (DFLAG_BIG_CREATION): creations of 32 bits (NEW_PID_EXT,
	// NEW_PORT_EXT, NEWER_REFERENCE_EXT).
	flagBigCreation       Flags = 1 << 18
	FlagSendSender        Flags = 1 << 19 // DFLAG_SEND_SENDER: SEND_SENDER instead of SEND
	FlagBigSeqtraceLabels Flags = 1 << 20 // DFLAG_BIG_SEQTRACE_LABELS: any term as a trace label
	FlagExitPayload       Flags = 1 << 22 // DFLAG_EXIT_PAYLOAD: exit reasons travel as payload (PAYLOAD_EXIT and its kin)
	// FlagFragments (DFLAG_FRAGMENTS): large messages are cut. Without FlagDistHdrAtomCache frames
	// have headers, too, but these name no atoms.
	FlagFragments   Flags = 1 << 23
	FlagHandshake23 Flags = 1 << 24 // DFLAG_HANDSHAKE_23: handshake version 6
	FlagUnlinkID    Flags = 1 << 25 // DFLAG_UNLINK_ID: UNLINK_ID and UNLINK_ID_ACK instead of UNLINK
	// FlagMandatory25Digest (DFLAG_MANDATORY_25_DIGEST) stands for all of
	// Mandatory25; see Flags.Expand.
	FlagMandatory25Digest Flags = 1 << 26
	FlagSpawn             Flags = 1 << 32 // DFLAG_SPAWN: SPAWN_REQUEST and SPAWN_REPLY
	// FlagNameMe (DFLAG_NAME_ME) asks the accepting side for a dynamic node
	// name. It is a request, not a capability, and is never negotiated.
	FlagNameMe Flags = 1 << 33
	FlagV4NC   Flags = 1 << 34 // DFLAG_V4_NC: pids of 32+32 bits, ports of 64 bits, references of up to five words
	FlagAlias  Flags = 1 << 35 // DFLAG_ALIAS: ALIAS_SEND
	// FlagAltactSig (DFLAG_ALTACT_SIG): ALTACT_SIG_SEND, OTP 28 and later; from
	// OTP 30 on in place of FlagAlias.
	FlagAltactSig     Flags = 1 << 37
	FlagNativeRecords Flags = 1 << 38 // DFLAG_NATIVE_RECORDS: RECORD_EXT, OTP 29 and later
)

// FlagsLibei is the word that the C library erl_interface of OTP 25, 27 and 29
// announces: a hidden node that gets plain pass-through frames.
const FlagsLibei = flagExtendedReferences | FlagDistMonitor | flagFunTags |
	flagNewFunTags | flagExtendedPidsPorts | flagExportPtrTag | flagBitBinaries |
	flagNewFloats | flagSmallAtomTags | flagUTF8Atoms | FlagMapTag |
	flagBigCreation | FlagHandshake23 | FlagUnlinkID | FlagMandatory25Digest | FlagV4NC

// FlagsDefault is what a node announces by default: what the C library
// announces, and what is needed to serve monitors of names, spawn requests
// (rpc:call, erpc:call), aliases (gen_server:call), priority messages,
// messages of any size, and trace tokens.
const FlagsDefault = FlagsLibei | FlagDistMonitorName | FlagSpawn | FlagExitPayload |
	FlagSendSender | FlagAlias | FlagAltactSig | FlagDistHdrAtomCache | FlagFragments | FlagBigSeqtraceLabels

// Mandatory25 is the set without which a node of OTP 25 refuses its peer.
const Mandatory25 = flagExtendedReferences | flagFunTags | flagNewFunTags |
	flagExtendedPidsPorts | flagExportPtrTag | flagBitBinaries | flagNewFloats |
	flagUTF8Atoms | FlagMapTag | flagBigCreation | FlagHandshake23

// Mandatory26 is the set without which a node of OTP 26, 27, 28 or 29 refuses its peer.
const Mandatory26 = Mandatory25 | FlagUnlinkID | FlagV4NC

// flagNames holds the manual's names by bit.
var flagNames = [64]string{
	0: "DFLAG_PUBLISHED", 1: "DFLAG_ATOM_CACHE", 2: "DFLAG_EXTENDED_REFERENCES",
	3: "DFLAG_DIST_MONITOR", 4: "DFLAG_FUN_TAGS", 5: "DFLAG_DIST_MONITOR_NAME",
	6: "DFLAG_HIDDEN_ATOM_CACHE", 7: "DFLAG_NEW_FUN_TAGS", 8: "DFLAG_EXTENDED_PIDS_PORTS",
	9: "DFLAG_EXPORT_PTR_TAG", 10: "DFLAG_BIT_BINARIES", 11: "DFLAG_NEW_FLOATS",
	12: "DFLAG_UNICODE_IO", 13: "DFLAG_DIST_HDR_ATOM_CACHE", 14: "DFLAG_SMALL_ATOM_TAGS",
	16: "DFLAG_UTF8_ATOMS", 17: "DFLAG_MAP_TAG", 18: "DFLAG_BIG_CREATION",
	19: "DFLAG_SEND_SENDER", 20: "DFLAG_BIG_SEQTRACE_LABELS", 22: "DFLAG_EXIT_PAYLOAD",
	23: "DFLAG_FRAGMENTS", 24: "DFLAG_HANDSHAKE_23", 25: "DFLAG_UNLINK_ID",
	26: "DFLAG_MANDATORY_25_DIGEST", 32: "DFLAG_SPAWN", 33: "DFLAG_NAME_ME",
	34: "DFLAG_V4_NC", 35: "DFLAG_ALIAS", 37: "DFLAG_ALTACT_SIG", 38: "DFLAG_NATIVE_RECORDS",
}

// Has reports whether every flag of want is set.
func (f Flags) Has(want Flags) bool { return f&want == want }

// HasHeaders tells whether the frames of a connection with the negotiated flags f begin with
// distribution headers.
func (f Flags) HasHeaders() bool { return f&(FlagDistHdrAtomCache|FlagFragments) != 0 }

// Expand gives f with everything that FlagMandatory25Digest stands for.
func (f Flags) Expand() Flags {
	if f&FlagMandatory25Digest != 0 {
		f |= Mandatory25
	}
	return f
}

// Negotiate gives the flags that a connection may use: those that both sides
// have announced, short forms expanded, requests such as FlagNameMe left out.
func (f Flags) Negotiate(peer Flags) Flags { return f.Expand() & peer.Expand() &^ FlagNameMe }

// Missing gives the flags of mandatory that a peer announcing f lacks. A peer
// that announces FlagMandatory25Digest has all of Mandatory25.
func (f Flags) Missing(mandatory Flags) Flags { return mandatory &^ f.Expand() }

// Names gives the manual's names of the set flags, lowest bit first. A bit
// without a name in the manual is given as "bit 40".
func (f Flags) Names() []string {
	names := make([]string, 0, bits.OnesCount64(uint64(f)))
	for rest := f; rest != 0; rest &= rest - 1 {
		bit := bits.TrailingZeros64(uint64(rest))
		name := flagNames[bit]
		if name == "" {
			name = fmt.Sprintf("bit %d", bit)
		}
		names = append(names, name)
	}
	return names
}

// String gives the names joined with "|", or "0" for no flag.
func (f Flags) String() string {
	if f == 0 {
		return "0"
	}
	return strings.Join(f.Names(), "|")
}

// Wanted says in readable form since when the flags of a Missing set are
// mandatory: "DFLAG_MAP_TAG (mandatory since OTP 25), DFLAG_V4_NC (mandatory
// since OTP 26)". Flags that no OTP requires are named alone.
func (f Flags) Wanted() string {
	parts := make([]string, 0, bits.OnesCount64(uint64(f)))
	for rest := f; rest != 0; rest &= rest - 1 {
		flag := rest & -rest
		switch name := flag.String(); {
		case flag&Mandatory25 != 0:
			parts = append(parts, name+" (mandatory since OTP 25)")
		case flag&Mandatory26 != 0:
			parts = append(parts, name+" (mandatory since OTP 26)")
		default:
			parts = append(parts, name)
		}
	}
	return strings.Join(parts, ", ")
}
