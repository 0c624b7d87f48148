package protocol

import (
	"bytes"
	"crypto/fips140"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/cnode-go/cnode/nodes/dist"
)

// The first byte of each handshake message.
const (
	tagName6      = 'N'
	tagName5      = 'n'
	tagStatus     = 's'
	tagComplement = 'c'
	tagReply      = 'r'
	tagAck        = 'a'
)

// lowFlags are the flags that a handshake of version 5 carries in its first
// message; the other half follows in the complement.
const lowFlags dist.Flags = 1<<32 - 1

// Digest is the proof of a cookie: the MD5 of the cookie's text followed by
// the challenge as decimal text.
//
// See erl_dist_protocol, "Distribution Handshake", gen_digest.
//
// The protocol knows no other digest than MD5, so GODEBUG=fips140=only, with
// which crypto/md5 panics, does not hold for this one.
func Digest(cookie string, challenge uint32) (digest [md5.Size]byte) {
	text := make([]byte, 0, len(cookie)+10)
	text = append(text, cookie...)
	text = strconv.AppendUint(text, uint64(challenge), 10)
	fips140.WithoutEnforcement(func() { digest = md5.Sum(text) })
	return digest
}

// Name is the first message, by which the connecting side announces itself.
//
// See erl_dist_protocol, send_name.
type Name struct {
	Version  int        // Version6 or Version5
	Flags    dist.Flags // version 5 carries the low 32 bits only
	Creation uint32     // 0 in version 5, until the complement
	Name     string     // alive@host; only the host when Flags has FlagNameMe
}

// Dynamic reports whether the sender asks for a node name.
func (n Name) Dynamic() bool { return n.Version != dist.Version5 && n.Flags.Has(dist.FlagNameMe) }

// check checks that the name is a node name, or a host if it is dynamic.
func (n Name) check() error {
	if n.Dynamic() {
		return dist.CheckName("x@" + n.Name)
	}
	return dist.CheckName(n.Name)
}

// AppendName appends the message in the form of n.Version. The name is not
// checked; one of more than 65535 bytes is ErrTooLong.
func AppendName(b []byte, n Name) ([]byte, error) {
	switch n.Version {
	case dist.Version5:
		b = append(b, tagName5, 0, dist.Version5)
		b = binary.BigEndian.AppendUint32(b, uint32(n.Flags))
		return append(b, n.Name...), nil
	case dist.Version6:
		b = append(b, tagName6)
		b = binary.BigEndian.AppendUint64(b, uint64(n.Flags))
		b = binary.BigEndian.AppendUint32(b, n.Creation)
		return appendText16(b, n.Name)
	}
	return b, fmt.Errorf("%w: version %d", dist.ErrConfig, n.Version)
}

// ParseName reads the message in either form. Bytes after the name of a version 6 message are
// ignored, as the protocol demands. A name that breaks the rules of SplitName (of a host when it
// asks for a dynamic name) is ErrInvalidName, anything else ErrMalformed.
func ParseName(p []byte) (Name, error) {
	var n Name
	switch {
	case len(p) > 0 && p[0] == tagName6:
		r := reader{rest: p[1:]}
		n = Name{Version: dist.Version6, Flags: dist.Flags(r.uint64()), Creation: r.uint32(), Name: r.text16()}
		if r.short {
			return Name{}, malformed("name", p)
		}
	case len(p) > 0 && p[0] == tagName5:
		r := reader{rest: p[1:]}
		version, flags := r.uint16(), r.uint32()
		if r.short || version != dist.Version5 {
			return Name{}, malformed("name", p)
		}
		n = Name{Version: dist.Version5, Flags: dist.Flags(flags), Name: string(r.rest)}
	default:
		return Name{}, malformed("name", p)
	}
	if err := n.check(); err != nil {
		return Name{}, err
	}
	return n, nil
}

