package protocol

import (
	"encoding/binary"

	"github.com/cnode-go/cnode/ei"
)

// FragmentSize is how many bytes of a message an Erlang node puts in one fragment.
const FragmentSize = 64 << 10

// Fragments are the frames of one message that are still to be made. Frames of other messages may
// be sent between them.
//
// See erl_ext_dist, "Distribution Header for fragmented messages".
type Fragments struct {
	// Sequence is the message's id: another one than those of messages that are not sent in full
	// yet, and not 0, which an Erlang node takes for no id. (An Erlang node takes a number that is
	// the sender's alone.)
	Sequence uint64
	Next     uint64 // the number of the next frame; 1 is the last one, 0: all are made
	Size     int    // bytes of the message in a frame, at least 1; FragmentSize is usual
	Rest     ei.Raw // what is still to be sent of the payload
}

// Cut divides a message whose control message takes control bytes, as it is sent, and whose payload
// is as given: packed, if the header names its atoms. The first frame has all of the control
// message, however long. A message that fits in one frame can be sent so, too.
func Cut(sequence uint64, control int, payload ei.Raw, size int) Fragments {
	f := Fragments{Sequence: sequence, Size: size, Rest: payload}
	behind := len(payload) - f.firstPiece(control)
	f.Next = 1 + uint64(behind/size)
	if behind%size > 0 {
		f.Next++
	}
	return f
}

// firstPiece is how much of the payload goes with the control message.
func (f *Fragments) firstPiece(control int) int { return min(max(f.Size-control, 0), len(f.Rest)) }

// AppendFirst appends the first frame, up to its piece of the payload, which is to be written after
// it, uncopied: the length, the header, and the control message in the form that it was counted in.
// refs are the atoms of the whole message, and sent is what the peer has of them; both may be nil.
func (f *Fragments) AppendFirst(b []byte, sent *SentAtoms, refs *AtomRefs, control []byte) ([]byte, ei.Raw) {
	piece := f.piece(f.firstPiece(len(control)))
	start := len(b)
	b = f.appendHead(b, firstFragment)
	b = append(sent.appendRefs(b, refs), control...)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-lengthSize+len(piece)))
	return b, piece
}

// AppendNext is AppendFirst for the further frames, as long as Next is not 0.
func (f *Fragments) AppendNext(b []byte) ([]byte, ei.Raw) {
	piece := f.piece(min(f.Size, len(f.Rest)))
	start := len(b)
	b = f.appendHead(b, nextFragment)
	binary.BigEndian.PutUint32(b[start:], uint32(FragmentHeadSize+len(piece)))
	return b, piece
}

// appendHead appends the length, which is to be set, and the ids.
func (f *Fragments) appendHead(b []byte, kind byte) []byte {
	b = append(b, 0, 0, 0, 0, ei.VersionMagic, kind)
	b = binary.BigEndian.AppendUint64(b, f.Sequence)
	b = binary.BigEndian.AppendUint64(b, f.Next)
	f.Next--
	return b
}

func (f *Fragments) piece(n int) ei.Raw {
	piece := f.Rest[:n:n]
	f.Rest = f.Rest[n:]
	return piece
}
