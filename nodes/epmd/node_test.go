package epmd

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckName(t *testing.T) {
	for _, good := range []string{"a", "åäö", strings.Repeat("x", 255), strings.Repeat("😀", 255), "a b"} {
		require.NoError(t, checkName(good), "%.20q", good)
	}
	for _, tt := range []struct{ name, message string }{
		{"", "empty"},
		{"a\xff", "not UTF-8"},
		{"a\x00", "NUL"},
		{strings.Repeat("x", 256), "256 characters"},
		{"a@b", `before the "@"`},
	} {
		err := checkName(tt.name)
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, tt.message)
	}
}

func TestRegistrationDefaultsAndChecks(t *testing.T) {
	reg := Registration{Name: "a", Port: 1}.withDefaults()
	require.Equal(t, Registration{Name: "a", Port: 1, Type: TypeHidden, High: 6, Low: 6}, reg)
	require.NoError(t, reg.check())
	require.Equal(t, uint16(5), Registration{High: 5}.withDefaults().Low)
	require.Equal(t, uint16(5), Registration{High: 6, Low: 5}.withDefaults().Low)

	for _, tt := range []struct {
		reg     Registration
		message string
	}{
		{Registration{Name: "a", High: 6, Low: 6}, "port 0"},
		{Registration{Name: "a", Port: 1, High: 5, Low: 6}, "lowest version 6"},
		{Registration{Name: "a", Port: 1, Extra: make([]byte, 1021)}, "1021 bytes"},
	} {
		err := tt.reg.check()
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, tt.message)
	}
}

func TestVersionForBothSides(t *testing.T) {
	for _, tt := range []struct {
		low, high uint16
		want      int
		ok        bool
	}{
		{5, 5, 5, true}, {5, 6, 6, true}, {6, 6, 6, true}, {6, 9, 6, true}, {0, 5, 5, true},
		{7, 9, 0, false}, {0, 4, 0, false}, {6, 5, 0, false},
	} {
		got, ok := NodeInfo{Low: tt.low, High: tt.high}.Version()
		require.Equal(t, tt.want, got, "%d to %d", tt.low, tt.high)
		require.Equal(t, tt.ok, ok, "%d to %d", tt.low, tt.high)
	}
}

func TestNodeTypeString(t *testing.T) {
	require.Equal(t, "normal hidden hidden NodeType(3)",
		strings.Join([]string{TypeNormal.String(), TypeHidden.String(), NodeType('h').String(), NodeType(3).String()}, " "))
}
