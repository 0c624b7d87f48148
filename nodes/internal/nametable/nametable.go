// Package nametable is a list of names that several processes read at once, and one of them writes.
package nametable

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"os"

	"github.com/cnode-go/cnode/nodes/internal/descriptor"
)

const (
	// places is how many places a table has.
	places = 1 << 16
	// seedSize is how many bytes the seed has, which stands before the places.
	seedSize = 8
	// versionSize is how many bytes a place's version has; the versions of all places stand behind
	// the places.
	versionSize = 4
)

// A Table tells a worker at once, without asking the front, that no process of the node has
// registered a name. It is a file in memory that the front and the workers share, with a byte for
// each place; a name's hash says which place it has. Only the front writes it: it marks a place
// before it tells a worker that a name of that place is the worker's. So a worker that has heard of
// a registered name, in whatever way, finds the mark, and a peer that floods a name that no process
// has causes no questions to the front. Names that share a place share the mark. For a name that is
// registered, the version of its place tells whether the front's last answer about it still holds:
// the version counts the names that have been entered there.
type Table struct {
	file  *os.File
	seed  [seedSize]byte
	names map[int]int // the front's: how many names a place has
}

// New makes an empty table.
func New() (*Table, error) {
	file, err := sharedFile("names")
	if err != nil {
		return nil, err
	}
	r := &Table{file: file, names: map[int]int{}}
	rand.Read(r.seed[:])
	all := append(r.seed[:], make([]byte, places*(1+versionSize))...) // no later write needs memory
	if _, err := file.WriteAt(all, 0); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return r, nil
}

// Open opens a table that another process has made, by a descriptor of it. It owns the descriptor,
// on failure too.
func Open(fd int) (*Table, error) {
	r := &Table{file: os.NewFile(uintptr(fd), "names"), names: map[int]int{}}
	if _, err := r.file.ReadAt(r.seed[:], 0); err != nil {
		return nil, errors.Join(err, r.file.Close())
	}
	return r, nil
}

// Take opens the name table of a state; nil if the state has none.
func Take(list *descriptor.List, at int) (*Table, error) {
	if at < 0 {
		return nil, nil
	}
	fd, err := list.TakeOne(at)
	if err != nil {
		return nil, err
	}
	return Open(fd)
}

func (r *Table) place(name string) int {
	h := fnv.New64a()
	_, _ = h.Write(r.seed[:])
	_, _ = h.Write([]byte(name))
	sum := h.Sum64()
	return int(binary.LittleEndian.Uint16(binary.LittleEndian.AppendUint64(nil, sum^sum>>32)))
}

// Lacks tells whether it is certain that no process has a name.
func (r *Table) Lacks(name string) bool {
	if r == nil {
		return false
	}
	var mark [1]byte
	_, err := r.file.ReadAt(mark[:], seedSize+int64(r.place(name)))
	return err == nil && mark[0] == 0
}

// Version changes whenever the name is entered, or another one of its place; false if there is no
// version.
func (r *Table) Version(name string) (v uint32, ok bool) {
	if r == nil {
		return 0, false
	}
	v, err := r.versionAt(r.place(name))
	return v, err == nil
}

func (r *Table) versionAt(at int) (uint32, error) {
	var b [versionSize]byte
	_, err := r.file.ReadAt(b[:], versionPlace(at))
	return binary.LittleEndian.Uint32(b[:]), err
}

// versionPlace is where in the file the version of a place is.
func versionPlace(at int) int64 { return seedSize + places + int64(at)*versionSize }

// Enter notes a name that a process is about to get.
func (r *Table) Enter(name string) error {
	if r == nil {
		return nil
	}
	at := r.place(name)
	v, err := r.versionAt(at)
	if err != nil {
		return err
	}
	if _, err := r.file.WriteAt(binary.LittleEndian.AppendUint32(nil, v+1), versionPlace(at)); err != nil {
		return err
	}
	if r.names[at] == 0 {
		if err := r.mark(at, 1); err != nil {
			return err
		}
	}
	r.names[at]++
	return nil
}

// Strike notes that no process has a name any more.
func (r *Table) Strike(name string) {
	if r == nil {
		return
	}
	at := r.place(name)
	if r.names[at]--; r.names[at] <= 0 {
		delete(r.names, at)
		_ = r.mark(at, 0) // if it stays marked, workers ask for the name in vain
	}
}

func (r *Table) mark(at int, b byte) error {
	_, err := r.file.WriteAt([]byte{b}, seedSize+int64(at))
	return err
}

// Recall counts a name that is marked already, in a table from Open.
func (r *Table) Recall(name string) {
	if r != nil {
		r.names[r.place(name)]++
	}
}

// Descriptor is the file's; it stays the table's.
func (r *Table) Descriptor() int { return int(r.file.Fd()) }

// Close lets go of the file. All methods but Descriptor may be called on a nil Table, which tells
// nothing of any name.
func (r *Table) Close() {
	if r != nil {
		_ = r.file.Close()
	}
}
