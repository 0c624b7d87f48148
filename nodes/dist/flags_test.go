package dist

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func flagBits(bits ...int) (f Flags) {
	for _, bit := range bits {
		f |= 1 << bit
	}
	return f
}

func TestFlagWords(t *testing.T) {
	require.Equal(t, Flags(0x407074F9C), FlagsLibei)
	require.Equal(t, flagBits(2, 3, 4, 7, 8, 9, 10, 11, 14, 16, 17, 18, 24, 25, 26, 34), FlagsLibei)
	require.Equal(t, FlagsLibei|flagBits(5, 13, 19, 20, 22, 23, 32, 35, 37), FlagsDefault)
	require.Equal(t, flagBits(2, 4, 7, 8, 9, 10, 11, 16, 17, 18, 24), Mandatory25)
	require.Equal(t, Mandatory25|flagBits(25, 34), Mandatory26)
}

// A flag is a bit on the wire, even if neither of our words has it.
func TestFlagBits(t *testing.T) {
	flags := map[int]struct {
		flag Flags
		name string
	}{
		0:  {FlagPublished, "DFLAG_PUBLISHED"},
		1:  {flagAtomCache, "DFLAG_ATOM_CACHE"},
		2:  {flagExtendedReferences, "DFLAG_EXTENDED_REFERENCES"},
		3:  {FlagDistMonitor, "DFLAG_DIST_MONITOR"},
		4:  {flagFunTags, "DFLAG_FUN_TAGS"},
		5:  {FlagDistMonitorName, "DFLAG_DIST_MONITOR_NAME"},
		6:  {flagHiddenAtomCache, "DFLAG_HIDDEN_ATOM_CACHE"},
		7:  {flagNewFunTags, "DFLAG_NEW_FUN_TAGS"},
		8:  {flagExtendedPidsPorts, "DFLAG_EXTENDED_PIDS_PORTS"},
		9:  {flagExportPtrTag, "DFLAG_EXPORT_PTR_TAG"},
		10: {flagBitBinaries, "DFLAG_BIT_BINARIES"},
		11: {flagNewFloats, "DFLAG_NEW_FLOATS"},
		12: {FlagUnicodeIO, "DFLAG_UNICODE_IO"},
		13: {FlagDistHdrAtomCache, "DFLAG_DIST_HDR_ATOM_CACHE"},
		14: {flagSmallAtomTags, "DFLAG_SMALL_ATOM_TAGS"},
		16: {flagUTF8Atoms, "DFLAG_UTF8_ATOMS"},
		17: {FlagMapTag, "DFLAG_MAP_TAG"},
		18: {flagBigCreation, "DFLAG_BIG_CREATION"},
		19: {FlagSendSender, "DFLAG_SEND_SENDER"},
		20: {FlagBigSeqtraceLabels, "DFLAG_BIG_SEQTRACE_LABELS"},
		22: {FlagExitPayload, "DFLAG_EXIT_PAYLOAD"},
		23: {FlagFragments, "DFLAG_FRAGMENTS"},
		24: {FlagHandshake23, "DFLAG_HANDSHAKE_23"},
		25: {FlagUnlinkID, "DFLAG_UNLINK_ID"},
		26: {FlagMandatory25Digest, "DFLAG_MANDATORY_25_DIGEST"},
		32: {FlagSpawn, "DFLAG_SPAWN"},
		33: {FlagNameMe, "DFLAG_NAME_ME"},
		34: {FlagV4NC, "DFLAG_V4_NC"},
		35: {FlagAlias, "DFLAG_ALIAS"},
		37: {FlagAltactSig, "DFLAG_ALTACT_SIG"},
		38: {FlagNativeRecords, "DFLAG_NATIVE_RECORDS"},
	}
	for bit := range 64 {
		want, known := flags[bit]
		require.Equal(t, known, flagNames[bit] != "", "bit %d", bit)
		if known {
			require.Equal(t, flagBits(bit), want.flag, want.name)
			require.Equal(t, want.name, want.flag.String())
		}
	}
}

func TestMandatoryFlagsThatAreMissing(t *testing.T) {
	tests := map[string]struct {
		announced, mandatory, missing Flags
	}{
		"libei towards 29":            {FlagsLibei, Mandatory26, 0},
		"visible node of 25":          {0xD07DF7FBD, Mandatory26, 0},
		"visible node of 29":          {0x6D07DF7FBD, Mandatory26, 0},
		"digest absent":               {FlagsLibei &^ FlagMandatory25Digest, Mandatory26, 0},
		"digest, V4_NC and UNLINK_ID": {FlagMandatory25Digest | FlagV4NC | FlagUnlinkID, Mandatory26, 0},
		"no V4_NC towards 25":         {FlagsLibei &^ FlagV4NC, Mandatory25, 0},
		"no V4_NC towards 26":         {FlagsLibei &^ FlagV4NC, Mandatory26, FlagV4NC},
		"no UNLINK_ID towards 26":     {FlagsLibei &^ FlagUnlinkID, Mandatory26, FlagUnlinkID},
		"digest stands for MAP_TAG":   {FlagsLibei &^ FlagMapTag, Mandatory26, 0},
		"MAP_TAG and digest absent":   {FlagsLibei &^ (FlagMapTag | FlagMandatory25Digest), Mandatory25, FlagMapTag},
		"nothing announced":           {0, Mandatory25, Mandatory25},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.missing, tt.announced.Missing(tt.mandatory))
		})
	}
}

func TestFlagNames(t *testing.T) {
	require.Empty(t, Flags(0).Names())
	require.Equal(t, "0", Flags(0).String())
	require.Equal(t, "DFLAG_PUBLISHED|DFLAG_V4_NC", (FlagPublished | FlagV4NC).String())
	require.Equal(t, []string{"bit 15", "bit 63"}, Flags(1<<15|1<<63).Names())
	require.Equal(t, "DFLAG_MAP_TAG (mandatory since OTP 25), DFLAG_UNLINK_ID (mandatory since OTP 26), DFLAG_SPAWN",
		(FlagMapTag | FlagUnlinkID | FlagSpawn).Wanted())
	for _, name := range Flags(0x6D07DF7FBD).Names() {
		require.Contains(t, name, "DFLAG_", "a flag of a real node has no name")
	}
}

func TestNegotiate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := Flags(rapid.Uint64().Draw(t, "a")), Flags(rapid.Uint64().Draw(t, "b"))
		got := a.Negotiate(b)
		require.Equal(t, got, b.Negotiate(a))
		require.False(t, got.Has(FlagNameMe))
		require.True(t, a.Expand().Has(got) && b.Expand().Has(got))
		require.True(t, got.Has(a&b&^FlagNameMe))
		require.Zero(t, got.Missing(a.Expand()&b.Expand()&^FlagNameMe))
	})
}
