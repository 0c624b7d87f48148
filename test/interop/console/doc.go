// Package console holds the tests of nodes/console with real shells in a pseudo-terminal: erl
// -remsh, iex --remsh, and the remote command of a release.
package console
