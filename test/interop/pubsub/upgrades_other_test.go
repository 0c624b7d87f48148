//go:build !unix

package pubsub

import "os"

// notifyUpgrades does nothing.
func notifyUpgrades(chan<- os.Signal) {}
