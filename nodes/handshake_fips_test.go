package nodes

import (
	"testing"

	"github.com/cnode-go/cnode/internal/test/fips"
)

// Where only approved cryptography is allowed, nodes connect, and nothing that a stranger sends
// ends one.
func TestFIPSOnly(t *testing.T) {
	fips.Only(t, "^(TestHostile.*|TestMalformedPayload|TestStrangersBesidePeer|Fuzz.*)$")
}
