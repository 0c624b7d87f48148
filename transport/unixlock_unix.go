//go:build unix

package transport

import (
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// turnLimit bounds how long somebody who holds the lock on a directory is waited for.
const turnLimit = time.Second

// inTurn binds a UNIX socket while nobody else of this package does so in that directory: between one's bind and listen his socket looks as
// if a dead process had left it, and of two who find such a one only the first may remove it. Where no lock can be had bind goes ahead.
func inTurn(path string, bind func()) {
	if path == "" || isAbstract(path) { // no file
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
