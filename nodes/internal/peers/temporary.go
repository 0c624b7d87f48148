package peers

import (
	"strconv"
	"strings"

	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
)

// IsTemporary tells whether a peer that has connected is there for an occasion: it was given its
// name here, or it is hidden and has a name as net_kernel gives them (1 to 2^64 in the base 36), or
// as tools make theirs.
func IsTemporary(p *dist.Peer) bool {
	if p.Status == protocol.StatusNamed {
		return true
	}
	if p.Announced.Has(dist.FlagPublished) {
		return false
	}
	alive, _, _ := strings.Cut(p.Name, "@")
	if len(alive) >= 10 && strings.ToUpper(alive) == alive {
		if _, err := strconv.ParseUint(alive, 36, 64); err == nil {
			return true
		}
	}
	// erl_call: c17, or with -r that of a second, modulo 997
	if second, ok := strings.CutPrefix(alive, "c"); ok && len(second) <= 3 && isNumber(second, 10) {
		return true
	}
	for _, prefix := range []string{
		"cnode-demo-", // and the number of its process
		"cnode-gen-",
		"rem-", "rpc-", // of Elixir's releases: rem-1f2e-shop
		"remsh", "maint", // of relx
		"rabbitmqcli-", // rabbitmqctl and its kin
	} {
		if rest, ok := strings.CutPrefix(alive, prefix); ok {
			number, _, _ := strings.Cut(rest, "-")
			return isNumber(number, 16)
		}
	}
	return false
}

func isNumber(s string, base int) bool {
	_, err := strconv.ParseUint(s, base, 64)
	return err == nil
}
