package epmd

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// tag is the first byte of a request or an answer. See erl_dist_protocol, "EPMD Protocol".
type tag byte

const (
	tagAlive2Req   tag = 'x' // 120
	tagPort2Req    tag = 'z' // 122
	tagNamesReq    tag = 'n' // 110
	tagDumpReq     tag = 'd' // 100
	tagKillReq     tag = 'k' // 107
	tagStopReq     tag = 's' // 115
	tagAlive2XResp tag = 'v' // 118, 32-bit creation
	tagAlive2Resp  tag = 'y' // 121, 16-bit creation
	tagPort2Resp   tag = 'w' // 119
)

var tagNames = map[tag]string{
	tagAlive2Req: "ALIVE2_REQ", tagPort2Req: "PORT2_REQ", tagNamesReq: "NAMES_REQ", tagDumpReq: "DUMP_REQ", tagKillReq: "KILL_REQ",
	tagStopReq: "STOP_REQ", tagAlive2XResp: "ALIVE2_X_RESP", tagAlive2Resp: "ALIVE2_RESP", tagPort2Resp: "PORT2_RESP",
}

func (t tag) String() string { return cmp.Or(tagNames[t], fmt.Sprintf("tag %d", byte(t))) }

const (
	headerSize = 2 // the length before each request; answers have none
	// bytes after the header that OTP's epmd takes; it closes the connection on a larger length
	maxRequest = 3057

	alive2Fixed = 13 // bytes of an ALIVE2_REQ beside name and extra
)

// errShort says that an answer is right so far but not complete.
var errShort = errors.New("incomplete")

// errMalformed is a request that gets no answer: the server closes the connection.
var errMalformed = errors.New("malformed request")

// request is any request, parsed. Name is set for PORT2_REQ and STOP_REQ, Reg for ALIVE2_REQ.
type request struct {
	tag  tag
	name string
	reg  Registration
}

// appendRequest appends the header and the request. The lengths must have been checked.
func appendRequest(b []byte, q request) []byte {
	start := len(b)
	b = append(b, 0, 0, byte(q.tag))
	switch q.tag {
	case tagAlive2Req:
		b = appendNode(b, NodeInfo(q.reg))
	case tagPort2Req, tagStopReq:
		b = append(b, q.name...)
	}
	binary.BigEndian.PutUint16(b[start:], uint16(len(b)-start-headerSize))
	return b
}

// parseRequest parses a request without its header. It accepts and refuses what OTP's epmd does,
// odd cases included: bytes after a complete request are ignored, an empty name can be registered
// if there is extra data, and 255 characters can be registered but not asked for. Names and extra
// data that are only too long pass: they are refused with an answer, by the table.
func parseRequest(b []byte) (request, error) {
	if len(b) == 0 {
		return request{}, fmt.Errorf("%w: empty", errMalformed)
	}
	q := request{tag: tag(b[0])}
	var err error
	switch q.tag {
	case tagAlive2Req:
		q.reg, err = parseAlive2(b)
	case tagPort2Req:
		q.name, err = parsePort2(b)
	case tagStopReq:
		if len(b) == 1 {
			return request{}, fmt.Errorf("%w: %v without a name", errMalformed, q.tag)
		}
		name, _, _ := bytes.Cut(b[1:], []byte{0})
		q.name = string(name)
	case tagNamesReq, tagDumpReq, tagKillReq:
	default:
		err = fmt.Errorf("%w: %v", errMalformed, q.tag)
	}
	if err != nil {
		return request{}, err
	}
	return q, nil
}

func parseAlive2(b []byte) (Registration, error) {
	if len(b) <= alive2Fixed {
		return Registration{}, fmt.Errorf("%w: %v of %d bytes", errMalformed, tagAlive2Req, len(b))
	}
	r := Registration{
		Port:     binary.BigEndian.Uint16(b[1:]),
		Type:     NodeType(b[3]),
		Protocol: b[4],
		High:     binary.BigEndian.Uint16(b[5:]),
		Low:      binary.BigEndian.Uint16(b[7:]),
	}
	nameLen := int(binary.BigEndian.Uint16(b[9:]))
	if alive2Fixed+nameLen > len(b) {
		return Registration{}, fmt.Errorf("%w: a name of %d bytes in %d", errMalformed, nameLen, len(b))
	}
	name, rest := b[11:11+nameLen], b[11+nameLen:]
	extraLen := int(binary.BigEndian.Uint16(rest))
	if extraLen > len(rest)-2 {
		return Registration{}, fmt.Errorf("%w: %d bytes of extra data in %d", errMalformed, extraLen, len(rest)-2)
	}
	if bytes.IndexByte(name, 0) >= 0 {
		return Registration{}, fmt.Errorf("%w: NUL in a name", errMalformed)
	}
	r.Name = string(name)
	r.Extra = bytes.Clone(rest[2 : 2+extraLen])
	return r, nil
}

