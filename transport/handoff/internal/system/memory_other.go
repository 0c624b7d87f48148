//go:build !linux

package system

import (
	"errors"

	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
)

// MemoryFiles says that this system has memory files, and seals for them.
const MemoryFiles = false

// MemoryFile makes a memory file, which this system has not.
func MemoryFile(string, []byte) (int, error) { return -1, errors.ErrUnsupported }

// SealedFile makes a memory file that cannot be changed, which this system has not.
func SealedFile(string, []byte) (int, error) { return -1, errors.ErrUnsupported }

// ReadMemoryFile refuses a memory file, which this system has not.
func ReadMemoryFile(int, int) ([]byte, error) {
	return nil, fault.Malformed("a payload in a memory file, which this system has not")
}
