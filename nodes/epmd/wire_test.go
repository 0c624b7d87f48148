package epmd

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

// requests holds whole requests, header included, as erl, epmd and libei send them.
var requests = []struct {
	name string
	wire string
	req  request
}{
	{"ALIVE2_REQ of erl", "0010 78 04d2 4d 00 0006 0005 0003 616263 0000",
		request{tag: tagAlive2Req, reg: Registration{Name: "abc", Port: 1234, Type: TypeNormal, High: 6, Low: 5, Extra: []byte{}}}},
	{"ALIVE2_REQ of libei", "000e 78 ffff 68 00 0006 0006 0001 61 0000",
		request{tag: tagAlive2Req, reg: Registration{Name: "a", Port: 65535, Type: 'h', High: 6, Low: 6, Extra: []byte{}}}},
	{"ALIVE2_REQ with extra data", "0012 78 0001 48 07 0005 0005 0002 c3a5 0003 000102",
		request{tag: tagAlive2Req, reg: Registration{Name: "å", Port: 1, Type: TypeHidden, Protocol: 7, High: 5, Low: 5,
			Extra: []byte{0, 1, 2}}}},
	{"PORT2_REQ", "0004 7a 616263", request{tag: tagPort2Req, name: "abc"}},
	{"NAMES_REQ", "0001 6e", request{tag: tagNamesReq}},
	{"DUMP_REQ", "0001 64", request{tag: tagDumpReq}},
	{"KILL_REQ", "0001 6b", request{tag: tagKillReq}},
	{"STOP_REQ", "0004 73 616263", request{tag: tagStopReq, name: "abc"}},
}

func TestRequestBytes(t *testing.T) {
	for _, tt := range requests {
		t.Run(tt.name, func(t *testing.T) {
			wire := unhex(t, tt.wire)
			// The length in the table's hex is written by hand: check it first.
			require.Equal(t, len(wire)-headerSize, int(wire[0])<<8|int(wire[1]))
			require.Equal(t, wire, appendRequest(nil, tt.req))
			got, err := parseRequest(wire[headerSize:])
			require.NoError(t, err)
			require.Equal(t, tt.req, got)
		})
	}
}

func alive2(name string, extra string) []byte {
	return appendRequest(nil, request{tag: tagAlive2Req, reg: Registration{Name: name, Port: 7, Type: TypeNormal, High: 6, Low: 5,
		Extra: []byte(extra)}})[headerSize:]
}

// Others that are malformed are in the conversation with a real epmd.
func TestParseRequestMalformed(t *testing.T) {
	for name, body := range map[string][]byte{
		"empty": nil,
		"ALIVE2_REQ cut before the extra data's length": alive2("abc", "def")[:14],
		"ALIVE2_REQ with NUL before the name":           alive2("\x00b", ""),
		"PORT2_REQ with NUL before the name":            []byte("z\x00b"),
		"PORT2_REQ with a surrogate":                    []byte("z\xed\xa0\x80"),
	} {
		_, err := parseRequest(body)
		require.ErrorIs(t, err, errMalformed, name)
	}
}

var aliveAnswers = []struct {
	name string
	wire string
	ans  aliveAnswer
}{
	{"32 bits", "76 00 6a00fa8e", aliveAnswer{creation: 0x6a00fa8e}},
	{"16 bits", "79 00 0003", aliveAnswer{short: true, creation: 3}},
	{"32 bits refused", "76 01 00000063", aliveAnswer{result: 1, creation: 99}},
	{"16 bits refused", "79 01 0063", aliveAnswer{short: true, result: 1, creation: 99}},
}

