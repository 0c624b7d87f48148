package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/cnode-go/cnode/transport/virtual"
)

// A recording is the file of --trace; nil: there is none. It is opened at once, so that errors are
// reported before the node runs, but keeps what an earlier run has written until this node runs
// (see begin). Two processes cannot write the same file: see claim.
type recording struct {
	file    *os.File
	made    bool // it was not there before
	capture *virtual.Capture

	mu     sync.Mutex
	begun  bool
	failed error  // of begin: nothing is written
	early  []byte // what is to be written once it has begun
}

// recordingMode allows only the user who runs the node: a recording holds other people's messages,
// over TLS as they were before encryption.
const recordingMode = 0o600

// ErrWritten says that another process has the file of --trace.
var ErrWritten = errors.New("is written by another process")

func openRecording(path string) (*recording, error) {
	r := &recording{}
	for own := false; !own; { // while the file is opened, the process that made it may remove it
		var err error
		r.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, recordingMode)
		if r.made = err == nil; errors.Is(err, fs.ErrExist) {
			r.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE, recordingMode)
		}
		if err == nil {
			if own, err = claim(r.file); !own {
				_ = r.file.Close() // nothing was written
			}
		}
		if err != nil {
			return nil, fmt.Errorf("--trace: %w", err)
		}
	}
	r.capture = virtual.NewCapture(r)
	return r, nil
}

// Begin is called when the node runs: it empties the file, which is written to from now on. If it
// fails there is no recording, and finish returns the error again.
func (r *recording) Begin() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := r.file.Stat()
	if err == nil && info.Mode().IsRegular() {
		if Foreign(info) { // the owner could open it to others again
			err = fmt.Errorf("%s belongs to another user, who could read it: write to another file", r.file.Name())
		} else {
			// another program may have made the file with another mode
			err = r.file.Chmod(recordingMode)
		}
		if err == nil {
			err = r.file.Truncate(0)
		}
	}
	if err == nil {
		_, err = r.file.Write(r.early)
	}
	r.begun, r.failed, r.early = err == nil, err, nil
	if err != nil {
		return fmt.Errorf("--trace: %w", err)
	}
	return nil
}

// Write is called by the capture.
func (r *recording) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.failed != nil:
		return 0, r.failed
	case !r.begun:
		r.early = append(r.early, b...)
		return len(b), nil
	}
	return r.file.Write(b)
}

// Finish ends the recording, and gives its first error. The node is closed by then.
func (r *recording) Finish() error {
	if r == nil {
		return nil
	}
	err := r.capture.Close()
	if err == nil {
		err = r.failed
	}
	if r.made && !r.begun {
		err = errors.Join(err, discard(r.file))
	} else {
		err = errors.Join(err, r.file.Close())
	}
	if err != nil {
		return fmt.Errorf("--trace: %w", err)
	}
	return nil
}
