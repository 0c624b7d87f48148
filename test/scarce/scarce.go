// Package scarce takes away from a test's process what it needs.
package scarce
