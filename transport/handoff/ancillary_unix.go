//go:build unix

package handoff

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ancillarySpace is the size of control data that holds MaxDescriptors and a sender's credentials,
// in units of 8 bytes.
const ancillarySpace = (24 + 4*(MaxDescriptors+1) + 64) / 8

// ancillary is the control data of a message: a struct cmsghdr, then its data. See cmsg(3).
type ancillary struct {
	space [ancillarySpace]uint64 // uint64, for the alignment
	used  int
}

func (a *ancillary) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&a.space)), unsafe.Sizeof(a.space))
}

// put makes one SCM_RIGHTS control message of the descriptors. Without descriptors it makes none,
// since receivers may refuse an empty one.
func (a *ancillary) put(fds []int) {
	if a.used = 0; len(fds) == 0 {
		return
	}
	b := a.bytes()
	a.used = unix.CmsgSpace(4 * len(fds))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&a.space))
	h.Level, h.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	h.SetLen(unix.CmsgLen(4 * len(fds)))
	for i, fd := range fds {
		binary.NativeEndian.PutUint32(b[unix.CmsgLen(4*i):], uint32(fd))
	}
}

func (a *ancillary) drop() { a.used = 0 }

// control returns what put has made, nil if put has made nothing.
func (a *ancillary) control() []byte {
	if a.used == 0 {
		return nil
	}
	return a.bytes()[:a.used]
}

// A parsed says what control data held beside descriptors.
type parsed struct {
	cred    Cred
	hasCred bool
	foreign bool // something else, or something broken
}

// parseAncillary appends the descriptors in control data to fds. It finds all of them, whatever
// else is wrong with the data, because each is open and has to be closed. A length that goes beyond
// the data, as old BSDs give it, is cut.
func parseAncillary(fds []int, control []byte) ([]int, parsed) {
	p := parsed{cred: noCred}
	for len(control) > 0 {
		if len(control) < unix.CmsgLen(0) {
			p.foreign = true
			break
		}
		var h unix.Cmsghdr
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&h)), unix.SizeofCmsghdr), control)
		size := int(min(uint64(h.Len), uint64(len(control))))
		if size < unix.CmsgLen(0) {
			p.foreign = true
			break
		}
		data := control[unix.CmsgLen(0):size]
		switch {
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_RIGHTS:
			for ; len(data) >= 4; data = data[4:] {
				fds = append(fds, int(int32(binary.NativeEndian.Uint32(data))))
			}
		case isCredentials(&h, data):
			p.cred, p.hasCred = credentials(data), true
		case isProcess(&h, data): // unwanted, but open: it has to be closed
			fds, p.foreign = append(fds, int(int32(binary.NativeEndian.Uint32(data)))), true
		default:
			p.foreign = true
		}
		control = control[min(unix.CmsgSpace(size-unix.CmsgLen(0)), len(control)):]
	}
	return fds, p
}
