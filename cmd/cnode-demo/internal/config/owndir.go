package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// ownDir is the directory of the sockets of this user's nodes: made if need be, and refused if
// anybody else could have put something there. It is $XDG_RUNTIME_DIR/cnode/sockets, else a
// directory in the temporary folder.
func ownDir() (string, error) { return PrivateDir("sockets", "give --listen unix:DIRECTORY") }

// OwnParent is where this user's directories are.
func OwnParent() string {
	if run := os.Getenv("XDG_RUNTIME_DIR"); run != "" {
		return filepath.Join(run, "cnode")
	}
	return filepath.Join(os.TempDir(), "cnode-"+strconv.Itoa(os.Getuid()))
}

// PrivateDir makes a directory of this user's own, or checks one that exists. instead is the other
// remedy that the error names if it is not private.
func PrivateDir(name, instead string) (string, error) {
	parent := OwnParent()
	dir := filepath.Join(parent, name)
	for _, d := range []string{parent, dir} {
		if err := os.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		info, err := os.Lstat(d) // does not follow a link that another user may have made
		if err != nil {
			return "", err
		}
		if !info.IsDir() {
			return "", fmt.Errorf("%s is not a directory", d)
		}
		if err := checkPrivate(d, info, instead); err != nil {
			return "", err
		}
	}
	return dir, nil
}