func parsePort2(b []byte) (name string, err error) {
	name = strings.TrimSuffix(string(b[1:]), "\x00")
	switch {
	case name == "":
		return "", fmt.Errorf("%w: %v without a name", errMalformed, tagPort2Req)
	case strings.IndexByte(name, 0) >= 0:
		return "", fmt.Errorf("%w: NUL in a name", errMalformed)
	case !utf8.ValidString(name):
		return "", fmt.Errorf("%w: name is not UTF-8", errMalformed)
	case utf8.RuneCountInString(name) >= maxNameChars:
		// OTP's epmd counts its own terminating NUL, so a name of 255 characters is one too many here.
		return "", fmt.Errorf("%w: a name of %d characters", errMalformed, utf8.RuneCountInString(name))
	}
	return name, nil
}

// aliveAnswer is ALIVE2_X_RESP or, when short, ALIVE2_RESP.
type aliveAnswer struct {
	short    bool
	result   byte // 0 is success
	creation uint32
}

func appendAliveAnswer(b []byte, a aliveAnswer) []byte {
	if a.short {
		b = append(b, byte(tagAlive2Resp), a.result)
		return binary.BigEndian.AppendUint16(b, uint16(a.creation))
	}
	b = append(b, byte(tagAlive2XResp), a.result)
	return binary.BigEndian.AppendUint32(b, a.creation)
}

// parseAliveAnswer parses an answer at the start of b; n is its length. The error is errShort or an
// ErrProtocol.
func parseAliveAnswer(b []byte) (a aliveAnswer, n int, err error) {
	if len(b) == 0 {
		return a, 0, errShort
	}
	n = 6
	switch tag(b[0]) {
	case tagAlive2XResp:
	case tagAlive2Resp:
		a.short, n = true, 4
	default:
		return a, 0, wrong("%v instead of %v", tag(b[0]), tagAlive2XResp)
	}
	if len(b) < n {
		return a, 0, errShort
	}
	a.result = b[1]
	if a.short {
		a.creation = uint32(binary.BigEndian.Uint16(b[2:]))
	} else {
		a.creation = binary.BigEndian.Uint32(b[2:])
	}
	return a, n, nil
}

// appendPortAnswer appends PORT2_RESP; nil stands for an unknown name.
func appendPortAnswer(b []byte, info *NodeInfo) []byte {
	if info == nil {
		return append(b, byte(tagPort2Resp), 1)
	}
	return appendNode(append(b, byte(tagPort2Resp), 0), *info)
}

// appendNode appends what requests and answers say of a node.
func appendNode(b []byte, n NodeInfo) []byte {
	b = binary.BigEndian.AppendUint16(b, n.Port)
	b = append(b, byte(n.Type), n.Protocol)
	b = binary.BigEndian.AppendUint16(b, n.High)
	b = binary.BigEndian.AppendUint16(b, n.Low)
	b = binary.BigEndian.AppendUint16(b, uint16(len(n.Name)))
	b = append(b, n.Name...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(n.Extra)))
	return append(b, n.Extra...)
}

// parsePortAnswer parses an answer at the start of b; n is its length. found is false when the port
// mapper does not know the name. The error is errShort or an ErrProtocol.
func parsePortAnswer(b []byte) (info NodeInfo, found bool, n int, err error) {
	if len(b) > 0 && tag(b[0]) != tagPort2Resp {
		return info, false, 0, wrong("%v instead of %v", tag(b[0]), tagPort2Resp)
	}
	if len(b) < 2 {
		return info, false, 0, errShort
	}
	if b[1] != 0 {
		return info, false, 2, nil
	}
	name, n, err := parseField(b, 10, maxNameBytes, "name")
	if err != nil {
		return info, false, 0, err
	}
	extra, n, err := parseField(b, n, maxExtraBytes, "extra data")
	if err != nil {
		return info, false, 0, err
	}
	info = NodeInfo{
		Name:     string(name),
		Port:     binary.BigEndian.Uint16(b[2:]),
		Type:     NodeType(b[4]),
		Protocol: b[5],
		High:     binary.BigEndian.Uint16(b[6:]),
		Low:      binary.BigEndian.Uint16(b[8:]),
		Extra:    bytes.Clone(extra),
	}
	if info.Port == 0 {
		return NodeInfo{}, false, 0, wrong("port 0")
	}
	return info, true, n, nil
}

// parseField gives the field that follows a two-byte length at off, and the offset after it.
func parseField(b []byte, off, limit int, what string) (field []byte, end int, err error) {
	if len(b) < off+2 {
		return nil, 0, errShort
	}
	size := int(binary.BigEndian.Uint16(b[off:]))
	if size > limit {
		return nil, 0, wrong("%d bytes of %s, at most %d are allowed", size, what, limit)
	}
	off += 2
	if len(b) < off+size {
		return nil, 0, errShort
	}
	return b[off : off+size], off + size, nil
}
