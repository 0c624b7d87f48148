//go:build !unix

package sys

import "errors"

// Here every plug-in waits by itself, and only the plug-in knows what its descriptor is.

func Dup(fd int) (int, error)        { return fd, nil }
func SameFile(a, b int) bool         { return a == b }
func Close(int) error                { return errors.ErrUnsupported }
func SetNonblock(int, bool) error    { return errors.ErrUnsupported }
func IsOpen(fd int) bool             { return fd >= 0 }
func SocketPair(int) ([2]int, error) { return [2]int{}, errors.ErrUnsupported }
func SocketError(int) error          { return nil }
func Shutdown(int)                   {}

// CanDup says that there is a Dup that gives another descriptor.
const CanDup = false

// MaxUnixPath is the longest path of a UNIX socket, in bytes.
const MaxUnixPath = 107

// SizeofInet6 is the size of a struct sockaddr_in6, as far as it is used.
const SizeofInet6 = 28

// Backlog is the longest backlog of a listener that is asked for.
const Backlog = 200
