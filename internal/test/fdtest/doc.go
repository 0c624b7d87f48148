// Package fdtest has what the tests of package handoff and of the carriers below it share: sockets,
// files and descriptors for them.
package fdtest