// The statuses.
const (
	StatusOK             dist.Status = "ok"              // go on
	StatusOKSimultaneous dist.Status = "ok_simultaneous" // go on; the accepting side gives up its own attempt
	StatusNok            dist.Status = "nok"             // the accepting side's own attempt goes on instead
	StatusNotAllowed     dist.Status = "not_allowed"     // refused
	StatusAlive          dist.Status = "alive"           // a connection exists: is it dead?
	StatusNamed          dist.Status = "named:"          // go on, under the dynamic name that follows

	// the answers of the connecting side to alive
	StatusTrue  dist.Status = "true"  // the old connection is dead, go on
	StatusFalse dist.Status = "false" // the old connection lives
)

// StatusMessage is a status as it travels; Name and Creation belong to StatusNamed only.
type StatusMessage struct {
	Status   dist.Status // the word
	Name     string      // the dynamic name that is given
	Creation uint32      // and its creation
}

// AppendStatus appends the message. A name of more than 65535 bytes is ErrTooLong.
func AppendStatus(b []byte, m StatusMessage) ([]byte, error) {
	b = append(b, tagStatus)
	b = append(b, m.Status...)
	if m.Status != StatusNamed {
		return b, nil
	}
	b, err := appendText16(b, m.Name)
	if err != nil {
		return b, err
	}
	return binary.BigEndian.AppendUint32(b, m.Creation), nil
}

// ParseStatus reads the message. Unknown statuses are returned as they are; bytes after the
// creation of a dynamic name are ignored. A dynamic name that breaks the rules of SplitName is
// ErrInvalidName, any other fault ErrMalformed.
func ParseStatus(p []byte) (StatusMessage, error) {
	if len(p) < 2 || p[0] != tagStatus {
		return StatusMessage{}, malformed("status", p)
	}
	named, found := bytes.CutPrefix(p[1:], []byte(StatusNamed))
	if !found {
		return StatusMessage{Status: dist.Status(p[1:])}, nil
	}
	r := reader{rest: named}
	m := StatusMessage{Status: StatusNamed, Name: r.text16(), Creation: r.uint32()}
	if r.short {
		return StatusMessage{}, malformed("status", p)
	}
	if err := dist.CheckName(m.Name); err != nil {
		return StatusMessage{}, err
	}
	return m, nil
}

// Challenge is the accepting side's own announcement and its challenge.
//
// See erl_dist_protocol, send_challenge.
type Challenge struct {
	Version   int        // Version6; Version5 comes from OTP 22 and older only
	Flags     dist.Flags // what the accepting side can do
	Challenge uint32     // to be answered with the digest
	Creation  uint32     // 0 in version 5
	Name      string     // alive@host
}

// AppendChallenge appends the message in the form of m.Version. The name is
// not checked; one of more than 65535 bytes is ErrTooLong.
func AppendChallenge(b []byte, m Challenge) ([]byte, error) {
	switch m.Version {
	case dist.Version5:
		b = append(b, tagName5, 0, dist.Version5)
		b = binary.BigEndian.AppendUint32(b, uint32(m.Flags))
		b = binary.BigEndian.AppendUint32(b, m.Challenge)
		return append(b, m.Name...), nil
	case dist.Version6:
		b = append(b, tagName6)
		b = binary.BigEndian.AppendUint64(b, uint64(m.Flags))
		b = binary.BigEndian.AppendUint32(b, m.Challenge)
		b = binary.BigEndian.AppendUint32(b, m.Creation)
		return appendText16(b, m.Name)
	}
	return b, fmt.Errorf("%w: version %d", dist.ErrConfig, m.Version)
}

