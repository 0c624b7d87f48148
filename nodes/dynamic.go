package nodes

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// dynamicName makes the part before the "@" of the name for a peer that asks for one.
func dynamicName() string {
	return strings.ToUpper(strconv.FormatUint(rand.Uint64()|1<<63, 36))
}

func randomCreation() uint32 { return rand.Uint32() }
