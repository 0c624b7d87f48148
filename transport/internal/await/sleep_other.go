//go:build !unix

package await

import "errors"

const CanWait = false

// plainWatch fails where descriptors cannot be duplicated into the poller; New refuses plug-ins
// that would need it.
func plainWatch(int) (watch, error) { return nil, errors.ErrUnsupported }

func pending(int) (int, error) { return 0, nil }
