package otp

import (
	"strconv"
	"strings"
)

// Across are the options of a node at the other end of a line: it listens on that port of its own
// address, as its peers do on theirs, without a port mapper, and gives a peer up that has said
// nothing for some four seconds.
func Across(name, addr string, port int) Options {
	return Options{
		Name: name + "@" + addr, EpmdPort: port,
		ExtraArgs: []string{
			"-start_epmd", "false", "-erl_epmd_port", strconv.Itoa(port),
			"-kernel", "net_ticktime", "4", "inet_dist_use_interface", "{" + strings.ReplaceAll(addr, ".", ",") + "}",
		},
	}
}
