//go:build unix

package bind

import (
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// lockLimit bounds the wait for a lock: another user of this package holds it for a moment only,
// but flock(1) holds it as long as the service runs that it guards.
const lockLimit = time.Second

// Lock locks an open directory, or goes on without the lock after lockLimit: the race that the lock
// prevents is rare. Closing fd unlocks it.
func Lock(fd int) {
	for end := time.Now().Add(lockLimit); unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == unix.EWOULDBLOCK && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// InTurn calls bind, for a UNIX socket, while no other user of this package does so in the same
// directory: between bind and listen a socket looks as if a dead process had left it, and of two
// processes that find such a socket only the first may remove it. If the lock cannot be had, bind
// is called all the same.
func InTurn(path string, bind func()) {
	if path == "" || sys.IsAbstract(path) { // no file
		bind()
		return
	}
	fd, err := unix.Open(filepath.Dir(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(fd) // and the lock with it
		Lock(fd)
	}
	bind()
}
