//go:build unix

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport/handoff"
)

// A serve of an earlier version can be taken over: the features that it names at hello are known,
// so it is frozen. A serve with an unknown feature is refused before that.
func TestTakeoverFromEarlier(t *testing.T) {
	for _, tt := range []struct {
		word    string
		flags   []string
		refused bool
	}{
		{"cnode-demo-state-1", nil, false},
		{"cnode-demo-front-1", []string{"--workers", "2"}, false},
		{"cnode-demo-front-2", []string{"--workers", "2"}, false},
		{"cnode-demo-front-99", []string{"--workers", "2"}, true},
		{"cnode-demo-state-99", nil, true},
	} {
		t.Run(tt.word, func(t *testing.T) {
			w := newWorld(t, 0)
			const name = "up@127.0.0.1"
			dir := filepath.Join(w.home, "cnode-"+strconv.Itoa(os.Getuid()), name)
			require.NoError(t, os.MkdirAll(dir, 0o700))
			c, err := handoff.ListenControl(filepath.Join(dir, "control"))
			require.NoError(t, err)
			defer c.Close()
			ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
			defer cancel()
			frozen, given := false, make(chan error, 1)
			go func() {
				ch, err := c.Accept(ctx)
				var v *handoff.Visit
				if err == nil {
					v, err = handoff.Hear(ctx, ch)
				}
				if err == nil {
					defer v.Close()
					terms := handoff.Terms{What: name, Require: []string{tt.word}}
					o := handoff.Offer{Terms: terms, Freeze: func(context.Context) (handoff.Frozen, error) {
						frozen = true
						return nil, errors.New("far enough")
					}}
					_, err = o.Give(ctx, v.Channel())
				}
				given <- err
			}()
			errOut := w.refused(append([]string{"--name", name}, tt.flags...)...)
			err = <-given
			require.Equal(t, !tt.refused, frozen, "%v; %s", err, errOut)
			if tt.refused {
				require.ErrorIs(t, err, handoff.ErrUnknown)
				require.Contains(t, errOut, tt.word)
			} else {
				require.ErrorContains(t, err, "far enough")
			}
		})
	}
}
