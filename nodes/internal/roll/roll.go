// Package roll is a list of names that several processes read at once, of which one writes it.
package roll

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"os"
)

const (
	// places is how many places a roll has.
	places = 1 << 16
	// seedSize is how many bytes stand before them.
	seedSize = 8
	// versionSize is how many bytes a place's version has; those of all places are behind the places.
	versionSize = 4
)

// A Roll tells of any name at once, and without a question, that no process of the node has registered it. It is a file in memory that the
// front and the workers share: a byte for each place, and the name's hash says which place is its. The front alone writes it: a place is
// marked before the worker hears that a name of it is its own. So whoever is told of a name, in whatever way, finds the mark, and a peer
// that floods a name that nobody has asks nothing of the front. Names that have a place together are asked for as one. Of a name that
// somebody has, the version of its place tells whether what the front has last said of it still holds: it counts the names that have been
// entered there.
type Roll struct {
	file  *os.File
	seed  [seedSize]byte
	names map[int]int // the front's: how many names a place has
}

// New makes an empty one.
func New() (*Roll, error) {
	file, err := sharedFile("names")
	if err != nil {
		return nil, err
	}
	r := &Roll{file: file, names: map[int]int{}}
	rand.Read(r.seed[:])
	all := append(r.seed[:], make([]byte, places*(1+versionSize))...) // no later write needs memory
	if _, err := file.WriteAt(all, 0); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return r, nil
}

// Open goes on with one of which somebody else has given a descriptor, which is its own, on failure too.
func Open(fd int) (*Roll, error) {
	r := &Roll{file: os.NewFile(uintptr(fd), "names"), names: map[int]int{}}
	if _, err := r.file.ReadAt(r.seed[:], 0); err != nil {
		return nil, errors.Join(err, r.file.Close())
	}
	return r, nil
}

func (r *Roll) place(name string) int {
	h := fnv.New64a()
	_, _ = h.Write(r.seed[:])
	_, _ = h.Write([]byte(name))
	sum := h.Sum64()
	return int(binary.LittleEndian.Uint16(binary.LittleEndian.AppendUint64(nil, sum^sum>>32)))
}

// Lacks tells whether surely nobody has a name.
func (r *Roll) Lacks(name string) bool {
	if r == nil {
		return false
	}
	var mark [1]byte
	_, err := r.file.ReadAt(mark[:], seedSize+int64(r.place(name)))
	return err == nil && mark[0] == 0
}

// Version is another one whenever somebody has got a name; false if there is none.
func (r *Roll) Version(name string) (v uint32, ok bool) {
	if r == nil {
		return 0, false
	}
	v, err := r.versionAt(r.place(name))
	return v, err == nil
}

func (r *Roll) versionAt(at int) (uint32, error) {
	var b [versionSize]byte
	_, err := r.file.ReadAt(b[:], versionPlace(at))
	return binary.LittleEndian.Uint32(b[:]), err
}

// versionPlace is where the version of a place is.
func versionPlace(at int) int64 { return seedSize + places + int64(at)*versionSize }

// Enter notes a name that somebody is about to have.
func (r *Roll) Enter(name string) error {
	if r == nil {
		return nil
	}
	at := r.place(name)
	v, err := r.versionAt(at)
	if err != nil && err != io.EOF { // it ends before the versions: an earlier front has made it
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

// Strike notes that nobody has a name any more.
func (r *Roll) Strike(name string) {
	if r == nil {
		return
	}
	at := r.place(name)
	if r.names[at]--; r.names[at] <= 0 {
		delete(r.names, at)
		_ = r.mark(at, 0) // else it is asked for in vain
	}
}

func (r *Roll) mark(at int, b byte) error {
	_, err := r.file.WriteAt([]byte{b}, seedSize+int64(at))
	return err
}

// Recall counts a name that is marked already.
func (r *Roll) Recall(name string) {
	if r != nil {
		r.names[r.place(name)]++
	}
}

// Descriptor is the file's; it stays the roll's.
func (r *Roll) Descriptor() int { return int(r.file.Fd()) }

// Close lets go of the file. It may be called of a nil Roll, as all but Descriptor: where there is none, it tells nothing of any name.
func (r *Roll) Close() {
	if r != nil {
		_ = r.file.Close()
	}
}
