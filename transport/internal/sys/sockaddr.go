package sys

import (
	"runtime"
	"strings"
)

// AbstractNames says that a sun_path that begins with a NUL is a name without a file: unix(7).
const AbstractNames = runtime.GOOS == "linux" || runtime.GOOS == "android"

// IsAbstract reports whether path is an abstract name, which has no file and may hold any bytes.
func IsAbstract(path string) bool { return AbstractNames && strings.HasPrefix(path, "@") }

// SockaddrHasLen says that a struct sockaddr begins with its length, as on the BSDs, and not with
// the family.
const SockaddrHasLen = runtime.GOOS == "darwin" || runtime.GOOS == "ios" || runtime.GOOS == "freebsd" ||
	runtime.GOOS == "netbsd" || runtime.GOOS == "openbsd" || runtime.GOOS == "dragonfly" || runtime.GOOS == "aix"
