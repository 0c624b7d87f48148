package handoff

import (
	"encoding/binary"
	"math"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func peerCred(fd int) (Cred, error) {
	u, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return noCred, os.NewSyscallError("getsockopt SO_PEERCRED", err)
	}
	if u.Pid == 0 && u.Uid == math.MaxUint32 { // the socket is not connected
		return noCred, os.NewSyscallError("getsockopt SO_PEERCRED", unix.ENOTCONN)
	}
	return Cred{int(u.Pid), id(u.Uid), id(u.Gid)}, nil
}

func passCredentials(fd int, on bool) error {
	value := 0
	if on {
		value = 1
	}
	return os.NewSyscallError("setsockopt SO_PASSCRED", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, value))
}

// credentialsOn tells whether SO_PASSCRED is on already.
func credentialsOn(raw syscall.RawConn) bool {
	on := 0
	_ = raw.Control(func(fd uintptr) { on, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED) })
	return on != 0
}

func isCredentials(h *unix.Cmsghdr, data []byte) bool {
	return h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_CREDENTIALS && len(data) >= unix.SizeofUcred
}

// isProcess recognises a descriptor of the sender's process (pidfd), which comes on a socket with
// SO_PASSPIDFD.
func isProcess(h *unix.Cmsghdr, data []byte) bool {
	return h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_PIDFD && len(data) >= 4 && int32(binary.NativeEndian.Uint32(data)) >= 0
}

func credentials(data []byte) Cred {
	var u unix.Ucred
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&u)), unix.SizeofUcred), data)
	return Cred{int(u.Pid), id(u.Uid), id(u.Gid)}
}

// id turns the system's value for no user or group into that of a Cred.
func id(n uint32) int {
	if n == math.MaxUint32 {
		return -1
	}
	return int(n)
}
