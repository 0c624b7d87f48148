// Package scarce takes resources away from a test's process.
package scarce
