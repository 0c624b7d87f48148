//go:build !linux

package service

import (
	"os"
	"os/exec"
	"time"
)

// makeSibling does nothing here: only Linux has siblings that can be waited for.
func makeSibling(*exec.Cmd) bool { return false }

func handlePending() {}

func hasEnded(*os.Process, time.Duration) bool { return false }
