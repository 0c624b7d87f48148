package dist

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSplitName(t *testing.T) {
	long := strings.Repeat("é", maxName-2)
	tests := map[string]struct {
		name, alive, host string
		bad               string // part of the error; "" for a good name
	}{
		"plain":          {name: "go@host", alive: "go", host: "host"},
		"dotted":         {name: "a.b-c_1@10.0.0.1", alive: "a.b-c_1", host: "10.0.0.1"},
		"IPv6 host":      {name: "a@::1", alive: "a", host: "::1"},
		"UTF-8":          {name: "grüße@höst", alive: "grüße", host: "höst"},
		"255 characters": {name: long + "@h", alive: long, host: "h"},
		"256 characters": {name: long + "@hh", bad: "more than 255"},
		"megabytes":      {name: strings.Repeat("x", 1<<20) + "@h", bad: "more than 255"},
		"empty":          {name: "", bad: "no \"@\""},
		"no host part":   {name: "go", bad: "no \"@\""},
		"empty host":     {name: "go@", bad: "no host"},
		"empty alive":    {name: "@host", bad: "nothing before"},
		"two at signs":   {name: "a@b@c", bad: "more than one"},
		"not UTF-8":      {name: "a\xff@host", bad: "not UTF-8"},
		"NUL":            {name: "a@host\x00.evil", bad: "NUL"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			alive, host, err := SplitName(tt.name)
			if tt.bad != "" {
				require.ErrorIs(t, err, ErrInvalidName)
				require.ErrorContains(t, err, tt.bad)
				require.ErrorIs(t, CheckName(tt.name), ErrInvalidName)
				require.Less(t, len(err.Error()), 400, "an error must not repeat a long name")
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.alive, alive)
			require.Equal(t, tt.host, host)
			require.NoError(t, CheckName(tt.name))
		})
	}
}

// Which names Erlang nodes of OTP 25 and 29 refuse of their peers, and which not.
func TestCheckOwnName(t *testing.T) {
	for _, good := range []string{"a-b_c@host", "A9@10.0.0.1", "9a@::1", "x@my-host.example.org", "azAZ09@!~"} {
		require.NoError(t, CheckOwnName(good))
	}
	for _, bad := range []string{"my.service@host", "a b@host", "a+b@h", "a:b@h", "a$b@h", "a/b@h", "a~1@h", "a'b@h", "a`b@h",
		"a{b@h", "a[b@h", "é@h",
		"a@hé", "a@h h",
		"a@h\x7f", "a@h\t", "a", "@h"} {
		require.ErrorIs(t, CheckOwnName(bad), ErrInvalidName, "%q", bad)
	}
	require.ErrorContains(t, CheckOwnName("my.service@host"), "\"my.service@host\": '.' before the \"@\"")
	require.NoError(t, CheckOwnHost("10.0.0.1"))
	require.ErrorIs(t, CheckOwnHost("hé"), ErrInvalidName)
}

func TestCheckHost(t *testing.T) {
	require.NoError(t, checkHost("host"))
	require.NoError(t, checkHost("10.0.0.1"))
	for _, bad := range []string{"", "a@b", "@", "a\x00", "\xff", strings.Repeat("h", 256)} {
		require.ErrorIs(t, checkHost(bad), ErrInvalidName, "%q", bad)
	}
}
