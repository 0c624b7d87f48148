package epmd

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// NamePort is one registered node as NAMES_RESP lists it.
type NamePort struct {
	Name string // the part of the node name before the "@"
	Port uint16 // where the node accepts
}

// DumpEntry is one name as DUMP_RESP lists it.
type DumpEntry struct {
	Name string // the part of the node name before the "@"
	Port uint16 // where the node accepts, or accepted
	FD   int    // the port mapper's descriptor for the connection that holds, or held, the name
}

// Dump is everything a port mapper keeps.
type Dump struct {
	Port   int         // the port mapper's own
	Active []DumpEntry // registered names, the newest first
	Unused []DumpEntry // names given up, kept for their creation counters, the oldest first
}

// The texts of NAMES_RESP and DUMP_RESP: what stands before a name, after it, and at the end of a
// line. erl_epmd and epmd -names rely on them. Only the lines of a dump end with a NUL, and only
// the unused ones have a blank before the line's end.
const (
	nameBefore, nameAfter     = "name ", " at port "
	activeBefore, activeAfter = "active name     <", "> at port "
	unusedBefore, unusedAfter = "old/unused name <", ">, port = "
	fdBefore                  = ", fd = "

	nameEnd, activeEnd, unusedEnd = "\n", "\n\x00", " \n\x00"
)

func appendListingPort(b []byte, port int) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(port))
}

func appendNameLine(b []byte, name string, port uint16) []byte {
	b = append(append(append(b, nameBefore...), name...), nameAfter...)
	return append(strconv.AppendUint(b, uint64(port), 10), nameEnd...)
}

func appendDumpLine(b []byte, before string, e DumpEntry, after, end string) []byte {
	b = append(append(append(b, before...), e.Name...), after...)
	b = append(strconv.AppendUint(b, uint64(e.Port), 10), fdBefore...)
	return append(strconv.AppendInt(b, int64(e.FD), 10), end...)
}

// parseNames parses a whole NAMES_RESP.
func parseNames(b []byte) (port int, names []NamePort, err error) {
	port, b, err = parseListingPort(b)
	if err != nil {
		return 0, nil, err
	}
	for len(b) > 0 {
		e, rest, err := cutName(b)
		if err != nil {
			return 0, nil, err
		}
		names = append(names, e)
		b = rest
	}
	return port, names, nil
}

// cutName cuts off the first line of NAMES_RESP. A port mapper takes any name, even one with the
// end of a line in it.
func cutName(b []byte) (e NamePort, rest []byte, err error) {
	text, ok := bytes.CutPrefix(b, []byte(nameBefore))
	for end := 0; ok && end <= maxNameBytes+len(nameAfter)+len("65535"); end += len(nameEnd) {
		i := bytes.Index(text[end:], []byte(nameEnd))
		if i < 0 {
			break
		}
		end += i
		if name, port, ok := cutPort(text[:end], nameAfter); ok {
			return NamePort{name, port}, text[end+len(nameEnd):], nil
		}
	}
	line, _, ended := bytes.Cut(b, []byte(nameEnd))
	if !ended {
		return e, nil, wrong("names: the last line is cut off: %.80q", line)
	}
	return e, nil, wrong("names: line %.80q", line)
}

// parseDump parses a whole DUMP_RESP.
func parseDump(b []byte) (d Dump, err error) {
	d.Port, b, err = parseListingPort(b)
	if err != nil {
		return Dump{}, err
	}
	for len(b) > 0 {
		// the end of unused lines too, apart from their blank
		line, rest, ok := bytes.Cut(b, []byte(activeEnd))
		if !ok {
			return Dump{}, wrong("dump: the last line is cut off: %.80q", line)
		}
		if text, ok := bytes.CutPrefix(line, []byte(activeBefore)); ok {
			e, ok := cutFD(text, activeAfter)
			if !ok {
				return Dump{}, wrong("dump: line %.80q", line)
			}
			d.Active = append(d.Active, e)
		} else {
			text, ok := bytes.CutPrefix(bytes.TrimSuffix(line, []byte(" ")), []byte(unusedBefore))
			e, ok2 := cutFD(text, unusedAfter)
			if !ok || !ok2 {
				return Dump{}, wrong("dump: line %.80q", line)
			}
			d.Unused = append(d.Unused, e)
		}
		b = rest
	}
	return d, nil
}

func parseListingPort(b []byte) (port int, rest []byte, err error) {
	if len(b) < 4 {
		return 0, nil, wrong("a listing of %d bytes", len(b))
	}
	p := binary.BigEndian.Uint32(b)
	if p > 65535 {
		return 0, nil, wrong("a port mapper on port %d", p)
	}
	return int(p), b[4:], nil
}

// cutPort splits "NAME<sep>PORT". The last separator counts, as a name may contain one. It looks at
// the end only: cutName calls it for each line of a name that has many.
func cutPort(b []byte, sep string) (name string, port uint16, ok bool) {
	rest := bytes.TrimRight(b, "0123456789")
	before, ok := bytes.CutSuffix(rest, []byte(sep))
	if !ok || len(before) > maxNameBytes {
		return "", 0, false
	}
	n, err := strconv.ParseUint(string(b[len(rest):]), 10, 16)
	return string(before), uint16(n), err == nil
}

// cutFD splits "NAME<sep>PORT, fd = FD".
func cutFD(b []byte, sep string) (e DumpEntry, ok bool) {
	i := bytes.LastIndex(b, []byte(fdBefore))
	if i < 0 {
		return e, false
	}
	fd, err := strconv.ParseInt(string(b[i+len(fdBefore):]), 10, 32)
	if err != nil {
		return e, false
	}
	e.FD = int(fd)
	e.Name, e.Port, ok = cutPort(b[:i], sep)
	return e, ok
}
