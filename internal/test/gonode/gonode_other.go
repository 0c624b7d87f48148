//go:build !unix

package gonode

import "os"

// notifyUpgrades does nothing: there is no such signal.
func notifyUpgrades(chan<- os.Signal) {}
