// Compute does nothing but compute, until its standard input ends: it makes a machine busy.
package main

import "os"

func main() {
	go func() {
		for i := 0; ; i++ {
		}
	}()
	var b [1]byte
	_, _ = os.Stdin.Read(b[:])
}
