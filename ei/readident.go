package ei

import (
	"strconv"
	"strings"
)

// pid reads the rest of #Pid<node.ID.SERIAL.CREATION>.
func (p *textParser) pid() (Term, error) {
	node, nums, err := p.ident(3)
	if err != nil {
		return nil, err
	}
	id, err1 := strconv.ParseUint(nums[0], 10, 32)
	serial, err2 := strconv.ParseUint(nums[1], 10, 32)
	creation, err3 := strconv.ParseUint(nums[2], 10, 32)
	if err1 != nil || err2 != nil || err3 != nil {
		return nil, p.Bad("bad pid")
	}
	return Pid{Node: node, ID: uint32(id), Serial: uint32(serial), Creation: uint32(creation)}, nil
}

// port reads the rest of #Port<node.ID.CREATION>.
func (p *textParser) port() (Term, error) {
	node, nums, err := p.ident(2)
	if err != nil {
		return nil, err
	}
	id, err1 := strconv.ParseUint(nums[0], 10, 64)
	creation, err2 := strconv.ParseUint(nums[1], 10, 32)
	if err1 != nil || err2 != nil {
		return nil, p.Bad("bad port")
	}
	return Port{Node: node, ID: id, Creation: uint32(creation)}, nil
}

// ref reads the rest of #Ref<node.WN.….W1.CREATION>.
func (p *textParser) ref() (Term, error) {
	node, nums, err := p.ident(0)
	if err != nil {
		return nil, err
	}
	words := len(nums) - 1
	if words < 1 || words > maxRefWords {
		return nil, p.Bad("bad reference")
	}
	r := Ref{Node: node, Len: uint8(words)}
	for i, num := range nums {
		v, err := strconv.ParseUint(num, 10, 32)
		if err != nil {
			return nil, p.Bad("bad reference")
		}
		if i < words {
			r.ID[words-1-i] = uint32(v)
		} else {
			r.Creation = uint32(v)
		}
	}
	return r, nil
}

// nameFields gives how many of the fields, which are separated by points, belong to the node's
// name: all but the numbers at the end, since a host's name does not end in a number. An IPv4
// address as the host takes four fields.
func nameFields(fields []string) int {
	isNumber := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	n := len(fields)
	for n > 1 && isNumber(fields[n-1]) {
		n--
	}
	if _, host, ok := strings.Cut(fields[0], "@"); ok && n == 1 && isNumber(host) && len(fields) > 4 {
		return 4
	}
	return n
}

const shellNumber = "a shell prints a number in its place, which only its node understands"

// ident reads a node's name and the count numbers after it, up to the closing >; a count of 0 takes
// as many as there are. A name without quotes may hold points.
func (p *textParser) ident(count int) (node Atom, nums []string, err error) {
	start := p.Pos
	if p.Peek() == '\'' {
		if node, err = p.name(); err != nil {
			return "", nil, err
		}
	}
	end := strings.IndexByte(p.S[p.Pos:], '>')
	if end < 0 || end > 2*maxAtomBytes {
		return "", nil, p.Bad("no closing >")
	}
	fields := strings.Split(p.S[p.Pos:p.Pos+end], ".")
	if count == 0 {
		count = len(fields) - nameFields(fields)
	}
	first := len(fields) - count
	if first < 1 {
		return "", nil, p.Bad("bad identifier: no node's name (" + shellNumber + ")")
	}
	name := strings.Join(fields[:first], ".")
	if p.S[start] == '\'' {
		if name != "" {
			return "", nil, p.Bad("bad identifier")
		}
	} else {
		node = Atom(strings.Clone(name)) // so that the atom does not keep a large text in memory
		if !strings.Contains(name, "@") && !isBareAtom(name) || !validAtom(node) || strings.ContainsAny(name, "<'\"\\ \t\r\n") {
			p.Pos = start
			return "", nil, p.Bad("bad node name (" + shellNumber + ")")
		}
	}
	p.Pos += end + 1
	return node, fields[first:], nil
}
