package epmd

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var namesAnswers = []struct {
	name  string
	wire  string
	port  int
	names []NamePort
}{
	{"nobody", "\x00\x00\x11\x11", 4369, nil},
	{"the last port", "\x00\x00\xff\xff", 65535, nil},
	{"two", "\x00\x00\x11\x11name b at port 65535\nname å at port 1\n", 4369, []NamePort{{"b", 65535}, {"å", 1}}},
	{"a name that looks like a line", "\x00\x00\x00\x01name a at port 1 at port 2\n", 1, []NamePort{{"a at port 1", 2}}},
	{"names with ends of lines", "\x00\x00\x00\x01name a\nb at port 2\nname \n\n at port 3\nname c at port\n at port 4\n", 1,
		[]NamePort{{"a\nb", 2}, {"\n\n", 3}, {"c at port\n", 4}}},
	{"an empty name", "\x00\x00\x00\x01name  at port 2\n", 1, []NamePort{{"", 2}}},
}

func TestNamesAnswer(t *testing.T) {
	for _, tt := range namesAnswers {
		t.Run(tt.name, func(t *testing.T) {
			port, names, err := parseNames([]byte(tt.wire))
			require.NoError(t, err)
			require.Equal(t, tt.port, port)
			require.Equal(t, tt.names, names)
			b := appendListingPort(nil, port)
			for _, n := range names {
				b = appendNameLine(b, n.Name, n.Port)
			}
			require.Equal(t, tt.wire, string(b))
		})
	}
}

func TestNamesAnswerLies(t *testing.T) {
	for _, tt := range []struct{ name, wire, message string }{
		{"no port", "\x00\x00\x11", "a listing of 3 bytes"},
		{"a port out of range", "\x00\x01\x00\x00", "port 65536"},
		{"cut off", "\x00\x00\x11\x11name a at port 12", "cut off"},
		{"text instead of a port", "\x00\x00\x11\x11name a at port x\n", `line "name a at port x"`},
		{"a port beyond 16 bits", "\x00\x00\x11\x11name a at port 65536\n", "line"},
		{"another line", "\x00\x00\x11\x11HTTP/1.1 400 Bad Request\n", "line"},
		{"many lines", "\x00\x00\x11\x11name " + strings.Repeat("\n", 1<<20) + " at port 1\n", "line"},
		{"a name too long", "\x00\x00\x11\x11name " + strings.Repeat("x", 1021) + " at port 1\n", "line"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := parseNames([]byte(tt.wire))
			require.ErrorIs(t, err, ErrProtocol)
			require.ErrorContains(t, err, tt.message)
		})
	}
}

// What an end of a line within a name costs does not depend on how long the name is: a port mapper
// may send eight megabytes of them.
func TestNamesOfManyLines(t *testing.T) {
	took := func(name string) time.Duration {
		line := appendNameLine(nil, name, 1)
		b := append(appendListingPort(nil, 4369), bytes.Repeat(line, 1<<18/len(line))...)
		begin := time.Now()
		_, _, err := parseNames(b)
		require.NoError(t, err)
		return time.Since(begin)
	}
	short, long := time.Hour, time.Hour
	for range 8 { // the machine may be busy
		short = min(short, took(strings.Repeat("\n", 20)))
		long = min(long, took(strings.Repeat("\n", maxNameBytes)))
	}
	require.Less(t, long, 15*short)
}

var dumpAnswers = []struct {
	name string
	wire string
	dump Dump
}{
	{"nobody", "\x00\x00\x11\x11", Dump{Port: 4369}},
	{"active and unused", "\x00\x00\x11\x11active name     <b> at port 2, fd = 6\n\x00old/unused name <a>, port = 1, fd = 5 \n\x00",
		Dump{4369, []DumpEntry{{"b", 2, 6}}, []DumpEntry{{"a", 1, 5}}}},
	{"no descriptor", "\x00\x00\x11\x11active name     <> at port 2, fd = -1\n\x00", Dump{4369, []DumpEntry{{"", 2, -1}}, nil}},
}

func TestDumpAnswer(t *testing.T) {
	for _, tt := range dumpAnswers {
		t.Run(tt.name, func(t *testing.T) {
			d, err := parseDump([]byte(tt.wire))
			require.NoError(t, err)
			require.Equal(t, tt.dump, d)
			b := appendListingPort(nil, d.Port)
			for _, e := range d.Active {
				b = appendDumpLine(b, activeBefore, e, activeAfter, activeEnd)
			}
			for _, e := range d.Unused {
				b = appendDumpLine(b, unusedBefore, e, unusedAfter, unusedEnd)
			}
			require.Equal(t, tt.wire, string(b))
		})
	}
}

func TestDumpAnswerLies(t *testing.T) {
	for _, tt := range []struct{ name, wire, message string }{
		{"no port", "", "a listing of 0 bytes"},
		{"cut off", "\x00\x00\x11\x11active name     <b> at port 2, fd = 6\n", "cut off"},
		{"no descriptor", "\x00\x00\x11\x11active name     <b> at port 2\n\x00", "line"},
		{"text instead of a descriptor", "\x00\x00\x11\x11active name     <b> at port 2, fd = x\n\x00", "line"},
		{"text instead of a port", "\x00\x00\x11\x11old/unused name <b>, port = x, fd = 6 \n\x00", "line"},
		{"another line", "\x00\x00\x11\x11name b at port 2\n\x00", "line"},
		{"another beginning", "\x00\x00\x11\x11<b>, port = 2, fd = 6 \n\x00", "line"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseDump([]byte(tt.wire))
			require.ErrorIs(t, err, ErrProtocol)
			require.ErrorContains(t, err, tt.message)
		})
	}
}

func FuzzParseNames(f *testing.F) {
	for _, tt := range namesAnswers {
		f.Add([]byte(tt.wire))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		port, names, err := parseNames(b)
		if err != nil {
			require.ErrorIs(t, err, ErrProtocol)
			return
		}
		out := appendListingPort(nil, port)
		for _, n := range names {
			out = appendNameLine(out, n.Name, n.Port)
		}
		port2, names2, err := parseNames(out)
		require.NoError(t, err)
		require.Equal(t, port, port2)
		require.Equal(t, names, names2)
	})
}

func FuzzParseDump(f *testing.F) {
	for _, tt := range dumpAnswers {
		f.Add([]byte(tt.wire))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseDump(b)
		if err != nil {
			require.ErrorIs(t, err, ErrProtocol)
			return
		}
		out := appendListingPort(nil, d.Port)
		for _, e := range d.Active {
			out = appendDumpLine(out, activeBefore, e, activeAfter, activeEnd)
		}
		for _, e := range d.Unused {
			out = appendDumpLine(out, unusedBefore, e, unusedAfter, unusedEnd)
		}
		again, err := parseDump(out)
		require.NoError(t, err)
		require.ElementsMatch(t, d.Active, again.Active)
		require.ElementsMatch(t, d.Unused, again.Unused)
	})
}

// Names and extra data may be as long as their limits say, in a listing and in a port mapper's
// answer.
func TestAnswersOfLongestNames(t *testing.T) {
	name := strings.Repeat("😀", maxNameChars)
	require.Len(t, name, maxNameBytes)
	_, names, err := parseNames(appendNameLine(appendListingPort(nil, 4369), name, 1))
	require.NoError(t, err)
	require.Equal(t, []NamePort{{name, 1}}, names)

	want := NodeInfo{Name: name, Port: 1, Extra: bytes.Repeat([]byte{0xff}, maxExtraBytes)}
	got, found, _, err := parsePortAnswer(appendPortAnswer(nil, &want))
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, want, got)
}
