package handoff

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
)

// A message of a hand-off is a packet: a byte for its kind, then fields, each of them
//
//	tag<<1 | mandatory   unsigned varint
//	length in bytes      unsigned varint
//	value                bytes, text, or an unsigned varint
//
// A field that may occur several times is a list. A reader skips a field that it does not know,
// unless the field is mandatory: then it refuses the message.

// The kinds of messages, in the order in which they come.
const (
	kindHello       byte = iota + 1 // from both sides, the new owner first
	kindReady                       // new owner: hello is accepted
	kindStatic                      // old owner: a piece of what may be built beforehand
	kindPrepared                    // new owner
	kindDescriptors                 // old owner, with some of the descriptors
	kindReceived                    // new owner, answers each kindDescriptors
	kindState                       // old owner: a piece of the state
	kindStateFile                   // old owner, with a sealed memory file: all of the state
	kindOffer                       // old owner, with the read end of the pipe: that was all
	kindAccept                      // new owner; the token in the pipe is the answer
	kindDone                        // new owner; with a refusal's body if Start has failed
	kindGoodbye                     // old owner
	kindRefuse                      // from either side, in place of any of those
	kindAsk                         // to a control socket, in place of hello
	kindAnswer                      // from a control socket
)

const (
	magic = "cnode-handoff"
	// The versions of the protocol that this package speaks.
	minVersion, maxVersion = 1, 1
	featureMemoryFile      = "memory-file" // the state may come in a memory file
	// listLimit bounds the lists of a message.
	listLimit = 1024
)

// Terms are what a side tells of itself at hello, before anything is frozen.
type Terms struct {
	// What is the name of what is to be handed over. If both sides give a name, the names have to
	// be equal.
	What string
	// Plugins are the names of the plug-ins that the old owner needs, and of those that the new
	// owner has.
	Plugins []string
	// Require are features that the other side must know, else it refuses.
	Require []string
	// Know are features that this side knows.
	Know []string
	// Descriptors is, for the old owner, about how many descriptors it will send, and for the new
	// owner, the most that it takes; there 0 means as many as its limit of open files allows.
	Descriptors int
	// StateBytes is the longest state that the new owner takes, in bytes; it bounds the result of
	// Offer.Static separately. 0 is 1 GiB.
	StateBytes int
}

// A hello is the body of kindHello: Terms, versions and a process.
type hello struct {
	min, max int
	pid      int // the sender's own, which may be of another PID namespace
	Terms
}

const must, may = true, false

func appendField(b []byte, tag uint64, mandatory bool, v []byte) []byte {
	tag <<= 1
	if mandatory {
		tag |= 1
	}
	b = binary.AppendUvarint(b, tag)
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

func appendNumber(b []byte, tag uint64, mandatory bool, v int) []byte {
	var p [binary.MaxVarintLen64]byte
	return appendField(b, tag, mandatory, p[:binary.PutUvarint(p[:], uint64(max(v, 0)))])
}

// readFields reads fields, the one with tag n into the n-th of into, counted from 1: a *int, a
// *string, a *[]byte, which becomes a part of b, or a *[]string for a field that may come several
// times.
func readFields(b []byte, into ...any) error {
	for len(b) > 0 {
		head, n := binary.Uvarint(b)
		if n <= 0 {
			return fault.Malformed("the header of a field is cut off")
		}
		b = b[n:]
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return fault.Malformed("a field is cut off")
		}
		v := b[n : n+int(size)]
		b = b[n+int(size):]
		tag, mandatory := head>>1, head&1 != 0
		if tag < 1 || tag > uint64(len(into)) {
			if mandatory {
				return fmt.Errorf("%w: field %d", ErrUnknown, tag)
			}
			continue
		}
		switch to := into[tag-1].(type) {
		case *int:
			x, n := binary.Uvarint(v)
			if n <= 0 || n != len(v) || x > math.MaxInt {
				return fault.Malformed("field %d is not a number", tag)
			}
			*to = int(x)
		case *string:
			*to = string(v)
		case *[]byte:
			*to = v
		case *[]string:
			if len(*to) >= listLimit {
				return fault.Malformed("field %d comes more than %d times", tag, listLimit)
			}
			*to = append(*to, string(v))
		}
	}
	return nil
}

