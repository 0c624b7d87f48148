package handoff

import (
	"fmt"
	"os"
	"syscall"
)

// A Cred says who a process runs as. A field is -1 where the system does not say.
type Cred struct {
	PID, UID, GID int
}

// noCred is that of nobody in particular.
var noCred = Cred{-1, -1, -1}

// String gives the three numbers.
func (c Cred) String() string { return fmt.Sprintf("pid %d, uid %d, gid %d", c.PID, c.UID, c.GID) }

// PeerCred tells who is at the other end of a connected UNIX socket: who it was when it connected, began to listen, or made the pair, which
// it need not be any more, and which may be dead. pid is -1 where the system does not say (freebsd). errors.ErrUnsupported where there is
// no such call.
func PeerCred(conn syscall.Conn) (Cred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return noCred, failed("peer credentials", nil, err)
	}
	cred := noCred
	if e := raw.Control(func(fd uintptr) { cred, err = peerCred(int(fd)) }); e != nil {
		err = e
	}
	if err != nil {
		cred = noCred
	}
	return cred, failed("peer credentials", nil, err)
}

// SameUser is the usual rule for whom to trust: a process of this process's user, or of root. Anybody else, or nobody known, is
// ErrForbidden.
func SameUser(c Cred) error {
	if c.UID == 0 || c.UID == os.Geteuid() && c.UID >= 0 {
		return nil
	}
	return fmt.Errorf("%w: its process (%v) is neither of user %d nor of root", ErrForbidden, c, os.Geteuid())
}
