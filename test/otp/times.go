package otp

import (
	"os"
	"strconv"
)

// Times is how often a test does something: as often as a variable of the environment says, which test/soak.sh sets, or else so often.
func Times(variable string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil && n > 0 {
		return n
	}
	return otherwise
}
