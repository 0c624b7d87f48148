//go:build !unix

package handoff

import (
	"errors"
	"os"
)

// A token is never made on these systems.
type token struct{ r, w *os.File }

func newToken() (*token, error)            { return nil, errors.ErrUnsupported }
func (t *token) write() error              { return errors.ErrUnsupported }
func (t *token) takeBack() (bool, error)   { return false, errors.ErrUnsupported }
func (t *token) close() error              { return errors.Join(t.w.Close(), t.r.Close()) }
func tokenReader(*FDSet) (*os.File, error) { return nil, errors.ErrUnsupported }
func descriptorLimit(want int) int         { return want }
func lockDir(string) (func(), error)       { return nil, errors.ErrUnsupported }
