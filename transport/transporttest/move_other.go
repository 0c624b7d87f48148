//go:build !unix

package transporttest

import "errors"

const canDuplicate = false

func duplicate(int) (int, error) { return -1, errors.ErrUnsupported }

func closeDescriptor(int) {}
