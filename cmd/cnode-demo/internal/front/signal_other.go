//go:build !unix

package front

import "os"

var upgradeSignals []os.Signal
