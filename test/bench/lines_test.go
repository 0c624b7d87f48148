package main

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/line"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// A slow line, and one that is cut, with every peer.
func TestLines(t *testing.T) {
	need.Long(t, 40*time.Second)
	line.New(t, line.Options{Rate: 8e6}) // else there is none to measure
	o, err := parse([]string{"--json", "--only=line/(100Mbit-0ms|dead)"}, io.Discard)
	require.NoError(t, err)
	o.otp = otp.Releases(t)[0].Number
	var out, progress bytes.Buffer
	require.NoError(t, run(t.Context(), o, &out, &progress), &progress)
	var r report
	require.NoError(t, json.Unmarshal(out.Bytes(), &r))
	require.Equal(t, lineKinds, r.Kinds, r.Notes)
	require.Len(t, r.Rows, 7)
	for _, row := range r.Rows {
		for _, kind := range lineKinds {
			if kind == nameLibei && row.Name == lineDead+"/notices" {
				continue // it never does
			}
			require.Len(t, row.Peers[kind].All, 1, "%s, %s: %v", row.Name, kind, r.Notes)
		}
	}
}
