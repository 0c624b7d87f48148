package otp

import (
	"os"
	"strconv"
)

// Times is how often a test does something: the number in an environment variable, which
// test/soak.sh sets, or else the number otherwise.
func Times(variable string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil && n > 0 {
		return n
	}
	return otherwise
}
