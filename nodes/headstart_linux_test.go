package nodes

import "testing"

// The same where a connection takes its time.
func TestHeadStartElsewhere(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	address(t, [4]byte{192, 0, 2, 1})
	testHeadStart(t, "192.0.2.1")
}
