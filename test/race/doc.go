// Package race tells a test whether it runs with the race detector, which allocates, and takes its time.
package race
