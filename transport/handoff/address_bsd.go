//go:build unix && !linux

package handoff

import "golang.org/x/sys/unix"

func isCredentials(*unix.Cmsghdr, []byte) bool { return false }
func credentials([]byte) Cred                  { return noCred }
func isProcess(*unix.Cmsghdr, []byte) bool     { return false }

// protocol is not known: these systems do not tell it.
func protocol(int) (int, error) { return -1, nil }
