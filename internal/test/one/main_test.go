package main

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAbout(t *testing.T) {
	for source, test := range map[string]string{
		"../../../ei/marshal.go":     "TestMarshalRefuses",   // in the file that is named after it
		"../../../nodes/readloop.go": "TestHostileFragments", // mentions what it declares
	} {
		tests, err := About(source)
		require.NoError(t, err)
		require.Contains(t, tests, test, source)
	}
	_, err := About("nothing.go")
	require.ErrorIs(t, err, fs.ErrNotExist)
}
