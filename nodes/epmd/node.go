package epmd

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// NodeType says what kind of node a name belongs to. Port mappers store the byte and do not look at
// it. See erl_dist_protocol, "Register a Node in EPMD", NodeType.
type NodeType byte

// The node types in use. libei registers the letter 'h' (104) instead of TypeHidden; both mean a
// C-node.
const (
	TypeHidden NodeType = 72 // 'H', a C-node: not shown by nodes()
	TypeNormal NodeType = 77 // 'M', an ordinary Erlang node
)

// String gives "hidden", "normal" or the number.
func (t NodeType) String() string {
	switch t {
	case TypeHidden, 'h':
		return "hidden"
	case TypeNormal:
		return "normal"
	}
	return fmt.Sprintf("NodeType(%d)", byte(t))
}

// The versions of the distribution protocol that this module speaks. See erl_dist_protocol,
// HighestVersion and LowestVersion.
const (
	versionLow  = 5 // handshakes of OTP 22 and older; only this version counts creations in 1..3
	versionHigh = 6 // OTP 23 and newer
)

// The limits that a port mapper sets on names and extra data, found in OTP 25's epmd.
const (
	maxNameChars  = 255  // characters of a name
	maxNameBytes  = 1020 // bytes of a name: 255 characters of four bytes
	maxExtraBytes = 1020 // bytes of the extra field
)

// Registration is what a node tells the port mapper about itself.
// See erl_dist_protocol, ALIVE2_REQ.
type Registration struct {
	Name     string   // the part of the node name before the "@": 1..255 characters of UTF-8 without NUL
	Port     uint16   // the TCP port on which the node accepts distribution connections, not 0
	Type     NodeType // zero means TypeHidden
	Protocol byte     // 0 is TCP over IPv4, the only one defined
	High     uint16   // highest distribution version; zero means the highest there is
	Low      uint16   // lowest distribution version; zero means the same as High
	Extra    []byte   // at most 1020 bytes that the port mapper hands on, usually none
}

// NodeInfo is what the port mapper tells about a registered node.
// See erl_dist_protocol, PORT2_RESP.
type NodeInfo struct {
	Name     string   // the part of the node name before the "@"
	Port     uint16   // the TCP port on which the node accepts distribution connections
	Type     NodeType // hidden or not
	Protocol byte     // 0: TCP over IPv4
	High     uint16   // highest distribution version that the node speaks
	Low      uint16   // lowest one
	Extra    []byte   // what the node has published for others to read
}

// Version gives the highest distribution version that both the node and this module speak; ok is
// false when there is none.
func (n NodeInfo) Version() (version int, ok bool) {
	if n.Low > n.High || n.Low > versionHigh || n.High < versionLow {
		return 0, false
	}
	return min(int(n.High), versionHigh), true
}

// withDefaults fills in what a zero field stands for.
func (r Registration) withDefaults() Registration {
	if r.Type == 0 {
		r.Type = TypeHidden
	}
	if r.High == 0 {
		r.High = versionHigh
	}
	if r.Low == 0 {
		r.Low = r.High
	}
	return r
}

// check finds what a port mapper would refuse, so that a refusal that does come from it can only
// mean a name in use.
func (r Registration) check() error {
	if err := checkName(r.Name); err != nil {
		return err
	}
	if r.Port == 0 {
		return fmt.Errorf("%w: port 0", ErrInvalid)
	}
	if r.Low > r.High {
		return fmt.Errorf("%w: lowest version %d is above the highest, %d", ErrInvalid, r.Low, r.High)
	}
	if len(r.Extra) > maxExtraBytes {
		return fmt.Errorf("%w: %d bytes of extra data, at most %d are allowed", ErrInvalid, len(r.Extra), maxExtraBytes)
	}
	return nil
}

// checkName tells whether a client may register or ask for name.
func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: the name is empty", ErrInvalid)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: the name %q is not UTF-8", ErrInvalid, name)
	case utf8.RuneCountInString(name) > maxNameChars:
		return fmt.Errorf("%w: a name of %d characters, at most %d are allowed", ErrInvalid, utf8.RuneCountInString(name), maxNameChars)
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("%w: %q contains NUL", ErrInvalid, name)
	case strings.ContainsRune(name, '@'):
		return fmt.Errorf("%w: %q: port mappers know only the part before the \"@\"", ErrInvalid, name)
	}
	return nil
}
