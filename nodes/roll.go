package nodes

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"os"
)

const (
	// rollSize is how many places a roll has.
	rollSize = 1 << 16
	// rollSeed is how many bytes stand before them.
	rollSeed = 8
	// versionSize is how many bytes a place's version has; those of all places are behind the places.
	versionSize = 4
)

// A roll tells of any name at once, and without a question, that no process of the node has registered it. It is a file in memory that the
// front and the workers share: a byte for each place, and the name's hash says which place is its. The front alone writes it: a place is
// marked before the worker hears that a name of it is its own. So whoever is told of a name, in whatever way, finds the mark, and a peer
// that floods a name that nobody has asks nothing of the front. Names that have a place together are asked for as one. Of a name that
// somebody has, the version of its place tells whether what the front has last said of it still holds: it counts the names that have been
// entered there.
type roll struct {
	file  *os.File
	seed  [rollSeed]byte
	names map[int]int // the front's: how many names a place has
}

// newRoll makes an empty one.
func newRoll() (*roll, error) {
	file, err := sharedFile("names")
	if err != nil {
		return nil, err
	}
	r := &roll{file: file, names: map[int]int{}}
	rand.Read(r.seed[:])
	all := append(r.seed[:], make([]byte, rollSize*(1+versionSize))...) // no later write needs memory
	if _, err := file.WriteAt(all, 0); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return r, nil
}

// openRoll goes on with one of which somebody else has given a descriptor, which is its own, on failure too.
func openRoll(fd int) (*roll, error) {
	r := &roll{file: fileOf(fd), names: map[int]int{}}
	if _, err := r.file.ReadAt(r.seed[:], 0); err != nil {
		return nil, errors.Join(err, r.file.Close())
	}
	return r, nil
}

func (r *roll) place(name string) int {
	h := fnv.New64a()
	_, _ = h.Write(r.seed[:])
	_, _ = h.Write([]byte(name))
	sum := h.Sum64()
	return int(binary.LittleEndian.Uint16(binary.LittleEndian.AppendUint64(nil, sum^sum>>32)))
}

// lacks tells whether surely nobody has a name.
func (r *roll) lacks(name string) bool {
	if r == nil {
		return false
	}
	var mark [1]byte
	_, err := r.file.ReadAt(mark[:], rollSeed+int64(r.place(name)))
	return err == nil && mark[0] == 0
}

// version is another one whenever somebody has got a name; false if there is none.
func (r *roll) version(name string) (v uint32, ok bool) {
	if r == nil {
		return 0, false
	}
	v, err := r.versionAt(r.place(name))
	return v, err == nil
}

func (r *roll) versionAt(at int) (uint32, error) {
	var b [versionSize]byte
	_, err := r.file.ReadAt(b[:], rollVersion(at))
	return binary.LittleEndian.Uint32(b[:]), err
}

// rollVersion is where the version of a place is.
func rollVersion(at int) int64 { return rollSeed + rollSize + int64(at)*versionSize }

// enter notes a name that somebody is about to have.
func (r *roll) enter(name string) error {
	if r == nil {
		return nil
	}
	at := r.place(name)
	v, err := r.versionAt(at)
	if err != nil && err != io.EOF { // it ends before the versions: an earlier front has made it
		return err
	}
	if _, err := r.file.WriteAt(binary.LittleEndian.AppendUint32(nil, v+1), rollVersion(at)); err != nil {
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

// strike notes that nobody has a name any more.
func (r *roll) strike(name string) {
	if r == nil {
		return
	}
	at := r.place(name)
	if r.names[at]--; r.names[at] <= 0 {
		delete(r.names, at)
		_ = r.mark(at, 0) // else it is asked for in vain
	}
}

func (r *roll) mark(at int, b byte) error {
	_, err := r.file.WriteAt([]byte{b}, rollSeed+int64(at))
	return err
}

// recall counts a name that is marked already.
func (r *roll) recall(name string) {
	if r != nil {
		r.names[r.place(name)]++
	}
}

// descriptor is the file's; it stays the roll's.
func (r *roll) descriptor() int { return int(r.file.Fd()) }

// duplicate gives another process's descriptor; 0 without a roll.
func (r *roll) duplicate() (int, error) {
	if r == nil {
		return 0, nil
	}
	return duplicate(r.descriptor())
}

func (r *roll) close() {
	if r != nil {
		_ = r.file.Close()
	}
}
