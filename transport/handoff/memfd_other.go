//go:build !linux

package handoff

import "errors"

func memoryFile(string, []byte) (int, error) { return stolen, errors.ErrUnsupported }

func readMemoryFile(int, int) ([]byte, error) {
	return nil, malformed("a payload in a memory file, which this system has not")
}
