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
func ownDir() (string, error) {
	parent := filepath.Join(os.TempDir(), "cnode-"+strconv.Itoa(os.Getuid()))
	if run := os.Getenv("XDG_RUNTIME_DIR"); run != "" {
		parent = filepath.Join(run, "cnode")
	}
	dir := filepath.Join(parent, "sockets")
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
		if err := checkPrivate(d, info); err != nil {
			return "", err
		}
	}
	return dir, nil
}
