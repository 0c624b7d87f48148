package otp

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	if os.Getenv(envAbandon) != "" {
		abandon()
	}
	os.Exit(leak.Run(m))
}

func TestParse(t *testing.T) {
	dir := t.TempDir()
	erl := filepath.Join(dir, "erl")
	require.NoError(t, os.WriteFile(erl, nil, 0o700))
	plain := filepath.Join(dir, "plain")
	require.NoError(t, os.WriteFile(plain, nil, 0o600))

	found, err := parse(" 29=" + erl + "  25=" + erl + " ")
	require.NoError(t, err)
	require.Equal(t, []Release{{25, erl}, {29, erl}}, found)
	require.Equal(t, filepath.Join(dir, "epmd"), found[0].Command("epmd"))
	require.Equal(t, "otp25", found[0].String())

	for _, tt := range []struct{ name, list, want string }{
		{"no path", "25", `"25" is not of the form`},
		{"no number", "x=" + erl, "is not of the form"},
		{"missing program", "27=" + dir + "/none", "OTP 27"},
		{"not a program", "27=" + plain, "OTP 27"},
		{"blank", " ", "names no release"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(tt.list)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestComplete(t *testing.T) {
	require.NoError(t, complete([]Release{{Number: 25}, {Number: 27}, {Number: 28}, {Number: 29}}))
	require.ErrorContains(t, complete([]Release{{Number: 27}}), "no Erlang/OTP 25, 29")
}

func TestFindWithoutErlang(t *testing.T) {
	t.Setenv(envReleases, "")
	t.Setenv("PATH", t.TempDir())
	_, err := Find()
	require.ErrorIs(t, err, ErrNoErlang)
}

func TestFindOnPath(t *testing.T) {
	r := Releases(t)[0]
	t.Setenv(envReleases, "")
	t.Setenv("PATH", filepath.Dir(r.Erl)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	found, err := Find()
	require.NoError(t, err)
	require.Equal(t, []Release{r}, found)
}
