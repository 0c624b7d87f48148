package handoff

import "golang.org/x/sys/unix"

const (
	abstractNames = true
	openDirectory = unix.O_PATH // permission to search it is enough
)

// autobindName returns an empty name, for which bind(2) chooses an abstract one: unix(7), "Autobind
// feature".
func autobindName() (name, dir string, err error) { return "", "", nil }