// ParseChallenge reads the message in either form; bytes after the name of a
// version 6 message are ignored.
func ParseChallenge(p []byte) (Challenge, error) {
	var m Challenge
	switch {
	case len(p) > 0 && p[0] == tagName6:
		r := reader{rest: p[1:]}
		m = Challenge{
			Version: dist.Version6, Flags: dist.Flags(r.uint64()), Challenge: r.uint32(),
			Creation: r.uint32(), Name: r.text16(),
		}
		if r.short {
			return Challenge{}, malformed("challenge", p)
		}
	case len(p) > 0 && p[0] == tagName5:
		r := reader{rest: p[1:]}
		version, flags, challenge := r.uint16(), r.uint32(), r.uint32()
		if r.short || version != dist.Version5 {
			return Challenge{}, malformed("challenge", p)
		}
		m = Challenge{Version: dist.Version5, Flags: dist.Flags(flags), Challenge: challenge, Name: string(r.rest)}
	default:
		return Challenge{}, malformed("challenge", p)
	}
	if err := dist.CheckName(m.Name); err != nil {
		return Challenge{}, err
	}
	return m, nil
}

// Complement is what a version 5 name had no room for.
//
// See erl_dist_protocol, send_complement.
type Complement struct {
	Flags    dist.Flags // the high 32 bits, in their place
	Creation uint32     // of the connecting node
}

// AppendComplement appends the message, 9 bytes.
func AppendComplement(b []byte, m Complement) []byte {
	b = append(b, tagComplement)
	b = binary.BigEndian.AppendUint32(b, uint32(m.Flags>>32))
	return binary.BigEndian.AppendUint32(b, m.Creation)
}

// ParseComplement reads the message; it has exactly 9 bytes.
func ParseComplement(p []byte) (Complement, error) {
	if len(p) != 9 || p[0] != tagComplement {
		return Complement{}, malformed("complement", p)
	}
	return Complement{
		Flags:    dist.Flags(binary.BigEndian.Uint32(p[1:])) << 32,
		Creation: binary.BigEndian.Uint32(p[5:]),
	}, nil
}

// Reply is the connecting side's proof and its own challenge.
//
// See erl_dist_protocol, send_challenge_reply.
type Reply struct {
	Challenge uint32         // the connecting side's own
	Digest    [md5.Size]byte // of the accepting side's challenge
}

// AppendReply appends the message, 21 bytes.
func AppendReply(b []byte, m Reply) []byte {
	b = append(b, tagReply)
	b = binary.BigEndian.AppendUint32(b, m.Challenge)
	return append(b, m.Digest[:]...)
}

// ParseReply reads the message; it has exactly 21 bytes.
func ParseReply(p []byte) (Reply, error) {
	if len(p) != 5+md5.Size || p[0] != tagReply {
		return Reply{}, malformed("challenge_reply", p)
	}
	return Reply{Challenge: binary.BigEndian.Uint32(p[1:]), Digest: [md5.Size]byte(p[5:])}, nil
}

// AppendAck appends the accepting side's proof, 17 bytes.
//
// See erl_dist_protocol, send_challenge_ack.
func AppendAck(b []byte, digest [md5.Size]byte) []byte {
	b = append(b, tagAck)
	return append(b, digest[:]...)
}

// ParseAck reads the message; it has exactly 17 bytes.
func ParseAck(p []byte) (digest [md5.Size]byte, err error) {
	if len(p) != 1+md5.Size || p[0] != tagAck {
		return digest, malformed("challenge_ack", p)
	}
	return [md5.Size]byte(p[1:]), nil
}

// malformed tells which message was expected and what came, without digests.
func malformed(message string, p []byte) error {
	return fmt.Errorf("%w: %s of %d bytes starting with %.1q", dist.ErrMalformed, message, len(p), p)
}

func appendText16(b []byte, s string) ([]byte, error) {
	if len(s) > 1<<16-1 {
		return b, fmt.Errorf("name of %d bytes: %w", len(s), dist.ErrTooLong)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...), nil
}

// reader takes big-endian fields off the front of rest. Once bytes are
// missing, short is set and every further field is zero.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if r.short || n > len(r.rest) {
		r.short = true
		return nil
	}
	field := r.rest[:n]
	r.rest = r.rest[n:]
	return field
}

func (r *reader) uint16() uint16 {
	if p := r.take(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if p := r.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if p := r.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (r *reader) text16() string { return string(r.take(int(r.uint16()))) }
