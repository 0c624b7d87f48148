package party

import (
	"fmt"
	"os"
	"strings"
)

// A Socket is a TCP socket of this machine over IPv4, as the system lists it.
type Socket struct {
	Local, Remote int    // ports; Remote is 0 of one that listens
	Unsent        int    // bytes that are still here
	Unread        int    // bytes that have come, or connections
	Name          string // as in Open
}

// Sockets lists those that have a port, at either end.
func Sockets(port int) (list []Socket, err error) {
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 10 || f[0] == "sl" {
			continue
		}
		var s Socket
		var ip uint32
		if _, err := fmt.Sscanf(strings.Join([]string{f[1], f[2], f[4]}, ":"), "%X:%X:%X:%X:%X:%X", &ip, &s.Local, &ip, &s.Remote, &s.Unsent, &s.Unread); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		s.Name = "socket:[" + f[9] + "]"
		if s.Local == port || s.Remote == port {
			list = append(list, s)
		}
	}
	return list, nil
}
