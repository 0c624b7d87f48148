//go:build !unix

package global

import "os"

// notifyUpgrades does nothing.
func notifyUpgrades(chan<- os.Signal) {}
