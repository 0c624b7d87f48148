package handoff

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// A long state goes in pieces where no memory file is to be had, for whatever reason.
func TestNoMemoryFileToBeHad(t *testing.T) {
	one, other := channels(t)
	state := bytes.Repeat([]byte("state"), longState)
	g := &giving{exchange: exchange{ch: one}, limit: Terms{Know: []string{featureMemoryFile}}}
	withoutNumbers(t)
	done := make(chan error, 1)
	go func() { done <- g.state(soon(t), state) }()
	x := exchange{ch: other}
	got, err := x.gather(soon(t), kindState, len(state), HeirStateHalf)
	require.NoError(t, <-done)
	require.NoError(t, err)
	require.True(t, bytes.Equal(state, got))
}