func TestAliveAnswer(t *testing.T) {
	for _, tt := range aliveAnswers {
		t.Run(tt.name, func(t *testing.T) {
			wire := unhex(t, tt.wire)
			require.Equal(t, wire, appendAliveAnswer(nil, tt.ans))
			got, n, err := parseAliveAnswer(append(bytes.Clone(wire), "more"...))
			require.NoError(t, err)
			require.Equal(t, len(wire), n)
			require.Equal(t, tt.ans, got)
			for i := range wire {
				_, _, err := parseAliveAnswer(wire[:i])
				require.ErrorIs(t, err, errShort, "the first %d bytes", i)
			}
		})
	}
	_, _, err := parseAliveAnswer([]byte("w\x00"))
	require.ErrorIs(t, err, ErrProtocol)
	require.ErrorContains(t, err, "PORT2_RESP instead of ALIVE2_X_RESP")
}

var portAnswers = []struct {
	name string
	wire string
	info *NodeInfo
}{
	{"unknown", "77 01", nil},
	{"known", "77 00 04d2 4d 00 0006 0005 0001 61 0000",
		&NodeInfo{Name: "a", Port: 1234, Type: TypeNormal, High: 6, Low: 5, Extra: []byte{}}},
	{"with extra data", "77 00 0001 68 01 0005 0005 0002 c3a5 0003 000102",
		&NodeInfo{Name: "å", Port: 1, Type: 'h', Protocol: 1, High: 5, Low: 5, Extra: []byte{0, 1, 2}}},
}

func TestPortAnswer(t *testing.T) {
	for _, tt := range portAnswers {
		t.Run(tt.name, func(t *testing.T) {
			wire := unhex(t, tt.wire)
			require.Equal(t, wire, appendPortAnswer(nil, tt.info))
			got, found, n, err := parsePortAnswer(append(bytes.Clone(wire), "more"...))
			require.NoError(t, err)
			require.Equal(t, len(wire), n)
			require.Equal(t, tt.info != nil, found)
			if found {
				require.Equal(t, *tt.info, got)
			}
			for i := range wire {
				_, _, _, err := parsePortAnswer(wire[:i])
				require.ErrorIs(t, err, errShort, "the first %d bytes", i)
			}
		})
	}
}

func TestPortAnswerLies(t *testing.T) {
	tests := []struct{ name, wire, message string }{
		{"another tag", "76 00", "ALIVE2_X_RESP instead of PORT2_RESP"},
		{"an unknown tag", "00", "tag 0 instead of PORT2_RESP"},
		{"name too long", "77 00 04d2 4d 00 0006 0005 03fd", "1021 bytes of name"},
		{"extra data too long", "77 00 04d2 4d 00 0006 0005 0001 61 ffff", "65535 bytes of extra data"},
		{"port 0", "77 00 0000 4d 00 0006 0005 0001 61 0000", "port 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, _, err := parsePortAnswer(unhex(t, tt.wire))
			require.ErrorIs(t, err, ErrProtocol)
			require.ErrorContains(t, err, tt.message)
		})
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, tt := range requests {
		f.Add(unhex(f, tt.wire)[headerSize:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxRequest {
			return
		}
		q, err := parseRequest(b)
		if err != nil {
			require.ErrorIs(t, err, errMalformed)
			return
		}
		if q.name == "" && q.reg.Name == "" && len(q.reg.Extra) == 0 && (q.tag == tagStopReq || q.tag == tagAlive2Req) {
			return // accepted only for the bytes behind the empty name, which are not kept
		}
		again, err := parseRequest(appendRequest(nil, q)[headerSize:])
		require.NoError(t, err)
		require.Equal(t, q, again)
	})
}

func FuzzParseAliveAnswer(f *testing.F) {
	for _, tt := range aliveAnswers {
		f.Add(unhex(f, tt.wire))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, n, err := parseAliveAnswer(b)
		if err == nil {
			require.Equal(t, b[:n], appendAliveAnswer(nil, a))
		}
	})
}

func FuzzParsePortAnswer(f *testing.F) {
	for _, tt := range portAnswers {
		f.Add(unhex(f, tt.wire))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		info, found, n, err := parsePortAnswer(b)
		switch {
		case err != nil:
		case !found:
			require.Equal(t, 2, n)
		default:
			require.Equal(t, b[:n], appendPortAnswer(nil, &info))
		}
	})
}
