package party

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// A Socket is a TCP socket of this machine over IPv4, as the system lists it.
type Socket struct {
	Local, Remote int // ports; Remote is 0 if the socket listens
	Unsent        int // bytes that are still here
	// bytes that have come and are not read; if the socket listens, connections not accepted
	Unread int
	Name   string // as in Open
}

// Sockets lists the sockets with this port at either end.
func Sockets(port int) (list []Socket, err error) {
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return nil, err
	}
	has := fmt.Sprintf(":%04X ", port)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if !strings.Contains(line, has) || len(f) < 10 {
			continue
		}
		s := Socket{Name: "socket:[" + f[9] + "]"}
		for _, x := range []struct {
			field int // FIRST:SECOND
			first bool
			v     *int
		}{{1, false, &s.Local}, {2, false, &s.Remote}, {4, true, &s.Unsent}, {4, false, &s.Unread}} {
			first, second, _ := strings.Cut(f[x.field], ":")
			if x.first {
				second = first
			}
			n, err := strconv.ParseUint(second, 16, 32)
			if err != nil {
				return nil, err
			}
			*x.v = int(n)
		}
		list = append(list, s)
	}
	return list, nil
}
