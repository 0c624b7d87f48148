package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/cnode-go/cnode/transport"
)

// A recording is the file of --trace; nil: there is none. It is opened at once, so that what is wrong with it is said before the node runs,
// but what stands in it is another node's as long as it is not sure that this one runs.
type recording struct {
	path    string
	file    *os.File
	made    bool // it was not there before
	capture *transport.Capture

	mu    sync.Mutex
	begun bool
	early []byte // what is to be written once it has
}

func openRecording(path string) (*recording, error) {
	r := &recording{path: path}
	var err error
	const mode = 0o600 // it holds others' messages
	r.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if r.made = err == nil; errors.Is(err, fs.ErrExist) {
		r.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE, mode)
	}
	if err != nil {
		return nil, fmt.Errorf("--trace: %w", err)
	}
	r.capture = transport.NewCapture(r)
	return r, nil
}

// begin empties the file, and writes to it from now on: the node runs.
func (r *recording) begin() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun = true
	info, err := r.file.Stat()
	if err == nil && info.Mode().IsRegular() {
		err = r.file.Truncate(0)
	}
	if err == nil {
		_, err = r.file.Write(r.early)
	}
	r.early = nil
	if err != nil {
		return fmt.Errorf("--trace: %w", err)
	}
	return nil
}

// Write is the capture's.
func (r *recording) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.begun {
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
	err := errors.Join(r.capture.Close(), r.file.Close())
	if r.made && !r.begun {
		err = errors.Join(err, os.Remove(r.path))
	}
	if err != nil {
		return fmt.Errorf("--trace: %w", err)
	}
	return nil
}
