//go:build !linux

package handoff

import "errors"

func memoryFile(string, []byte) (int, error) { return stolen, errors.ErrUnsupported }

func readMemoryFile(int, int) ([]byte, error) {
	return nil, malformed("a payload in a memory file, which this system has not")
}

const memoryFiles = false

func sealedFile(string, []byte) (int, error) { return stolen, errors.ErrUnsupported }

func sealedState(set *FDSet, _, _ int) ([]byte, error) {
	return nil, errors.Join(malformed("a state in a memory file, which this system has not"), set.Close())
}
