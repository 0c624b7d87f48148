//go:build !(linux || darwin || freebsd)

package handoff

import "errors"

func peerCred(int) (Cred, error) { return noCred, errors.ErrUnsupported }
