package service

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/stretchr/testify/require"
)

// The log names the process that a node goes to, unless nothing is known of it.
func TestHandOffIsLogged(t *testing.T) {
	known, unknown := handoff.Cred{PID: 7, UID: 1, GID: 1}, handoff.Cred{PID: -1, UID: -1, GID: -1}
	for _, tt := range []struct {
		handed handoff.Handed
		err    error
		want   string
	}{
		{handoff.Handed{Moved: true, Peer: known, Silence: time.Second}, nil, `level=INFO msg="node handed over" to=7 silence=1s`},
		{handoff.Handed{Moved: true, Peer: known}, errors.New("late"),
			`level=WARN msg="node handed over, with trouble" to=7 silence=0s error=late`},
		{handoff.Handed{Peer: known}, errors.New("no"), `level=WARN msg="node not handed over" to=7 silence=0s error=no`},
		{handoff.Handed{Peer: unknown}, errors.New("no"), `level=WARN msg="node not handed over" silence=0s error=no`},
		// not even started
		{handoff.Handed{}, errors.New("no"), `level=WARN msg="node not handed over" silence=0s error=no`},
	} {
		var text bytes.Buffer
		say(slog.New(slog.NewTextHandler(&text, nil)), "node", tt.handed, tt.err)
		require.Contains(t, text.String(), tt.want)
	}
}
