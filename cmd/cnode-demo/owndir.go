package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// ownDir is the directory of the sockets of this user's nodes: made if need be, and refused if anybody else could have put something
// there. It is $XDG_RUNTIME_DIR/cnode/sockets, else a directory in the temporary folder.
func ownDir() (string, error) { return privateDir("sockets", "give --listen unix:DIRECTORY") }

// ownParent is where this user's directories are.
func ownParent() string {
	if run := os.Getenv("XDG_RUNTIME_DIR"); run != "" {
		return filepath.Join(run, "cnode")
	}
	return filepath.Join(os.TempDir(), "cnode-"+strconv.Itoa(os.Getuid()))
}

// privateDir makes a directory of this user's own, or finds it as it should be. instead is what else there is to do where it is not.
func privateDir(name, instead string) (string, error) {
	parent := ownParent()
	dir := filepath.Join(parent, name)
	for _, d := range []string{parent, dir} {
		if err := os.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		info, err := os.Lstat(d) // not what a link of somebody else points to
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
