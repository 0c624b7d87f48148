package sock

import "golang.org/x/sys/unix"

const openDirectory = unix.O_PATH // permission to search it is enough

// AutobindName returns an empty name, for which bind(2) chooses an abstract one: unix(7), "Autobind
// feature".
func AutobindName() (name, dir string, err error) { return "", "", nil }
