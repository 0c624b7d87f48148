//go:build unix

package bind

import (
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// turnLimit is how long InTurn waits for the lock on a directory, at the most.
const turnLimit = time.Second

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
		for end := time.Now().Add(turnLimit); unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == unix.EWOULDBLOCK && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	}
	bind()
}
