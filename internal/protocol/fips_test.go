package protocol

import (
	"testing"

	"github.com/cnode-go/cnode/internal/test/fips"
)

// Where only approved cryptography is allowed, the protocol's MD5 is computed all the same: neither
// a recorded dialogue nor anything that a stranger sends ends the process.
func TestFIPSOnly(t *testing.T) {
	fips.Only(t, "^(TestDialogues|TestDigest|TestHandshake.*|Fuzz.*)$")
}
