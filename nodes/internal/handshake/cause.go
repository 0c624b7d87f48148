package handshake

import (
	"context"
	"errors"
	"os"
	"slices"

	"github.com/cnode-go/cnode/nodes/dist"
)

// Cause is the word for why a handshake has failed: see metrics.Handshake.
func Cause(err error) string {
	for _, cause := range []struct {
		word string
		errs []error
	}{
		{"cookie", []error{dist.ErrBadCookie, dist.ErrNoProof, dist.ErrReflected}},
		{"timeout", []error{context.DeadlineExceeded, os.ErrDeadlineExceeded}},
		{"crowded", []error{ErrCrowded}},
		{"refused", []error{dist.ErrRefused, dist.ErrNotAllowed, dist.ErrAlive}},
		{"incompatible", []error{dist.ErrMissingFlags, dist.ErrMalformed, dist.ErrUnexpected, dist.ErrWrongPeer, dist.ErrInvalidName}},
	} {
		if slices.ContainsFunc(cause.errs, func(e error) bool { return errors.Is(err, e) }) {
			return cause.word
		}
	}
	return "error"
}
