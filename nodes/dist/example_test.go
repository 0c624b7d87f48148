package dist_test

import (
	"fmt"

	"github.com/cnode-go/cnode/nodes/dist"
)

// What a peer must have for a feature, and what it announced.
func ExampleFlags_Missing() {
	announced := dist.FlagsLibei &^ dist.FlagUnlinkID
	fmt.Println(announced.Missing(dist.Mandatory25))
	fmt.Println(announced.Missing(dist.Mandatory26).Wanted())
	// Output:
	// 0
	// DFLAG_UNLINK_ID (mandatory since OTP 26)
}

// Names are checked before they are used.
func ExampleSplitName() {
	alive, host, err := dist.SplitName("rabbit@host-1")
	fmt.Println(alive, host, err)
	_, _, err = dist.SplitName("rabbit")
	fmt.Println(err)
	// Output:
	// rabbit host-1 <nil>
	// invalid node name "rabbit": no "@"
}
