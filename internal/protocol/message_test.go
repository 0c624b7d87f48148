package protocol

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/nodes/dist"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	require.NoError(t, err)
	return b
}

// messageVectors are the bytes of each handshake message, by hand from the
// manual's layouts. tail: whether bytes after it are ignored (or belong to it).
var messageVectors = map[string]struct {
	hex  string
	want any
	tail bool
}{
	"name 6": {
		"4e 0000000407074f9c 65b0a2c1 0007 676f40686f7374",
		Name{Version: 6, Flags: 0x407074F9C, Creation: 0x65B0A2C1, Name: "go@host"}, true,
	},
	"name 6 dynamic": {
		"4e 0000000607074f9c 00000000 0004 686f7374",
		Name{Version: 6, Flags: 0x607074F9C, Name: "host"}, true,
	},
	"name 5":          {"6e 0005 07074f9c 676f40686f7374", Name{Version: 5, Flags: 0x7074F9C, Name: "go@host"}, false},
	"ok":              {"73 6f6b", StatusMessage{Status: StatusOK}, false},
	"ok_simultaneous": {"73 6f6b5f73696d756c74616e656f7573", StatusMessage{Status: StatusOKSimultaneous}, false},
	"nok":             {"73 6e6f6b", StatusMessage{Status: StatusNok}, false},
	"not_allowed":     {"73 6e6f745f616c6c6f776564", StatusMessage{Status: StatusNotAllowed}, false},
	"alive":           {"73 616c697665", StatusMessage{Status: StatusAlive}, false},
	"true":            {"73 74727565", StatusMessage{Status: StatusTrue}, false},
	"false":           {"73 66616c7365", StatusMessage{Status: StatusFalse}, false},
	"a short status":  {"73 78", StatusMessage{Status: "x"}, false},
	"a status of the future": {
		"73 6c61746572", StatusMessage{Status: "later"}, false,
	},
	"named": {
		"73 6e616d65643a 0006 583140686f73 00000102",
		StatusMessage{Status: StatusNamed, Name: "X1@hos", Creation: 0x102}, true,
	},
	"challenge 6": {
		"4e 0000000d07df7fbd 01020304 65b0a2c1 0007 657240686f7374",
		Challenge{Version: 6, Flags: 0xD07DF7FBD, Challenge: 0x01020304, Creation: 0x65B0A2C1, Name: "er@host"}, true,
	},
	"challenge 5": {
		"6e 0005 00df7fbd 01020304 657240686f7374",
		Challenge{Version: 5, Flags: 0xDF7FBD, Challenge: 0x01020304, Name: "er@host"}, false,
	},
	"complement": {"63 00000004 65b0a2c1", Complement{Flags: 0x400000000, Creation: 0x65B0A2C1}, false},
	"reply": {
		"72 01020304 000102030405060708090a0b0c0d0e0f",
		Reply{Challenge: 0x01020304, Digest: [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}, false,
	},
	"ack": {"61 000102030405060708090a0b0c0d0e0f", [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, false},
}

// parseAs parses p as the kind of message that want is.
func parseAs(p []byte, want any) (any, error) {
	switch want.(type) {
	case Name:
		return ParseName(p)
	case StatusMessage:
		return ParseStatus(p)
	case Challenge:
		return ParseChallenge(p)
	case Complement:
		return ParseComplement(p)
	case Reply:
		return ParseReply(p)
	default:
		return ParseAck(p)
	}
}

func appendAs(b []byte, m any) ([]byte, error) {
	switch m := m.(type) {
	case Name:
		return AppendName(b, m)
	case StatusMessage:
		return AppendStatus(b, m)
	case Challenge:
		return AppendChallenge(b, m)
	case Complement:
		return AppendComplement(b, m), nil
	case Reply:
		return AppendReply(b, m), nil
	default:
		return AppendAck(b, m.([16]byte)), nil
	}
}

func TestMessageVectors(t *testing.T) {
	for name, v := range messageVectors {
		t.Run(name, func(t *testing.T) {
			p := unhex(t, v.hex)
			got, err := parseAs(p, v.want)
			require.NoError(t, err)
			require.Equal(t, v.want, got)

			b, err := appendAs([]byte("before"), v.want)
			require.NoError(t, err)
			require.Equal(t, append([]byte("before"), p...), b)

			if v.tail {
				got, err = parseAs(append(p[:len(p):len(p)], 0, 0xFF, 'x'), v.want)
				require.NoError(t, err, "bytes behind the message must be ignored")
				require.Equal(t, v.want, got)
				for n := range len(p) {
					got, err := parseAs(p[:n], v.want)
					require.True(t, err != nil || got != v.want, "first %d bytes of %x", n, p)
				}
			} else {
				got, err = parseAs(append(p[:len(p):len(p)], 0), v.want)
				require.True(t, err != nil || got != v.want, "a further byte must not be ignored")
			}
		})
	}
}

func TestFixedSizes(t *testing.T) {
	for _, name := range []string{"complement", "reply", "ack"} {
		v := messageVectors[name]
		p := append(unhex(t, v.hex), 0)
		for n := range len(p) + 1 {
			if _, err := parseAs(p[:n], v.want); n != len(p)-1 {
				require.ErrorIs(t, err, dist.ErrMalformed, "%s of %d bytes", name, n)
			}
		}
	}
}

func TestMalformedMessages(t *testing.T) {
	tests := map[string]struct {
		hex  string
		kind any
		err  error
	}{
		"empty name":                  {"", Name{}, dist.ErrMalformed},
		"name with another tag":       {"4d 0000000407074f9c 65b0a2c1 0007 676f40686f7374", Name{}, dist.ErrMalformed},
		"version 5 name, other tag":   {"4d 0005 07074f9c 676f40686f7374", Name{}, dist.ErrMalformed},
		"version 5 name, cut":         {"6e 0005 07074f", Name{}, dist.ErrMalformed},
		"name length beyond the end":  {"4e 0000000407074f9c 65b0a2c1 ffff 676f40686f7374", Name{}, dist.ErrMalformed},
		"name cut to nothing":         {"4e 0000000407074f9c 65b0a2c1 0000", Name{}, dist.ErrInvalidName},
		"host where a name is due":    {"4e 0000000407074f9c 65b0a2c1 0004 686f7374", Name{}, dist.ErrInvalidName},
		"name where a host is due":    {"4e 0000000607074f9c 00000000 0007 676f40686f7374", Name{}, dist.ErrInvalidName},
		"version 4 name":              {"6e 0004 07074f9c 676f40686f7374", Name{}, dist.ErrMalformed},
		"version 5 name with a NUL":   {"6e 0005 07074f9c 676f40686f737400", Name{}, dist.ErrInvalidName},
		"status without text":         {"73", StatusMessage{}, dist.ErrMalformed},
		"named without name":          {"73 6e616d65643a", StatusMessage{}, dist.ErrMalformed},
		"named without creation":      {"73 6e616d65643a 0006 583140686f73 000001", StatusMessage{}, dist.ErrMalformed},
		"named with a host only":      {"73 6e616d65643a 0004 686f7374 00000001", StatusMessage{}, dist.ErrInvalidName},
		"challenge with a bad name":   {"4e 0000000d07df7fbd 01020304 65b0a2c1 0002 6572", Challenge{}, dist.ErrInvalidName},
		"challenge version 7":         {"6e 0007 00df7fbd 01020304 657240686f7374", Challenge{}, dist.ErrMalformed},
		"challenge of another tag":    {"73 6f6b", Challenge{}, dist.ErrMalformed},
		"version 5 challenge, other":  {"4d 0005 00df7fbd 01020304 657240686f7374", Challenge{}, dist.ErrMalformed},
		"ack of another tag":          {"72 000102030405060708090a0b0c0d0e0f", [16]byte{}, dist.ErrMalformed},
		"reply of another tag":        {"61 01020304 000102030405060708090a0b0c0d0e0f", Reply{}, dist.ErrMalformed},
		"complement of another tag":   {"43 00000004 65b0a2c1", Complement{}, dist.ErrMalformed},
		"status of another tag":       {"53 6f6b", StatusMessage{}, dist.ErrMalformed},
		"challenge cut in its header": {"6e 0005 00df", Challenge{}, dist.ErrMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parseAs(unhex(t, tt.hex), tt.kind)
			require.ErrorIs(t, err, tt.err)
		})
	}
}

func TestAppendRefusesBadNames(t *testing.T) {
	long := strings.Repeat("x", 1<<16)
	for _, m := range []any{
		Name{Version: 6, Name: long}, Challenge{Version: 6, Name: long}, StatusMessage{Status: StatusNamed, Name: long},
	} {
		_, err := appendAs(nil, m)
		require.ErrorIs(t, err, dist.ErrTooLong, "%T", m)
	}
	_, err := AppendName(nil, Name{Version: 6, Name: long[1:]})
	require.NoError(t, err)
	for _, m := range []any{Name{Name: "a@b"}, Challenge{Version: 7, Name: "a@b"}} {
		_, err := appendAs(nil, m)
		require.ErrorIs(t, err, dist.ErrConfig, "%T", m)
	}
}

// TestDigest has values of erlang:md5(["secret" | integer_to_list(Challenge)])
// at both ends of the challenge's range.
func TestDigest(t *testing.T) {
	require.Equal(t, unhex(t, "175ec77a7f63082590987d0d8b051aff"), digest("secret", 0))
	require.Equal(t, unhex(t, "5dfd181e69aa587cc812eb333e6536b6"), digest("secret", 1<<32-1))
}

func digest(cookie string, challenge uint32) []byte {
	d := Digest(cookie, challenge)
	return d[:]
}

func drawName(t *rapid.T, label string) string {
	part := rapid.StringOfN(rapid.Rune().Filter(func(r rune) bool { return r != '@' && r != 0 && r != 0xFFFD }), 1, 100, -1)
	return part.Draw(t, label+" alive") + "@" + part.Draw(t, label+" host")
}

func drawOwnName(t *rapid.T, label string) string {
	alive := rapid.StringMatching(`[0-9A-Za-z_-]{1,100}`).Draw(t, label+" alive")
	return alive + "@" + rapid.StringMatching(`[!-?A-~]{1,100}`).Draw(t, label+" host")
}

func TestMessageRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		flags := dist.Flags(rapid.Uint64().Draw(t, "flags")) &^ dist.FlagNameMe
		u32 := rapid.Uint32()
		messages := []any{
			Name{Version: 6, Flags: flags, Creation: u32.Draw(t, "creation"), Name: drawName(t, "name")},
			Name{Version: 5, Flags: flags & lowFlags, Name: drawName(t, "name5")},
			StatusMessage{Status: StatusNamed, Name: drawName(t, "given"), Creation: u32.Draw(t, "given creation")},
			Challenge{Version: 6, Flags: flags, Challenge: u32.Draw(t, "challenge"), Creation: u32.Draw(t, "creation"), Name: drawName(t, "peer")},
			Challenge{Version: 5, Flags: flags & lowFlags, Challenge: u32.Draw(t, "challenge5"), Name: drawName(t, "peer5")},
			Complement{Flags: flags &^ lowFlags, Creation: u32.Draw(t, "creation")},
			Reply{Challenge: u32.Draw(t, "reply"), Digest: Digest("c", u32.Draw(t, "digest"))},
			Digest("c", u32.Draw(t, "ack")),
		}
		for _, m := range messages {
			p, err := appendAs(nil, m)
			require.NoError(t, err)
			require.LessOrEqual(t, len(p), MaxHandshakePacket)
			got, err := parseAs(p, m)
			require.NoError(t, err)
			require.Equal(t, m, got)
		}
	})
}
