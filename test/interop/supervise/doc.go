// Package supervise holds the tests of supervised processes against real nodes: module sys and
// stdlib's supervisor, and Elixir's, towards Go processes; supervisors there over Go processes, by
// the code of docs/how-to/supervise-from-elixir.md; and a Go supervisor over theirs.
package supervise
