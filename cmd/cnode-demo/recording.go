package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// A recording is the file of --trace; nil: there is none. It is opened at once, so that what is wrong with it is said before the node runs,
// but what stands in it is an earlier run's as long as it is not sure that this one runs. Two do not write one file: see claim.
type recording struct {
	file    *os.File
	made    bool // it was not there before
	capture *transport.Capture

	mu     sync.Mutex
	begun  bool
	failed error  // of begin: nothing is written
	early  []byte // what is to be written once it has begun
}

// recordingMode is for who runs the node alone: a recording holds others' messages, over TLS as they were before they were encrypted.
const recordingMode = 0o600

// errWritten says that another process has the file of --trace.
var errWritten = errors.New("is written by another process")

// finishLimit is how long a pipe whose reader has stopped may keep the rest of a recording waiting.
const finishLimit = time.Second

// openRecording waits for a pipe's reader until ctx ends: see openThere.
func openRecording(ctx context.Context, path string, errOut io.Writer) (*recording, error) {
	r := &recording{}
	for own := false; !own; { // the file may go, with the one who has made it, while it is opened
		var err error
		r.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, recordingMode)
		if r.made = err == nil; errors.Is(err, fs.ErrExist) {
			r.file, err = openThere(ctx, path, errOut)
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
	r.capture = transport.NewCapture(r)
	return r, nil
}

// begin empties the file, and writes to it from now on: the node runs. Where it fails there is no recording, and finish says so again.
func (r *recording) begin() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := r.file.Stat()
	if err == nil && info.Mode().IsRegular() {
		if foreign(info) { // whose owner could make it anybody's again
			err = fmt.Errorf("%s belongs to another user, who could read it: write to another file", r.file.Name())
		} else {
			err = r.file.Chmod(recordingMode) // it may be another program's
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

// Write is the capture's.
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

// finish is for when the node is closed.
func (r *recording) finish() error {
	if r == nil {
		return nil
	}
	_ = r.file.SetWriteDeadline(time.Now().Add(finishLimit)) // not of a regular file, which needs none
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