func appendHello(b []byte, h hello) []byte {
	b = appendField(b, 1, must, []byte(magic))
	b = appendNumber(b, 2, must, h.min)
	b = appendNumber(b, 3, must, h.max)
	b = appendNumber(b, 4, may, h.pid)
	b = appendField(b, 5, must, []byte(h.What))
	for _, p := range h.Plugins {
		b = appendField(b, 6, must, []byte(p))
	}
	for _, r := range h.Require {
		b = appendField(b, 7, must, []byte(r))
	}
	for _, k := range h.Know {
		b = appendField(b, 8, may, []byte(k))
	}
	b = appendNumber(b, 9, must, h.Descriptors)
	return appendNumber(b, 10, must, h.StateBytes)
}

func parseHello(b []byte) (h hello, err error) {
	var is string
	err = readFields(b, &is, &h.min, &h.max, &h.pid, &h.What, &h.Plugins, &h.Require, &h.Know, &h.Descriptors, &h.StateBytes)
	if err == nil && (is != magic || h.min < 1 || h.max < h.min) {
		err = fault.Malformed("not the hello of a hand-off")
	}
	return h, err
}

// An offerMessage is a message of one of the kinds that carry what is handed over: see parseOffer.
type offerMessage struct {
	kind byte
	// index of the first descriptor, or byte, of this part; in kindOffer and kindReceived:
	// descriptors in all
	first int
	count int // descriptors
	total int // bytes of state in all
	data  []byte
}

// attached is how many descriptors come with a message of another kind than kindDescriptors.
func (m offerMessage) attached() int {
	if m.kind == kindStateFile || m.kind == kindOffer {
		return 1
	}
	return 0
}

// appendCounts appends the body of a message of two numbers; see parseOffer for their meaning.
func appendCounts(b []byte, first, second int) []byte {
	return appendNumber(appendNumber(b, 1, must, first), 2, must, second)
}

func appendChunk(b []byte, at, total int, data []byte) []byte {
	return appendField(appendCounts(b, at, total), 3, must, data)
}

// parseOffer reads kindStatic, kindDescriptors, kindReceived, kindState, kindStateFile and
// kindOffer.
func parseOffer(p packet) (m offerMessage, err error) {
	m.kind = p.kind
	var second int
	switch p.kind {
	case kindStatic, kindDescriptors, kindReceived, kindState, kindStateFile, kindOffer:
	default:
		return m, fault.Malformed("message %d, and an offer is due", p.kind)
	}
	err = readFields(p.body, &m.first, &second, &m.data)
	if m.kind == kindDescriptors {
		m.count = second
	} else {
		m.total = second
	}
	return m, err
}

func appendAccept(b []byte, sum [sha256.Size]byte, descriptors int) []byte {
	return appendNumber(appendField(b, 1, must, sum[:]), 2, must, descriptors)
}

func parseAccept(b []byte) (sum []byte, descriptors int, err error) {
	err = readFields(b, &sum, &descriptors)
	return sum, descriptors, err
}

func appendRefusal(b []byte, step string, why error) []byte {
	code := 0
	for i, known := range refusals {
		if known != nil && errors.Is(why, known) {
			code = i
		}
	}
	reason := why.Error()
	if len(reason) > chunkSize {
		reason = strings.ToValidUTF8(reason[:chunkSize], "") // the cut may be inside a character
	}
	return appendField(appendField(appendNumber(b, 1, may, code), 2, may, []byte(step)), 3, may, []byte(reason))
}

// parseRefusal returns a refusal as a *RefusedError.
func parseRefusal(b []byte) error {
	r, err := refusalOf(b)
	if err != nil {
		return err
	}
	return r
}

// parseDone returns what kindDone says of Start: a *StartError, or nil if that has succeeded.
func parseDone(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	r, err := refusalOf(b)
	if err != nil {
		return err
	}
	return &StartError{Reason: r.Reason, Err: r.Err}
}

func refusalOf(b []byte) (*RefusedError, error) {
	code, step, reason := 0, stepHello, ""
	if err := readFields(b, &code, &step, &reason); err != nil {
		return nil, err
	}
	r := &RefusedError{Step: step, Reason: reason}
	if code < len(refusals) {
		r.Err = refusals[code]
	}
	return r, nil
}

// appendWords appends the body of a request to a control socket, or of the answer.
func appendWords(b []byte, words []string) []byte {
	for _, w := range words {
		b = appendField(b, 1, must, []byte(w))
	}
	return b
}

func parseWords(b []byte) (words []string, err error) {
	err = readFields(b, &words)
	return words, err
}
