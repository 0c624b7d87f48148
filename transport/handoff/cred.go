package handoff

import (
	"fmt"
	"os"
	"syscall"

	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
)

// A Cred identifies a process and its user. A field is -1 where the system does not tell it.
type Cred struct {
	PID, UID, GID int
}

// noCred is the Cred of an unknown process.
var noCred = Cred{-1, -1, -1}

// String gives the three numbers.
func (c Cred) String() string { return fmt.Sprintf("pid %d, uid %d, gid %d", c.PID, c.UID, c.GID) }

// PeerCred tells which process is at the other end of a connected UNIX socket: the one that
// connected, began to listen, or made the pair. That process need not have the socket any more, and
// may be dead. PID is -1 where the system does not tell it (freebsd). errors.ErrUnsupported where
// there is no such call.
func PeerCred(conn syscall.Conn) (Cred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return noCred, fault.Failed("peer credentials", nil, err)
	}
	cred := noCred
	if e := raw.Control(func(fd uintptr) { cred, err = peerCred(int(fd)) }); e != nil {
		err = e
	}
	if err != nil {
		cred = noCred
	}
	return cred, fault.Failed("peer credentials", nil, err)
}

// SameUser is the usual rule for which processes to trust: those of this process's user, and of
// root. Any other or unknown user is ErrForbidden.
func SameUser(c Cred) error {
	if c.UID == 0 || c.UID == os.Geteuid() && c.UID >= 0 {
		return nil
	}
	return fmt.Errorf("%w: its process (%v) is neither of user %d nor of root", ErrForbidden, c, os.Geteuid())
}
