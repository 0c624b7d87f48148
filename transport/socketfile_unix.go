//go:build unix

package transport

import "os"

// A socketFile is the file of a bound UNIX socket. As long as the socket is open, no other file is
// the same as info (os.SameFile).
type socketFile struct {
	path string
	info os.FileInfo
}

// fileAt returns the file at an address that has just been bound, or comes from another process;
// nil if there is none.
func fileAt(a Addr) *socketFile {
	u, ok := a.(UnixAddr)
	if !ok || u == "" || isAbstract(u.Path()) {
		return nil
	}
	info, err := os.Lstat(u.Path())
	if err != nil {
		return nil
	}
	return &socketFile{u.Path(), info}
}

// remove removes the file. Another file that is there by now stays.
func (f *socketFile) remove() {
	if f == nil {
		return
	}
	if now, err := os.Lstat(f.path); err == nil && os.SameFile(f.info, now) {
		_ = os.Remove(f.path)
	}
}
