//go:build unix

package pubsub

import (
	"os"
	"os/signal"
	"syscall"
)

// notifyUpgrades has the signal that asks for new workers come to c.
func notifyUpgrades(c chan<- os.Signal) { signal.Notify(c, syscall.SIGUSR1) }
